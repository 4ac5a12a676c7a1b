//! The composition root: starts the parts in order, and stops them in order.
//!
//! `serve`, `dev`, `demo` and the tests all come through [`run`]. It contains no rule of the domain.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use hydrant_auth::{Authenticator, Realm};
use hydrant_delivery as delivery;
use hydrant_ingest::{Keyring, StreamTable};
use hydrant_log::{Deps, FileLog};
use hydrant_metastore::Metastore;
use hydrant_types::{Clock, Entropy, SystemClock, SystemEntropy};
use prometheus::Registry;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    admin::{self, Readiness, ReadinessSwitch},
    aws,
    config::{Auth, Config, Files},
    declared::{self, Declared},
    descriptors, reload,
};

/// Between two looks for streams that another node changed.
const STREAMS_REFRESH: Duration = Duration::from_secs(5);
/// For the metastore to answer at a start; then records are accepted and delivery waits for it.
const METASTORE_PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries to reach a metastore that was away at the start.
const ATTACH_RETRY: Duration = Duration::from_secs(2);
/// For requests under way when the service stops; with [`DELIVERY_GRACE`] below the ten seconds of design decision D18.
const REQUESTS_GRACE: Duration = Duration::from_secs(3);
/// For deliveries to reach the end of their step.
const DELIVERY_GRACE: Duration = Duration::from_secs(3);

/// Bound before anything else is started, so that a port that is taken is said at once.
pub struct Listeners {
    /// For producers.
    pub api: TcpListener,
    /// For metrics and health.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds what the configuration says.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn bind(config: &Config) -> Result<Self> {
        Ok(Self {
            api: bind(config.api.listen, "api.listen").await?,
            admin: bind(config.admin.listen, "admin.listen").await?,
        })
    }
}

/// Binds one address.
///
/// # Errors
/// With the key that named the address.
pub async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: bind {address}"))
}

/// How [`run`] reaches AWS, or what stands in for it.
pub struct Aws {
    /// For S3.
    pub s3: SdkConfig,
    /// For the Redshift Data API.
    pub redshift: SdkConfig,
}

impl Aws {
    /// The usual AWS chain for both.
    pub async fn from_chain(config: &Config) -> Self {
        Self {
            s3: aws::sdk_config(config.s3.region.as_deref(), None).await,
            redshift: aws::sdk_config(config.redshift.region.as_deref(), None).await,
        }
    }
}

/// What every part is made from.
struct Parts {
    config: Config,
    registry: Registry,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    node: String,
    log: Arc<FileLog>,
    metastore: Arc<dyn Metastore>,
    streams: Arc<StreamTable>,
    keyring: Arc<Keyring>,
    authenticator: Arc<Authenticator>,
}

/// What the service is started with.
pub struct Start {
    /// As it was read.
    pub config: Config,
    /// What is in the files it names.
    pub files: Files,
    /// Bring a Postgres metastore's schema up to date first.
    pub migrate: bool,
    /// Where SIGHUP reads the configuration from; `None`: it does not.
    pub reload: Option<reload::Source>,
}

