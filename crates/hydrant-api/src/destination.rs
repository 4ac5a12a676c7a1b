//! Where a stream's records go: the ten destinations of the API, and the settings of those that are delivered to.

use hydrant_types::{
    BucketName, BufferingHints, CloudWatchLogging, Compression, Destination, Prefix, Processing,
    RedshiftSettings, S3Settings, limits,
};

use crate::{
    input::{Faults, Node},
    jdbc, rules,
};

/// A destination's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    S3,
    ExtendedS3,
    Redshift,
    Elasticsearch,
    OpenSearch,
    OpenSearchServerless,
    Splunk,
    HttpEndpoint,
    Snowflake,
    Iceberg,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::S3,
        Self::ExtendedS3,
        Self::Redshift,
        Self::Elasticsearch,
        Self::OpenSearch,
        Self::OpenSearchServerless,
        Self::Splunk,
        Self::HttpEndpoint,
        Self::Snowflake,
        Self::Iceberg,
    ];

    /// What the names of its members and shapes begin with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::S3 => "S3",
            Self::ExtendedS3 => "ExtendedS3",
            Self::Redshift => "Redshift",
            Self::Elasticsearch => "Elasticsearch",
            Self::OpenSearch => "Amazonopensearchservice",
            Self::OpenSearchServerless => "AmazonOpenSearchServerless",
            Self::Splunk => "Splunk",
            Self::HttpEndpoint => "HttpEndpoint",
            Self::Snowflake => "Snowflake",
            Self::Iceberg => "Iceberg",
        }
    }

    /// `ExtendedS3DestinationConfiguration`: the member of CreateDeliveryStream, and its shape.
    pub(crate) fn configuration(self) -> String {
        format!("{}DestinationConfiguration", self.name())
    }

    /// `ExtendedS3DestinationUpdate`: the member of UpdateDestination, and its shape.
    pub(crate) fn update(self) -> String {
        format!("{}DestinationUpdate", self.name())
    }
}

/// The settings of a destination, where they break no rule and this service delivers to it as they say; otherwise faults.
pub(crate) fn read(kind: Kind, config: &Node<'_>, faults: &mut Faults) -> Option<Destination> {
    rules::check(kind, config, faults);
    refuse_unsupported(kind, config, faults);
    if !faults.is_empty() {
        return None;
    }
    match kind {
        Kind::S3 => s3_settings(config).map(Destination::S3),
        Kind::ExtendedS3 => extended_s3_settings(config).map(Destination::S3),
        Kind::Redshift => redshift_settings(config).map(Destination::Redshift),
        _ => None,
    }
}

fn refuse_unsupported(kind: Kind, config: &Node<'_>, faults: &mut Faults) {
    match kind {
        Kind::S3 => refuse_in_s3(config, faults),
        Kind::ExtendedS3 => {
            refuse_in_processing_and_backup(config, faults);
            refuse_in_extended_s3(config, faults);
            refuse_in_s3(config, faults);
        }
        Kind::Redshift => {
            refuse_in_processing_and_backup(config, faults);
            refuse_in_s3(&config.at("S3Configuration"), faults);
            let role = config.at("SecretsManagerConfiguration").at("RoleARN");
            if config.at("SecretsManagerConfiguration").at("Enabled").is_true() && role.is_given() {
                faults.not_yet(&role, "SecretsManagerConfiguration.RoleARN");
            }
        }
        _ => faults.not_yet(config, &kind.configuration()),
    }
}

/// What is switched off has no effect in Firehose either.
fn refuse_in_processing_and_backup(config: &Node<'_>, faults: &mut Faults) {
    rules::refuse_processors(config, faults);
    if let Some(backup) = backup_configuration(config) {
        refuse_in_s3(&backup, faults);
    }
}

/// The backup's configuration, where it is switched on.
fn backup_configuration<'a>(config: &Node<'a>) -> Option<Node<'a>> {
    config.at("S3BackupMode").is("Enabled").then(|| config.at("S3BackupConfiguration"))
}

fn refuse_in_extended_s3(config: &Node<'_>, faults: &mut Faults) {
    let conversion = config.at("DataFormatConversionConfiguration");
    if rules::is_conversion_on(&conversion) {
        faults.not_yet(&conversion, "DataFormatConversionConfiguration");
    }
    let partitioning = config.at("DynamicPartitioningConfiguration");
    if partitioning.at("Enabled").is_true() {
        faults.not_yet(&partitioning, "DynamicPartitioningConfiguration");
    }
}

