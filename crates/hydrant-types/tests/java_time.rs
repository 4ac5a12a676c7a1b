//! Timestamps in prefixes against `java.time` itself: the files beside were printed by OpenJDK (java_time/JavaTime.java).

use hydrant_types::{Entropy, Prefix, SystemEntropy, time_zone};
use jiff::{Timestamp, Zoned};

const LETTERS: &str = include_str!("java_time/letters.tsv");
const MOMENTS: &str = include_str!("java_time/moments.tsv");

fn zoned(instant: &str, zone: &str) -> Zoned {
    instant.parse::<Timestamp>().expect("an instant").to_zoned(time_zone(zone).expect("a zone"))
}

fn format(pattern: &str, at: &Zoned) -> Option<String> {
    let entropy: &dyn Entropy = &SystemEntropy;
    Prefix::parse(&format!("!{{timestamp:{pattern}}}")).ok()?.evaluate(at, None, entropy)
}

/// Every letter of the alphabet in every width up to 20, and quotes and literals.
#[test]
fn every_letter_in_every_width_is_what_java_makes_of_it() {
    let mut lines = LETTERS.lines();
    let moments: Vec<Zoned> = lines
        .next()
        .unwrap()
        .split('\t')
        .skip(1)
        .map(|moment| moment.split_once(' ').map(|(instant, zone)| zoned(instant, zone)).unwrap())
        .collect();
    assert_eq!(moments.len(), 11);
    let (mut read, mut refused) = (0, 0);
    for line in lines {
        let (pattern, values) = line.split_once('\t').unwrap();
        // Years of so many digits are taken by Java, those of up to 18 to fail on them.
        let absurd = pattern.starts_with(['u', 'y', 'Y']) && pattern.len() > 10 && !pattern.contains('-');
        if absurd || values == "refused" {
            assert_eq!(format(pattern, &moments[0]), None, "{pattern}");
            refused += 1;
            continue;
        }
        for (at, value) in moments.iter().zip(values.split('\t')) {
            assert_eq!(format(pattern, at).as_deref(), Some(value), "{pattern} at {at}");
        }
        read += 1;
    }
    assert_eq!((read, refused), (216, 843));
}

/// Week-years around each end of a year, every month, quarter and weekday in words, parts of a day, names and offsets of zones, gaps and
/// overlaps.
#[test]
fn moments_are_what_java_makes_of_them() {
    for line in MOMENTS.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [instant, zone, pattern, value] = columns[..] else { panic!("{line}") };
        assert_eq!(format(pattern, &zoned(instant, zone)).as_deref(), Some(value), "{line}");
    }
    assert_eq!(MOMENTS.lines().count(), 352);
}
