//! Which Firehose a command speaks to.

use std::net::IpAddr;

use anyhow::{Context, Result};
use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError,
};
use hydrant_client::{Client, Signing};

use crate::aws;

/// Which Firehose to speak to; real Firehose too, with `--endpoint-url https://firehose.REGION.amazonaws.com`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// The Firehose endpoint.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4573", env = "HYDRANT_ENDPOINT_URL")]
    pub endpoint_url: String,
    /// Of the signature; else the usual AWS chain, else us-east-1.
    #[arg(long)]
    region: Option<String>,
    /// Do not sign. Without it calls are signed with the credentials of the usual AWS chain; only where it has none, and the endpoint
    /// is on this machine, they are not.
    #[arg(long)]
    no_sign: bool,
}

impl Args {
    /// A client for it.
    ///
    /// # Errors
    /// As [`Args::signing`].
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.endpoint_url, self.signing().await?))
    }

    /// How its calls are signed.
    ///
    /// # Errors
    /// Credentials cannot be had: there are none and the endpoint is not on this machine, or there are and they cannot be read.
    pub async fn signing(&self) -> Result<Signing> {
        if self.no_sign {
            return Ok(Signing::None);
        }
        let sdk = aws::sdk_config(self.region.as_deref(), None).await;
        let credentials = sdk.credentials_provider().context("the AWS chain has no credentials provider")?;
        let region = sdk.region().map_or("us-east-1", |region| region.as_ref()).to_owned();
        self.signing_with(credentials, region).await
    }

    async fn signing_with(&self, credentials: SharedCredentialsProvider, region: String) -> Result<Signing> {
        match credentials.provide_credentials().await {
            Ok(_) => Ok(Signing::V4 { region, credentials }),
            // Not for any other error: credentials that are there but cannot be read must not be ignored silently.
            Err(error) if found_none(&error) && is_local(&self.endpoint_url) => Ok(Signing::None),
            Err(error) => Err(error).context("find AWS credentials to sign with (or say --no-sign)"),
        }
    }
}

/// Whether the chain came to its end without credentials. The end is the instance's metadata service; where it refuses (outside
/// EC2, in a container, or switched off), there are none either.
fn found_none(error: &CredentialsError) -> bool {
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        return true;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<ImdsError>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Whether a URL's host is this machine, by name or by address.
fn is_local(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use aws_config::{imds, provider_config::ProviderConfig};
    use aws_credential_types::{Credentials, provider::future};

    use super::*;

    fn args(endpoint_url: &str) -> Args {
        Args { endpoint_url: endpoint_url.to_owned(), region: None, no_sign: false }
    }

    /// A chain that fails.
    #[derive(Debug)]
    struct Failing(fn() -> CredentialsError);

    impl ProvideCredentials for Failing {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err((self.0)()))
        }
    }

    async fn signing(endpoint_url: &str, chain: SharedCredentialsProvider) -> Result<Signing> {
        args(endpoint_url).signing_with(chain, "eu-central-1".to_owned()).await
    }

    const LOCAL: &str = "http://127.0.0.1:4573";
    const ELSEWHERE: &str = "https://firehose.eu-central-1.amazonaws.com";

    #[tokio::test]
    async fn calls_are_signed_wherever_there_are_credentials_loopback_included() {
        for url in [LOCAL, ELSEWHERE] {
            let chain = SharedCredentialsProvider::new(Credentials::new("k", "s", None, None, "profile"));
            let Signing::V4 { region, .. } = signing(url, chain).await.unwrap() else {
                panic!("{url}: not signed")
            };
            assert_eq!(region, "eu-central-1");
        }
    }

    #[tokio::test]
    async fn without_credentials_calls_go_unsigned_to_loopback_and_nowhere_else() {
        let none = || SharedCredentialsProvider::new(Failing(|| CredentialsError::not_loaded("none")));
        assert!(matches!(signing(LOCAL, none()).await.unwrap(), Signing::None));
        let error = signing(ELSEWHERE, none()).await.unwrap_err();
        assert!(error.to_string().contains("--no-sign"), "{error}");
    }

    #[tokio::test]
    async fn a_metadata_service_that_refuses_has_no_credentials() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let refuse = axum::Router::new().fallback(|| async { axum::http::StatusCode::FORBIDDEN });
        tokio::spawn(async move { axum::serve(listener, refuse).await });
        let http_client = aws_smithy_http_client::Builder::new().build_http();
        let settings = ProviderConfig::without_region().with_http_client(http_client);
        let metadata = imds::Client::builder().configure(&settings).endpoint(endpoint).unwrap().build();
        let chain = imds::credentials::ImdsCredentialsProvider::builder().imds_client(metadata).build();
        let error = chain.provide_credentials().await.unwrap_err();
        assert!(matches!(error, CredentialsError::ProviderError(_)), "{error:?}");
        assert!(found_none(&error), "{error:?}");
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_read_are_an_error_on_loopback_too() {
        let broken =
            SharedCredentialsProvider::new(Failing(|| CredentialsError::invalid_configuration("broken")));
        assert!(signing(LOCAL, broken).await.is_err());
    }

    #[tokio::test]
    async fn no_sign_asks_nobody_for_credentials() {
        let args = Args { no_sign: true, ..args(ELSEWHERE) };
        assert!(matches!(args.signing().await.unwrap(), Signing::None));
    }

    #[test]
    fn only_this_machine_is_local() {
        for url in
            [LOCAL, "http://localhost:4573", "https://localhost", "http://[::1]:1", "http://127.1.2.3/"]
        {
            assert!(is_local(url), "{url}");
        }
        for url in
            [ELSEWHERE, "http://localhost.example.com", "http://127.example.com", "http://10.0.0.1", ""]
        {
            assert!(!is_local(url), "{url}");
        }
    }
}
