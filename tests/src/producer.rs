//! A producer with the real AWS SDK.

use aws_sdk_firehose::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region, retry::RetryConfig},
    error::SdkError,
    operation::put_record_batch::{PutRecordBatchError, PutRecordBatchOutput},
    primitives::Blob,
    types::{
        BufferingHints, CompressionFormat, CopyCommand, ExtendedS3DestinationConfiguration, Record,
        RedshiftDestinationConfiguration, RedshiftRetryOptions, S3DestinationConfiguration,
        builders::ExtendedS3DestinationConfigurationBuilder,
    },
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};

use crate::BUCKET;

/// Whom AWS would write objects as.
pub const ROLE: &str = "arn:aws:iam::000000000000:role/hydrant-test";
const JDBC_URL: &str =
    "jdbc:redshift://local.000000000000.us-east-1.redshift-serverless.amazonaws.com:5439/dev";

/// The access key that a [`Producer`] signs with, and its secret.
pub const PRODUCER: (&str, &str) = ("producer", "producers-secret");

/// Puts numbered records.
pub struct Producer {
    client: Client,
    /// Members of each record after its number and kind.
    more: String,
}

impl Producer {
    /// Speaks to the API at `address`.
    pub fn new(address: &str) -> Self {
        Self::with_retries(address, RetryConfig::standard().with_max_attempts(3))
    }

    /// The same, and a call that is refused is not tried again.
    pub fn without_retries(address: &str) -> Self {
        Self::with_retries(address, RetryConfig::disabled())
    }

    /// Speaks to the API at `address` over TLS, and trusts nobody but the CA in `ca_pem`. Refusals are not tried again.
    ///
    /// # Panics
    /// When `ca_pem` is no certificate.
    pub fn over_tls(address: &str, ca_pem: &str) -> Self {
        let trust = TrustStore::empty().with_pem_certificate(ca_pem.as_bytes());
        let context = TlsContext::builder().with_trust_store(trust).build().expect("it is PEM");
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(context)
            .build_https();
        let config = settings(PRODUCER, RetryConfig::disabled())
            .http_client(http_client)
            .endpoint_url(format!("https://{address}"))
            .build();
        Self { client: Client::from_conf(config), more: String::new() }
    }

    /// Speaks to the API at `address` with another access key. Refusals are not tried again.
    pub fn with_key(address: &str, key: (&str, &str)) -> Self {
        Self::over_http(address, settings(key, RetryConfig::disabled()))
    }

