//! What must not come into the tree by somebody else's default features.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

/// A crate, the start of its unwanted versions, and why.
const UNWANTED: [(&str, &str, &str); 8] = [
    ("hyper", "0.", "the old HTTP stack, by a default feature of an AWS crate"),
    ("rustls", "0.21.", "the old TLS stack with its old webpki, by a default feature of an AWS crate"),
    ("aws-lc-rs", "", "a second crypto provider beside ring: rustls then panics at run time"),
    ("aws-lc-sys", "", "a second crypto provider beside ring, and a big C build"),
    ("openssl-sys", "", "needs OpenSSL's headers; TLS is rustls's"),
    ("native-tls", "", "needs OpenSSL; TLS is rustls's"),
    ("reqwest", "", "a second HTTP client beside hyper-util's"),
    ("bindgen", "", "needs clang to build"),
];

fn locked_packages() -> Vec<(String, String)> {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let value = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.unwrap().trim_end_matches('"').to_owned()
    };
    let packages = lock.split("[[package]]").skip(1);
    packages.map(|package| (value(package, "name"), value(package, "version"))).collect()
}

#[test]
fn nothing_unwanted_is_locked() {
    let packages = locked_packages();
    let found: Vec<String> = UNWANTED
        .iter()
        .flat_map(|unwanted| packages.iter().map(move |package| (unwanted, package)))
        .filter(|((name, versions, _), package)| package.0 == *name && package.1.starts_with(versions))
        .map(|((_, _, why), (name, version))| {
            format!("{name} {version}: {why}; see `cargo tree -i {name}@{version}`")
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_lock_file_is_read_whole() {
    let packages = locked_packages();
    assert!(
        packages.iter().any(|(name, version)| name == "hyper" && version.starts_with("1.")),
        "{packages:?}"
    );
    assert!(packages.iter().any(|(name, version)| name == "rustls" && version.starts_with("0.23.")));
}
