//! The AWS clients, made once: one TLS provider, time-outs on every call, retries left to whoever knows the state.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::config;

/// The region where nothing says another.
const REGION_DEFAULT: &str = "us-east-1";
/// No answer for this long and the attempt is over; an object of 128 MiB needs seconds, not minutes.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Says once which TLS implementation the process uses. To be called first in `main`.
pub fn install_tls_provider() {
    // Fails only when a provider is installed already, which is then the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What both clients share. `credentials`: `None` for the usual AWS chain.
pub async fn sdk_config(region: Option<&str>, credentials: Option<Credentials>) -> SdkConfig {
    let http_client =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        // Deliveries are retried by the state machine that records each attempt; two ladders would multiply.
        .retry_config(RetryConfig::standard().with_max_attempts(1))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    let config = loader.load().await;
    if config.region().is_some() {
        return config;
    }
    config.into_builder().region(Region::from_static(REGION_DEFAULT)).build()
}

/// How deliveries reach S3.
pub fn s3_access(config: &config::Config) -> hydrant_delivery::S3Access {
    let roles = || hydrant_delivery::AssumeRoles {
        sts_endpoint_url: config.s3.sts_endpoint_url.clone(),
        external_id: config.api.account_id.clone(),
    };
    hydrant_delivery::S3Access {
        endpoint_url: config.s3.endpoint_url.clone(),
        force_path_style: config.s3.force_path_style,
        assume_roles: config.s3.assume_roles.then(roles),
    }
}

/// An S3 client for commands that look at what was delivered.
pub fn s3_client(sdk: &SdkConfig, settings: &config::S3) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
    let mut builder = aws_sdk_s3::config::Builder::from(sdk)
        .force_path_style(settings.force_path_style)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint_url) = &settings.endpoint_url {
        builder = builder.endpoint_url(endpoint_url);
    }
    aws_sdk_s3::Client::from_conf(builder.build())
}

/// The Redshift Data API client for loads.
pub fn data_api(sdk: &SdkConfig, settings: &config::Redshift) -> hydrant_redshift::DataApi {
    hydrant_redshift::DataApi::new(
        sdk.clone(),
        hydrant_redshift::Settings {
            endpoint_url: settings.endpoint_url.clone(),
            region: settings.region.clone(),
            iam_role: settings.iam_role.clone(),
        },
    )
}
