//! UpdateDestination: the settings in force as a configuration, with what is given put into it, read as a new one would be.

use hydrant_types::Destination;
use serde_json::{Map, Value};

use crate::{
    describe,
    destination::{self, Kind},
    error::ApiError,
    input::{Faults, Node},
    model,
    shape::Findings,
};

/// The settings that follow from `current` by what an input of the right shape gives.
///
/// Members that are not given keep their values, each as a whole. Where the type changes nothing is kept: all that is required must be given.
pub(crate) fn apply(current: &Destination, input: &Value) -> Result<Destination, ApiError> {
    let (kind, update) = given(input)?;
    let same = matches!(
        (kind, current),
        (Kind::S3 | Kind::ExtendedS3, Destination::S3(_)) | (Kind::Redshift, Destination::Redshift(_))
    );
    refuse_switch(kind, same)?;
    let mut config = if same { describe::configuration(current) } else { Map::new() };
    merge(&mut config, &known(kind, update));
    let config = Value::Object(config);
    check_shape(kind, &config)?;
    let mut faults = Faults::default();
    // A plain update of an extended destination leaves alone what it has no member for.
    let whole = if same && kind == Kind::S3 { Kind::ExtendedS3 } else { kind };
    let read = destination::read(whole, &Node::root(&config), &mut faults);
    faults.or(read).map_err(|error| named_as_given(kind, error))
}

/// What is refused is named by the member that was given.
fn named_as_given(kind: Kind, mut error: ApiError) -> ApiError {
    error.message = error.message.map(|text| text.replace(&kind.configuration(), &kind.update()));
    error
}

/// The members that the update has; others are ignored, as everywhere.
fn known(kind: Kind, update: &Map<String, Value>) -> Map<String, Value> {
    let shape = model::shape(&kind.update());
    let known = update.iter().filter(|(name, _)| shape.has_member(name));
    known.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What is backed up stays so, whatever the destination becomes: records are in the log that only the backup has still to take.
pub(crate) fn refuse_loss_of_backup(current: &Destination, next: &Destination) -> Result<(), ApiError> {
    if current.s3().backup.is_some() && next.s3().backup.is_none() {
        return Err(ApiError::invalid_argument("Disabling S3 backup is not currently supported."));
    }
    Ok(())
}

/// What is missing is told by the update's names.
fn check_shape(kind: Kind, config: &Value) -> Result<(), ApiError> {
    let findings = Findings::of_member(config, model::shape(&kind.configuration()), &kind.update());
    findings.refusal().map_err(|mut error| {
        let renamed = |text: String| {
            text.replace("s3Configuration", "s3Update").replace("s3BackupConfiguration", "s3BackupUpdate")
        };
        // Iceberg's updates have the configuration's name.
        if kind != Kind::Iceberg {
            error.message = error.message.map(renamed);
        }
        error
    })
}

/// The one update that is given.
fn given(input: &Value) -> Result<(Kind, &Map<String, Value>), ApiError> {
    let mut given =
        Kind::ALL.into_iter().filter_map(|kind| Some((kind, input.get(kind.update())?.as_object()?)));
    match (given.next(), given.next()) {
        (Some(update), None) => Ok(update),
        (None, _) => Err(ApiError::invalid_argument(
            "At least one destination or source configuration update must be provided",
        )),
        (Some(_), Some(_)) => Err(ApiError::invalid_argument(
            "Exactly one destination configuration is supported for a Firehose",
        )),
    }
}

fn refuse_switch(kind: Kind, same: bool) -> Result<(), ApiError> {
    match kind {
        Kind::Elasticsearch | Kind::OpenSearch | Kind::OpenSearchServerless if !same => {
            Err(ApiError::invalid_argument(format!(
                "Changing the destination type to or from {} is not supported at this time.",
                kind.name()
            )))
        }
        _ => Ok(()),
    }
}

/// Puts an update into a configuration, under the configuration's names.
fn merge(config: &mut Map<String, Value>, update: &Map<String, Value>) {
    for (name, value) in update.iter().filter(|(_, value)| !value.is_null()) {
        let (name, memberwise) = match name.as_str() {
            "S3Update" => ("S3Configuration", true),
            "S3BackupUpdate" => ("S3BackupConfiguration", true),
            "DataFormatConversionConfiguration" => ("DataFormatConversionConfiguration", true),
            name => (name, false),
        };
        match (config.get_mut(name), value) {
            (Some(Value::Object(kept)), Value::Object(given)) if memberwise => merge(kept, given),
            _ => drop(config.insert(name.to_owned(), value.clone())),
        }
    }
}
