//! The ledger: a table beside each target table, with a row for each load that was committed.
//!
//! COPY is at least once: a lost answer leaves the question whether it was done. The ledger's row commits with the COPY, so
//! the answer is in the warehouse. One ledger per target table: COPYs into other tables do not wait for its lock.
//!
//! Redshift enforces no primary key, and a transaction's snapshot begins with its first query: so [`lock`] comes first, then
//! [`check`], which fails with a division by zero where the row is there, then the COPY, then [`record`].

use hydrant_types::LoadId;
use sha2::{Digest, Sha256};

use crate::identifier::{TableName, literal, quoted};

/// Longest identifier in Redshift, in bytes.
const IDENTIFIER_LEN_MAX: usize = 127;
const PREFIX: &str = "hydrant_ledger_";

/// The ledger of `table`, in the same schema, as it is written in SQL. `events` → `hydrant_ledger_events`; a quoted name stays
/// quoted; one that would be too long ends with a digest of the whole. Two ways to write one table give one ledger.
pub fn table_of(table: &str) -> String {
    let table = TableName::parse(table);
    let plain = table.plain();
    let name = format!("{PREFIX}{}", fitting(&plain.text));
    table.with_name(&if plain.is_quoted { quoted(&name) } else { name })
}

fn fitting(name: &str) -> String {
    const DIGEST_LEN: usize = 16;
    if PREFIX.len() + name.len() <= IDENTIFIER_LEN_MAX {
        return name.to_owned();
    }
    let digest = hex::encode(Sha256::digest(name.as_bytes()));
    let keep = name.floor_char_boundary(IDENTIFIER_LEN_MAX - PREFIX.len() - DIGEST_LEN - 1);
    format!("{}_{}", &name[..keep], &digest[..DIGEST_LEN])
}

/// Makes the ledger where it is missing.
pub fn create(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (load_id VARCHAR(36) NOT NULL, manifest VARCHAR(2048) NOT NULL, \
         loaded_at TIMESTAMP NOT NULL)",
        table_of(table)
    )
}

/// Makes a second statement for the same table wait for the first.
pub fn lock(table: &str) -> String {
    format!("LOCK TABLE {}", table_of(table))
}

/// Fails with a division by zero when the load was committed before; the transaction is then rolled back.
pub fn check(table: &str, load: LoadId) -> String {
    format!(
        "SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM {} WHERE load_id = '{load}'",
        table_of(table)
    )
}

/// Records the load; commits with the COPY.
pub fn record(table: &str, load: LoadId, manifest_url: &str) -> String {
    format!(
        "INSERT INTO {} (load_id, manifest, loaded_at) VALUES ('{load}', {}, GETDATE())",
        table_of(table),
        literal(manifest_url)
    )
}

/// Counts the load's rows: 1 where it was committed.
pub fn count(table: &str, load: LoadId) -> String {
    format!("SELECT count(*) FROM {} WHERE load_id = '{load}'", table_of(table))
}

/// Succeeds where the ledger is there.
pub(crate) fn probe(table: &str) -> String {
    format!("SELECT count(*) FROM {} WHERE load_id = ''", table_of(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_lies_beside_its_table() {
        assert_eq!(table_of("events"), "hydrant_ledger_events");
        assert_eq!(table_of("shop.events"), "shop.hydrant_ledger_events");
        assert_eq!(table_of("dev.shop.events"), "dev.shop.hydrant_ledger_events");
        assert_eq!(table_of(r#""My.Schema"."My.Table""#), r#""My.Schema"."hydrant_ledger_My.Table""#);
        assert_eq!(table_of(r#""a""b""#), r#""hydrant_ledger_a""b""#);
    }

    #[test]
    fn one_table_has_one_ledger_however_it_is_written() {
        let long = "Events_".repeat(18);
        assert_eq!(table_of("Events"), table_of("events"));
        assert_eq!(table_of(&long), table_of(&long.to_lowercase()));
        assert_ne!(table_of("\"Events\""), table_of("events"));
    }

    #[test]
    fn long_names_stay_within_redshifts_limit_and_apart() {
        for letter in ["x", "ü"] {
            let long = letter.repeat(126 / letter.len());
            let (one, two) = (format!("{long}1"), format!("{long}2"));
            assert!(table_of(&one).len() <= IDENTIFIER_LEN_MAX);
            assert_ne!(table_of(&one), table_of(&two));
        }
        let quoted = format!("\"{}\"", "\"\"".repeat(120));
        assert!(table_of(&quoted).replace("\"\"", "\"").len() - 2 <= IDENTIFIER_LEN_MAX);
    }

    #[test]
    fn no_table_name_ends_the_ledgers_statement() {
        let load: LoadId = "6f0c1a52-0000-4000-8000-000000000001".parse().unwrap();
        let hostile = "t WHERE 1=1; DROP TABLE t; --";
        assert_eq!(lock(hostile), "LOCK TABLE \"hydrant_ledger_t WHERE 1=1; DROP TABLE t; --\"");
        assert!(record("t", load, "s3://b/it's").contains("'s3://b/it''s'"));
        assert_eq!(
            count("s.t", load),
            "SELECT count(*) FROM s.hydrant_ledger_t WHERE load_id = '6f0c1a52-0000-4000-8000-000000000001'"
        );
    }
}
