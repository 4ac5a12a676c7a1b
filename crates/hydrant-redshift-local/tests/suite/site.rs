//! A stand-in with its database and its S3, for one test.

use std::time::Duration;

use aws_sdk_redshiftdata::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        batch_execute_statement::builders::BatchExecuteStatementFluentBuilder,
        describe_statement::DescribeStatementOutput,
        execute_statement::builders::ExecuteStatementFluentBuilder,
    },
    types::{Field, StatusString},
};
use hydrant_redshift_local::{S3Settings, Settings};
use hydrant_testkit::{Postgres, Process, eventually, free_port};
use hydrant_types::Secret;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) const BUCKET: &str = "landing";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "test";
const LISTEN: &str = "REDSHIFT_LOCAL_TEST_LISTEN";
const DATABASE_URL: &str = "REDSHIFT_LOCAL_TEST_DATABASE_URL";
const S3_URL: &str = "REDSHIFT_LOCAL_TEST_S3_URL";

/// Runs `super::$name` over both engines.
macro_rules! on_both_engines {
    ($($name:ident)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn over_sqlite() {
                super::$name($crate::site::Site::over_sqlite().await).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn over_postgres() {
                super::$name($crate::site::Site::over_postgres().await).await;
            }
        }
    )*};
}
pub(crate) use on_both_engines;

/// The stand-in, in this process or in one of its own.
enum Server {
    None,
    Inside { stop: CancellationToken, serving: JoinHandle<()> },
    Own(Process),
}

pub(crate) struct Site {
    pub(crate) is_postgres: bool,
    pub(crate) database_url: String,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) data: Client,
    pub(crate) url: String,
    pub(crate) dir: TempDir,
    s3_url: String,
    listen: String,
    server: Server,
    stop_s3: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop_s3.cancel();
        if let Server::Inside { stop, .. } = &self.server {
            stop.cancel();
        }
    }
}

impl Site {
    pub(crate) async fn over_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("warehouse.db").display());
        Self::over(dir, url, false).await
    }

    pub(crate) async fn over_postgres() -> Self {
        let url = Postgres::shared().database().await;
        Self::over(tempfile::tempdir().unwrap(), url, true).await
    }

    async fn over(dir: TempDir, database_url: String, is_postgres: bool) -> Self {
        let stop_s3 = CancellationToken::new();
        let s3_url = serve_s3(&dir, stop_s3.clone()).await;
        let listen = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{listen}");
        let mut site = Self {
            is_postgres,
            database_url,
            s3: s3_client(&s3_url),
            data: data_client(&url),
            url,
            dir,
            s3_url,
            listen,
            server: Server::None,
            stop_s3,
        };
        site.start().await;
        site
    }

    /// Starts it in this process.
    pub(crate) async fn start(&mut self) {
        let listener = TcpListener::bind(&self.listen).await.unwrap();
        let settings = settings(&self.database_url, &self.s3_url);
        let stop = CancellationToken::new();
        let until = stop.clone();
        let serving = tokio::spawn(async move {
            hydrant_redshift_local::serve(listener, settings, until).await.unwrap();
        });
        self.server = Server::Inside { stop, serving };
        self.wait_until_ready().await;
    }

    /// Stops it in order, whichever it is.
    pub(crate) async fn stop(&mut self) {
        match std::mem::replace(&mut self.server, Server::None) {
            Server::Inside { stop, serving } => {
                stop.cancel();
                serving.await.unwrap();
            }
            Server::Own(process) => process.kill9().await,
            Server::None => {}
        }
    }

    /// Starts it as a process of its own.
    pub(crate) async fn start_process(&mut self) {
        let arguments = ["--exact", "site::serve_until_killed", "--ignored", "--nocapture"];
        let program = std::env::current_exe().unwrap();
        let process = Process::start_with(&program, arguments, |command| {
            command.env(LISTEN, &self.listen).env(DATABASE_URL, &self.database_url).env(S3_URL, &self.s3_url);
        });
        self.server = Server::Own(process);
        self.wait_until_ready().await;
    }

    pub(crate) fn process(&self) -> &Process {
        match &self.server {
            Server::Own(process) => process,
            _ => panic!("the stand-in runs in the test's process"),
        }
    }

    /// `kill -9`, whatever it is doing, and a new start.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.process().kill9().await;
        self.start_process().await;
    }

    async fn wait_until_ready(&self) {
        eventually("the stand-in answers", PATIENCE, async || self.data.list_statements().send().await.ok())
            .await;
    }

    pub(crate) fn execute(&self, sql: impl Into<String>) -> ExecuteStatementFluentBuilder {
        self.data.execute_statement().workgroup_name("local").database("dev").sql(sql)
    }

    pub(crate) fn batch<S: Into<String>>(
        &self,
        sqls: impl IntoIterator<Item = S>,
    ) -> BatchExecuteStatementFluentBuilder {
        let batch = self.data.batch_execute_statement().workgroup_name("local").database("dev");
        sqls.into_iter().fold(batch, |batch, sql| batch.sqls(sql))
    }

    /// Waits until a statement has ended.
    pub(crate) async fn ended(&self, id: &str) -> DescribeStatementOutput {
        eventually("the statement ends", PATIENCE, async || {
            let described = self.data.describe_statement().id(id).send().await.ok()?;
            let ended = [StatusString::Finished, StatusString::Failed, StatusString::Aborted];
            described.status.as_ref().is_some_and(|status| ended.contains(status)).then_some(described)
        })
        .await
    }

    /// Runs a statement to its end, which may be any.
    pub(crate) async fn run(&self, sql: impl Into<String>) -> DescribeStatementOutput {
        let id = self.execute(sql).send().await.unwrap().id.unwrap();
        self.ended(&id).await
    }

    /// Runs a statement that is to succeed, and gives its id.
    pub(crate) async fn ok(&self, sql: impl Into<String>) -> DescribeStatementOutput {
        let sql = sql.into();
        let described = self.run(&sql).await;
        assert_eq!(described.status, Some(StatusString::Finished), "{sql}: {:?}", described.error);
        described
    }

    /// Runs a statement that is to fail, and gives the error's text.
    pub(crate) async fn failure(&self, sql: impl Into<String>) -> String {
        let sql = sql.into();
        let described = self.run(&sql).await;
        assert_eq!(described.status, Some(StatusString::Failed), "{sql}");
        described.error.unwrap()
    }

    /// A query's rows as text, `None` for NULL.
    pub(crate) async fn rows(&self, sql: impl Into<String>) -> Vec<Vec<Option<String>>> {
        let id = self.ok(sql).await.id;
        let result = self.data.get_statement_result().id(id).send().await.unwrap();
        result.records.iter().map(|row| row.iter().map(shown).collect()).collect()
    }

    /// A query's one value.
    pub(crate) async fn value(&self, sql: impl Into<String>) -> String {
        self.rows(sql).await[0][0].clone().unwrap()
    }

    pub(crate) async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) -> String {
        self.s3.put_object().bucket(BUCKET).key(key).body(bytes.into().into()).send().await.unwrap();
        format!("s3://{BUCKET}/{key}")
    }

    /// Puts a manifest of these URLs, all of them mandatory.
    pub(crate) async fn manifest(&self, key: &str, urls: &[&str]) -> String {
        let entries: Vec<_> =
            urls.iter().map(|url| serde_json::json!({"url": url, "mandatory": true})).collect();
        self.put(key, serde_json::json!({"entries": entries}).to_string()).await
    }
}

