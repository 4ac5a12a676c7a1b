use std::net::Ipv4Addr;

use aws_credential_types::Credentials;
use hydrant_delivery::encoder::{Encoder, Encoding};
use hydrant_types::{BatchId, Compression, Secret};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;

const BUCKET: &str = "landing";
const SHORT: Patience = Patience { arrival: Duration::ZERO, settle: Duration::ZERO };

/// The embedded S3 server, and a client for it.
struct Site {
    client: aws_sdk_s3::Client,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        aws::install_tls_provider();
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
        let settings = hydrant_s3_local::Settings {
            dir: dir.path().join("s3"),
            access_key_id: "test".to_owned(),
            secret_access_key: Secret::new("test".to_owned()),
            buckets: vec![BUCKET.to_owned()],
        };
        let stop = CancellationToken::new();
        tokio::spawn(hydrant_s3_local::serve(listener, settings, stop.clone()));
        let credentials = Credentials::new("test", "test", None, None, "test");
        let sdk = aws::sdk_config(Some("us-east-1"), Some(credentials)).await;
        let settings =
            config::S3 { endpoint_url: Some(endpoint_url), force_path_style: true, ..config::S3::default() };
        Self { client: aws::s3_client(&sdk, &settings), _stop: stop.drop_guard(), _dir: dir }
    }

    fn below(&self, prefix: &str) -> Objects {
        Objects { client: self.client.clone(), bucket: BUCKET.to_owned(), prefix: prefix.to_owned() }
    }

    async fn put(&self, key: &str, records: &[String]) {
        put(&self.client, key, records).await;
    }
}

async fn put(client: &aws_sdk_s3::Client, key: &str, records: &[String]) {
    let body = records.concat().into_bytes().into();
    client.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
}

/// Records as a run writes them.
fn records(run: &Run, numbers: Range<u64>) -> Vec<String> {
    numbers.map(|n| format!("{{\"n\": {n},\"run\":\"{}\",\"text\":\"\"}}\n", run.id())).collect()
}

#[tokio::test]
async fn two_runs_on_one_prefix_are_not_confused() {
    let site = Site::start().await;
    let (before, now) = (Run::random(), Run::random());
    let acknowledged = Acknowledged::new(vec![now.numbers(0, 10)]);
    // An earlier run that has the very numbers of this one, and twice at that.
    for key in ["orders/a", "orders/b"] {
        site.put(key, &records(&before, now.numbers(0, 10))).await;
    }
    let accounts = site.below("orders/").verify(&now, &acknowledged, SHORT).await.unwrap();
    assert_eq!(accounts, Accounts { found: 0, lost: 10, duplicated: 0 });

    site.put("orders/c", &records(&now, now.numbers(0, 10))).await;
    let accounts = site.below("orders/").verify(&now, &acknowledged, SHORT).await.unwrap();
    assert_eq!(accounts, Accounts { found: 10, lost: 0, duplicated: 0 });
}

#[tokio::test]
async fn below_a_wrong_prefix_everything_is_lost() {
    let site = Site::start().await;
    let run = Run::random();
    site.put("orders/a", &records(&run, run.numbers(0, 3))).await;
    let acknowledged = Acknowledged::new(vec![run.numbers(0, 3)]);
    let accounts = site.below("invoices/").verify(&run, &acknowledged, SHORT).await.unwrap();
    assert_eq!(accounts, Accounts { found: 0, lost: 3, duplicated: 0 });
}

#[tokio::test]
async fn a_duplicate_that_arrives_while_it_settles_is_counted() {
    let site = Site::start().await;
    let run = Run::random();
    let all = records(&run, run.numbers(0, 3));
    site.put("orders/a", &all).await;
    let (client, again) = (site.client.clone(), all[1..2].to_vec());
    let later = tokio::spawn(async move {
        tokio::time::sleep(POLL).await;
        put(&client, "orders/b", &again).await;
    });
    let acknowledged = Acknowledged::new(vec![run.numbers(0, 3)]);
    let patience = Patience { settle: POLL * 4, ..SHORT };
    let accounts = site.below("orders/").verify(&run, &acknowledged, patience).await.unwrap();
    later.await.unwrap();
    assert_eq!(accounts, Accounts { found: 3, lost: 0, duplicated: 1 });
}

