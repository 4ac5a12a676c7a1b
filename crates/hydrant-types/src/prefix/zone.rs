//! Time zones and their names.

use std::{borrow::Cow, sync::LazyLock};

use jiff::{
    Zoned,
    tz::{TimeZone, TimeZoneDatabase},
};

use super::pattern::gmt_offset;

/// Longer than any name or id of a zone: the service model takes ids of 50 characters.
pub(super) const NAME_BYTES_MAX: usize = 50;

/// The database that is part of the program: every node knows the same zones, whatever its machine has.
static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Names of zones in the locale en_US, from Unicode CLDR, as OpenJDK 17 prints them (tests/java_time/JavaTime.java): standard, daylight and
/// generic ones, each short and long, then the ids of the zones that have them.
const NAMES: &str = include_str!("zone_names.tsv");

/// Which of a zone's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Short,
    Long,
}

/// The zone of `CustomTimeZone`: `UTC`, or an id of the IANA database, written as there, that does not have three letters. Those are
/// ambiguous, and the service refuses them too.
pub fn time_zone(id: &str) -> Option<TimeZone> {
    if id.len() == 3 && id != "UTC" {
        return None;
    }
    let zone = DATABASE.get(id).ok()?;
    // The database takes small and capital letters for the same.
    (zone.iana_name() == Some(id) && !zone.is_unknown()).then_some(zone)
}

/// The zone's id.
pub(super) fn id(at: &Zoned) -> &str {
    at.time_zone().iana_name().unwrap_or("UTC")
}

/// The zone's name, which tells whether its daylight saving time is in force.
pub(super) fn name(at: &Zoned, length: Length) -> Cow<'static, str> {
    let daylight = at.time_zone().to_offset_info(at.timestamp()).dst().is_dst();
    column(at, if daylight { 2 } else { 0 }, length)
}

/// The zone's name, the same all the year.
pub(super) fn generic_name(at: &Zoned, length: Length) -> Cow<'static, str> {
    column(at, 4, length)
}

/// A zone without names has its offset.
fn column(at: &Zoned, short: usize, length: Length) -> Cow<'static, str> {
    let id = id(at);
    let line = NAMES.lines().find(|line| {
        let ids = line.rsplit('\t').next().unwrap_or_default();
        ids.split(' ').any(|other| other == id)
    });
    let column = short + usize::from(length == Length::Long);
    match line.and_then(|line| line.split('\t').nth(column)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(gmt_offset(at.offset().seconds(), true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_utc_and_iana_ids_without_three_letters() {
        for id in [
            "UTC",
            "Europe/Berlin",
            "Asia/Calcutta",
            "Asia/Kolkata",
            "Europe/Kyiv",
            "US/Pacific",
            "Etc/GMT",
            "Etc/GMT-14",
            "America/Port-au-Prince",
            "America/Argentina/ComodRivadavia",
            "EST5EDT",
            "GB",
            "Zulu",
        ] {
            assert_eq!(time_zone(id).unwrap().iana_name(), Some(id));
        }
        for id in [
            "",
            "EST",
            "CET",
            "GMT",
            "PRC",
            "utc",
            "europe/berlin",
            "Europe/Berlin ",
            "Berlin",
            "Etc/Unknown",
            "Europe/",
            "/",
            "../../etc/passwd",
            "+01:00",
            "CEST",
        ] {
            assert_eq!(time_zone(id), None, "{id}");
        }
    }

    #[test]
    fn every_zone_there_is_can_be_asked_for_and_its_names_are_short_enough() {
        let mut zones = 0;
        for name in DATABASE.available() {
            assert!(name.as_str().len() <= NAME_BYTES_MAX);
            zones += usize::from(time_zone(name.as_str()).is_some());
        }
        assert!(zones > 500, "{zones}");
        for line in NAMES.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            assert_eq!(columns.len(), 7, "{line}");
            assert!(
                columns[..6].iter().all(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX),
                "{line}"
            );
        }
    }
}
