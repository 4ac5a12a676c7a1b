//! The client against a Data API that really loads: the stand-in over SQLite, with objects in an S3 server, and a proxy in front
//! of each that loses answers.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use hydrant_redshift::{
    DataApi, Error, Kind, Settings, StatementStatus, Submission, WarehouseClient, copy_statement, manifest,
};
use hydrant_testkit::{Fault, FaultProxy, eventually, free_port};
use hydrant_types::{
    BucketName, CopyTarget, Load, LoadState, ObjectKey, Secret, StatementId, StreamId, Timestamp, Warehouse,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(60);
const BUCKET: &str = "landing";
/// The SDK calls three times before it gives up.
const CALLS: usize = 3;

struct Site {
    warehouse: DataApi,
    data_api: FaultProxy,
    s3_proxy: FaultProxy,
    s3: aws_sdk_s3::Client,
    _dir: TempDir,
    _stop: DropGuard,
}

fn sdk(credentials: bool) -> SdkConfig {
    let known = Credentials::new("test", "test", None, None, "test");
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    builder.set_credentials_provider(credentials.then(|| SharedCredentialsProvider::new(known)));
    builder.build()
}

fn client(endpoint_url: String, credentials: bool) -> DataApi {
    let settings = Settings { endpoint_url: Some(endpoint_url), ..Settings::default() };
    DataApi::new(sdk(credentials), settings)
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let s3_address = serve_s3(&dir, stop.clone()).await;
        let s3_proxy = FaultProxy::http(&s3_address).await;
        let data_api = FaultProxy::http(&serve_data_api(&dir, &s3_proxy, stop.clone()).await).await;
        let s3 = aws_sdk_s3::config::Builder::from(&sdk(true))
            .endpoint_url(format!("http://{s3_address}"))
            .force_path_style(true)
            .build();
        let site = Self {
            warehouse: client(data_api.url(), true),
            data_api,
            s3_proxy,
            s3: aws_sdk_s3::Client::from_conf(s3),
            _dir: dir,
            _stop: stop.drop_guard(),
        };
        let ready = async || site.warehouse.find(&target("events"), "x").await.ok();
        eventually("the stand-in answers", PATIENCE, ready).await;
        site.sql("CREATE TABLE events (id BIGINT, kind VARCHAR(8))").await;
        site
    }

    /// Runs any SQL through the one door that there is.
    async fn sql(&self, sql: &str) -> StatementStatus {
        let token = hex_of(sql);
        let submission = Submission {
            statement_name: format!("test:{token}"),
            client_token: token,
            sqls: vec![sql.to_owned()],
        };
        let id = self.warehouse.submit(&target("events"), &submission).await.unwrap();
        self.ended(&id).await
    }

    async fn ended(&self, id: &StatementId) -> StatementStatus {
        eventually("the statement ends", PATIENCE, async || {
            match self.warehouse.describe(&target("events"), id).await.unwrap() {
                StatementStatus::Running => None,
                ended => Some(ended),
            }
        })
        .await
    }

    /// Puts an object and its manifest, and gives a load of them.
    async fn load(&self, name: &str, object: &str, target: CopyTarget) -> Load {
        let bucket: BucketName = BUCKET.parse().unwrap();
        let object_key: ObjectKey = format!("objects/{name}").parse().unwrap();
        let manifest_key: ObjectKey = format!("manifests/{name}").parse().unwrap();
        let document = manifest::render(&[(bucket.clone(), object_key.clone())]);
        for (key, body) in [(&object_key, object), (&manifest_key, document.as_str())] {
            let body = body.as_bytes().to_vec().into();
            self.s3.put_object().bucket(BUCKET).key(key.to_string()).body(body).send().await.unwrap();
        }
        load(name, manifest_key, bucket, target)
    }

    /// How many rows the table has, found out by the ledger's kind of question.
    async fn count(&self) -> u64 {
        for rows in 0..100 {
            let question = format!(
                "SELECT 1 / (CASE WHEN count(*) = {rows} THEN 1 ELSE 0 END), {} FROM events",
                fresh()
            );
            if let StatementStatus::Finished { .. } = self.sql(&question).await {
                return rows;
            }
        }
        panic!("more rows than any test loads")
    }
}

