//! Patterns of `java.time.format.DateTimeFormatter`, in the locale `en_US`: weeks begin on Sunday, the first has 1 January in it.

use std::{fmt::Write as _, ops::RangeInclusive};

use jiff::{Zoned, civil::Date};

use super::zone;

/// Longer than any number that a letter stands for.
const NUMBER_BYTES_MAX: usize = 20;
/// Of era, month, weekday, quarter and part of the day.
const TEXT_BYTES_MAX: usize = 16;
/// `GMT-00:44:30`
const OFFSET_BYTES_MAX: usize = 12;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From Sunday, as weeks are counted.
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// In words, short, as a number.
const QUARTERS: [[&str; 4]; 3] = [
    ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"],
    ["Q1", "Q2", "Q3", "Q4"],
    ["1", "2", "3", "4"],
];
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// The value of a `!{timestamp:…}`, read.
#[derive(Debug, Clone)]
pub struct Pattern<'a> {
    text: &'a str,
    items: Vec<Item<'a>>,
}

/// What a letter and how often it is repeated stand for.
#[derive(Debug, Clone, Copy)]
enum Item<'a> {
    Literal(&'a str),
    /// With at least so many digits.
    Number(fn(&Zoned) -> i64, usize),
    Year(fn(&Zoned) -> i64, usize),
    /// So many digits of a second's fraction.
    Fraction(usize),
    Text(fn(&Zoned) -> &'static str),
    /// So many letters of it.
    Head(fn(&Zoned) -> &'static str, usize),
    ZoneName(zone::Length),
    GenericZoneName(zone::Length),
    ZoneId,
    Offset(Offset),
    /// `GMT-3:30`, or `GMT-03:30` where all digits are wanted.
    GmtOffset {
        padded: bool,
    },
}

/// How an offset from UTC is written: `-0330`.
#[derive(Debug, Clone, Copy)]
struct Offset {
    /// In place of no offset at all.
    zero: &'static str,
    colon: &'static str,
    /// Also where they are 0.
    minutes: bool,
    /// Where they are not 0; otherwise never.
    seconds: bool,
}

impl<'a> Pattern<'a> {
    /// Reads a pattern: runs of one letter, text in single quotes, `''` for a quote, and other characters, which stand for themselves.
    /// `None` where it is none: a letter without meaning or repeated too often, a quote that is not closed, one of `[ ] # { }`, of which
    /// Java gives the first two a meaning that Firehose's documentation does not.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (mut items, mut rest) = (Vec::new(), text);
        while let Some(first) = rest.chars().next() {
            let (item, after) = match first {
                '\'' => quoted(rest, &mut items)?,
                letter if letter.is_ascii_alphabetic() => {
                    let after = rest.trim_start_matches(letter);
                    (item(letter, rest.len() - after.len())?, after)
                }
                '[' | ']' | '#' | '{' | '}' => return None,
                other => {
                    let (this, after) = rest.split_at(other.len_utf8());
                    (Item::Literal(this), after)
                }
            };
            items.push(item);
            rest = after;
        }
        Some(Self { text, items })
    }

    /// As it was read.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// How many bytes it has, whenever and wherever it is formatted.
    pub(super) fn bytes(&self) -> RangeInclusive<usize> {
        let bounds = self.items.iter().map(Item::bytes);
        bounds.fold(0..=0, |sum, item| sum.start() + item.start()..=sum.end() + item.end())
    }

    /// Appends what it stands for at a moment in a zone.
    pub(super) fn format(&self, at: &Zoned, to: &mut String) {
        self.items.iter().for_each(|item| item.format(at, to));
    }
}

/// Patterns of the same text are the same.
impl PartialEq for Pattern<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for Pattern<'_> {}

/// The last piece of what `text` begins with, which is in quotes, and what is behind it; pieces before go to `items`. A quote within is
/// doubled; nothing within is a quote.
fn quoted<'a>(text: &'a str, items: &mut Vec<Item<'a>>) -> Option<(Item<'a>, &'a str)> {
    let mut rest = &text[1..];
    loop {
        let (piece, after) = rest.split_once('\'')?;
        if !after.starts_with('\'') {
            let is_quote = piece.is_empty() && rest.len() + 1 == text.len();
            return Some((Item::Literal(if is_quote { &rest[..1] } else { piece }), after));
        }
        items.push(Item::Literal(&rest[..=piece.len()]));
        rest = &after[1..];
    }
}

