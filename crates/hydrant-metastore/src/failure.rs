//! What a failure of the database means for the caller: the one place where SQLSTATEs and SQLite's codes are read.
//!
//! The question that matters is whether the change can have been made. A transaction that fails before its COMMIT was
//! sent is certainly undone, even where the connection broke; only COMMIT itself, and a statement that commits by
//! itself, leave doubt when the answer is lost. So each call site says which of the two it is.

use sqlx::{Error as Cause, error::DatabaseError, postgres::PgDatabaseError};

use crate::Error;

/// For reads and for statements inside a transaction: whatever happened, nothing was changed.
pub(crate) fn undone(step: &'static str) -> impl FnOnce(Cause) -> Error {
    move |source| match fate(&source) {
        Fate::NotDone | Fate::AnswerLost => Error::Unavailable { step, source },
        Fate::NoSuchTable => Error::NotMigrated,
        Fate::Refused => Error::Refused { step, source },
    }
}

/// For COMMIT, and for writes that are a transaction of their own: without an answer it may have been done.
pub(crate) fn in_doubt(step: &'static str) -> impl FnOnce(Cause) -> Error {
    move |source| match fate(&source) {
        Fate::NotDone => Error::Unavailable { step, source },
        Fate::AnswerLost => Error::OutcomeUnknown { step, source },
        Fate::NoSuchTable => Error::NotMigrated,
        Fate::Refused => Error::Refused { step, source },
    }
}

enum Fate {
    /// Certainly not done, and may work later.
    NotDone,
    /// The connection, the server or the file failed under the statement.
    AnswerLost,
    /// A table or column is missing: the schema is older than this program, or there is none.
    NoSuchTable,
    /// Certainly not done, and will not work later either.
    Refused,
}

fn fate(cause: &Cause) -> Fate {
    match cause {
        Cause::PoolTimedOut | Cause::PoolClosed | Cause::BeginFailed | Cause::Tls(_) => Fate::NotDone,
        Cause::Io(_) | Cause::Protocol(_) | Cause::WorkerCrashed => Fate::AnswerLost,
        Cause::Database(error) => database_fate(error.as_ref()),
        _ => Fate::Refused,
    }
}

fn database_fate(error: &dyn DatabaseError) -> Fate {
    let code = error.code().unwrap_or_default();
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(_) => sqlstate_fate(&code),
        None => sqlite_fate(&code),
    }
}

/// Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
fn sqlstate_fate(code: &str) -> Fate {
    match code {
        // admin_shutdown and crash_shutdown end the session under a statement, COMMIT included; io_error and internal
        // errors say nothing about how far it came; statement_completion_unknown says so itself.
        "57P01" | "57P02" | "58030" | "XX000" | "40003" => Fate::AnswerLost,
        // undefined_table, undefined_column
        "42P01" | "42703" => Fate::NoSuchTable,
        // cannot_connect_now; query_canceled (statement_timeout); lock_not_available (lock_timeout);
        // idle_in_transaction_session_timeout; read_only_sql_transaction (a standby answers during a fail-over).
        "57P03" | "57014" | "55P03" | "25P03" | "25006" => Fate::NotDone,
        _ if code.starts_with("08") => Fate::AnswerLost,
        // serialization_failure and deadlock_detected roll back; 53: too many connections, disk or memory full.
        _ if code.starts_with("40") || code.starts_with("53") => Fate::NotDone,
        _ => Fate::Refused,
    }
}

/// Source: <https://www.sqlite.org/rescode.html>; the low byte of an extended code is the primary one.
fn sqlite_fate(code: &str) -> Fate {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const NOMEM: i32 = 7;
    const INTERRUPT: i32 = 9;
    const IOERR: i32 = 10;
    const FULL: i32 = 13;
    // Others hold the locks of the write-ahead log for too long.
    const PROTOCOL: i32 = 15;
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(BUSY | LOCKED | NOMEM | INTERRUPT | FULL | PROTOCOL) => Fate::NotDone,
        Ok(IOERR) => Fate::AnswerLost,
        _ => Fate::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn broken() -> Cause {
        Cause::Io(std::io::ErrorKind::ConnectionReset.into())
    }

    #[test]
    fn a_lost_answer_is_in_doubt_only_where_something_can_have_been_committed() {
        assert_eq!(undone("read")(broken()).kind(), Kind::Retry);
        assert_eq!(in_doubt("commit")(broken()).kind(), Kind::OutcomeUnknown);
        assert_eq!(in_doubt("commit")(Cause::PoolTimedOut).kind(), Kind::Retry);
        assert_eq!(in_doubt("commit")(Cause::RowNotFound).kind(), Kind::Rejected);
    }

    #[test]
    fn a_session_that_the_server_ends_leaves_doubt_and_a_rollback_does_not() {
        for code in ["57P01", "57P02", "08006", "08007", "40003", "58030"] {
            assert!(matches!(sqlstate_fate(code), Fate::AnswerLost), "{code}");
        }
        for code in ["57P03", "40001", "40P01", "53300", "53100", "57014", "25006"] {
            assert!(matches!(sqlstate_fate(code), Fate::NotDone), "{code}");
        }
        for code in ["23505", "28P01", "3D000", "42501"] {
            assert!(matches!(sqlstate_fate(code), Fate::Refused), "{code}");
        }
        for code in ["42P01", "42703"] {
            assert!(matches!(sqlstate_fate(code), Fate::NoSuchTable), "{code}");
        }
    }

    #[test]
    fn extended_codes_of_sqlite_mean_what_their_primary_codes_mean() {
        // SQLITE_BUSY_SNAPSHOT, SQLITE_IOERR_FSYNC, SQLITE_CONSTRAINT_UNIQUE
        assert!(matches!(sqlite_fate("517"), Fate::NotDone));
        assert!(matches!(sqlite_fate("1034"), Fate::AnswerLost));
        assert!(matches!(sqlite_fate("2067"), Fate::Refused));
    }
}
