//! Processors and format conversion.

use super::*;

#[tokio::test]
async fn processors_have_their_rules() {
    let api = Api::start().await;
    let lambda = |more: &[(&str, &str)]| {
        let mut parameters = vec![("LambdaArn", "arn:aws:lambda:eu-west-1:123456789012:function:f")];
        parameters.extend(more);
        processor("Lambda", &parameters)
    };
    let count =
        "A maximum of 5 and a minimum of 1 processor needs to be supplied when processing is enabled.";
    let deaggregate = |parameters: &[(&str, &str)]| processor("RecordDeAggregation", parameters);
    let six: Vec<Value> = (0..6).map(|_| processor("AppendDelimiterToRecord", &[])).collect();
    for (processors, message) in [
        (json!([]), count),
        (json!(six), count),
        (json!([lambda(&[]), lambda(&[])]), "Cannot have more than 1 Lambda processor."),
        (json!([processor("Lambda", &[])]), "LambdaArn is required when Lambda processor is used."),
        (
            json!([lambda(&[("NumberOfRetries", "301")])]),
            "Number of retries for lambda must be between 0 and 300.",
        ),
        (
            json!([lambda(&[("NumberOfRetries", "x")])]),
            "Number of retries for lambda must be between 0 and 300.",
        ),
        (
            json!([lambda(&[("BufferSizeInMBs", "0.1"), ("BufferIntervalInSeconds", "60")])]),
            "BufferSizeInMBs for lambda processor must be between 0.2 and 3.",
        ),
        (
            json!([lambda(&[("BufferSizeInMBs", "1"), ("BufferIntervalInSeconds", "901")])]),
            "BufferIntervalInSeconds for lambda processor must be between 0 and 900.",
        ),
        (
            json!([lambda(&[("BufferSizeInMBs", "1")])]),
            "Both BufferSizeInMBs and BufferIntervalInSeconds are required to configure buffering for lambda processor.",
        ),
        (
            json!([processor("MetadataExtraction", &[("JsonParsingEngine", "JQ-1.6")])]),
            "class com.amazonaws.services.firehose.internal.model.MetadataExtractionProcessor can only be present when \
             Dynamic Partitioning is enabled.",
        ),
        (json!([deaggregate(&[("SubRecordType", "XML")])]), "SubRecordType has to be one of JSON, DELIMITED"),
        (
            json!([deaggregate(&[("SubRecordType", "DELIMITED")])]),
            "Delimiter should be present for DELIMITED",
        ),
        (
            json!([processor("CloudWatchLogProcessing", &[])]),
            "CloudWatchLogProcessingProcessor can only be enabled with DecompressionProcessor",
        ),
        (
            json!([
                processor("Decompression", &[]),
                processor("CloudWatchLogProcessing", &[("DataMessageExtraction", "yes")])
            ]),
            "Invalid parameter value for DataMessageExtraction. Allowed values are True and False.",
        ),
        (
            json!([processor("Decompression", &[("CompressionFormat", "ZIP")])]),
            "CompressionFormat has to be GZIP",
        ),
    ] {
        let config = with(s3(), "ProcessingConfiguration", processing(processors));
        is_invalid(&create(&api, EXTENDED, config).await, message);
    }
    let partitioned = json!({
        "RoleARN": ROLE, "BucketARN": "arn:aws:s3:::demo", "Prefix": "!{partitionKeyFromQuery:k}/", "ErrorOutputPrefix": "e/",
        "DynamicPartitioningConfiguration": {"Enabled": true},
        "ProcessingConfiguration": processing(json!([processor("MetadataExtraction", &[("JsonParsingEngine", "jq")])])),
    });
    is_invalid(
        &create(&api, EXTENDED, partitioned).await,
        "MetaDataExtraction JSON Parsing Engine has to be one of JQ-1.6",
    );
    // Not said to be enabled, and yet there.
    let meant = with(s3(), "ProcessingConfiguration", json!({"Processors": [processor("Lambda", &[])]}));
    is_invalid(&create(&api, EXTENDED, meant).await, "LambdaArn is required when Lambda processor is used.");
}

