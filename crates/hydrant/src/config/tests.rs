use std::{collections::BTreeSet, num::NonZeroU32};

use super::*;

const LEAST: &str = "[auth]\nmode = \"none\"\n[metastore]\nurl = \"sqlite:///tmp/h.db\"\n";

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn read(text: &str, pairs: &[(&str, &str)]) -> Result<Config, Faults> {
    let (config, faults) = Config::parse(text, "hydrant.toml", &environment(pairs))?;
    faults.into_result(config)
}

fn faults(text: &str, pairs: &[(&str, &str)]) -> String {
    read(text, pairs).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = read(LEAST, &[]).unwrap();
    assert_eq!(config.api.listen.to_string(), "0.0.0.0:4573");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:4574");
    assert_eq!(config.api.account_id, "000000000000");
    assert_eq!(config.log.bytes_max, ByteSize::gib(50));
    assert_eq!(config.log.free_min, ByteSize::gib(1));
    assert_eq!(config.delivery.gzip_level, 6);
    assert_eq!(config.delivery.copy_retry, Duration::from_secs(300));
    assert_eq!(config.delivery.interval_max, None);
}

#[test]
fn the_environment_overrides_the_file() {
    let pairs = [
        ("HYDRANT_API__LISTEN", "127.0.0.1:1"),
        ("HYDRANT_API__ACCOUNT_ID", "123456789012"),
        ("HYDRANT_DELIVERY__GZIP_LEVEL", "1"),
        ("HYDRANT_S3__FORCE_PATH_STYLE", "true"),
        ("HYDRANT_S3__ASSUME_ROLES", "true"),
        ("HYDRANT_S3__STS_ENDPOINT_URL", "http://127.0.0.1:9000"),
        ("HYDRANT_LOG", "debug"),
    ];
    let config = read(LEAST, &pairs).unwrap();
    assert_eq!(config.api.listen.port(), 1);
    assert_eq!(config.api.account_id, "123456789012");
    assert_eq!(config.delivery.gzip_level, 1);
    assert!(config.s3.force_path_style);
    assert!(config.s3.assume_roles);
    assert_eq!(config.s3.sts_endpoint_url.as_deref(), Some("http://127.0.0.1:9000"));
}

#[test]
fn a_variable_that_is_no_text_is_a_fault_and_not_passed_over() {
    for variable in ["HYDRANT_AUTH__MODE", "HYDRANT_LOG__DIR"] {
        let text = faults(LEAST, &[(variable, "sigv4\u{fffd}")]);
        assert!(text.contains(&format!("{variable}: is not UTF-8")) && !text.contains("sigv4"), "{text}");
    }
    let text =
        faults(&format!("{LEAST}[admin]\ntoken = {{ env = \"TOKEN\" }}\n"), &[("TOKEN", "ZZ\u{fffd}")]);
    assert!(text.contains("TOKEN is not UTF-8") && !text.contains("ZZ"), "{text}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let text = faults(&format!("{LEAST}[api]\nlissten = \"x\"\n"), &[]);
    assert!(text.contains("line 6") && text.contains("lissten") && text.contains("listen"), "{text}");
    let text = faults(LEAST, &[("HYDRANT_API__LISSTEN", "x")]);
    assert!(text.contains("lissten"), "{text}");
}

#[test]
fn all_faults_are_reported_at_once() {
    let text = faults(
        "[api]\nlisten = \"here\"\naccount_id = \"1\"\n[log]\nbytes_max = \"lots\"\n[delivery]\ngzip_level = 12\ncopy_retry = \"soon\"\n",
        &[],
    );
    for place in [
        "hydrant.toml: line 2: api.listen",
        "hydrant.toml: line 3: api.account_id",
        "hydrant.toml: line 5: log.bytes_max",
        "hydrant.toml: line 7: delivery.gzip_level",
        "hydrant.toml: line 8: delivery.copy_retry",
        "auth.keys",
        "metastore.url",
    ] {
        assert!(text.contains(&format!("\n  {place}: ")), "{place} in {text}");
    }
    let text = faults(LEAST, &[("HYDRANT_API__LISTEN", "here")]);
    assert!(text.contains("\n  HYDRANT_API__LISTEN: api.listen: "), "{text}");
}

const URL: &str = "[metastore]\nurl = \"sqlite:///tmp/h.db\"\n";
const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

