//! Who may call, and over what: TLS, and what is exchanged at SIGHUP without dropping a connection.

use std::path::PathBuf;

use hydrant_e2e::{PATIENCE, PRODUCER, Producer, Service, Site, access_key};
use hydrant_testkit::{Ca, Process, eventually, node, python};

const READ_AGAIN: &str = "the configuration was read again";
const NOTHING_CHANGED: &str = "nothing was changed: the configuration cannot be taken";
const OTHER: (&str, &str) = ("other", "others-secret");

/// Writes a certificate for this machine into `site`, in place of the one that is there; gives the lines that name it.
fn certify(ca: &Ca, site: &Site) -> String {
    let (certificate, key) = ca.certify();
    let (certificate_path, key_path) = paths(site);
    std::fs::write(&certificate_path, certificate.pem()).expect("the scratch directory is writable");
    std::fs::write(&key_path, key.serialize_pem()).expect("the scratch directory is writable");
    format!("[api.tls]\ncert = {certificate_path:?}\nkey = {key_path:?}\n")
}

/// Writes the CA's own certificate into `site`; gives the path.
fn write_ca(ca: &Ca, site: &Site) -> PathBuf {
    let path = site.dir.path().join("ca.pem");
    std::fs::write(&path, ca.pem()).expect("the scratch directory is writable");
    path
}

fn paths(site: &Site) -> (PathBuf, PathBuf) {
    (site.dir.path().join("tls.crt"), site.dir.path().join("tls.key"))
}

async fn signed_site() -> Site {
    let mut site = Site::new().await;
    site.auth_mode = "sigv4";
    site.more_config = access_key(PRODUCER, "");
    site
}

async fn connections_accepted(service: &Service) -> u64 {
    let metrics = service.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("hydrant_api_connections_accepted_total "));
    line.and_then(|count| count.parse().ok()).expect("the metric is there from the start")
}

/// The code of the error that a put of one record got.
async fn refusal(producer: &Producer, number: u64) -> String {
    let error = producer.put_call("orders", &[number]).await.expect_err("it is refused");
    format!("{:?}", error.into_service_error().meta().code().expect("errors have a code"))
}

#[tokio::test]
async fn producers_speak_tls_and_a_certificate_is_exchanged_under_open_connections() {
    let (first, second) = (Ca::new(), Ca::new());
    let mut site = signed_site().await;
    site.more_config += &certify(&first, &site);
    let service = site.serve().await;
    let producer = Producer::over_tls(&service.api, first.pem());
    producer.create_s3_stream("orders").await;
    producer.put("orders", 0..10).await;
    assert!(
        !service.producer_without_retries().try_put("orders", &[99]).await,
        "no plain HTTP on a TLS port"
    );
    boto3_and_node_speak_tls(&site, &service, &first).await;

    let accepted = connections_accepted(&service).await;
    certify(&second, &site);
    site.reload(&service);
    service.wait_for_log(READ_AGAIN, 0).await;
    producer.put("orders", 10..20).await;
    assert_eq!(connections_accepted(&service).await, accepted, "the connection goes on");
    let trusts_first = Producer::over_tls(&service.api, first.pem());
    assert!(!trusts_first.try_put("orders", &[99]).await, "a new connection sees the new certificate");
    Producer::over_tls(&service.api, second.pem()).put("orders", 20..30).await;

    std::fs::write(paths(&site).1, "no key\n").expect("the scratch directory is writable");
    site.reload(&service);
    service.wait_for_log(NOTHING_CHANGED, 0).await;
    assert!(service.process.stderr().contains("tls.key: this is not PEM"), "{}", service.process.stderr());
    Producer::over_tls(&service.api, second.pem()).put("orders", 30..40).await;
    let all: Vec<u64> = (0..40).chain(101..105).chain(201..205).collect();
    site.expect_in_s3("orders/", &all).await;
    service.stop().await;
}

/// boto3 and the SDK for JavaScript with a CA of one's own, and HTTP/2 by ALPN as Node.js has it.
async fn boto3_and_node_speak_tls(site: &Site, service: &Service, ca: &Ca) {
    let ca_path = write_ca(ca, site);
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
    let endpoint_url = format!("https://{}", service.api);
    for (program, script, first) in [
        (python(), format!("{scripts}/boto3_unchanged.py"), "101"),
        (node().join("node"), format!("{scripts}/node/unchanged.js"), "201"),
    ] {
        let process = Process::start_with(&program, [&script, "put", "orders", first], |command| {
            command.env("AWS_ENDPOINT_URL_FIREHOSE", &endpoint_url).env("AWS_REGION", "us-east-1");
            command.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_CONFIG_FILE", "/dev/null");
            command.env("AWS_ACCESS_KEY_ID", PRODUCER.0).env("AWS_SECRET_ACCESS_KEY", PRODUCER.1);
            command.env("AWS_CA_BUNDLE", &ca_path).env("NODE_EXTRA_CA_CERTS", &ca_path);
            command.env("NODE_PATH", node().join("node_modules"));
        });
        let status = process.wait(PATIENCE).await;
        assert!(status.success(), "{script}: {}{}", process.stdout(), process.stderr());
    }
    let script = format!("{scripts}/node/http2.js");
    let process = Process::start_with(&node().join("node"), [&script, &endpoint_url], |command| {
        command.env("NODE_EXTRA_CA_CERTS", &ca_path);
    });
    let status = process.wait(PATIENCE).await;
    assert!(status.success(), "{}", process.stderr());
    assert_eq!(process.stdout(), "h2 403 MissingAuthenticationTokenException\n");
}

