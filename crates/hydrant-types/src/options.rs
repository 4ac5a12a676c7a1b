//! Settings of a stream for which the API's shape has no place: tags named `hydrant:…`, so that every SDK can set them.

use std::time::Duration;

use crate::{ByteSize, S3Options, Tags};

/// What every such tag's key begins with.
const PREFIX: &str = "hydrant:";
/// The tag that says what becomes of a stream's records when it is deleted.
const ON_DELETE: &str = "hydrant:on-delete";

/// What is said of a tag that there is not.
const NAMES: &str = "one of hydrant:buffering-interval, hydrant:gzip-level, hydrant:gzip-member-size, \
                     hydrant:content-encoding, hydrant:copy-retry, hydrant:on-delete, hydrant:prefix-date, hydrant:expected-bucket-owner, hydrant:acl, hydrant:storage-class, hydrant:object-tags, \
                     hydrant:s3-endpoint, hydrant:s3-region";

/// Shorter than this an interval seals batch after batch of single records; longer than this the API has none either.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(900));
/// More often hurts the warehouse; RetryOptions end after two hours.
const COPY_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(7200));
/// A smaller gzip member compresses visibly worse; a bigger one than the biggest buffer is the whole object.
const GZIP_MEMBER: (ByteSize, ByteSize) = (ByteSize(256 * 1024), ByteSize::mib(128));

/// What a stream's `hydrant:…` tags say; what they do not say is `None`, and the API's shape and the configuration decide.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// `hydrant:buffering-interval`, 1 ms to 15 min: instead of `IntervalInSeconds`.
    pub buffering_interval: Option<Duration>,
    /// `hydrant:gzip-level`, 1 (fast) to 9 (small).
    pub gzip_level: Option<u32>,
    /// `hydrant:gzip-member-size`, 256 KiB to 128 MiB of records: an object is cut into gzip members of this size.
    pub gzip_member_size: Option<ByteSize>,
    /// `hydrant:content-encoding`, `on` or `off`: whether compressed objects say so in that header. `None` is on.
    pub content_encoding: Option<bool>,
    /// `hydrant:copy-retry`, 100 ms to 2 h: between a failed COPY and its next attempt.
    pub copy_retry: Option<Duration>,
    /// `hydrant:on-delete`.
    pub on_delete: OnDelete,
    /// `hydrant:prefix-date`.
    pub prefix_date: PrefixDate,
    /// Those about objects in S3.
    pub s3: S3Options,
}

/// Whether `yyyy/MM/dd/HH/` is put behind a prefix in which there is no timestamp.
///
/// Firehose's documentation has it so. Of prefixes with other expressions in them, such as a random string alone, it is also said that they
/// are taken as they are: who needs that sets `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrefixDate {
    /// It is.
    #[default]
    Append,
    /// The prefix is taken as it is.
    Never,
}

/// What becomes of records that are acknowledged and not delivered when their stream is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// They are delivered first.
    #[default]
    Deliver,
    /// They are thrown away.
    Discard,
}

/// A `hydrant:…` tag that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Tag {key} is not valid: expected {expected}.")]
pub struct BadOption {
    /// The tag's key.
    pub key: String,
    /// What would be right.
    pub expected: &'static str,
}

impl StreamOptions {
    /// Reads the options among `tags`.
    ///
    /// # Errors
    /// The first tag named `hydrant:…` that there is not, or whose value is not one of its values.
    pub fn from_tags(tags: &Tags) -> Result<Self, BadOption> {
        let mut options = Self::default();
        for (key, value) in of_ours(tags) {
            options.set(key, value).map_err(|expected| BadOption { key: key.to_owned(), expected })?;
        }
        Ok(options)
    }

    /// The options among tags that were checked when they were set; one that an older or newer version took is passed over.
    pub fn of_checked(tags: &Tags) -> Self {
        let mut options = Self::default();
        for (key, value) in of_ours(tags) {
            let _ = options.set(key, value);
        }
        options
    }

    /// Whether a change of tags says no more than that the stream's deletion throws away what is not delivered: the one change that
    /// a stream takes while it is being deleted.
    pub fn turns_to_discard(set: &Tags, remove: &[String]) -> bool {
        remove.is_empty() && set.len() == 1 && set.get(ON_DELETE).is_some_and(|value| value == "discard")
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        let name = key.strip_prefix(PREFIX);
        if let Some(set) = name.and_then(|name| self.s3.set(name, value)) {
            return set;
        }
        match name {
            Some("buffering-interval") => {
                let interval =
                    duration(value, INTERVAL).ok_or("a duration from 1ms to 15m, such as 250ms")?;
                self.buffering_interval = Some(interval);
            }
            Some("gzip-level") => {
                let level = value.parse().ok().filter(|level| (1..=9).contains(level));
                self.gzip_level = Some(level.ok_or("a number from 1 (fast) to 9 (small)")?);
            }
            Some("gzip-member-size") => {
                let size = value.parse().ok().filter(|size| (GZIP_MEMBER.0..=GZIP_MEMBER.1).contains(size));
                self.gzip_member_size = Some(size.ok_or("a size from 256KiB to 128MiB, such as 1MiB")?);
            }
            Some("content-encoding") => {
                self.content_encoding = match value {
                    "on" => Some(true),
                    "off" => Some(false),
                    _ => return Err("on or off"),
                }
            }
            Some("copy-retry") => {
                let pause = duration(value, COPY_RETRY).ok_or("a duration from 100ms to 2h, such as 30s")?;
                self.copy_retry = Some(pause);
            }
            Some("on-delete") => {
                self.on_delete = match value {
                    "deliver" => OnDelete::Deliver,
                    "discard" => OnDelete::Discard,
                    _ => return Err("deliver or discard"),
                }
            }
            Some("prefix-date") => {
                self.prefix_date = match value {
                    "append" => PrefixDate::Append,
                    "never" => PrefixDate::Never,
                    _ => return Err("append or never"),
                }
            }
            _ => {
                return Err(NAMES);
            }
        }
        Ok(())
    }
}

