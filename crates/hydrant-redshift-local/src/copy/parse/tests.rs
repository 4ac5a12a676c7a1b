use super::*;

fn options(text: &str) -> CopyOptions {
    parse(&format!("COPY t FROM 's3://b/p' {text}")).unwrap().options
}

fn refused(sql: &str) -> String {
    let SqlError(said) = parse(sql).unwrap_err();
    said
}

#[test]
fn hydrants_own_copy_is_read() {
    let job = parse(
        "COPY shop.\"Events\" (id, \"Kind\") FROM 's3://b/m' IAM_ROLE 'arn:aws:iam::1:role/r' MANIFEST JSON 'auto' GZIP REGION 'us-east-1'",
    )
    .unwrap();
    assert_eq!(job.table, ["shop", "Events"]);
    assert_eq!(job.from, "s3://b/m");
    assert_eq!(job.columns, ["id", "Kind"]);
    assert!(job.options.manifest && job.options.gzip);
    assert_eq!(job.options.region.as_deref(), Some("us-east-1"));
    assert_eq!(job.options.format, Format::JsonAuto { ignore_case: false });
}

#[test]
fn names_without_quotes_are_lower_case_and_quotes_within_names_stay() {
    let job = parse("copy Public . \"My \"\"Table\"\".x\" (ID) from 's3://b/p'").unwrap();
    assert_eq!(job.table, ["public", "My \"Table\".x"]);
    assert_eq!(job.columns, ["id"]);
}

#[test]
fn every_format_is_read_with_and_without_format_as() {
    let auto = Format::JsonAuto { ignore_case: false };
    for (text, format) in [
        ("", Format::Delimited),
        ("JSON", auto.clone()),
        ("JSON 'auto'", auto.clone()),
        ("FORMAT AS JSON 'auto'", auto.clone()),
        ("format json as 'auto'", auto),
        ("JSON 'auto ignorecase'", Format::JsonAuto { ignore_case: true }),
        ("JSON 's3://b/paths.json'", Format::JsonPaths("s3://b/paths.json".to_owned())),
        ("CSV", Format::Csv { quote: b'"' }),
        ("FORMAT CSV QUOTE AS '%'", Format::Csv { quote: b'%' }),
        ("CSV QUOTE '''' DELIMITER ';'", Format::Csv { quote: b'\'' }),
    ] {
        assert_eq!(options(text).format, format, "{text}");
    }
}

#[test]
fn every_option_with_a_value_is_read() {
    for (text, delimiter) in [
        ("DELIMITER ','", b','),
        ("DELIMITER AS '\\t'", b'\t'),
        ("DELIMITER '\\001'", 1),
        ("DELIMITER ''''", b'\''),
    ] {
        assert_eq!(options(text).delimiter, Some(delimiter), "{text}");
    }
    for (text, null) in [
        ("NULL AS 'nil'", "nil"),
        ("NULL ''", ""),
        ("NULL AS '\\N'", "\\N"),
        ("NULL AS '\\\\N'", "\\N"),
        ("NULL AS '\\000'", "\0"),
    ] {
        assert_eq!(options(text).null_as.as_deref(), Some(null), "{text}");
    }
    assert_eq!((options("IGNOREHEADER 2").ignore_header, options("IGNOREHEADER AS 3").ignore_header), (2, 3));
    for (text, errors) in [("", 0), ("MAXERROR 0", 0), ("MAXERROR AS 10", 9), ("IGNOREALLERRORS", u64::MAX)] {
        assert_eq!(options(text).max_error, errors, "{text}");
    }
    for (text, replacement) in
        [("ACCEPTINVCHARS", '?'), ("ACCEPTINVCHARS AS '^'", '^'), ("ACCEPTINVCHARS '_'", '_')]
    {
        assert_eq!(options(text).accept_inv_chars, Some(replacement), "{text}");
    }
    for (text, format) in [
        ("", TimeFormat::Default),
        ("TIMEFORMAT 'auto'", TimeFormat::Auto),
        ("TIMEFORMAT AS 'epochsecs'", TimeFormat::EpochSeconds),
        ("TIMEFORMAT 'EPOCHMILLISECS'", TimeFormat::EpochMilliseconds),
        ("TIMEFORMAT 'MM/DD/YYYY HH24:MI:SS'", TimeFormat::Pattern("%m/%d/%Y %H:%M:%S%.f".to_owned())),
    ] {
        assert_eq!(options(text).time_format, format, "{text}");
    }
    for (text, format) in [
        ("", TimeFormat::Default),
        ("DATEFORMAT", TimeFormat::Default),
        ("DATEFORMAT AS 'auto'", TimeFormat::Auto),
        ("DATEFORMAT 'DD.MM.YYYY'", TimeFormat::Pattern("%d.%m.%Y".to_owned())),
    ] {
        assert_eq!(options(text).date_format, format, "{text}");
    }
}

