//! The power goes at any sync of any operation: what was acknowledged is there, and what was under way is old or new.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use s3s::S3Result;
use s3s::checksum::ChecksumHasher;

use super::forgetful_disk::ForgetfulDisk;
use crate::bucket::{Bucket, Condition};
use crate::checksums::Expected;
use crate::disk::Disk;
use crate::headers::Headers;
use crate::listing::Query;
use crate::object::{Checksums, Object, Part};
use crate::object_file::{Received, Staged};
use crate::store::Store;
use crate::upload::{ListedPart, Plan};

const BUCKET: &str = "demo";
const OTHER_BUCKET: &str = "other";

#[derive(Debug, Clone)]
enum Operation {
    Put { key: &'static str, body: Vec<u8> },
    Delete { key: &'static str },
    Begin { plan: Plan },
    StorePart { body: Vec<u8> },
    Complete,
    Abort,
    MakeBucket,
    DropBucket,
}

fn keys() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "a/b", "a//b"])
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..20)
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (keys(), bodies()).prop_map(|(key, body)| Operation::Put { key, body }),
        2 => keys().prop_map(|key| Operation::Delete { key }),
        2 => keys().prop_map(|key| {
            let plan = Plan::new(key.to_owned(), Headers::default(), None, false);
            Operation::Begin { plan }
        }),
        3 => bodies().prop_map(|body| Operation::StorePart { body }),
        2 => Just(Operation::Complete),
        1 => Just(Operation::Abort),
        1 => Just(Operation::MakeBucket),
        1 => Just(Operation::DropBucket),
    ]
}

/// All that a client can see of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State(BTreeMap<String, Contents>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Contents {
    objects: BTreeMap<String, Vec<u8>>,
    /// By id: the parts' numbers and ETags.
    uploads: BTreeMap<String, Vec<(u16, String)>>,
}

fn state(store: &Store) -> State {
    let contents = |(name, _): (String, u64)| {
        let contents = contents(&store.bucket(&name).unwrap());
        (name, contents)
    };
    State(store.list().into_iter().map(contents).collect())
}

fn contents(bucket: &Bucket) -> Contents {
    let all = bucket.list(Query { prefix: "", delimiter: None, after: "", entries_max: usize::MAX });
    let objects = all.objects.iter().map(|object| {
        let (object, file) = bucket.read(&object.key).unwrap();
        let mut body = Vec::new();
        file.take(object.size_bytes).read_to_end(&mut body).unwrap();
        (object.key.clone(), body)
    });
    let uploads = bucket.uploads("", ("", "")).into_iter().map(|plan| {
        let parts = |upload: &crate::upload::Upload| {
            Ok(upload.parts.iter().map(|(number, part)| (*number, part.etag.clone())).collect())
        };
        (plan.id.clone(), bucket.with_upload(&plan.id, &plan.key, parts).unwrap())
    });
    Contents { objects: objects.collect(), uploads: uploads.collect() }
}

fn open(directory: &Path, disk: Arc<dyn Disk>) -> Store {
    Store::open(directory, &[BUCKET.to_owned()], disk).unwrap()
}

fn received(store: &Store, body: &[u8]) -> Received {
    let mut staged = Staged::create(&store.place().tmp(), ChecksumHasher::default()).unwrap();
    staged.append(&[Bytes::copy_from_slice(body)]).unwrap();
    staged.end()
}

fn put(store: &Store, key: &str, body: &[u8]) -> S3Result<()> {
    let received = received(store, body);
    let object = Object {
        key: key.to_owned(),
        size_bytes: received.size_bytes,
        etag: hex::encode(received.md5),
        modified_ms: 0,
        headers: Headers::default(),
        checksums: Checksums::default(),
    };
    store.bucket(BUCKET)?.put(received, object, &Condition::default())
}

/// The first upload under way, as the operations on uploads mean it.
fn first_upload(store: &Store) -> S3Result<Option<Plan>> {
    Ok(store.bucket(BUCKET)?.uploads("", ("", "")).into_iter().next())
}

