//! The tables answer people, without the program.

use crate::fixture::{Fixture, NOW, abandoned, to_redshift, uploaded};

on_both!(a_person_reads_what_happened_to_the_data, every_time_is_a_time_and_every_object_has_its_place);

async fn a_person_reads_what_happened_to_the_data(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_redshift("public.clicks")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 2).await;
    fixture.metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], NOW).await.unwrap();
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    fixture.ended(&stream, &table, &batches[..1], &abandoned(), NOW).await;
    let rows = fixture
        .rows(
            "select position_from || '..' || position_to || ' ' || records || ' records: ' || state || coalesce(' because ' || reason, '') \
             from batches where stream = 'clicks' order by position_from",
        )
        .await;
    assert_eq!(
        rows,
        ["0..10 10 records: parked because relation \"events\" does not exist", "10..20 10 records: sealed"]
    );
    let loads = fixture.rows("select table_key || ' ' || code from loads where state = 'abandoned'").await;
    assert_eq!(loads, ["us-east-1/workgroup:local/dev/clicks Redshift.TableNotFound"]);
}

async fn every_time_is_a_time_and_every_object_has_its_place(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_redshift("clicks")).await;
    let (log, lease) = fixture.log().await;
    let batch = fixture.uploaded(&stream, log, &lease, 1).await.remove(0);
    let at = if fixture.is_sqlite() {
        "sealed_at"
    } else {
        "to_char(sealed_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
    };
    assert_eq!(fixture.rows(&format!("select {at} from batches")).await, [NOW.to_string()]);
    let place = "select 's3://' || bucket || '/' || object_key from batches where cast(id as text) = ";
    let place = fixture.rows(&format!("{place}'{}'", batch.id)).await;
    assert_eq!(place, [format!("s3://demo/{}", batch.key)]);
    assert_eq!(fixture.rows("select cast(log as text) from batches").await, [log.to_string()]);
}
