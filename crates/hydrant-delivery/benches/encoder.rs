//! What encoding costs beside the library's bare figure: the encoder is to add little to it.
//!
//! Both are given the same records in the same pieces. `alone` is the least that a program does with the library to have an object in
//! memory: gzip and deflate into a vector that grows, Snappy block by block, each behind the one before.

use std::{hint::black_box, io::Write};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use flate2::{
    Compression as Level,
    write::{DeflateEncoder, GzEncoder},
};
use hydrant_delivery::encoder::{Encoder, Encoding};
use hydrant_types::{BatchId, Compression};
use snap::raw::{Encoder as Snappy, max_compress_len};

/// As the log gives records to an encoder.
const PIECE_BYTES: usize = 64 * 1024;
const RECORDS: u64 = 4096;

/// About 4 MiB of JSON records of 1 KB.
fn records() -> Vec<u8> {
    let record = |n: u64| {
        let words = (0..60).map(|w| format!("w{}=", (n * 31 + w * 17) % 997)).collect::<String>();
        format!("{{\"n\":{n},\"text\":\"{words:0<980}\"}}\n").into_bytes()
    };
    (0..RECORDS).flat_map(record).collect()
}

fn encoder(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, encoding: Encoding, records: &[u8]) {
    group.bench_function(format!("encoder, {name}"), |bencher| {
        bencher.iter(|| {
            let mut encoder = Encoder::new(encoding);
            records.chunks(PIECE_BYTES).for_each(|piece| encoder.write(piece));
            black_box(encoder.finish(BatchId(uuid::Uuid::nil())))
        });
    });
}

fn deflate(criterion: &mut Criterion) {
    let records = records();
    let mut group = criterion.benchmark_group("deflate");
    group.throughput(Throughput::Bytes(records.len() as u64)).sample_size(20);
    for level in [1, 6] {
        let encoding = |compression| Encoding { level, ..Encoding::of(compression) };
        encoder(&mut group, &format!("GZIP {level}"), encoding(Compression::Gzip), &records);
        group.bench_function(format!("flate2 alone, gzip {level}"), |bencher| {
            bencher.iter(|| {
                let mut gzip = GzEncoder::new(Vec::new(), Level::new(level));
                let mut pieces = records.chunks(PIECE_BYTES);
                pieces.try_for_each(|piece| gzip.write_all(piece)).expect("memory does not fail");
                black_box(gzip.finish().expect("memory does not fail"))
            });
        });
        encoder(&mut group, &format!("ZIP {level}"), encoding(Compression::Zip), &records);
        group.bench_function(format!("flate2 alone, deflate {level}"), |bencher| {
            bencher.iter(|| {
                let mut deflate = DeflateEncoder::new(Vec::new(), Level::new(level));
                let mut pieces = records.chunks(PIECE_BYTES);
                pieces.try_for_each(|piece| deflate.write_all(piece)).expect("memory does not fail");
                black_box(deflate.finish().expect("memory does not fail"))
            });
        });
    }
    group.finish();
}

fn snappy(criterion: &mut Criterion) {
    let records = records();
    let mut group = criterion.benchmark_group("snappy");
    group.throughput(Throughput::Bytes(records.len() as u64)).sample_size(50);
    for (compression, block_bytes) in [(Compression::Snappy, 32_768), (Compression::HadoopSnappy, 65_536)] {
        encoder(&mut group, compression.as_api(), Encoding::of(compression), &records);
        group.bench_function(format!("snap alone, blocks of {block_bytes}"), |bencher| {
            bencher.iter(|| {
                let (mut snappy, mut buffer) = (Snappy::new(), vec![0; max_compress_len(block_bytes)]);
                let mut object = Vec::new();
                for block in records.chunks(block_bytes) {
                    let bytes = snappy.compress(block, &mut buffer).expect("there is room for any block");
                    object.extend_from_slice(&buffer[..bytes]);
                }
                black_box(object)
            });
        });
    }
    encoder(&mut group, "UNCOMPRESSED", Encoding::of(Compression::Uncompressed), &records);
    group.finish();
}

criterion_group!(benches, deflate, snappy);
criterion_main!(benches);
