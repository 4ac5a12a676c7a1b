//! Creating, describing, listing and deleting streams.

use serde_json::{Value, json};

use crate::support::{ACCOUNT, Answer, Api, batch, data, open_metastore, redshift, s3, with};

async fn create(api: &Api, name: &str, destination: &str, config: Value) -> Answer {
    api.call("CreateDeliveryStream", &json!({"DeliveryStreamName": name, destination: config})).await
}

async fn destination(api: &Api, name: &str) -> Value {
    let answer = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": name})).await.json();
    answer["DeliveryStreamDescription"]["Destinations"][0].clone()
}

async fn list(api: &Api, input: Value) -> (Vec<String>, bool) {
    let answer = api.call("ListDeliveryStreams", &input).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let names = answer["DeliveryStreamNames"].as_array().unwrap().iter();
    (
        names.map(|name| name.as_str().unwrap().to_owned()).collect(),
        answer["HasMoreDeliveryStreams"].as_bool().unwrap(),
    )
}

#[tokio::test]
async fn a_name_is_taken_until_its_stream_is_gone() {
    let (api, id) = Api::with_stream("s").await;
    let message = format!("Firehose s under accountId {ACCOUNT} already exists");
    let again = || create(&api, "s", "S3DestinationConfiguration", s3());
    again().await.is_error(400, "ResourceInUseException", &message);
    api.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": "s"})).await;
    again().await.is_error(400, "ResourceInUseException", &message);
    api.metastore.remove_stream(id, hydrant_types::Clock::now(&api.clock)).await.unwrap();
    api.streams.refresh().await.unwrap();
    assert_eq!(again().await.status, 200);
    assert_ne!(api.streams.get("s").unwrap().id, id, "another stream");
}

