//! SeaweedFS: an S3 server that checks signatures, refuses missing buckets and has real conditional puts.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::port::{PAIR_DISTANCE, free_port_pair};
use crate::{Process, Scratch, tools};

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Another process can take a port between our look and the server's bind.
const START_ATTEMPTS: usize = 4;
const REGION: &str = "us-east-1";
const ACCESS_KEY_ID: &str = "AKHYDRANTTEST";
const SECRET_ACCESS_KEY: &str = "hydrant-test-secret";

/// `weed mini` with a data directory of its own.
#[derive(Debug)]
pub struct SeaweedFs {
    buckets: Vec<String>,
    /// The configuration of roles.
    iam: Option<String>,
    directory: Scratch,
    ports: Ports,
    server: Option<Process>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    s3: u16,
    master: u16,
    volume: u16,
    filer: u16,
    admin: u16,
}

impl SeaweedFs {
    /// Starts it with `buckets` and waits until an object can be put into each.
    ///
    /// # Panics
    /// When it is not installed or does not start, or `buckets` is empty.
    pub async fn start(buckets: &[&str]) -> Self {
        Self::start_with(buckets, None).await
    }

    /// The same, and who has one of the `roles` (name, bucket) may do everything in its bucket and nothing else. Credentials of roles
    /// are good for `session`, such as `20s`; users can be made.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with_roles(buckets: &[&str], roles: &[(&str, &str)], session: &str) -> Self {
        Self::start_with(buckets, Some(iam_config(roles, session).to_string())).await
    }

    /// ARN of one of the roles that it was started with.
    pub fn role_arn(&self, name: &str) -> String {
        role_arn(name)
    }

    async fn start_with(buckets: &[&str], iam: Option<String>) -> Self {
        assert!(!buckets.is_empty(), "without a bucket nothing shows that the server works");
        for _ in 0..START_ATTEMPTS {
            let ports = Ports {
                s3: free_port_pair(),
                master: free_port_pair(),
                volume: free_port_pair(),
                filer: free_port_pair(),
                admin: free_port_pair(),
            };
            let buckets = buckets.iter().map(|bucket| (*bucket).to_owned()).collect();
            let mut seaweedfs =
                Self { buckets, iam: iam.clone(), directory: Scratch::new(), ports, server: None };
            match seaweedfs.run().await {
                Ok(()) => return seaweedfs,
                Err(error) => eprintln!("{error}; trying other ports"),
            }
        }
        panic!("SeaweedFS does not start, see above");
    }

    /// `http://127.0.0.1:PORT`, for path-style requests.
    pub fn endpoint_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.s3)
    }

    /// The access key that may do everything.
    pub fn access_key_id(&self) -> &'static str {
        ACCESS_KEY_ID
    }

    /// Its secret.
    pub fn secret_access_key(&self) -> &'static str {
        SECRET_ACCESS_KEY
    }

    /// The region to sign for.
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Makes a user, who may do nothing yet; gives its access key and secret.
    ///
    /// # Panics
    /// When it was not started with roles, or refuses.
    pub async fn create_user(&self, name: &str) -> (String, String) {
        self.iam("CreateUser", &[("UserName", name)]).await;
        let answer = self.iam("CreateAccessKey", &[("UserName", name)]).await;
        let element = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>")).expect("the answer has it");
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        (element("AccessKeyId"), element("SecretAccessKey"))
    }

    /// Lets a user do everything in a bucket.
    ///
    /// # Panics
    /// When it refuses.
    pub async fn allow(&self, user: &str, bucket: &str) {
        let policy = policy(bucket).to_string();
        self.iam("PutUserPolicy", &[("UserName", user), ("PolicyName", bucket), ("PolicyDocument", &policy)])
            .await;
    }

    async fn iam(&self, action: &str, members: &[(&str, &str)]) -> String {
        let form = members.iter().map(|(name, value)| format!("&{name}={}", form_encoded(value)));
        let body = format!("Action={action}&Version=2010-05-08{}", form.collect::<String>());
        let request = signed("POST", &format!("{}/", self.endpoint_url()), "iam", body.into());
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await.expect("SeaweedFS answers");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("the answer can be read").to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(status.is_success(), "{action}: {status}: {text}");
        text
    }

    /// `kill -9`. What it had acknowledged is there again after [`restart`](Self::restart).
    pub async fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill9().await;
        }
    }

    /// Starts it again on the same ports and data (killing it before where it runs), and waits until it works.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.run().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Stops it in its tracks: connections stay open and nothing is answered.
    pub fn pause(&self) {
        self.server().pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.server().resume();
    }

    fn server(&self) -> &Process {
        self.server.as_ref().expect("it runs, unless killed and not restarted")
    }

    async fn run(&mut self) -> Result<(), String> {
        let ports = self.ports;
        let arguments = [
            "mini".to_owned(),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-dir={}", self.directory.path().display()),
            format!("-s3.port={}", ports.s3),
            format!("-master.port={}", ports.master),
            format!("-volume.port={}", ports.volume),
            format!("-filer.port={}", ports.filer),
            format!("-admin.port={}", ports.admin),
            "-admin.ui=false".to_owned(),
            "-webdav=false".to_owned(),
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            "-s3.autoCreateBucket=false".to_owned(),
            format!("-bucket={}", self.buckets.join(",")),
        ];
        let mut arguments = arguments.to_vec();
        if let Some(iam) = &self.iam {
            let path = self.directory.path().join("iam.json");
            std::fs::write(&path, iam).map_err(|error| format!("{}: {error}", path.display()))?;
            arguments.push("-s3.iam.readOnly=false".to_owned());
            arguments.push(format!("-s3.iam.config={}", path.display()));
        }
        let directory = self.directory.path().to_owned();
        let server = Process::start_with(&tools::weed(), arguments, |command| {
            command
                .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
                .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
                .env("WEED_S3_SSE_KEY", "hydrant-test")
                .env("TMPDIR", &directory) // for its logs
                .current_dir(directory);
        });
        let deadline = std::time::Instant::now() + START_LIMIT;
        let mut missing = self.buckets.clone();
        while !missing.is_empty() {
            if let Some(status) = server.exit_status() {
                return Err(format!("SeaweedFS ended with {status}: {}", server.stderr()));
            }
            if std::time::Instant::now() > deadline {
                return Err(format!("SeaweedFS does not take puts: {}", server.stderr()));
            }
            match self.takes_puts(&missing[0]).await {
                true => drop(missing.swap_remove(0)),
                false => tokio::time::sleep(POLL_EVERY).await,
            }
        }
        self.server = Some(server);
        Ok(())
    }

    /// A listening port proves little: puts one object and deletes it again.
    async fn takes_puts(&self, bucket: &str) -> bool {
        let url = format!("{}/{bucket}/testkit-probe", self.endpoint_url());
        for method in ["PUT", "DELETE"] {
            let call = send_signed(method, &url);
            match tokio::time::timeout(PROBE_LIMIT, call).await {
                Ok(Ok(status)) if status.is_success() => {}
                _ => return false,
            }
        }
        true
    }
}

