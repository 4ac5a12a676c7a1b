//! When a request was signed.

use std::fmt;

use jiff::{civil::DateTime, tz::Offset};

/// A moment, to the second, in ISO 8601's basic format: `20150830T123600Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SigningTime {
    /// Since the Unix epoch.
    seconds: i64,
}

impl SigningTime {
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        Self { seconds }
    }

    /// As `X-Amz-Date` is written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().try_fold(0_i16, |number, digit| {
                digit.is_ascii_digit().then(|| number * 10 + i16::from(digit - b'0'))
            })
        };
        let short = |from: usize| number(from, from + 2).map(|number| number as i8);
        if bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let civil =
            DateTime::new(number(0, 4)?, short(4)?, short(6)?, short(9)?, short(11)?, short(13)?, 0).ok()?;
        Offset::UTC.to_timestamp(civil).ok().map(|at| Self { seconds: at.as_second() })
    }

    /// As the header `Date` may be written.
    pub(crate) fn parse_http_date(text: &str) -> Option<Self> {
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self { seconds: at.as_second() })
    }

    pub(crate) fn plus(self, seconds: i64) -> Self {
        Self { seconds: self.seconds.saturating_add(seconds) }
    }
}

impl fmt::Display for SigningTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_second(self.seconds).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{}", at.strftime("%Y%m%dT%H%M%SZ"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_format_is_read_strictly() {
        let at = SigningTime::parse("20150830T123600Z").unwrap();
        assert_eq!((at.seconds, at.to_string().as_str()), (1_440_938_160, "20150830T123600Z"));
        for bad in [
            "",
            "201",
            "20150830T123600",
            "20150830t123600z",
            "2015083ٱT12360Z",
            "20151330T123600Z",
            "20150230T123600Z",
            "20150830T243600Z",
            "2015-08-30T12:36",
            "+0150830T123600Z",
            "20150830T123600Z ",
        ] {
            assert_eq!(SigningTime::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn http_dates_are_read() {
        let at = SigningTime::parse_http_date("Sun, 30 Aug 2015 12:36:00 GMT");
        assert_eq!(at, SigningTime::parse("20150830T123600Z"));
        assert_eq!(SigningTime::parse_http_date("yesterday"), None);
    }
}
