//! One attempt of a load as the statements of one transaction.
//!
//! Source of COPY's form: Amazon Redshift Database Developer Guide, "COPY"; of the whole: design decision D3.

use hydrant_types::{Load, LoadId, LoadState};
use sha2::{Digest, Sha256};

use crate::{
    Submission,
    identifier::{self, TableName},
    ledger,
};

/// The Data API's ClientToken of one attempt: the same for the same attempt for ever, 64 characters.
pub fn token(load: LoadId, attempt: u32) -> String {
    hex::encode(Sha256::digest(format!("{load}:{attempt}")))
}

/// What a statement is looked up by. It ends with a full stop, since ListStatements matches prefixes: attempt 1 is not
/// attempt 10.
pub fn statement_name(load: &Load, attempt: u32) -> String {
    format!("hydrant:{}:{}:{attempt}.", load.stream_name, load.id)
}

/// The transaction of the load's present attempt. `iam_role` overrides the stream's role; `default` is the cluster's own.
pub fn submission(load: &Load, iam_role: Option<&str>) -> Submission {
    let attempt = load.state.attempt();
    let client_token = match &load.state {
        LoadState::Planned { token, .. } | LoadState::Submitted { token, .. } => token.clone(),
        LoadState::Committed { .. } | LoadState::Abandoned { .. } => token(load.id, attempt),
    };
    let table = &load.target.table;
    Submission {
        statement_name: statement_name(load, attempt),
        client_token,
        sqls: vec![
            ledger::lock(table),
            ledger::check(table, load.id),
            copy(load, iam_role),
            ledger::record(table, load.id, &manifest_url(load)),
        ],
    }
}

fn manifest_url(load: &Load) -> String {
    format!("s3://{}/{}", load.bucket, load.manifest_key)
}

/// `COPY t (c1, c2) FROM 's3://…' IAM_ROLE '…' MANIFEST <options>`. Table and columns are names, whatever is written; options are
/// SQL from whoever may create streams, up to the end of the statement.
fn copy(load: &Load, iam_role: Option<&str>) -> String {
    let target = &load.target;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let columns = given(&target.columns).map(|list| format!(" ({})", identifier::columns(&list)));
    let role = match iam_role.unwrap_or(&target.role_arn) {
        "default" => "default".to_owned(),
        role => identifier::literal(role),
    };
    let options = given(&target.options).map(|options| format!(" {}", up_to_semicolon(&options).trim()));
    format!(
        "COPY {}{} FROM {} IAM_ROLE {role} MANIFEST{}",
        TableName::parse(&target.table).sql(),
        columns.unwrap_or_default(),
        identifier::literal(&manifest_url(load)),
        options.unwrap_or_default()
    )
}

