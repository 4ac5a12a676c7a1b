//! Streams that files declare, and streams from the shell.

use aws_sdk_firehose::types::DeliveryStreamDescription;
use hydrant_e2e::{BUCKET, PATIENCE, PRODUCER, ROLE, Service, Site, access_key, encryption_key};
use hydrant_testkit::{Process, eventually, hydrant_binary};
use serde_json::{Value, json};

const NOTHING_CHANGED: &str = "nothing was changed: the configuration cannot be taken";

/// What `aws firehose create-delivery-stream --cli-input-json` takes.
fn declaration(prefix: &str) -> Value {
    json!({
        "DeliveryStreamName": "orders",
        "DeliveryStreamType": "DirectPut",
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": ROLE,
            "BucketARN": format!("arn:aws:s3:::{BUCKET}"),
            "Prefix": prefix,
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
            "CompressionFormat": "GZIP",
        },
        "Tags": [{"Key": "team", "Value": "shop"}],
    })
}

/// With `streams.dir`, and nothing in it.
async fn site() -> Site {
    let mut site = Site::new().await;
    let dir = site.dir.path().join("streams");
    std::fs::create_dir(&dir).expect("the scratch directory is writable");
    site.more_config = format!("[streams]\ndir = {dir:?}\n");
    site
}

fn write(site: &Site, file: &str, text: &str) {
    std::fs::write(site.dir.path().join("streams").join(file), text).expect("the directory is writable");
}

fn write_declaration(site: &Site, prefix: &str) {
    write(site, "orders.json", &serde_json::to_string_pretty(&declaration(prefix)).expect("it is JSON"));
}

async fn described(service: &Service) -> Option<DeliveryStreamDescription> {
    let producer = service.producer();
    let call = producer.client().describe_delivery_stream().delivery_stream_name("orders");
    call.send().await.ok()?.delivery_stream_description
}