#[test]
fn signatures_are_verified_unless_it_is_written_out_that_they_are_not() {
    for mode in ["", "[auth]\nmode = \"sigv4\"\n"] {
        let text = faults(&format!("{URL}{mode}"), &[]);
        assert!(text.contains("auth.keys: no access key") && text.contains("auth.mode = \"none\""), "{text}");
    }
    let text = faults(&format!("{URL}[auth]\nmode = \"iam\"\n"), &[]);
    assert!(text.contains("line 4: auth.mode: \"iam\": expected \"sigv4\" or \"none\""), "{text}");
    let key = "[[auth.keys]]\naccess_key_id = \"a\"\nsecret_access_key = \"hunter2\"\n";
    let text = faults(&format!("{LEAST}{key}"), &[]);
    assert!(text.contains("auth.keys: nobody is asked for them") && !text.contains("hunter2"), "{text}");
}

#[test]
fn an_access_key_allows_everything_unless_it_says_what() {
    let text = format!(
        "{URL}[[auth.keys]]\naccess_key_id = \"a\"\nsecret_access_key = {{ env = \"S\" }}\n\
         [[auth.keys]]\naccess_key_id = \"b\"\nsecret_access_key = \"hunter2\"\nactions = [\"firehose:Put*\"]\n\
         streams = [\"orders-*\"]\ncalls_per_sec = 5\n"
    );
    let config = read(&text, &[("S", "from-the-environment")]).unwrap();
    assert!(!shown(&config).contains("hunter2") && !shown(&config).contains("from-the-environment"));
    let Auth::Keys(keys) = config.auth else { panic!("there are keys") };
    assert_eq!(keys[0].secret.reveal(), "from-the-environment");
    assert_eq!(
        (&keys[0].actions[..], &keys[0].streams[..]),
        (&["firehose:*".to_owned()][..], &["*".to_owned()][..])
    );
    assert_eq!(keys[0].calls_per_sec, None);
    assert_eq!((&keys[1].actions[0][..], &keys[1].streams[0][..]), ("firehose:Put*", "orders-*"));
    assert_eq!(keys[1].calls_per_sec.map(NonZeroU32::get), Some(5));
}