/// The text before the first semicolon outside of quotes: options do not start another statement.
fn up_to_semicolon(options: &str) -> &str {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in options.char_indices() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (Some('\''), '\\') => is_escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ';') => return &options[..at],
            _ => {}
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use hydrant_types::{CopyTarget, StreamId, Timestamp, Warehouse};

    use super::*;

    fn load() -> Load {
        Load {
            id: "6f0c1a52-0000-4000-8000-000000000001".parse().unwrap(),
            stream: StreamId(1),
            stream_name: "orders".parse().unwrap(),
            target: CopyTarget {
                warehouse: Warehouse::Workgroup("local".to_owned()),
                region: "us-east-1".to_owned(),
                database: "dev".to_owned(),
                username: None,
                secret_arn: None,
                table: "shop.events".to_owned(),
                columns: Some("id, kind".to_owned()),
                options: Some("JSON 'auto' GZIP".to_owned()),
                role_arn: "arn:aws:iam::123456789012:role/copy".to_owned(),
                retry_secs: 3600,
            },
            bucket: "landing".parse().unwrap(),
            manifest_key: "orders/manifests/2026/01/02/03/orders-x".parse().unwrap(),
            state: LoadState::Planned { attempt: 1, token: "t".to_owned(), not_before: Timestamp(0) },
            planned_at: Timestamp(0),
            first_submitted_at: None,
            unreachable_ms: 0,
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn a_submission_is_lock_check_copy_and_ledger_row() {
        let submission = submission(&load(), None);
        insta::assert_snapshot!(submission.sqls.join(";\n"), @r"
        LOCK TABLE shop.hydrant_ledger_events;
        SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM shop.hydrant_ledger_events WHERE load_id = '6f0c1a52-0000-4000-8000-000000000001';
        COPY shop.events (id, kind) FROM 's3://landing/orders/manifests/2026/01/02/03/orders-x' IAM_ROLE 'arn:aws:iam::123456789012:role/copy' MANIFEST JSON 'auto' GZIP;
        INSERT INTO shop.hydrant_ledger_events (load_id, manifest, loaded_at) VALUES ('6f0c1a52-0000-4000-8000-000000000001', 's3://landing/orders/manifests/2026/01/02/03/orders-x', GETDATE())
        ");
        assert_eq!(submission.client_token, "t");
        assert_eq!(submission.statement_name, "hydrant:orders:6f0c1a52-0000-4000-8000-000000000001:1.");
    }

    #[test]
    fn the_configured_role_overrides_the_streams() {
        assert!(copy(&load(), Some("default")).contains(" IAM_ROLE default MANIFEST "));
        assert!(copy(&load(), Some("arn:x")).contains(" IAM_ROLE 'arn:x' MANIFEST "));
    }

    #[test]
    fn copy_without_columns_and_options_has_neither() {
        let bare = |columns: Option<&str>, options: Option<&str>| {
            let mut load = load();
            load.target.columns = columns.map(str::to_owned);
            load.target.options = options.map(str::to_owned);
            copy(&load, Some("default"))
        };
        let copy = "COPY shop.events FROM 's3://landing/orders/manifests/2026/01/02/03/orders-x' IAM_ROLE default MANIFEST";
        assert_eq!(bare(None, None), copy);
        assert_eq!(bare(Some(" "), Some("")), copy);
        assert_eq!(
            bare(Some("a,\"B\""), Some(" CSV ; ")),
            copy.replace("events", "events (a, \"B\")") + " CSV"
        );
    }

    #[test]
    fn every_part_is_quoted_as_its_place_asks() {
        let mut load = load();
        load.target.table = "\"My Shop\".\"Event\"\"s\"".to_owned();
        load.target.columns = Some("id, \"Kind, of\"".to_owned());
        load.target.options =
            Some("CSV QUOTE AS '\"' DELIMITER ';' NULL AS 'it''s; \\' ;' GZIP; DROP TABLE x".to_owned());
        load.target.role_arn = "arn:aws:iam::123456789012:role/it's".to_owned();
        load.manifest_key = "it's/a \\ path/m".parse().unwrap();
        insta::assert_snapshot!(submission(&load, None).sqls.join(";\n"), @r#"
        LOCK TABLE "My Shop"."hydrant_ledger_Event""s";
        SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM "My Shop"."hydrant_ledger_Event""s" WHERE load_id = '6f0c1a52-0000-4000-8000-000000000001';
        COPY "My Shop"."Event""s" (id, "Kind, of") FROM 's3://landing/it''s/a \\ path/m' IAM_ROLE 'arn:aws:iam::123456789012:role/it''s' MANIFEST CSV QUOTE AS '"' DELIMITER ';' NULL AS 'it''s; \' ;' GZIP;
        INSERT INTO "My Shop"."hydrant_ledger_Event""s" (load_id, manifest, loaded_at) VALUES ('6f0c1a52-0000-4000-8000-000000000001', 's3://landing/it''s/a \\ path/m', GETDATE())
        "#);
    }

    #[test]
    fn hostile_names_stay_names() {
        let mut load = load();
        load.target.table = "events FROM 's3://x' CSV; DROP TABLE y; --".to_owned();
        load.target.columns = Some("id) FROM 's3://x' CSV; --".to_owned());
        insta::assert_snapshot!(submission(&load, None).sqls.join(";\n"), @r#"
        LOCK TABLE "hydrant_ledger_events FROM 's3://x' CSV; DROP TABLE y; --";
        SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM "hydrant_ledger_events FROM 's3://x' CSV; DROP TABLE y; --" WHERE load_id = '6f0c1a52-0000-4000-8000-000000000001';
        COPY "events FROM 's3://x' CSV; DROP TABLE y; --" ("id) FROM 's3://x' CSV; --") FROM 's3://landing/orders/manifests/2026/01/02/03/orders-x' IAM_ROLE 'arn:aws:iam::123456789012:role/copy' MANIFEST JSON 'auto' GZIP;
        INSERT INTO "hydrant_ledger_events FROM 's3://x' CSV; DROP TABLE y; --" (load_id, manifest, loaded_at) VALUES ('6f0c1a52-0000-4000-8000-000000000001', 's3://landing/orders/manifests/2026/01/02/03/orders-x', GETDATE())
        "#);
    }

    #[test]
    fn credentials_in_options_are_not_printed() {
        let mut load = load();
        load.target.options = Some("JSON 'auto' CREDENTIALS 'aws_secret_access_key=hidden'".to_owned());
        let submission = submission(&load, None);
        assert!(submission.sqls[2].contains("hidden"));
        let printed = format!("{submission:?}");
        assert!(printed.contains("CREDENTIALS '***'") && !printed.contains("hidden"), "{printed}");
    }

    #[test]
    fn each_attempt_has_its_own_token_and_name() {
        let load = load();
        assert_eq!(token(load.id, 1), token(load.id, 1));
        assert_ne!(token(load.id, 1), token(load.id, 2));
        assert_eq!(token(load.id, 1).len(), 64);
        assert!(!statement_name(&load, 10).starts_with(&statement_name(&load, 1)));
    }
}
