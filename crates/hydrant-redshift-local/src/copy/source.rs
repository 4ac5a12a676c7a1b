//! Where COPY reads: manifest, objects, jsonpaths, from S3.

use std::io::Read;

use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::Credentials,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use tokio_util::io::SyncIoBridge;

use super::{CopyJob, json_path::JsonPath, options::CopyOptions};
use crate::{S3Settings, error::SqlError};

/// Until an object's first byte; a COPY as a whole has as long as it needs, and the SDK gives up a body that stalls.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// Of a manifest, or a file of jsonpaths.
const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most objects below a prefix.
const OBJECTS_MAX: usize = 100_000;

/// The client that COPY reads with.
pub(crate) async fn client(settings: &S3Settings) -> Client {
    let http_client =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .timeout_config(TimeoutConfig::builder().operation_timeout(ANSWER_TIMEOUT).build());
    if let Some(region) = &settings.region {
        // Given here, the SDK does not look for one, which on a machine outside AWS takes a time-out.
        loader = loader.region(Region::new(region.clone()));
    }
    if let (Some(key), Some(secret)) = (&settings.access_key_id, &settings.secret_access_key) {
        let credentials = Credentials::new(key, secret.reveal(), None, None, "hydrant redshift-local");
        loader = loader.credentials_provider(credentials);
    }
    let sdk = loader.load().await;
    let region = sdk.region().cloned().unwrap_or_else(|| Region::from_static("us-east-1"));
    let mut builder =
        aws_sdk_s3::config::Builder::from(&sdk).region(region).force_path_style(settings.force_path_style);
    if let Some(endpoint_url) = &settings.endpoint_url {
        builder = builder.endpoint_url(endpoint_url);
    }
    Client::from_conf(builder.build())
}

/// S3 as one COPY reads it.
pub(super) struct Source {
    s3: Client,
}

/// An object that COPY loads.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Entry {
    pub(super) url: String,
    /// Not to be skipped where it is missing.
    #[serde(default)]
    pub(super) mandatory: bool,
}

impl Source {
    pub(super) fn new(s3: &Client, options: &CopyOptions) -> Self {
        let s3 = match &options.region {
            Some(region) => {
                Client::from_conf(s3.config().to_builder().region(Region::new(region.clone())).build())
            }
            None => s3.clone(),
        };
        Self { s3 }
    }

    /// The objects to be loaded: from the manifest, or those below the prefix.
    pub(super) async fn entries(&self, job: &CopyJob) -> Result<Vec<Entry>, SqlError> {
        let entries = if job.options.manifest {
            self.listed_in(&job.from).await?
        } else {
            self.below(&job.from).await?
        };
        if entries.is_empty() {
            return Err(nothing_at(&job.from));
        }
        Ok(entries)
    }

    async fn listed_in(&self, url: &str) -> Result<Vec<Entry>, SqlError> {
        #[derive(Deserialize)]
        struct Manifest {
            entries: Vec<Entry>,
        }
        let document = self.document(url).await.map_err(|SqlError(words)| {
            SqlError::new(format!("Problem reading manifest file - {}", words.trim_start_matches("ERROR: ")))
        })?;
        let manifest: Manifest = serde_json::from_slice(&document)
            .map_err(|error| SqlError::new(format!("Problem reading manifest file - {url}: {error}")))?;
        for entry in &manifest.entries {
            parts(&entry.url)?;
        }
        Ok(manifest.entries)
    }

    async fn below(&self, url: &str) -> Result<Vec<Entry>, SqlError> {
        let (bucket, prefix) = parts(url)?;
        let mut pages = self.s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| s3_error(&error, url))?;
            let keys = page.contents().iter().filter_map(|object| object.key());
            entries.extend(keys.map(|key| Entry { url: format!("s3://{bucket}/{key}"), mandatory: true }));
            if entries.len() > OBJECTS_MAX {
                return Err(SqlError::new(format!("more than {OBJECTS_MAX} objects are below {url}")));
            }
        }
        Ok(entries)
    }

    /// An object's bytes as they come; `None` where it may be, and is, missing.
    pub(super) async fn open(&self, entry: &Entry) -> Result<Option<ByteStream>, SqlError> {
        let (bucket, key) = parts(&entry.url)?;
        match self.s3.get_object().bucket(bucket).key(key).send().await {
            Ok(object) => Ok(Some(object.body)),
            Err(SdkError::ServiceError(error)) if error.err().is_no_such_key() && !entry.mandatory => {
                Ok(None)
            }
            Err(error) => Err(s3_error(&error, &entry.url)),
        }
    }

    /// The members that a jsonpaths file names, one path a column.
    pub(super) async fn json_paths(&self, url: &str) -> Result<Vec<JsonPath>, SqlError> {
        #[derive(Deserialize)]
        struct File {
            jsonpaths: Vec<String>,
        }
        let document = self.document(url).await?;
        let file: File = serde_json::from_slice(&document)
            .map_err(|error| SqlError::new(format!("Invalid JSONPath format: {url}: {error}")))?;
        file.jsonpaths.iter().map(|path| JsonPath::parse(path)).collect()
    }

    /// A small object, whole.
    async fn document(&self, url: &str) -> Result<Vec<u8>, SqlError> {
        let Some(body) = self.open(&Entry { url: url.to_owned(), mandatory: true }).await? else {
            return Err(nothing_at(url));
        };
        let read = |error: std::io::Error| SqlError::new(format!("Unable to read {url}: {error}"));
        let mut document = Vec::new();
        let mut body = tokio::io::AsyncReadExt::take(body.into_async_read(), DOCUMENT_BYTES_MAX + 1);
        tokio::io::AsyncReadExt::read_to_end(&mut body, &mut document).await.map_err(read)?;
        if document.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(SqlError::new(format!("{url} is larger than {DOCUMENT_BYTES_MAX} bytes")));
        }
        Ok(document)
    }
}

/// The body's bytes, decompressed. To be called where blocking is allowed, since gzip's header is read at once.
pub(super) fn reader(body: ByteStream, gzip: bool) -> Box<dyn Read + Send> {
    let bytes = SyncIoBridge::new(Box::pin(body.into_async_read()));
    if gzip { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) }
}

pub(super) fn nothing_at(url: &str) -> SqlError {
    SqlError::new(format!("The specified S3 prefix '{url}' does not exist"))
}

fn parts(url: &str) -> Result<(&str, &str), SqlError> {
    url.strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'))
        .filter(|(bucket, _)| !bucket.is_empty())
        .ok_or_else(|| SqlError::new(format!("Invalid S3 URI: {url}")))
}

fn s3_error<E: ProvideErrorMetadata + std::error::Error + 'static>(
    error: &SdkError<E>,
    url: &str,
) -> SqlError {
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("InternalError");
            let message = service.err().message().unwrap_or("no message");
            let status = service.raw().status().as_u16();
            SqlError::new(format!("S3ServiceException:{message},Status {status},Error {code}: {url}"))
        }
        other => SqlError::new(format!("Unable to read {url}: {}", DisplayErrorContext(other))),
    }
}
