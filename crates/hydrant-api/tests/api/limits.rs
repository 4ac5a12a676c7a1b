//! Every limit of the service, with the exact code, status and message form.

use serde_json::{Value, json};

use crate::support::{Answer, Api, JDBC_URL, Options, batch, data, redshift, s3, with};

const NAME_PATTERN: &str = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";

fn at_most(length: usize) -> String {
    format!("Member must have length less than or equal to {length}")
}

fn at_least(length: usize) -> String {
    format!("Member must have length greater than or equal to {length}")
}

async fn create(api: &Api, destination: &str, config: Value) -> Answer {
    api.call("CreateDeliveryStream", &json!({"DeliveryStreamName": "new", destination: config})).await
}

#[tokio::test]
async fn a_record_of_1_024_000_bytes_is_taken_and_one_byte_more_is_not() {
    let (api, id) = Api::with_stream("s").await;
    let one = |bytes| json!({"DeliveryStreamName": "s", "Record": data(vec![b'x'; bytes])});
    assert_eq!(api.call("PutRecord", &one(1_024_000)).await.status, 200);
    api.call("PutRecord", &one(1_024_001)).await.violates(&[("record.data", &at_most(1_024_000))]);
    let many = |bytes| batch("s", &[data("a"), data(vec![b'x'; bytes])]);
    assert_eq!(api.call("PutRecordBatch", &many(1_024_000)).await.status, 200);
    api.call("PutRecordBatch", &many(1_024_001))
        .await
        .violates(&[("records.2.member.data", &at_most(1_024_000))]);
    let lengths: Vec<usize> = api.stored(id).iter().map(Vec::len).collect();
    assert_eq!(lengths, [1_024_000, 1, 1_024_000], "what was refused was refused whole");
}

#[tokio::test]
async fn an_empty_record_is_taken() {
    let (api, id) = Api::with_stream("s").await;
    assert_eq!(
        api.call("PutRecord", &json!({"DeliveryStreamName": "s", "Record": data("")})).await.status,
        200
    );
    assert_eq!(api.call("PutRecordBatch", &batch("s", &[data(""), data("")])).await.status, 200);
    assert_eq!(api.stored(id), [b"", b"", b""]);
}

#[tokio::test]
async fn a_call_of_500_records_is_taken_and_none_or_501_are_not() {
    let (api, id) = Api::with_stream("s").await;
    let answer = api.call("PutRecordBatch", &batch("s", &vec![data("x"); 500])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["RequestResponses"].as_array().unwrap().len(), 500);
    api.call("PutRecordBatch", &batch("s", &vec![data("x"); 501]))
        .await
        .violates(&[("records", &at_most(500))]);
    api.call("PutRecordBatch", &batch("s", &vec![data("x"); 5_000]))
        .await
        .violates(&[("records", &at_most(500))]);
    api.call("PutRecordBatch", &batch("s", &[])).await.violates(&[("records", &at_least(1))]);
    assert_eq!(api.stored(id).len(), 500);
}

#[tokio::test]
async fn a_call_of_4_mib_is_taken_and_one_byte_more_is_not() {
    let (api, id) = Api::with_stream("s").await;
    let million = data(vec![b'x'; 1_000_000]);
    let of = |last: usize| {
        let mut records = vec![million.clone(); 4];
        records.push(data(vec![b'y'; last]));
        batch("s", &records)
    };
    assert_eq!(api.call("PutRecordBatch", &of(4_194_304 - 4_000_000)).await.status, 200);
    let refused = api.call("PutRecordBatch", &of(4_194_305 - 4_000_000)).await;
    refused.is_error(400, "InvalidArgumentException", "Records size exceeds 4 MB limit");
    assert_eq!(api.stored(id).len(), 5);
}

