//! CreateDeliveryStream's input: a stream that is to be made, as a request or a file has it.
//!
//! A setting that is valid for Firehose and has no effect here yet is refused by name; the few that are accepted without effect are in
//! `docs/api.md`.

use hydrant_types::{Destination, StreamName, Tags};

use crate::{
    destination::{self, Kind},
    encryption::{self, KeyChoice},
    input::{Faults, Node},
    tags,
};

/// A stream to be made.
#[derive(Debug)]
pub(crate) struct Creation {
    pub(crate) name: StreamName,
    pub(crate) destination: Destination,
    pub(crate) tags: Tags,
    /// What its records are to be encrypted with; `None` where they are not.
    pub(crate) key: Option<KeyChoice>,
}

/// Reads an input of the right shape.
pub(crate) fn read(input: &Node<'_>, region: &str, faults: &mut Faults) -> Option<Creation> {
    check_source(input, faults);
    let key = encryption::read(input, is_encryptable(input), region, faults);
    let tags = tags::read(&input.at("Tags"), faults);
    refuse_sources(input, faults);
    let destination = destination(input, faults);
    let name = input.at("DeliveryStreamName").text()?.parse().ok()?;
    Some(Creation { name, destination: destination?, tags, key })
}

fn stream_type<'a>(input: &Node<'a>) -> &'a str {
    input.at("DeliveryStreamType").text().unwrap_or("DirectPut")
}

fn is_encryptable(input: &Node<'_>) -> bool {
    matches!(stream_type(input), "DirectPut" | "DatabaseAsSource")
}

/// What a type of stream needs. A Kinesis source on a DirectPut stream is ignored, as Firehose itself does.
fn check_source(input: &Node<'_>, faults: &mut Faults) {
    let (member, text) = match stream_type(input) {
        "KinesisStreamAsSource" => (
            "KinesisStreamSourceConfiguration",
            "KinesisSourceStreamConfig is mandatory for KinesisStreamAsSource stream type.",
        ),
        "MSKAsSource" => {
            ("MSKSourceConfiguration", "MSKSourceConfig is mandatory for MSK as Source stream type.")
        }
        "DatabaseAsSource" => (
            "IcebergDestinationConfiguration",
            "IcebergDestinationConfiguration must be specified for Database as Source.",
        ),
        _ => return,
    };
    if !input.at(member).is_given() {
        faults.invalid(&input.at("DeliveryStreamType"), text);
    }
}

fn refuse_sources(input: &Node<'_>, faults: &mut Faults) {
    let kind = stream_type(input);
    if kind != "DirectPut" {
        faults.not_yet(&input.at("DeliveryStreamType"), &format!("DeliveryStreamType {kind}"));
    }
    for member in ["MSKSourceConfiguration", "DatabaseSourceConfiguration"] {
        if input.at(member).is_given() {
            faults.not_yet(&input.at(member), member);
        }
    }
}

fn destination(input: &Node<'_>, faults: &mut Faults) -> Option<Destination> {
    let is_given = |kind: &Kind| input.at(&kind.configuration()).is_given();
    let mut given = Kind::ALL.into_iter().filter(is_given);
    match (given.next(), given.next()) {
        (Some(kind), None) => destination::read(kind, &input.at(&kind.configuration()), faults),
        _ => {
            faults.invalid(input, "Exactly one destination configuration is supported for a Firehose");
            None
        }
    }
}
