"""What a producer and an operator do with boto3. Nothing here knows of Hydrant: AWS_ENDPOINT_URL_FIREHOSE says where Firehose is."""

import json
import sys

import boto3

firehose = boto3.client("firehose")


def record(number):
    return {"Data": json.dumps({"id": number}).encode() + b"\n"}


def put(stream, first):
    """One record, then three in one call."""
    assert firehose.put_record(DeliveryStreamName=stream, Record=record(first))["RecordId"]
    records = [record(first + n) for n in (1, 2, 3)]
    answer = firehose.put_record_batch(DeliveryStreamName=stream, Records=records)
    assert answer["FailedPutCount"] == 0 and answer["Encrypted"] is False, answer
    assert len({entry["RecordId"] for entry in answer["RequestResponses"]}) == 3, answer


def burst(stream, first, calls):
    for n in range(calls):
        firehose.put_record(DeliveryStreamName=stream, Record=record(first + n))


def control(name, bucket, role):
    s3 = {"RoleARN": role, "BucketARN": bucket, "Prefix": "control/", "CompressionFormat": "GZIP"}
    stream = {"DeliveryStreamName": name}
    arn = firehose.create_delivery_stream(
        **stream, ExtendedS3DestinationConfiguration=s3, Tags=[{"Key": "team", "Value": "shop"}]
    )["DeliveryStreamARN"]
    assert arn.endswith(f":deliverystream/{name}"), arn

    def describe():
        return firehose.describe_delivery_stream(**stream)["DeliveryStreamDescription"]

    described = describe()
    assert described["DeliveryStreamStatus"] == "ACTIVE" and described["VersionId"] == "1", described
    assert name in firehose.list_delivery_streams()["DeliveryStreamNames"]
    firehose.tag_delivery_stream(**stream, Tags=[{"Key": "hydrant:gzip-level", "Value": "1"}])
    tags = firehose.list_tags_for_delivery_stream(**stream)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "shop", "hydrant:gzip-level": "1"}, tags
    firehose.untag_delivery_stream(**stream, TagKeys=["team"])
    assert len(firehose.list_tags_for_delivery_stream(**stream)["Tags"]) == 1
    firehose.update_destination(
        **stream,
        CurrentDeliveryStreamVersionId=described["VersionId"],
        DestinationId=described["Destinations"][0]["DestinationId"],
        ExtendedS3DestinationUpdate={"Prefix": "other/"},
    )
    described = describe()
    assert described["VersionId"] == "2", described
    assert described["Destinations"][0]["ExtendedS3DestinationDescription"]["Prefix"] == "other/", described
    firehose.start_delivery_stream_encryption(**stream)
    assert describe()["DeliveryStreamEncryptionConfiguration"]["Status"] == "ENABLED"
    assert firehose.put_record(**stream, Record=record(1))["Encrypted"] is True
    firehose.stop_delivery_stream_encryption(**stream)
    assert describe()["DeliveryStreamEncryptionConfiguration"]["Status"] == "DISABLED"
    firehose.delete_delivery_stream(**stream)


phase, *arguments = sys.argv[1:]
if phase == "put":
    put(arguments[0], int(arguments[1]))
elif phase == "burst":
    burst(arguments[0], int(arguments[1]), int(arguments[2]))
elif phase == "control":
    control(*arguments)
else:
    sys.exit(f"no such phase: {phase}")