#[tokio::test]
async fn what_is_switched_off_is_accepted() {
    let api = Api::start().await;
    let config = json!({
        "RoleARN": crate::support::ROLE,
        "BucketARN": "arn:aws:s3:::demo",
        "ProcessingConfiguration": {"Enabled": false, "Processors": [{"Type": "Lambda"}]},
        "S3BackupConfiguration": s3(),
        "S3BackupMode": "Disabled",
        "DataFormatConversionConfiguration": {"Enabled": false},
        "DynamicPartitioningConfiguration": {"Enabled": false},
        "FileExtension": "",
        "CustomTimeZone": "UTC",
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
    });
    let input = json!({
        "DeliveryStreamName": "s",
        "DeliveryStreamType": "DirectPut",
        "DirectPutSourceConfiguration": {"ThroughputHintInMBs": 100},
        "KinesisStreamSourceConfiguration": {"KinesisStreamARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/k", "RoleARN": crate::support::ROLE},
        "ExtendedS3DestinationConfiguration": config,
    });
    let answer = api.call("CreateDeliveryStream", &input).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn what_is_accepted_without_effect_is_kept_and_shown_and_a_password_is_not() {
    let api = Api::start().await;
    let logging = json!({"Enabled": true, "LogGroupName": "/aws/firehose/s", "LogStreamName": "S3Delivery"});
    let config = with(redshift(), "CloudWatchLoggingOptions", logging.clone());
    assert_eq!(create(&api, "s", "RedshiftDestinationConfiguration", config).await.status, 200);
    let described = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": "s"})).await;
    let shown =
        &described.json()["DeliveryStreamDescription"]["Destinations"][0]["RedshiftDestinationDescription"];
    assert_eq!(
        (&shown["CloudWatchLoggingOptions"], &shown["RoleARN"]),
        (&logging, &json!(crate::support::ROLE))
    );
    assert!(!described.text().contains("hunter2") && !described.text().contains("Password"));
    let copy =
        std::fs::read_to_string(api.metastore_path().with_file_name("log").join("streams.json")).unwrap();
    assert!(!copy.contains("hunter2"), "{copy}");
}

#[tokio::test]
async fn describe_gives_the_limits_and_the_versions_that_updates_need() {
    let (api, _) = Api::with_stream("s").await;
    let input = json!({"DeliveryStreamName": "s", "Limit": 1, "ExclusiveStartDestinationId": "destinationId-000000000099"});
    let described = api.call("DescribeDeliveryStream", &input).await.json();
    let description = &described["DeliveryStreamDescription"];
    assert_eq!(description["VersionId"], "1");
    assert_eq!(description["Destinations"][0]["DestinationId"], "destinationId-000000000001");
    assert_eq!(description["HasMoreDestinations"], false);
    assert_eq!(description["CreateTimestamp"], json!(1_767_323_045.0));
    assert!(description.get("LastUpdateTimestamp").is_none() && description.get("Source").is_none());
}

#[tokio::test]
async fn a_stream_made_through_another_node_is_described_and_deleted_at_once() {
    let (api, first) = Api::with_stream("s").await;
    let destination = api.streams.by_id(first).unwrap().destination.clone();
    let other_node = open_metastore(&api.metastore_path()).await;
    let now = hydrant_types::Clock::now(&api.clock);
    other_node
        .create_stream(
            &hydrant_metastore::NewStream::new("theirs".parse().unwrap(), destination.clone()),
            now,
        )
        .await
        .unwrap();
    let input = json!({"DeliveryStreamName": "theirs"});
    assert_eq!(api.call("DescribeDeliveryStream", &input).await.status, 200);
    other_node
        .create_stream(&hydrant_metastore::NewStream::new("too".parse().unwrap(), destination.clone()), now)
        .await
        .unwrap();
    assert_eq!(api.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": "too"})).await.status, 200);
}

#[tokio::test]
async fn what_another_node_made_under_the_name_of_a_stream_that_is_gone_is_what_is_deleted() {
    let (api, first) = Api::with_stream("s").await;
    let now = hydrant_types::Clock::now(&api.clock);
    let new = hydrant_metastore::NewStream {
        declared_in: Some("s.json".to_owned()),
        ..hydrant_metastore::NewStream::new(
            "s".parse().unwrap(),
            api.streams.by_id(first).unwrap().destination.clone(),
        )
    };
    let other_node = open_metastore(&api.metastore_path()).await;
    other_node.mark_deleting(first, now).await.unwrap();
    other_node.remove_stream(first, now).await.unwrap();
    let second = other_node.create_stream(&new, now).await.unwrap().id;
    let delete = async || api.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": "s"})).await;
    assert_eq!(api.streams.get("s").unwrap().id, first, "this node does not know yet");
    delete().await.is_error(
        400,
        "InvalidArgumentException",
        "Firehose s is declared in the file s.json and can only be changed there.",
    );
    other_node.set_declared_in(second, None).await.unwrap();
    assert_eq!((api.streams.get("s").unwrap().id, delete().await.status), (first, 200));
    let stream = other_node.stream(&new.name).await.unwrap().unwrap();
    assert_eq!((stream.id, stream.status), (second, hydrant_types::StreamStatus::Deleting));
    other_node.remove_stream(second, now).await.unwrap();
    let message = format!("Firehose s under account {ACCOUNT} not found.");
    delete().await.is_error(400, "ResourceNotFoundException", &message);
}

#[tokio::test]
async fn redshift_serverless_and_a_secret_are_taken() {
    let api = Api::start().await;
    let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:redshift!loader-Ab12";
    let mut config =
        with(redshift(), "SecretsManagerConfiguration", json!({"Enabled": true, "SecretARN": secret}));
    config["ClusterJDBCURL"] =
        json!("jdbc:redshift://wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com:5439/dev");
    config.as_object_mut().unwrap().remove("Password");
    config.as_object_mut().unwrap().remove("Username");
    let answer = create(&api, "s", "RedshiftDestinationConfiguration", config).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = destination(&api, "s").await;
    let expected = json!({"Enabled": true, "SecretARN": secret});
    assert_eq!(shown["RedshiftDestinationDescription"]["SecretsManagerConfiguration"], expected);
}

#[tokio::test]
async fn streams_are_listed_by_name_in_pages() {
    let api = Api::start().await;
    for name in ["b", "a", "B", "a.1", "a-1", "c", "d", "e", "f", "g", "h", "i"] {
        api.create(name).await;
    }
    let sorted = ["B", "a", "a-1", "a.1", "b", "c", "d", "e", "f", "g", "h", "i"].map(str::to_owned);
    assert_eq!(list(&api, json!({})).await, (sorted[..10].to_vec(), true), "ten unless it is said otherwise");
    assert_eq!(list(&api, json!({"Limit": 12})).await, (sorted.to_vec(), false));
    let mut all = Vec::new();
    let mut input = json!({"Limit": 5});
    loop {
        let (names, more) = list(&api, input.clone()).await;
        assert_eq!(names.len() == 5, more, "{names:?}");
        input["ExclusiveStartDeliveryStreamName"] = json!(names.last());
        all.extend(names);
        if !more {
            break;
        }
    }
    assert_eq!(all, sorted);
    let after = json!({"ExclusiveStartDeliveryStreamName": "a-zzz", "Limit": 2});
    assert_eq!(list(&api, after).await, (vec!["a.1".to_owned(), "b".to_owned()], true), "it need not exist");
    assert_eq!(list(&api, json!({"ExclusiveStartDeliveryStreamName": "z"})).await, (vec![], false));
}

#[tokio::test]
async fn streams_are_listed_by_type() {
    let (api, _) = Api::with_stream("s").await;
    assert_eq!(list(&api, json!({"DeliveryStreamType": "DirectPut"})).await, (vec!["s".to_owned()], false));
    assert_eq!(list(&api, json!({"DeliveryStreamType": "KinesisStreamAsSource"})).await, (vec![], false));
}

#[tokio::test]
async fn a_deleted_stream_is_shown_as_deleting_and_may_be_deleted_again() {
    let api = Api::start().await;
    // Forced or not, at first and again.
    for (name, force) in [("a", json!(false)), ("b", json!(true)), ("c", json!(null))] {
        let id = api.create(name).await;
        api.call("PutRecordBatch", &batch(name, &[data("a")])).await;
        let input = json!({"DeliveryStreamName": name, "AllowForceDelete": force});
        for _ in 0..2 {
            let answer = api.call("DeleteDeliveryStream", &input).await;
            assert_eq!((answer.status, answer.text()), (200, "{}"));
        }
        let described = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": name})).await.json();
        assert_eq!(described["DeliveryStreamDescription"]["DeliveryStreamStatus"], "DELETING");
        assert_eq!(api.stored(id), [b"a"], "it is still to be delivered");
    }
    assert_eq!(list(&api, json!({})).await.0, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_stream_that_does_not_exist_is_neither_described_nor_deleted() {
    let api = Api::start().await;
    let message = format!("Firehose nobody under account {ACCOUNT} not found.");
    for operation in ["DescribeDeliveryStream", "DeleteDeliveryStream"] {
        let answer = api.call(operation, &json!({"DeliveryStreamName": "nobody"})).await;
        answer.is_error(400, "ResourceNotFoundException", &message);
    }
}
