#!/bin/sh
# Makes the bucket and the table that the first stream delivers to. May be run again.
set -eu
aws --endpoint-url "$S3_ENDPOINT_URL" s3api head-bucket --bucket landing 2>/dev/null ||
  aws --endpoint-url "$S3_ENDPOINT_URL" s3api create-bucket --bucket landing
id=$(aws --endpoint-url "$REDSHIFT_ENDPOINT_URL" redshift-data execute-statement \
  --workgroup-name local --database dev --query Id --output text \
  --sql "CREATE TABLE IF NOT EXISTS events (id BIGINT, at TIMESTAMP, kind VARCHAR(32), customer VARCHAR(64), amount DOUBLE PRECISION)")
for _ in 1 2 3 4 5 6 7 8 9 10; do
  status=$(aws --endpoint-url "$REDSHIFT_ENDPOINT_URL" redshift-data describe-statement --id "$id" --query Status --output text)
  case "$status" in
    FINISHED) echo "bucket landing and table events are there"; exit 0 ;;
    FAILED | ABORTED) echo "creating the table: $status" >&2; exit 1 ;;
  esac
  sleep 1
done
echo "creating the table took too long" >&2
exit 1