    /// With records longer by `bytes` of text, which gzip cannot make much smaller.
    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes).collect();
        self.more = format!(",\"padding\":\"{text}\"");
        self
    }

    fn with_retries(address: &str, retries: RetryConfig) -> Self {
        Self::over_http(address, settings(PRODUCER, retries))
    }

    fn over_http(address: &str, settings: Builder) -> Self {
        let config = settings
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(format!("http://{address}"))
            .build();
        Self { client: Client::from_conf(config), more: String::new() }
    }

    /// The SDK's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A stream that delivers gzip to S3 below `<name>/`.
    pub async fn create_s3_stream(&self, name: &str) {
        self.create_s3_stream_in(name, BUCKET).await;
    }

    /// The same in another bucket.
    pub async fn create_s3_stream_in(&self, name: &str, bucket: &str) {
        self.create_s3_stream_with(name, |config| config.bucket_arn(format!("arn:aws:s3:::{bucket}"))).await;
    }

    /// The same with what `change` makes of its configuration.
    pub async fn create_s3_stream_with(
        &self,
        name: &str,
        change: impl FnOnce(
            ExtendedS3DestinationConfigurationBuilder,
        ) -> ExtendedS3DestinationConfigurationBuilder,
    ) {
        let config = ExtendedS3DestinationConfiguration::builder()
            .role_arn(ROLE)
            .bucket_arn(format!("arn:aws:s3:::{BUCKET}"))
            .prefix(format!("{name}/"))
            .compression_format(CompressionFormat::Gzip)
            .buffering_hints(BufferingHints::builder().size_in_mbs(1).interval_in_seconds(60).build());
        let destination = change(config).build().expect("all required members are given");
        self.client
            .create_delivery_stream()
            .delivery_stream_name(name)
            .extended_s3_destination_configuration(destination)
            .send()
            .await
            .expect("the stream is created");
    }

    /// A stream that loads `table`, staged below `<name>/`; a failing COPY is tried for `retry_secs`.
    pub async fn create_redshift_stream(&self, name: &str, table: &str, retry_secs: i32) {
        let staging = S3DestinationConfiguration::builder()
            .role_arn(ROLE)
            .bucket_arn(format!("arn:aws:s3:::{BUCKET}"))
            .prefix(format!("{name}/"))
            .compression_format(CompressionFormat::Gzip)
            .buffering_hints(BufferingHints::builder().size_in_mbs(1).interval_in_seconds(60).build())
            .build()
            .expect("all required members are given");
        let copy = CopyCommand::builder()
            .data_table_name(table)
            .copy_options("JSON 'auto' GZIP")
            .build()
            .expect("all required members are given");
        let destination = RedshiftDestinationConfiguration::builder()
            .role_arn(ROLE)
            .cluster_jdbcurl(JDBC_URL)
            .copy_command(copy)
            .username("loader")
            .password("unused1")
            .retry_options(RedshiftRetryOptions::builder().duration_in_seconds(retry_secs).build())
            .s3_configuration(staging)
            .build()
            .expect("all required members are given");
        self.client
            .create_delivery_stream()
            .delivery_stream_name(name)
            .redshift_destination_configuration(destination)
            .send()
            .await
            .expect("the stream is created");
    }

    /// Puts the records with these numbers in calls of 100; gives the RecordIds.
    ///
    /// # Panics
    /// When one is not acknowledged.
    pub async fn put(&self, stream: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let mut ids = Vec::with_capacity(numbers.len());
        for some in numbers.chunks(100) {
            let answer = self.put_call(stream, some).await.expect("the records are acknowledged");
            assert_eq!(answer.failed_put_count(), 0);
            ids.extend(
                answer
                    .request_responses()
                    .iter()
                    .map(|entry| entry.record_id().expect("every record was stored").to_owned()),
            );
        }
        ids
    }

    /// Puts records as they are, in one call.
    ///
    /// # Panics
    /// When one is not acknowledged.
    pub async fn put_records(&self, stream: &str, records: &[Vec<u8>]) {
        let records = records
            .iter()
            .map(|record| Record::builder().data(Blob::new(record.clone())).build().expect("data is given"))
            .collect();
        let call = self.client.put_record_batch().delivery_stream_name(stream).set_records(Some(records));
        let answer = call.send().await.expect("the records are acknowledged");
        assert_eq!(answer.failed_put_count(), 0);
    }

    /// Puts one call of `numbers`; whether it was acknowledged.
    pub async fn try_put(&self, stream: &str, numbers: &[u64]) -> bool {
        self.put_call(stream, numbers).await.is_ok_and(|answer| answer.failed_put_count() == 0)
    }

    /// Puts one call of `numbers`; the answer as the SDK has it.
    ///
    /// # Errors
    /// It was refused or failed.
    pub async fn put_call(
        &self,
        stream: &str,
        numbers: &[u64],
    ) -> Result<PutRecordBatchOutput, SdkError<PutRecordBatchError>> {
        let records = numbers.iter().map(|n| self.record(*n)).collect();
        self.client.put_record_batch().delivery_stream_name(stream).set_records(Some(records)).send().await
    }

    fn record(&self, number: u64) -> Record {
        let text = format!("{{\"id\":{number},\"kind\":\"k{}\"{}}}\n", number % 7, self.more);
        Record::builder().data(Blob::new(text)).build().expect("data is given")
    }
}

fn settings((key, secret): (&str, &str), retries: RetryConfig) -> Builder {
    aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(key, secret, None, None, "test"))
        .region(Region::from_static("us-east-1"))
        .retry_config(retries)
}