#[test]
fn faults_of_access_keys_name_the_key_and_no_secret() {
    let with = |lines: &str| faults(&format!("{URL}[[auth.keys]]\n{lines}\n"), &[]);
    let secret = "secret_access_key = \"hunter2\"\n";
    for (lines, fault) in [
        (secret.to_owned(), "line 3: auth.keys[0].access_key_id: missing"),
        ("access_key_id = \"a\"".to_owned(), "line 3: auth.keys[0].secret_access_key: missing"),
        (
            "access_key_id = \"a\"\nsecret_access_key = { env = \"NOT_SET\" }".to_owned(),
            "line 5: auth.keys[0].secret_access_key: the environment variable NOT_SET is not set",
        ),
        (format!("access_key_id = \"a\"\n{secret}calls_per_sec = 0"), "line 6: auth.keys[0].calls_per_sec: "),
        (
            format!("access_key_id = \"a\"\n{secret}actions = [\"s3:Get\"]"),
            "line 3: auth.keys[0]: access key \"a\"",
        ),
        (format!("access_key_id = \"a\"\n{secret}streams = []"), "line 3: auth.keys[0]: access key \"a\""),
        (format!("access_key_id = \"\"\n{secret}"), "line 3: auth.keys[0]: access key number 1"),
        (
            format!("access_key_id = \"a\"\n{secret}[[auth.keys]]\naccess_key_id = \"b c\"\n{secret}"),
            "line 6: auth.keys[1]: access key number 2",
        ),
        (
            format!("access_key_id = \"a\"\n{secret}[[auth.keys]]\naccess_key_id = \"a\"\n{secret}"),
            "line 6: auth.keys[1]: access key \"a\" is there twice",
        ),
    ] {
        let text = with(&lines);
        assert!(text.contains(fault), "{fault} in {text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.lines().count(), 2, "one fault, said once: {text}");
    }
}

const ARN: &str = "arn:aws:kms:us-east-1:000000000000:key/a";

#[test]
fn encryption_keys_are_32_bytes_under_a_name_and_elsewhere_than_here() {
    let keys = |keys: &[(&str, &str)]| -> String {
        keys.iter().map(|(arn, key)| format!("[[encryption.keys]]\narn = \"{arn}\"\nkey = {key}\n")).collect()
    };
    let with = |default: &str, given: &[(&str, &str)]| {
        format!("{LEAST}[encryption]\ndefault = \"{default}\"\n{}", keys(given))
    };
    let environment = [("GOOD", ENCRYPTION_KEY), ("NO_BASE64", "hunter2hunter2"), ("SHORT", "aHVudGVyMg==")];
    let good = "{ env = \"GOOD\" }";
    let config = read(&with(ARN, &[(ARN, good)]), &environment).unwrap();
    assert!(!config.encryption.is_empty() && !shown(&config).contains(ENCRYPTION_KEY));
    assert!(read(LEAST, &[]).unwrap().encryption.is_empty());
    let other = ARN.replace("/a", "/b");
    let inline = format!("\"{ENCRYPTION_KEY}\"");
    for (text, expected) in [
        (
            with(&other, &[(ARN, good)]),
            vec![format!("line 6: encryption.default: the default key {other} is not configured")],
        ),
        (
            with(ARN, &[(ARN, "{ env = \"NO_BASE64\" }"), (&other, "{ env = \"SHORT\" }"), ("arn:a", good)]),
            vec![
                format!("line 7: encryption.keys[0]: the key {ARN} is not in base64"),
                format!("line 10: encryption.keys[1]: the key {other} has 7 bytes, and must have 32"),
                "line 13: encryption.keys[2]: \"arn:a\" cannot name a key".to_owned(),
            ],
        ),
        (
            with(ARN, &[(ARN, good), (ARN, good)]),
            vec![format!("line 10: encryption.keys[1]: the key {ARN} is configured twice")],
        ),
        (
            with(ARN, &[(ARN, "{ env = \"NOT_SET\" }")]),
            vec!["encryption.keys[0].key: the environment variable NOT_SET is not set".to_owned()],
        ),
        (
            format!("{LEAST}{}[[encryption.keys]]\narn = \"{other}\"\n", keys(&[(ARN, &inline)])),
            vec![
                "line 5: encryption.keys[0]: expected arn, and key as { file".to_owned(),
                "line 8: encryption.keys[1]: expected arn, and key as { file".to_owned(),
            ],
        ),
    ] {
        let text = faults(&text, &environment);
        for fault in &expected {
            assert!(text.contains(fault), "{fault} in {text}");
        }
        assert_eq!(text.lines().count(), 1 + expected.len(), "{text}");
        assert!(!text.contains("hunter2") && !text.contains(ENCRYPTION_KEY), "{text}");
    }
}

#[test]
fn files_that_the_configuration_names_are_read_with_it_and_their_faults_come_with_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hydrant.toml");
    std::fs::write(dir.path().join("s.json"), "{\n\"DeliveryStreamName\": 5\n}").unwrap();
    let text = format!(
        "{LEAST}[api]\nregion = \"\"\n[api.tls]\ncert = \"/nowhere/tls.crt\"\nkey = \"/nowhere/tls.key\"\n[streams]\ndir = {:?}\n",
        dir.path()
    );
    std::fs::write(&path, &text).unwrap();
    let of_files = [
        "hydrant.toml: line 7: api.tls: /nowhere/tls.crt: cannot be read",
        "s.json: line 2: DeliveryStreamName: ",
    ];
    let told = |first: &str| {
        let told = Config::load_with_files(Some(&path), &Environment::new(), None).unwrap_err().to_string();
        for fault in of_files.into_iter().chain([first]) {
            assert!(told.contains(fault), "{fault} in {told}");
        }
    };
    told("line 6: api.region: ");
    // Also where it is no configuration itself.
    for (wrong, fault) in
        [("lissten = 1", "line 6, column 1: unknown"), ("listen = 1", "line 6, column 10: ")]
    {
        std::fs::write(&path, text.replace("region = \"\"", wrong)).unwrap();
        told(fault);
    }
    let text = faults(&format!("{LEAST}[api.tls]\ncert = \"/nowhere/tls.crt\"\n"), &[]);
    assert!(text.contains("line 5: api.tls: expected cert and key"), "{text}");
}

