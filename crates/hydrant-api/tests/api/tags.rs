//! Tags, and those that are settings.

use serde_json::{Value, json};

use crate::support::{ACCOUNT, Answer, Api, s3};

fn tags(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

async fn tag(api: &Api, tags: Value) -> Answer {
    api.call("TagDeliveryStream", &json!({"DeliveryStreamName": "s", "Tags": tags})).await
}

async fn list(api: &Api, more: Value) -> Value {
    let mut input = json!({"DeliveryStreamName": "s"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = api.call("ListTagsForDeliveryStream", &input).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[track_caller]
fn done(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (200, "{}"));
}

#[tokio::test]
async fn tags_are_set_overwritten_listed_and_removed() {
    let api = Api::start().await;
    let input = json!({
        "DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": s3(),
        "Tags": [{"Key": "team", "Value": "shop"}, {"Key": "no value"}],
    });
    assert_eq!(api.call("CreateDeliveryStream", &input).await.status, 200);
    let expected = json!({"Tags": tags(&[("no value", ""), ("team", "shop")]), "HasMoreTags": false});
    assert_eq!(list(&api, json!({})).await, expected);
    done(&tag(&api, tags(&[("team", "core"), ("Größe", "1"), ("twice", "a"), ("twice", "b")])).await);
    let untag = json!({"DeliveryStreamName": "s", "TagKeys": ["no value", "never there"]});
    done(&api.call("UntagDeliveryStream", &untag).await);
    let expected = tags(&[("Größe", "1"), ("team", "core"), ("twice", "b")]);
    assert_eq!(list(&api, json!({})).await["Tags"], expected);
    assert_eq!(api.streams.get("s").unwrap().version.0, 1, "tags are no version");
}

#[tokio::test]
async fn tags_are_listed_in_pages_by_key() {
    let (api, _) = Api::with_stream("s").await;
    done(&tag(&api, tags(&[("b", "1"), ("a", "2"), ("B", "3"), ("c", "4"), ("d", "5")])).await);
    assert_eq!(list(&api, json!({"Limit": 5})).await["HasMoreTags"], false);
    let first = list(&api, json!({"Limit": 2})).await;
    assert_eq!(first, json!({"Tags": tags(&[("B", "3"), ("a", "2")]), "HasMoreTags": true}));
    let rest = list(&api, json!({"ExclusiveStartTagKey": "a"})).await;
    assert_eq!(rest, json!({"Tags": tags(&[("b", "1"), ("c", "4"), ("d", "5")]), "HasMoreTags": false}));
    let behind = list(&api, json!({"ExclusiveStartTagKey": "e", "Limit": 1})).await;
    assert_eq!(behind, json!({"Tags": [], "HasMoreTags": false}), "it need not exist");
}

#[tokio::test]
async fn a_stream_has_50_tags_and_one_that_is_refused_changes_nothing() {
    let (api, _) = Api::with_stream("s").await;
    let many: Value = (0..50).map(|n| json!({"Key": format!("k{n}"), "Value": "v"})).collect();
    done(&tag(&api, many.clone()).await);
    done(&tag(&api, many).await);
    let refused = tag(&api, tags(&[("k0", "other"), ("one more", "")])).await;
    refused.is_error(400, "LimitExceededException", "A Firehose can have at most 50 tags.");
    assert_eq!(list(&api, json!({"Limit": 1})).await["Tags"], tags(&[("k0", "v")]));
}

#[tokio::test]
async fn tags_of_aws_are_refused_and_streams_must_exist() {
    let (api, _) = Api::with_stream("s").await;
    let pattern = r"Member must satisfy regular expression pattern: ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$";
    tag(&api, tags(&[("aws:x", "1")])).await.violates(&[("tags.1.member.key", pattern)]);
    let untag = json!({"DeliveryStreamName": "s", "TagKeys": ["a", "aws:x"]});
    api.call("UntagDeliveryStream", &untag).await.violates(&[("tagKeys.2.member", pattern)]);
    for (operation, member, value) in [
        ("TagDeliveryStream", "Tags", tags(&[("a", "")])),
        ("UntagDeliveryStream", "TagKeys", json!(["a"])),
        ("ListTagsForDeliveryStream", "Limit", json!(1)),
    ] {
        let answer = api.call(operation, &json!({"DeliveryStreamName": "nobody", member: value})).await;
        answer.is_error(
            400,
            "ResourceNotFoundException",
            &format!("Firehose nobody under account {ACCOUNT} not found."),
        );
    }
}

#[tokio::test]
async fn tags_that_are_settings_must_mean_something() {
    let (api, _) = Api::with_stream("s").await;
    for (key, value, expected) in [
        ("hydrant:buffering-interval", "16m", "a duration from 1ms to 15m, such as 250ms"),
        ("hydrant:gzip-level", "0", "a number from 1 (fast) to 9 (small)"),
        ("hydrant:gzip-member-size", "1KiB", "a size from 256KiB to 128MiB, such as 1MiB"),
        ("hydrant:content-encoding", "yes", "on or off"),
        ("hydrant:copy-retry", "1", "a duration from 100ms to 2h, such as 30s"),
        ("hydrant:on-delete", "keep", "deliver or discard"),
        ("hydrant:prefix-date", "yes", "append or never"),
        ("hydrant:expected-bucket-owner", "me", "an account id of 12 digits"),
        ("hydrant:acl", "public-read", "bucket-owner-full-control"),
        ("hydrant:storage-class", "COLD", "one of S3's storage classes, such as STANDARD_IA"),
        ("hydrant:object-tags", "a", "tags such as team=shop cost=42, percent-encoded, each key once"),
        ("hydrant:s3-endpoint", "s3.example", "a URL such as https://s3.example or http://host:9000"),
        ("hydrant:s3-region", "Frankfurt", "a region such as eu-west-1"),
        (
            "hydrant:buffering",
            "1s",
            "one of hydrant:buffering-interval, hydrant:gzip-level, hydrant:gzip-member-size, \
             hydrant:content-encoding, hydrant:copy-retry, hydrant:on-delete, hydrant:prefix-date, \
             hydrant:expected-bucket-owner, hydrant:acl, hydrant:storage-class, hydrant:object-tags, \
             hydrant:s3-endpoint, hydrant:s3-region",
        ),
    ] {
        let message = format!("Tag {key} is not valid: expected {expected}.");
        let both = tags(&[("team", "shop"), (key, value)]);
        tag(&api, both.clone()).await.is_error(400, "InvalidArgumentException", &message);
        let input =
            json!({"DeliveryStreamName": "t", "ExtendedS3DestinationConfiguration": s3(), "Tags": both});
        api.call("CreateDeliveryStream", &input).await.is_error(400, "InvalidArgumentException", &message);
    }
    assert_eq!(list(&api, json!({})).await["Tags"], json!([]));
    done(&tag(&api, tags(&[("hydrant:on-delete", "discard")])).await);
    done(&tag(&api, tags(&[("hydrant:buffering-interval", "250ms"), ("hydrant:gzip-level", "9")])).await);
    let stream = api.streams.get("s").unwrap();
    let options = hydrant_types::StreamOptions::of_checked(&stream.tags);
    assert_eq!(options.buffering_interval, Some(std::time::Duration::from_millis(250)));
    assert_eq!(options.gzip_level, Some(9), "this node knows at once");
    done(
        &tag(
            &api,
            tags(&[
                ("hydrant:object-tags", "team=shop cost=a%20b"),
                ("hydrant:s3-endpoint", "http://127.0.0.1:9000"),
            ]),
        )
        .await,
    );
    let options = hydrant_types::StreamOptions::of_checked(&api.streams.get("s").unwrap().tags);
    assert_eq!(options.s3.object_tags.unwrap().as_header(), "team=shop&cost=a%20b");
}

#[tokio::test]
async fn a_stream_that_is_being_deleted_takes_the_tag_that_discards_and_no_other() {
    let (api, _) = Api::with_stream("s").await;
    done(&api.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": "s"})).await);
    let discard = ("hydrant:on-delete", "discard");
    for refused in
        [&[("team", "shop")][..], &[("hydrant:on-delete", "deliver")], &[discard, ("team", "shop")]]
    {
        let answer = tag(&api, tags(refused)).await;
        assert_eq!((answer.status, answer.json()["__type"].as_str()), (400, Some("ResourceInUseException")));
    }
    done(&tag(&api, tags(&[discard])).await);
    assert!(api.streams.get("s").unwrap().is_discarding(), "this node knows at once");
    done(&tag(&api, tags(&[discard])).await);
    let untag = json!({"DeliveryStreamName": "s", "TagKeys": ["hydrant:on-delete"]});
    assert_eq!(api.call("UntagDeliveryStream", &untag).await.status, 400, "it is not taken back");
    // The command deletes again after the tag.
    done(&api.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": "s"})).await);
}