#[tokio::test]
async fn a_record_that_was_not_acknowledged_may_be_there_or_not() {
    let site = Site::start().await;
    let run = Run::random();
    let first = run.numbers(0, 1).start;
    site.put("orders/a", &records(&run, first..first + 3)).await;
    let acknowledged = Acknowledged::new(vec![first..first + 1, first + 2..first + 3]);
    let accounts = site.below("").verify(&run, &acknowledged, SHORT).await.unwrap();
    assert_eq!(accounts, Accounts { found: 2, lost: 0, duplicated: 0 });
}

#[tokio::test]
async fn records_are_found_in_objects_of_every_format() {
    let site = Site::start().await;
    let run = Run::random();
    let first = run.numbers(0, 1).start;
    let compressions = Compression::ALL;
    let ranges = (first..).step_by(10).map(|begin| begin..begin + 10);
    for (compression, numbers) in compressions.into_iter().zip(ranges) {
        let mut encoder = Encoder::new(Encoding::of(compression));
        encoder.write(records(&run, numbers).concat().as_bytes());
        let body = encoder.finish(BatchId(uuid::Uuid::new_v4())).bytes;
        let key = format!("orders/{}{}", compression.as_api(), compression.extension());
        site.client.put_object().bucket(BUCKET).key(key).body(body.into()).send().await.unwrap();
    }
    let all = compressions.len() as u64 * 10;
    let acknowledged = Acknowledged::new(vec![run.numbers(0, all)]);
    let accounts = site.below("orders/").verify(&run, &acknowledged, SHORT).await.unwrap();
    assert_eq!(accounts, Accounts { found: all, lost: 0, duplicated: 0 });
}

#[test]
fn pieces_are_joined_and_gaps_stay() {
    let acknowledged = Acknowledged::new(vec![10..12, 0..5, 7..7, 5..7]);
    assert_eq!(acknowledged, Acknowledged { ranges: vec![0..7, 10..12] });
    assert_eq!(acknowledged.records(), 9);
    let contained: Vec<u64> = (0..20).filter(|number| acknowledged.contains(*number)).collect();
    assert_eq!(contained, [0, 1, 2, 3, 4, 5, 6, 10, 11]);
}

#[tokio::test]
async fn rows_of_a_table_are_accounted_for_by_number() {
    aws::install_tls_provider();
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
    let settings = hydrant_redshift_local::Settings {
        database_url: Secret::new(format!("sqlite://{}", dir.path().join("warehouse.db").display())),
        database: "dev".to_owned(),
        s3: hydrant_redshift_local::S3Settings {
            endpoint_url: None,
            region: None,
            force_path_style: false,
            access_key_id: None,
            secret_access_key: None,
        },
    };
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(hydrant_redshift_local::serve(listener, settings, stop));
    for sql in [
        "CREATE TABLE load (n BIGINT, run VARCHAR(12))",
        "INSERT INTO load VALUES (1, 'a'), (2, 'a'), (2, 'a'), (4, 'a'), (9, 'b'), (9, 'b')",
    ] {
        warehouse_query::run(&endpoint_url, "local", "dev", sql).await.unwrap();
    }
    let table = Table::new("load", &endpoint_url, "local", "dev").unwrap();
    let acknowledged = Acknowledged::new(vec![1..4, 4..5, 6..7]);
    let accounts = table.verify(&acknowledged, SHORT).await.unwrap();
    assert_eq!(accounts, Accounts { found: 3, lost: 2, duplicated: 1 });
}

#[test]
fn what_is_no_tables_name_is_refused() {
    assert!(Table::new("public.\"Load\"", "http://x", "w", "d").is_ok());
    for name in ["", "load; DROP TABLE load", "load WHERE 1=1"] {
        assert!(Table::new(name, "http://x", "w", "d").is_err(), "{name}");
    }
}