#[tokio::test]
async fn stream_names_have_1_to_64_of_the_models_characters_in_every_operation() {
    let api = Api::start().await;
    let (longest, too_long) = ("n".repeat(64), "n".repeat(65));
    let answer = api.call("PutRecord", &json!({"DeliveryStreamName": longest, "Record": data("")})).await;
    assert_eq!(answer.json()["__type"], "ResourceNotFoundException", "a name of 64 is a name");
    let inputs = |name: &str| {
        [
            ("PutRecord", json!({"DeliveryStreamName": name, "Record": data("")})),
            ("PutRecordBatch", batch(name, &[data("")])),
            ("CreateDeliveryStream", json!({"DeliveryStreamName": name, "S3DestinationConfiguration": s3()})),
            ("DescribeDeliveryStream", json!({"DeliveryStreamName": name})),
            ("DeleteDeliveryStream", json!({"DeliveryStreamName": name})),
        ]
    };
    for (operation, input) in inputs(&too_long) {
        api.call(operation, &input).await.violates(&[("deliveryStreamName", &at_most(64))]);
    }
    for (operation, input) in inputs("") {
        api.call(operation, &input)
            .await
            .violates(&[("deliveryStreamName", &at_least(1)), ("deliveryStreamName", NAME_PATTERN)]);
    }
    for name in ["a b", "ä", "a/b", "arn:aws:firehose:eu-west-1:123456789012:deliverystream/s", "a\n"] {
        for (operation, input) in inputs(name) {
            api.call(operation, &input).await.violates(&[("deliveryStreamName", NAME_PATTERN)]);
        }
    }
}

#[tokio::test]
async fn required_members_must_not_be_null() {
    let api = Api::start().await;
    let null = "Member must not be null";
    let name = ("deliveryStreamName", null);
    api.call("PutRecord", &json!({})).await.violates(&[name, ("record", null)]);
    api.call("PutRecord", &json!({"DeliveryStreamName": "s", "Record": {}}))
        .await
        .violates(&[("record.data", null)]);
    api.call("PutRecord", &json!({"DeliveryStreamName": null, "Record": null}))
        .await
        .violates(&[name, ("record", null)]);
    api.call("PutRecordBatch", &json!({})).await.violates(&[name, ("records", null)]);
    api.call("PutRecordBatch", &batch("s", &[data("a"), json!(null), json!({"Data": null})]))
        .await
        .violates(&[("records.2.member", null), ("records.3.member.data", null)]);
    api.call("CreateDeliveryStream", &json!({"ExtendedS3DestinationConfiguration": {}})).await.violates(&[
        name,
        ("extendedS3DestinationConfiguration.roleARN", null),
        ("extendedS3DestinationConfiguration.bucketARN", null),
    ]);
    create(&api, "RedshiftDestinationConfiguration", json!({"CopyCommand": {}})).await.violates(&[
        ("redshiftDestinationConfiguration.roleARN", null),
        ("redshiftDestinationConfiguration.clusterJDBCURL", null),
        ("redshiftDestinationConfiguration.copyCommand.dataTableName", null),
        ("redshiftDestinationConfiguration.s3Configuration", null),
    ]);
    api.call("DescribeDeliveryStream", &json!({})).await.violates(&[name]);
    api.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": null})).await.violates(&[name]);
    assert_eq!(api.call("ListDeliveryStreams", &json!({})).await.status, 200, "nothing is required there");
}

#[tokio::test]
async fn all_violations_of_a_call_come_in_one_message() {
    let api = Api::start().await;
    let records = [data("a"), data(vec![0; 1_024_001]), json!({}), data(vec![0; 1_024_002])];
    api.call("PutRecordBatch", &batch("no name", &records)).await.violates(&[
        ("deliveryStreamName", NAME_PATTERN),
        ("records.2.member.data", &at_most(1_024_000)),
        ("records.3.member.data", "Member must not be null"),
        ("records.4.member.data", &at_most(1_024_000)),
    ]);
}

