//! TLS as clients see it: versions, protocols, a certificate that is replaced, and handshakes that do not end.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_firehose::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    primitives::Blob,
    types::{ExtendedS3DestinationConfiguration, Record},
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hydrant_api::TlsCertificates;
use hydrant_testkit::Ca;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Api, Options, PATIENCE, ROLE, exchange, read_all};

/// A CA, and a server's certificate and key in files.
struct Pki {
    ca: Ca,
    dir: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let pki = Self { ca: Ca::new(), dir: tempfile::tempdir().unwrap() };
        pki.issue();
        pki
    }

    /// Writes a new certificate and its key.
    fn issue(&self) {
        let (certificate, key) = self.ca.certify();
        let (certificate_path, key_path) = self.paths();
        std::fs::write(certificate_path, certificate.pem()).unwrap();
        std::fs::write(key_path, key.serialize_pem()).unwrap();
    }

    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("tls.crt"), self.dir.path().join("tls.key"))
    }

    fn load(&self) -> TlsCertificates {
        let (certificate, key) = self.paths();
        TlsCertificates::load(certificate, key).unwrap()
    }

    /// A service that shows the certificate.
    async fn start(&self) -> Api {
        self.start_with(Options::default()).await
    }

    async fn start_with(&self, options: Options) -> Api {
        Api::start_with(Options { tls: Some(self.load()), ..options }).await
    }

    fn connector(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config).into()
    }

    async fn connect(&self, api: &Api) -> TlsStream<TcpStream> {
        handshake(&self.connector(&[&TLS13], &["http/1.1"]), api).await.unwrap()
    }
}

async fn handshake(connector: &TlsConnector, api: &Api) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let handshake = connector.connect(name, api.connect().await);
    tokio::time::timeout(PATIENCE, handshake).await.expect("in time")
}

fn impatient() -> Options {
    let mut options = Options::default();
    options.settings.header_timeout = Duration::from_millis(300);
    options
}

fn cut(api: &Api, reason: &str) -> f64 {
    api.metric(&format!("hydrant_api_connections_cut_total{{reason=\"{reason}\"}}"))
}

async fn cut_once(api: &Api, reason: &str) {
    hydrant_testkit::eventually("it is counted", PATIENCE, async || (cut(api, reason) == 1.0).then_some(()))
        .await;
}

fn list(uri: &str) -> Request<Full<Bytes>> {
    Request::post(uri)
        .header("host", "h")
        .header("x-amz-target", "Firehose_20150804.ListDeliveryStreams")
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap()
}

/// One request by the protocol that was agreed on.
async fn ask(stream: TlsStream<TcpStream>) -> Response<Incoming> {
    let http_2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    if http_2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(list("https://127.0.0.1/")).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(list("/")).await.unwrap()
    }
}

#[tokio::test]
async fn the_sdk_speaks_tls_to_us_with_a_ca_of_its_own() {
    let pki = Pki::new();
    let api = pki.start().await;
    let trust = TrustStore::empty().with_pem_certificate(pki.ca.pem().as_bytes());
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(TlsContext::builder().with_trust_store(trust).build().unwrap())
        .build_https();
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .credentials_provider(Credentials::new("producer", "secret", None, None, "test"))
        .region(Region::from_static("eu-west-1"))
        .retry_config(RetryConfig::standard().with_max_attempts(1))
        .endpoint_url(format!("https://{}", api.address))
        .build();
    let client = Client::from_conf(config);
    let destination = ExtendedS3DestinationConfiguration::builder()
        .role_arn(ROLE)
        .bucket_arn("arn:aws:s3:::demo")
        .build()
        .unwrap();
    client
        .create_delivery_stream()
        .delivery_stream_name("orders")
        .extended_s3_destination_configuration(destination)
        .send()
        .await
        .unwrap();
    // More than one TLS record, and many calls on a connection.
    let record = |bytes| Record::builder().data(Blob::new(vec![b'x'; bytes])).build().unwrap();
    for bytes in [1, 100_000, 900_000] {
        let records = Some(vec![record(bytes), record(bytes)]);
        let put = client.put_record_batch().delivery_stream_name("orders").set_records(records);
        assert_eq!(put.send().await.unwrap().failed_put_count(), 0);
    }
    let id = api.streams.get("orders").unwrap().id;
    let lengths: Vec<usize> = api.stored(id).iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, 1, 100_000, 100_000, 900_000, 900_000]);
}

#[tokio::test]
async fn http_2_and_http_1_are_agreed_on_by_alpn_and_answers_carry_a_date() {
    let pki = Pki::new();
    let api = pki.start().await;
    for (offered, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1", "h2"], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let stream = handshake(&pki.connector(&[&TLS13, &TLS12], offered), &api).await.unwrap();
        let response = ask(stream).await;
        assert_eq!((response.status().as_u16(), response.version()), (200, version), "{offered:?}");
        assert!(response.headers()["date"].to_str().unwrap().ends_with(" GMT"));
        assert!(response.into_body().collect().await.unwrap().to_bytes().starts_with(b"{"));
    }
    let refused = handshake(&pki.connector(&[&TLS13], &["spdy/3"]), &api).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let pki = Pki::new();
    let api = pki.start().await;
    for (version, spoken) in
        [(&TLS12, rustls::ProtocolVersion::TLSv1_2), (&TLS13, rustls::ProtocolVersion::TLSv1_3)]
    {
        let stream = handshake(&pki.connector(&[version], &[]), &api).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        assert_eq!(ask(stream).await.status(), 200);
    }
}

