//! boto3 and the AWS command line: they ask otherwise than AWS's client for Rust does (`Expect: 100-continue`, lists in URL
//! encoding, virtual folders).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end with a panic and may print")]

mod common;

use std::path::PathBuf;
use std::process::{Command, Output};

use common::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server};

const SCRIPT: &str = r#"
import sys, boto3, urllib.request
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

impatient = Config(read_timeout=8, retries={"total_max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=sys.argv[1], config=impatient)
keys = ["a", "a/b", "a//b", "k" * 1024, "blank and + and %20", "\u00fc/\u65e5"]
for key in keys:
    s3.put_object(Bucket="demo", Key=key, Body=key.encode())
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="demo", PaginationConfig={"PageSize": 2})
listed = [o["Key"] for page in pages for o in page["Contents"]]
assert sorted(listed) == sorted(keys), listed
for key in keys:
    assert s3.get_object(Bucket="demo", Key=key)["Body"].read() == key.encode(), key
part = s3.get_object(Bucket="demo", Key="k" * 1024, Range="bytes=1000-1999")
assert (part["ContentRange"], part["Body"].read()) == ("bytes 1000-1023/1024", b"k" * 24)

try:
    s3.put_object(Bucket="mistyped", Key="a", Body=b"x" * 5_000_000)
    raise SystemExit("a put into a missing bucket was taken")
except ClientError as error:
    assert error.response["Error"]["Code"] == "NoSuchBucket", error
# The body above was never sent; what comes next on that connection is not its beginning.
s3.put_object(Bucket="demo", Key="next", Body=b"")

small = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
with open(sys.argv[2], "wb") as file:
    file.write(bytes(range(256)) * 4096 * 11)
s3.upload_file(sys.argv[2], "demo", "multipart", Config=small)
head = s3.head_object(Bucket="demo", Key="multipart")
assert head["ContentLength"] == 11 << 20 and head["ETag"].endswith('-3"'), head
assert s3.get_object(Bucket="demo", Key="multipart")["Body"].read() == open(sys.argv[2], "rb").read()

url = s3.generate_presigned_url("get_object", Params={"Bucket": "demo", "Key": "a//b"})
assert urllib.request.urlopen(url).read() == b"a//b"
try:
    urllib.request.urlopen(url.replace("a//b", "a/b"))
    raise SystemExit("a presigned URL was good for another key")
except urllib.error.HTTPError as error:
    assert error.code == 403, error
print("done")
"#;

fn with_credentials(mut command: Command) -> Output {
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    command.env("AWS_DEFAULT_REGION", "us-east-1").env_remove("AWS_PROFILE").output().unwrap()
}

async fn run(command: Command) -> String {
    let output = tokio::task::spawn_blocking(|| with_credentials(command)).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn aws() -> PathBuf {
    hydrant_testkit::python().with_file_name("aws")
}

#[tokio::test]
async fn boto3_puts_lists_and_reads_what_it_likes() {
    let server = Server::start().await;
    let mut python = Command::new(hydrant_testkit::python());
    python.args(["-c", SCRIPT, &server.endpoint]).arg(server.dir.path().join("upload"));
    assert_eq!(run(python).await, "done\n");
}

#[tokio::test]
async fn the_command_line_shows_folders_and_objects() {
    let server = Server::start().await;
    for key in ["2026/01/one.gz", "2026/two", "three"] {
        server.put(key, "hello").await;
    }
    let mut list = Command::new(aws());
    list.args(["s3", "ls", "--endpoint-url", &server.endpoint, &format!("s3://{BUCKET}/")]);
    let listed = run(list).await;
    let shown: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(shown, ["2026/", "three"]);
    let mut list = Command::new(aws());
    list.args([
        "s3",
        "ls",
        "--recursive",
        "--endpoint-url",
        &server.endpoint,
        &format!("s3://{BUCKET}/2026/"),
    ]);
    let listed = run(list).await;
    assert!(listed.lines().next().unwrap().ends_with("5 2026/01/one.gz"), "{listed}");
    assert_eq!(listed.lines().count(), 2);
}
