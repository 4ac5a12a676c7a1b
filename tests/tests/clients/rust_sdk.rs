//! What a producer and an operator do with the AWS SDK for Rust. Nothing here knows of Hydrant.

use std::fmt::Debug;

use aws_sdk_firehose::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::{
        CompressionFormat, DeliveryStreamDescription, DeliveryStreamEncryptionStatus, DeliveryStreamStatus,
        ExtendedS3DestinationConfiguration, ExtendedS3DestinationUpdate, Record, Tag,
    },
};

/// One client: with its connections and its retries.
pub(crate) struct RustSdk(Client);

/// The error's code and message.
type Outcome = Result<(), String>;

fn said<E: ProvideErrorMetadata + Debug, R: Debug>(error: SdkError<E, R>) -> String {
    format!("{:?}: {error:?}", error.code())
}

fn record(number: u64) -> Record {
    let data = Blob::new(format!("{{\"id\":{number}}}\n"));
    Record::builder().data(data).build().expect("data is given")
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().expect("a key is given")
}

impl RustSdk {
    pub(crate) fn new(endpoint_url: &str, (key, secret): (&str, &str)) -> Self {
        let config = aws_sdk_firehose::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new(key, secret, None, None, "test"))
            .region(Region::from_static("us-east-1"))
            .endpoint_url(endpoint_url)
            .build();
        Self(Client::from_conf(config))
    }

    /// One record, then three in one call.
    pub(crate) async fn put(&self, stream: &str, first: u64) -> Outcome {
        self.put_record(stream, first).await?;
        let records = (first + 1..first + 4).map(record).collect();
        let call = self.0.put_record_batch().delivery_stream_name(stream).set_records(Some(records));
        let answer = call.send().await.map_err(said)?;
        assert_eq!(answer.failed_put_count(), 0);
        assert_eq!(answer.encrypted(), Some(false));
        assert!(answer.request_responses().iter().all(|entry| entry.record_id().is_some()), "{answer:?}");
        Ok(())
    }

    pub(crate) async fn burst(&self, stream: &str, first: u64, calls: u64) -> Outcome {
        let puts = (first..first + calls).map(|number| self.put_record(stream, number));
        futures_util::future::try_join_all(puts).await.map(|_| ())
    }

    async fn put_record(&self, stream: &str, number: u64) -> Result<bool, String> {
        let call = self.0.put_record().delivery_stream_name(stream).record(record(number));
        let answer = call.send().await.map_err(said)?;
        assert!(!answer.record_id().is_empty());
        Ok(answer.encrypted() == Some(true))
    }

    async fn describe(&self, stream: &str) -> Result<DeliveryStreamDescription, String> {
        let answer = self.0.describe_delivery_stream().delivery_stream_name(stream).send().await;
        Ok(answer.map_err(said)?.delivery_stream_description.expect("there is one"))
    }

    async fn encryption(&self, stream: &str) -> Result<DeliveryStreamEncryptionStatus, String> {
        let configuration = self.describe(stream).await?.delivery_stream_encryption_configuration;
        Ok(configuration.and_then(|configuration| configuration.status).expect("there is one"))
    }

    async fn tags(&self, stream: &str) -> Result<Vec<Tag>, String> {
        let answer = self.0.list_tags_for_delivery_stream().delivery_stream_name(stream).send().await;
        Ok(answer.map_err(said)?.tags)
    }

    pub(crate) async fn control(&self, stream: &str, bucket: &str, role: &str) -> Outcome {
        let client = &self.0;
        let destination = ExtendedS3DestinationConfiguration::builder()
            .role_arn(role)
            .bucket_arn(bucket)
            .prefix("control/")
            .compression_format(CompressionFormat::Gzip)
            .build()
            .expect("all required members are given");
        let create = client.create_delivery_stream().delivery_stream_name(stream);
        let create = create.extended_s3_destination_configuration(destination).tags(tag("team", "shop"));
        let arn = create.send().await.map_err(said)?.delivery_stream_arn.expect("there is one");
        assert!(arn.ends_with(&format!(":deliverystream/{stream}")), "{arn}");
        let described = self.describe(stream).await?;
        assert_eq!(described.delivery_stream_status, DeliveryStreamStatus::Active);
        let listed = client.list_delivery_streams().send().await.map_err(said)?;
        assert!(listed.delivery_stream_names.iter().any(|name| name == stream), "{listed:?}");

        let tags = [tag("hydrant:gzip-level", "1")];
        let call = client.tag_delivery_stream().delivery_stream_name(stream).set_tags(Some(tags.to_vec()));
        call.send().await.map_err(said)?;
        assert_eq!(self.tags(stream).await?.len(), 2);
        let call = client.untag_delivery_stream().delivery_stream_name(stream).tag_keys("team");
        call.send().await.map_err(said)?;
        assert_eq!(self.tags(stream).await?, tags);

        client
            .update_destination()
            .delivery_stream_name(stream)
            .current_delivery_stream_version_id(&described.version_id)
            .destination_id(described.destinations[0].destination_id())
            .extended_s3_destination_update(ExtendedS3DestinationUpdate::builder().prefix("other/").build())
            .send()
            .await
            .map_err(said)?;
        let updated = self.describe(stream).await?;
        assert_eq!(updated.version_id, "2");
        let s3 = updated.destinations[0].extended_s3_destination_description.as_ref();
        assert_eq!(s3.and_then(|s3| s3.prefix.as_deref()), Some("other/"));

        let call = client.start_delivery_stream_encryption().delivery_stream_name(stream);
        call.send().await.map_err(said)?;
        assert_eq!(self.encryption(stream).await?, DeliveryStreamEncryptionStatus::Enabled);
        assert!(self.put_record(stream, 1).await?, "it says that the record is encrypted");
        let call = client.stop_delivery_stream_encryption().delivery_stream_name(stream);
        call.send().await.map_err(said)?;
        assert_eq!(self.encryption(stream).await?, DeliveryStreamEncryptionStatus::Disabled);
        client.delete_delivery_stream().delivery_stream_name(stream).send().await.map_err(said)?;
        Ok(())
    }
}