/// A hello of a client that knows TLS 1.1 at most, with all that rustls asks for beside the version.
fn client_hello_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend_from_slice(&[7; 32]);
    // No session; TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA and TLS_RSA_WITH_AES_128_CBC_SHA; no compression.
    hello.extend_from_slice(&[0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]);
    // Extensions: signature_algorithms (RSA with SHA-256), supported_groups (P-256).
    hello.extend_from_slice(&[0, 16, 0, 13, 0, 4, 0, 2, 4, 1, 0, 10, 0, 4, 0, 2, 0, 23]);
    let mut handshake = vec![1, 0, 0, hello.len() as u8];
    handshake.extend_from_slice(&hello);
    let mut record = vec![0x16, 3, 1, 0, handshake.len() as u8];
    record.extend_from_slice(&handshake);
    record
}

#[tokio::test]
async fn tls_1_1_is_refused_with_an_alert() {
    let pki = Pki::new();
    let api = pki.start().await;
    let mut stream = api.connect().await;
    stream.write_all(&client_hello_1_1()).await.unwrap();
    let mut alert = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut alert)).await.expect("closed").unwrap();
    // A fatal alert (2), protocol_version (70).
    assert_eq!((alert[0], &alert[5..]), (0x15, &[2, 70][..]), "{alert:?}");
    cut_once(&api, "tls_handshake").await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_is_counted() {
    let pki = Pki::new();
    let api = pki.start().await;
    let stranger = Pki::new().connector(&[&TLS13], &[]);
    let error = handshake(&stranger, &api).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    cut_once(&api, "tls_handshake").await;
}

#[tokio::test]
async fn a_reload_reaches_new_connections_and_old_ones_go_on() {
    let pki = Pki::new();
    let certificates = pki.load();
    let api = Api::start_with(Options { tls: Some(certificates.clone()), ..Options::default() }).await;
    // One connector: its session of the old certificate must not be resumed with the new one.
    let connector = pki.connector(&[&TLS13], &["http/1.1"]);
    let old = handshake(&connector, &api).await.unwrap();
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let first = shown(&old);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(old)).await.unwrap();
    tokio::spawn(connection);
    let mut ask_again = async || {
        let response = sender.send_request(list("/")).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    };
    ask_again().await;

    pki.issue();
    assert_eq!(shown(&handshake(&connector, &api).await.unwrap()), first, "not before it is told");
    let load = || TlsCertificates::load(pki.paths().0, pki.paths().1);
    let elsewhere = pki.paths().1.with_file_name("copy.key");
    std::fs::copy(pki.paths().1, &elsewhere).unwrap();
    certificates.replace(&TlsCertificates::load(pki.paths().0, elsewhere).unwrap());
    assert_eq!(shown(&handshake(&connector, &api).await.unwrap()), first, "other files take a restart");
    certificates.replace(&load().unwrap());
    let new = handshake(&connector, &api).await.unwrap();
    assert_ne!(shown(&new), first);
    assert_eq!(ask(new).await.status(), 200);
    ask_again().await;

    // What is half written does no harm.
    std::fs::write(pki.paths().1, "-----BEGIN PRIVATE KEY-----\nMI").unwrap();
    assert!(load().unwrap_err().to_string().contains("tls.key"));
    assert_eq!(ask(handshake(&connector, &api).await.unwrap()).await.status(), 200);
    ask_again().await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_and_holds_nobody_up() {
    let pki = Pki::new();
    let api = pki.start_with(impatient()).await;
    let hello = client_hello_1_1();
    let mut stalled = Vec::new();
    for length in [1, 5, 20] {
        let mut stream = api.connect().await;
        stream.write_all(&hello[..length]).await.unwrap();
        stalled.push(stream);
    }
    assert_eq!(ask(pki.connect(&api).await).await.status(), 200);
    let begun = Instant::now();
    for mut stream in stalled {
        assert_eq!(read_all(&mut stream).await, "");
    }
    // A byte now and then is no progress.
    let mut slow = api.connect().await;
    for byte in &hello {
        if slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "cut off in the middle");
    hydrant_testkit::eventually("all are counted", PATIENCE, async || {
        (cut(&api, "header_timeout") == 4.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_handshake_and_the_first_headers_share_one_time_out() {
    let pki = Pki::new();
    let mut options = impatient();
    options.settings.header_timeout = Duration::from_millis(600);
    let api = pki.start_with(options).await;
    let begun = Instant::now();
    let mut stream = pki.connect(&api).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && begun.elapsed() < Duration::from_secs(3));
    cut_once(&api, "header_timeout").await;
}

#[tokio::test]
async fn plain_http_to_the_tls_port_is_told_so() {
    let pki = Pki::new();
    let api = pki.start().await;
    for text in ["POST / HTTP/1.1\r\nhost: h\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "garbage"] {
        let answer = exchange(&mut api.connect().await, text.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("use https://"),
            "{answer}"
        );
    }
    hydrant_testkit::eventually("each is counted", PATIENCE, async || {
        (cut(&api, "tls_expected") == 3.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn tls_to_the_plain_port_is_closed_and_counted() {
    let pki = Pki::new();
    let api = Api::start().await;
    let error = handshake(&pki.connector(&[&TLS13], &[]), &api).await.unwrap_err();
    // OpenSSL calls the same "wrong version number".
    assert!(error.to_string().contains("InvalidContentType"), "{error}");
    cut_once(&api, "plain_expected").await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_handshakes() {
    let pki = Pki::new();
    let mut api = pki.start().await;
    let mut stalled = api.connect().await;
    stalled.write_all(&client_hello_1_1()[..9]).await.unwrap();
    hydrant_testkit::eventually("it is accepted", PATIENCE, async || {
        (api.metric("hydrant_api_connections") == 1.0).then_some(())
    })
    .await;
    let begun = Instant::now();
    api.shutdown.cancel();
    tokio::time::timeout(PATIENCE, &mut api.served).await.expect("ends in time").unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(api.metric("hydrant_api_connections"), 0.0);
}
