//! What an answer is worth: on a disk that is slow, fails, or forgets all that was not synced.

#[path = "../tests/common/mod.rs"]
mod common;
mod forgetful_disk;
mod power_cut;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use common::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, client, refusal, settings};
use hydrant_testkit::eventually;
use parking_lot::{Condvar, Mutex};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::disk::{Disk, RealDisk};
use crate::serve_on;
use forgetful_disk::ForgetfulDisk;

const LIMIT: Duration = Duration::from_secs(30);

struct Server {
    client: Client,
    _stops_when_dropped: DropGuard,
}

async fn server_on(disk: Arc<dyn Disk>, directory: &Path) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    tokio::spawn(serve_on(disk, listener, settings(directory), shutdown.clone()));
    let client = client(&endpoint, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    // The directory was read, and its bucket made, before the first answer.
    client.head_bucket().bucket(BUCKET).send().await.unwrap();
    Server { client, _stops_when_dropped: shutdown.drop_guard() }
}

/// A disk that takes its time: a sync of the closed kind waits until it is opened again.
#[derive(Debug, Default)]
struct SlowDisk {
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    files_closed: bool,
    dirs_closed: bool,
    waiting: usize,
}

impl SlowDisk {
    fn set(&self, files_closed: bool, dirs_closed: bool) {
        let mut gate = self.gate.lock();
        (gate.files_closed, gate.dirs_closed) = (files_closed, dirs_closed);
        self.changed.notify_all();
    }

    fn wait_while(&self, closed: impl Fn(&Gate) -> bool) {
        let mut gate = self.gate.lock();
        gate.waiting += 1;
        self.changed.wait_while(&mut gate, |gate| closed(gate));
        gate.waiting -= 1;
    }

    async fn is_waited_for(&self) {
        eventually("the disk is asked to sync", LIMIT, async || (self.gate.lock().waiting > 0).then_some(()))
            .await;
    }
}

impl Disk for SlowDisk {
    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.wait_while(|gate| gate.files_closed);
        RealDisk.sync_file(file)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.wait_while(|gate| gate.dirs_closed);
        RealDisk.sync_dir(path)
    }
}

#[tokio::test]
async fn no_put_is_answered_before_its_file_and_then_its_directory_are_synced() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(SlowDisk::default());
    let server = server_on(Arc::clone(&disk) as Arc<dyn Disk>, directory.path()).await;
    for (files_closed, dirs_closed) in [(true, false), (false, true)] {
        disk.set(files_closed, dirs_closed);
        let put = server.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"x"));
        let put = tokio::spawn(put.send());
        disk.is_waited_for().await;
        // Long enough for an answer that does not wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(
            !put.is_finished(),
            "answered while (file, directory) were not synced: {:?}",
            disk.gate.lock()
        );
        disk.set(false, false);
        put.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_until_the_directory_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(ForgetfulDisk::default());
    let server = server_on(Arc::clone(&disk) as Arc<dyn Disk>, directory.path()).await;
    let put = |key: &str| server.client.put_object().bucket(BUCKET).key(key).send();
    put("before").await.unwrap();
    // The file's sync still works, the directory's does not.
    disk.power_off_after(1);
    assert_eq!(refusal(put("lost").await), (500, "InternalError".to_owned()));
    disk.power_on();
    assert_eq!(refusal(put("after").await), (503, "ServiceUnavailable".to_owned()));
    let read = server.client.get_object().bucket(BUCKET).key("lost").send().await;
    assert_eq!(refusal(read), (503, "ServiceUnavailable".to_owned()));
    let left = disk.after_power_cut(directory.path());
    let server = server_on(Arc::new(RealDisk), left.path()).await;
    let listed = server.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let keys: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["before"]);
}
