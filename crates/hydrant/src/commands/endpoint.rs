//! Which Firehose a command speaks to.

use anyhow::{Context, Result};
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
    /// Do not sign. Without it calls are signed where the usual AWS chain has credentials; loopback does without.
    #[arg(long)]
    no_sign: bool,
}

impl Args {
    /// A client for it.
    ///
    /// # Errors
    /// There are no credentials, and the endpoint is not on this machine.
    pub async fn client(&self) -> Result<Client> {
        if self.no_sign {
            return Ok(Client::unsigned(&self.endpoint_url));
        }
        let sdk = aws::sdk_config(self.region.as_deref(), None).await;
        let provider = sdk.credentials_provider().context("the AWS chain has no credentials provider")?;
        let region = sdk.region().map_or("us-east-1", |region| region.as_ref()).to_owned();
        use aws_credential_types::provider::ProvideCredentials;
        if self.is_local() && std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            return Ok(Client::unsigned(&self.endpoint_url));
        }
        provider
            .provide_credentials()
            .await
            .context("find AWS credentials to sign with (or say --no-sign)")?;
        Ok(Client::new(&self.endpoint_url, Signing::V4 { region, credentials: provider }))
    }

    fn is_local(&self) -> bool {
        ["http://127.", "http://localhost", "http://[::1]"]
            .iter()
            .any(|local| self.endpoint_url.starts_with(local))
    }
}
