//! Encryption at rest from the configured keys to the bytes in the log.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

mod support;

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use hydrant_ingest::{
    Error, Ingest, Keyring, MasterKey, MasterKeys, Settings, StreamTable,
    keyring::{CHANGES_PER_DAY_MAX, DATA_KEYS_MAX, StartError, TooOften},
    master_keys::KeyError,
};
use hydrant_log::{CallKey, DataKeys, FileLog, RecordLog, error::Read};
use hydrant_testkit::SeededEntropy;
use hydrant_types::{Clock, DataKeyId, Position, Secret, Stream, StreamEncryption, Timestamp};
use support::{Site, payload};

const OLD: &str = "arn:aws:kms:us-east-1:000000000000:key/old";
const NEW: &str = "arn:aws:kms:us-east-1:000000000000:key/new";
const SECRET: &[u8] = b"attack at dawn";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Configured keys, the last being the default.
fn master(arns: &[&str]) -> MasterKeys {
    let key = |arn: &&str| {
        let text = BASE64_STANDARD.encode([arn.len() as u8 ^ arn.as_bytes()[arn.len() - 1]; 32]);
        MasterKey::new(arn, &Secret::new(text)).unwrap()
    };
    MasterKeys::new(arns.iter().map(key), arns.last().copied()).unwrap()
}

/// A node that knows one stream.
struct Node {
    log: Arc<FileLog>,
    keyring: Arc<Keyring>,
    ingest: Ingest,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.log.shutdown();
    }
}

/// The stream table beside the log as it is once the metastore has this encryption for every stream.
async fn table_with(site: &Site, encryption: &StreamEncryption) -> Arc<StreamTable> {
    StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let mut copy: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.copy_path()).unwrap()).unwrap();
    for stream in copy["streams"].as_array_mut().unwrap() {
        stream["encryption"] = serde_json::to_value(encryption).unwrap();
    }
    std::fs::write(site.copy_path(), copy.to_string()).unwrap();
    StreamTable::from_copy(site.metastore.clone(), &site.log_dir()).unwrap().unwrap()
}

async fn node(site: &Site, master: MasterKeys, encryption: &StreamEncryption) -> Node {
    let streams = table_with(site, encryption).await;
    let registry = prometheus::Registry::new();
    let clock: Arc<dyn Clock> = Arc::new(site.clock.clone());
    let settings = hydrant_log::Settings {
        free_min: 0,
        segment_len: 1 << 20,
        ..hydrant_log::Settings::new(site.log_dir())
    };
    let deps = hydrant_log::Deps::system(clock.clone(), Arc::new(SeededEntropy::from_environment()));
    let log = FileLog::open(settings, deps, &registry).unwrap();
    let keyring = Arc::new(Keyring::new(master, streams.clone()));
    log.set_data_keys(keyring.clone());
    let ingest =
        Ingest::new(log.clone(), streams, keyring.clone(), clock, &registry, &Settings::default()).unwrap();
    Node { log, keyring, ingest }
}

async fn keyring(site: &Site, master: MasterKeys) -> Keyring {
    let streams = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    Keyring::new(master, streams)
}

fn read(node: &Node, stream: &Stream) -> Result<Vec<Vec<u8>>, Read> {
    let (mut records, mut at) = (Vec::new(), Position::FIRST);
    loop {
        let chunk = node.log.read(stream.id, at, 1 << 20)?;
        records.extend(chunk.records().map(|(_, _, record)| record.to_vec()));
        match chunk.next() {
            Some(next) => at = next,
            None => return Ok(records),
        }
    }
}

fn is_on_disk(site: &Site, needle: &[u8]) -> bool {
    std::fs::read_dir(site.log_dir()).unwrap().any(|entry| {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        content.windows(needle.len()).any(|window| window == needle)
    })
}

fn now(site: &Site) -> Timestamp {
    site.clock.now()
}

#[tokio::test]
async fn what_is_put_while_encryption_is_enabled_is_encrypted_and_read_back() {
    let site = Site::new().await;
    let stream = site.create("orders").await;
    let entropy = SeededEntropy::from_environment();
    let started = keyring(&site, master(&[OLD])).await.start(&stream, None, now(&site), &entropy).unwrap();
    {
        let node = node(&site, master(&[OLD]), &started).await;
        let stream = node.ingest.stream("orders").await.unwrap();
        let put = node.ingest.put(&stream, payload(&[SECRET, b"x"]), None).await.unwrap();
        assert!(put.encrypted);
        assert_eq!(read(&node, &stream).unwrap(), [SECRET, b"x"]);
        let stopped = Stream { encryption: Keyring::stop(&stream, now(&site)).unwrap(), ..(*stream).clone() };
        assert!(stopped.encryption.current.is_none());
        assert_eq!(stopped.encryption.data_keys, started.data_keys, "for what is in the log");
        assert!(!is_on_disk(&site, SECRET));
        let put = node.ingest.put(&stopped, payload(&[b"in the clear"]), None).await.unwrap();
        assert!(!put.encrypted && is_on_disk(&site, b"in the clear"));
    }
    let node = node(&site, master(&[OLD]), &started).await;
    assert_eq!(read(&node, &stream).unwrap(), [SECRET, b"x", b"in the clear"], "after a restart");
}

