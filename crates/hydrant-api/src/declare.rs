//! Streams that files declare: each file is exactly what CreateDeliveryStream takes, and a stream is brought to what its file says.

use std::fmt;

use hydrant_metastore::Error as StoreError;
use hydrant_types::{Stream, StreamName, StreamStatus, StreamVersion, Tags};
use serde_json::Value;

use crate::{
    control::{ATTEMPTS_MAX, Control, Failure},
    create::{self, Creation},
    encryption::KeyChoice,
    error::ApiError,
    input::{Faults, Node},
    model,
    shape::Findings,
};

/// Everything that is wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclarationFaults(pub Vec<DeclarationFault>);

/// One thing that is wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclarationFault {
    /// The member, as RFC 6901 points to it: `/ExtendedS3DestinationConfiguration/BucketARN`. One that is missing is pointed to all the same.
    pub pointer: String,
    /// What is wrong, in the service's words where it has any.
    pub message: String,
}

impl fmt::Display for DeclarationFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", fault.pointer, fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for DeclarationFaults {}

/// What was done to bring a stream to its declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Created,
    /// It was made otherwise, or by another file, and is this file's from now on.
    Adopted,
    /// Its settings differed; the version that has the declared ones.
    Destination(StreamVersion),
    /// Its tags differed.
    Tags,
    /// Its encryption differed.
    Encryption,
}

/// A stream was not brought to its declaration; what was changed before stays changed, and the same call goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The declaration is wrong.
    #[error("{0}")]
    Faults(DeclarationFaults),
    /// A stream of this name is still being deleted; later it will be gone.
    #[error("the stream {0} is being deleted")]
    Deleting(StreamName),
    /// It cannot be: a key is not configured, there are too many streams or tags, its backup would be switched off.
    #[error("{message}")]
    Refused {
        /// The API's code.
        code: &'static str,
        /// In words.
        message: String,
    },
    /// The metastore did not do a step, or it is not known whether it did. The same call may be repeated.
    #[error("{step}: the metastore did not do it")]
    Metastore {
        /// Which step.
        step: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Others change the stream all the time.
    #[error("the stream {0} was changed by others meanwhile")]
    Contended(StreamName),
}

impl From<Failure> for DeclareError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => {
                let ApiError { code, message, .. } = error;
                Self::Refused { code, message: message.unwrap_or_default() }
            }
            Failure::Store(step, source) => Self::Metastore { step, source },
        }
    }
}

/// Finds everything that is wrong with a declaration, without asking anybody. Unlike a request's, a member that the API does not have is a fault.
///
/// # Errors
/// All faults.
pub fn check_declaration(declaration: &Value, region: &str) -> Result<StreamName, DeclarationFaults> {
    read(declaration, region).map(|creation| creation.name)
}

fn read(declaration: &Value, region: &str) -> Result<Creation, DeclarationFaults> {
    let findings = Findings::of_strict(declaration, model::input("CreateDeliveryStream"));
    if !findings.is_empty() {
        let faults = findings
            .into_all()
            .map(|finding| DeclarationFault { pointer: finding.path.pointer, message: finding.text });
        return Err(DeclarationFaults(faults.collect()));
    }
    let mut faults = Faults::default();
    let creation = create::read(&Node::root(declaration), region, &mut faults);
    let faults: Vec<DeclarationFault> = faults
        .into_all()
        .into_iter()
        .map(|fault| DeclarationFault {
            pointer: fault.pointer,
            message: fault.error.message.unwrap_or_default(),
        })
        .collect();
    match creation {
        Some(creation) if faults.is_empty() => Ok(creation),
        _ => Err(DeclarationFaults(faults)),
    }
}

impl Control {
    /// Makes the stream that a file declares, or brings the one there is to what the file says; answers what was changed, which is nothing
    /// the second time. The destination is compared as it is read, tags and encryption as they are. Idempotent.
    ///
    /// # Errors
    /// [`DeclareError`].
    ///
    /// # Cancel safety
    /// Each change is whole or not made; the next call makes those that are left.
    pub async fn declare(&self, file: &str, declaration: &Value) -> Result<Vec<Change>, DeclareError> {
        let wanted = || read(declaration, &self.region).map_err(DeclareError::Faults);
        let name = wanted()?.name;
        let mut changes = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            match self.stream(&name).await? {
                None => match self.create(wanted()?, Some(file)).await {
                    Ok(_) => return Ok(vec![Change::Created]),
                    // By another node, meanwhile.
                    Err(Failure::Refused(error)) if error.code == "ResourceInUseException" => {}
                    Err(failure) => return Err(failure.into()),
                },
                Some(stream) if stream.status != StreamStatus::Active => {
                    return Err(DeclareError::Deleting(stream.name));
                }
                Some(stream) => match self.bring(&stream, file, &wanted()?, &mut changes).await {
                    Ok(true) => return Ok(changes),
                    Ok(false) => {}
                    Err(Failure::Refused(error))
                        if ["ConcurrentModificationException", "ResourceInUseException"]
                            .contains(&error.code) => {}
                    Err(failure) => return Err(failure.into()),
                },
            }
        }
        Err(DeclareError::Contended(name))
    }

    /// `false` where something was changed by others, and the stream is to be read again.
    async fn bring(
        &self,
        stream: &Stream,
        file: &str,
        wanted: &Creation,
        changes: &mut Vec<Change>,
    ) -> Result<bool, Failure> {
        if stream.declared_in.as_deref() != Some(file) {
            let declared = self.metastore.set_declared_in(stream.id, Some(file)).await;
            declared.map_err(|error| Failure::Store("say which file declares the stream", error))?;
            self.refresh().await;
            changes.push(Change::Adopted);
        }
        let updated = self.update(stream, &wanted.destination).await?;
        if updated.version != stream.version {
            changes.push(Change::Destination(updated.version));
        }
        if stream.tags != wanted.tags {
            let (set, remove) = difference(&stream.tags, &wanted.tags);
            self.change_tags(stream, &set, &remove).await?;
            changes.push(Change::Tags);
        }
        let current = stream.encryption.current.as_ref().map(|current| current.key_arn.as_deref());
        if current == wanted.key.as_ref().map(KeyChoice::arn) {
            return Ok(true);
        }
        let next = self.next_encryption(stream, wanted.key.as_ref())?;
        let done = self.change_encryption(stream, &next).await?;
        if done {
            self.refresh().await;
            changes.push(Change::Encryption);
        }
        Ok(done)
    }
}

/// What is to be set and removed for `now` to become `wanted`.
fn difference(now: &Tags, wanted: &Tags) -> (Tags, Vec<String>) {
    let set = wanted.iter().filter(|(key, value)| now.get(*key) != Some(value));
    let remove = now.keys().filter(|key| !wanted.contains_key(*key));
    (set.map(|(key, value)| (key.clone(), value.clone())).collect(), remove.cloned().collect())
}
