use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// Counts.
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn uuid(&self) -> Uuid {
        let count = u128::from(self.0.fetch_add(1, Ordering::Relaxed));
        uuid::Builder::from_random_bytes(((0x046b_6c7f + count) << 96).to_be_bytes()).into_uuid()
    }
}

fn evaluate(prefix: &str, at: &Zoned, error: Option<ErrorOutputType>) -> Option<String> {
    Prefix::parse(prefix).unwrap().evaluate(at, error, &Counter(AtomicU64::new(0)))
}

#[test]
fn prefixes_are_literals_and_expressions() {
    assert_eq!(Prefix::parse(""), Ok(Prefix(vec![])));
    assert_eq!(Prefix::parse("a/!b}{/"), Ok(Prefix(vec![Part::Literal("a/!b}{/")])));
    let all = "a/!{timestamp:yyyy'/T'}!{firehose:random-string}/!{partitionKeyFromQuery:id}\
               !{partitionKeyFromLambda:x:y}!{firehose:error-output-type}";
    let expected = [
        Part::Literal("a/"),
        Part::Timestamp(Pattern::parse("yyyy'/T'").unwrap()),
        Part::RandomString,
        Part::Literal("/"),
        Part::PartitionKeyFromQuery("id"),
        Part::PartitionKeyFromLambda("x:y"),
        Part::ErrorOutputType,
    ];
    assert_eq!(Prefix::parse(all).unwrap().parts(), expected);
}

#[test]
fn what_is_no_expression_is_refused() {
    use BadPrefix::{ControlCharacter, InvalidConversion, InvalidExpression, InvalidNamespace};
    for (prefix, error) in [
        ("a/!{", InvalidExpression),
        ("!{timestamp}", InvalidExpression),
        ("!{timestamp:}", InvalidExpression),
        ("!{firehose:random}", InvalidExpression),
        ("!{partitionKeyFromQuery:}", InvalidExpression),
        ("!{!{timestamp:yyyy}}", InvalidNamespace("!{timestamp".to_owned())),
        ("!{Timestamp:yyyy}", InvalidNamespace("Timestamp".to_owned())),
        ("!{:yyyy}", InvalidNamespace(String::new())),
        ("!{timestamp:yyyy-mm-DDThh}", InvalidConversion),
        ("!{timestamp:yyyy'T}", InvalidConversion),
        ("!{timestamp:yyyy'}'}", InvalidConversion),
        ("!{timestamp:[yyyy]}", InvalidConversion),
        ("!{timestamp:yyyy#}", InvalidConversion),
        ("a\u{7}", ControlCharacter),
        ("a\u{85}", ControlCharacter),
    ] {
        assert_eq!(Prefix::parse(prefix), Err(error), "{prefix:?}");
    }
}

#[test]
fn every_letter_is_one_of_those_that_the_service_takes() {
    // Seen of the service itself, each letter alone.
    let (taken, refused) = ("ABDEFGHKLMNOQSWXYZacdeghkmnqsuvwxyz", "CIJPRTUVbfijloprt");
    assert_eq!(taken.len() + refused.len(), 52);
    for letter in taken.chars() {
        assert!(Pattern::parse(&letter.to_string()).is_some(), "{letter}");
    }
    for letter in refused.chars() {
        assert!(Pattern::parse(&letter.to_string()).is_none(), "{letter}");
    }
}

#[test]
fn random_strings_differ_and_error_types_do_not() {
    let at = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let prefix = "!{firehose:random-string}/!{firehose:error-output-type}/!{firehose:random-string}/!{firehose:error-output-type}";
    assert_eq!(
        evaluate(prefix, &at, Some(ErrorOutputType::DecompressionFailed)).unwrap(),
        "046b6c7f-00/decompression-failed/046b6c80-00/decompression-failed"
    );
    assert_eq!(evaluate(prefix, &at, None), None);
    assert_eq!(evaluate("!{partitionKeyFromLambda:x}", &at, None), None);
}

/// A pattern of what means something, or nearly.
const PATTERN: &str = r"([a-zA-Z]{1,2}|y{1,11}|Y{1,11}|[MLEecQqGzZxXOVvBW]{1,6}|'|''|'[a-z ]*'|[-/:. é\[\]#]|[nNAgS]{1,20}){0,8}";

fn moments() -> impl Strategy<Value = (i64, i32, usize)> {
    // 0001-01-01T00:00:00Z to 9999-12-30T22:00:00Z, the last moment that has a date in every zone.
    (-62_135_596_800..=253_402_207_200_i64, 0..1_000_000_000, any::<usize>())
}

fn zoned((second, nanosecond, zone): (i64, i32, usize)) -> Zoned {
    let database = jiff::tz::TimeZoneDatabase::bundled();
    let zones: Vec<TimeZone> = database.available().filter_map(|name| time_zone(name.as_str())).collect();
    let zone = zones[zone % zones.len()].clone();
    Timestamp::new(second, nanosecond).unwrap_or(Timestamp::MAX).to_zoned(zone)
}

proptest! {
    /// Whatever is read is the whole prefix, piece by piece.
    #[test]
    fn nothing_of_a_prefix_is_lost(prefix in r"(!\{|\}|:|timestamp|firehose|random-string|partitionKeyFromQuery|yyyy|'|[a-zä\n/]){0,20}") {
        if let Ok(read) = Prefix::parse(&prefix) {
            prop_assert_eq!(read.to_string(), prefix);
        }
    }

    #[test]
    fn any_text_is_a_prefix_or_is_not(prefix in any::<String>(), pattern in any::<String>()) {
        let _ = Prefix::parse(&prefix);
        let _ = Prefix::parse(&format!("!{{timestamp:{pattern}}}"));
    }

    /// In any zone, in any year, and within the bounds that were promised.
    #[test]
    fn whatever_is_read_is_evaluated(pattern in PATTERN, moment in moments()) {
        let text = format!("a!{{timestamp:{pattern}}}é!{{firehose:error-output-type}}!{{firehose:random-string}}");
        if let Ok(prefix) = Prefix::parse(&text) {
            let evaluated = prefix
                .evaluate(&zoned(moment), Some(ErrorOutputType::ProcessingFailed), &Counter(AtomicU64::new(0)))
                .unwrap();
            prop_assert!(prefix.bytes().contains(&evaluated.len()), "{evaluated:?} {:?}", prefix.bytes());
        }
    }

    /// Literals of a pattern come out as they went in, quotes halved.
    #[test]
    fn quoted_text_stands_for_itself(text in r"[a-zA-Z '/é]{1,20}") {
        let at = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        let quoted = format!("!{{timestamp:'{}'}}", text.replace('\'', "''"));
        prop_assert_eq!(evaluate(&quoted, &at, None).unwrap(), text);
    }
}