#[tokio::test]
async fn a_put_whose_key_cannot_be_had_is_refused_and_its_stream_heals_when_the_key_comes() {
    let site = Site::new().await;
    let stream = site.create("orders").await;
    let other = site.create("other").await;
    let entropy = SeededEntropy::from_environment();
    let started = keyring(&site, master(&[OLD])).await.start(&stream, None, now(&site), &entropy).unwrap();
    let node = node(&site, master(&[OLD]), &started).await;
    let stream = Stream { encryption: started, ..stream };
    node.ingest.put(&stream, payload(&[b"first"]), None).await.unwrap();
    node.ingest.put(&other, payload(&[b"other"]), None).await.unwrap();

    node.keyring.replace(master(&[NEW]));
    let refused = node.ingest.put(&stream, payload(&[SECRET]), None).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Key(KeyError::NotConfigured { arn, data_key: DataKeyId(1), .. }) if arn == OLD),
        "{refused:?}"
    );
    assert!(!is_on_disk(&site, SECRET), "never stored in clear");
    assert!(matches!(read(&node, &stream), Err(Read::KeyMissing { key: DataKeyId(1), .. })));
    assert_eq!(read(&node, &other).unwrap(), [b"other"]);
    node.ingest.put(&other, payload(&[b"more"]), None).await.unwrap();

    let same_name = BASE64_STANDARD.encode([0; 32]);
    let same_name = MasterKey::new(OLD, &Secret::new(same_name)).unwrap();
    node.keyring.replace(MasterKeys::new([same_name], None).unwrap());
    let refused = node.ingest.put(&stream, payload(&[SECRET]), None).await.unwrap_err();
    assert!(matches!(refused, Error::Key(KeyError::DoesNotUnwrap { .. })), "{refused:?}");
    assert!(
        matches!(read(&node, &stream), Err(Read::KeyMissing { .. })),
        "no damage: the data key is not known"
    );

    node.keyring.replace(master(&[OLD, NEW]));
    assert!(node.ingest.put(&stream, payload(&[SECRET]), None).await.unwrap().encrypted);
    assert_eq!(read(&node, &stream).unwrap(), [&b"first"[..], SECRET]);
}

#[tokio::test]
async fn the_configured_key_is_changed_and_what_it_wrapped_still_unwraps_and_retries_are_recognised() {
    let site = Site::new().await;
    let stream = site.create("orders").await;
    let entropy = SeededEntropy::from_environment();
    let first = keyring(&site, master(&[OLD])).await.start(&stream, None, now(&site), &entropy).unwrap();
    let call = Some(CallKey::of(b"call"));
    let stored = {
        let node = node(&site, master(&[OLD]), &first).await;
        let stream = Stream { encryption: first.clone(), ..stream.clone() };
        node.ingest.put(&stream, payload(&[b"a"]), call).await.unwrap()
    };
    // A new default beside the old key; started again, the stream uses it.
    let stream = Stream { encryption: first, ..stream };
    let both = || master(&[OLD, NEW]);
    let second = keyring(&site, both()).await.start(&stream, None, now(&site), &entropy).unwrap();
    assert_eq!(second.current.as_ref().unwrap().data_key, DataKeyId(2));
    let wrapped_by: Vec<_> = second.data_keys.iter().map(|key| key.wrapped_by.as_str()).collect();
    assert_eq!(wrapped_by, [OLD, NEW]);
    let stream = Stream { encryption: second.clone(), ..stream };
    {
        let node = node(&site, both(), &second).await;
        let again = node.ingest.put(&stream, payload(&[b"a"]), call).await.unwrap();
        assert_eq!((again.first, again.duplicate), (stored.first, true));
        node.ingest.put(&stream, payload(&[b"b"]), None).await.unwrap();
        assert_eq!(read(&node, &stream).unwrap(), [b"a", b"b"]);
    }
    // The old one is gone too early: what needs it waits, puts go on, retries are still recognised.
    let node = node(&site, master(&[NEW]), &second).await;
    assert!(matches!(read(&node, &stream), Err(Read::KeyMissing { key: DataKeyId(1), .. })));
    node.ingest.put(&stream, payload(&[b"c"]), None).await.unwrap();
    let again = node.ingest.put(&stream, payload(&[b"a"]), call).await.unwrap();
    assert_eq!((again.first, again.duplicate), (stored.first, true));
    let after = node.log.read(stream.id, Position(1), 1 << 20).unwrap();
    assert_eq!(after.records().map(|(_, _, record)| record).collect::<Vec<_>>(), [b"b", b"c"]);
}

