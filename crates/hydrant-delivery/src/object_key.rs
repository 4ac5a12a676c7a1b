//! Where objects, manifests and the manifests of loads that were given up go in a bucket.
//!
//! A key has one instant in it, however often: when the oldest record arrived, in the stream's time zone. Where the date is appended to a prefix
//! it stands directly behind it, without a slash between: that is what Amazon Data Firehose does, whatever the table in its documentation shows
//! (prefix `legacy` gives `legacy2026/07/13/14/…`). Random strings are drawn when a key is made, once: the key is part of a batch's row.

use hydrant_types::{
    BadPrefix, BatchId, Compression, Entropy, ErrorOutputType, LoadId, NameError, ObjectKey, Prefix,
    PrefixDate, S3Settings, StreamName, StreamVersion, Timestamp, time_zone,
};
use jiff::{Zoned, tz::TimeZone};

const DATE: &str = "%Y/%m/%d/%H/";
const TIME: &str = "%Y-%m-%d-%H-%M-%S";

/// Settings do not make a key. Those that the API takes do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `Prefix` or `ErrorOutputPrefix` is none.
    #[error("read the prefix {prefix:?}")]
    Prefix {
        /// As the settings have it.
        prefix: String,
        /// What is wrong with it.
        #[source]
        source: BadPrefix,
    },
    /// A part of the prefix stands for nothing here: a partition's key, an error output type where no error is.
    #[error("a part of the prefix {0:?} stands for nothing")]
    NoValue(String),
    /// There is no such time zone.
    #[error("there is no time zone {0:?}")]
    NoZone(String),
    /// The key is longer than S3 allows.
    #[error(transparent)]
    Key(#[from] NameError),
}

/// What a key says of its object.
#[derive(Debug, Clone, Copy)]
pub struct ObjectName<'a> {
    /// Whose records it has.
    pub stream: &'a StreamName,
    /// The version of the settings it was made under.
    pub version: StreamVersion,
    /// Of its records.
    pub oldest_arrival: Timestamp,
    /// The batch that becomes this object.
    pub batch: BatchId,
}

/// `<prefix><stream>-<version>-yyyy-MM-dd-HH-mm-ss-<batch id><extension>`; `yyyy/MM/dd/HH/` is part of a prefix without a timestamp, unless
/// `date` says otherwise.
///
/// # Errors
/// The settings make no key, or the key would be longer than S3 allows.
pub fn object(
    s3: &S3Settings,
    date: PrefixDate,
    name: ObjectName<'_>,
    entropy: &dyn Entropy,
) -> Result<ObjectKey, Error> {
    let (at, prefix) = (moment(s3, name)?, read(s3.prefix.as_deref())?);
    let mut key = evaluate(&prefix, &at, None, entropy)?;
    if !prefix.has_timestamp() && date == PrefixDate::Append {
        key += &at.strftime(DATE).to_string();
    }
    finish(key, s3, &at, name)
}

/// The same for the records of which `error` is true: below `ErrorOutputPrefix`, taken as it is; where there is none,
/// `<prefix><error output type>/yyyy/MM/dd/HH/`.
///
/// # Errors
/// As [`object`].
pub fn error_object(
    s3: &S3Settings,
    name: ObjectName<'_>,
    error: ErrorOutputType,
    entropy: &dyn Entropy,
) -> Result<ObjectKey, Error> {
    let at = moment(s3, name)?;
    let given = s3.error_output_prefix.as_deref().filter(|prefix| !prefix.is_empty());
    let key = match given {
        Some(given) => evaluate(&read(Some(given))?, &at, Some(error), entropy)?,
        None => {
            let prefix = evaluate(&read(s3.prefix.as_deref())?, &at, None, entropy)?;
            format!("{prefix}{}/{}", error.as_str(), at.strftime(DATE))
        }
    };
    finish(key, s3, &at, name)
}

fn read(prefix: Option<&str>) -> Result<Prefix<'_>, Error> {
    let prefix = prefix.unwrap_or_default();
    Prefix::parse(prefix).map_err(|source| Error::Prefix { prefix: prefix.to_owned(), source })
}

fn evaluate(
    prefix: &Prefix<'_>,
    at: &Zoned,
    error: Option<ErrorOutputType>,
    entropy: &dyn Entropy,
) -> Result<String, Error> {
    prefix.evaluate(at, error, entropy).ok_or_else(|| Error::NoValue(prefix.to_string()))
}

/// The one instant of a key, in the stream's zone.
fn moment(s3: &S3Settings, name: ObjectName<'_>) -> Result<Zoned, Error> {
    let zone = match s3.time_zone.as_deref() {
        None => TimeZone::UTC,
        Some(id) => time_zone(id).ok_or_else(|| Error::NoZone(id.to_owned()))?,
    };
    Ok(name.oldest_arrival.to_jiff().to_zoned(zone))
}

fn finish(prefix: String, s3: &S3Settings, at: &Zoned, name: ObjectName<'_>) -> Result<ObjectKey, Error> {
    let ObjectName { stream, version, batch, .. } = name;
    let extension = s3.file_extension.as_deref().unwrap_or_else(|| Compression::extension(s3.compression));
    let key = format!("{prefix}{stream}-{version}-{}-{batch}{extension}", at.strftime(TIME));
    Ok(key.parse()?)
}

/// `<prefix>manifests/yyyy/MM/dd/HH/<stream>-yyyy-MM-dd-HH-mm-ss-<load id>`: without version and extension, as Firehose has it.
///
/// # Errors
/// The key would be longer than S3 allows.
pub fn manifest(
    prefix: Option<&str>,
    stream: &StreamName,
    planned_at: Timestamp,
    load: LoadId,
) -> Result<ObjectKey, NameError> {
    let prefix = prefix.unwrap_or_default();
    let (date, time) = (planned_at.format_utc(DATE), planned_at.format_utc(TIME));
    format!("{prefix}manifests/{date}{stream}-{time}-{load}").parse()
}

/// The copy of a manifest under `<prefix>errors/manifests/`, by the same file name.
///
/// # Errors
/// The key would be longer than S3 allows, or `manifest` is not a key of [`manifest`].
pub fn errors_manifest(manifest: &ObjectKey) -> Result<ObjectKey, NameError> {
    // From behind: a prefix may itself contain `manifests/`. The date is four parts, the name one.
    let parts: Vec<_> = manifest.as_str().rsplitn(6, '/').collect();
    let from_date = parts[..parts.len().min(5)].iter().rev().copied().collect::<Vec<_>>().join("/");
    let tail = format!("manifests/{from_date}");
    let prefix = manifest.as_str().strip_suffix(&tail).unwrap_or_default();
    format!("{prefix}errors/{tail}").parse()
}

#[cfg(test)]
mod tests;