#[tokio::test]
async fn buffering_hints_have_their_ranges_and_come_together() {
    let api = Api::start().await;
    for destination in ["S3DestinationConfiguration", "ExtendedS3DestinationConfiguration"] {
        let path = format!("{}{}.bufferingHints", destination[..1].to_lowercase(), &destination[1..]);
        let hints = |hints| create(&api, destination, with(s3(), "BufferingHints", hints));
        let (size, interval) = (format!("{path}.sizeInMBs"), format!("{path}.intervalInSeconds"));
        hints(json!({"SizeInMBs": 0, "IntervalInSeconds": -1})).await.violates(&[
            (&size, "Member must have value greater than or equal to 1"),
            (&interval, "Member must have value greater than or equal to 0"),
        ]);
        hints(json!({"SizeInMBs": 129, "IntervalInSeconds": 901})).await.violates(&[
            (&size, "Member must have value less than or equal to 128"),
            (&interval, "Member must have value less than or equal to 900"),
        ]);
        for alone in [json!({"SizeInMBs": 5}), json!({"IntervalInSeconds": 60})] {
            let message =
                "BufferingHints: SizeInMBs and IntervalInSeconds must be given together or not at all.";
            hints(alone).await.is_error(400, "InvalidArgumentException", message);
        }
    }
    for (at, good) in
        [json!({"SizeInMBs": 1, "IntervalInSeconds": 0}), json!({"SizeInMBs": 128, "IntervalInSeconds": 900})]
            .into_iter()
            .enumerate()
    {
        let config = with(s3(), "BufferingHints", good.clone());
        let name = format!("good-{at}");
        let input = json!({"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": config});
        assert_eq!(api.call("CreateDeliveryStream", &input).await.status, 200);
        let described = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": name})).await.json();
        let destination = &described["DeliveryStreamDescription"]["Destinations"][0];
        assert_eq!(destination["ExtendedS3DestinationDescription"]["BufferingHints"], good);
    }
    let redshift = with(
        redshift(),
        "S3Configuration.BufferingHints",
        json!({"SizeInMBs": 129, "IntervalInSeconds": 60}),
    );
    create(&api, "RedshiftDestinationConfiguration", redshift).await.violates(&[(
        "redshiftDestinationConfiguration.s3Configuration.bufferingHints.sizeInMBs",
        "Member must have value less than or equal to 128",
    )]);
}

#[tokio::test]
async fn a_redshift_retry_is_0_to_7200_seconds() {
    let api = Api::start().await;
    let path = "redshiftDestinationConfiguration.retryOptions.durationInSeconds";
    let retry = |seconds: i32| {
        create(
            &api,
            "RedshiftDestinationConfiguration",
            with(redshift(), "RetryOptions", json!({"DurationInSeconds": seconds})),
        )
    };
    retry(-1).await.violates(&[(path, "Member must have value greater than or equal to 0")]);
    retry(7_201).await.violates(&[(path, "Member must have value less than or equal to 7200")]);
    assert_eq!(retry(7_200).await.status, 200);
}

#[tokio::test]
async fn prefixes_have_1024_characters_as_given_and_512_bytes_evaluated() {
    let api = Api::start().await;
    for (member, path, evaluated) in
        [("Prefix", "prefix", "prefix"), ("ErrorOutputPrefix", "errorOutputPrefix", "ErrorOutputPrefix")]
    {
        let of = |text: String| create(&api, "S3DestinationConfiguration", with(s3(), member, json!(text)));
        let path = format!("s3DestinationConfiguration.{path}");
        of("p".repeat(1_025)).await.violates(&[(&path, &at_most(1_024))]);
        let message = format!(
            "The supplied prefix(es) do not satisfy the following constraint: \
             Length of evaluated {evaluated} cannot be greater than 512"
        );
        of("p".repeat(513)).await.is_error(400, "InvalidArgumentException", &message);
        of("ä".repeat(257)).await.is_error(400, "InvalidArgumentException", &message);
        of("two\nlines".to_owned())
            .await
            .violates(&[(&path, "Member must satisfy regular expression pattern: .*")]);
    }
    let config = with(s3(), "Prefix", json!("ä".repeat(256)));
    assert_eq!(create(&api, "S3DestinationConfiguration", config).await.status, 200);
}

