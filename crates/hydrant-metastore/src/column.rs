//! How the domain's values are kept in columns: native types in Postgres, readable text in SQLite.

use hydrant_types::Timestamp;
use sqlx::{
    Decode, Encode, Postgres, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef},
    sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef},
};
use uuid::Uuid;

/// A number as both databases keep it. No position, count or size of ours comes near 2^63; a greater number (only a
/// made-up RecordId holds one) becomes 2^63 - 1, which no row has.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An id: `uuid` in Postgres, hyphenated text in SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(crate) Uuid);

impl Type<Postgres> for Id {
    fn type_info() -> PgTypeInfo {
        <Uuid as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        Uuid::array_type_info()
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.0, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Id {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <Uuid as Decode<Postgres>>::decode(value).map(Self)
    }
}

impl Type<Sqlite> for Id {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Id {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0.to_string(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Id {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <String as Decode<Sqlite>>::decode(value)?;
        Ok(Self(Uuid::parse_str(&text)?))
    }
}

/// A moment: `timestamptz` in Postgres, ISO 8601 text of one length in SQLite, so that it sorts as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Moment {
    /// 2000-01-01T00:00:00Z, from which Postgres counts microseconds.
    const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;
    const SQLITE_FORMAT: &'static str = "%Y-%m-%dT%H:%M:%S.%3fZ";

    fn from_millis(millis: i64) -> Result<Self, BoxDynError> {
        Ok(Self(Timestamp(u64::try_from(millis)?)))
    }
}

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("timestamptz")
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = (number(self.0.as_millis()) - Self::POSTGRES_EPOCH_MS).checked_mul(1000);
        Encode::<Postgres>::encode(micros.ok_or("a time beyond what Postgres can hold")?, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    /// In the binary format, which sqlx asks for with every prepared statement.
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        Self::from_millis(micros.div_euclid(1000) + Self::POSTGRES_EPOCH_MS)
    }
}

impl Type<Sqlite> for Moment {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Moment {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0.format_utc(Self::SQLITE_FORMAT), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Moment {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <String as Decode<Sqlite>>::decode(value)?;
        Self::from_millis(text.parse::<jiff::Timestamp>()?.as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moments_as_text_sort_as_moments_do(a in 0u64..4_000_000_000_000, b in 0u64..4_000_000_000_000) {
            let text = |millis| Timestamp(millis).format_utc(Moment::SQLITE_FORMAT);
            prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
            let read: jiff::Timestamp = text(a).parse().unwrap();
            prop_assert_eq!(read.as_millisecond(), a as i64);
        }
    }

    #[test]
    fn a_moment_has_the_form_that_sqlite_itself_writes() {
        assert_eq!(
            Timestamp(1_700_000_000_120).format_utc(Moment::SQLITE_FORMAT),
            "2023-11-14T22:13:20.120Z"
        );
        assert_eq!(Timestamp(0).format_utc(Moment::SQLITE_FORMAT), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_number_that_no_row_can_hold_becomes_the_greatest() {
        assert_eq!(number(7), 7);
        assert_eq!(number(u64::MAX), i64::MAX);
    }
}
