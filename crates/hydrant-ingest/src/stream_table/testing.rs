//! Streams for tests.

use hydrant_types::{
    Compression, Destination, S3Settings, Stream, StreamEncryption, StreamId, StreamStatus, StreamVersion,
    Tags, Timestamp,
};

pub(super) fn stream(id: u64, name: &str, version: u32) -> Stream {
    Stream {
        id: StreamId(id),
        name: name.parse().expect("a legal name"),
        status: StreamStatus::Active,
        version: StreamVersion(version),
        destination: Destination::S3(S3Settings {
            prefix: Some("a \"quoted\"\nprefix".to_owned()),
            compression: Compression::Gzip,
            ..S3Settings::of_bucket("demo".parse().expect("a legal name"))
        }),
        created_at: Timestamp(1_767_323_045_678),
        updated_at: None,
        tags: Tags::from([("team".to_owned(), "wéb".to_owned())]),
        encryption: StreamEncryption::default(),
        declared_in: None,
    }
}
