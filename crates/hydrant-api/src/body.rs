//! A request's body, within its limits.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hydrant_ingest::Room;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

/// Read and thrown away, so that a client that is still sending sees the refusal rather than a reset connection.
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// More than the operation takes.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// Too much is in flight already.
    #[error("no room")]
    NoRoom,
    /// Not all of it came in time.
    #[error("not complete in time")]
    TimedOut,
    /// The client went away.
    #[error("ended early")]
    Ended(#[source] hyper::Error),
}

/// The whole of `body`, at most `bytes_max` of it, and the room it takes. Room is taken as it arrives, and `hasher` is fed: a piece is what
/// one read of the connection brought, so that no worker is held up for longer than its hash takes.
pub(crate) async fn read(
    mut body: Incoming,
    bytes_max: usize,
    mut room: Room,
    patience: Duration,
    hasher: Option<&mut Sha256>,
) -> Result<(Bytes, Room), BodyError> {
    let metered = Metered { body: &mut body, bytes_max, left: bytes_max, room: &mut room, hasher };
    let collected = timeout(patience, metered.collect()).await.unwrap_or(Err(BodyError::TimedOut));
    match collected {
        Ok(collected) => Ok((collected.to_bytes(), room)),
        Err(error) => {
            drop(room);
            if matches!(error, BodyError::TooLarge(_) | BodyError::NoRoom) {
                discard(body).await;
            }
            Err(error)
        }
    }
}

/// Reads on and throws away, for a while.
pub(crate) async fn discard(mut body: Incoming) {
    if body.size_hint().lower() > DISCARD_BYTES_MAX {
        return;
    }
    let mut left = DISCARD_BYTES_MAX;
    let throw_away = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(bytes) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // In time or not: the refusal follows either way.
    let _ = timeout(DISCARD_TIMEOUT, throw_away).await;
}

/// Counts what arrives.
struct Metered<'a> {
    body: &'a mut Incoming,
    bytes_max: usize,
    left: usize,
    room: &'a mut Room,
    hasher: Option<&'a mut Sha256>,
}

impl Body for Metered<'_> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(frame) = ready!(Pin::new(&mut *self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(BodyError::Ended)?;
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.left = self.left.checked_sub(bytes).ok_or(BodyError::TooLarge(self.bytes_max))?;
        self.room.grow(bytes).map_err(|_| BodyError::NoRoom)?;
        if let (Some(hasher), Some(data)) = (&mut self.hasher, frame.data_ref()) {
            hasher.update(data);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