async fn wait_for_version(service: &Service, version: &str) {
    eventually(&format!("orders has version {version}"), PATIENCE, async || {
        described(service).await.filter(|stream| stream.version_id == version).map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn a_file_makes_its_stream_changes_it_and_gives_it_free_when_it_is_gone() {
    let site = site().await;
    write_declaration(&site, "first/");
    let service = site.serve().await;
    wait_for_version(&service, "1").await;
    let producer = service.producer();
    producer.put("orders", 0..10).await;
    site.expect_in_s3("first/", &(0..10).collect::<Vec<_>>()).await;

    write_declaration(&site, "second/");
    site.reload(&service);
    wait_for_version(&service, "2").await;
    producer.put("orders", 10..20).await;
    site.expect_in_s3("second/", &(10..20).collect::<Vec<_>>()).await;

    let untag = producer.client().untag_delivery_stream().delivery_stream_name("orders").tag_keys("team");
    let refusal = untag.clone().send().await.unwrap_err().into_service_error();
    let message = refusal.meta().message().unwrap_or_default().to_owned();
    assert!(refusal.is_invalid_argument_exception() && message.contains("orders.json"), "{refusal:?}");
    let delete = producer.client().delete_delivery_stream().delivery_stream_name("orders");
    let refusal = delete.send().await.unwrap_err().into_service_error();
    assert!(refusal.meta().message().unwrap_or_default().contains("orders.json"), "{refusal:?}");

    // A file that is wrong changes nothing, not even what another one says.
    write_declaration(&site, "third/");
    write(&site, "wrong.json", "{\n  \"DeliveryStreamName\": \"no spaces\"\n}");
    site.reload(&service);
    service.wait_for_log(NOTHING_CHANGED, 0).await;
    assert!(service.process.stderr().contains("wrong.json: line 2: DeliveryStreamName"), "its place is said");
    assert_eq!(described(&service).await.map(|stream| stream.version_id).as_deref(), Some("2"));

    std::fs::remove_file(site.dir.path().join("streams/wrong.json")).unwrap();
    std::fs::remove_file(site.dir.path().join("streams/orders.json")).unwrap();
    site.reload(&service);
    service.wait_for_log("the file that declared this stream is gone", 0).await;
    eventually("the stream is anybody's", PATIENCE, async || untag.clone().send().await.ok()).await;
    producer.put("orders", 20..30).await;
    site.expect_in_s3("second/", &(10..30).collect::<Vec<_>>()).await;
    service.stop().await;

    // And stays so; what a file declares again is its own again.
    write_declaration(&site, "second/");
    let service = site.serve().await;
    service.wait_for_log("declared in this file from now on", 0).await;
    service.stop().await;
}

#[tokio::test]
async fn a_stream_that_cannot_be_as_its_file_says_holds_up_no_other_and_is_tried_again() {
    const ARN: &str = "arn:aws:kms:us-east-1:000000000000:key/vault";
    let mut site = site().await;
    write_declaration(&site, "orders/");
    let mut vault = declaration("vault/");
    vault["DeliveryStreamName"] = "a-vault".into();
    vault["DeliveryStreamEncryptionConfigurationInput"] =
        json!({"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": ARN});
    write(&site, "a-vault.json", &vault.to_string());
    let service = site.serve().await;
    service.wait_for_log("a stream is not as its file declares it", 0).await;
    let log = service.process.stderr();
    assert!(log.contains("a-vault.json") && log.contains(ARN), "{log}");
    wait_for_version(&service, "1").await;

    site.more_config += &encryption_key(site.dir.path(), ARN);
    site.reload(&service);
    let producer = service.producer_without_retries();
    eventually("the stream is there", PATIENCE, async || {
        producer.try_put("a-vault", &[1]).await.then_some(())
    })
    .await;
    site.expect_in_s3("vault/", &[1]).await;
    service.stop().await;
}

#[tokio::test]
async fn faults_of_configuration_and_files_are_said_together_before_anything_starts() {
    let mut site = site().await;
    write_declaration(&site, "first/");
    write(&site, "syntax.json", "{\n  \"DeliveryStreamName\": \"x\",\n  oops\n}");
    let mut wrong = declaration("second/");
    wrong["DeliveryStreamName"] = "wrong".into();
    wrong["ExtendedS3DestinationConfiguration"]["BufferingHints"]["SizeInMBs"] = 1_000.into();
    let text = serde_json::to_string_pretty(&wrong).unwrap();
    let line = text.lines().position(|line| line.contains("SizeInMBs")).unwrap() + 1;
    write(&site, "wrong.json", &text);
    let (code, text) = {
        site.write_config();
        site.run(&["serve"]).await
    };
    assert_eq!(code, 64, "{text}");
    let member = "ExtendedS3DestinationConfiguration.BufferingHints.SizeInMBs";
    let expected =
        [format!("wrong.json: line {line}: {member}: "), "syntax.json: line 3: is not JSON".to_owned()];
    assert!(expected.iter().all(|fault| text.contains(fault)), "{expected:?} in {text}");

    site.more_config += "[quotas]\ncalls_per_sec = 0\n";
    site.write_config();
    let config = std::fs::read_to_string(site.config_path()).unwrap();
    let quota_line = config.lines().position(|line| line == "calls_per_sec = 0").unwrap() + 1;
    let (code, text) = site.run(&["config", "check"]).await;
    assert_eq!(code, 64, "{text}");
    assert!(expected.iter().all(|fault| text.contains(fault)), "{expected:?} in {text}");
    assert!(text.contains(&format!("hydrant.toml: line {quota_line}: quotas.calls_per_sec: ")), "{text}");
}

#[tokio::test]
async fn config_check_says_what_is_declared_and_asks_nobody() {
    let mut site = site().await;
    write_declaration(&site, "first/");
    site.metastore_url = "postgres://nobody@127.0.0.1:1/nothing".to_owned();
    site.write_config();
    let (code, text) = site.run(&["config", "check", "--json"]).await;
    assert_eq!(code, 0, "{text}");
    let said: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let streams = json!([{"DeliveryStreamName": "orders", "file": "orders.json"}]);
    assert_eq!(said, json!({"valid": true, "streams": streams}));
}

/// `hydrant stream …` against a service, with an access key.
struct Shell {
    endpoint_url: String,
}

impl Shell {
    /// Exit code, stdout, stderr.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let arguments = [&["stream"], arguments, &["--endpoint-url", &self.endpoint_url]].concat();
        let process = Process::start_with(hydrant_binary(), arguments, |command| {
            command.env("AWS_ACCESS_KEY_ID", PRODUCER.0).env("AWS_SECRET_ACCESS_KEY", PRODUCER.1);
            command.env("AWS_REGION", "us-east-1").env("AWS_CONFIG_FILE", "/dev/null");
        });
        let status = process.wait(PATIENCE).await;
        (status.code().unwrap_or(-1), process.stdout(), process.stderr())
    }

    async fn text(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error} in {text:?}"))
    }
}

#[tokio::test]
async fn the_shell_speaks_the_whole_control_api() {
    let mut site = Site::new().await;
    site.auth_mode = "sigv4";
    let default = "arn:aws:kms:us-east-1:000000000000:key/default";
    site.more_config = access_key(PRODUCER, "")
        + &format!("[encryption]\ndefault = {default:?}\n")
        + &encryption_key(site.dir.path(), default)
        + &encryption_key(site.dir.path(), "arn:aws:kms:us-east-1:000000000000:key/x");
    let service = site.serve().await;
    let shell = Shell { endpoint_url: format!("http://{}", service.api) };
    let file = site.dir.path().join("orders.json");
    let path = file.display().to_string();
    std::fs::write(&file, declaration("first/").to_string()).unwrap();
    let created = shell.json(&["create", "--cli-input-json", &path]).await;
    assert!(created["DeliveryStreamARN"].as_str().unwrap().ends_with("deliverystream/orders"), "{created}");
    assert_eq!(shell.json(&["list"]).await, json!(["orders"]));

    let update = |prefix: &str| json!({"ExtendedS3DestinationUpdate": {"Prefix": prefix}}).to_string();
    std::fs::write(&file, update("second/")).unwrap();
    assert_eq!(shell.json(&["update", "orders", "--cli-input-json", &path]).await, json!({"VersionId": "2"}));
    std::fs::write(&file, update("third/")).unwrap();
    assert_eq!(shell.text(&["update", "orders", "--cli-input-json", &path]).await, "version 3\n");
    let stale = json!({"ExtendedS3DestinationUpdate": {}, "CurrentDeliveryStreamVersionId": "1"});
    std::fs::write(&file, stale.to_string()).unwrap();
    let (code, _, said) = shell.run(&["update", "orders", "--cli-input-json", &path]).await;
    assert!(code == 1 && said.contains("ConcurrentModificationException"), "{code}: {said}");
    std::fs::write(&file, "[]").unwrap();
    let (code, _, said) = shell.run(&["update", "orders", "--cli-input-json", &path]).await;
    assert!(code == 1 && said.contains("expected a JSON object"), "{code}: {said}");

    assert_eq!(shell.json(&["tag", "orders", "hydrant:gzip-level=1", "url=http://x/a=b"]).await, json!({}));
    let (code, _, said) = shell.run(&["tag", "orders", "hydrant:gzip-level=11"]).await;
    assert!(code == 1 && said.contains("hydrant:gzip-level"), "{code}: {said}");
    let tags = shell.json(&["tags", "orders"]).await;
    let expected = [("hydrant:gzip-level", "1"), ("team", "shop"), ("url", "http://x/a=b")];
    assert_eq!(tags, Value::from(expected.map(|(key, value)| json!({"Key": key, "Value": value})).to_vec()));
    assert_eq!(shell.json(&["untag", "orders", "team", "url"]).await, json!({}));
    let table = shell.text(&["tags", "orders"]).await;
    assert!(table.contains("hydrant:gzip-level") && !table.contains("team"), "{table}");

    let encryption = async || {
        let described = shell.json(&["describe", "orders"]).await;
        described["DeliveryStreamEncryptionConfiguration"].clone()
    };
    assert_eq!(shell.json(&["start-encryption", "orders"]).await, json!({}));
    assert_eq!(encryption().await, json!({"Status": "ENABLED", "KeyType": "AWS_OWNED_CMK"}));
    assert_eq!(
        shell
            .json(&["start-encryption", "orders", "--key-arn", "arn:aws:kms:us-east-1:000000000000:key/x"])
            .await,
        json!({})
    );
    assert_eq!(shell.json(&["stop-encryption", "orders"]).await, json!({}));
    assert_eq!(encryption().await, json!({"Status": "DISABLED"}));
    let deleted = shell.json(&["delete", "orders"]).await;
    assert_eq!(deleted, json!({"DeliveryStreamName": "orders", "DeliveryStreamStatus": "DELETING"}));
    service.stop().await;
}