#[test]
fn an_admin_listener_that_other_machines_reach_needs_a_token() {
    let admin = |lines: &str| format!("{LEAST}[admin]\n{lines}");
    for listen in ["0.0.0.0:4574", "[::]:4574", "10.0.0.1:4574"] {
        let text = faults(&admin(&format!("listen = \"{listen}\"")), &[]);
        assert!(text.contains("admin.listen: ") && text.contains("admin.token"), "{text}");
        let config = read(
            &admin(&format!("listen = \"{listen}\"\ntoken = {{ env = \"TOKEN\" }}")),
            &[("TOKEN", "0123456789abcdef")],
        )
        .unwrap();
        assert_eq!(config.admin.token.as_ref().map(Secret::reveal), Some("0123456789abcdef"));
        assert!(!shown(&config).contains("0123456789abcdef"));
    }
    for listen in ["127.0.0.1:4574", "[::1]:4574", "127.8.8.8:4574"] {
        read(&admin(&format!("listen = \"{listen}\"")), &[]).unwrap();
    }
    for bad in ["", "short", "a token with spaces in", "0123456789abcdef\\n", "ätokenmitumlaut0123"] {
        let text = faults(&admin(&format!("token = \"{bad}\"")), &[]);
        assert!(text.contains("admin.token: expected"), "{text}");
        assert!(bad.is_empty() || !text.contains(bad), "{text}");
    }
    let text = faults(&admin("listen = \"0.0.0.0:1\"\ntoken = { env = \"NOT_SET\" }"), &[]);
    assert!(text.contains("admin.token: the environment variable NOT_SET is not set"), "{text}");
    assert!(!text.contains("admin.listen"), "one fault, not two: {text}");
    let pairs = [("HYDRANT_ADMIN__LISTEN", "0.0.0.0:1"), ("HYDRANT_ADMIN__TOKEN", "0123456789abcdef")];
    assert!(read(LEAST, &pairs).unwrap().admin.token.is_some());
}

#[test]
fn a_secret_comes_from_a_file_and_is_trimmed_and_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    std::fs::write(&path, "postgres://u:hunter2@h/db\n").unwrap();
    let text = format!(
        "[auth]\nmode = \"none\"\n[metastore]\nurl = {{ file = {:?} }}\n",
        path.display().to_string()
    );
    let config = read(&text, &[]).unwrap();
    assert_eq!(config.metastore.url.reveal(), "postgres://u:hunter2@h/db");
    assert!(!format!("{config:?}").contains("hunter2"));
    let text = "[auth]\nmode = \"none\"\n[metastore]\nurl = { env = \"NOT_SET\" }\n";
    assert!(faults(text, &[]).contains("metastore.url: the environment variable NOT_SET is not set"));
}

/// The reference: every key, those without a default as comments `# key = value`.
fn reference() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/hydrant.toml")).unwrap()
}

/// What the reference takes from the environment.
const SECRETS: [(&str, &str); 4] = [
    ("HYDRANT_METASTORE_URL", "sqlite:///tmp/h.db"),
    ("HYDRANT_ADMIN_TOKEN", "0123456789abcdef"),
    ("HYDRANT_SECRET_ACCESS_KEY", "secret"),
    ("HYDRANT_ENCRYPTION_KEY", ENCRYPTION_KEY),
];

/// What a configuration without a line of its own runs with.
fn shown(config: &Config) -> String {
    format!("{config:#?}")
}

#[test]
fn the_reference_shows_the_defaults() {
    let least =
        format!("{URL}[[auth.keys]]\naccess_key_id = \"HYDRANTPRODUCER\"\nsecret_access_key = \"secret\"\n");
    assert_eq!(shown(&read(&reference(), &SECRETS).unwrap()), shown(&read(&least, &[]).unwrap()));
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let all: String = reference()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(table) if table.starts_with("[[") => table,
            Some(setting) if setting.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => setting,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    read(&all, &SECRETS).unwrap();
    let all: toml::Table = toml::from_str(&all).unwrap();
    let mut keys = BTreeSet::new();
    for (section, table) in &all {
        add_keys(section, table.as_table().unwrap(), &mut keys);
    }
    // What is accepted, as the refusal of an unknown key lists it.
    let mut accepted = BTreeSet::new();
    for section in listed(&faults("[nothing]\n", &[])) {
        let problem = faults(&format!("[{section}]\nnothing = 1\n"), &[]);
        accepted.extend(listed(&problem).into_iter().map(|key| format!("{section}.{key}")));
    }
    for (table, header) in TABLES {
        assert!(accepted.contains(table), "{table}");
        let problem = faults(&format!("{header}\nnothing = 1\n"), &[]);
        accepted.extend(listed(&problem).into_iter().map(|key| format!("{table}.{key}")));
    }
    assert_eq!(keys, accepted);
}

/// Keys that have keys themselves. (A secret's `env` and `file` are ways to give one value.)
const TABLES: [(&str, &str); 3] =
    [("api.tls", "[api.tls]"), ("auth.keys", "[[auth.keys]]"), ("encryption.keys", "[[encryption.keys]]")];

