use hydrant_testkit::SeededEntropy;
use hydrant_types::StreamOptions;
use uuid::Uuid;

use super::*;

const ARRIVAL: Timestamp = Timestamp(1_783_954_800_000 + 61_000);
const ID: Uuid = Uuid::from_u128(0xc035_7a0f_495d_4eb6_9383_66b7_d934_7e15);

/// Settings and the keys they make, `-` for none. The local times, weeks and week-years were worked out with Python's zoneinfo and datetime.
const KEYS: &str = include_str!("keys.tsv");

fn s3(prefix: Option<&str>, compression: Compression) -> S3Settings {
    let prefix = prefix.map(str::to_owned);
    S3Settings { prefix, compression, ..S3Settings::of_bucket("b".parse().expect("it is a name")) }
}

fn name(stream: &StreamName) -> ObjectName<'_> {
    ObjectName { stream, version: StreamVersion(4), oldest_arrival: ARRIVAL, batch: BatchId(ID) }
}

fn key(s3: &S3Settings, date: PrefixDate) -> Result<String, Error> {
    let stream = "orders".parse()?;
    object(s3, date, name(&stream), &SeededEntropy::new(1)).map(String::from)
}

#[test]
fn keys_are_laid_out_as_firehose_lays_them_out() {
    let entropy = SeededEntropy::new(1);
    let random: Vec<String> = (0..2).map(|_| entropy.uuid().to_string()[..11].to_owned()).collect();
    let written = |key: &str| {
        key.replace("<id>", &ID.to_string())
            .replace("<random 1>", &random[0])
            .replace("<random 2>", &random[1])
    };
    let mut rows = 0;
    for line in KEYS.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [prefix, error_prefix, zone, arrival, version, extension, compression, expected, expected_error] =
            columns[..]
        else {
            panic!("{line}")
        };
        let given = |column: &str| (column != "-").then(|| column.to_owned());
        let compression = if compression == "GZIP" { Compression::Gzip } else { Compression::Uncompressed };
        let s3 = S3Settings {
            error_output_prefix: given(error_prefix),
            time_zone: given(zone),
            file_extension: given(extension),
            ..s3(given(prefix).as_deref(), compression)
        };
        let arrival: jiff::Timestamp = arrival.parse().unwrap();
        let stream = "s".parse().unwrap();
        let name = ObjectName {
            version: StreamVersion(version.parse().unwrap()),
            oldest_arrival: Timestamp(arrival.as_millisecond() as u64),
            ..name(&stream)
        };
        let key = object(&s3, PrefixDate::Append, name, &SeededEntropy::new(1)).unwrap();
        assert_eq!(key.as_str(), written(expected), "{line}");
        let key = error_object(&s3, name, ErrorOutputType::ProcessingFailed, &SeededEntropy::new(1)).unwrap();
        assert_eq!(key.as_str(), written(expected_error), "{line}");
        rows += 1;
    }
    assert!(rows >= 30, "{rows}");
}

#[test]
fn whether_the_date_is_appended_is_the_streams_to_say() {
    let never = [("hydrant:prefix-date".to_owned(), "never".to_owned())].into_iter().collect();
    let never = StreamOptions::from_tags(&never).unwrap().prefix_date;
    let object = "orders-4-2026-07-13-15-01-01-c0357a0f-495d-4eb6-9383-66b7d9347e15";
    for (prefix, date, expected) in [
        ("!{firehose:random-string}/", PrefixDate::Append, "2026/07/13/15/"),
        ("!{firehose:random-string}/", never, ""),
        ("a/", never, "a/"),
        ("!{timestamp:MM}/", never, "07/"),
    ] {
        let key = key(&s3(Some(prefix), Compression::Uncompressed), date).unwrap();
        assert!(key.ends_with(&format!("{expected}{object}")), "{key}");
        assert_eq!(key.contains("2026/"), date == PrefixDate::Append, "{key}");
    }
}

#[test]
fn settings_that_the_api_does_not_take_make_no_key_and_say_why() {
    let plain = |prefix: &str| s3(Some(prefix), Compression::Uncompressed);
    let zone = S3Settings { time_zone: Some("Mars/Olympus".to_owned()), ..plain("a/") };
    for (s3, text) in [
        (plain("!{timestamp:"), "read the prefix \"!{timestamp:\""),
        (
            plain("!{partitionKeyFromQuery:x}"),
            "a part of the prefix \"!{partitionKeyFromQuery:x}\" stands for nothing",
        ),
        (
            plain("!{firehose:error-output-type}"),
            "a part of the prefix \"!{firehose:error-output-type}\" stands for nothing",
        ),
        (zone, "there is no time zone \"Mars/Olympus\""),
    ] {
        assert_eq!(key(&s3, PrefixDate::Append).unwrap_err().to_string(), text);
    }
}

#[test]
fn a_manifest_has_neither_version_nor_extension() {
    let stream = "orders".parse().unwrap();
    let key = manifest(Some("a/manifests/"), &stream, ARRIVAL, LoadId(ID)).unwrap();
    let name = "manifests/2026/07/13/15/orders-2026-07-13-15-01-01-c0357a0f-495d-4eb6-9383-66b7d9347e15";
    assert_eq!(key.as_str(), format!("a/manifests/{name}"));
    assert_eq!(errors_manifest(&key).unwrap().as_str(), format!("a/manifests/errors/{name}"));
    let key = manifest(None, &stream, ARRIVAL, LoadId(ID)).unwrap();
    assert_eq!(errors_manifest(&key).unwrap().as_str(), format!("errors/{name}"));
}

#[test]
fn a_key_that_s3_would_refuse_is_an_error() {
    let long = "x".repeat(1000);
    let refused = key(&s3(Some(&long), Compression::Gzip), PrefixDate::Append).unwrap_err();
    assert!(matches!(refused, Error::Key(_)), "{refused}");
}

/// The API takes literals of 512 bytes, and expressions of [`hydrant_types::limits::EVALUATED_PREFIX_BYTES_MAX`]: then every key there is fits.
#[test]
fn the_longest_prefix_leaves_room_for_every_key() {
    let (prefix, stream) = ("ä".repeat(256), "n".repeat(64).parse().unwrap());
    let name = ObjectName { version: StreamVersion(u32::MAX), ..name(&stream) };
    let entropy = SeededEntropy::new(1);
    let extension = format!(".{}", "x".repeat(127));
    let longest = "p".repeat(hydrant_types::limits::EVALUATED_PREFIX_BYTES_MAX);
    for prefix in [&prefix, &longest] {
        let s3 =
            S3Settings { file_extension: Some(extension.clone()), ..s3(Some(prefix), Compression::Gzip) };
        assert!(object(&s3, PrefixDate::Append, name, &entropy).is_ok());
    }
    let s3 = S3Settings { file_extension: Some(extension), ..s3(Some(&prefix), Compression::Gzip) };
    for error in ErrorOutputType::ALL {
        assert!(error_object(&s3, name, error, &entropy).is_ok());
    }
    let manifest = manifest(Some(&prefix), &stream, ARRIVAL, LoadId(ID)).unwrap();
    assert!(errors_manifest(&manifest).is_ok());
}