fn of_ours(tags: &Tags) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).filter(|(key, _)| key.starts_with(PREFIX))
}

fn duration(text: &str, (least, most): (Duration, Duration)) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|duration| (least..=most).contains(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_are_read_from_tags_and_other_tags_are_nobodys_business() {
        let all = tags(&[
            ("team", "shop"),
            ("hydrant:buffering-interval", "250ms"),
            ("hydrant:gzip-level", "1"),
            ("hydrant:gzip-member-size", "256KiB"),
            ("hydrant:content-encoding", "off"),
            ("hydrant:copy-retry", "1m 30s"),
            ("hydrant:on-delete", "discard"),
            ("hydrant:prefix-date", "never"),
        ]);
        let expected = StreamOptions {
            buffering_interval: Some(Duration::from_millis(250)),
            gzip_level: Some(1),
            gzip_member_size: Some(ByteSize(262_144)),
            content_encoding: Some(false),
            copy_retry: Some(Duration::from_secs(90)),
            on_delete: OnDelete::Discard,
            prefix_date: PrefixDate::Never,
            s3: S3Options::default(),
        };
        assert_eq!(StreamOptions::from_tags(&all), Ok(expected.clone()));
        assert_eq!(StreamOptions::of_checked(&all), expected);
        assert_eq!(
            StreamOptions::from_tags(&tags(&[("hydrant", "x"), ("a", "")])),
            Ok(StreamOptions::default())
        );
    }

    #[test]
    fn what_means_nothing_is_refused_by_name_and_passed_over_later() {
        for (key, value) in [
            ("hydrant:buffering-interval", "0s"),
            ("hydrant:buffering-interval", "999us"),
            ("hydrant:buffering-interval", "15m 1ms"),
            ("hydrant:buffering-interval", "5"),
            ("hydrant:gzip-level", "0"),
            ("hydrant:gzip-level", "10"),
            ("hydrant:gzip-level", "fast"),
            ("hydrant:gzip-member-size", "255KiB"),
            ("hydrant:gzip-member-size", "129MiB"),
            ("hydrant:gzip-member-size", "some"),
            ("hydrant:content-encoding", "On"),
            ("hydrant:content-encoding", ""),
            ("hydrant:copy-retry", "99ms"),
            ("hydrant:copy-retry", "3h"),
            ("hydrant:on-delete", "Discard"),
            ("hydrant:prefix-date", "true"),
            ("hydrant:expected-bucket-owner", "12345678901"),
            ("hydrant:acl", "public-read"),
            ("hydrant:storage-class", "standard"),
            ("hydrant:object-tags", "team"),
            ("hydrant:s3-endpoint", "s3.example"),
            ("hydrant:s3-region", "EU"),
            ("hydrant:", ""),
            ("hydrant:gziplevel", "1"),
        ] {
            let tags = tags(&[(key, value)]);
            let error = StreamOptions::from_tags(&tags).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
            assert_eq!(StreamOptions::of_checked(&tags), StreamOptions::default());
        }
        for (value, interval) in [("1ms", Duration::from_millis(1)), ("15m", Duration::from_secs(900))] {
            let read = StreamOptions::from_tags(&tags(&[("hydrant:buffering-interval", value)])).unwrap();
            assert_eq!(read.buffering_interval, Some(interval));
        }
    }

    #[test]
    fn options_about_objects_are_read_too() {
        let tags = tags(&[
            ("hydrant:expected-bucket-owner", "123456789012"),
            ("hydrant:acl", "bucket-owner-full-control"),
            ("hydrant:storage-class", "GLACIER_IR"),
            ("hydrant:object-tags", "team=shop cost=1"),
            ("hydrant:s3-endpoint", "http://127.0.0.1:9000"),
            ("hydrant:s3-region", "eu-west-1"),
        ]);
        let s3 = StreamOptions::from_tags(&tags).unwrap().s3;
        assert_eq!(s3.expected_bucket_owner.unwrap().as_str(), "123456789012");
        assert_eq!(s3.acl.unwrap().as_str(), "bucket-owner-full-control");
        assert_eq!(s3.storage_class.unwrap().as_str(), "GLACIER_IR");
        assert_eq!(s3.object_tags.unwrap().as_header(), "team=shop&cost=1");
        assert_eq!(s3.endpoint.unwrap().as_str(), "http://127.0.0.1:9000");
        assert_eq!(s3.region.unwrap().as_str(), "eu-west-1");
    }

    #[test]
    fn only_the_tag_that_discards_alone_turns_a_deletion_to_discard() {
        let discard = ("hydrant:on-delete", "discard");
        assert!(StreamOptions::turns_to_discard(&tags(&[discard]), &[]));
        for set in [
            vec![],
            vec![("hydrant:on-delete", "deliver")],
            vec![discard, ("team", "shop")],
            vec![("x", "discard")],
        ] {
            assert!(!StreamOptions::turns_to_discard(&tags(&set), &[]), "{set:?}");
        }
        assert!(!StreamOptions::turns_to_discard(&tags(&[discard]), &["team".to_owned()]));
    }
}
