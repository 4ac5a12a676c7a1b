//! Everything in one process with embedded parts: the API, S3, SQLite, the Redshift stand-in.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hydrant_client::{CallError, Client};
use hydrant_types::{ByteSize, Entropy as _, Secret, SystemEntropy};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, Aws, Listeners, Start},
    aws,
    config::{self, Config, Encryption, Environment, Faults},
};

/// What the embedded S3 knows: access key and secret.
pub const KEY: &str = "test";
/// The bucket that is there from the start.
pub const BUCKET: &str = "demo";
/// The stream that delivers to S3.
pub const STREAM_S3: &str = "demo-s3";
/// The stream that delivers to Redshift.
pub const STREAM_REDSHIFT: &str = "demo-redshift";
/// The table that it loads.
pub const TABLE: &str = "events";
/// The stand-in's workgroup and database.
pub const WORKGROUP: &str = "local";
/// The stand-in's database.
pub const DATABASE: &str = "dev";
const REGION: &str = "us-east-1";
const ROLE: &str = "arn:aws:iam::000000000000:role/hydrant-dev";
/// The default encryption key.
const ENCRYPTION_KEY_ARN: &str = "arn:aws:kms:us-east-1:000000000000:key/hydrant-dev";
/// From the start of the process until all parts answer.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Columns of the table; the demonstration's records have a member for each.
const TABLE_DDL: &str = "CREATE TABLE IF NOT EXISTS events (id BIGINT, at TIMESTAMP, kind VARCHAR(32), \
                         customer VARCHAR(64), amount DOUBLE PRECISION)";

/// Where `dev` keeps its data and listens. Port 0 picks a free one.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kept between runs.
    pub data_dir: PathBuf,
    /// The API.
    pub listen: SocketAddr,
    /// Metrics and health.
    pub admin_listen: SocketAddr,
    /// The embedded S3.
    pub s3_listen: SocketAddr,
    /// The Redshift stand-in.
    pub redshift_listen: SocketAddr,
}

/// What listens where; the line that `--json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Endpoints {
    /// The Firehose API.
    pub api: String,
    /// Metrics and health.
    pub admin: String,
    /// S3.
    pub s3: String,
    /// The Redshift Data API.
    pub redshift: String,
}

/// A running `dev`.
pub struct Dev {
    /// What listens where.
    pub endpoints: Endpoints,
    /// Where the data is.
    pub data_dir: PathBuf,
    service: JoinHandle<Result<()>>,
    embedded: Vec<JoinHandle<Result<()>>>,
    shutdown: CancellationToken,
    embedded_stop: CancellationToken,
}

impl Dev {
    /// Starts every part and waits until the first put would work.
    ///
    /// # Errors
    /// A part could not start.
    pub async fn start(
        options: Options,
        environment: &Environment,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let data_dir = options.data_dir.clone();
        std::fs::create_dir_all(&data_dir).with_context(|| format!("create {}", data_dir.display()))?;
        let data_dir = data_dir.canonicalize().context("resolve the data directory")?;
        let s3_listener = app::bind(options.s3_listen, "--s3-listen").await?;
        let redshift_listener = app::bind(options.redshift_listen, "--redshift-listen").await?;
        let listeners = Listeners {
            api: app::bind(options.listen, "--listen").await?,
            admin: app::bind(options.admin_listen, "--admin-listen").await?,
        };
        let endpoints = Endpoints {
            api: url(&listeners.api)?,
            admin: url(&listeners.admin)?,
            s3: url(&s3_listener)?,
            redshift: url(&redshift_listener)?,
        };
        let external_s3 = environment.contains_key("HYDRANT_S3__ENDPOINT_URL");
        let mut config = dev_config(&data_dir, &endpoints, external_s3, environment)?;
        if config.encryption.is_empty() {
            config.encryption = Encryption::with_default(ENCRYPTION_KEY_ARN, encryption_key(&data_dir)?);
        }
        let files = config.files()?;
        let aws = dev_aws(&config, external_s3).await;

        let embedded_stop = CancellationToken::new();
        let embedded = vec![
            tokio::spawn(serve_s3(s3_listener, data_dir.join("s3"), embedded_stop.clone())),
            tokio::spawn(serve_redshift(
                redshift_listener,
                data_dir.join("warehouse.db"),
                config.s3.clone(),
                external_s3,
                embedded_stop.clone(),
            )),
        ];
        let service = tokio::spawn(app::run(
            Start { config, files, migrate: true, reload: None },
            listeners,
            aws,
            shutdown.clone(),
        ));
        let mut dev = Self { endpoints, data_dir, service, embedded, shutdown, embedded_stop };
        dev.prepare().await?;
        Ok(dev)
    }

