//! The rules of the destinations that this service does not deliver to yet.

use super::{Place, check_buffering, check_logging, check_s3, check_secret, processing};
use crate::{
    destination::Kind,
    input::{Faults, Node},
};

pub(super) fn check(kind: Kind, config: &Node<'_>, faults: &mut Faults) {
    match kind {
        Kind::Elasticsearch | Kind::OpenSearch => check_search(kind, config, faults),
        Kind::Splunk => check_splunk(config, faults),
        Kind::Snowflake => check_snowflake(config, faults),
        Kind::Iceberg => check_iceberg(config, faults),
        Kind::HttpEndpoint => drop(check_secret(config, faults)),
        _ => {}
    }
    check_logging(config, faults);
    check_buffering(config, faults);
    let place = match kind {
        Kind::Iceberg => processing::Place::Iceberg,
        _ => processing::Place::Other,
    };
    processing::check(config, place, faults);
    check_s3(&config.at("S3Configuration"), Place::Objects, false, faults);
}

fn check_search(kind: Kind, config: &Node<'_>, faults: &mut Faults) {
    match (config.at("DomainARN").is_given(), config.at("ClusterEndpoint").is_given()) {
        (false, false) => {
            faults.invalid(config, "Provide either the Elasticsearch cluster endpoint or domain arn.");
        }
        (true, true) => faults.invalid(
            config,
            "Cannot provide both Elasticsearch cluster endpoint and domain ARN. Provide either the cluster endpoint or domain arn.",
        ),
        _ => {}
    }
    // Whether an Elasticsearch domain is of version 7 is not known here.
    let type_name = config.at("TypeName");
    if kind == Kind::OpenSearch && type_name.filled().is_some() {
        faults.invalid(
            &type_name,
            "Types are deprecated in Elasticsearch version 7+ and all OpenSearch versions. TypeName must be empty.",
        );
    }
}

fn check_splunk(config: &Node<'_>, faults: &mut Faults) {
    check_secret(config, faults);
    let endpoint = config.at("HECEndpoint");
    let is_endpoint = |url: &str| {
        let host_and_port =
            url.strip_prefix("https://").and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'));
        host_and_port.is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(['/', ':', ' '])
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    if endpoint.text().is_some_and(|url| !is_endpoint(url)) {
        faults
            .invalid(&endpoint, "Invalid HECEndpoint. Supported endpoint format is https://<domain>:<port>.");
    }
}

fn check_snowflake(config: &Node<'_>, faults: &mut Faults) {
    if !check_secret(config, faults) {
        for name in ["PrivateKey", "User"] {
            if !config.at(name).is_given() {
                faults.invalid(config, format!("{name} must be provided."));
            }
        }
    }
    let role = config.at("SnowflakeRoleConfiguration");
    if role.at("Enabled").is_true() && !role.at("SnowflakeRole").is_given() {
        faults.invalid(&role, "Must provide SnowflakeRole when SnowflakeRoleConfiguration is enabled.");
    }
    let option = config.at("DataLoadingOption");
    let named = config.at("ContentColumnName").is_given() && config.at("MetaDataColumnName").is_given();
    if option.is("VARIANT_CONTENT_AND_METADATA_MAPPING") && !named {
        faults.invalid(
            &option,
            "Must provide ContentColumnName and MetadataColumnName when Data Loading Option is VARIANT_CONTENT_AND_METADATA_MAPPING.",
        );
    }
}

fn check_iceberg(config: &Node<'_>, faults: &mut Faults) {
    let mode = config.at("S3BackupMode");
    if mode.is("AllData") {
        faults.invalid(&mode, "S3BackupMode.AllData is not supported for Iceberg as destination.");
    }
    let tables = config.at("DestinationTableConfigurationList");
    let routed = ["Lambda", "MetadataExtraction"].iter().any(|kind| processing::has(config, kind));
    if !routed && tables.items().len() != 1 {
        faults.invalid(
            &tables,
            "A single default destination table configuration must be provided when both Lambda and MetadataExtraction \
             processors are not provided",
        );
    }
}