/// Another number each time, so that no token repeats.
fn fresh() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn hex_of(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn target(table: &str) -> CopyTarget {
    CopyTarget {
        warehouse: Warehouse::Workgroup("local".to_owned()),
        region: "us-east-1".to_owned(),
        database: "dev".to_owned(),
        username: None,
        secret_arn: None,
        table: table.to_owned(),
        columns: None,
        options: Some("JSON 'auto'".to_owned()),
        role_arn: "arn:aws:iam::123456789012:role/copy".to_owned(),
        retry_secs: 3600,
    }
}

fn load(name: &str, manifest_key: ObjectKey, bucket: BucketName, target: CopyTarget) -> Load {
    let id = format!("{:0>8}-0000-4000-8000-000000000001", &hex_of(name)[..8]).parse().unwrap();
    Load {
        id,
        stream: StreamId(1),
        stream_name: "orders".parse().unwrap(),
        target,
        bucket,
        manifest_key,
        state: LoadState::Planned {
            attempt: 1,
            token: copy_statement::token(id, 1),
            not_before: Timestamp(0),
        },
        planned_at: Timestamp(0),
        first_submitted_at: None,
        unreachable_ms: 0,
        updated_at: Timestamp(0),
    }
}

fn next_attempt(load: &Load) -> Load {
    let attempt = load.state.attempt() + 1;
    let token = copy_statement::token(load.id, attempt);
    Load { state: LoadState::Planned { attempt, token, not_before: Timestamp(0) }, ..load.clone() }
}

fn submission(load: &Load) -> Submission {
    copy_statement::submission(load, None)
}

async fn serve_s3(dir: &TempDir, stop: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = hydrant_s3_local::Settings {
        dir: dir.path().join("s3"),
        access_key_id: "test".to_owned(),
        secret_access_key: Secret::new("test"),
        buckets: vec![BUCKET.to_owned()],
    };
    tokio::spawn(async move { hydrant_s3_local::serve(listener, settings, stop).await.unwrap() });
    address
}

async fn serve_data_api(dir: &TempDir, s3: &FaultProxy, stop: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = hydrant_redshift_local::Settings {
        database_url: Secret::new(format!("sqlite://{}", dir.path().join("warehouse.db").display())),
        database: "dev".to_owned(),
        s3: hydrant_redshift_local::S3Settings {
            endpoint_url: Some(s3.url()),
            region: Some("us-east-1".to_owned()),
            force_path_style: true,
            access_key_id: Some("test".to_owned()),
            secret_access_key: Some(Secret::new("test")),
        },
    };
    tokio::spawn(async move { hydrant_redshift_local::serve(listener, settings, stop).await.unwrap() });
    address
}

#[tokio::test]
async fn a_ledger_that_was_dropped_is_made_again_for_the_next_attempt() {
    let site = Site::new().await;
    let load = site.load("one", "{\"id\":1}", target("events")).await;
    site.warehouse.ensure_ledger(&load.target).await.unwrap();
    let dropped = site.sql(&format!("DROP TABLE {}", hydrant_redshift::ledger::table_of("events"))).await;
    assert!(matches!(dropped, StatementStatus::Finished { .. }), "{dropped:?}");
    site.warehouse.ensure_ledger(&load.target).await.expect("it was seen a moment ago");
    let id = site.warehouse.submit(&load.target, &submission(&load)).await.unwrap();
    let ended = site.ended(&id).await;
    assert!(matches!(ended, StatementStatus::Failed { already_loaded: false, .. }), "{ended:?}");

    let next = next_attempt(&load);
    site.warehouse.ensure_ledger(&next.target).await.unwrap();
    let id = site.warehouse.submit(&next.target, &submission(&next)).await.unwrap();
    assert_eq!(site.ended(&id).await, StatementStatus::Finished { rows: Some(1) });
    assert_eq!(site.count().await, 1);
}

#[tokio::test]
async fn a_load_is_committed_once_however_often_it_is_attempted() {
    let site = Site::new().await;
    let load = site.load("one", "{\"id\":1}{\"id\":2}", target("events")).await;
    site.warehouse.ensure_ledger(&load.target).await.unwrap();
    site.warehouse.ensure_ledger(&load.target).await.unwrap();
    assert!(!site.warehouse.ledger_holds(&load.target, load.id).await.unwrap());
    let id = site.warehouse.submit(&load.target, &submission(&load)).await.unwrap();
    assert_eq!(site.ended(&id).await, StatementStatus::Finished { rows: Some(2) });
    assert!(site.warehouse.ledger_holds(&load.target, load.id).await.unwrap());

    let again = site.warehouse.submit(&load.target, &submission(&load)).await.unwrap();
    assert_eq!(again, id, "the same attempt is the same statement");
    let second = site.warehouse.submit(&load.target, &submission(&next_attempt(&load))).await.unwrap();
    assert_ne!(second, id);
    let ended = site.ended(&second).await;
    assert!(matches!(ended, StatementStatus::Failed { already_loaded: true, .. }), "{ended:?}");
    assert_eq!(site.count().await, 2);
}

#[tokio::test]
async fn a_submission_whose_answers_were_lost_is_found_and_runs_once() {
    let site = Site::new().await;
    let load = site.load("lost", "{\"id\":1}", target("events")).await;
    site.warehouse.ensure_ledger(&load.target).await.unwrap();
    site.data_api.inject_matching("BatchExecuteStatement", CALLS, Fault::CutAfter);
    let lost = site.warehouse.submit(&load.target, &submission(&load)).await.unwrap_err();
    assert_eq!(lost.kind, Kind::OutcomeUnknown, "{lost}");
    site.data_api.heal();
    let name = copy_statement::statement_name(&load, 1);
    let found = site.warehouse.find(&load.target, &name).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, name);
    assert!(found[0].created_at > Timestamp(0));
    assert_eq!(site.ended(&found[0].id).await, StatementStatus::Finished { rows: Some(1) });
    assert!(site.warehouse.ledger_holds(&load.target, load.id).await.unwrap());
    assert_eq!(site.warehouse.submit(&load.target, &submission(&load)).await.unwrap(), found[0].id);
    assert_eq!(site.count().await, 1);
}

