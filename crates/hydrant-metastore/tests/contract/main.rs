//! What the trait [`Metastore`](hydrant_metastore::Metastore) promises, run against each database.
//!
//! A test is a function that takes a [`Fixture`](fixture::Fixture); `on_both!` makes two tests of it.

#![allow(clippy::unwrap_used, reason = "what fails in a test is to end it")]

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::fixture::Fixture::sqlite().await).await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::fixture::Fixture::postgres().await).await;
            })*
        }
    };
}

mod attempts;
mod batches;
mod discarding;
mod error_output;
mod fixture;
mod illegal;
mod lanes;
mod leases;
mod loads;
mod model;
mod people;
mod record_logs;
mod retention;
mod schema;
mod stream_changes;
mod streams;
mod trouble;
mod upgrade;
