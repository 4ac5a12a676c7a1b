//! The Firehose protocol over HTTP: JSON 1.1, validation, operations.
