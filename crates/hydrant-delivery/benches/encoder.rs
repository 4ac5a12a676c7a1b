//! What encoding costs beside the library's bare figure: the encoder is to add little to it.

use std::{hint::black_box, io::Write};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compression as Level, write::GzEncoder};
use hydrant_delivery::encoder::Encoder;
use hydrant_types::Compression;

/// About 1 MiB of records of 1 KB, in pieces as they come from the log.
fn pieces() -> Vec<Vec<u8>> {
    let record = |n: u64| {
        let words = (0..60).map(|w| format!("w{}=", (n * 31 + w * 17) % 997)).collect::<String>();
        format!("{{\"n\":{n},\"text\":\"{words:0<980}\"}}\n").into_bytes()
    };
    (0..1024).map(record).collect()
}

fn encode(criterion: &mut Criterion) {
    let pieces = pieces();
    let bytes = pieces.iter().map(Vec::len).sum::<usize>() as u64;
    let mut group = criterion.benchmark_group("gzip");
    group.throughput(Throughput::Bytes(bytes)).sample_size(20);
    for level in [1, 6] {
        group.bench_function(format!("encoder, level {level}"), |bencher| {
            bencher.iter(|| {
                let mut encoder = Encoder::new(Compression::Gzip, level);
                pieces.iter().for_each(|piece| encoder.write(piece));
                black_box(encoder.finish())
            });
        });
        group.bench_function(format!("flate2 alone, level {level}"), |bencher| {
            bencher.iter(|| {
                let mut gzip = GzEncoder::new(Vec::new(), Level::new(level));
                pieces.iter().for_each(|piece| gzip.write_all(piece).expect("memory does not fail"));
                black_box(gzip.finish().expect("memory does not fail"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
