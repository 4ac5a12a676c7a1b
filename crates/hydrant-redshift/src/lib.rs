//! Renders manifests and COPY; submits and follows statements; classifies their errors.

pub mod error;
mod warehouse_client;

pub use error::{Error, Kind};
pub use warehouse_client::{StatementStatus, StatementSummary, Submission, WarehouseClient};