#[tokio::test]
async fn texts_of_a_destination_have_their_lengths_and_patterns() {
    let api = Api::start().await;
    let s3_path = |member: &str| format!("extendedS3DestinationConfiguration.{member}");
    let redshift_path = |member: &str| format!("redshiftDestinationConfiguration.{member}");
    let pattern = |pattern: &str| format!("Member must satisfy regular expression pattern: {pattern}");
    let role = r"arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+";
    let bucket = r"arn:.*:s3:::[\w\.\-]{1,255}";
    let secret = r"arn:.*:secretsmanager:[a-zA-Z0-9\-]+:\d{12}:secret:[a-zA-Z0-9\-/_+=.@!]+";
    let jdbc = r"jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)+(redshift(-serverless)?)\.([a-zA-Z0-9\.\-]+):\d{1,5}/[a-zA-Z0-9_$-]+";
    let long_role = format!("{}{}", crate::support::ROLE, "x".repeat(512));
    let long_url = JDBC_URL.replace("dev", &"d".repeat(512));
    for (member, value, path, constraint) in [
        ("RoleARN", json!("arn:aws:iam::12:role/x"), s3_path("roleARN"), pattern(role)),
        ("RoleARN", json!("arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/x"), s3_path("roleARN"), pattern(role)),
        ("RoleARN", json!(long_role), s3_path("roleARN"), at_most(512)),
        ("BucketARN", json!("demo"), s3_path("bucketARN"), pattern(bucket)),
        (
            "BucketARN",
            json!(format!("arn:aws:s3:::{}", "b".repeat(256))),
            s3_path("bucketARN"),
            pattern(bucket),
        ),
        ("BucketARN", json!("arn:aws:s3:::bücket"), s3_path("bucketARN"), pattern(bucket)),
        ("FileExtension", json!("json"), s3_path("fileExtension"), pattern(r"^(|\.[0-9a-z!\-_.*'()]+)$")),
        ("FileExtension", json!(format!(".{}", "x".repeat(128))), s3_path("fileExtension"), at_most(128)),
        ("CustomTimeZone", json!("z".repeat(51)), s3_path("customTimeZone"), at_most(50)),
        ("CustomTimeZone", json!("UTC+1"), s3_path("customTimeZone"), pattern("^$|[a-zA-Z/_]+")),
        (
            "CloudWatchLoggingOptions",
            json!({"LogGroupName": "a b"}),
            s3_path("cloudWatchLoggingOptions.logGroupName"),
            pattern(r"[\.\-_/#A-Za-z0-9]*"),
        ),
        (
            "CloudWatchLoggingOptions",
            json!({"LogStreamName": "a:b"}),
            s3_path("cloudWatchLoggingOptions.logStreamName"),
            pattern("[^:*]*"),
        ),
    ] {
        let answer = create(&api, "ExtendedS3DestinationConfiguration", with(s3(), member, value)).await;
        answer.violates(&[(&path, &constraint)]);
    }
    for (member, value, path, constraint) in [
        ("ClusterJDBCURL", json!("jdbc:mysql://x/y"), redshift_path("clusterJDBCURL"), pattern(jdbc)),
        ("ClusterJDBCURL", json!(long_url), redshift_path("clusterJDBCURL"), at_most(512)),
        ("CopyCommand.DataTableName", json!(""), redshift_path("copyCommand.dataTableName"), at_least(1)),
        (
            "CopyCommand.DataTableName",
            json!("t".repeat(513)),
            redshift_path("copyCommand.dataTableName"),
            at_most(512),
        ),
        (
            "CopyCommand.DataTableColumns",
            json!("c".repeat(10_241)),
            redshift_path("copyCommand.dataTableColumns"),
            at_most(10_240),
        ),
        (
            "CopyCommand.CopyOptions",
            json!("o".repeat(10_241)),
            redshift_path("copyCommand.copyOptions"),
            at_most(10_240),
        ),
        (
            "CopyCommand.CopyOptions",
            json!("JSON 'auto'\nGZIP"),
            redshift_path("copyCommand.copyOptions"),
            pattern(".*"),
        ),
        ("Username", json!("u".repeat(513)), redshift_path("username"), at_most(512)),
        ("Username", json!(""), redshift_path("username"), at_least(1)),
        ("Password", json!("short"), redshift_path("password"), at_least(6)),
        ("Password", json!("p".repeat(513)), redshift_path("password"), at_most(512)),
        (
            "SecretsManagerConfiguration",
            json!({"Enabled": true, "SecretARN": "secret"}),
            redshift_path("secretsManagerConfiguration.secretARN"),
            pattern(secret),
        ),
        (
            "SecretsManagerConfiguration",
            json!({}),
            redshift_path("secretsManagerConfiguration.enabled"),
            "Member must not be null".to_owned(),
        ),
    ] {
        let answer = create(&api, "RedshiftDestinationConfiguration", with(redshift(), member, value)).await;
        answer.violates(&[(&path, &constraint)]);
    }
}