/// Runs the service until `shutdown`, then stops it: readiness off, requests finished, log synced, leases given back.
///
/// # Errors
/// It could not start, or a part of it failed; then the rest was stopped.
pub async fn run(start: Start, listeners: Listeners, aws: Aws, shutdown: CancellationToken) -> Result<()> {
    let Start { config, files: Files { tls, streams: declared }, migrate, reload } = start;
    if matches!(config.auth, Auth::Anyone) {
        warn!(
            api = %listeners.api.local_addr()?,
            "auth.mode is \"none\": whoever reaches the API listener may put records and change streams"
        );
    }
    let readiness = ReadinessSwitch::new();
    let registry = registry()?;
    // The admin listener answers from the first moment to the last: it is how one sees a start that takes long.
    let admin_stop = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(
        listeners.admin,
        registry.clone(),
        readiness.clone(),
        config.admin.token.clone(),
        admin_stop.clone(),
    ));
    let (parts, attached) = tokio::select! {
        opened = Parts::open(config, registry, migrate) => opened?,
        () = shutdown.cancelled() => {
            info!("stopped while starting");
            return Ok(());
        }
    };

    let (api_stop, delivery_stop) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(parts.serve_api(listeners.api, tls.clone(), api_stop.clone())?);
    let (declare, declared) = watch::channel(declared);
    let reloading = reload.map(|source| {
        let exchangeable = reload::Exchangeable {
            authenticator: parts.authenticator.clone(),
            tls,
            keyring: parts.keyring.clone(),
            declared: declare,
            clock: parts.clock.clone(),
        };
        tokio::spawn(reload::run(source, parts.config.clone(), exchangeable))
    });
    readiness.set(if attached.is_some() { Readiness::Ready } else { Readiness::AcceptingOnly });
    let deliver = parts.deliver(aws, attached, declared, readiness.clone(), delivery_stop.clone());
    let mut delivering = JoinSet::new();
    delivering.spawn(deliver);

    let failure = tokio::select! {
        () = shutdown.cancelled() => None,
        ended = tasks.join_next() => Some(part_ended(ended)),
        ended = delivering.join_next() => Some(part_ended(ended)),
    };
    info!("stopping: no new requests; those under way are finished");
    readiness.set(Readiness::Stopping);
    if let Some(reloading) = reloading {
        reloading.abort();
    }
    api_stop.cancel();
    finish(tasks, REQUESTS_GRACE, "requests").await;
    delivery_stop.cancel();
    finish(delivering, DELIVERY_GRACE, "deliveries").await;
    let log = parts.log.clone();
    tokio::task::spawn_blocking(move || log.shutdown()).await.context("close the record log")?;
    admin_stop.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(1), admin).await;
    info!("stopped");
    failure.map_or(Ok(()), Err)
}

