//! Changes to streams: what was read is written to the metastore, and the stream table brought up to date.

use std::sync::Arc;

use hydrant_ingest::{Keyring, StreamTable, keyring::StartError};
use hydrant_metastore::{Error as StoreError, Kind, Metastore, NewStream};
use hydrant_types::{Clock, Destination, Entropy, Stream, StreamEncryption, StreamName, StreamStatus, Tags};
use tracing::{error, warn};

use crate::{
    create::Creation,
    describe,
    encryption::{self, KeyChoice},
    error::ApiError,
    tags, update,
};

/// Between reading and writing another node may have written: then it is read again, this often.
pub(crate) const ATTEMPTS_MAX: u32 = 5;

/// Creates and changes streams. Shared by the operations and the streams that files declare.
#[derive(Clone)]
pub struct Control {
    /// Where streams are.
    pub metastore: Arc<dyn Metastore>,
    /// Brought up to date after each change.
    pub streams: Arc<StreamTable>,
    /// When a change was made.
    pub clock: Arc<dyn Clock>,
    /// What streams are encrypted with.
    pub keyring: Arc<Keyring>,
    /// Data keys.
    pub entropy: Arc<dyn Entropy>,
    /// In ARNs and error texts.
    pub account_id: String,
    /// In ARNs; keys must be of it.
    pub region: String,
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It cannot be made.
    Refused(ApiError),
    /// The metastore did not make it in this step, or it is not known whether it did.
    Store(&'static str, StoreError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// What a request is answered; what only the operator can mend is logged.
impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let (step, error) = match failure {
            Failure::Refused(error) => return error,
            Failure::Store(step, error) => (step, error),
        };
        let source = std::error::Error::source(&error).map(ToString::to_string);
        match error.kind() {
            Kind::Retry | Kind::OutcomeUnknown | Kind::Moved => {
                warn!(step, %error, source, "the metastore did not do it; the caller is asked to try again");
                Self::unavailable()
            }
            Kind::Rejected => {
                error!(step, %error, source, "the metastore refused");
                Self::internal()
            }
        }
    }
}

impl Control {
    /// Makes a stream.
    pub(crate) async fn create(&self, creation: Creation, file: Option<&str>) -> Result<Stream, Failure> {
        let now = self.clock.now();
        let encryption = match &creation.key {
            Some(key) => self
                .keyring
                .start_new(&creation.name, key.arn(), &*self.entropy)
                .map_err(|error| encryption::refusal(&error))?,
            None => StreamEncryption::default(),
        };
        let new = NewStream {
            name: creation.name,
            destination: creation.destination,
            tags: creation.tags,
            encryption,
            declared_in: file.map(str::to_owned),
        };
        let created = self.metastore.create_stream(&new, now).await.map_err(|error| match error {
            StoreError::StreamExists(name) => {
                let account = &self.account_id;
                ApiError::in_use(format!("Firehose {name} under accountId {account} already exists")).into()
            }
            StoreError::TooManyStreams(limit) => ApiError::limit_exceeded(format!(
                "You have already consumed your firehose quota of {limit} hoses."
            ))
            .into(),
            StoreError::TooManyTags(tags_max) => tags::too_many(tags_max).into(),
            error => Failure::Store("create the stream", error),
        })?;
        self.refresh().await;
        Ok(created)
    }

    /// The stream of this name as the metastore has it now, also where this node's table is behind.
    pub(crate) async fn stream(&self, name: &StreamName) -> Result<Option<Stream>, Failure> {
        self.metastore.stream(name).await.map_err(|error| Failure::Store("read the stream", error))
    }

    /// The stream of this name, if the API may change it; `also_deleting` where the change is one that a stream takes while it is being
    /// deleted.
    pub(crate) async fn changeable(&self, name: &StreamName, also_deleting: bool) -> Result<Stream, Failure> {
        let stream = self.stream(name).await?;
        let stream = stream.ok_or_else(|| ApiError::not_found(name.as_str(), &self.account_id))?;
        if stream.status != StreamStatus::Active && !also_deleting {
            return Err(is_being_deleted(&stream.name).into());
        }
        refuse_declared(&stream)?;
        Ok(stream)
    }

