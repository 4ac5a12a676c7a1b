//! Delivery streams and their settings.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    BucketName, CopyTarget, Lane, OnDelete, StreamId, StreamName, StreamOptions, StreamVersion, Timestamp,
    Warehouse, limits,
};

/// A delivery stream with the settings in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Never used again.
    pub id: StreamId,
    /// Unique among the streams that exist.
    pub name: StreamName,
    /// Whether it takes records.
    pub status: StreamStatus,
    /// Grows by one with every change of the destination.
    pub version: StreamVersion,
    /// Where its records go.
    pub destination: Destination,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its settings last changed; `None` until they first do.
    pub updated_at: Option<Timestamp>,
    /// Its tags; those named `hydrant:…` are settings for which the API's shape has no place.
    #[serde(default)]
    pub tags: Tags,
    /// How its records are kept in the log from now on, and the keys that what is there already may need.
    #[serde(default)]
    pub encryption: StreamEncryption,
    /// The file in `streams.dir` that declares it: it is changed there and not through the API.
    #[serde(default)]
    pub declared_in: Option<String>,
}

impl Stream {
    /// Whether it is being deleted and what is not delivered of it is to be thrown away.
    pub fn is_discarding(&self) -> bool {
        self.status == StreamStatus::Deleting
            && StreamOptions::of_checked(&self.tags).on_delete == OnDelete::Discard
    }
}

/// A stream's tags, in order of their keys.
pub type Tags = BTreeMap<String, String>;

/// How a stream's records are kept in the log (`DeliveryStreamEncryptionConfiguration`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamEncryption {
    /// Set while encryption is ENABLED.
    pub current: Option<CurrentKey>,
    /// Every data key that a frame in some log may be encrypted with, the oldest first; also while encryption is DISABLED.
    pub data_keys: Vec<WrappedDataKey>,
    /// When encryption was started or stopped within the last 24 hours: the service limits how often.
    pub changed_at: Vec<Timestamp>,
}

/// What new records of a stream are encrypted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentKey {
    /// `KeyARN` of a CUSTOMER_MANAGED_CMK; `None` for the AWS_OWNED_CMK, which is the configured default key.
    pub key_arn: Option<String>,
    /// One of the stream's data keys.
    pub data_key: DataKeyId,
}

/// Names a data key among those of its stream. Counted from 1 and never used again, so that a frame that carries it means one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataKeyId(pub u32);

/// A stream's data key, encrypted under a configured key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedDataKey {
    /// Which of the stream's keys.
    pub id: DataKeyId,
    /// ARN of the configured key that it is wrapped with.
    pub wrapped_by: String,
    /// Nonce, ciphertext and tag, in base64.
    pub wrapped: String,
}

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamStatus {
    /// Takes and delivers records.
    Active,
    /// Takes none; what was acknowledged is being delivered, then it is gone.
    Deleting,
}

/// Where a stream's records go.
#[expect(clippy::large_enum_variant, reason = "a few thousand at most, and each behind an Arc")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Destination {
    /// API members `ExtendedS3DestinationConfiguration` and the older `S3DestinationConfiguration`.
    S3(S3Settings),
    /// API member `RedshiftDestinationConfiguration`.
    Redshift(RedshiftSettings),
}

impl Destination {
    /// The bucket and layout that objects are written with: the destination itself, or Redshift's staging.
    pub fn s3(&self) -> &S3Settings {
        match self {
            Self::S3(s3) => s3,
            Self::Redshift(redshift) => &redshift.s3,
        }
    }

    /// How objects of a lane are written; `None` where the destination does not have it.
    pub fn lane(&self, lane: Lane) -> Option<&S3Settings> {
        match lane {
            Lane::Delivery => Some(self.s3()),
            Lane::Backup => self.s3().backup.as_deref(),
        }
    }

    /// What COPY is to load into, for Redshift.
    pub fn copy_target(&self) -> Option<CopyTarget> {
        match self {
            Self::S3(_) => None,
            Self::Redshift(redshift) => Some(redshift.copy_target()),
        }
    }
}

