//! COPY: real objects into real tables.

use aws_sdk_redshiftdata::types::{StatementStatusString, StatusString};

use crate::site::{BUCKET, Site, gzip, on_both_engines, row};

on_both_engines! {
    a_manifest_loads_each_of_its_objects_once
    objects_that_are_missing_fail_where_they_are_mandatory
    every_format_and_option_loads_what_it_says
    values_are_what_their_columns_are
    what_does_not_fit_fails_the_copy_and_is_written_down
    errors_up_to_the_limit_are_tolerated_and_written_down
    what_cannot_be_copied_is_said_in_redshifts_words
    hydrants_transaction_loads_once
    identity_and_default_columns_fill_themselves
    names_in_quotes_are_safe
    an_object_of_any_size_is_loaded_with_little_memory
    s3_that_fails_half_way_leaves_nothing
}

async fn a_manifest_loads_each_of_its_objects_once(site: Site) {
    site.ok("CREATE TABLE events (id BIGINT, kind VARCHAR(8))").await;
    let mut members = gzip(b"{\"id\":1,\"kind\":\"a\"}\n{\"id\":2}");
    members.extend(gzip(b"{\"id\":3,\"kind\":\"c\"}"));
    let one = site.put("in/one.gz", members).await;
    let two = site.put("in/two \"quoted\" ü.gz", gzip(b"{\"id\":4,\"kind\":\"d\"}")).await;
    let empty = site.put("in/empty.gz", gzip(b"")).await;
    let manifest = site.manifest("manifests/m", &[&one, &two, &empty]).await;
    let copy = format!(
        "COPY public.events FROM '{manifest}' IAM_ROLE default MANIFEST JSON 'auto' GZIP REGION 'us-east-1'"
    );
    let done = site.ok(copy).await;
    assert_eq!(done.result_rows, 4);
    let loaded = site.rows("SELECT id, kind FROM events ORDER BY id").await;
    assert_eq!(loaded[0], row(["1", "a"]));
    assert_eq!(loaded[1], [Some("2".to_owned()), None]);
    assert_eq!(loaded[2..], [row(["3", "c"]), row(["4", "d"])]);

    let query = done.redshift_query_id;
    let commits = format!(
        "SELECT filename, lines_scanned FROM stl_load_commits WHERE query = {query} ORDER BY lines_scanned"
    );
    assert_eq!(site.rows(commits).await, [row([&empty, "0"]), row([&two, "1"]), row([&one, "3"])]);
    let history = format!(
        "SELECT table_name, data_source, status, loaded_rows, source_file_count, error_count FROM sys_load_history WHERE query_id = {query}"
    );
    assert_eq!(site.rows(history).await, [row(["public.events", &manifest, "completed", "4", "3", "0"])]);
}

async fn objects_that_are_missing_fail_where_they_are_mandatory(site: Site) {
    site.ok("CREATE TABLE events (id BIGINT)").await;
    let there = site.put("there", "{\"id\":1}").await;
    let gone = format!("s3://{BUCKET}/gone");
    let copy =
        |manifest: &str| format!("COPY events FROM '{manifest}' IAM_ROLE default MANIFEST JSON 'auto'");
    let mandatory = site.manifest("mandatory", &[&there, &gone]).await;
    let words = site.failure(copy(&mandatory)).await;
    assert!(words.starts_with("ERROR: S3ServiceException:"), "{words}");
    assert!(words.contains("Status 404,Error NoSuchKey") && words.contains(&gone), "{words}");
    assert_eq!(site.value("SELECT count(*) FROM events").await, "0");

    let optional =
        format!("{{\"entries\":[{{\"url\":\"{gone}\"}},{{\"url\":\"{there}\",\"mandatory\":false}}]}}");
    let optional = site.put("optional", optional).await;
    assert_eq!(site.ok(copy(&optional)).await.result_rows, 1);
    for (key, manifest) in [
        ("nothing", "{\"entries\":[]}".to_owned()),
        ("all-gone", format!("{{\"entries\":[{{\"url\":\"{gone}\"}}]}}")),
    ] {
        let url = site.put(key, manifest).await;
        let words = site.failure(copy(&url)).await;
        assert_eq!(words, format!("ERROR: The specified S3 prefix '{url}' does not exist"));
    }
    let words = site.failure(copy(&gone)).await;
    assert!(words.starts_with("ERROR: Problem reading manifest file - S3ServiceException:"), "{words}");
    let broken = site.put("broken", "{\"entries\":").await;
    let words = site.failure(copy(&broken)).await;
    assert!(words.starts_with("ERROR: Problem reading manifest file - s3://"), "{words}");
    let words = site.failure("COPY events FROM 's3://no-such-bucket/x' IAM_ROLE default JSON 'auto'").await;
    assert!(words.contains("Status 404,Error NoSuchBucket"), "{words}");
}

