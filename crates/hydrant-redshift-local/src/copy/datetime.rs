//! Dates and times as COPY reads them.
//!
//! Source: Amazon Redshift Database Developer Guide, "DATEFORMAT and TIMEFORMAT strings" and "Using automatic recognition".

use jiff::{
    Timestamp, Unit,
    civil::{Date, DateTime},
    fmt::strtime::BrokenDownTime,
    tz::TimeZone,
};

use super::options::TimeFormat;

/// Redshift's words for the parts of a format, and jiff's; longer ones first.
const PARTS: &[(&str, &str)] = &[
    ("MONTH", "%B"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("YYYY", "%Y"),
    ("MON", "%b"),
    ("DAY", "%A"),
    ("YY", "%y"),
    ("MM", "%m"),
    ("DY", "%a"),
    ("DD", "%d"),
    ("HH", "%H"),
    ("MI", "%M"),
    // A fraction may follow the seconds.
    ("SS", "%S%.f"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("OF", "%:z"),
    ("TZ", "%:z"),
];

/// Written dates that 'auto' knows besides ISO 8601.
const AUTO_DATES: &[&str] = &[
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%m.%d.%Y",
    "%Y%m%d",
    "%b %d, %Y",
    "%b-%d-%Y",
    "%d-%b-%Y",
    "%B %d, %Y",
];
const AUTO_TIMES: &[&str] = &["%H:%M:%S%.f", "%I:%M:%S%.f %p", "%H:%M"];

/// A format of Redshift's in jiff's words.
pub(super) fn pattern(format: &str) -> String {
    let mut out = String::new();
    let mut rest = format;
    'parts: while let Some(next) = rest.chars().next() {
        for (word, directive) in PARTS {
            if rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
                out.push_str(directive);
                rest = &rest[word.len()..];
                continue 'parts;
            }
        }
        match next {
            '%' => out.push_str("%%"),
            other => out.push(other),
        }
        rest = &rest[next.len_utf8()..];
    }
    out
}

/// `2026-01-02`
pub(super) fn date(value: &str, format: &TimeFormat) -> Option<String> {
    let value = value.trim();
    let date = match format {
        TimeFormat::Default => value.parse::<Date>().ok()?,
        TimeFormat::Auto => {
            let iso = || value.parse::<Date>().ok();
            iso().or_else(|| AUTO_DATES.iter().find_map(|format| Date::strptime(format, value).ok()))?
        }
        TimeFormat::Pattern(format) => Date::strptime(format, value).ok()?,
        TimeFormat::EpochSeconds | TimeFormat::EpochMilliseconds => moment(value, format)?.date(),
    };
    Some(date.to_string())
}

/// `2026-01-02 03:04:05`, with a fraction where there is one, in UTC where the value names a zone.
pub(super) fn timestamp(value: &str, format: &TimeFormat) -> Option<String> {
    let moment = moment(value.trim(), format)?;
    let moment = moment.round(Unit::Microsecond).unwrap_or(moment);
    Some(moment.strftime("%Y-%m-%d %H:%M:%S%.f").to_string())
}

fn moment(value: &str, format: &TimeFormat) -> Option<DateTime> {
    match format {
        TimeFormat::EpochSeconds => epoch(value, 1_000_000_000),
        TimeFormat::EpochMilliseconds => epoch(value, 1_000_000),
        TimeFormat::Pattern(format) => written(format, value),
        TimeFormat::Default => iso(value),
        TimeFormat::Auto => iso(value).or_else(|| {
            let formats = AUTO_DATES.iter().flat_map(|date| {
                let with_time = AUTO_TIMES.iter().map(move |time| format!("{date} {time}"));
                with_time.chain([(*date).to_owned()])
            });
            formats.into_iter().find_map(|format| written(&format, value))
        }),
    }
}

fn epoch(value: &str, nanoseconds_each: i128) -> Option<DateTime> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let moment = Timestamp::from_nanosecond(i128::from(whole).checked_mul(nanoseconds_each)?).ok()?;
    Some(in_utc(moment))
}

