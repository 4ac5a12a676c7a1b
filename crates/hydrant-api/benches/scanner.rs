//! The scanner beside serde_json, on the bodies that SDKs send: 500 records of 1 KB.
//!
//! `cargo bench -p hydrant-api`

use std::hint::black_box;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: u32 = 500;

/// As boto3 writes it, with blanks.
fn body(record_bytes: usize) -> Vec<u8> {
    let record = |number: u32| {
        let mut text = format!("{{\"id\":{number},\"kind\":\"k{}\",\"text\":\"", number % 7);
        text.push_str(&"lorem ipsum ".repeat(record_bytes / 12 + 1)[..record_bytes - text.len() - 3]);
        text.push_str("\"}\n");
        format!("{{\"Data\": \"{}\"}}", STANDARD.encode(text))
    };
    let records: Vec<String> = (0..RECORDS).map(record).collect();
    format!("{{\"DeliveryStreamName\": \"orders\", \"Records\": [{}]}}", records.join(", ")).into_bytes()
}

fn readers(criterion: &mut Criterion) {
    for record_bytes in [100, 1_000] {
        let body = body(record_bytes);
        let expected = Some((RECORDS, u64::from(RECORDS) * record_bytes as u64));
        assert_eq!(hydrant_api::bench::scan(&body), expected);
        assert_eq!(hydrant_api::bench::parse(&body), expected);
        let mut group = criterion.benchmark_group(format!("{RECORDS} records of {record_bytes} bytes"));
        // Of records, not of JSON: CPU-seconds per GB of what is stored.
        group.throughput(Throughput::Bytes(u64::from(RECORDS) * record_bytes as u64));
        group.bench_function("scanner", |bench| bench.iter(|| hydrant_api::bench::scan(black_box(&body))));
        group
            .bench_function("serde_json", |bench| bench.iter(|| hydrant_api::bench::parse(black_box(&body))));
        group.finish();
    }
}

criterion_group!(benches, readers);
criterion_main!(benches);
