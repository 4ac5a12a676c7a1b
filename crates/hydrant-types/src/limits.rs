//! Amazon Data Firehose's published limits.
//!
//! Source: the service model `firehose/2015-08-04` and the developer guide's page "Quota"
//! (<https://docs.aws.amazon.com/firehose/latest/dev/limits.html>).

/// Largest record, decoded: 1,000 KiB.
pub const RECORD_BYTES_MAX: usize = 1_024_000;
/// Most records in one PutRecordBatch.
pub const BATCH_RECORDS_MAX: usize = 500;
/// Most bytes of decoded data in one PutRecordBatch: 4 MiB.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest delivery stream name.
pub const STREAM_NAME_LEN_MAX: usize = 64;
/// Streams an account may hold in a region.
pub const STREAMS_MAX: usize = 5_000;
/// Most tags of a stream (API reference of TagDeliveryStream: "Each delivery stream can have up to 50 tags").
pub const STREAM_TAGS_MAX: usize = 50;
/// Buffer size used when none is given.
pub const BUFFER_SIZE_MB_DEFAULT: u32 = 5;
/// Buffer interval used when none is given.
pub const BUFFER_INTERVAL_SECS_DEFAULT: u32 = 300;
/// Redshift RetryOptions.DurationInSeconds used when none is given.
pub const REDSHIFT_RETRY_SECS_DEFAULT: u32 = 3600;
/// Largest HTTP request body that is read: a 4 MiB batch is about 5.6 MiB as base64, plus JSON.
pub const REQUEST_BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Longest S3 object key in bytes (S3 user guide, "Naming Amazon S3 objects").
pub const OBJECT_KEY_LEN_MAX: usize = 1024;
/// Longest evaluated `Prefix` or `ErrorOutputPrefix`, in bytes. The service looks at the shortest that it can evaluate to.
pub const PREFIX_BYTES_MAX: usize = 512;
/// Longest that a prefix can evaluate to, ever, so that each of its keys is one: date, stream, version, time, id and extension come behind it.
pub const EVALUATED_PREFIX_BYTES_MAX: usize = 750;
