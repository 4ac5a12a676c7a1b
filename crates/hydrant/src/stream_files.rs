//! Streams declared in files: `streams.dir` holds JSON files, each exactly what `aws firehose create-delivery-stream --cli-input-json` takes.
//!
//! Here they are read and checked, all of them at once, each fault with file, line and member. What they declare is brought about by
//! [`crate::declared`].

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
};

use hydrant_api::{DeclarationFault, check_declaration};
use hydrant_types::{StreamName, limits};
use serde_json::Value;

/// Larger than any declaration: the service's own limits keep one far below.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file and what it declares; checked.
#[derive(Clone, PartialEq)]
pub struct StreamFile {
    /// Its name in the directory.
    pub name: String,
    /// The stream that it declares.
    pub stream: StreamName,
    /// The input of CreateDeliveryStream.
    pub declaration: Value,
}

/// Without the declaration: there may be a password in it.
impl fmt::Debug for StreamFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamFile")
            .field("name", &self.name)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Reads every `*.json` in `dir`, in order of name. Other files, and those that begin with a dot, are not looked at.
///
/// # Errors
/// What is wrong with any of them, each with file and line; then none is to be used.
pub fn read(dir: &Path, region: &str) -> Result<Vec<StreamFile>, Vec<String>> {
    let paths = paths(dir).map_err(|fault| vec![fault])?;
    if paths.len() > limits::STREAMS_MAX {
        let (found, max) = (paths.len(), limits::STREAMS_MAX);
        return Err(vec![format!("{}: {found} files, and there can be {max} streams", dir.display())]);
    }
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    let mut declared_in: HashMap<StreamName, String> = HashMap::new();
    for path in paths {
        match read_file(&path, region) {
            Ok(file) => match declared_in.insert(file.stream.clone(), file.name.clone()) {
                None => files.push(file),
                Some(other) => {
                    let (path, stream) = (path.display(), &file.stream);
                    faults.push(format!("{path}: stream {stream} is declared in {other} too"));
                }
            },
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

fn paths(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error: std::io::Error| format!("{}: cannot be read: {error}", dir.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_file(path: &Path, region: &str) -> Result<StreamFile, Vec<String>> {
    let shown = path.display();
    let one = |problem: String| vec![format!("{shown}: {problem}")];
    // Through links: a mounted ConfigMap is a directory of them.
    let metadata = std::fs::metadata(path).map_err(|e| one(format!("cannot be read: {e}")))?;
    if !metadata.is_file() {
        return Err(one("is not a file: expected one JSON file for each stream".to_owned()));
    }
    let bytes = metadata.len();
    if bytes > FILE_BYTES_MAX {
        return Err(one(format!("{bytes} bytes: expected at most {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| one(format!("cannot be read: {e}")))?;
    let declaration: Value = serde_json::from_str(&text).map_err(|e| {
        // It says the line and column at its end, where nobody looks for them.
        let (said, line, column) = (e.to_string(), e.line(), e.column());
        let problem = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
        one(format!("line {line}: is not JSON: {problem} (column {column})"))
    })?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match check_declaration(&declaration, region) {
        Ok(stream) => Ok(StreamFile { name, stream, declaration }),
        Err(faults) => Err(faults
            .0
            .iter()
            .map(|DeclarationFault { pointer, message }| {
                let line = line_of(&text, pointer);
                format!("{shown}: line {line}: {}: {message}", member(pointer))
            })
            .collect()),
    }
}

/// `/Tags/0/Key` as people write it: `Tags[0].Key`.
fn member(pointer: &str) -> String {
    let mut written = String::new();
    for part in parts(pointer) {
        match part.parse::<usize>() {
            Ok(index) => written.push_str(&format!("[{index}]")),
            Err(_) if written.is_empty() => written = part,
            Err(_) => written.push_str(&format!(".{part}")),
        }
    }
    if written.is_empty() { "the file".to_owned() } else { written }
}

/// The parts of an RFC 6901 pointer.
fn parts(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

/// The line of what `pointer` points to, counted from 1; of what is around it where that is not there.
fn line_of(text: &str, pointer: &str) -> usize {
    use jsonc_parser::{ast::Value as Node, common::Ranged};
    let parsed = jsonc_parser::parse_to_ast(text, &Default::default(), &Default::default());
    // What serde_json read, this reads too; if it should not, the first line is all that can be said.
    let Some(root) = parsed.ok().and_then(|parsed| parsed.value) else { return 1 };
    let mut at = root.range().start;
    let mut node = Some(&root);
    for part in parts(pointer) {
        node = match node {
            Some(Node::Object(object)) => {
                // The last of those with the same name is the one that counts.
                let found = object.properties.iter().rev().find(|property| property.name.as_str() == part);
                found.map(|property| {
                    at = property.range.start;
                    &property.value
                })
            }
            Some(Node::Array(array)) => part.parse::<usize>().ok().and_then(|index| {
                let found = array.elements.get(index)?;
                at = found.range().start;
                Some(found)
            }),
            _ => None,
        };
    }
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
  "DeliveryStreamName": "clicks",
  "ExtendedS3DestinationConfiguration": {
    "RoleARN": "arn:aws:iam::000000000000:role/hydrant",
    "BucketARN": "arn:aws:s3:::demo",
    "BufferingHints": { "SizeInMBs": 5, "IntervalInSeconds": 60 }
  }
}"#;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("a file");
        }
        dir
    }

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let dir = dir(files);
        let faults = read(dir.path(), "us-east-1").expect_err("there are faults");
        let prefix = format!("{}/", dir.path().display());
        faults.into_iter().map(|fault| fault.replace(&prefix, "")).collect()
    }

    #[test]
    fn every_json_file_is_read_in_order_and_nothing_else() {
        let second = GOOD.replace("clicks", "orders");
        let dir = dir(&[("b.json", GOOD), ("a.json", &second), ("README.md", "#"), (".c.json", "{")]);
        let files = read(dir.path(), "us-east-1").unwrap();
        let found: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.stream.as_str())).collect();
        assert_eq!(found, [("a.json", "orders"), ("b.json", "clicks")]);
    }

    #[test]
    fn all_faults_are_said_at_once_with_file_line_and_member() {
        let wrong = GOOD
            .replace("\"SizeInMBs\": 5", "\"SizeInMBs\": 500")
            .replace("    \"BucketARN\": \"arn:aws:s3:::demo\",\n", "");
        let faults = faults(&[("a.json", &wrong), ("b.json", "{\n  \"DeliveryStreamName\": \n}")]);
        assert_eq!(faults.len(), 3, "{faults:#?}");
        let has = |start: &str| faults.iter().any(|fault| fault.starts_with(start));
        assert!(
            has("a.json: line 5: ExtendedS3DestinationConfiguration.BufferingHints.SizeInMBs: "),
            "{faults:#?}"
        );
        // What is missing is missing in what is around it.
        assert!(has("a.json: line 3: ExtendedS3DestinationConfiguration.BucketARN: "), "{faults:#?}");
        assert!(has("b.json: line 3: is not JSON: "), "{faults:#?}");
    }

    #[test]
    fn a_line_is_counted_in_any_language_and_of_the_last_of_two_members() {
        let text = "{\n\"ä\": \"日本\",\n\"b\": 1,\n\"b\": 2\n}";
        assert_eq!(line_of(text, "/b"), 4);
        assert_eq!(line_of(text, "/c"), 1);
    }

    #[test]
    fn a_password_is_neither_printed_nor_in_a_fault() {
        let with = |password: &str| {
            format!(
                "{{\"DeliveryStreamName\": \"s\", \"RedshiftDestinationConfiguration\": {{\n\"Password\": {password},\n\"Username\": \"u\",\n\
                 \"RoleARN\": \"arn:aws:iam::000000000000:role/r\", \"ClusterJDBCURL\": \
                 \"jdbc:redshift://local.000000000000.us-east-1.redshift-serverless.amazonaws.com:5439/dev\",\n\
                 \"CopyCommand\": {{\"DataTableName\": \"t\"}}, \"S3Configuration\": {{\"RoleARN\": \"arn:aws:iam::000000000000:role/r\", \
                 \"BucketARN\": \"arn:aws:s3:::b\"}}}}}}"
            )
        };
        let faults =
            faults(&[("a.json", &with("[\"hunter2\"]")), ("b.json", &with("\"hunter\""))]).join("\n");
        assert!(faults.contains("a.json: line 2: RedshiftDestinationConfiguration.Password"), "{faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
        let dir = dir(&[("a.json", &with("\"hunter22\""))]);
        let files = read(dir.path(), "us-east-1").unwrap();
        assert!(!format!("{files:?}").contains("hunter22"), "{files:?}");
    }

    #[test]
    fn a_stream_is_declared_once() {
        let faults = faults(&[("a.json", GOOD), ("b.json", GOOD)]);
        assert_eq!(faults, ["b.json: stream clicks is declared in a.json too"]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_a_fault() {
        let dir = dir(&[]);
        let faults = read(&dir.path().join("nowhere"), "us-east-1").unwrap_err();
        assert!(faults[0].contains("nowhere: cannot be read"), "{faults:?}");
    }

    #[test]
    fn what_is_named_as_a_file_and_is_none_is_a_fault_and_not_passed_over() {
        let dir = dir(&[("good.json", GOOD)]);
        std::fs::create_dir(dir.path().join("directory.json")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("nowhere"), dir.path().join("link.json")).unwrap();
        let faults = read(dir.path(), "us-east-1").unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("directory.json: is not a file"), "{faults:?}");
        assert!(faults[1].contains("link.json: cannot be read"), "{faults:?}");
    }

    #[test]
    fn pointers_are_written_as_people_write_members() {
        assert_eq!(member("/Tags/0/Key"), "Tags[0].Key");
        assert_eq!(member(""), "the file");
        assert_eq!(line_of("{\n\"a/b\": [\n1,\n2]}", "/a~1b/1"), 4);
    }
}