fn add_keys(name: &str, table: &toml::Table, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        let name = format!("{name}.{key}");
        if TABLES.iter().any(|(table, _)| *table == name) {
            let value = value.as_array().map_or(value, |array| &array[0]);
            add_keys(&name, value.as_table().unwrap(), keys);
        }
        keys.insert(name);
    }
}

/// The names in the refusal of an unknown one: "unknown field `x`, expected one of `a`, `b`", or "expected `a` or `b`".
fn listed(refusals: &str) -> Vec<String> {
    let refusal = refusals.lines().find(|line| line.contains("unknown field"));
    let expected = refusal.and_then(|line| line.rsplit_once("expected ")).expect("the names are listed").1;
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn all_unknown_keys_are_said_at_once_and_what_else_is_wrong_with_them() {
    let text = faults(
        "nothing = 1\n[api]\nlisten = \"nowhere\"\nlitsen = \"127.0.0.1:1\"\n[metastroe]\nurl = 1\n[[auth.keys]]\naccess_key_id = \"a\"\n\
         sercet = \"hunter2\"\n[[auth.keys]]\nsecert = { env = \"A\" }\n[delivery]\ninternal_max = \"1s\"\n",
        &[],
    );
    for (line, problem) in [
        (1, "unknown field `nothing`"),
        (3, "api.listen: "),
        (4, "unknown field `litsen`"),
        (5, "unknown field `metastroe`"),
        (9, "unknown field `sercet`"),
        (11, "unknown field `secert`"),
        (13, "unknown field `internal_max`"),
    ] {
        let said = |fault: &str| {
            [",", ":"].iter().any(|end| fault.contains(&format!("line {line}{end}")))
                && fault.contains(problem)
        };
        assert!(text.lines().any(said), "line {line}: {problem}: {text}");
    }
    assert!(text.contains("metastore.url") && !text.contains("hunter2"), "{text}");
}

#[test]
fn all_wrong_types_are_said_at_once_and_none_of_them_as_missing() {
    let text = faults("[metastore]\nurl = 1\n[auth]\nmode = []\nkeys = \"a\"\n[log]\ndri = \"x\"\n", &[]);
    let lines: Vec<&str> =
        text.split("line ").skip(1).filter_map(|fault| Some(fault.split_once(',')?.0)).collect();
    assert_eq!(lines, ["2", "4", "5", "7"], "{text}");
    assert!(!text.contains("missing"), "{text}");
}

#[test]
fn all_variables_that_are_no_settings_are_told_by_name_beside_the_faults_of_the_file() {
    let variables = [
        ("HYDRANT_API__LITSEN", "a"),
        ("HYDRANT_NOTHING__AT_ALL", "b"),
        ("HYDRANT_LOG__FREE_MIN", "hunter2"),
    ];
    let text = faults(&format!("{LEAST}[delivery]\ninternal_max = \"1s\"\n"), &variables);
    for problem in [
        "HYDRANT_API__LITSEN: unknown field `litsen`",
        "HYDRANT_NOTHING__AT_ALL: unknown field `nothing`",
        "log.free_min: ",
        "line 6, column 1: unknown field `internal_max`",
    ] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
    let text =
        faults(LEAST, &[("HYDRANT_AUTH__KEYS", "a"), ("HYDRANT_API__TLS", "b"), ("HYDRANT_LOG__DRI", "c")]);
    for variable in
        ["HYDRANT_AUTH__KEYS: expected ", "HYDRANT_API__TLS: expected ", "HYDRANT_LOG__DRI: unknown "]
    {
        assert!(text.contains(variable), "{variable}: {text}");
    }
}

#[test]
fn a_password_is_in_no_fault() {
    for line in [
        "url = \"postgres://u:hunter2@h/d",
        "url = postgres://u:hunter2@h/d",
        "url = \"x\"\nurl = \"postgres://u:hunter2@h/d\"",
        "ulr = \"postgres://u:hunter2@h/d\"",
        "url = [\"postgres://u:hunter2@h/d\"]",
        "url = { env = \"A\", file = \"hunter2\" }",
        "url = \"mysql://u:hunter2@h/d\"",
        "url = \"sqlite:///h.db\"\n[[auth.keys]]\nsecret_access_key = [\"hunter2\"]",
        "url = \"sqlite:///h.db\"\n[[auth.keys]]\nactions = \"hunter2\"",
        "url = \"sqlite:///h.db\"\n[encryption]\nkeys = \"hunter2\"",
    ] {
        let text = faults(&format!("[auth]\nmode = \"none\"\n[metastore]\n{line}\n"), &[]);
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = faults(LEAST, &[("HYDRANT_AUTH__KEYS", "hunter2")]);
    assert!(text.contains("HYDRANT_AUTH__KEYS: expected a sequence") && !text.contains("hunter2"), "{text}");
}

#[test]
fn nonsense_is_refused_before_anything_starts() {
    for (lines, key) in [
        ("[s3]\nendpoint_url = \"http://\"", "s3.endpoint_url"),
        ("[s3]\nendpoint_url = \"http://bad host:1\"", "s3.endpoint_url"),
        ("[s3]\nassume_roles = \"maybe\"", "s3.assume_roles"),
        ("[s3]\nassume_roles = true\nsts_endpoint_url = \"sts\"", "s3.sts_endpoint_url"),
        ("[s3]\nsts_endpoint_url = \"http://127.0.0.1:1\"", "s3.sts_endpoint_url"),
        ("[log]\nfree_min = \"99999999999999999999GiB\"", "log.free_min"),
        ("[log]\ndir = \"\"", "log.dir"),
        ("[delivery]\ncopy_retry = \"0s\"", "delivery.copy_retry"),
        ("[delivery]\ncopy_retry = \"2h 1s\"", "delivery.copy_retry"),
        ("[delivery]\ninterval_max = \"16m\"", "delivery.interval_max"),
        ("[delivery]\ninterval_max = \"0s\"", "delivery.interval_max"),
    ] {
        let text = faults(&format!("{LEAST}{lines}\n"), &[]);
        assert!(text.contains(&format!(": {key}: ")), "{key} in {text}");
    }
    let for_ever = LEAST.replace("[metastore]\n", "[metastore]\nretention = \"18446744073709552s\"\n");
    assert!(faults(&for_ever, &[]).contains(": metastore.retention: "));
}

#[test]
fn quotas_are_off_until_they_are_set() {
    let config = read(LEAST, &[]).unwrap();
    assert_eq!(config.quotas, Quotas::default());
    let text = format!("{LEAST}[quotas]\nrecords_per_sec = 5\nbytes_per_sec = \"2MiB\"\n");
    let config = read(&text, &[]).unwrap();
    assert_eq!(config.quotas.records_per_sec.map(NonZeroU32::get), Some(5));
    assert_eq!(config.quotas.bytes_per_sec.map(NonZeroU64::get), Some(2 << 20));
    assert_eq!(config.quotas.calls_per_sec, None);
    let text = faults(&format!("{LEAST}[quotas]\ncalls_per_sec = 0\nbytes_per_sec = \"0B\"\n"), &[]);
    assert!(text.contains("quotas.calls_per_sec") && text.contains("quotas.bytes_per_sec"), "{text}");
}

#[test]
fn the_sample_configurations_are_valid() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut environment = environment(&SECRETS);
    environment
        .insert("HYDRANT_METASTORE__URL".to_owned(), "postgres://hydrant@localhost/hydrant".to_owned());
    let mut seen = 0;
    for entry in std::fs::read_dir(deploy).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            Config::load(Some(&path), &environment).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            seen += 1;
        }
    }
    assert!(seen > 1, "the reference and the one of docker-compose.yml");
}

