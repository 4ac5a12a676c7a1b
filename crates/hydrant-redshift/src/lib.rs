//! Renders manifests and COPY; submits and follows statements; classifies their errors.
//!
//! A COPY through the Data API is at least once: a call may be done and its answer lost. So each load runs as one transaction
//! with a row in a [`ledger`] table beside the target, under a token and a name that are stored before the call. Everything here is
//! stateless; what to do next is decided by hydrant-delivery.

mod call_error;
pub mod classify;
pub mod copy_statement;
mod data_api;
pub mod error;
mod identifier;
pub mod ledger;
pub mod manifest;
mod redaction;
mod warehouse_client;

pub use data_api::{DataApi, Settings};
pub use error::{Error, Kind};
pub use warehouse_client::{StatementStatus, StatementSummary, Submission, WarehouseClient};
