//! The API as producers see it: the real server, a real record log, a real metastore.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]
#![allow(unreachable_pub, reason = "one binary of modules")]

mod connections;
mod control;
mod golden;
mod limits;
mod malformed;
mod metrics;
mod put;
mod sdk;
mod support;