async fn every_format_and_option_loads_what_it_says(site: Site) {
    site.ok("CREATE TABLE t (id BIGINT, kind VARCHAR(8))").await;
    let paths = site.put("paths.json", "{\"jsonpaths\":[\"$.deep.id\",\"$['tags'][0]\"]}").await;
    let by_paths = format!("JSON '{paths}'");
    for (options, object, rows) in [
        (
            "JSON 'auto'",
            b"{\"id\":1,\"kind\":\"a\"}{\"id\":2,\"kind\":\"b\"}".as_slice(),
            vec![("1", "a"), ("2", "b")],
        ),
        ("JSON 'auto ignorecase'", b"{\"ID\":1,\"Kind\":\"a\"}", vec![("1", "a")]),
        (&by_paths, b"{\"deep\":{\"id\":1},\"tags\":[\"a\"]}", vec![("1", "a")]),
        ("", b"1|a\n2|b\n", vec![("1", "a"), ("2", "b")]),
        ("DELIMITER '\\t'", b"1\ta", vec![("1", "a")]),
        ("FORMAT AS CSV IGNOREHEADER 1", b"id,kind\n1,\"a,b\"\n", vec![("1", "a,b")]),
        ("CSV NULL AS 'none' EMPTYASNULL", b"1,none\n2,\n", vec![("1", "NULL"), ("2", "NULL")]),
        ("CSV BLANKSASNULL", b"1,   \n", vec![("1", "NULL")]),
        ("CSV TRUNCATECOLUMNS", "1,ääääääää\n".as_bytes(), vec![("1", "ääää")]),
        ("CSV ACCEPTINVCHARS AS '#'", b"1,a\xff\xfe\n", vec![("1", "a##")]),
        ("ESCAPE", b"1|a\\|b\n", vec![("1", "a|b")]),
        ("REMOVEQUOTES", b"1|'a'\n", vec![("1", "a")]),
        ("FILLRECORD", b"1\n", vec![("1", "")]),
        ("IGNOREBLANKLINES", b"\n1|a\n\n", vec![("1", "a")]),
        ("TRIMBLANKS", b"1|a   \n", vec![("1", "a")]),
        ("NOLOAD", b"1|a\n", vec![]),
        ("GZIP", &gzip(b"1|a\n"), vec![("1", "a")]),
    ] {
        site.ok("TRUNCATE t").await;
        let url = site.put("object", object).await;
        site.ok(format!("COPY t (id, kind) FROM '{url}' IAM_ROLE 'arn:aws:iam::1:role/r' {options}")).await;
        let loaded = site.rows("SELECT id, coalesce(kind, 'NULL') FROM t ORDER BY id").await;
        let expected: Vec<_> = rows.into_iter().map(|(id, kind)| row([id, kind])).collect();
        assert_eq!(loaded, expected, "{options}");
    }
    site.ok("TRUNCATE t").await;
    site.put("prefix/a", "1|a\n").await;
    site.put("prefix/b", "2|b\n").await;
    assert_eq!(
        site.ok(format!("COPY t (kind, id) FROM 's3://{BUCKET}/prefix/' IAM_ROLE default IGNOREHEADER 1"))
            .await
            .result_rows,
        0
    );
    assert_eq!(site.ok(format!("COPY t FROM 's3://{BUCKET}/prefix/' IAM_ROLE default")).await.result_rows, 2);
}

