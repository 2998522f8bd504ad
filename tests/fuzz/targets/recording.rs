#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| recording_archiver_fuzz::demand("recording", bytes));
