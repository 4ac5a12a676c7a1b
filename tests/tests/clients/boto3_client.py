"""What a boto3 producer does, unchanged but for endpoint_url."""

import os
import time

import boto3
from botocore.exceptions import ClientError

firehose = boto3.client("firehose", endpoint_url=os.environ["API"])
s3 = boto3.client("s3", endpoint_url=os.environ["S3"])


def expect_error(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error
    raise AssertionError(f"{code} was expected")


record_id = firehose.put_record(DeliveryStreamName="demo-s3", Record={"Data": b"one\n"})["RecordId"]
assert record_id

answer = firehose.put_record_batch(
    DeliveryStreamName="demo-s3", Records=[{"Data": f"r{n}\n".encode()} for n in range(500)]
)
assert answer["FailedPutCount"] == 0
assert len({entry["RecordId"] for entry in answer["RequestResponses"]}) == 500

described = firehose.describe_delivery_stream(DeliveryStreamName="demo-redshift")["DeliveryStreamDescription"]
assert described["DeliveryStreamStatus"] == "ACTIVE"
assert described["Destinations"][0]["RedshiftDestinationDescription"]["CopyCommand"]["DataTableName"] == "events"
assert "Password" not in described["Destinations"][0]["RedshiftDestinationDescription"]
assert firehose.list_delivery_streams()["DeliveryStreamNames"] == ["demo-redshift", "demo-s3"]

expect_error("ResourceNotFoundException", firehose.put_record, DeliveryStreamName="nobody", Record={"Data": b"x"})
big = [{"Data": b"x" * 1_000_000}] * 5
expect_error("InvalidArgumentException", firehose.put_record_batch, DeliveryStreamName="demo-s3", Records=big)

firehose.create_delivery_stream(
    DeliveryStreamName="mine",
    ExtendedS3DestinationConfiguration={
        "RoleARN": "arn:aws:iam::000000000000:role/r",
        "BucketARN": "arn:aws:s3:::demo",
        "Prefix": "mine/",
    },
)
expect_error(
    "ResourceInUseException",
    firehose.create_delivery_stream,
    DeliveryStreamName="mine",
    ExtendedS3DestinationConfiguration={
        "RoleARN": "arn:aws:iam::000000000000:role/r",
        "BucketARN": "arn:aws:s3:::demo",
    },
)
firehose.put_record(DeliveryStreamName="mine", Record={"Data": b"plain"})
deadline = time.monotonic() + 30
while True:
    listed = s3.list_objects_v2(Bucket="demo", Prefix="mine/").get("Contents", [])
    if listed:
        body = s3.get_object(Bucket="demo", Key=listed[0]["Key"])["Body"].read()
        assert body == b"plain", body
        break
    assert time.monotonic() < deadline, "the record did not arrive"
    time.sleep(0.1)
firehose.delete_delivery_stream(DeliveryStreamName="mine")
print("all of it works")