async fn values_are_what_their_columns_are(site: Site) {
    site.ok(
        "CREATE TABLE t (small SMALLINT, big BIGINT, price DECIMAL(20,2), ratio DOUBLE PRECISION, is_new BOOLEAN, \
         day DATE, at TIMESTAMP, kind CHAR(3))",
    )
    .await;
    let record = "{\"small\":-32768,\"big\":\"9223372036854775807\",\"price\":12345678.999,\"ratio\":1e-3,\"is_new\":true,\
                  \"day\":\"02.01.2026\",\"at\":1767323045123,\"kind\":\"abc\"}";
    let url = site.put("typed", record).await;
    site.ok(format!(
        "COPY t FROM '{url}' IAM_ROLE default JSON 'auto' DATEFORMAT 'DD.MM.YYYY' TIMEFORMAT 'epochmillisecs'"
    ))
    .await;
    let loaded = site.rows("SELECT small, big, price, ratio, is_new, day, at, kind FROM t").await;
    assert_eq!(
        loaded,
        [row([
            "-32768",
            "9223372036854775807",
            "12345678.99",
            "0.001",
            "true",
            "2026-01-02",
            "2026-01-02 03:04:05.123",
            "abc"
        ])]
    );
}

async fn what_does_not_fit_fails_the_copy_and_is_written_down(site: Site) {
    site.ok("CREATE TABLE events (id BIGINT NOT NULL, kind VARCHAR(4))").await;
    let good = site.put("good", "{\"id\":1}").await;
    for (record, column, value, code, reason) in [
        ("{\"id\":\"7x\"}", "id", "7x", "1207", "Invalid digit, Value 'x', Pos 1, Type: Long"),
        ("{\"id\":null}", "id", "", "1213", "Missing data for not-null field"),
        ("{\"id\":1,\"kind\":\"too long\"}", "kind", "too long", "1204", "String length exceeds DDL length"),
        ("not json", "", "", "1230", "Invalid value."),
    ] {
        let bad = site.put("bad", format!("{{\"id\":2}}\n{record}\n")).await;
        let manifest = site.manifest("m", &[&good, &bad]).await;
        let id = format!("COPY events FROM '{manifest}' IAM_ROLE default MANIFEST JSON 'auto'");
        let failed = site.run(id).await;
        assert_eq!(
            failed.error.as_deref(),
            Some(
                "ERROR: Load into table 'events' failed.  Check 'stl_load_errors' system table for details."
            )
        );
        assert_eq!(site.value("SELECT count(*) FROM events").await, "0", "all or nothing");
        let query = failed.redshift_query_id;
        let errors = format!(
            "SELECT filename, line_number, colname, raw_field_value, err_code, err_reason FROM stl_load_errors WHERE query = {query}"
        );
        assert_eq!(site.rows(errors).await, [row([&bad, "2", column, value, code, reason])]);
        let detail = format!(
            "SELECT file_name, column_name, error_code, error_message FROM sys_load_error_detail WHERE query_id = {query}"
        );
        assert_eq!(site.rows(detail).await, [row([&bad, column, code, reason])]);
        let history =
            format!("SELECT status, loaded_rows, error_count FROM sys_load_history WHERE query_id = {query}");
        assert_eq!(site.rows(history).await, [row(["aborted", "0", "1"])]);
    }
}