#[tokio::test]
async fn key_arn_names_a_configured_key_or_the_default_is_taken() {
    let site = Site::new().await;
    let name = site.create("orders").await.name;
    let entropy = SeededEntropy::from_environment();
    let ring = keyring(&site, master(&[OLD, NEW])).await;
    let customer = ring.start_new(&name, Some(OLD), &entropy).unwrap();
    let owned = ring.start_new(&name, None, &entropy).unwrap();
    let named = |encryption: &StreamEncryption| {
        let wrapped_by = encryption.data_keys[0].wrapped_by.clone();
        (encryption.current.as_ref().unwrap().key_arn.clone(), wrapped_by)
    };
    assert_eq!(named(&customer), (Some(OLD.to_owned()), OLD.to_owned()));
    assert_eq!(named(&owned), (None, NEW.to_owned()));
    assert!(owned.changed_at.is_empty(), "a creation is no start");
    assert_ne!(customer.data_keys[0].wrapped, owned.data_keys[0].wrapped);
    let unknown = ring.start_new(&name, Some("arn:x"), &entropy);
    assert_eq!(unknown, Err(StartError::UnknownKey("arn:x".to_owned())));
    ring.replace(MasterKeys::default());
    assert_eq!(ring.start_new(&name, None, &entropy), Err(StartError::NoDefaultKey));
}

#[tokio::test]
async fn encryption_is_started_and_stopped_25_times_in_24_hours_and_no_more() {
    let site = Site::new().await;
    let mut stream = site.create("orders").await;
    let entropy = SeededEntropy::from_environment();
    let ring = keyring(&site, master(&[OLD])).await;
    for n in 0..CHANGES_PER_DAY_MAX {
        let at = Timestamp(now(&site).0 + n as u64);
        stream.encryption = match n % 2 {
            0 => ring.start(&stream, None, at, &entropy).unwrap(),
            _ => Keyring::stop(&stream, at).unwrap(),
        };
    }
    assert_eq!(stream.encryption.data_keys.len(), 13);
    let refused = TooOften(stream.name.clone());
    let at = Timestamp(now(&site).0 + DAY_MS - 1);
    assert_eq!(Keyring::stop(&stream, at), Err(refused.clone()));
    assert_eq!(ring.start(&stream, None, at, &entropy), Err(StartError::TooOften(refused)));
    let later = Keyring::stop(&stream, Timestamp(at.0 + 1)).unwrap();
    assert_eq!(later.changed_at.len(), CHANGES_PER_DAY_MAX, "what is older is dropped");
}

#[tokio::test]
async fn data_keys_are_numbered_on_and_bounded() {
    let site = Site::new().await;
    let mut stream = site.create("orders").await;
    let entropy = SeededEntropy::from_environment();
    let ring = keyring(&site, master(&[OLD])).await;
    let one = ring.start_new(&stream.name, None, &entropy).unwrap();
    stream.encryption.data_keys =
        vec![hydrant_types::WrappedDataKey { id: DataKeyId(7), ..one.data_keys[0].clone() }];
    let next = ring.start(&stream, None, now(&site), &entropy).unwrap();
    assert_eq!(next.current.unwrap().data_key, DataKeyId(8), "an id is never used again");
    stream.encryption.data_keys = vec![one.data_keys[0].clone(); DATA_KEYS_MAX];
    let refused = ring.start(&stream, None, now(&site), &entropy);
    assert_eq!(refused, Err(StartError::TooManyKeys(stream.name)));
}

#[tokio::test]
async fn keys_are_kept_while_their_stream_is_known_and_only_its_own_are_found() {
    let site = Site::new().await;
    let stream = site.create("orders").await;
    let entropy = SeededEntropy::from_environment();
    let started = keyring(&site, master(&[OLD])).await.start(&stream, None, now(&site), &entropy).unwrap();
    let node = node(&site, master(&[OLD]), &started).await;
    let found = node.keyring.find(stream.id, DataKeyId(1)).unwrap();
    assert_eq!(found.id(), DataKeyId(1));
    let again = node.keyring.find(stream.id, DataKeyId(1)).unwrap();
    assert!(Arc::ptr_eq(&found, &again), "unwrapped once");
    node.keyring.forget_gone_streams();
    assert!(Arc::ptr_eq(&found, &node.keyring.find(stream.id, DataKeyId(1)).unwrap()));
    assert!(node.keyring.find(stream.id, DataKeyId(2)).is_none());
    assert!(node.keyring.find(hydrant_types::StreamId(99), DataKeyId(1)).is_none());

    let gone = Stream { id: hydrant_types::StreamId(99), encryption: started.clone(), ..stream.clone() };
    let kept = Arc::downgrade(&node.keyring.current(&gone).unwrap().unwrap());
    assert!(kept.upgrade().is_some());
    node.keyring.forget_gone_streams();
    assert!(kept.upgrade().is_none());
    let mut odd = Stream { encryption: started, ..stream };
    odd.encryption.current.as_mut().unwrap().data_key = DataKeyId(5);
    assert!(matches!(node.keyring.current(&odd), Err(KeyError::Unknown { data_key: DataKeyId(5), .. })));
}