#[tokio::test]
async fn enumerations_print_their_values_in_the_services_order() {
    let api = Api::start().await;
    let one_of = |values: &str| format!("Member must satisfy enum value set: [{values}]");
    let compression = one_of("ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED");
    let config = with(s3(), "CompressionFormat", json!("gzip"));
    let path = "extendedS3DestinationConfiguration.compressionFormat";
    create(&api, "ExtendedS3DestinationConfiguration", config).await.violates(&[(path, &compression)]);
    let config = with(s3(), "S3BackupMode", json!("On"));
    let path = "extendedS3DestinationConfiguration.s3BackupMode";
    create(&api, "ExtendedS3DestinationConfiguration", config)
        .await
        .violates(&[(path, &one_of("Disabled, Enabled"))]);
    let types = one_of("DirectPut, KinesisStreamAsSource, MSKAsSource, DatabaseAsSource");
    api.call("ListDeliveryStreams", &json!({"DeliveryStreamType": "Put"}))
        .await
        .violates(&[("deliveryStreamType", &types)]);
    let processors = json!({"Enabled": true, "Processors": [{"Type": "Jq", "Parameters": [{"ParameterName": "X", "ParameterValue": " "}]}]});
    let path = |member: &str| {
        format!("extendedS3DestinationConfiguration.processingConfiguration.processors.1.member.{member}")
    };
    create(&api, "ExtendedS3DestinationConfiguration", with(s3(), "ProcessingConfiguration", processors)).await.violates(&[
        (&path("type"), &one_of("Decompression, Lambda, RecordDeAggregation, MetadataExtraction, AppendDelimiterToRecord, CloudWatchLogProcessing")),
        (&path("parameters.1.member.parameterName"), &one_of("DataMessageExtraction, NumberOfRetries, Delimiter, RoleArn, JsonParsingEngine, SubRecordType, MetadataExtractionQuery, BufferIntervalInSeconds, LambdaArn, BufferSizeInMBs, CompressionFormat")),
        (&path("parameters.1.member.parameterValue"), r"Member must satisfy regular expression pattern: ^(?!\s*$).+"),
    ]);
    let processors = json!({"Processors": [{"Type": "Lambda", "Parameters": [{"ParameterName": "LambdaArn", "ParameterValue": "x".repeat(5_121)}]}]});
    create(&api, "ExtendedS3DestinationConfiguration", with(s3(), "ProcessingConfiguration", processors))
        .await
        .violates(&[(&path("parameters.1.member.parameterValue"), &at_most(5_120))]);
}

#[tokio::test]
async fn pages_have_1_to_10_000_names() {
    let (api, _) = Api::with_stream("s").await;
    for (operation, input) in
        [("ListDeliveryStreams", json!({})), ("DescribeDeliveryStream", json!({"DeliveryStreamName": "s"}))]
    {
        for (limit, constraint) in [
            (0, "Member must have value greater than or equal to 1"),
            (10_001, "Member must have value less than or equal to 10000"),
        ] {
            api.call(operation, &with(input.clone(), "Limit", json!(limit)))
                .await
                .violates(&[("limit", constraint)]);
        }
        assert_eq!(api.call(operation, &with(input, "Limit", json!(10_000))).await.status, 200);
    }
    let start = json!({"DeliveryStreamName": "s", "ExclusiveStartDestinationId": "x".repeat(101)});
    api.call("DescribeDeliveryStream", &start)
        .await
        .violates(&[("exclusiveStartDestinationId", &at_most(100))]);
    let start = json!({"ExclusiveStartDeliveryStreamName": "x".repeat(65)});
    api.call("ListDeliveryStreams", &start)
        .await
        .violates(&[("exclusiveStartDeliveryStreamName", &at_most(64))]);
}

