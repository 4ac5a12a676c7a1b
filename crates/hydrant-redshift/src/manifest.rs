//! The manifest: the JSON list of objects that a COPY loads.
//!
//! Source: Amazon Redshift Database Developer Guide, "Using a manifest to specify data files".

use hydrant_types::{BucketName, ObjectKey};
use serde::Serialize;

/// Most objects in one manifest. COPY reads them in parallel; with more, one bad object would hold up too much.
pub const ENTRIES_MAX: usize = 1000;

#[derive(Serialize)]
struct Manifest {
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    url: String,
    mandatory: bool,
}

/// The manifest of these objects, in this order. Every entry is mandatory: an object that is gone fails the COPY instead of
/// being skipped. At most [`ENTRIES_MAX`] objects; whoever plans a load sees to that.
pub fn render(objects: &[(BucketName, ObjectKey)]) -> String {
    debug_assert!(objects.len() <= ENTRIES_MAX, "a manifest of {} objects", objects.len());
    let entries = objects
        .iter()
        .map(|(bucket, key)| Entry { url: format!("s3://{bucket}/{key}"), mandatory: true })
        .collect();
    serde_json::to_string(&Manifest { entries }).expect("strings and booleans are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_firehose_writes() {
        let object = |key: &str| ("landing".parse().unwrap(), key.parse().unwrap());
        insta::assert_snapshot!(
            render(&[object("a/2026/01/02/03/x.gz"), object("a/with \"quotes\".gz")]),
            @r#"{"entries":[{"url":"s3://landing/a/2026/01/02/03/x.gz","mandatory":true},{"url":"s3://landing/a/with \"quotes\".gz","mandatory":true}]}"#
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_from_a_manifest_is_what_was_put_into_it(keys in proptest::collection::vec("[a-z\"\\\\ü/ ]{1,20}", 1..20)) {
            let objects: Vec<(BucketName, ObjectKey)> =
                keys.iter().map(|key| ("landing".parse().unwrap(), key.parse().unwrap())).collect();
            let manifest: serde_json::Value = serde_json::from_str(&render(&objects)).unwrap();
            let entries = manifest["entries"].as_array().unwrap();
            proptest::prop_assert_eq!(entries.len(), keys.len());
            for (entry, key) in entries.iter().zip(&keys) {
                proptest::prop_assert_eq!(&entry["url"], &format!("s3://landing/{key}"));
                proptest::prop_assert_eq!(&entry["mandatory"], true);
            }
        }
    }
}