/// Does nothing where the operation does not apply; an error is one of the disk.
fn apply(store: &Store, operation: &Operation) -> S3Result<()> {
    match operation {
        Operation::Put { key, body } => put(store, key, body),
        Operation::Delete { key } => store.bucket(BUCKET)?.delete(key, None),
        Operation::Begin { plan } => store.bucket(BUCKET)?.begin_upload(plan.clone()),
        Operation::StorePart { body } => {
            let Some(plan) = first_upload(store)? else { return Ok(()) };
            let received = received(store, body);
            let part = Part {
                size_bytes: received.size_bytes,
                etag: hex::encode(received.md5),
                modified_ms: 0,
                checksums: Checksums::default(),
            };
            store.bucket(BUCKET)?.put_part(&plan.id, &plan.key, 1, received, part)
        }
        Operation::Complete => {
            let Some(plan) = first_upload(store)? else { return Ok(()) };
            let bucket = store.bucket(BUCKET)?;
            let listed = bucket.with_upload(&plan.id, &plan.key, |upload| {
                let listed =
                    |(number, part): (&u16, &Part)| ListedPart { number: *number, etag: part.etag.clone() };
                Ok(upload.parts.iter().map(listed).collect::<Vec<_>>())
            })?;
            if listed.is_empty() {
                return Ok(());
            }
            let condition = Condition::default();
            bucket.complete_upload(&plan.id, &plan.key, &listed, &Expected::default(), &condition).map(drop)
        }
        Operation::Abort => {
            let Some(plan) = first_upload(store)? else { return Ok(()) };
            store.bucket(BUCKET)?.abort_upload(&plan.id, &plan.key)
        }
        Operation::MakeBucket => match exists(store, OTHER_BUCKET) {
            true => Ok(()),
            false => store.create(OTHER_BUCKET),
        },
        Operation::DropBucket => match exists(store, OTHER_BUCKET) {
            true => store.delete(OTHER_BUCKET),
            false => Ok(()),
        },
    }
}

fn exists(store: &Store, name: &str) -> bool {
    store.list().iter().any(|(existing, _)| existing == name)
}

/// A completed upload may be listed still: its object comes first.
fn completed_but_listed(before: &State, after: &State) -> State {
    let mut both = after.clone();
    for (name, contents) in &mut both.0 {
        contents.uploads = before.0.get(name).map(|before| before.uploads.clone()).unwrap_or_default();
    }
    both
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_a_power_cut_and_what_was_under_way_is_old_or_new(
        first in prop::collection::vec(operations(), 0..8),
        last in operations(),
        syncs in 0_usize..8,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(ForgetfulDisk::default());
        let store = open(directory.path(), Arc::clone(&disk) as Arc<dyn Disk>);
        for operation in &first {
            apply(&store, operation).unwrap();
            let left = disk.after_power_cut(directory.path());
            prop_assert_eq!(state(&open(left.path(), Arc::new(ForgetfulDisk::default()))), state(&store));
        }
        let before = state(&store);
        let twin_directory = disk.after_power_cut(directory.path());
        let twin = open(twin_directory.path(), Arc::new(ForgetfulDisk::default()));
        apply(&twin, &last).unwrap();
        let after = state(&twin);

        disk.power_off_after(syncs);
        let acknowledged = apply(&store, &last).is_ok();
        let left = disk.after_power_cut(directory.path());
        let found = state(&open(left.path(), Arc::new(ForgetfulDisk::default())));
        let in_between = matches!(last, Operation::Complete).then(|| completed_but_listed(&before, &after));
        if acknowledged {
            prop_assert!(found == after || in_between == Some(found.clone()), "{found:?} is not {after:?}");
        } else {
            let old_or_new = found == before || found == after || in_between == Some(found.clone());
            prop_assert!(old_or_new, "{found:?} is neither {before:?} nor {after:?}");
        }
    }
}
