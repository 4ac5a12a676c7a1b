//! What Firehose demands of `Prefix` and `ErrorOutputPrefix`.

use std::fmt;

use hydrant_types::{Prefix, limits, prefix::Part};

use crate::input::{Faults, Node};

fn bad(at: &Node<'_>, constraint: impl fmt::Display, faults: &mut Faults) {
    let message = format!("The supplied prefix(es) do not satisfy the following constraint: {constraint}");
    faults.invalid(at, message);
}

/// Redshift's staging takes literal prefixes only.
pub(super) fn check_none(config: &Node<'_>, faults: &mut Faults) {
    let (prefix, error_prefix) = (config.at("Prefix"), config.at("ErrorOutputPrefix"));
    let expressions = prefix.text().is_some_and(|text| text.contains("!{"));
    if expressions || error_prefix.filled().is_some() {
        let at = if expressions { &prefix } else { &error_prefix };
        let constraint =
            "Prefix Expressions or ErrorOutputPrefix is currently not supported for this destination";
        bad(at, constraint, faults);
    }
}

/// Checks `Prefix` and `ErrorOutputPrefix` of an S3 configuration.
pub(super) fn check(config: &Node<'_>, partitioned: bool, faults: &mut Faults) {
    let (prefix, error_prefix) = (config.at("Prefix"), config.at("ErrorOutputPrefix"));
    let parts = read(&prefix, "prefix", faults);
    let error_parts = read(&error_prefix, "ErrorOutputPrefix", faults);
    let (Some(parts), Some(error_parts)) = (parts, error_parts) else { return };
    let has_error_type = |prefix: &Prefix<'_>| prefix.parts().contains(&Part::ErrorOutputType);
    if has_error_type(&parts) {
        let constraint = "Prefix must not contain any occurrence of !{firehose:error-output-type}";
        bad(&prefix, constraint, faults);
    }
    if parts.has_expressions() && error_prefix.filled().is_none() {
        let constraint = "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions";
        bad(&prefix, constraint, faults);
    }
    if error_parts.has_expressions() && !has_error_type(&error_parts) {
        let constraint =
            "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}";
        bad(&error_prefix, constraint, faults);
    }
    if error_parts.has_partition_key() {
        let constraint = "Dynamic Partitioning Namespaces can't be part of an error prefix expression";
        bad(&error_prefix, constraint, faults);
    }
    if partitioned && !parts.has_partition_key() {
        let constraint =
            "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled";
        bad(config, constraint, faults);
    }
}

/// A prefix's parts; `None` where it is none, which is noted.
fn read<'a>(at: &Node<'a>, evaluated: &str, faults: &mut Faults) -> Option<Prefix<'a>> {
    let parts = match Prefix::parse(at.text().unwrap_or_default()) {
        Ok(parts) => parts,
        Err(error) => {
            bad(at, error, faults);
            return None;
        }
    };
    // In bytes, as S3 counts a key.
    let (least, most) = parts.bytes().into_inner();
    if least > limits::PREFIX_BYTES_MAX || most > limits::EVALUATED_PREFIX_BYTES_MAX {
        let constraint =
            format!("Length of evaluated {evaluated} cannot be greater than {}", limits::PREFIX_BYTES_MAX);
        bad(at, constraint, faults);
    }
    Some(parts)
}