impl Drop for SeaweedFs {
    /// Ends the server before its directory goes.
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal(rustix::process::Signal::KILL);
            server.wait_blocking(STOP_LIMIT);
        }
        self.ports.remove_sockets();
    }
}

impl Ports {
    /// It listens on Unix sockets too, in a place of its own choice, and one for each port stays when it is killed.
    fn remove_sockets(self) {
        let ports = [self.s3, self.master, self.volume, self.filer, self.admin];
        let is_ours = |name: &str| {
            let port = name.strip_prefix("seaweedfs-").and_then(|name| name.strip_suffix(".sock"));
            let port = port.and_then(|name| name.rsplit_once('-')).and_then(|(_, port)| port.parse().ok());
            ports.iter().any(|ours| port == Some(*ours) || port == Some(ours + PAIR_DISTANCE))
        };
        for entry in std::fs::read_dir("/tmp").into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_ours) {
                // Nothing is wrong with the test where it cannot be removed.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

async fn send_signed(method: &str, url: &str) -> Result<http::StatusCode, hyper_util::client::legacy::Error> {
    let request = signed(method, url, "s3", Bytes::new());
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    Ok(client.request(request).await?.status())
}

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::000000000000:role/{name}")
}

fn policy(bucket: &str) -> serde_json::Value {
    let resources = [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")];
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": resources}]})
}

fn iam_config(roles: &[(&str, &str)], session: &str) -> serde_json::Value {
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]},
    ]});
    let role = |(name, _): &(&str, &str)| json!({"roleName": name, "roleArn": role_arn(name), "trustPolicy": trust, "attachedPolicies": [name]});
    let named = |(name, bucket): &(&str, &str)| json!({"name": name, "document": policy(bucket)});
    json!({
        "sts": {
            "tokenDuration": session, "maxSessionLength": "12h", "issuer": "hydrant-test",
            "signingKey": "aHlkcmFudC10ZXN0LWtleS1vZi0zMi1ieXRlcy1vci1tb3Jl",
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": roles.iter().map(named).collect::<Vec<_>>(),
        "roles": roles.iter().map(role).collect::<Vec<_>>(),
    })
}

/// As in `application/x-www-form-urlencoded`.
fn form_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn signed(method: &str, url: &str, service: &str, body: Bytes) -> http::Request<Full<Bytes>> {
    let identity = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "hydrant-testkit").into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .expect("every signing parameter is given")
        .into();
    let signable = SignableRequest::new(method, url, std::iter::empty(), SignableBody::Bytes(&body))
        .expect("the URL is our own");
    let (instructions, _) = sign(signable, &parameters).expect("the request can be signed").into_parts();
    let mut request = http::Request::builder()
        .method(method)
        .uri(url)
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(body.clone()))
        .expect("the method and the URL are our own");
    instructions.apply_to_request_http1x(&mut request);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_is_there_after_a_kill_and_a_restart() {
        let mut seaweedfs = SeaweedFs::start(&["landing", "backup"]).await;
        let url = format!("{}/landing/kept", seaweedfs.endpoint_url());
        assert!(send_signed("PUT", &url).await.unwrap().is_success());
        seaweedfs.kill().await;
        assert!(send_signed("HEAD", &url).await.is_err());
        seaweedfs.restart().await;
        assert!(send_signed("HEAD", &url).await.unwrap().is_success());
    }

    #[tokio::test]
    async fn a_missing_bucket_is_refused() {
        let seaweedfs = SeaweedFs::start(&["landing"]).await;
        let url = format!("{}/mistyped/key", seaweedfs.endpoint_url());
        assert_eq!(send_signed("PUT", &url).await.unwrap(), http::StatusCode::NOT_FOUND);
    }
}