#[tokio::test]
async fn processors_that_have_no_effect_yet_are_refused_by_name_unless_they_are_switched_off() {
    let api = Api::start().await;
    let lambda = processor("Lambda", &[("LambdaArn", "arn:aws:lambda:eu-west-1:123456789012:function:f")]);
    let deaggregation = processor("RecordDeAggregation", &[("SubRecordType", "JSON")]);
    for destination in [EXTENDED, REDSHIFT] {
        for (one, what) in
            [(&lambda, "The processor Lambda"), (&deaggregation, "The processor RecordDeAggregation")]
        {
            let all = json!([processor("Decompression", &[]), one]);
            let on = with(valid(destination), "ProcessingConfiguration", processing(all.clone()));
            is_not_yet(&create(&api, destination, on).await, what);
        }
        let all = json!([lambda, deaggregation]);
        let off = json!({"Enabled": false, "Processors": all});
        let input = json!({"DeliveryStreamName": destination, destination: with(valid(destination), "ProcessingConfiguration", off.clone())});
        let answer = api.call("CreateDeliveryStream", &input).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let shown =
            api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": destination})).await.json();
        let shown = &shown["DeliveryStreamDescription"]["Destinations"][0];
        let shown = &shown[destination.replace("Configuration", "Description")]["ProcessingConfiguration"];
        assert_eq!(*shown, off, "kept, for when it is switched on");
    }
    let config = json!({
        "RoleARN": ROLE, "BucketARN": "arn:aws:s3:::demo", "DynamicPartitioningConfiguration": {"Enabled": true},
        "Prefix": "!{partitionKeyFromQuery:k}/", "ErrorOutputPrefix": "e/",
        "ProcessingConfiguration": processing(json!([processor("MetadataExtraction", &[("JsonParsingEngine", "JQ-1.6")])])),
    });
    is_not_yet(&create(&api, EXTENDED, config).await, "The processor MetadataExtraction");
}

#[tokio::test]
async fn processors_are_shown_as_given_but_for_the_value_that_is_kept_in_lower_case() {
    let api = Api::start().await;
    for destination in [EXTENDED, REDSHIFT] {
        for (given, kept, delimiter) in
            [("True", "true", r"\n"), ("False", "false", r"\r\n"), ("true", "true", " | ")]
        {
            let all = |extraction| {
                processing(json!([
                    processor("AppendDelimiterToRecord", &[("Delimiter", delimiter)]),
                    processor("Decompression", &[("CompressionFormat", "GZIP")]),
                    processor("CloudWatchLogProcessing", &[("DataMessageExtraction", extraction)]),
                ]))
            };
            let name = format!("{destination}-{given}");
            let config = with(valid(destination), "ProcessingConfiguration", all(given));
            let input = json!({"DeliveryStreamName": name, destination: config});
            let answer = api.call("CreateDeliveryStream", &input).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let shown = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": name})).await.json();
            let shown = &shown["DeliveryStreamDescription"]["Destinations"][0];
            let shown =
                &shown[destination.replace("Configuration", "Description")]["ProcessingConfiguration"];
            assert_eq!(*shown, all(kept));
        }
    }
    // Meant by being given, and without parameters.
    let meant = json!({"Processors": [{"Type": "AppendDelimiterToRecord"}]});
    assert_eq!(create(&api, EXTENDED, with(s3(), "ProcessingConfiguration", meant)).await.status, 200);
    let settings = api.streams.get("s").unwrap();
    let active = settings.destination.s3().processing.active("AppendDelimiterToRecord").unwrap();
    assert_eq!(active.parameter("Delimiter"), None);
    let shown = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": "s"})).await.json();
    let shown = &shown["DeliveryStreamDescription"]["Destinations"][0];
    assert_eq!(
        shown["ExtendedS3DestinationDescription"]["ProcessingConfiguration"],
        json!({"Enabled": true, "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": []}]})
    );
    assert!(shown["S3DestinationDescription"].get("ProcessingConfiguration").is_none());
}

#[tokio::test]
async fn format_conversion_has_its_rules() {
    let api = Api::start().await;
    let good = json!({
        "SchemaConfiguration": {"RoleARN": ROLE, "DatabaseName": "d", "TableName": "t"},
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {"ColumnToJsonKeyMappings": {"a": "b"}}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
    });
    for (member, value, message) in [
        ("SchemaConfiguration", json!(null), "SchemaConfiguration must not be null"),
        ("InputFormatConfiguration", json!(null), "InputFormatConfiguration must not be null"),
        ("OutputFormatConfiguration", json!(null), "OutputFormatConfiguration must not be null"),
        ("InputFormatConfiguration", json!({}), "Deserializer must not be null"),
        ("OutputFormatConfiguration", json!({"Serializer": {}}), "Serializer must not be null"),
        (
            "InputFormatConfiguration.Deserializer.HiveJsonSerDe",
            json!({}),
            "More than one deserializer specified. Only one may be chosen.",
        ),
        (
            "OutputFormatConfiguration.Serializer.OrcSerDe",
            json!({"PaddingTolerance": 0.5}),
            "More than one serializer specified. Only one may be chosen.",
        ),
    ] {
        let config = with(s3(), "DataFormatConversionConfiguration", with(good.clone(), member, value));
        is_invalid(&create(&api, EXTENDED, config).await, message);
    }
    let config = with(s3(), "DataFormatConversionConfiguration", good);
    is_invalid(
        &create(&api, EXTENDED, with(config.clone(), "CompressionFormat", json!("GZIP"))).await,
        "The S3 destination's compression format must be set to UNCOMPRESSED when data format conversion is enabled",
    );
    is_not_yet(&create(&api, EXTENDED, config).await, "DataFormatConversionConfiguration");
}
