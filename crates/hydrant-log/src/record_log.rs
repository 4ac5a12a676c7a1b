//! The log as the rest of Hydrant sees it.

use std::sync::Arc;

use async_trait::async_trait;
use hydrant_types::{LogId, Position, StreamId, Timestamp};
use sha2::{Digest, Sha256};

use crate::{chunk::Chunk, encryption::DataKey, error, frame::Payload};

/// What one call adds to the log for one stream. Stored whole or not at all (design decision D13).
#[derive(Debug)]
pub struct Append {
    /// To which stream.
    pub stream: StreamId,
    /// The records, in the frame's own encoding.
    pub payload: Payload,
    /// When the call arrived; all its records have this arrival time.
    pub arrival: Timestamp,
    /// Names the producer's call, when the producer named it (design decision D4).
    pub call: Option<CallKey>,
    /// What the records are encrypted with, before anything of them is written; `None` stores them in clear.
    pub key: Option<Arc<DataKey>>,
}

/// Names one call of one producer, so that its retry is recognised: a hash over caller (access key or anonymous),
/// operation and `amz-sdk-invocation-id`. The log adds stream and payload digest by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallKey(pub [u8; 16]);

impl CallKey {
    /// The key of a call that `text` names in full: SHA-256, cut. It is kept on disk, so it is the same for ever.
    pub fn of(text: &[u8]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(text)[..16]);
        Self(key)
    }
}

/// The answer to an append: where the records are. Durable by the time it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The first record's position.
    pub first: Position,
    /// How many there are; the others follow densely.
    pub records: u32,
    /// Whether they were there already, from an earlier attempt of the same call.
    pub duplicate: bool,
    /// Whether this call came with a data key. Records of an earlier attempt may be stored as things were then.
    pub encrypted: bool,
}

/// Where a stream is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTail {
    /// The oldest position that is kept; what is before was trimmed.
    pub trimmed: Position,
    /// Everything before was noted as sealed; at least `trimmed`.
    pub sealed: Position,
    /// The position the next record gets; everything before is durable.
    pub next: Position,
}

/// A durable record log shared by all streams of a node.
///
/// One implementation is [`crate::FileLog`]; the trait is drawn so that a replicated log can be another. All methods may be called
/// from any task; nothing here blocks an async worker unless its documentation says so.
#[async_trait]
pub trait RecordLog: Send + Sync + 'static {
    /// The log's identity.
    fn log_id(&self) -> LogId;

    /// Appends one call's records and answers when they are durable. A call without records stores nothing.
    ///
    /// With a [`CallKey`], the same call with the same payload is stored once: a later attempt gets the first one's positions,
    /// also while the first is still under way, also after a restart, for 5 minutes after the last attempt seen (within a
    /// memory budget). Also across a change of the data key, where both have the same digest key, and across the start of encryption. An
    /// attempt without a key does not recognise one that was stored with a key: across the stop of encryption, and across a change of
    /// the digest key, a call may be stored twice.
    ///
    /// # Errors
    /// [`error::Append`]; then nothing of the call is stored, except with `OutcomeUnknown` (the log is ending).
    ///
    /// # Cancel safety
    /// Dropping the future does not take the append back: it may or may not become durable.
    async fn append(&self, append: Append) -> Result<Appended, error::Append>;

    /// Reads records of `stream` from `from` on, about `bytes_max` bytes of them and at least one whole record where there is one.
    /// Only what is durable is read; an empty chunk means that `from` is the end.
    ///
    /// Blocks on the disk: not for async workers.
    ///
    /// # Errors
    /// [`error::Read`]: `Trimmed` where `from` is before the oldest kept position, `Damaged` with file, offset and LSNs, `KeyMissing` where the
    /// next records are encrypted with a data key that is not to be had now: asked again once it is, the read goes on.
    fn read(&self, stream: StreamId, from: Position, bytes_max: usize) -> Result<Chunk, error::Read>;

    /// Where `stream` is; `None` where the log has never seen it or forgot it.
    fn tail(&self, stream: StreamId) -> Option<StreamTail>;

    /// Every stream the log knows, in order of id.
    fn streams(&self) -> Vec<(StreamId, StreamTail)>;

    /// Waits until streams have got new durable records and answers which, each once, since the last call. One caller at a time.
    ///
    /// # Cancel safety
    /// Safe: what was not answered is answered next time.
    async fn changed(&self) -> Vec<StreamId>;

    /// Notes in the log's own checkpoint that the metastore has every batch of `stream` before `to`. Called after the metastore
    /// committed; written with the next checkpoint, at the latest before a trim that passes it.
    fn note_sealed(&self, stream: StreamId, to: Position);

    /// Gives up every record of `stream` before `to`: they are safe elsewhere. Idempotent; never goes back. Space comes back by
    /// and by.
    fn trim(&self, stream: StreamId, to: Position);

    /// Refuses appends to `stream` from now on and answers its final `next`: ordered in the writer, so that no put is
    /// acknowledged after it. Idempotent. Durable across a restart; works while the log is full.
    ///
    /// # Errors
    /// [`error::Append`].
    async fn close_stream(&self, stream: StreamId) -> Result<Position, error::Append>;

    /// Forgets a closed stream whose records are all trimmed; any other it leaves as it is. Its id is not to be used again.
    fn forget_stream(&self, stream: StreamId);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_key_is_the_same_for_ever() {
        // SHA-256("abc"), its first half: FIPS 180-4, B.1.
        assert_eq!(CallKey::of(b"abc").0, 0xba78_16bf_8f01_cfea_4141_40de_5dae_2223_u128.to_be_bytes());
    }
}