pub(crate) fn shown(field: &Field) -> Option<String> {
    match field {
        Field::LongValue(number) => Some(number.to_string()),
        Field::DoubleValue(number) => Some(number.to_string()),
        Field::BooleanValue(is) => Some(is.to_string()),
        Field::StringValue(text) => Some(text.clone()),
        Field::IsNull(_) => None,
        other => panic!("{other:?}"),
    }
}

/// The code and text of a refused call.
pub(crate) fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata>(
    answer: Result<T, SdkError<E>>,
) -> (String, String) {
    let Err(SdkError::ServiceError(error)) = answer else { panic!("the call is refused") };
    (error.err().code().unwrap().to_owned(), error.err().message().unwrap().to_owned())
}

pub(crate) fn row<const N: usize>(values: [&str; N]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn settings(database_url: &str, s3_url: &str) -> Settings {
    Settings {
        database_url: Secret::new(database_url),
        database: "dev".to_owned(),
        s3: S3Settings {
            endpoint_url: Some(s3_url.to_owned()),
            region: Some("us-east-1".to_owned()),
            force_path_style: true,
            access_key_id: Some(KEY.to_owned()),
            secret_access_key: Some(Secret::new(KEY)),
        },
    }
}

async fn serve_s3(dir: &TempDir, stop: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let settings = hydrant_s3_local::Settings {
        dir: dir.path().join("s3"),
        access_key_id: KEY.to_owned(),
        secret_access_key: Secret::new(KEY),
        buckets: vec![BUCKET.to_owned()],
    };
    tokio::spawn(async move { hydrant_s3_local::serve(listener, settings, stop).await.unwrap() });
    url
}

fn s3_client(url: &str) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(KEY, KEY, None, None, "test"))
        .endpoint_url(url)
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

fn data_client(url: &str) -> Client {
    let config = aws_sdk_redshiftdata::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("any", "thing", None, None, "test"))
        .endpoint_url(url);
    Client::from_conf(config.build())
}

/// Not a test: the stand-in's own process, for those that kill it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by tests as a process of its own"]
async fn serve_until_killed() {
    let Ok(listen) = std::env::var(LISTEN) else { return };
    let variable = |name| std::env::var(name).unwrap();
    let listener = TcpListener::bind(listen).await.unwrap();
    let settings = settings(&variable(DATABASE_URL), &variable(S3_URL));
    hydrant_redshift_local::serve(listener, settings, CancellationToken::new()).await.unwrap();
}
