//! A log over another, of which a test changes single calls.

use std::sync::Arc;

use async_trait::async_trait;
use hydrant_types::{LogId, Position, StreamId};

use crate::{Append, Appended, Chunk, RecordLog, StreamTail, error};

type ReadHook = Box<dyn Fn(StreamId, Position) -> Result<(), error::Read> + Send + Sync>;

/// Passes every call on, except for what is hooked.
pub struct HookedLog {
    inner: Arc<dyn RecordLog>,
    before_append: Box<dyn Fn(&Append) + Send + Sync>,
    before_read: ReadHook,
    trims: bool,
}

impl HookedLog {
    /// Over `inner`, with nothing changed yet.
    pub fn new(inner: Arc<dyn RecordLog>) -> Self {
        Self { inner, before_append: Box::new(|_| {}), before_read: Box::new(|_, _| Ok(())), trims: true }
    }

    /// Called with each append before it is passed on.
    #[must_use]
    pub fn before_append(mut self, hook: impl Fn(&Append) + Send + Sync + 'static) -> Self {
        self.before_append = Box::new(hook);
        self
    }

    /// Called before each read with stream and position; an error is the read's answer.
    #[must_use]
    pub fn before_read(
        mut self,
        hook: impl Fn(StreamId, Position) -> Result<(), error::Read> + Send + Sync + 'static,
    ) -> Self {
        self.before_read = Box::new(hook);
        self
    }

    /// Nothing is trimmed, as if every crash came just before.
    #[must_use]
    pub fn never_trimmed(mut self) -> Self {
        self.trims = false;
        self
    }
}

#[async_trait]
impl RecordLog for HookedLog {
    fn log_id(&self) -> LogId {
        self.inner.log_id()
    }

    async fn append(&self, append: Append) -> Result<Appended, error::Append> {
        (self.before_append)(&append);
        self.inner.append(append).await
    }

    fn read(&self, stream: StreamId, from: Position, bytes_max: usize) -> Result<Chunk, error::Read> {
        (self.before_read)(stream, from)?;
        self.inner.read(stream, from, bytes_max)
    }

    fn tail(&self, stream: StreamId) -> Option<StreamTail> {
        self.inner.tail(stream)
    }

    fn streams(&self) -> Vec<(StreamId, StreamTail)> {
        self.inner.streams()
    }

    async fn changed(&self) -> Vec<StreamId> {
        self.inner.changed().await
    }

    fn note_sealed(&self, stream: StreamId, to: Position) {
        self.inner.note_sealed(stream, to);
    }

    fn trim(&self, stream: StreamId, to: Position) {
        if self.trims {
            self.inner.trim(stream, to);
        }
    }

    async fn close_stream(&self, stream: StreamId) -> Result<Position, error::Append> {
        self.inner.close_stream(stream).await
    }

    fn forget_stream(&self, stream: StreamId) {
        self.inner.forget_stream(stream);
    }
}