#[tokio::test]
async fn a_name_is_found_exactly_and_through_all_pages() {
    let site = Site::new().await;
    let load = site.load("named", "{}", target("events")).await;
    for at in 0..105 {
        let name = copy_statement::statement_name(&load, 1);
        let name = if at < 103 { name } else { format!("{name}more") };
        let submission = Submission {
            statement_name: name,
            client_token: format!("t{at}"),
            sqls: vec!["SELECT 1".to_owned()],
        };
        site.warehouse.submit(&load.target, &submission).await.unwrap();
    }
    let found = site.warehouse.find(&load.target, &copy_statement::statement_name(&load, 1)).await.unwrap();
    assert_eq!(found.len(), 103);
    assert!(found.is_sorted_by_key(|statement| std::cmp::Reverse(statement.created_at)));
    assert_eq!(site.warehouse.find(&load.target, "nothing").await.unwrap(), []);
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_from_what_failed() {
    let site = Site::new().await;
    let load = site.load("away", "{\"id\":1}", target("events")).await;
    let nowhere = client(format!("http://127.0.0.1:{}", free_port()), true);
    let nobody = client(site.data_api.url(), false);
    for away in [&nowhere, &nobody] {
        let errors: [Error; 4] = [
            away.submit(&load.target, &submission(&load)).await.unwrap_err(),
            away.find(&load.target, "x").await.unwrap_err(),
            away.describe(&load.target, &StatementId("x".to_owned())).await.unwrap_err(),
            away.ensure_ledger(&load.target).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(
                (error.kind, error.code.as_str()),
                (Kind::Unreachable, "Redshift.ConnectionFailed"),
                "{error}"
            );
        }
    }
    site.data_api.inject(Fault::Status(500));
    let submitted = site.warehouse.submit(&load.target, &submission(&load)).await.unwrap_err();
    assert_eq!(submitted.kind, Kind::OutcomeUnknown, "{submitted}");
    let asked = site.warehouse.find(&load.target, "x").await.unwrap_err();
    assert_ne!(asked.kind, Kind::OutcomeUnknown, "a question changes nothing: {asked}");
    site.data_api.inject(Fault::CutAfter);
    let submitted = site.warehouse.submit(&load.target, &submission(&load)).await.unwrap_err();
    assert_eq!(submitted.kind, Kind::OutcomeUnknown, "{submitted}");
    let asked = site.warehouse.find(&load.target, "x").await.unwrap_err();
    assert_eq!(asked.kind, Kind::Unreachable, "{asked}");
    site.data_api.heal();
    let mut wrong = load.target.clone();
    wrong.database = "nope".to_owned();
    let refused = site.warehouse.ensure_ledger(&wrong).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (Kind::Rejected, "Redshift.DatabaseNotFound"));
    let mut long = submission(&load);
    long.client_token = "x".repeat(65);
    assert_eq!(site.warehouse.submit(&load.target, &long).await.unwrap_err().kind, Kind::Rejected);
}

