//! Identifiers and positions. Two `u64`s that could be swapped will be, so each is its own type.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// The identity of a record log, made at random with its directory: a replaced disk is another log.
    LogId
);
uuid_id!(
    /// The identity of a metastore, made at random with its schema: a wiped database is another metastore.
    MetastoreId
);
uuid_id!(
    /// A batch; a version 4 UUID, and the one at the end of its object's key.
    BatchId
);
uuid_id!(
    /// A load: what one COPY takes together.
    LoadId
);
number_id!(
    /// A stream, given by the metastore and never used again, so that a stream of the same name made later is another.
    StreamId(u64)
);
number_id!(
    /// The version of a stream's settings, starting at 1; API member `VersionId`, and part of every object's key.
    StreamVersion(u32)
);
number_id!(
    /// A frame's number in its log, over all streams, ever growing by one.
    Lsn(u64)
);
number_id!(
    /// A record's number in its stream within one log, dense, starting at 0.
    Position(u64)
);
number_id!(
    /// Grows with each holder of a lease and fences the former one.
    LeaseEpoch(u64)
);

impl Lsn {
    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Position {
    /// The first position of every stream.
    pub const FIRST: Self = Self(0);

    /// The position `records` further on.
    #[must_use]
    pub fn plus(self, records: u64) -> Self {
        Self(self.0 + records)
    }
}

impl StreamVersion {
    /// The version a new stream has.
    pub const FIRST: Self = Self(1);
}

/// Records `from` up to, but without, `to` of one stream. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PositionRange {
    /// The first record's position.
    pub from: Position,
    /// The position after the last record.
    pub to: Position,
}

impl PositionRange {
    /// A range, or `None` where it would be empty or backwards.
    pub fn new(from: Position, to: Position) -> Option<Self> {
        (from < to).then_some(Self { from, to })
    }

    /// How many records it holds, at least one.
    pub fn records(self) -> u64 {
        self.to.0 - self.from.0
    }

    /// Whether the record at `position` is in it.
    pub fn contains(self, position: Position) -> bool {
        self.from <= position && position < self.to
    }
}

impl fmt::Display for PositionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

/// What a producer gets for a record: opaque to it, decodable by us for ever.
///
/// Text form: URL-safe base64 without padding, 50 characters, of 37 bytes: version `1`, log id (16), stream id (8, big
/// endian), position (8, big endian), CRC-32 of the 33 bytes before it (4, big endian). A later version gets another first
/// byte; what version 1 says never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId {
    /// The log that took the record.
    pub log: LogId,
    /// The stream it was put to.
    pub stream: StreamId,
    /// Its position there.
    pub position: Position,
}

/// A text was not a RecordId that this service gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a RecordId of this service: expected 50 characters of URL-safe base64 with a valid check sum")]
pub struct RecordIdError;

impl RecordId {
    /// Length of the text form.
    pub const TEXT_LEN: usize = 50;
    const VERSION: u8 = 1;
    const BYTES: usize = 37;

    /// Writes the text form at the end of `out`.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let mut bytes = [0u8; Self::BYTES];
        bytes[0] = Self::VERSION;
        bytes[1..17].copy_from_slice(self.log.0.as_bytes());
        bytes[17..25].copy_from_slice(&self.stream.0.to_be_bytes());
        bytes[25..33].copy_from_slice(&self.position.0.to_be_bytes());
        let check = crc32fast::hash(&bytes[..33]);
        bytes[33..].copy_from_slice(&check.to_be_bytes());
        let start = out.len();
        out.resize(start + Self::TEXT_LEN, 0);
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut out[start..]).expect("37 bytes are 50 characters of base64");
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(Self::TEXT_LEN);
        self.write_to(&mut text);
        f.write_str(std::str::from_utf8(&text).expect("base64 is ASCII"))
    }
}

impl FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<Self, RecordIdError> {
        let bytes: [u8; Self::BYTES] =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| b.try_into().ok()).ok_or(RecordIdError)?;
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let check = u32::from_be_bytes(bytes[33..].try_into().expect("four bytes"));
        if bytes[0] != Self::VERSION || crc32fast::hash(&bytes[..33]) != check {
            return Err(RecordIdError);
        }
        Ok(Self {
            log: LogId(Uuid::from_bytes(bytes[1..17].try_into().expect("sixteen bytes"))),
            stream: StreamId(number(17)),
            position: Position(number(25)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_id_of_version_1_reads_the_same_for_ever() {
        let id = RecordId {
            log: LogId(Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef)),
            stream: StreamId(7),
            position: Position(1_000_000),
        };
        insta::assert_snapshot!(id, @"AQEjRWeJq03vgSNFZ4mrze8AAAAAAAAABwAAAAAAD0JANnIY0A");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    proptest! {
        #[test]
        fn record_ids_survive_their_text_form(log: u128, stream: u64, position: u64) {
            let id = RecordId { log: LogId(Uuid::from_u128(log)), stream: StreamId(stream), position: Position(position) };
            let text = id.to_string();
            prop_assert_eq!(text.len(), RecordId::TEXT_LEN);
            prop_assert_eq!(text.parse(), Ok(id));
        }

        #[test]
        fn a_mistyped_record_id_is_refused(log: u128, at in 0usize..50, to in 0usize..64) {
            let id = RecordId { log: LogId(Uuid::from_u128(log)), stream: StreamId(1), position: Position(2) };
            let mut text = id.to_string().into_bytes();
            text[at] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[to];
            let text = String::from_utf8(text).unwrap();
            let unchanged = text == id.to_string();
            prop_assert_eq!(text.parse::<RecordId>().is_ok(), unchanged);
        }
    }

    #[test]
    fn a_range_is_never_empty() {
        assert!(PositionRange::new(Position(3), Position(3)).is_none());
        assert!(PositionRange::new(Position(4), Position(3)).is_none());
        let range = PositionRange::new(Position(3), Position(5)).unwrap();
        assert_eq!(range.records(), 2);
        assert!(range.contains(Position(4)) && !range.contains(Position(5)));
    }
}