fn refuse_in_s3(config: &Node<'_>, faults: &mut Faults) {
    let prefix = config.at("Prefix");
    let read = Prefix::parse(prefix.text().unwrap_or_default());
    if read.is_ok_and(|prefix| prefix.has_partition_key()) {
        faults.not_yet(&prefix, "Prefix with partition keys (!{partitionKeyFrom...})");
    }
}

/// What is none of the values was found by the shape's check before.
fn compression(format: Option<&str>) -> Option<Compression> {
    format.map_or(Some(Compression::default()), Compression::from_api)
}

fn s3_settings(config: &Node<'_>) -> Option<S3Settings> {
    let bucket_arn = text(config, "BucketARN")?;
    let bucket: BucketName = bucket_arn.rsplit(':').next()?.parse().ok()?;
    Some(S3Settings {
        role_arn: text(config, "RoleARN")?,
        bucket_arn,
        prefix: text(config, "Prefix"),
        error_output_prefix: text(config, "ErrorOutputPrefix"),
        buffering: buffering(&config.at("BufferingHints")),
        compression: compression(config.at("CompressionFormat").text())?,
        kms_key_arn: text(&config.at("EncryptionConfiguration").at("KMSEncryptionConfig"), "AWSKMSKeyARN"),
        cloudwatch_logging: cloudwatch_logging(&config.at("CloudWatchLoggingOptions")),
        ..S3Settings::of_bucket(bucket)
    })
}

/// What only the newer shape has.
fn extended_s3_settings(config: &Node<'_>) -> Option<S3Settings> {
    let filled = |name: &str| config.at(name).filled().map(str::to_owned);
    let s3 = S3Settings {
        time_zone: filled("CustomTimeZone"),
        file_extension: filled("FileExtension"),
        ..s3_settings(config)?
    };
    extended(s3, config)
}

/// With what an extended destination has beside its objects' settings.
fn extended(s3: S3Settings, config: &Node<'_>) -> Option<S3Settings> {
    let backup = match backup_configuration(config) {
        Some(backup) => Some(Box::new(s3_settings(&backup)?)),
        None => None,
    };
    Some(S3Settings { processing: processing(config)?, backup, ..s3 })
}

fn processing(config: &Node<'_>) -> Option<Processing> {
    let processors = config.at("ProcessingConfiguration").at("Processors").items();
    let processors = processors.iter().map(rules::processor).collect::<Option<_>>()?;
    Some(Processing { enabled: rules::is_processing_on(config), processors })
}

fn buffering(hints: &Node<'_>) -> BufferingHints {
    let number = |name: &str| hints.at(name).number().map(|number| number as u32);
    match (number("SizeInMBs"), number("IntervalInSeconds")) {
        (Some(size_mb), Some(interval_secs)) => BufferingHints { size_mb, interval_secs },
        _ => BufferingHints::default(),
    }
}

fn cloudwatch_logging(options: &Node<'_>) -> CloudWatchLogging {
    CloudWatchLogging {
        enabled: options.at("Enabled").is_true(),
        log_group_name: text(options, "LogGroupName"),
        log_stream_name: text(options, "LogStreamName"),
    }
}

fn redshift_settings(config: &Node<'_>) -> Option<RedshiftSettings> {
    let cluster_jdbc_url = text(config, "ClusterJDBCURL")?;
    let target = jdbc::parse(&cluster_jdbc_url)?;
    let secret = config.at("SecretsManagerConfiguration");
    let copy = config.at("CopyCommand");
    let retry_secs = config.at("RetryOptions").at("DurationInSeconds").number();
    Some(RedshiftSettings {
        role_arn: text(config, "RoleARN")?,
        cluster_jdbc_url,
        warehouse: target.warehouse,
        database: target.database,
        region: target.region,
        table: text(&copy, "DataTableName")?,
        columns: text(&copy, "DataTableColumns").filter(|columns| !columns.trim().is_empty()),
        copy_options: text(&copy, "CopyOptions").filter(|options| !options.trim().is_empty()),
        username: text(config, "Username"),
        secret_arn: text(&secret, "SecretARN").filter(|_| secret.at("Enabled").is_true()),
        retry_secs: retry_secs.map_or(limits::REDSHIFT_RETRY_SECS_DEFAULT, |number| number as u32),
        s3: extended(s3_settings(&config.at("S3Configuration"))?, config)?,
        cloudwatch_logging: cloudwatch_logging(&config.at("CloudWatchLoggingOptions")),
    })
}

fn text(node: &Node<'_>, name: &str) -> Option<String> {
    node.at(name).text().map(str::to_owned)
}
