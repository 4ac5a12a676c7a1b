//! Processors and their parameters.

use hydrant_types::Processor;

use crate::input::{Faults, Node};

const PROCESSORS_MAX: usize = 5;

/// What the processors stand before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    S3 {
        partitioning: bool,
    },
    /// MetadataExtraction finds the table there.
    Iceberg,
    Other,
}

/// Whether processing is on: it may be said, or meant by giving processors.
pub(crate) fn is_on(config: &Node<'_>) -> bool {
    let processing = config.at("ProcessingConfiguration");
    match processing.at("Enabled").value().as_bool() {
        Some(enabled) => enabled,
        None => !processing.at("Processors").items().is_empty(),
    }
}

/// Refuses the processors that are on and have no effect here yet, and what one that has leaves open.
pub(crate) fn refuse(config: &Node<'_>, faults: &mut Faults) {
    if !is_on(config) {
        return;
    }
    for processor in config.at("ProcessingConfiguration").at("Processors").items() {
        match processor.at("Type").text().unwrap_or_default() {
            "Decompression" | "CloudWatchLogProcessing" | "AppendDelimiterToRecord" => {}
            kind => faults.not_yet(&processor, &format!("The processor {kind}")),
        }
    }
}

/// A processor as it is kept and shown.
pub(crate) fn read(processor: &Node<'_>) -> Option<Processor> {
    let parameters = processor.at("Parameters").items().into_iter().map(|parameter| {
        let (name, value) = (parameter.at("ParameterName").text()?, parameter.at("ParameterValue").text()?);
        let value = match name {
            "DataMessageExtraction" => value.to_ascii_lowercase(),
            _ => value.to_owned(),
        };
        Some((name.to_owned(), value))
    });
    let parameters = parameters.collect::<Option<_>>()?;
    Some(Processor { kind: processor.at("Type").text()?.to_owned(), parameters })
}

/// Whether a processor of this type is on.
pub(super) fn has(config: &Node<'_>, kind: &str) -> bool {
    let processors = config.at("ProcessingConfiguration").at("Processors").items();
    is_on(config) && processors.iter().any(|processor| processor.at("Type").is(kind))
}

/// Checks the ProcessingConfiguration of a destination.
pub(super) fn check(config: &Node<'_>, place: Place, faults: &mut Faults) {
    if !is_on(config) {
        return;
    }
    let processing = config.at("ProcessingConfiguration");
    let processors = processing.at("Processors").items();
    if !(1..=PROCESSORS_MAX).contains(&processors.len()) {
        faults.invalid(
            &processing,
            "A maximum of 5 and a minimum of 1 processor needs to be supplied when processing is enabled.",
        );
    }
    if processors.iter().filter(|processor| processor.at("Type").is("Lambda")).count() > 1 {
        faults.invalid(&processing, "Cannot have more than 1 Lambda processor.");
    }
    for processor in processors.iter().take(PROCESSORS_MAX) {
        match processor.at("Type").text().unwrap_or_default() {
            "Lambda" => check_lambda(processor, faults),
            "MetadataExtraction" => check_metadata_extraction(processor, place, faults),
            "RecordDeAggregation" => check_deaggregation(processor, faults),
            "CloudWatchLogProcessing" => check_cloudwatch_logs(processor, &processors, faults),
            "Decompression" => {
                one_of(processor, "CompressionFormat", &["GZIP"], "CompressionFormat has to be GZIP", faults);
            }
            _ => {}
        }
    }
}

/// The value of a processor's parameter.
fn parameter<'a>(processor: &Node<'a>, name: &str) -> Option<&'a str> {
    let parameters = processor.at("Parameters").items();
    let found = parameters.iter().rev().find(|parameter| parameter.at("ParameterName").is(name))?;
    found.at("ParameterValue").text()
}

fn one_of(processor: &Node<'_>, name: &str, values: &[&str], otherwise: &str, faults: &mut Faults) {
    if parameter(processor, name).is_some_and(|value| !values.contains(&value)) {
        faults.invalid(processor, otherwise);
    }
}

fn in_range(processor: &Node<'_>, name: &str, least: f64, most: f64, otherwise: &str, faults: &mut Faults) {
    // Whole where the least is.
    let has_form = |value: &str| least.fract() != 0.0 || value.bytes().all(|byte| byte.is_ascii_digit());
    let in_bounds = |value: &str| value.parse().is_ok_and(|number: f64| (least..=most).contains(&number));
    let fits = |value: &str| has_form(value) && in_bounds(value);
    if parameter(processor, name).is_some_and(|value| !fits(value)) {
        faults.invalid(processor, otherwise);
    }
}

fn check_lambda(lambda: &Node<'_>, faults: &mut Faults) {
    if parameter(lambda, "LambdaArn").is_none() {
        faults.invalid(lambda, "LambdaArn is required when Lambda processor is used.");
    }
    let retries = "Number of retries for lambda must be between 0 and 300.";
    in_range(lambda, "NumberOfRetries", 0.0, 300.0, retries, faults);
    let size = "BufferSizeInMBs for lambda processor must be between 0.2 and 3.";
    in_range(lambda, "BufferSizeInMBs", 0.2, 3.0, size, faults);
    let interval = "BufferIntervalInSeconds for lambda processor must be between 0 and 900.";
    in_range(lambda, "BufferIntervalInSeconds", 0.0, 900.0, interval, faults);
    let given = |name| parameter(lambda, name).is_some();
    if given("BufferSizeInMBs") != given("BufferIntervalInSeconds") {
        faults.invalid(
            lambda,
            "Both BufferSizeInMBs and BufferIntervalInSeconds are required to configure buffering for lambda processor.",
        );
    }
}

fn check_metadata_extraction(extraction: &Node<'_>, place: Place, faults: &mut Faults) {
    if !matches!(place, Place::S3 { partitioning: true } | Place::Iceberg) {
        faults.invalid(
            extraction,
            "class com.amazonaws.services.firehose.internal.model.MetadataExtractionProcessor can only be present \
             when Dynamic Partitioning is enabled.",
        );
    }
    let engine = "MetaDataExtraction JSON Parsing Engine has to be one of JQ-1.6";
    one_of(extraction, "JsonParsingEngine", &["JQ-1.6"], engine, faults);
}

fn check_deaggregation(deaggregation: &Node<'_>, faults: &mut Faults) {
    let kinds = ["JSON", "DELIMITED"];
    one_of(deaggregation, "SubRecordType", &kinds, "SubRecordType has to be one of JSON, DELIMITED", faults);
    let delimited = parameter(deaggregation, "SubRecordType") == Some("DELIMITED");
    if delimited && parameter(deaggregation, "Delimiter").is_none() {
        faults.invalid(deaggregation, "Delimiter should be present for DELIMITED");
    }
}

fn check_cloudwatch_logs(processor: &Node<'_>, all: &[Node<'_>], faults: &mut Faults) {
    if !all.iter().any(|processor| processor.at("Type").is("Decompression")) {
        faults.invalid(
            processor,
            "CloudWatchLogProcessingProcessor can only be enabled with DecompressionProcessor",
        );
    }
    let values = ["True", "False", "true", "false"];
    let otherwise = "Invalid parameter value for DataMessageExtraction. Allowed values are True and False.";
    one_of(processor, "DataMessageExtraction", &values, otherwise, faults);
}