fn item(letter: char, width: usize) -> Option<Item<'static>> {
    use Item::{Fraction, GenericZoneName, GmtOffset, Head, Number, Text, Year, ZoneId, ZoneName};
    use zone::Length::{Long, Short};
    Some(match (letter, width) {
        ('G', 1..=3) => Head(era, 2),
        ('G', 4) => Text(|at| if at.year() > 0 { "Anno Domini" } else { "Before Christ" }),
        ('G', 5) => Head(era, 1),
        // Wider ones are taken by Java, which fails to print those of up to 18 letters.
        ('u', 1..=10) => Year(|at| at.year().into(), width),
        ('y', 1..=10) => Year(year_of_era, width),
        ('Y', 1..=10) => Year(|at| week_of_year(at.date()).0, width),
        ('D', 1..=3) => Number(|at| at.day_of_year().into(), width),
        ('M' | 'L', 1..=2) => Number(|at| at.month().into(), width),
        ('M' | 'L', 3) => Head(month, 3),
        ('M' | 'L', 4) => Text(month),
        ('M' | 'L', 5) => Head(month, 1),
        ('Q' | 'q', 1..=2) => Number(|at| quarter(at) as i64 + 1, width),
        ('Q' | 'q', 3) => Text(|at| QUARTERS[1][quarter(at)]),
        ('Q' | 'q', 4) => Text(|at| QUARTERS[0][quarter(at)]),
        ('Q' | 'q', 5) => Text(|at| QUARTERS[2][quarter(at)]),
        ('w', 1..=2) => Number(|at| week_of_year(at.date()).1, width),
        ('W', 1) => Number(|at| week_within(at.day().into(), at.date().first_of_month()), width),
        ('d', 1..=2) => Number(|at| at.day().into(), width),
        // As OpenJDK has it before 19: the day in weeks that begin with the month.
        ('F', 1) => Number(|at| (i64::from(at.day()) - 1) % 7 + 1, width),
        ('g', 1..=19) => Number(modified_julian_day, width),
        ('E', 1..=3) | ('e' | 'c', 3) => Head(weekday, 3),
        ('E' | 'e' | 'c', 4) => Text(weekday),
        ('E' | 'e' | 'c', 5) => Head(weekday, 1),
        ('e', 1..=2) | ('c', 1) => Number(|at| day_of_week(at.date()) + 1, width),
        ('a', 1) => Text(|at| if at.hour() < 12 { "AM" } else { "PM" }),
        ('B', 1 | 4) => Text(part_of_day),
        ('B', 5) => Text(|at| match part_of_day(at) {
            "midnight" => "mi",
            "noon" => "n",
            part => part,
        }),
        ('h', 1..=2) => Number(|at| (i64::from(at.hour()) + 11) % 12 + 1, width),
        ('K', 1..=2) => Number(|at| i64::from(at.hour()) % 12, width),
        ('k', 1..=2) => Number(|at| (i64::from(at.hour()) + 23) % 24 + 1, width),
        ('H', 1..=2) => Number(|at| at.hour().into(), width),
        ('m', 1..=2) => Number(|at| at.minute().into(), width),
        ('s', 1..=2) => Number(|at| at.second().into(), width),
        ('S', 1..=9) => Fraction(width),
        ('n', 1..=19) => Number(|at| at.subsec_nanosecond().into(), width),
        ('A', 1..=19) => Number(|at| nanosecond_of_day(at) / 1_000_000, width),
        ('N', 1..=19) => Number(nanosecond_of_day, width),
        ('V', 2) => ZoneId,
        ('z', 1..=3) => ZoneName(Short),
        ('z', 4) => ZoneName(Long),
        ('v', 1) => GenericZoneName(Short),
        ('v', 4) => GenericZoneName(Long),
        ('O', 1) => GmtOffset { padded: false },
        ('O' | 'Z', 4) => GmtOffset { padded: true },
        _ => return offset(letter, width).map(Item::Offset),
    })
}

/// `X` has a Z for no offset, `x` zeros.
fn offset(letter: char, width: usize) -> Option<Offset> {
    let (zero, width) = match (letter, width) {
        ('X', 1..=5) => ("Z", width),
        ('x', 1) => ("+00", width),
        ('x', 2 | 4) | ('Z', 1..=3) => ("+0000", if letter == 'Z' { 2 } else { width }),
        ('x', 3 | 5) => ("+00:00", width),
        ('Z', 5) => ("Z", width),
        _ => return None,
    };
    let colon = if width == 3 || width == 5 { ":" } else { "" };
    Some(Offset { zero, colon, minutes: width > 1, seconds: width > 3 })
}

impl Item<'_> {
    fn bytes(&self) -> RangeInclusive<usize> {
        match self {
            Self::Literal(text) => text.len()..=text.len(),
            // Two digits of a year are two.
            Self::Year(_, 2) => 2..=2,
            Self::Number(_, width) | Self::Year(_, width) => *width..=NUMBER_BYTES_MAX.max(*width),
            Self::Fraction(width) | Self::Head(_, width) => *width..=*width,
            Self::Text(_) => 1..=TEXT_BYTES_MAX,
            Self::ZoneName(_) | Self::GenericZoneName(_) | Self::ZoneId => 1..=zone::NAME_BYTES_MAX,
            Self::Offset(_) | Self::GmtOffset { .. } => 1..=OFFSET_BYTES_MAX,
        }
    }

    fn format(&self, at: &Zoned, to: &mut String) {
        let written = match self {
            Self::Literal(text) => to.write_str(text),
            Self::Number(number, width) => write_number(number(at), *width, to),
            Self::Year(year, 2) => write!(to, "{:02}", year(at).abs() % 100),
            Self::Year(year, width) => write_year(year(at), *width, to),
            Self::Fraction(width) => {
                let digits = format!("{:09}", at.subsec_nanosecond());
                to.write_str(&digits[..*width])
            }
            Self::Text(text) => to.write_str(text(at)),
            Self::Head(text, letters) => to.write_str(&text(at)[..*letters]),
            Self::ZoneName(length) => to.write_str(&zone::name(at, *length)),
            Self::GenericZoneName(length) => to.write_str(&zone::generic_name(at, *length)),
            Self::ZoneId => to.write_str(zone::id(at)),
            Self::Offset(offset) => offset.write(at.offset().seconds(), to),
            Self::GmtOffset { padded } => to.write_str(&gmt_offset(at.offset().seconds(), *padded)),
        };
        written.expect("a string takes everything");
    }
}