#[tokio::test]
async fn a_failed_copy_has_firehoses_code_and_leaves_no_ledger_row() {
    let site = Site::new().await;
    let with = |columns: Option<&str>, options: &str| CopyTarget {
        columns: columns.map(str::to_owned),
        options: Some(options.to_owned()),
        ..target("events")
    };
    let auto = "JSON 'auto'";
    for (name, object, target, code) in [
        ("row", "{\"id\":\"x\"}", with(None, auto), "Redshift.DataLoadFailed"),
        ("table", "{}", target("missing"), "Redshift.TableNotFound"),
        ("column", "{}", with(Some("nope"), auto), "Redshift.ColumnNotFound"),
        ("option", "{}", with(None, "FROBNICATE"), "Redshift.SyntaxError"),
        ("twice", "{}", with(None, "MANIFEST JSON 'auto'"), "Redshift.IncorrectCopyOptions"),
        ("paths", "{}", with(None, "JSON 's3://landing/nothing'"), "Redshift.MissingS3File"),
        ("hostile", "{}", target("events; DROP TABLE events; --"), "Redshift.TableNotFound"),
    ] {
        let load = site.load(name, object, target).await;
        site.warehouse.ensure_ledger(&load.target).await.unwrap();
        let id = site.warehouse.submit(&load.target, &submission(&load)).await.unwrap();
        match site.ended(&id).await {
            StatementStatus::Failed { code: found, already_loaded: false, message } => {
                assert_eq!(found, code, "{name}: {message}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert!(!site.warehouse.ledger_holds(&load.target, load.id).await.unwrap(), "{name}");
    }
    assert_eq!(site.count().await, 0, "the table is still there, and empty");
}

#[tokio::test]
async fn a_statement_that_hangs_can_be_cancelled_and_is_aborted() {
    let site = Site::new().await;
    let load = site.load("stalled", "{\"id\":1}", target("events")).await;
    site.warehouse.ensure_ledger(&load.target).await.unwrap();
    site.s3_proxy.inject(Fault::Stall);
    let id = site.warehouse.submit(&load.target, &submission(&load)).await.unwrap();
    assert_eq!(site.warehouse.describe(&load.target, &id).await.unwrap(), StatementStatus::Running);
    site.warehouse.cancel(&load.target, &id).await.unwrap();
    let ended = site.ended(&id).await;
    assert!(matches!(ended, StatementStatus::Aborted { .. }), "{ended:?}");
    site.s3_proxy.heal();
    assert!(!site.warehouse.ledger_holds(&load.target, load.id).await.unwrap());
    site.warehouse.cancel(&load.target, &id).await.unwrap();
    site.warehouse.cancel(&load.target, &StatementId("unknown".to_owned())).await.unwrap();

    let second = site.warehouse.submit(&load.target, &submission(&next_attempt(&load))).await.unwrap();
    assert_eq!(site.ended(&second).await, StatementStatus::Finished { rows: Some(1) });
    assert_eq!(site.count().await, 1);
}

#[tokio::test]
async fn a_statement_that_nobody_knows_is_gone() {
    let site = Site::new().await;
    let unknown = StatementId("3c7a7a5e-0000-4000-8000-000000000000".to_owned());
    assert_eq!(site.warehouse.describe(&target("events"), &unknown).await.unwrap(), StatementStatus::Gone);
}