/// How objects are written to S3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct S3Settings {
    /// Whom objects are written as, where roles are assumed; empty: the process's own credentials.
    pub role_arn: String,
    /// From `BucketARN`.
    pub bucket: BucketName,
    /// As given, so that it is echoed as given (`arn:aws:s3:::bucket`, other partitions).
    pub bucket_arn: String,
    /// `Prefix` as given: a [`Prefix`](crate::Prefix).
    pub prefix: Option<String>,
    /// `ErrorOutputPrefix` as given: a [`Prefix`](crate::Prefix).
    pub error_output_prefix: Option<String>,
    /// `CustomTimeZone`, a [zone](crate::time_zone) that keys have their times in; UTC where there is none.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// `FileExtension`, not empty: what an object's key ends with instead of its compression's extension.
    #[serde(default)]
    pub file_extension: Option<String>,
    /// When a batch is sealed.
    pub buffering: BufferingHints,
    /// How an object's bytes are encoded.
    pub compression: Compression,
    /// `EncryptionConfiguration.KMSEncryptionConfig.AWSKMSKeyARN`: the key that S3 encrypts objects with; `None`: as the bucket says.
    #[serde(default)]
    pub kms_key_arn: Option<String>,
    /// Kept and echoed, without effect.
    pub cloudwatch_logging: CloudWatchLogging,
    /// `ProcessingConfiguration`: what is done to each record before it is written.
    #[serde(default)]
    pub processing: Processing,
    /// `S3BackupConfiguration`, where `S3BackupMode` is Enabled: where records go as they came. It has neither processing nor a backup itself.
    #[serde(default)]
    pub backup: Option<Box<S3Settings>>,
}

impl S3Settings {
    /// Settings that say no more than the bucket; the rest is Firehose's defaults.
    pub fn of_bucket(bucket: BucketName) -> Self {
        Self {
            role_arn: String::new(),
            bucket_arn: format!("arn:aws:s3:::{bucket}"),
            bucket,
            prefix: None,
            error_output_prefix: None,
            time_zone: None,
            file_extension: None,
            buffering: BufferingHints::default(),
            compression: Compression::default(),
            kms_key_arn: None,
            cloudwatch_logging: CloudWatchLogging::default(),
            processing: Processing::default(),
            backup: None,
        }
    }
}

/// `ProcessingConfiguration`, as given: a list that is switched off is kept and echoed too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Processing {
    /// Whether the processors are applied.
    pub enabled: bool,
    /// The order says nothing: each type has its place.
    pub processors: Vec<Processor>,
}

impl Processing {
    /// The processor of a type, where it is switched on.
    pub fn active(&self, kind: &str) -> Option<&Processor> {
        self.processors.iter().find(|processor| self.enabled && processor.kind == kind)
    }
}

/// One processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processor {
    /// `Type`, such as `AppendDelimiterToRecord`.
    pub kind: String,
    /// `ParameterName` and `ParameterValue` of each of its `Parameters`.
    pub parameters: Vec<(String, String)>,
}

impl Processor {
    /// The value of a parameter; of the last, where it is given more than once.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// When a batch is sealed: whichever is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferingHints {
    /// MiB of records before compression, 1 to 128.
    pub size_mb: u32,
    /// Seconds since the oldest record's arrival, 0 to 900.
    pub interval_secs: u32,
}

impl BufferingHints {
    /// The size threshold in bytes.
    pub fn size_bytes(self) -> u64 {
        u64::from(self.size_mb) * 1024 * 1024
    }

    /// The age threshold.
    pub fn interval(self) -> Duration {
        Duration::from_secs(u64::from(self.interval_secs))
    }
}

impl Default for BufferingHints {
    fn default() -> Self {
        Self { size_mb: limits::BUFFER_SIZE_MB_DEFAULT, interval_secs: limits::BUFFER_INTERVAL_SECS_DEFAULT }
    }
}