#[test]
fn every_switch_is_read() {
    let all = options(
        "MANIFEST GZIP BLANKSASNULL EMPTYASNULL TRUNCATECOLUMNS TRIMBLANKS FILLRECORD IGNOREBLANKLINES ESCAPE \
         ACCEPTANYDATE ROUNDEC EXPLICIT_IDS NOLOAD COMPUPDATE OFF STATUPDATE ON COMPROWS 1000 ENCODING UTF8",
    );
    assert!(all.manifest && all.gzip && all.blanks_as_null && all.empty_as_null && all.truncate_columns);
    assert!(
        all.trim_blanks && all.fill_record && all.ignore_blank_lines && all.escape && all.accept_any_date
    );
    assert!(all.round_decimals && all.explicit_ids && all.no_load);
    assert!(options("REMOVEQUOTES").remove_quotes);
    assert_eq!(options("COMPUPDATE PRESET STATUPDATE"), options(""));
}

#[test]
fn every_way_to_give_credentials_is_accepted() {
    for text in [
        "IAM_ROLE default",
        "IAM_ROLE 'arn:aws:iam::1:role/r'",
        "CREDENTIALS 'aws_iam_role=arn:aws:iam::1:role/r'",
        "WITH CREDENTIALS AS 'aws_access_key_id=a;aws_secret_access_key=b'",
        "ACCESS_KEY_ID 'a' SECRET_ACCESS_KEY AS 'b' SESSION_TOKEN 'c'",
    ] {
        assert_eq!(options(text), options(""), "{text}");
    }
}

#[test]
fn what_it_does_not_know_is_refused_by_name() {
    for (sql, words) in [
        ("COPY t FROM 's3://b/p' FROBNICATE", "near \"FROBNICATE\""),
        ("COPY t FROM 's3://b/p' PARQUET", "PARQUET is not supported"),
        ("COPY t FROM 's3://b/p' FORMAT AS ORC", "ORC is not supported"),
        ("COPY t FROM 's3://b/p' ZSTD", "ZSTD is not supported"),
        ("COPY t FROM 's3://b/p' ENCODING UTF16", "ENCODING UTF16 is not supported"),
        ("COPY t FROM 's3://b/p' JSON 'noshred'", "JSON 'noshred' is not supported"),
        ("COPY t FROM 's3://b/p' JSON 'auto' DELIMITER ','", "not compatible with DELIMITER"),
        ("COPY t FROM 's3://b/p' CSV ESCAPE", "not compatible with ESCAPE"),
        ("COPY t FROM 's3://b/p' GZIP GZIP", "conflicting or redundant options: GZIP"),
        ("COPY t FROM 's3://b/p' IAM_ROLE default CREDENTIALS 'x'", "conflicting or redundant options"),
        ("COPY t FROM 's3://b/p' DELIMITER ', '", "single ASCII character"),
        ("COPY t FROM 's3://b/p' DELIMITER 'ä'", "single ASCII character"),
        ("COPY t FROM 's3://b/p' MAXERROR 100001", "out of range"),
        ("COPY t FROM 's3://b/p' MAXERROR -1", "near \"-\""),
        ("COPY t FROM 's3://b/p' FORMAT", "at end of input"),
        ("COPY t (a, a) FROM 's3://b/p'", "more than once"),
        ("COPY t (a FROM 's3://b/p'", "near \"FROM\""),
        ("COPY t FROM 'dynamodb://x'", "s3:// path"),
        ("COPY t FROM", "at end of input"),
        ("COPY t FROM 's3://b/p", "unterminated"),
        ("COPY \"t FROM 's3://b/p'", "unterminated"),
    ] {
        let said = refused(sql);
        assert!(said.contains(words), "{sql}: {said}");
    }
}

#[test]
fn errors_do_not_show_what_may_be_a_secret() {
    let said = refused("COPY t FROM 's3://b/p' ACCESS_KEY_ID 'a' 'the secret'");
    assert!(said.contains("syntax error") && !said.contains("the secret"), "{said}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,80}", options in "[A-Z_ '\"(),\\\\0-9]{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("COPY t FROM 's3://b/p' {options}"));
    }
}
