//! Brings streams to what the files in `streams.dir` declare.

use std::{collections::HashSet, time::Duration};

use hydrant_api::{Change, Control, DeclareError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{app::format_chain, stream_files::StreamFile};

/// Between two tries where a stream could not be brought to its declaration for a reason that passes.
const RETRY: Duration = Duration::from_secs(5);

/// What the files declare; `None` where no directory is configured.
pub type Declared = Option<Vec<StreamFile>>;

/// Brings streams to what `files` declares, now and whenever that changes, until `stop`.
///
/// # Cancel safety
/// Each change is whole or not made; the next run makes those that are left.
pub async fn run(control: Control, mut files: watch::Receiver<Declared>, stop: CancellationToken) {
    loop {
        let wanted = files.borrow_and_update().clone();
        let work = async {
            if let Some(wanted) = &wanted {
                bring_all(&control, wanted).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = work => {}
            changed = files.changed() => {
                if changed.is_err() {
                    return stop.cancelled().await;
                }
            }
        }
    }
}

async fn bring_all(control: &Control, files: &[StreamFile]) {
    let mut left: Vec<&StreamFile> = files.iter().collect();
    let mut said = false;
    loop {
        let mut later = Vec::new();
        for file in left {
            match control.declare(&file.name, &file.declaration).await {
                Ok(changes) => say(file, &changes),
                Err(error @ (DeclareError::Faults(_) | DeclareError::Refused { .. })) => {
                    error!(file = file.name, stream = %file.stream, error = %format_chain(&error),
                        "a stream is not as its file declares it; it is tried again when files are read again (SIGHUP)");
                }
                Err(error) => {
                    if !said {
                        warn!(file = file.name, stream = %file.stream, error = %format_chain(&error),
                            "a stream is not as its file declares it yet; trying again");
                    }
                    said = true;
                    later.push(file);
                }
            }
        }
        // Each time: one stream that waits must not hold up what the others' files say.
        release(control, files).await;
        if later.is_empty() {
            return;
        }
        tokio::time::sleep(RETRY).await;
        left = later;
    }
}

fn say(file: &StreamFile, changes: &[Change]) {
    for change in changes {
        let (file, stream) = (&file.name, &file.stream);
        match change {
            Change::Created => info!(file, %stream, "created as declared"),
            Change::Adopted => info!(file, %stream, "declared in this file from now on"),
            Change::Destination(version) => info!(file, %stream, %version, "given the declared settings"),
            Change::Tags => info!(file, %stream, "given the declared tags"),
            Change::Encryption => info!(file, %stream, "encrypted as declared"),
        }
    }
}

/// A file that disappears deletes nothing: its stream goes on, and can be changed through the API from now on.
async fn release(control: &Control, files: &[StreamFile]) {
    // A file that declares another stream now is gone for this one.
    let declared: HashSet<_> = files.iter().map(|file| (file.name.as_str(), &file.stream)).collect();
    for stream in control.streams.snapshot().streams() {
        let declares = |file: &&str| !declared.contains(&(*file, &stream.name));
        let Some(file) = stream.declared_in.as_deref().filter(declares) else { continue };
        match control.metastore.set_declared_in(stream.id, None).await {
            Ok(()) => warn!(file, stream = %stream.name,
                "the file that declared this stream is gone: the stream goes on as it is, and can be changed through the API now"),
            Err(error) => warn!(file, stream = %stream.name, error = %format_chain(&error),
                "the file that declared this stream is gone, and that could not be noted"),
        }
    }
    if let Err(error) = control.streams.refresh().await {
        warn!(error = %format_chain(&error), "the stream table was not refreshed after a change");
    }
}
