//! Prefixes and their expressions.

use super::*;

#[tokio::test]
async fn prefixes_have_their_rules() {
    let api = Api::start().await;
    let check = async |prefix: Value, error_prefix: Value, constraint: &str| {
        let config = with(with(s3(), "Prefix", prefix), "ErrorOutputPrefix", error_prefix);
        is_invalid(
            &create(&api, EXTENDED, config).await,
            &format!("The supplied prefix(es) do not satisfy the following constraint: {constraint}"),
        );
    };
    let error_type = "e/!{firehose:error-output-type}/";
    for (prefix, error_prefix, constraint) in [
        (
            json!("!{timestamp:yyyy}/"),
            json!(null),
            "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions",
        ),
        (
            json!("!{timestamp:yyyy}/"),
            json!(""),
            "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions",
        ),
        (
            json!(null),
            json!("!{timestamp:yyyy}/"),
            "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}",
        ),
        (
            json!(error_type),
            json!("e/"),
            "Prefix must not contain any occurrence of !{firehose:error-output-type}",
        ),
        (json!("a!{"), json!("e/"), "Invalid expression usage"),
        (json!("!{timestamp}"), json!("e/"), "Invalid expression usage"),
        (json!("!{time:yyyy}"), json!("e/"), "Namespace to the left of colon (time) is an invalid keyword!"),
        (
            json!("!{timestamp:yyyyTMM}"),
            json!("e/"),
            "Invalid conversion character used in the value of the expression in Prefix",
        ),
        (
            json!(null),
            json!("!{firehose:error-output-type}!{partitionKeyFromQuery:k}"),
            "Dynamic Partitioning Namespaces can't be part of an error prefix expression",
        ),
        (
            json!("!{timestamp:yyyyy[MM]}"),
            json!("e/"),
            "Invalid conversion character used in the value of the expression in Prefix",
        ),
        (
            json!("!{timestamp:MMMMMM}"),
            json!("e/"),
            "Invalid conversion character used in the value of the expression in Prefix",
        ),
        (
            json!("!{timestamp:yyyy}".to_owned() + &"p".repeat(509)),
            json!("e/"),
            "Length of evaluated prefix cannot be greater than 512",
        ),
        // At least a letter each, and too long for any key in every zone there is.
        (
            json!(format!("!{{timestamp:{}}}", "zzzz ".repeat(60))),
            json!("e/"),
            "Length of evaluated prefix cannot be greater than 512",
        ),
        (
            json!(null),
            json!(format!("!{{timestamp:{}}}{error_type}", format!("{}/", "A".repeat(19)).repeat(26))),
            "Length of evaluated ErrorOutputPrefix cannot be greater than 512",
        ),
        (json!("p".repeat(513)), json!(null), "Length of evaluated prefix cannot be greater than 512"),
        (json!("ä".repeat(257)), json!(null), "Length of evaluated prefix cannot be greater than 512"),
        (
            json!(null),
            json!("p".repeat(513)),
            "Length of evaluated ErrorOutputPrefix cannot be greater than 512",
        ),
        (json!("a\u{7}b/"), json!(null), "Control characters are not allowed"),
        (json!(null), json!("tab\t/"), "Control characters are not allowed"),
    ] {
        check(prefix, error_prefix, constraint).await;
    }
    let partitioned = with(s3(), "DynamicPartitioningConfiguration", json!({"Enabled": true}));
    is_invalid(
        &create(&api, EXTENDED, partitioned.clone()).await,
        "The supplied prefix(es) do not satisfy the following constraint: \
         S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled",
    );
    let partitioned = with(
        with(partitioned, "Prefix", json!("!{partitionKeyFromQuery:k}/")),
        "ErrorOutputPrefix",
        json!("e/"),
    );
    let small =
        with(partitioned.clone(), "BufferingHints", json!({"SizeInMBs": 63, "IntervalInSeconds": 60}));
    is_invalid(
        &create(&api, EXTENDED, small).await,
        "BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.",
    );
    is_not_yet(&create(&api, EXTENDED, partitioned).await, "DynamicPartitioningConfiguration");
    for (member, value) in [("Prefix", "!{timestamp:yyyy}/"), ("ErrorOutputPrefix", "errors/")] {
        is_invalid(
            &create(&api, REDSHIFT, with(redshift(), &format!("S3Configuration.{member}"), json!(value)))
                .await,
            "The supplied prefix(es) do not satisfy the following constraint: \
             Prefix Expressions or ErrorOutputPrefix is currently not supported for this destination",
        );
    }
    let valid =
        with(with(s3(), "Prefix", json!("!{timestamp:yyyy}/")), "ErrorOutputPrefix", json!(error_type));
    let input = json!({"DeliveryStreamName": "valid", EXTENDED: valid});
    assert_eq!(api.call("CreateDeliveryStream", &input).await.status, 200);
    for key in ["!{partitionKeyFromQuery:k}/", "!{partitionKeyFromLambda:k}/"] {
        let keyed = with(with(s3(), "Prefix", json!(key)), "ErrorOutputPrefix", json!("e/"));
        let answer = create(&api, EXTENDED, keyed).await;
        is_not_yet(&answer, "Prefix with partition keys (!{partitionKeyFrom...})");
    }
    let longest = with(
        with(s3(), "Prefix", json!("!{timestamp:yyyy}".to_owned() + &"p".repeat(508))),
        "ErrorOutputPrefix",
        json!("e/"),
    );
    let input = json!({"DeliveryStreamName": "longest", EXTENDED: longest});
    assert_eq!(api.call("CreateDeliveryStream", &input).await.status, 200);
    let longest = with(s3(), "Prefix", json!("p".repeat(512)));
    assert_eq!(create(&api, EXTENDED, longest).await.status, 200);
}