#[test]
fn a_url_with_a_password_in_it_is_refused_without_being_shown() {
    for url in ["https://user:ZZPW@s3.example", "https://user:ZZPW@", "ZZPW@"] {
        let faults = faults(&format!("{LEAST}[s3]\nendpoint_url = {url:?}\n"), &[]);
        assert!(
            faults.contains("s3.endpoint_url") && faults.contains("without user and password"),
            "{faults}"
        );
        assert!(!faults.contains("ZZPW"), "{faults}");
    }
}

#[test]
fn streams_in_files_are_checked_for_the_region_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hydrant.toml");
    let stream = serde_json::json!({
        "DeliveryStreamName": "s",
        "S3DestinationConfiguration": {"RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::b"},
        "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": ARN},
    });
    std::fs::write(dir.path().join("s.json"), stream.to_string()).unwrap();
    std::fs::write(
        &path,
        format!("{LEAST}[api]\nregion = \"eu-west-1\"\n[streams]\ndir = {:?}\n", dir.path()),
    )
    .unwrap();
    let load = |region| Config::load_with_files(Some(&path), &Environment::new(), region);
    assert!(load(None).unwrap_err().to_string().contains("s.json: line 1: "));
    assert_eq!(load(Some("us-east-1")).unwrap().1.streams.map(|files| files.len()), Some(1));
}
