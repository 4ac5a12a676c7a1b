//! Postgres' words.

use std::time::Duration;

pub(super) type Database = sqlx::Postgres;

/// How a writing transaction begins.
const BEGIN: &str = "begin";

/// A call that has no answer by then has none: the server is out of reach, though the connection looks sound. Longer than what the
/// server itself is told to wait, so that its own answer comes first where it can.
const CALL_LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// Locks the rows of a select until the transaction ends.
macro_rules! for_update {
    () => {
        " for update"
    };
}

/// Keeps others from changing the rows of a select until the transaction ends.
macro_rules! for_share {
    () => {
        " for share"
    };
}

/// The time of this database's clock.
macro_rules! now {
    () => {
        "clock_timestamp()"
    };
}

/// The time in `$4` milliseconds.
macro_rules! in_4_milliseconds {
    () => {
        "clock_timestamp() + $4 * interval '1 millisecond'"
    };
}

#[path = "attempts.rs"]
mod attempts;
#[path = "batches.rs"]
mod batches;
#[path = "call.rs"]
mod call;
#[path = "leases.rs"]
mod leases;
#[path = "loads.rs"]
mod loads;
#[path = "record_logs.rs"]
mod record_logs;
#[path = "retention.rs"]
mod retention;
#[path = "store.rs"]
mod store;
#[path = "stream_changes.rs"]
mod stream_changes;
#[path = "streams.rs"]
mod streams;

pub(crate) use store::Store;

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::call::Limit;
    use crate::Kind;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_ends_the_call_all_the_same() {
        let limit = Limit::starting_now("wait for ever");
        assert_eq!(limit.keep(async { 7 }).await.unwrap(), 7);
        assert_eq!(limit.keep(pending::<()>()).await.unwrap_err().kind(), Kind::Retry);
    }
}
