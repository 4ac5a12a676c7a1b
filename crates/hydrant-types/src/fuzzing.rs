//! What the fuzzer in `tests/fuzz` runs, and an ordinary test over its corpus. Not part of the interface.

use jiff::{Timestamp, tz::TimeZoneDatabase};

use crate::{ErrorOutputType, Prefix, SystemEntropy, time_zone};

/// Seconds of the years 1 to 9999.
const SECONDS: (i64, i64) = (-62_135_596_800, 253_402_207_200);

/// A prefix, after eight bytes that choose a moment of the years 1 to 9999 and two that choose a zone. What is read is the whole text, and is
/// evaluated to as many bytes as was promised.
pub fn prefix(data: &[u8]) {
    let Some((second, rest)) = data.split_first_chunk() else { return };
    let Some((zone, text)) = rest.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(prefix) = Prefix::parse(text) else { return };
    assert_eq!(prefix.to_string(), text);
    let second = SECONDS.0 + i64::from_be_bytes(*second).rem_euclid(SECONDS.1 - SECONDS.0);
    let database = TimeZoneDatabase::bundled();
    let zones: Vec<_> = database.available().filter_map(|name| time_zone(name.as_str())).collect();
    let zone = zones[usize::from(u16::from_be_bytes(*zone)) % zones.len()].clone();
    let at = Timestamp::from_second(second).expect("it is a moment").to_zoned(zone);
    let evaluated = prefix.evaluate(&at, Some(ErrorOutputType::ProcessingFailed), &SystemEntropy);
    assert_eq!(evaluated.is_none(), prefix.has_partition_key());
    if let Some(evaluated) = evaluated {
        assert!(prefix.bytes().contains(&evaluated.len()), "{evaluated:?} {:?}", prefix.bytes());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_prefixes_holds_and_so_does_what_is_near_it() {
        hydrant_testkit::replay_corpus("prefix", 500, super::prefix);
    }
}
