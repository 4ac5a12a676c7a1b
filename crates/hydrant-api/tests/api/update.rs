//! UpdateDestination.

use serde_json::{Value, json};

use crate::support::{ACCOUNT, Answer, Api, JDBC_URL, ROLE, batch, data, open_metastore, redshift, s3, with};

const ID: &str = "destinationId-000000000001";

async fn create(api: &Api, destination: &str, config: Value) {
    let answer =
        api.call("CreateDeliveryStream", &json!({"DeliveryStreamName": "s", destination: config})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn describe(api: &Api) -> Value {
    let answer = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": "s"})).await;
    answer.json()["DeliveryStreamDescription"].clone()
}

async fn update(api: &Api, version: &str, member: &str, value: Value) -> Answer {
    let input = json!({
        "DeliveryStreamName": "s", "CurrentDeliveryStreamVersionId": version, "DestinationId": ID, member: value,
    });
    api.call("UpdateDestination", &input).await
}

#[track_caller]
fn done(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (200, "{}"));
}

fn every_s3_setting() -> Value {
    json!({
        "RoleARN": ROLE, "BucketARN": "arn:aws:s3:::demo", "Prefix": "p/", "ErrorOutputPrefix": "e/",
        "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60}, "CompressionFormat": "GZIP",
        "EncryptionConfiguration": {"KMSEncryptionConfig": {"AWSKMSKeyARN": KEY}},
        "CloudWatchLoggingOptions": {"Enabled": true, "LogGroupName": "g", "LogStreamName": "s"},
    })
}

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/objects";

#[tokio::test]
async fn the_key_of_objects_is_kept_exchanged_and_taken_away() {
    let api = Api::start().await;
    create(&api, "S3DestinationConfiguration", every_s3_setting()).await;
    let encryption = async || {
        let described = describe(&api).await;
        let [basic, extended] = ["S3DestinationDescription", "ExtendedS3DestinationDescription"]
            .map(|name| described["Destinations"][0][name]["EncryptionConfiguration"].clone());
        assert_eq!(basic, extended);
        basic
    };
    let with_key = |arn: &str| json!({"KMSEncryptionConfig": {"AWSKMSKeyARN": arn}});
    assert_eq!(encryption().await, with_key(KEY));
    done(&update(&api, "1", "ExtendedS3DestinationUpdate", json!({"Prefix": "q/"})).await);
    assert_eq!(encryption().await, with_key(KEY));
    let another = "arn:aws:kms:eu-west-1:123456789012:alias/objects";
    let change = json!({"EncryptionConfiguration": with_key(another)});
    done(&update(&api, "2", "S3DestinationUpdate", change).await);
    assert_eq!(encryption().await, with_key(another));
    let none = json!({"NoEncryptionConfig": "NoEncryption"});
    done(&update(&api, "3", "S3DestinationUpdate", json!({"EncryptionConfiguration": none})).await);
    assert_eq!(encryption().await, none);
}

#[tokio::test]
async fn members_that_are_not_given_keep_their_values() {
    let api = Api::start().await;
    create(&api, "ExtendedS3DestinationConfiguration", every_s3_setting()).await;
    let before = describe(&api).await;
    assert!(before.get("LastUpdateTimestamp").is_none());
    api.clock.advance(std::time::Duration::from_secs(60));
    done(
        &update(&api, "1", "ExtendedS3DestinationUpdate", json!({"Prefix": "q/", "CompressionFormat": null}))
            .await,
    );
    let after = describe(&api).await;
    assert_eq!((&after["VersionId"], &after["CreateTimestamp"]), (&json!("2"), &before["CreateTimestamp"]));
    assert_eq!(
        after["LastUpdateTimestamp"].as_f64().unwrap() - after["CreateTimestamp"].as_f64().unwrap(),
        60.0
    );
    let expected =
        with(before["Destinations"][0].clone(), "ExtendedS3DestinationDescription.Prefix", json!("q/"));
    let expected = with(expected, "S3DestinationDescription.Prefix", json!("q/"));
    assert_eq!(after["Destinations"][0], expected, "and the destination's id stays");
    assert_eq!(api.streams.get("s").unwrap().version.0, 2, "this node knows at once");
}

#[tokio::test]
async fn what_belongs_together_is_replaced_together() {
    let api = Api::start().await;
    create(&api, "ExtendedS3DestinationConfiguration", every_s3_setting()).await;
    done(
        &update(&api, "1", "S3DestinationUpdate", json!({"CloudWatchLoggingOptions": {"Enabled": false}}))
            .await,
    );
    let shown = describe(&api).await["Destinations"][0]["S3DestinationDescription"].clone();
    assert_eq!(shown["CloudWatchLoggingOptions"], json!({"Enabled": false}), "group and stream are gone");
    update(&api, "2", "S3DestinationUpdate", json!({"BufferingHints": {"SizeInMBs": 5}})).await.is_error(
        400,
        "InvalidArgumentException",
        "BufferingHints: SizeInMBs and IntervalInSeconds must be given together or not at all.",
    );
    done(&update(&api, "2", "S3DestinationUpdate", json!({"BufferingHints": {}})).await);
    let shown = describe(&api).await["Destinations"][0]["S3DestinationDescription"].clone();
    assert_eq!(
        shown["BufferingHints"],
        json!({"SizeInMBs": 5, "IntervalInSeconds": 300}),
        "the defaults again"
    );
}

#[tokio::test]
async fn prefixes_zones_and_extensions_are_updated_by_the_rules_of_creation() {
    let api = Api::start().await;
    create(&api, "ExtendedS3DestinationConfiguration", every_s3_setting()).await;
    let extended = "ExtendedS3DestinationUpdate";
    let refused = async |change: Value, message: &str| {
        update(&api, "1", extended, change).await.is_error(400, "InvalidArgumentException", message);
    };
    let constraint = "The supplied prefix(es) do not satisfy the following constraint:";
    refused(
        json!({"ErrorOutputPrefix": "", "Prefix": "!{timestamp:yyyy}/"}),
        &format!("{constraint} ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"),
    )
    .await;
    refused(
        json!({"ErrorOutputPrefix": "!{timestamp:yyyy}/"}),
        &format!("{constraint} ErrorOutputPrefix must contain at least one occurrence of !{{firehose:error-output-type}}"),
    )
    .await;
    refused(
        json!({"CustomTimeZone": "CET"}),
        "Provided custom time zone is not supported. Custom time zones are limited to UTC and non-3-letter IANA time zones.",
    )
    .await;
    let change =
        json!({"Prefix": "!{timestamp:yyyy}/", "CustomTimeZone": "Asia/Kolkata", "FileExtension": ".json"});
    done(&update(&api, "1", extended, change).await);
    let shown = async || describe(&api).await["Destinations"][0].clone();
    let description = shown().await["ExtendedS3DestinationDescription"].clone();
    let of = |name: &str| description[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [of("Prefix"), of("ErrorOutputPrefix"), of("CustomTimeZone"), of("FileExtension")],
        ["!{timestamp:yyyy}/", "e/", "Asia/Kolkata", ".json"]
    );
    assert!(shown().await["S3DestinationDescription"].get("CustomTimeZone").is_none());
    // The older shape has neither: it does not set them, and it does not take them away.
    let change = json!({"Prefix": "q/", "FileExtension": ".txt", "CustomTimeZone": 7});
    done(&update(&api, "2", "S3DestinationUpdate", change).await);
    let description = shown().await["ExtendedS3DestinationDescription"].clone();
    assert_eq!((&description["Prefix"], &description["FileExtension"]), (&json!("q/"), &json!(".json")));
    assert_eq!(description["CustomTimeZone"], "Asia/Kolkata");
    done(&update(&api, "3", extended, json!({"FileExtension": "", "CustomTimeZone": ""})).await);
    let description = shown().await["ExtendedS3DestinationDescription"].clone();
    assert!(description.get("FileExtension").is_none() && description.get("CustomTimeZone").is_none());
}

#[tokio::test]
async fn every_compression_is_taken_and_shown_by_its_own_name() {
    let api = Api::start().await;
    create(&api, "ExtendedS3DestinationConfiguration", s3()).await;
    let formats = ["GZIP", "ZIP", "Snappy", "HADOOP_SNAPPY", "UNCOMPRESSED"];
    for (version, format) in (1u32..).zip(formats) {
        let change = json!({"CompressionFormat": format});
        done(&update(&api, &version.to_string(), "ExtendedS3DestinationUpdate", change).await);
        let shown = describe(&api).await["Destinations"][0].clone();
        assert_eq!(shown["ExtendedS3DestinationDescription"]["CompressionFormat"], format);
        assert_eq!(shown["S3DestinationDescription"]["CompressionFormat"], format);
    }
    let answer =
        update(&api, "6", "ExtendedS3DestinationUpdate", json!({"CompressionFormat": "SNAPPY"})).await;
    assert_eq!(answer.status, 400, "its case counts: {}", answer.text());
}

#[tokio::test]
async fn redshift_is_updated_member_by_member_and_its_staging_too() {
    let api = Api::start().await;
    let config = with(redshift(), "RetryOptions", json!({"DurationInSeconds": 60}));
    let config = with(config, "S3Configuration.Prefix", json!("staging/"));
    create(&api, "RedshiftDestinationConfiguration", config).await;
    let change = json!({
        "CopyCommand": {"DataTableName": "orders", "CopyOptions": "GZIP"},
        "S3Update": {"CompressionFormat": "GZIP", "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0}},
    });
    done(&update(&api, "1", "RedshiftDestinationUpdate", change).await);
    let shown = describe(&api).await["Destinations"][0]["RedshiftDestinationDescription"].clone();
    assert_eq!(shown["CopyCommand"], json!({"DataTableName": "orders", "CopyOptions": "GZIP"}));
    assert_eq!(
        (&shown["RetryOptions"], &shown["Username"]),
        (&json!({"DurationInSeconds": 60}), &json!("loader"))
    );
    let staging = &shown["S3DestinationDescription"];
    assert_eq!((&staging["Prefix"], &staging["CompressionFormat"]), (&json!("staging/"), &json!("GZIP")));
    assert_eq!(staging["BufferingHints"], json!({"SizeInMBs": 1, "IntervalInSeconds": 0}));
    assert!(!describe(&api).await.to_string().contains("Password"));
    // The same checks as at creation, on what follows from both.
    update(&api, "2", "RedshiftDestinationUpdate", json!({"S3Update": {"ErrorOutputPrefix": "e/"}}))
        .await
        .is_error(
            400,
            "InvalidArgumentException",
            "The supplied prefix(es) do not satisfy the following constraint: \
         Prefix Expressions or ErrorOutputPrefix is currently not supported for this destination",
        );
    let secret =
        json!({"Enabled": true, "SecretARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s"});
    done(
        &update(&api, "2", "RedshiftDestinationUpdate", json!({"SecretsManagerConfiguration": secret})).await,
    );
    let off = json!({"SecretsManagerConfiguration": {"Enabled": false}});
    update(&api, "3", "RedshiftDestinationUpdate", off).await.is_error(
        400,
        "InvalidArgumentException",
        "Redshift Database Password is required for Redshift Destination",
    );
}

#[tokio::test]
async fn another_type_takes_all_that_is_required_and_keeps_nothing() {
    let api = Api::start().await;
    create(&api, "ExtendedS3DestinationConfiguration", every_s3_setting()).await;
    let part = json!({"RoleARN": ROLE, "S3Update": {"RoleARN": ROLE}});
    let null = "Member must not be null";
    update(&api, "1", "RedshiftDestinationUpdate", part).await.violates(&[
        ("redshiftDestinationUpdate.clusterJDBCURL", null),
        ("redshiftDestinationUpdate.copyCommand", null),
        ("redshiftDestinationUpdate.s3Update.bucketARN", null),
    ]);
    let whole = json!({
        "RoleARN": ROLE, "ClusterJDBCURL": JDBC_URL, "CopyCommand": {"DataTableName": "events"},
        "Username": "loader", "Password": "hunter2-secret", "S3Update": s3(),
    });
    done(&update(&api, "1", "RedshiftDestinationUpdate", whole).await);
    let shown = describe(&api).await["Destinations"][0].clone();
    assert!(shown.get("S3DestinationDescription").is_none() && shown["DestinationId"] == ID);
    let staging = &shown["RedshiftDestinationDescription"]["S3DestinationDescription"];
    assert!(staging.get("Prefix").is_none() && staging["CompressionFormat"] == "UNCOMPRESSED");
    done(&update(&api, "2", "S3DestinationUpdate", s3()).await);
    assert_eq!(describe(&api).await["VersionId"], "3");
    for name in ["Elasticsearch", "Amazonopensearchservice", "AmazonOpenSearchServerless"] {
        update(&api, "3", &format!("{name}DestinationUpdate"), json!({"RoleARN": ROLE})).await.is_error(
            400,
            "InvalidArgumentException",
            &format!("Changing the destination type to or from {name} is not supported at this time."),
        );
    }
    let splunk =
        json!({"HECEndpoint": "https://splunk.example:8088", "HECEndpointType": "Raw", "S3Update": s3()});
    update(&api, "3", "SplunkDestinationUpdate", splunk).await.is_error(
        400,
        "InvalidArgumentException",
        "SplunkDestinationUpdate is not supported by this service yet.",
    );
    assert_eq!(describe(&api).await["VersionId"], "3", "what is refused changes nothing");
}

#[tokio::test]
async fn what_changes_nothing_makes_no_version() {
    let api = Api::start().await;
    create(&api, "RedshiftDestinationConfiguration", redshift()).await;
    for change in [json!({}), json!({"CopyCommand": {"DataTableName": "events"}, "Password": "another-one"})]
    {
        done(&update(&api, "1", "RedshiftDestinationUpdate", change).await);
    }
    let shown = describe(&api).await;
    assert!(shown["VersionId"] == "1" && shown.get("LastUpdateTimestamp").is_none());
}

#[tokio::test]
async fn version_and_destination_are_checked_before_anything_else() {
    let api = Api::start().await;
    create(&api, "ExtendedS3DestinationConfiguration", s3()).await;
    let moved = |version: &str| {
        format!(
            "Cannot update firehose: s since the current version id: 1 and specified version id: {version} do not match"
        )
    };
    for version in ["0", "2", "01", "99999999999999999999999999999999999999999999999999"] {
        let input = json!({"DeliveryStreamName": "s", "CurrentDeliveryStreamVersionId": version, "DestinationId": "x"});
        let answer = api.call("UpdateDestination", &input).await;
        answer.is_error(400, "ConcurrentModificationException", &moved(version));
    }
    let input =
        json!({"DeliveryStreamName": "s", "CurrentDeliveryStreamVersionId": "1", "DestinationId": "x"});
    let answer = api.call("UpdateDestination", &input).await;
    answer.is_error(400, "InvalidArgumentException", "Destination Id x not found");
    let none = with(input, "DestinationId", json!(ID));
    api.call("UpdateDestination", &none).await.is_error(
        400,
        "InvalidArgumentException",
        "At least one destination or source configuration update must be provided",
    );
    let two =
        with(with(none.clone(), "S3DestinationUpdate", json!({})), "ExtendedS3DestinationUpdate", json!({}));
    api.call("UpdateDestination", &two).await.is_error(
        400,
        "InvalidArgumentException",
        "Exactly one destination configuration is supported for a Firehose",
    );
    let nobody = with(none, "DeliveryStreamName", json!("nobody"));
    let message = format!("Firehose nobody under account {ACCOUNT} not found.");
    api.call("UpdateDestination", &nobody).await.is_error(400, "ResourceNotFoundException", &message);
}

#[tokio::test]
async fn of_two_that_update_the_same_version_one_is_told() {
    let api = Api::start().await;
    create(&api, "ExtendedS3DestinationConfiguration", s3()).await;
    let updates =
        (0..8).map(|n| update(&api, "1", "S3DestinationUpdate", json!({"Prefix": format!("{n}/")})));
    let answers = futures_util::future::join_all(updates).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    let told =
        answers.iter().filter(|answer| answer.json()["__type"] == "ConcurrentModificationException").count();
    assert_eq!((done, told), (1, 7));
}

#[tokio::test]
async fn a_change_through_another_node_is_seen_before_it_is_changed_again() {
    let api = Api::start().await;
    create(&api, "ExtendedS3DestinationConfiguration", s3()).await;
    let stream = api.streams.get("s").unwrap();
    let other_node = open_metastore(&api.metastore_path()).await;
    let mut settings = stream.destination.s3().clone();
    settings.prefix = Some("theirs/".to_owned());
    let theirs = hydrant_types::Destination::S3(settings);
    let now = hydrant_types::Clock::now(&api.clock);
    other_node.update_destination(stream.id, stream.version, &theirs, now).await.unwrap();
    done(&update(&api, "2", "S3DestinationUpdate", json!({"CompressionFormat": "GZIP"})).await);
    let shown = describe(&api).await["Destinations"][0]["S3DestinationDescription"].clone();
    assert_eq!((&shown["Prefix"], &shown["CompressionFormat"]), (&json!("theirs/"), &json!("GZIP")));
}

#[tokio::test]
async fn a_stream_that_is_being_deleted_is_not_changed() {
    let (api, _) = Api::with_stream("s").await;
    api.call("PutRecordBatch", &batch("s", &[data("a")])).await;
    api.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": "s"})).await;
    let message = "Cannot update firehose: s when it is in DELETING status";
    update(&api, "1", "S3DestinationUpdate", json!({})).await.is_error(
        400,
        "ResourceInUseException",
        message,
    );
    for (operation, member, value) in [
        ("TagDeliveryStream", "Tags", json!([{"Key": "k"}])),
        ("UntagDeliveryStream", "TagKeys", json!(["k"])),
        ("StartDeliveryStreamEncryption", "Else", json!(null)),
        ("StopDeliveryStreamEncryption", "Else", json!(null)),
    ] {
        let answer = api.call(operation, &json!({"DeliveryStreamName": "s", member: value})).await;
        answer.is_error(400, "ResourceInUseException", message);
    }
    let put = api.call("PutRecordBatch", &batch("s", &[data("b")])).await;
    put.is_error(
        400,
        "ResourceNotFoundException",
        &format!("Firehose s is not active in {ACCOUNT} account."),
    );
    let tags = api.call("ListTagsForDeliveryStream", &json!({"DeliveryStreamName": "s"})).await;
    assert_eq!(tags.status, 200, "it can still be looked at");
}