/// How an object's bytes are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// The records as they came.
    #[default]
    Uncompressed,
    /// gzip members (RFC 1952): one per object where the stream does not ask for more.
    Gzip,
    /// A ZIP archive with one deflated entry.
    Zip,
    /// Snappy blocks in the framing of snappy-java (`SnappyOutputStream`), which begins with `82 53 4e 41 50 50 59 00`.
    Snappy,
    /// Snappy blocks in the framing of Hadoop (`BlockCompressorStream`), which has no beginning of its own.
    HadoopSnappy,
}

impl Compression {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Uncompressed, Self::Gzip, Self::Zip, Self::Snappy, Self::HadoopSnappy];

    /// API value of `CompressionFormat`.
    pub fn as_api(self) -> &'static str {
        match self {
            Self::Uncompressed => "UNCOMPRESSED",
            Self::Gzip => "GZIP",
            Self::Zip => "ZIP",
            Self::Snappy => "Snappy",
            Self::HadoopSnappy => "HADOOP_SNAPPY",
        }
    }

    /// From the API value of `CompressionFormat`, whose case counts.
    pub fn from_api(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compression| compression.as_api() == name)
    }

    /// What an object's key ends with. Of Hadoop's too it is `.snappy`, as on the objects that Firehose writes; its documentation has
    /// `.hsnappy`.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Uncompressed => "",
            Self::Gzip => ".gz",
            Self::Zip => ".zip",
            Self::Snappy | Self::HadoopSnappy => ".snappy",
        }
    }

    /// What an object's header `Content-Encoding` says, as on the objects that Firehose writes.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::Uncompressed => None,
            Self::Gzip => Some("gzip"),
            Self::Zip => Some("zip"),
            Self::Snappy => Some("snappy-java"),
            Self::HadoopSnappy => Some("hadoop-snappy"),
        }
    }
}

/// `CloudWatchLoggingOptions`: kept and echoed, without effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CloudWatchLogging {
    /// As given, default false.
    pub enabled: bool,
    /// As given.
    pub log_group_name: Option<String>,
    /// As given.
    pub log_stream_name: Option<String>,
}

/// How a stream's objects are loaded into Redshift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedshiftSettings {
    /// The role COPY reads S3 with.
    pub role_arn: String,
    /// As given, for Describe.
    pub cluster_jdbc_url: String,
    /// Cluster or workgroup, read from the JDBC URL.
    pub warehouse: Warehouse,
    /// Database, read from the JDBC URL.
    pub database: String,
    /// Region, read from the JDBC URL.
    pub region: String,
    /// `CopyCommand.DataTableName`.
    pub table: String,
    /// `CopyCommand.DataTableColumns`.
    pub columns: Option<String>,
    /// `CopyCommand.CopyOptions`.
    pub copy_options: Option<String>,
    /// `Username`: the Data API's DbUser. `Password` is not kept: the Data API needs none.
    pub username: Option<String>,
    /// `SecretsManagerConfiguration.SecretARN` when enabled: the Data API's SecretArn.
    pub secret_arn: Option<String>,
    /// `RetryOptions.DurationInSeconds`.
    pub retry_secs: u32,
    /// Staging objects and manifests.
    pub s3: S3Settings,
    /// Kept and echoed, without effect.
    pub cloudwatch_logging: CloudWatchLogging,
}

impl RedshiftSettings {
    /// What makes two batches fit into one COPY.
    pub fn copy_target(&self) -> CopyTarget {
        CopyTarget {
            warehouse: self.warehouse.clone(),
            region: self.region.clone(),
            database: self.database.clone(),
            username: self.username.clone(),
            secret_arn: self.secret_arn.clone(),
            table: self.table.clone(),
            columns: self.columns.clone(),
            options: self.copy_options.clone(),
            role_arn: self.role_arn.clone(),
            retry_secs: self.retry_secs,
        }
    }
}
