#!/bin/sh
# What a producer and an operator do with aws-cli. Nothing here knows of Hydrant: AWS_ENDPOINT_URL_FIREHOSE says where
# Firehose is. The first argument is the phase; AWS is the program.
set -eu

record() { printf '{"Data":"{\\"id\\":%d}\\n"}' "$1"; }

put_record() { "$AWS" firehose put-record --delivery-stream-name "$1" --record "$(record "$2")" --query RecordId; }

# One record, then three in one call.
put() {
  put_record "$1" "$2"
  failed=$("$AWS" firehose put-record-batch --delivery-stream-name "$1" --query FailedPutCount \
    --records "[$(record $(($2 + 1))),$(record $(($2 + 2))),$(record $(($2 + 3)))]")
  [ "$failed" = 0 ]
}

# All at once: one process makes one call, and takes longer than a fast service's quota.
burst() {
  pids=""
  n=0
  while [ "$n" -lt "$3" ]; do
    put_record "$1" $(($2 + n)) &
    pids="$pids $!"
    n=$((n + 1))
  done
  for pid in $pids; do wait "$pid"; done
}

expect() { [ "$1" = "$2" ] || { echo "expected $1, got $2" >&2; exit 1; }; }

describe() {
  "$AWS" firehose describe-delivery-stream --delivery-stream-name "$1" --output text \
    --query "DeliveryStreamDescription.$2"
}

tags() {
  "$AWS" firehose list-tags-for-delivery-stream --delivery-stream-name "$1" --output text --query 'Tags[].Key'
}

control() {
  "$AWS" firehose create-delivery-stream --delivery-stream-name "$1" --tags Key=team,Value=shop \
    --extended-s3-destination-configuration "BucketARN=$2,RoleARN=$3,Prefix=control/,CompressionFormat=GZIP"
  described=$(describe "$1" '[DeliveryStreamStatus, VersionId, Destinations[0].DestinationId]')
  destination=${described##*	}
  expect "ACTIVE	1	$destination" "$described"
  "$AWS" firehose list-delivery-streams --output text | grep -q "$1"
  "$AWS" firehose tag-delivery-stream --delivery-stream-name "$1" --tags Key=hydrant:gzip-level,Value=1
  tags "$1" | grep -q hydrant:gzip-level
  "$AWS" firehose untag-delivery-stream --delivery-stream-name "$1" --tag-keys team
  expect hydrant:gzip-level "$(tags "$1")"
  "$AWS" firehose update-destination --delivery-stream-name "$1" --current-delivery-stream-version-id 1 \
    --destination-id "$destination" --extended-s3-destination-update Prefix=other/
  "$AWS" firehose start-delivery-stream-encryption --delivery-stream-name "$1"
  expect "2	ENABLED" "$(describe "$1" '[VersionId, DeliveryStreamEncryptionConfiguration.Status]')"
  "$AWS" firehose stop-delivery-stream-encryption --delivery-stream-name "$1"
  expect DISABLED "$(describe "$1" DeliveryStreamEncryptionConfiguration.Status)"
  "$AWS" firehose delete-delivery-stream --delivery-stream-name "$1"
}

"$@"