#[tokio::test]
async fn s3_and_the_data_api_are_reached_over_tls_with_a_ca_of_ones_own() {
    let (ca, mut site) = (Ca::new(), Site::new().await);
    for (variable, server) in [
        ("HYDRANT_S3__ENDPOINT_URL", site.s3_proxy.address()),
        ("HYDRANT_REDSHIFT__ENDPOINT_URL", site.data_api_proxy.address()),
    ] {
        site.environment.push((variable, ca.in_front_of(&server.to_string()).await));
    }

    let stranger = site.serve().await;
    stranger.producer().create_redshift_stream("orders", "events", 60).await;
    stranger.producer().put("orders", 0..10).await;
    eventually("it says that it does not trust the certificate", PATIENCE, async || {
        let (_, listed) = site.run(&["delivery", "list"]).await;
        listed.contains("invalid peer certificate: UnknownIssuer").then_some(())
    })
    .await;
    stranger.stop().await;

    site.environment.push(("SSL_CERT_FILE", write_ca(&ca, &site).display().to_string()));
    let service = site.serve().await;
    service.producer().put("orders", 10..20).await;
    site.expect_in_table(&(0..20).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn access_keys_are_exchanged_under_open_connections() {
    let mut site = signed_site().await;
    let service = site.serve().await;
    let (producer, other) = (service.producer_without_retries(), Producer::with_key(&service.api, OTHER));
    producer.create_s3_stream("orders").await;
    producer.put("orders", 0..10).await;
    assert!(refusal(&other, 99).await.contains("UnrecognizedClientException"));
    let accepted = connections_accepted(&service).await;

    site.more_config = [access_key(PRODUCER, "streams = [\"else-*\"]"), access_key(OTHER, "")].concat();
    site.reload(&service);
    service.wait_for_log(READ_AGAIN, 0).await;
    other.put("orders", 10..20).await;
    assert!(refusal(&producer, 99).await.contains("AccessDeniedException"));

    site.more_config = access_key(OTHER, "");
    site.reload(&service);
    service.wait_for_log(READ_AGAIN, 1).await;
    other.put("orders", 20..30).await;
    assert!(refusal(&producer, 99).await.contains("UnrecognizedClientException"));
    assert_eq!(connections_accepted(&service).await, accepted, "both connections go on");

    // Whatever is wrong in it, nothing of it is taken.
    site.more_config = access_key(PRODUCER, "actions = [\"s3:GetObject\"]");
    site.reload(&service);
    service.wait_for_log(NOTHING_CHANGED, 0).await;
    let log = service.process.stderr();
    assert!(log.contains("auth.keys[0]: access key") && log.contains("s3:GetObject"), "{log}");
    other.put("orders", 30..40).await;
    assert!(refusal(&producer, 99).await.contains("UnrecognizedClientException"));

    // What a start alone can change is said.
    site.more_config = access_key(OTHER, "") + "[quotas]\ncalls_per_sec = 1000\n";
    site.reload(&service);
    service.wait_for_log("take effect with a restart", 0).await;
    assert!(service.process.stderr().contains("quotas"), "{}", service.process.stderr());
    let log = service.process.stderr();
    assert!(!log.contains(PRODUCER.1) && !log.contains(OTHER.1), "secrets are not logged: {log}");
    site.expect_in_s3("orders/", &(0..40).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn serve_does_not_start_without_an_access_key() {
    let mut site = Site::new().await;
    site.auth_mode = "sigv4";
    site.write_config();
    let (code, text) = site.run(&["serve"]).await;
    assert_eq!(code, 64, "{text}");
    assert!(text.contains("auth.keys: no access key") && text.contains("auth.mode = \"none\""), "{text}");
}

#[tokio::test]
async fn serving_whoever_comes_is_said() {
    let site = Site::new().await;
    let service = site.serve().await;
    let log = service.process.stderr();
    assert!(log.contains("WARN") && log.contains("auth.mode is \"none\""), "{log}");
    service.stop().await;
}
