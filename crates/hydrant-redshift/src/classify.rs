//! What a statement's error text means, as one of Firehose's own codes (developer guide, "Monitoring with CloudWatch Logs": Redshift).

use std::sync::LazyLock;

use regex::RegexSet;

/// Patterns are tried together; the first in this order that fits gives the code.
const CODES: &[(&str, &str)] = &[
    (r"(?i)division by zero|divide by zero", ALREADY_LOADED),
    (
        r"(?i)sys_load_error_detail|stl_load_errors|invalid (digit|timestamp|date)|string length exceeds",
        "Redshift.DataLoadFailed",
    ),
    (r"(?i)column .* (of relation .* )?does not exist|column .* not found", "Redshift.ColumnNotFound"),
    (
        r"(?i)cannot copy into nonexistent table|relation .* does not exist|table .* (does not exist|not found)|no such table",
        "Redshift.TableNotFound",
    ),
    (r"(?i)database .* does not exist", "Redshift.DatabaseNotFound"),
    (r"(?i)not authorized to assume|assume role|role .* is not (valid|authorized)", "Redshift.AccessDenied"),
    (
        r"(?i)accessdenied|access denied|InvalidAccessKeyId|SignatureDoesNotMatch",
        "Redshift.S3BucketAccessDenied",
    ),
    (
        r"(?i)mandatory url|problem reading manifest|specified key does not exist|nosuchkey|nosuchbucket|S3 (path|prefix) .* does not exist",
        "Redshift.MissingS3File",
    ),
    (
        r"(?i)PermanentRedirect|must be addressed using the specified endpoint|incorrect region",
        "Redshift.IncorrectOrMissingRegion",
    ),
    (r"(?i)jsonpaths? .*(invalid|not match)|invalid jsonpath", "Redshift.IncorrectJsonPathsFile"),
    (r"(?i)number of jsonpaths", "Redshift.ColumnMismatch"),
    (r"(?i)not[- ]null|cannot insert a null value", "Redshift.MissingColumn"),
    (r"(?i)permission denied|insufficient privilege|must be owner", "Redshift.InsufficientPrivilege"),
    (r"(?i)password authentication failed|authentication failed", "Redshift.AuthenticationFailed"),
    (r"(?i)read[- ]only", "Redshift.ReadOnlyCluster"),
    (r"(?i)disk full|no space left", "Redshift.DiskFull"),
    (
        r"(?i)conflicting|redundant|options? .* (not allowed|not supported|cannot be (used|specified))",
        "Redshift.IncorrectCopyOptions",
    ),
    (r"(?i)syntax error", "Redshift.SyntaxError"),
    (
        r"(?i)could not connect|connection refused|cluster is (paused|unavailable)",
        "Redshift.ConnectionFailed",
    ),
];

/// Not one of Firehose's: the ledger's check stopped the transaction.
pub(crate) const ALREADY_LOADED: &str = "Hydrant.AlreadyLoaded";
/// What Firehose calls the rest.
const OTHER: &str = "InternalError";

/// The code for a statement's error text.
pub fn code_of(text: &str) -> &'static str {
    static SET: LazyLock<RegexSet> = LazyLock::new(|| {
        RegexSet::new(CODES.iter().map(|(pattern, _)| pattern))
            .expect("the patterns are constants that a test compiles")
    });
    SET.matches(text).iter().next().map_or(OTHER, |first| CODES[first].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redshifts_words_become_firehoses_codes() {
        for (text, code) in [
            ("ERROR: relation \"events\" does not exist", "Redshift.TableNotFound"),
            ("ERROR: Cannot COPY into nonexistent table events", "Redshift.TableNotFound"),
            ("ERROR: column \"x\" of relation \"events\" does not exist", "Redshift.ColumnNotFound"),
            (
                "ERROR: Load into table 'events' failed.  Check 'stl_load_errors' system table for details.",
                "Redshift.DataLoadFailed",
            ),
            (
                "ERROR: Load into table 't' failed. Check 'sys_load_error_detail' system table for details.",
                "Redshift.DataLoadFailed",
            ),
            ("ERROR: syntax error at or near \"FOO\"", "Redshift.SyntaxError"),
            (
                "ERROR: S3ServiceException:Access Denied,Status 403,Error AccessDenied",
                "Redshift.S3BucketAccessDenied",
            ),
            (
                "ERROR: Problem reading manifest file - S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey",
                "Redshift.MissingS3File",
            ),
            ("ERROR: permission denied for relation events", "Redshift.InsufficientPrivilege"),
            ("FATAL: database \"nope\" does not exist", "Redshift.DatabaseNotFound"),
            ("ERROR: The specified S3 prefix 's3://b/k' does not exist", "Redshift.MissingS3File"),
            (
                "ERROR: S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey: s3://b/k",
                "Redshift.MissingS3File",
            ),
            (
                "ERROR: Problem reading manifest file - S3ServiceException:Access Denied,Status 403,Error AccessDenied",
                "Redshift.S3BucketAccessDenied",
            ),
            (
                "ERROR: S3ServiceException:The bucket you are attempting to access must be addressed using the specified endpoint.,Status 301,Error PermanentRedirect",
                "Redshift.IncorrectOrMissingRegion",
            ),
            (
                "ERROR: User arn:aws:redshift:x is not authorized to assume IAM Role arn:aws:iam::1:role/r",
                "Redshift.AccessDenied",
            ),
            ("ERROR: conflicting or redundant options", "Redshift.IncorrectCopyOptions"),
            (
                "ERROR: COPY option ZSTD is not supported by this Redshift stand-in",
                "Redshift.IncorrectCopyOptions",
            ),
            (
                "ERROR: Number of jsonpaths and the number of columns should match. JSONPath size: 1, Number of columns in table or column list: 2",
                "Redshift.ColumnMismatch",
            ),
            ("ERROR: Invalid JSONPath format: Member is not an object.", "Redshift.IncorrectJsonPathsFile"),
            ("ERROR: null value in column \"id\" violates not-null constraint", "Redshift.MissingColumn"),
            ("ERROR: Cannot insert a NULL value into column id", "Redshift.MissingColumn"),
            ("FATAL: password authentication failed for user \"loader\"", "Redshift.AuthenticationFailed"),
            ("ERROR: cannot execute COPY in a read-only transaction", "Redshift.ReadOnlyCluster"),
            ("ERROR: Disk Full", "Redshift.DiskFull"),
            ("ERROR: could not connect to the database: connection refused", "Redshift.ConnectionFailed"),
            ("", "InternalError"),
            ("ERROR: Divide by zero", ALREADY_LOADED),
            ("ERROR: something new", "InternalError"),
        ] {
            assert_eq!(code_of(text), code, "{text}");
        }
    }
}
