//! A server in this process, and AWS's own client.
#![allow(dead_code, unreachable_pub)] // each test program uses its part

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use hydrant_s3_local::{Error, Settings, serve};
use hydrant_types::Secret;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const ACCESS_KEY_ID: &str = "test";
pub const SECRET_ACCESS_KEY: &str = "test";
pub const BUCKET: &str = "demo";

pub struct Server {
    pub client: Client,
    pub endpoint: String,
    pub dir: TempDir,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), Error>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    pub async fn on(dir: TempDir) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, settings(dir.path()), shutdown.clone()));
        let client = client(&endpoint, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        Self { client, endpoint, dir, shutdown, serving }
    }

    pub async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
        self.dir
    }

    pub async fn restart(self) -> Self {
        Self::on(self.stop().await).await
    }

    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let body = ByteStream::from(body.into());
        let put = self.client.put_object().bucket(BUCKET).key(key).body(body).send().await;
        put.unwrap().e_tag.unwrap()
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        get(&self.client, key).await
    }
}

pub async fn get(client: &Client, key: &str) -> Vec<u8> {
    let object = client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
    object.body.collect().await.unwrap().to_vec()
}

pub fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret_access_key: Secret::new(SECRET_ACCESS_KEY),
        buckets: vec![BUCKET.to_owned()],
    }
}

pub fn client(endpoint: &str, access_key_id: &str, secret_access_key: &str) -> Client {
    let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "test");
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials)
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// Status and code of a refused call.
pub fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (u16, String) {
    let error = result.expect_err("the call was to be refused");
    let status = error.raw_response().unwrap_or_else(|| panic!("no answer: {error:?}")).status().as_u16();
    (status, error.code().unwrap_or_default().to_owned())
}
