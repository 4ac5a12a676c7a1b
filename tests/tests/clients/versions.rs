//! docs/clients.md names the versions that the tests run.

use hydrant_testkit::workspace_root;

/// The first column's name, the second's version.
fn table() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(workspace_root().join("docs/clients.md")).expect("it is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.map(|row| row.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    cells.filter(|cells| cells.len() > 2).map(|cells| (cells[0].clone(), cells[1].clone())).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace_root().join(path)).expect("it is there")
}

/// In what follows `before`, up to `end`.
fn between(text: &str, before: &str, end: char) -> String {
    let after = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is missing")).1;
    after.split(end).next().unwrap_or_default().to_owned()
}

#[test]
fn the_table_names_the_versions_that_are_tested() {
    let (python, lock) = (read("xtask/requirements.txt"), read("Cargo.lock"));
    let node = read("tests/tests/clients/node/package-lock.json");
    let node: serde_json::Value = serde_json::from_str(&node).unwrap();
    let javascript = &node["packages"]["node_modules/@aws-sdk/client-firehose"]["version"];
    for (client, version) in [
        ("boto3", between(&python, "\nboto3==", '\n')),
        ("aws-cli 1", between(&python, "\nawscli==", '\n')),
        ("@aws-sdk/client-firehose", javascript.as_str().unwrap().to_owned()),
        ("aws-sdk-firehose (Rust)", between(&lock, "name = \"aws-sdk-firehose\"\nversion = \"", '"')),
    ] {
        let row = table().into_iter().find(|(name, _)| name == client);
        assert_eq!(row.map(|(_, version)| version), Some(version), "{client}");
    }
}