impl Parts {
    /// Opens log and metastore and compares them (design decision D5). No [`delivery::Attached`]: the metastore is away; records are accepted meanwhile.
    async fn open(
        config: Config,
        registry: Registry,
        migrate: bool,
    ) -> Result<(Self, Option<delivery::Attached>)> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let log = open_log(&config, clock.clone(), entropy.clone(), registry.clone()).await?;
        let (metastore, answers) = open_metastore(&config, migrate).await?;
        let node = node_name(&config.log.dir);
        let attached = match answers {
            Ok(()) => attach(&log, &metastore, &node, &clock).await?,
            Err(away) => Err(away),
        };
        // After the comparison: another database's streams must not replace the copy beside the log.
        let (attached, streams) = match attached {
            Ok(attached) => {
                let streams = StreamTable::load(metastore.clone(), &config.log.dir).await;
                (Some(attached), streams.context("load the stream table")?)
            }
            Err(Away(reason)) => {
                let copy = StreamTable::from_copy(metastore.clone(), &config.log.dir)?;
                let streams = copy.with_context(|| {
                    format!("the first start needs the metastore, and it is away: {reason}")
                })?;
                warn!(reason, "the metastore is away: accepting records, delivering later");
                (None, streams)
            }
        };
        let keyring = Arc::new(Keyring::new(config.encryption.master_keys(), streams.clone()));
        log.set_data_keys(keyring.clone());
        let authenticator = Arc::new(authenticator(&config, &clock));
        let parts =
            Self { config, registry, clock, entropy, node, log, metastore, streams, keyring, authenticator };
        Ok((parts, attached))
    }

    fn serve_api(
        &self,
        listener: TcpListener,
        tls: Option<hydrant_api::TlsCertificates>,
        stop: CancellationToken,
    ) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        let deps = hydrant_api::Deps {
            log: self.log.clone(),
            metastore: self.metastore.clone(),
            streams: self.streams.clone(),
            authenticator: self.authenticator.clone(),
            clock: self.clock.clone(),
            keyring: self.keyring.clone(),
            entropy: self.entropy.clone(),
            tls,
            registry: self.registry.clone(),
        };
        let settings = hydrant_api::Settings {
            account_id: self.config.api.account_id.clone(),
            region: self.config.api.region.clone(),
            ingest: hydrant_ingest::Settings { quotas: self.config.quotas, ..Default::default() },
            connections_max: descriptors::connections_max(hydrant_api::Settings::default().connections_max),
            ..hydrant_api::Settings::default()
        };
        Ok(async move { hydrant_api::serve(listener, deps, settings, stop).await.context("serve the API") })
    }

    /// What creates and changes streams for the files that declare them.
    fn control(&self) -> hydrant_api::Control {
        hydrant_api::Control {
            metastore: self.metastore.clone(),
            streams: self.streams.clone(),
            clock: self.clock.clone(),
            keyring: self.keyring.clone(),
            entropy: self.entropy.clone(),
            account_id: self.config.api.account_id.clone(),
            region: self.config.api.region.clone(),
        }
    }

    fn deliver(
        &self,
        aws: Aws,
        attached: Option<delivery::Attached>,
        declared: watch::Receiver<Declared>,
        readiness: ReadinessSwitch,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let deps = delivery::Deps {
            log: self.log.clone(),
            metastore: self.metastore.clone(),
            streams: self.streams.clone(),
            objects: Arc::new(delivery::S3Objects::new(aws.s3, aws::s3_access(&self.config))),
            warehouse: Arc::new(aws::data_api(&aws.redshift, &self.config.redshift)),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            registry: self.registry.clone(),
        };
        delivery::show_backlog(&deps);
        let settings = delivery::Settings {
            node: self.node.clone(),
            interval_max: self.config.delivery.interval_max,
            gzip_level: self.config.delivery.gzip_level,
            copy_retry: self.config.delivery.copy_retry,
            copy_iam_role: self.config.redshift.iam_role.clone(),
            retention: self.config.metastore.retention,
            ..delivery::Settings::default()
        };
        let (log, node) = (self.log.clone(), self.node.clone());
        let control = self.control();
        async move {
            let attached = match attached {
                Some(attached) => attached,
                None => match attach_later(&deps, &log, &node, &stop).await? {
                    Some(attached) => attached,
                    None => return Ok(()),
                },
            };
            readiness.set(Readiness::Ready);
            // Only now: until they were compared, this may be another database than the log's.
            let refreshing = CancellationToken::new();
            let refresh = tokio::spawn(refresh_streams(deps.streams.clone(), refreshing.clone()));
            let declaring = tokio::spawn(declared::run(control, declared, refreshing.clone()));
            let outcome = delivery::start(deps, settings, attached, stop).join().await;
            refreshing.cancel();
            refresh.await.context("refresh the streams")?;
            declaring.await.context("bring streams to their declarations")?;
            outcome.context("deliver")
        }
    }
}

/// Compares log and metastore; nothing, and why, where the metastore went away meanwhile.
async fn attach(
    log: &Arc<FileLog>,
    metastore: &Arc<dyn Metastore>,
    node: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Result<delivery::Attached, Away>> {
    match delivery::attach(log, metastore, node, clock).await {
        Ok(attached) => Ok(Ok(attached)),
        Err(error) if error.is_unavailable() => Ok(Err(Away(format_chain(&error)))),
        Err(error) => Err(refused(error)),
    }
}

/// What a person is told who has to choose (design decision D5), and what only failed.
fn refused(error: delivery::AttachError) -> anyhow::Error {
    let disagree = error.is_disagreement();
    let error = anyhow::Error::new(error);
    if disagree { error.context("record log and metastore do not belong together") } else { error }
}

/// Tries until the metastore answers; `None` when the service stops first.
async fn attach_later(
    deps: &delivery::Deps,
    log: &Arc<FileLog>,
    node: &str,
    stop: &CancellationToken,
) -> Result<Option<delivery::Attached>> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(ATTACH_RETRY) => {}
        }
        match delivery::attach(log, &deps.metastore, node, &deps.clock).await {
            Ok(attached) => {
                info!("the metastore answers: delivering");
                return Ok(Some(attached));
            }
            Err(error) if error.is_unavailable() => {}
            Err(error) => return Err(refused(error)),
        }
    }
}

