//! The API as producers see it: the real server, a real record log, a real metastore.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]
#![allow(unreachable_pub, reason = "one binary of modules")]

mod auth;
mod connections;
mod control;
mod declared;
mod encryption;
mod golden;
mod hostile;
mod limits;
mod malformed;
mod metrics;
mod put;
mod rules;
mod sdk;
mod support;
mod tags;
mod tls;
mod update;