fn write_number(number: i64, width: usize, to: &mut String) -> std::fmt::Result {
    let sign = if number < 0 { "-" } else { "" };
    write!(to, "{sign}{:0width$}", number.unsigned_abs())
}

/// A year of more digits than are asked for has its sign, from four digits on.
fn write_year(year: i64, width: usize, to: &mut String) -> std::fmt::Result {
    if width >= 4 && year >= 10_i64.pow(width as u32) {
        to.write_char('+')?;
    }
    write_number(year, width, to)
}

impl Offset {
    fn write(self, seconds: i32, to: &mut String) -> std::fmt::Result {
        let (sign, colon) = (if seconds < 0 { '-' } else { '+' }, self.colon);
        let [hours, minutes, seconds] = parts(seconds);
        let seconds = if self.seconds { seconds } else { 0 };
        if hours + minutes + seconds == 0 {
            return to.write_str(self.zero);
        }
        write!(to, "{sign}{hours:02}")?;
        if self.minutes || minutes > 0 {
            write!(to, "{colon}{minutes:02}")?;
        }
        if seconds > 0 {
            write!(to, "{colon}{seconds:02}")?;
        }
        Ok(())
    }
}

/// `GMT`, `GMT-3:30`, `GMT-03:30`
pub(super) fn gmt_offset(seconds: i32, padded: bool) -> String {
    if seconds == 0 {
        return "GMT".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let [hours, minutes, seconds] = parts(seconds);
    let seconds = if seconds > 0 { format!(":{seconds:02}") } else { String::new() };
    match padded {
        true => format!("GMT{sign}{hours:02}:{minutes:02}{seconds}"),
        false if minutes == 0 && seconds.is_empty() => format!("GMT{sign}{hours}"),
        false => format!("GMT{sign}{hours}:{minutes:02}{seconds}"),
    }
}

/// Hours, minutes, seconds.
fn parts(seconds: i32) -> [u32; 3] {
    let seconds = seconds.unsigned_abs();
    [seconds / 3600, seconds / 60 % 60, seconds % 60]
}

fn era(at: &Zoned) -> &'static str {
    // A letter of it is what Java has for its narrowest form.
    if at.year() > 0 { "AD" } else { "BC" }
}

fn year_of_era(at: &Zoned) -> i64 {
    let year = i64::from(at.year());
    if year > 0 { year } else { 1 - year }
}

fn month(at: &Zoned) -> &'static str {
    MONTHS[at.month() as usize - 1]
}

fn quarter(at: &Zoned) -> usize {
    (at.month() as usize - 1) / 3
}

fn weekday(at: &Zoned) -> &'static str {
    WEEKDAYS[day_of_week(at.date()) as usize]
}

/// From Sunday, which is 0.
fn day_of_week(date: Date) -> i64 {
    date.weekday().to_sunday_zero_offset().into()
}

/// Which week the `day`th day of something is in, whose first day is `first`; from 1.
fn week_within(day: i64, first: Date) -> i64 {
    (day - 1 + day_of_week(first)) / 7 + 1
}

/// Week-based year and week: the last days of December are in the next year's first week where 1 January is.
fn week_of_year(date: Date) -> (i64, i64) {
    let year = i64::from(date.year());
    let days_left = i64::from(date.days_in_year() - date.day_of_year());
    if days_left + day_of_week(date) < 6 {
        return (year + 1, 1);
    }
    (year, week_within(date.day_of_year().into(), date.first_of_year()))
}

fn modified_julian_day(at: &Zoned) -> i64 {
    const UNIX_EPOCH: i64 = 40_587;
    let date = at.date();
    // Days by the civil calendar, without a clock or a zone.
    UNIX_EPOCH + date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24
}

fn nanosecond_of_day(at: &Zoned) -> i64 {
    let seconds = i64::from(at.hour()) * 3600 + i64::from(at.minute()) * 60 + i64::from(at.second());
    seconds * NANOS_PER_SECOND + i64::from(at.subsec_nanosecond())
}

/// CLDR's rules for English. Seconds do not count.
fn part_of_day(at: &Zoned) -> &'static str {
    match (at.hour(), at.minute()) {
        (0, 0) => "midnight",
        (12, 0) => "noon",
        (6..12, _) => "in the morning",
        (12..18, _) => "in the afternoon",
        (18..21, _) => "in the evening",
        _ => "at night",
    }
}
