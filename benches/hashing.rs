//! What hashing costs: the fingerprint of a recording as it is taken part by part, and the smaller
//! sums around it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use recording_archiver::checkpoint::{StoredPart, check_parts};
use recording_archiver::digest::{Crc64Nvme, Fingerprinting};

const PART: usize = 5 * 1024 * 1024;

fn hashing(criterion: &mut Criterion) {
    let part: Vec<u8> = (0..=255).cycle().take(PART).collect();
    let mut group = criterion.benchmark_group("a part of 5 MiB");
    group.throughput(Throughput::Bytes(PART as u64));
    group.bench_function("SHA-256 and CRC64NVME of the whole", |bencher| {
        let mut running = Fingerprinting::new();
        bencher.iter(|| running.update(black_box(&part)));
    });
    group.bench_function("CRC64NVME of the part", |bencher| {
        bencher.iter(|| Crc64Nvme::of(black_box(&part)));
    });
    group.bench_function("copy, for comparison", |bencher| {
        let mut copy = Vec::with_capacity(PART);
        bencher.iter(|| {
            copy.clear();
            copy.extend_from_slice(black_box(&part));
        });
    });
    group.finish();
}

fn proving(criterion: &mut Criterion) {
    let mut whole = Fingerprinting::new();
    let bytes = [7; 1000];
    let parts: Vec<StoredPart> = (1..=1000)
        .map(|number| {
            whole.update(&bytes);
            StoredPart {
                number,
                size_bytes: bytes.len() as u64,
                crc64nvme: Crc64Nvme::of(&bytes),
                etag: String::new(),
                sha256: None,
            }
        })
        .collect();
    let read = whole.clone().finish();
    criterion.bench_function("1,000 parts held against what was read", |bencher| {
        bencher.iter(|| check_parts(black_box(&parts), black_box(&read)));
    });
    criterion.bench_function("a checkpoint's state saved and restored", |bencher| {
        bencher.iter(|| Fingerprinting::restore(&black_box(&whole).save()));
    });
}

criterion_group!(benches, hashing, proving);
criterion_main!(benches);