#[tokio::test]
async fn tags_and_a_throughput_hint_have_their_limits() {
    let api = Api::start().await;
    let with_member = |member: &str, value: Value| {
        let input = json!({"DeliveryStreamName": "new", "ExtendedS3DestinationConfiguration": s3()});
        with(input, member, value)
    };
    let tag = |key: &str, value: &str| json!({"Key": key, "Value": value});
    let create = async |member: &str, value: Value| {
        api.call("CreateDeliveryStream", &with_member(member, value)).await
    };
    create("Tags", json!([])).await.violates(&[("tags", &at_least(1))]);
    create("Tags", json!(vec![tag("k", "v"); 51])).await.violates(&[("tags", &at_most(50))]);
    create("Tags", json!([tag(&"k".repeat(129), &"v".repeat(257))]))
        .await
        .violates(&[("tags.1.member.key", &at_most(128)), ("tags.1.member.value", &at_most(256))]);
    create("Tags", json!([tag("aws:k", "v")])).await.violates(&[(
        "tags.1.member.key",
        r"Member must satisfy regular expression pattern: ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$",
    )]);
    create("DirectPutSourceConfiguration", json!({"ThroughputHintInMBs": 101})).await.violates(&[(
        "directPutSourceConfiguration.throughputHintInMBs",
        "Member must have value less than or equal to 100",
    )]);
    assert_eq!(create("DirectPutSourceConfiguration", json!({"ThroughputHintInMBs": 100})).await.status, 200);
}

#[tokio::test]
async fn an_account_has_5_000_streams() {
    let api = Api::start().await;
    let destination = {
        let id = api.create("first").await;
        api.streams.by_id(id).unwrap().destination.clone()
    };
    for number in 1..5_000 {
        let name: hydrant_types::StreamName = format!("stream-{number}").parse().unwrap();
        api.metastore
            .create_stream(
                &hydrant_metastore::NewStream::new(name.clone(), destination.clone()),
                hydrant_types::Clock::now(&api.clock),
            )
            .await
            .unwrap();
    }
    create(&api, "ExtendedS3DestinationConfiguration", s3()).await.is_error(
        400,
        "LimitExceededException",
        "You have already consumed your firehose quota of 5000 hoses.",
    );
}

#[tokio::test]
async fn the_values_of_a_control_call_have_a_number_and_room_like_its_body() {
    let mut options = Options::default();
    options.settings.ingest.bytes_in_flight_max = 4_000_000;
    let api = Api::start_with(options).await;
    // The outermost, the name, the list and its items; as many commas are in a text.
    let input = |values: usize| {
        format!(
            r#"{{"DeliveryStreamName":"{}","Else":[{}0]}}"#,
            ",".repeat(5),
            "[],".repeat((values - 4) / 2)
        )
    };
    let message = "The request has more than 10000 values.";
    for body in [input(10_002), format!(r#"{{"Else":[{}0]}}"#, "[0],".repeat(250_000))] {
        api.send("DescribeDeliveryStream", body).await.is_error(400, "SerializationException", message);
    }
    api.send("DescribeDeliveryStream", input(10_000)).await.is_error(
        503,
        "ServiceUnavailableException",
        "Slow down.",
    );
    assert_eq!(api.metric("hydrant_in_flight_bytes"), 0.0);
    api.send("DescribeDeliveryStream", input(5_000)).await.violates(&[("deliveryStreamName", NAME_PATTERN)]);
}