    /// Makes the table and the streams that the first put needs.
    async fn prepare(&mut self) -> Result<()> {
        let endpoints = self.endpoints.clone();
        let ready = async {
            wait_until_ready(&endpoints).await;
            let made = crate::warehouse_query::run(&endpoints.redshift, WORKGROUP, DATABASE, TABLE_DDL).await;
            made.context("create the table")?;
            create_streams(&endpoints.api).await
        };
        tokio::select! {
            prepared = tokio::time::timeout(READY_TIMEOUT, ready) => {
                prepared.context("the service did not get ready in time")?
            }
            ended = &mut self.service => ended?.and_then(|()| anyhow::bail!("stopped before it was ready")),
        }
    }

    /// Runs one statement in the stand-in and gives its rows as text.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Value>>> {
        crate::warehouse_query::run(&self.endpoints.redshift, WORKGROUP, DATABASE, sql).await
    }

    /// Until the service ends, by signal or by failure; then stops the embedded parts.
    ///
    /// # Errors
    /// The service failed.
    pub async fn join(self) -> Result<()> {
        let outcome = self.service.await?;
        // After the service: its last uploads still needed them.
        self.embedded_stop.cancel();
        for part in self.embedded {
            part.await??;
        }
        outcome
    }

    /// Stops everything.
    ///
    /// # Errors
    /// As [`Dev::join`].
    pub async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.join().await
    }
}