/// The zone first: a civil time would be read past it.
fn iso(value: &str) -> Option<DateTime> {
    value.parse::<Timestamp>().map(in_utc).or_else(|_| value.parse::<DateTime>()).ok()
}

fn written(format: &str, value: &str) -> Option<DateTime> {
    let parts = BrokenDownTime::parse(format, value).ok()?;
    if parts.offset().is_some() {
        return parts.to_timestamp().ok().map(in_utc);
    }
    parts.to_datetime().ok().or_else(|| parts.to_date().ok().map(|date| date.at(0, 0, 0, 0)))
}

fn in_utc(moment: Timestamp) -> DateTime {
    moment.to_zoned(TimeZone::UTC).datetime()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(format: &str) -> TimeFormat {
        TimeFormat::Pattern(pattern(format))
    }

    #[test]
    fn timestamps_are_read_by_their_format() {
        let default = TimeFormat::Default;
        for (value, format, read) in [
            ("2026-01-02 03:04:05", &default, Some("2026-01-02 03:04:05")),
            ("2026-01-02T03:04:05.123456Z", &default, Some("2026-01-02 03:04:05.123456")),
            ("2026-01-02 03:04:05.5+01", &default, Some("2026-01-02 02:04:05.5")),
            ("2026-01-02", &default, Some("2026-01-02 00:00:00")),
            ("01/02/2026", &default, None),
            ("2026-02-30 00:00:00", &default, None),
            ("", &default, None),
            ("01/02/2026 03:04:05", &TimeFormat::Auto, Some("2026-01-02 03:04:05")),
            ("Jan 02, 2026 03:04:05.25", &TimeFormat::Auto, Some("2026-01-02 03:04:05.25")),
            ("1767323045", &TimeFormat::EpochSeconds, Some("2026-01-02 03:04:05")),
            ("1767323045123", &TimeFormat::EpochMilliseconds, Some("2026-01-02 03:04:05.123")),
            ("99999999999999999999", &TimeFormat::EpochSeconds, None),
            ("soon", &TimeFormat::EpochSeconds, None),
            ("02.01.2026 03-04-05", &of("DD.MM.YYYY HH-MI-SS"), Some("2026-01-02 03:04:05")),
            ("2026-01-02 03:04:05.25 PM", &of("YYYY-MM-DD HH12:MI:SS AM"), Some("2026-01-02 15:04:05.25")),
            ("2026-01-02 03:04:05+02:00", &of("YYYY-MM-DD HH:MI:SSOF"), Some("2026-01-02 01:04:05")),
        ] {
            assert_eq!(timestamp(value, format).as_deref(), read, "{value} as {format:?}");
        }
    }

    #[test]
    fn dates_are_read_by_their_format() {
        for (value, format, read) in [
            ("2026-01-02", &TimeFormat::Default, Some("2026-01-02")),
            ("01/02/2026", &TimeFormat::Default, None),
            ("01/02/2026", &TimeFormat::Auto, Some("2026-01-02")),
            ("20260102", &TimeFormat::Auto, Some("2026-01-02")),
            ("02-01-26", &of("DD-MM-YY"), Some("2026-01-02")),
            ("Jan 2 2026", &of("MON DD YYYY"), Some("2026-01-02")),
            ("2026", &of("YYYY-MM-DD"), None),
        ] {
            assert_eq!(date(value, format).as_deref(), read, "{value} as {format:?}");
        }
    }

    #[test]
    fn a_percent_sign_in_a_format_is_itself() {
        assert_eq!(pattern("YYYY%MM ünd"), "%Y%%%m ünd");
    }

    proptest::proptest! {
        #[test]
        fn no_value_makes_it_panic(value in ".{0,40}", format in ".{0,20}") {
            for format in [TimeFormat::Default, TimeFormat::Auto, TimeFormat::EpochMilliseconds, of(&format)] {
                let _ = timestamp(&value, &format);
                let _ = date(&value, &format);
            }
        }
    }
}
