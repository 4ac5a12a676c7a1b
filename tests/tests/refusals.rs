//! What is refused at start, with the reason and what to do.

use hydrant_e2e::{PATIENCE, Site};

#[tokio::test]
async fn a_configuration_with_an_unknown_key_ends_with_64() {
    let site = Site::new().await;
    std::fs::write(site.config_path(), "[api]\nlissten = \"x\"\n").unwrap();
    let (code, text) = site.run(&["serve"]).await;
    assert_eq!(code, 64, "{text}");
    assert!(text.contains("lissten") && text.contains("line 2"), "{text}");
}

#[tokio::test]
async fn a_first_start_without_the_metastore_is_refused() {
    let site = Site::new().await;
    site.write_config();
    let config = std::fs::read_to_string(site.config_path()).unwrap();
    let nobody = format!("postgres://app@127.0.0.1:{}/nothing", hydrant_testkit::free_port());
    std::fs::write(site.config_path(), config.replace(&site.metastore_url, &nobody)).unwrap();
    let (code, text) = site.run(&["serve"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("metastore"), "{text}");
}

#[tokio::test]
async fn a_schema_that_was_not_made_is_refused_until_it_is() {
    let site = Site::new().await;
    site.write_config();
    let (code, text) = site.run(&["serve"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("hydrant migrate"), "{text}");
    let (code, text) = site.run(&["migrate"]).await;
    assert_eq!(code, 0, "{text}");
    let (code, text) = site.run(&["delivery", "list"]).await;
    assert!(code == 0 && text.contains("no deliveries"), "{text}");
}

#[tokio::test]
async fn a_wiped_log_is_refused_until_it_is_given_up() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    producer.put("orders", 0..100).await;
    site.expect_in_s3("orders/", &(0..100).collect::<Vec<_>>()).await;
    service.kill9().await;
    std::fs::remove_dir_all(site.log_dir()).unwrap();

    let (code, text) = site.run(&["serve"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("another record log") && text.contains("hydrant log reconcile --new-log"),
        "{text}"
    );
    let (code, text) = site.run(&["log", "reconcile", "--new-log"]).await;
    assert_eq!(code, 0, "{text}");
    let service = site.serve().await;
    service.producer().put("orders", 100..200).await;
    site.expect_in_s3("orders/", &(0..200).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn a_wiped_metastore_is_refused_until_its_streams_are_put_back() {
    let mut site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject(hydrant_testkit::Fault::Refuse);
    producer.put("orders", 0..100).await;
    service.kill9().await;
    site.s3_proxy.heal();

    site.metastore_url = hydrant_testkit::Postgres::shared().database().await;
    site.write_config();
    let (code, text) = site.run(&["migrate"]).await;
    assert_eq!(code, 0, "{text}");
    let (code, text) = site.run(&["serve"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("hydrant log reconcile --new-metastore"), "{text}");
    let (code, text) = site.run(&["log", "reconcile", "--new-metastore"]).await;
    assert_eq!(code, 0, "{text}");
    let service = site.serve().await;
    site.expect_in_s3("orders/", &(0..100).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn a_second_process_on_the_same_log_is_refused() {
    let site = Site::new().await;
    let service = site.serve().await;
    let other = site.start_serve();
    let status = other.process.wait(PATIENCE).await;
    assert_eq!(status.code(), Some(1));
    assert!(other.process.stderr().contains("lock"), "{}", other.process.stderr());
    service.stop().await;
}