/// The default encryption key, made once and kept with the data.
fn encryption_key(data_dir: &Path) -> Result<Secret> {
    let path = data_dir.join("encryption.key");
    if !path.exists() {
        make_encryption_key(&path).with_context(|| format!("make {}", path.display()))?;
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(Secret::new(text.trim()))
}

/// Durable before anything is encrypted under it, and whole or not there.
fn make_encryption_key(path: &Path) -> std::io::Result<()> {
    let mut key = [0; 32];
    SystemEntropy.fill(&mut key);
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(STANDARD.encode(key).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn url(listener: &TcpListener) -> Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}

/// Where `dev` keeps its metastore.
pub fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("hydrant.db")
}

/// What can be said of a `dev` from its data directory alone, running or not: where log and metastore are.
///
/// # Errors
/// A `HYDRANT_…` variable is not valid.
pub fn stored_config(data_dir: &Path, environment: &Environment) -> Result<Config, Faults> {
    // The environment's other keys hold in `dev` too; what `dev` itself decides is not asked for.
    let mut environment = environment.clone();
    for (key, value) in [
        ("HYDRANT_AUTH__MODE", "none".to_owned()),
        ("HYDRANT_METASTORE__URL", format!("sqlite://{}", database(data_dir).display())),
    ] {
        environment.insert(key.to_owned(), value);
    }
    let mut config = Config::load(None, &environment)?;
    config.log.dir = data_dir.join("log");
    if !environment.contains_key("HYDRANT_LOG__BYTES_MAX") {
        config.log.bytes_max = ByteSize::gib(5);
    }
    if !environment.contains_key("HYDRANT_LOG__FREE_MIN") {
        config.log.free_min = ByteSize::mib(256);
    }
    Ok(config)
}

fn dev_config(
    data_dir: &Path,
    endpoints: &Endpoints,
    external_s3: bool,
    environment: &Environment,
) -> Result<Config, Faults> {
    let mut config = stored_config(data_dir, environment)?;
    if !external_s3 {
        config.s3 = config::S3 {
            endpoint_url: Some(endpoints.s3.clone()),
            region: Some(REGION.to_owned()),
            force_path_style: true,
            ..config::S3::default()
        };
    }
    config.redshift = config::Redshift {
        endpoint_url: Some(endpoints.redshift.clone()),
        region: Some(REGION.to_owned()),
        iam_role: None,
    };
    config.delivery.interval_max = Some(Duration::from_secs(1));
    config.delivery.copy_retry = Duration::from_secs(1);
    Ok(config)
}

/// The embedded parts' own credentials whatever `AWS_*` says; the usual chain only for an S3 that was named.
async fn dev_aws(config: &Config, external_s3: bool) -> Aws {
    let local = || Some(Credentials::new(KEY, KEY, None, None, "hydrant dev"));
    let s3_credentials = if external_s3 { None } else { local() };
    Aws {
        s3: aws::sdk_config(config.s3.region.as_deref(), s3_credentials).await,
        redshift: aws::sdk_config(config.redshift.region.as_deref(), local()).await,
    }
}

async fn serve_s3(listener: TcpListener, dir: PathBuf, stop: CancellationToken) -> Result<()> {
    let settings = hydrant_s3_local::Settings {
        dir,
        access_key_id: KEY.to_owned(),
        secret_access_key: Secret::new(KEY),
        buckets: vec![BUCKET.to_owned()],
    };
    hydrant_s3_local::serve(listener, settings, stop).await.context("serve the embedded S3")
}

async fn serve_redshift(
    listener: TcpListener,
    database: PathBuf,
    s3: config::S3,
    external_s3: bool,
    stop: CancellationToken,
) -> Result<()> {
    let key = || (!external_s3).then(|| KEY.to_owned());
    let settings = hydrant_redshift_local::Settings {
        database_url: Secret::new(format!("sqlite://{}", database.display())),
        database: DATABASE.to_owned(),
        s3: hydrant_redshift_local::S3Settings {
            endpoint_url: s3.endpoint_url,
            region: s3.region,
            force_path_style: s3.force_path_style,
            access_key_id: key(),
            secret_access_key: key().map(Secret::new),
        },
    };
    hydrant_redshift_local::serve(listener, settings, stop).await.context("serve the Redshift stand-in")
}

async fn wait_until_ready(endpoints: &Endpoints) {
    let client = Client::unsigned(&endpoints.api);
    while client.call("ListDeliveryStreams", &json!({"Limit": 1})).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn create_streams(api: &str) -> Result<()> {
    let client = Client::unsigned(api);
    for stream in [s3_stream(), redshift_stream()] {
        match client.call("CreateDeliveryStream", &stream).await {
            Ok(_) => {}
            Err(CallError::Service { code, .. }) if code == "ResourceInUseException" => {}
            Err(error) => {
                return Err(error).with_context(|| format!("create stream {}", stream["DeliveryStreamName"]));
            }
        }
    }
    Ok(())
}

fn s3_stream() -> Value {
    json!({
        "DeliveryStreamName": STREAM_S3,
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": ROLE,
            "BucketARN": format!("arn:aws:s3:::{BUCKET}"),
            "Prefix": "s3/",
            "CompressionFormat": "GZIP",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60},
        },
    })
}

fn redshift_stream() -> Value {
    json!({
        "DeliveryStreamName": STREAM_REDSHIFT,
        "RedshiftDestinationConfiguration": {
            "RoleARN": ROLE,
            "ClusterJDBCURL": format!(
                "jdbc:redshift://{WORKGROUP}.000000000000.{REGION}.redshift-serverless.amazonaws.com:5439/{DATABASE}"
            ),
            "CopyCommand": {"DataTableName": TABLE, "CopyOptions": "JSON 'auto' GZIP"},
            "Username": "dev",
            "Password": "unused-here",
            "S3Configuration": {
                "RoleARN": ROLE,
                "BucketARN": format!("arn:aws:s3:::{BUCKET}"),
                "Prefix": "redshift/",
                "CompressionFormat": "GZIP",
                "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60},
            },
        },
    })
}
