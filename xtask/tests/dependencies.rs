//! What must not come into the tree by somebody else's default features, and what is in a manifest for nothing.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

use std::path::{Path, PathBuf};

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

/// The folders of the workspace's packages.
fn packages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let crates = std::fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let mut packages: Vec<_> = crates.filter(|path| path.join("Cargo.toml").is_file()).collect();
    packages.extend([root.join("tests"), root.join("xtask")]);
    packages
}

/// What a manifest says that its package depends on.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_list = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_list = line.ends_with("dependencies]");
        } else if let (true, Some(end)) = (is_list, line.find(['.', ' ', '='])) {
            found.push(&line[..end]);
        }
    }
    found.into_iter().filter(|name| !name.is_empty() && !name.starts_with('#')).collect()
}

/// All Rust of a package, without packages inside of it and without comments, which name what the code does not use.
fn sources(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.join("Cargo.toml").is_file() && !path.ends_with("target") {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = std::fs::read_to_string(&path).unwrap();
            let code = file.lines().filter(|line| !line.trim_start().starts_with("//"));
            code.for_each(|line| text.extend([line, "\n"]));
        }
    }
}

fn has_word(text: &str, word: &str) -> bool {
    let of_word =
        |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    text.match_indices(word).any(|(at, _)| {
        !of_word(text[..at].chars().next_back()) && !of_word(text[at + word.len()..].chars().next())
    })
}

#[test]
fn every_dependency_is_used() {
    let mut unused = Vec::new();
    for package in packages() {
        let manifest = std::fs::read_to_string(package.join("Cargo.toml")).unwrap();
        let mut text = String::new();
        sources(&package, &mut text);
        let dependencies = dependencies(&manifest);
        assert!(!text.is_empty() && !dependencies.is_empty(), "{}", package.display());
        let names = dependencies.into_iter().filter(|name| !has_word(&text, &name.replace('-', "_")));
        unused.extend(names.map(|name| format!("{}: {name}", package.display())));
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn every_dependency_of_the_workspace_is_some_packages() {
    let root = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
    let manifests: Vec<String> =
        packages().iter().map(|dir| std::fs::read_to_string(dir.join("Cargo.toml")).unwrap()).collect();
    let named: Vec<&str> = manifests.iter().flat_map(|manifest| dependencies(manifest)).collect();
    let unused: Vec<&str> = dependencies(&root).into_iter().filter(|name| !named.contains(name)).collect();
    assert!(unused.is_empty(), "{unused:#?}");
}