async fn errors_up_to_the_limit_are_tolerated_and_written_down(site: Site) {
    site.ok("CREATE TABLE events (id BIGINT)").await;
    let mixed: String =
        (0..1200).map(|n| if n % 400 == 0 { "bad\n".to_owned() } else { format!("{n}\n") }).collect();
    let url = site.put("mixed", mixed).await;
    let copy = |limit: &str| format!("COPY events FROM '{url}' IAM_ROLE default {limit}");
    for limit in ["", "MAXERROR 1", "MAXERROR 3"] {
        site.failure(copy(limit)).await;
        assert_eq!(site.value("SELECT count(*) FROM events").await, "0");
    }
    for limit in ["MAXERROR 4", "IGNOREALLERRORS"] {
        site.ok("TRUNCATE events").await;
        let done = site.ok(copy(limit)).await;
        assert_eq!(done.result_rows, 1197);
        assert_eq!(site.value("SELECT count(*) FROM events").await, "1197");
        let errors = format!(
            "SELECT line_number FROM stl_load_errors WHERE query = {} ORDER BY 1",
            done.redshift_query_id
        );
        assert_eq!(site.rows(errors).await, [row(["1"]), row(["401"]), row(["801"])]);
    }
}

async fn what_cannot_be_copied_is_said_in_redshifts_words(site: Site) {
    site.ok("CREATE TABLE t (id BIGINT, kind VARCHAR(8))").await;
    let url = site.put("object", "1|a\n").await;
    let paths = site.put("paths.json", "{\"jsonpaths\":[\"$.id\"]}").await;
    let wrong = site.put("wrong.json", "{\"jsonpaths\":[\"id\",\"$.kind\"]}").await;
    for (copy, words) in [
        (format!("COPY missing FROM '{url}' CSV"), "ERROR: Cannot COPY into nonexistent table missing".to_owned()),
        (format!("COPY other.t FROM '{url}' CSV"), "ERROR: Cannot COPY into nonexistent table other.t".to_owned()),
        (format!("COPY t (nope) FROM '{url}' CSV"), "ERROR: column \"nope\" of relation \"t\" does not exist".to_owned()),
        (format!("COPY t FROM '{url}' FROBNICATE"), "ERROR: syntax error at or near \"FROBNICATE\"".to_owned()),
        (format!("COPY t FROM '{url}' ZSTD"), "ERROR: COPY option ZSTD is not supported by this Redshift stand-in".to_owned()),
        (format!("COPY t FROM '{url}' MANIFEST MANIFEST"), "ERROR: conflicting or redundant options: MANIFEST is given twice".to_owned()),
        (format!("COPY t FROM '{url}' JSON '{paths}'"), "ERROR: Number of jsonpaths and the number of columns should match. JSONPath size: 1, Number of columns in table or column list: 2".to_owned()),
        (format!("COPY t FROM '{url}' JSON '{wrong}'"), "ERROR: Invalid JSONPath format: id".to_owned()),
    ] {
        assert_eq!(site.failure(&copy).await, words, "{copy}");
    }
    let words = site.failure(format!("COPY t FROM '{url}' GZIP")).await;
    assert!(words.starts_with(&format!("ERROR: Unable to read {url}")), "{words}");
}