/// Opens the record log; recovering may read a few segments, so not on an async worker.
///
/// # Errors
/// It cannot be opened.
pub async fn open_log(
    config: &Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    registry: Registry,
) -> Result<Arc<FileLog>> {
    let settings = hydrant_log::Settings {
        bytes_max: config.log.bytes_max.bytes(),
        free_min: config.log.free_min.bytes(),
        ..hydrant_log::Settings::new(&config.log.dir)
    };
    tokio::task::spawn_blocking(move || FileLog::open(settings, Deps::system(clock, entropy), &registry))
        .await
        .context("open the record log")?
        .with_context(|| format!("open the record log in {}", config.log.dir.display()))
}

/// Opens the metastore, and brings its schema up to date where that is wanted. Says whether it answers; where it does not, nothing more is asked of it
/// now.
async fn open_metastore(config: &Config, migrate: bool) -> Result<(Arc<dyn Metastore>, Result<(), Away>)> {
    let url = config.metastore.url.reveal();
    let metastore = hydrant_metastore::open_unasked(url).await.context("open the metastore")?;
    let asked = tokio::time::timeout(METASTORE_PATIENCE, metastore.id()).await;
    match asked {
        Err(_) => Ok((metastore, Err(Away(format!("no answer within {METASTORE_PATIENCE:?}"))))),
        Ok(Err(error)) if error.kind() == hydrant_metastore::Kind::Retry => {
            Ok((metastore, Err(Away(format_chain(&error)))))
        }
        // Whatever it said of its schema, it answers.
        Ok(_) if migrate => {
            hydrant_metastore::migrate(url).await.context("migrate the metastore")?;
            Ok((metastore, Ok(())))
        }
        Ok(said) => said.map(|_| (metastore, Ok(()))).context("open the metastore"),
    }
}

/// The metastore does not answer at a start: why.
struct Away(String);

fn authenticator(config: &Config, clock: &Arc<dyn Clock>) -> Authenticator {
    match config.auth.access_keys(clock) {
        None => Authenticator::anyone(),
        Some(keys) => {
            let realm = Realm::new(config.api.region.clone(), config.api.account_id.clone());
            Authenticator::with_keys(keys, hydrant_api::SERVICE, realm, clock.clone())
        }
    }
}

/// A registry with the process's own figures (CPU, memory, open files) in it.
fn registry() -> Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Names this node in the metastore, for people: host and log directory.
pub fn node_name(log_dir: &Path) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let dir = log_dir.canonicalize().unwrap_or_else(|_| log_dir.to_owned());
    format!("{host}:{}", dir.display())
}

/// Notices streams that were changed through another node.
async fn refresh_streams(streams: Arc<StreamTable>, stop: CancellationToken) {
    let mut away = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(STREAMS_REFRESH) => {}
        }
        match (streams.refresh().await, away) {
            (Ok(()), true) => {
                away = false;
                info!("the metastore answers again");
            }
            (Err(error), false) => {
                away = true;
                warn!(error = %format_chain(&error), "the stream table cannot be refreshed; going on with what is known");
            }
            _ => {}
        }
    }
}

/// What ended a service that should have gone on.
fn part_ended(ended: Option<Result<Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(panic)) => anyhow::Error::new(panic).context("a part of the service panicked"),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of the service ended by itself"),
    }
}

/// Waits for tasks that were told to stop; what is not done by then is dropped.
async fn finish(mut tasks: JoinSet<Result<()>>, grace: Duration, what: &str) {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                warn!(error = %format!("{error:#}"), "while stopping");
            }
        }
    };
    if tokio::time::timeout(grace, all).await.is_err() {
        warn!(?grace, "{what} were not finished in time and are left; nothing acknowledged is lost");
    }
}

/// An error with its causes, on one line.
pub fn format_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A token that the first SIGTERM or SIGINT cancels; the second ends the process at once.
///
/// # Errors
/// The handlers cannot be installed.
pub fn shutdown_on_signals() -> Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            if cancelled.is_cancelled() {
                std::process::exit(1);
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// Refuses an address that is not on loopback, for commands that must not be reached from elsewhere.
///
/// # Errors
/// With the flag that named it.
pub fn loopback_only(flag: &str, address: SocketAddr) -> Result<SocketAddr> {
    if !address.ip().is_loopback() {
        bail!("{flag} {address}: this command accepts any credentials and listens on loopback only");
    }
    Ok(address)
}
