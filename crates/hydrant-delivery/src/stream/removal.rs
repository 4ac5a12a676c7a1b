//! The end of a stream: everything of it is delivered, or thrown away where it is deleted so, then it is gone.

use std::time::Duration;

use hydrant_types::Stream;
use tracing::{info, warn};

use super::{Shared, Stop, discard::Discard};
use crate::{backoff::Backoff, recorder::with_causes};

/// Other nodes notice within this time that the stream takes no more records, and seal what they have of it.
const OTHER_NODES_NOTICE: Duration = Duration::from_secs(15);
/// Between two looks whether its last load is committed.
const LOOK_MIN: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Waits until nothing of the stream is under way anywhere, and removes it. Its batches and loads stay visible until retention.
///
/// # Cancel safety
/// Safe: done anew after the next start.
pub(super) async fn remove(shared: &Shared, stream: &Stream, discard: &Discard) -> Result<(), Stop> {
    tokio::select! {
        () = shared.stopping.cancelled() => Err(Stop::Stopping),
        result = remove_when_delivered(shared, stream, discard) => result,
    }
}

async fn remove_when_delivered(shared: &Shared, stream: &Stream, discard: &Discard) -> Result<(), Stop> {
    let mut looks = Backoff::between(LOOK_MIN, LOOK_MAX, &*shared.entropy);
    let mut failures = Backoff::new(&shared.settings, &*shared.entropy);
    let (mut noticed, mut away) = (false, false);
    loop {
        let tried = try_remove(shared, stream, discard, &mut noticed).await;
        discard.say(stream);
        let wait = match tried {
            Ok(true) => break,
            Ok(false) => {
                failures.reset();
                looks.next()
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    warn!(stream = %stream.name, error = %with_causes(&error), "the stream's removal waits for the metastore");
                }
                failures.next()
            }
        };
        tokio::time::sleep(wait).await;
    }
    shared.log.forget_stream(stream.id);
    info!(stream = %stream.name, "removed: everything it took is delivered, parked or discarded");
    // Until the table says so too, it would be removed again and again.
    while let Err(error) = shared.streams.refresh().await {
        warn!(error = %with_causes(&error), "the stream table is refreshed later");
        tokio::time::sleep(failures.next()).await;
    }
    Ok(())
}

async fn try_remove(
    shared: &Shared,
    stream: &Stream,
    discard: &Discard,
    noticed: &mut bool,
) -> Result<bool, hydrant_metastore::Error> {
    if !*noticed {
        let logs = shared.metastore.logs().await?;
        if logs.iter().filter(|log| log.retired_at.is_none()).count() > 1 {
            tokio::time::sleep(OTHER_NODES_NOTICE).await;
        }
        *noticed = true;
    }
    // It may be told so while it waits.
    if shared.streams.by_id(stream.id).is_some_and(|stream| stream.is_discarding()) {
        discard.waiting(shared, stream).await?;
    }
    // Another lane has not sealed everything yet.
    let in_log = shared.log.tail(stream.id).is_some_and(|tail| tail.trimmed < tail.next);
    if in_log || shared.metastore.unfinished_batches(stream.id).await? > 0 {
        return Ok(false);
    }
    shared.metastore.remove_stream(stream.id, shared.clock.now()).await?;
    Ok(true)
}