async fn hydrants_transaction_loads_once(site: Site) {
    site.ok("CREATE TABLE events (id BIGINT)").await;
    site.ok("CREATE TABLE IF NOT EXISTS hydrant_ledger_events (load_id VARCHAR(36) NOT NULL, manifest VARCHAR(2048) NOT NULL, loaded_at TIMESTAMP NOT NULL)").await;
    let object = site.put("object", "{\"id\":1}{\"id\":2}").await;
    let manifest = site.manifest("manifest", &[&object]).await;
    let submit = async || {
        let sqls = [
            "LOCK TABLE hydrant_ledger_events".to_owned(),
            "SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM hydrant_ledger_events WHERE load_id = 'x'".to_owned(),
            format!("COPY events FROM '{manifest}' IAM_ROLE default MANIFEST JSON 'auto'"),
            "INSERT INTO hydrant_ledger_events (load_id, manifest, loaded_at) VALUES ('x', 'm', GETDATE())".to_owned(),
        ];
        let id = site.batch(sqls).send().await.unwrap().id.unwrap();
        site.ended(&id).await
    };
    let first = submit().await;
    assert_eq!(first.status, Some(StatusString::Finished), "{:?}", first.error);
    assert_eq!(first.sub_statements()[2].result_rows, 2);
    let second = submit().await;
    assert_eq!(second.error.as_deref(), Some("ERROR: Divide by zero"));
    assert_eq!(second.sub_statements()[1].status, Some(StatementStatusString::Failed));
    assert_eq!(second.sub_statements()[2].status, Some(StatementStatusString::Aborted));
    assert_eq!(site.value("SELECT count(*) FROM events").await, "2");
    assert_eq!(site.value("SELECT count(*) FROM hydrant_ledger_events").await, "1");
}

async fn identity_and_default_columns_fill_themselves(site: Site) {
    let key = if site.is_postgres { "n BIGINT GENERATED BY DEFAULT AS IDENTITY, " } else { "" };
    site.ok(format!("CREATE TABLE t ({key}id BIGINT, kind VARCHAR(8) DEFAULT 'none' NOT NULL)")).await;
    let url = site.put("object", "1\n2\n").await;
    site.ok(format!("COPY t (id) FROM '{url}' IAM_ROLE default")).await;
    assert_eq!(
        site.rows("SELECT id, kind FROM t ORDER BY id").await,
        [row(["1", "none"]), row(["2", "none"])]
    );
    let both = site.put("both", "3|c\n").await;
    site.ok(format!("COPY t FROM '{both}' IAM_ROLE default")).await;
    assert_eq!(site.value("SELECT count(*) FROM t").await, "3");
}

async fn names_in_quotes_are_safe(site: Site) {
    site.ok("CREATE TABLE \"My \"\"Table\"\"\" (\"a\"\"b\" BIGINT, victim BIGINT)").await;
    let url = site.put("object", "1|2\n").await;
    site.ok(format!("COPY \"My \"\"Table\"\"\" (\"a\"\"b\", VICTIM) FROM '{url}' IAM_ROLE default")).await;
    assert_eq!(site.rows("SELECT \"a\"\"b\", victim FROM \"My \"\"Table\"\"\"").await, [row(["1", "2"])]);
}

async fn an_object_of_any_size_is_loaded_with_little_memory(mut site: Site) {
    use std::io::Write;
    const LINES: usize = 600_000;
    site.ok("CREATE TABLE t (id BIGINT, text VARCHAR(400))").await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let text = "x".repeat(200);
    for n in 0..LINES {
        writeln!(encoder, "{{\"id\":{n},\"text\":\"{text}\"}}").unwrap();
    }
    let url = site.put("large.gz", encoder.finish().unwrap()).await;
    site.stop().await;
    site.start_process().await;
    // 130 MB, checked row by row.
    site.ok(format!("COPY t FROM '{url}' IAM_ROLE default JSON 'auto' GZIP NOLOAD")).await;
    let peak = site.process().rss_bytes_peak();
    assert!(peak < 100 * 1024 * 1024, "{peak} bytes");
}

async fn s3_that_fails_half_way_leaves_nothing(site: Site) {
    site.ok("CREATE TABLE events (id BIGINT)").await;
    let lines: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    let mut cut = gzip(lines.as_bytes());
    cut.truncate(cut.len() / 2);
    let url = site.put("cut.gz", cut).await;
    let words = site.failure(format!("COPY events FROM '{url}' IAM_ROLE default GZIP")).await;
    assert!(words.starts_with(&format!("ERROR: Unable to read {url}")), "{words}");
    assert_eq!(site.value("SELECT count(*) FROM events").await, "0");
}