    /// Gives a stream other settings; those it has already are no new version.
    pub(crate) async fn update(&self, stream: &Stream, destination: &Destination) -> Result<Stream, Failure> {
        if stream.destination == *destination {
            return Ok(stream.clone());
        }
        update::refuse_loss_of_backup(&stream.destination, destination)?;
        let (id, version, now) = (stream.id, stream.version, self.clock.now());
        let updated = self.metastore.update_destination(id, version, destination, now).await;
        let updated = updated.map_err(|error| match error {
            StoreError::VersionMoved { found, expected, .. } => {
                version_moved(&stream.name, &found.to_string(), &expected.to_string()).into()
            }
            StoreError::StreamMoved { .. } => is_being_deleted(&stream.name).into(),
            error => Failure::Store("update the destination", error),
        })?;
        self.refresh().await;
        Ok(updated)
    }

    /// Sets and removes tags.
    pub(crate) async fn change_tags(
        &self,
        stream: &Stream,
        set: &Tags,
        remove: &[String],
    ) -> Result<(), Failure> {
        self.metastore.change_tags(stream.id, set, remove).await.map_err(|error| match error {
            StoreError::TooManyTags(tags_max) => tags::too_many(tags_max).into(),
            StoreError::StreamMoved { .. } => is_being_deleted(&stream.name).into(),
            error => Failure::Store("change the tags", error),
        })?;
        self.refresh().await;
        Ok(())
    }

    /// Puts `next` in the place of the encryption that `stream` has; `false` where something else was there meanwhile. The table is the
    /// caller's to refresh.
    pub(crate) async fn change_encryption(
        &self,
        stream: &Stream,
        next: &StreamEncryption,
    ) -> Result<bool, Failure> {
        match self.metastore.set_encryption(stream.id, &stream.encryption, next).await {
            Ok(()) => Ok(true),
            Err(StoreError::StreamMoved { .. }) => Ok(false),
            Err(error) => Err(Failure::Store("change the encryption", error)),
        }
    }

    /// The encryption of `stream` with this key, or without one.
    pub(crate) fn next_encryption(
        &self,
        stream: &Stream,
        key: Option<&KeyChoice>,
    ) -> Result<StreamEncryption, ApiError> {
        let now = self.clock.now();
        let next = match key {
            Some(key) => self.keyring.start(stream, key.arn(), now, &*self.entropy),
            None => Keyring::stop(stream, now).map_err(StartError::from),
        };
        next.map_err(|error| encryption::refusal(&error))
    }

    /// Marks a stream for deletion; one that is marked already stays so.
    pub(crate) async fn mark_deleting(&self, stream: &Stream) -> Result<(), Failure> {
        let marked = self.metastore.mark_deleting(stream.id, self.clock.now()).await;
        marked.map_err(|error| match error {
            // Gone since it was read; its name may be another's by now.
            StoreError::StreamMoved { .. } => {
                ApiError::not_found(stream.name.as_str(), &self.account_id).into()
            }
            error => Failure::Store("delete the stream", error),
        })?;
        self.refresh().await;
        Ok(())
    }

    /// What was committed is committed; other nodes, and this one if it fails here (`false`), see it a few seconds later.
    pub(crate) async fn refresh(&self) -> bool {
        let refreshed = self.streams.refresh().await;
        if let Err(error) = &refreshed {
            warn!(%error, "the stream table was not refreshed after a change");
        }
        refreshed.is_ok()
    }
}

/// A stream that a file declares is changed there.
fn refuse_declared(stream: &Stream) -> Result<(), ApiError> {
    match &stream.declared_in {
        None => Ok(()),
        Some(file) => Err(ApiError::invalid_argument(format!(
            "Firehose {} is declared in the file {file} and can only be changed there.",
            stream.name
        ))),
    }
}

fn is_being_deleted(name: &StreamName) -> ApiError {
    let status = describe::status(StreamStatus::Deleting);
    ApiError::in_use(format!("Cannot update firehose: {name} when it is in {status} status"))
}

pub(crate) fn version_moved(name: &StreamName, current: &str, specified: &str) -> ApiError {
    ApiError::concurrent_modification(format!(
        "Cannot update firehose: {name} since the current version id: {current} and specified version id: {specified} do not match"
    ))
}
