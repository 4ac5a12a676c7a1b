//! Opening the metastore that a URL names, and bringing its schema up to date.

use std::{future::Future, path::Path, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    Connection, PgConnection, PgPool, SqlitePool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    Error, Metastore,
    error::Result,
    failure::{in_doubt, undone},
    sql::{postgres, sqlite},
};

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Deliveries of thousands of streams are grouped before they come here; more connections would only wait for locks.
const CONNECTIONS_MAX: u32 = 8;
/// For a connection, also a new one to a server that does not answer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Another process (a command beside `hydrant dev`) may hold SQLite's write lock for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection to Postgres asks for, whatever the defaults of server, database and user.
const POSTGRES_SETTINGS: [(&str, &str); 8] = [
    // What is answered is on disk.
    ("synchronous_commit", "on"),
    // What was read under a lock is what is there.
    ("default_transaction_isolation", "read committed"),
    // The server gives up before we do (`CALL_LIMIT`), and says so.
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    // A node that vanished without a word must not keep its locks from the node that takes its work over.
    ("idle_in_transaction_session_timeout", "20s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];
/// Making an index on a big table takes its time, and waiting for another migration too.
const MIGRATION_SETTINGS: [(&str, &str); 2] = [("statement_timeout", "0"), ("lock_timeout", "0")];

/// Opens the metastore at `url`: `postgres://…` or `sqlite://path`. With `migrate` its schema is brought up to date first; SQLite's always is.
///
/// A Postgres that does not answer is no error here: its store answers [`Error::Unavailable`] until it does, and
/// [`Metastore::id`] then finds a schema that is missing, older or newer.
///
/// # Errors
/// [`Error::BadUrl`], [`Error::NotMigrated`], [`Error::SchemaNewer`], or what migrating met.
pub async fn open(url: &str, migrate: bool) -> Result<Arc<dyn Metastore>> {
    if migrate && is_postgres(url) {
        migrate_postgres(&postgres_options(url)?).await?;
    }
    let store = open_unasked(url).await?;
    match store.id().await {
        Ok(_) | Err(Error::Unavailable { .. }) => Ok(store),
        Err(error) => Err(error),
    }
}

/// As [`open`] without migrating, but a Postgres is not asked anything yet: for who has a limit of its own for the first answer.
///
/// # Errors
/// [`Error::BadUrl`]; for SQLite as [`open`].
pub async fn open_unasked(url: &str) -> Result<Arc<dyn Metastore>> {
    if is_postgres(url) {
        let pool = postgres_pool(postgres_options(url)?);
        return Ok(Arc::new(postgres::Store::new(pool.clone(), pool)));
    }
    let (writer, reader) = sqlite_pools(url).await?;
    migrate_sqlite(&writer).await?;
    Ok(Arc::new(sqlite::Store::new(writer, reader)))
}

/// Brings the schema at `url` up to date. May be called by several processes at once.
///
/// # Errors
/// As [`open`]; a database that does not answer too.
pub async fn migrate(url: &str) -> Result<()> {
    if is_postgres(url) {
        return migrate_postgres(&postgres_options(url)?).await;
    }
    let (writer, _) = sqlite_pools(url).await?;
    migrate_sqlite(&writer).await
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

fn postgres_options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| bad_url("expected postgres://user:password@host:port/database"))?;
    Ok(options.application_name("hydrant").options(POSTGRES_SETTINGS))
}

fn postgres_pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options)
}

fn sqlite_options(url: &str) -> Result<SqliteConnectOptions> {
    const EXPECTED: &str = "expected postgres://… or sqlite:///path/to/hydrant.db";
    if !url.starts_with("sqlite:") {
        return Err(bad_url(EXPECTED));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|_| bad_url(EXPECTED))?;
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(bad_url("a metastore in memory would forget what was delivered"));
    }
    let file = options.get_filename();
    match file.parent() {
        _ if file.as_os_str().is_empty() => Err(bad_url(EXPECTED)),
        Some(directory) if directory != Path::new("") && !directory.is_dir() => {
            Err(bad_url(&format!("there is no directory {}", directory.display())))
        }
        _ => Ok(options),
    }
}

fn bad_url(reason: &str) -> Error {
    Error::BadUrl { reason: reason.to_owned() }
}

async fn sqlite_pools(url: &str) -> Result<(SqlitePool, SqlitePool)> {
    let options = sqlite_options(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    let pool =
        |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY_TIMEOUT);
    // SQLite writes one at a time; readers do not wait for it.
    let writer = pool(1).connect_with(options.clone()).await.map_err(undone("open the metastore's file"))?;
    let reader = pool(CONNECTIONS_MAX / 2).connect_lazy_with(options.pragma("query_only", "on"));
    Ok((writer, reader))
}

/// On a connection of its own: where a migration fails, the lock that keeps others from migrating goes with it.
async fn migrate_postgres(options: &PgConnectOptions) -> Result<()> {
    let options = options.clone().options(MIGRATION_SETTINGS);
    let step = "connect to the metastore";
    let mut connection = in_time(step, PgConnection::connect_with(&options)).await?;
    POSTGRES.run_direct(None, &mut connection, false).await.map_err(migration_failed)?;
    connection.close().await.map_err(undone(step))
}

async fn in_time<T>(
    step: &'static str,
    connecting: impl Future<Output = std::result::Result<T, sqlx::Error>>,
) -> Result<T> {
    let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, connecting).await;
    connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(undone(step))
}

/// In one transaction that begins with the write lock: sqlx has no lock of its own for SQLite.
async fn migrate_sqlite(writer: &SqlitePool) -> Result<()> {
    let step = "migrate the metastore";
    let mut transaction = writer.begin_with("begin immediate").await.map_err(undone(step))?;
    SQLITE.run_direct(None, &mut *transaction, false).await.map_err(migration_failed)?;
    transaction.commit().await.map_err(in_doubt(step))
}

fn migration_failed(error: MigrateError) -> Error {
    let step = "migrate the metastore";
    match error {
        MigrateError::VersionMissing(migration) => Error::SchemaNewer { migration },
        MigrateError::VersionMismatch(migration) => Error::SchemaDiffers { migration },
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => undone(step)(source),
        other => Error::Refused { step, source: sqlx::Error::Migrate(Box::new(other)) },
    }
}

/// Whether a schema that was brought up to `applied` is this program's. (Both databases have the same migrations.)
pub(crate) fn check_schema(applied: i64) -> Result<()> {
    let known = POSTGRES.iter().map(|migration| migration.version).max().unwrap_or(0);
    match applied {
        applied if applied < known => Err(Error::NotMigrated),
        applied if applied > known => Err(Error::SchemaNewer { migration: applied }),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "open/tests.rs"]
mod tests;
