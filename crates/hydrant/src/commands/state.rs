//! Where commands that look at deliveries find the metastore and the record log.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use hydrant_metastore::Metastore;

use crate::{config, dev};

/// Which service's state to look into.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// The service's configuration file.
    #[arg(short, long, value_name = "FILE", env = "HYDRANT_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory of `hydrant dev`; used when there is no configuration file.
    #[arg(long, value_name = "DIR", default_value = "./hydrant-data")]
    data_dir: PathBuf,
}

impl Args {
    /// The configuration that the service runs with.
    ///
    /// # Errors
    /// It is not valid, or there is no data directory where the arguments say.
    pub fn load(&self) -> Result<config::Config> {
        let environment = config::process_environment();
        if let Some(path) = &self.config {
            return Ok(config::Config::load(Some(path), &environment)?);
        }
        if !dev::database(&self.data_dir).exists() {
            bail!(
                "{} does not exist: give the service's configuration with --config, or the directory of \
                 `hydrant dev` with --data-dir",
                dev::database(&self.data_dir).display()
            );
        }
        let data_dir = self.data_dir.canonicalize().context("resolve the data directory")?;
        Ok(dev::stored_config(&data_dir, &environment)?)
    }

    /// Opens the metastore.
    ///
    /// # Errors
    /// As [`Args::load`], or it does not answer.
    pub async fn open(&self) -> Result<Arc<dyn Metastore>> {
        let config = self.load()?;
        hydrant_metastore::open(config.metastore.url.reveal(), false).await.context("open the metastore")
    }
}
