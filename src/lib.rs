//! Archives SignalWire video room recordings into S3-compatible storage.
