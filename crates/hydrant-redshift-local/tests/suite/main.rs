//! The stand-in as its users meet it: aws-sdk-redshiftdata over HTTP, objects in an S3 server. Each test runs over SQLite and
//! over Postgres.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

mod copying;
mod crashes;
mod site;
mod statements;
