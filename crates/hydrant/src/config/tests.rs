use std::collections::BTreeSet;

use super::*;

const LEAST: &str = "[auth]\nmode = \"none\"\n[metastore]\nurl = \"sqlite:///tmp/h.db\"\n";

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn faults(text: &str, pairs: &[(&str, &str)]) -> String {
    Config::parse(text, "hydrant.toml", &environment(pairs)).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = Config::parse(LEAST, "hydrant.toml", &Environment::new()).unwrap();
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
        ("HYDRANT_LOG", "debug"),
    ];
    let config = Config::parse(LEAST, "hydrant.toml", &environment(&pairs)).unwrap();
    assert_eq!(config.api.listen.port(), 1);
    assert_eq!(config.api.account_id, "123456789012");
    assert_eq!(config.delivery.gzip_level, 1);
    assert!(config.s3.force_path_style);
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
    for key in [
        "api.listen",
        "api.account_id",
        "log.bytes_max",
        "delivery.gzip_level",
        "delivery.copy_retry",
        "auth.mode",
        "metastore.url",
    ] {
        assert!(text.contains(&format!("\n  {key}: ")), "{key} in {text}");
    }
}

#[test]
fn serving_without_checking_signatures_must_be_written_out() {
    let text = faults("[metastore]\nurl = \"sqlite:///tmp/h.db\"\n[auth]\nmode = \"sigv4\"\n", &[]);
    assert!(text.contains("auth.mode: signatures are not verified yet"), "{text}");
}

#[test]
fn keys_without_effect_are_refused() {
    let text = faults(&format!("{LEAST}[streams]\ndir = \"/etc/hydrant/streams\"\n"), &[]);
    assert!(text.contains("streams.dir: "), "{text}");
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
    let config = Config::parse(&text, "hydrant.toml", &Environment::new()).unwrap();
    assert_eq!(config.metastore.url.reveal(), "postgres://u:hunter2@h/db");
    assert!(!format!("{config:?}").contains("hunter2"));
    let text = "[auth]\nmode = \"none\"\n[metastore]\nurl = { env = \"NOT_SET\" }\n";
    assert!(faults(text, &[]).contains("metastore.url: the environment variable NOT_SET is not set"));
}

/// The reference: every key, those without a default as comments `# key = value`.
fn reference() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/hydrant.toml")).unwrap()
}

/// What a configuration without a line of its own runs with.
fn shown(config: &Config) -> String {
    format!("{config:#?}")
}

#[test]
fn the_reference_shows_the_defaults() {
    let url = [("HYDRANT_METASTORE_URL", "sqlite:///tmp/h.db")];
    let reference = Config::parse(&reference(), "hydrant.toml", &environment(&url)).unwrap();
    let defaults = Config::parse(LEAST, "hydrant.toml", &Environment::new()).unwrap();
    assert_eq!(shown(&reference), shown(&defaults));
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let all: String = reference()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => setting,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    Config::parse(&all, "hydrant.toml", &environment(&[("HYDRANT_METASTORE_URL", "sqlite:///tmp/h.db")]))
        .unwrap();
    let table: toml::Table = toml::from_str(&all).unwrap();
    let keys: BTreeSet<String> = table
        .iter()
        .flat_map(|(section, keys)| {
            keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}"))
        })
        .collect();
    // What is accepted, as the refusal of an unknown key lists it; less what is refused because it does not work yet.
    let mut accepted = BTreeSet::new();
    for section in listed(&faults("[nothing]\n", &[])) {
        let problem = faults(&format!("[{section}]\nnothing = 1\n"), &[]);
        accepted.extend(listed(&problem).into_iter().map(|key| format!("{section}.{key}")));
    }
    for refused in ["api.tls", "auth.keys", "streams.dir"] {
        assert!(accepted.remove(refused), "{refused}");
    }
    assert_eq!(keys, accepted);
}

/// The names in the refusal of an unknown one: "unknown field `x`, expected one of `a`, `b`", or "expected `a` or `b`".
fn listed(refusal: &str) -> Vec<String> {
    let expected = refusal.rsplit_once("expected ").expect("the names are listed").1;
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
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
    ] {
        let text = faults(&format!("[auth]\nmode = \"none\"\n[metastore]\n{line}\n"), &[]);
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn nonsense_is_refused_before_anything_starts() {
    for (lines, key) in [
        ("[s3]\nendpoint_url = \"http://\"", "s3.endpoint_url"),
        ("[s3]\nendpoint_url = \"http://bad host:1\"", "s3.endpoint_url"),
        ("[log]\nfree_min = \"99999999999999999999GiB\"", "log.free_min"),
        ("[log]\ndir = \"\"", "log.dir"),
        ("[delivery]\ncopy_retry = \"0s\"", "delivery.copy_retry"),
        ("[delivery]\ninterval_max = \"0s\"", "delivery.interval_max"),
    ] {
        let text = faults(&format!("{LEAST}{lines}\n"), &[]);
        assert!(text.contains(&format!("\n  {key}: ")), "{key} in {text}");
    }
}

#[test]
fn quotas_are_off_until_they_are_set() {
    let config = Config::parse(LEAST, "hydrant.toml", &Environment::new()).unwrap();
    assert_eq!(config.quotas, Quotas::default());
    let text = format!("{LEAST}[quotas]\nrecords_per_sec = 5\nbytes_per_sec = \"2MiB\"\n");
    let config = Config::parse(&text, "hydrant.toml", &Environment::new()).unwrap();
    assert_eq!(config.quotas.records_per_sec.map(NonZeroU32::get), Some(5));
    assert_eq!(config.quotas.bytes_per_sec.map(NonZeroU64::get), Some(2 << 20));
    assert_eq!(config.quotas.calls_per_sec, None);
    let text = faults(&format!("{LEAST}[quotas]\ncalls_per_sec = 0\nbytes_per_sec = \"0B\"\n"), &[]);
    assert!(text.contains("quotas.calls_per_sec") && text.contains("quotas.bytes_per_sec"), "{text}");
}

#[test]
fn the_sample_configurations_are_valid() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut seen = 0;
    for entry in std::fs::read_dir(deploy).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            Config::load(
                Some(&path),
                &environment(&[("HYDRANT_METASTORE_URL", "postgres://hydrant@localhost/hydrant")]),
            )
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            seen += 1;
        }
    }
    assert!(seen > 0, "there is at least one sample configuration");
}
