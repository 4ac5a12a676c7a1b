//! S3 backup.

use super::*;

fn backed_up(destination: &str, backup: Value) -> Value {
    with(with(valid(destination), "S3BackupMode", json!("Enabled")), "S3BackupConfiguration", backup)
}

fn backup() -> Value {
    json!({
        "RoleARN": ROLE, "BucketARN": "arn:aws:s3:::backup", "Prefix": "source/", "CompressionFormat": "GZIP",
        "BufferingHints": {"SizeInMBs": 2, "IntervalInSeconds": 1},
    })
}

async fn update(api: &Api, version: &str, member: &str, value: Value) -> Answer {
    let input = json!({
        "DeliveryStreamName": "s", "CurrentDeliveryStreamVersionId": version,
        "DestinationId": "destinationId-000000000001", member: value,
    });
    api.call("UpdateDestination", &input).await
}

async fn describe(api: &Api, destination: &str) -> Value {
    let shown = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": "s"})).await.json();
    let shown = &shown["DeliveryStreamDescription"]["Destinations"][0];
    shown[destination.replace("Configuration", "Description")].clone()
}

#[tokio::test]
async fn a_backup_is_read_with_settings_of_its_own_and_shown() {
    for destination in [EXTENDED, REDSHIFT] {
        let api = Api::start().await;
        let answer = create(&api, destination, backed_up(destination, backup())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let stream = api.streams.get("s").unwrap();
        let kept = stream.destination.lane(hydrant_types::Lane::Backup).unwrap();
        assert_eq!((kept.bucket.as_str(), kept.prefix.as_deref()), ("backup", Some("source/")));
        assert_eq!((kept.buffering.size_mb, kept.buffering.interval_secs), (2, 1));
        assert!(kept.backup.is_none() && kept.processing == hydrant_types::Processing::default());
        let shown = describe(&api, destination).await;
        assert_eq!(shown["S3BackupMode"], "Enabled");
        let expected =
            with(backup(), "EncryptionConfiguration", json!({"NoEncryptionConfig": "NoEncryption"}));
        let expected = with(expected, "CloudWatchLoggingOptions", json!({"Enabled": false}));
        assert_eq!(shown["S3BackupDescription"], expected);
    }
}

#[tokio::test]
async fn a_backup_has_the_rules_of_objects_and_is_always_buffered() {
    let api = Api::start().await;
    let prefix = "The supplied prefix(es) do not satisfy the following constraint: ";
    let never = "BufferingHints.IntervalInSeconds must be greater than 0 for S3 backup: zero buffering is not supported for it.";
    let half = "BufferingHints: SizeInMBs and IntervalInSeconds must be given together or not at all.";
    for destination in [EXTENDED, REDSHIFT] {
        for (member, value, message) in [
            ("BufferingHints", json!({"SizeInMBs": 1, "IntervalInSeconds": 0}), never.to_owned()),
            ("BufferingHints", json!({"SizeInMBs": 1}), half.to_owned()),
            (
                "Prefix",
                json!("!{timestamp:yyyy}/"),
                format!("{prefix}ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"),
            ),
            (
                "CloudWatchLoggingOptions",
                json!({"Enabled": true}),
                "CloudWatch Log Group Name is required if CloudWatch Logging is enabled".to_owned(),
            ),
        ] {
            let config = backed_up(destination, with(backup(), member, value));
            is_invalid(&create(&api, destination, config).await, &message);
        }
        // The destination itself may be without buffering.
        let hints = json!({"SizeInMBs": 1, "IntervalInSeconds": 0});
        let config = match destination {
            EXTENDED => with(backed_up(destination, backup()), "BufferingHints", hints),
            _ => with(backed_up(destination, backup()), "S3Configuration.BufferingHints", hints),
        };
        let input = json!({"DeliveryStreamName": destination, destination: config});
        assert_eq!(api.call("CreateDeliveryStream", &input).await.status, 200);
    }
}

#[tokio::test]
async fn a_backup_is_switched_on_and_changed_by_updates_and_never_switched_off() {
    for (destination, member) in
        [(EXTENDED, "ExtendedS3DestinationUpdate"), (REDSHIFT, "RedshiftDestinationUpdate")]
    {
        let api = Api::start().await;
        assert_eq!(create(&api, destination, valid(destination)).await.status, 200);
        is_invalid(
            &update(&api, "1", member, json!({"S3BackupMode": "Enabled"})).await,
            "S3 backup destination configuration is required when enabling S3 backup.",
        );
        let on = json!({"S3BackupMode": "Enabled", "S3BackupUpdate": backup()});
        assert_eq!(update(&api, "1", member, on).await.text(), "{}");
        let before = describe(&api, destination).await;
        // What is not given stays, member by member.
        let change = json!({"S3BackupUpdate": {"Prefix": "originals/"}});
        assert_eq!(update(&api, "2", member, change).await.text(), "{}");
        let expected = with(before, "S3BackupDescription.Prefix", json!("originals/"));
        assert_eq!(describe(&api, destination).await, expected);
        let off = update(&api, "3", member, json!({"S3BackupMode": "Disabled"})).await;
        is_invalid(&off, "Disabling S3 backup is not currently supported.");
        let hints = json!({"S3BackupUpdate": {"BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0}}});
        assert_eq!(update(&api, "3", member, hints).await.status, 400);
        assert_eq!(describe(&api, destination).await, expected);
        assert_eq!(update(&api, "3", member, json!({})).await.text(), "{}");
        assert_eq!(api.streams.get("s").unwrap().version.0, 3);
    }
}

#[tokio::test]
async fn a_plain_s3_update_leaves_processors_and_backup_alone() {
    let api = Api::start().await;
    let processors = processing(json!([processor("AppendDelimiterToRecord", &[])]));
    let config = with(backed_up(EXTENDED, backup()), "ProcessingConfiguration", processors);
    assert_eq!(create(&api, EXTENDED, config).await.status, 200);
    let before = describe(&api, EXTENDED).await;
    // Members that this update does not have are ignored, as everywhere.
    let change =
        json!({"Prefix": "p/", "S3BackupMode": "Disabled", "ProcessingConfiguration": {"Enabled": false}});
    assert_eq!(update(&api, "1", "S3DestinationUpdate", change).await.text(), "{}");
    assert_eq!(describe(&api, EXTENDED).await, with(before, "Prefix", json!("p/")));
    // Where it is not an extended one that is created, too.
    let config = with(
        backed_up("S3DestinationConfiguration", backup()),
        "ProcessingConfiguration",
        json!({"Enabled": true}),
    );
    let input = json!({"DeliveryStreamName": "plain", "S3DestinationConfiguration": config});
    assert_eq!(api.call("CreateDeliveryStream", &input).await.status, 200);
    assert!(api.streams.get("plain").unwrap().destination.s3().backup.is_none());
}

#[tokio::test]
async fn a_stream_that_becomes_one_of_another_type_must_be_given_its_backup() {
    let api = Api::start().await;
    assert_eq!(create(&api, EXTENDED, backed_up(EXTENDED, backup())).await.status, 200);
    let mut whole = redshift();
    let staging = whole.as_object_mut().unwrap().remove("S3Configuration").unwrap();
    let whole = with(whole, "S3Update", staging);
    let without = update(&api, "1", "RedshiftDestinationUpdate", whole.clone()).await;
    without.is_error(400, "InvalidArgumentException", "Disabling S3 backup is not currently supported.");
    let whole = with(with(whole, "S3BackupMode", json!("Enabled")), "S3BackupUpdate", backup());
    assert_eq!(update(&api, "1", "RedshiftDestinationUpdate", whole).await.text(), "{}");
    assert_eq!(describe(&api, REDSHIFT).await["S3BackupMode"], "Enabled");
}

#[tokio::test]
async fn a_backup_has_a_key_of_its_own() {
    let kms = json!({"KMSEncryptionConfig": {"AWSKMSKeyARN": KEY}});
    for destination in [EXTENDED, REDSHIFT] {
        let api = Api::start().await;
        let config = backed_up(destination, with(backup(), "EncryptionConfiguration", kms.clone()));
        assert_eq!(create(&api, destination, config).await.status, 200);
        let shown = describe(&api, destination).await;
        assert_eq!(shown["S3BackupDescription"]["EncryptionConfiguration"], kms);
    }
}
