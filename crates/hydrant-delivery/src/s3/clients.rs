//! Clients by where objects go and as whom: one for each endpoint, region and role that streams name.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_config::sts::AssumeRoleProvider;
use aws_sdk_s3::{
    Client,
    config::{Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation},
};
use aws_types::SdkConfig;
use hydrant_types::{EndpointUrl, RegionName};
use parking_lot::Mutex;
use tracing::warn;

use crate::object_store::PutOptions;

/// Clients that are kept. One is some kilobytes (connections are shared); one that is made anew costs a call to STS.
const CLIENTS_MAX: usize = 512;
/// How sessions of ours are called in the account's records.
const SESSION_NAME: &str = "hydrant";

/// How S3 is reached where a stream says nothing else.
#[derive(Debug, Clone, Default)]
pub struct S3Access {
    /// For S3 servers that are not AWS's.
    pub endpoint_url: Option<String>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`. A stream's own endpoint is always used so.
    pub force_path_style: bool,
    /// How streams' roles are assumed; `None`: objects are written with the process's own credentials.
    pub assume_roles: Option<AssumeRoles>,
}

/// How roles are assumed.
#[derive(Debug, Clone)]
pub struct AssumeRoles {
    /// For an STS that is not AWS's.
    pub sts_endpoint_url: Option<String>,
    /// `sts:ExternalId`: Firehose gives the account's id, which trust policies that are written for it ask for.
    pub external_id: String,
}

/// An endpoint of S3 as somebody, and what was found out about it.
pub(super) struct Store {
    pub(super) client: Client,
    /// Off once the store said that it has no conditional PUT.
    conditional: AtomicBool,
    /// Off once the store said that it takes no parts.
    parts: AtomicBool,
}

impl Store {
    fn new(client: Client) -> Self {
        Self { client, conditional: AtomicBool::new(true), parts: AtomicBool::new(true) }
    }

    pub(super) fn is_conditional(&self) -> bool {
        self.conditional.load(Ordering::Relaxed)
    }

    pub(super) fn has_no_conditions(&self) {
        if self.conditional.swap(false, Ordering::Relaxed) {
            warn!("the object store has no conditional PUT: objects are put unconditionally from now on");
        }
    }

    pub(super) fn takes_parts(&self) -> bool {
        self.parts.load(Ordering::Relaxed)
    }

    pub(super) fn has_no_parts(&self) {
        if self.parts.swap(false, Ordering::Relaxed) {
            warn!("the object store takes no parts: big objects are put whole from now on");
        }
    }
}

/// What makes two streams share a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Route {
    endpoint: Option<EndpointUrl>,
    region: Option<RegionName>,
    role_arn: Option<String>,
}

/// All clients that are in use.
pub(super) struct Clients {
    sdk: SdkConfig,
    access: S3Access,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    stores: HashMap<Route, (Arc<Store>, u64)>,
    /// Grows with each use: the one with the smallest number was used longest ago.
    uses: u64,
}

impl Clients {
    pub(super) fn new(sdk: SdkConfig, access: S3Access) -> Self {
        Self { sdk, access, kept: Mutex::default() }
    }

    #[cfg(test)]
    pub(super) fn access(&self) -> &S3Access {
        &self.access
    }

    /// The store that these options mean.
    pub(super) async fn store(&self, options: &PutOptions) -> Arc<Store> {
        let route = Route {
            endpoint: options.tagged.endpoint.clone(),
            region: options.tagged.region.clone(),
            role_arn: options.role_arn.clone().filter(|_| self.access.assume_roles.is_some()),
        };
        if let Some(store) = self.kept.lock().get(&route) {
            return store;
        }
        // Nothing is asked of anybody yet. Two at a time may make one each: the second is kept.
        let store = Arc::new(Store::new(self.client(&route).await));
        self.kept.lock().insert(route, store.clone());
        store
    }

    async fn client(&self, route: &Route) -> Client {
        let mut builder = Builder::from(&self.sdk)
            .force_path_style(self.access.force_path_style)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint_url) = &self.access.endpoint_url {
            builder = builder.endpoint_url(endpoint_url);
        }
        if let Some(endpoint) = &route.endpoint {
            builder = builder.endpoint_url(endpoint.as_str()).force_path_style(true);
        }
        if let Some(region) = &route.region {
            builder = builder.region(Region::new(region.to_string()));
        }
        if let (Some(role_arn), Some(assume)) = (&route.role_arn, &self.access.assume_roles) {
            builder = builder
                .credentials_provider(self.role(role_arn, route, assume).await)
                // Of its own, so that what it holds goes with the client. It asks again before credentials expire.
                .identity_cache(IdentityCache::lazy().build());
        }
        Client::from_conf(builder.build())
    }

    async fn role(&self, role_arn: &str, route: &Route, assume: &AssumeRoles) -> AssumeRoleProvider {
        let mut sts = self.sdk.clone().into_builder();
        if let Some(endpoint_url) = &assume.sts_endpoint_url {
            sts = sts.endpoint_url(endpoint_url);
        }
        if let Some(region) = &route.region {
            sts = sts.region(Region::new(region.to_string()));
        }
        AssumeRoleProvider::builder(role_arn)
            .configure(&sts.build())
            .session_name(SESSION_NAME)
            .external_id(&assume.external_id)
            .build()
            .await
    }
}

impl Kept {
    fn get(&mut self, route: &Route) -> Option<Arc<Store>> {
        self.uses += 1;
        let (store, used) = self.stores.get_mut(route)?;
        *used = self.uses;
        Some(store.clone())
    }

    fn insert(&mut self, route: Route, store: Arc<Store>) {
        if self.stores.len() >= CLIENTS_MAX
            && let Some(oldest) = self.stores.iter().min_by_key(|(_, (_, used))| *used)
        {
            let oldest = oldest.0.clone();
            self.stores.remove(&oldest);
        }
        self.uses += 1;
        self.stores.insert(route, (store, self.uses));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(region: &str) -> PutOptions {
        let mut options =
            PutOptions { role_arn: Some("arn:aws:iam::1:role/r".to_owned()), ..PutOptions::default() };
        options.tagged.region = RegionName::parse(region);
        options
    }

    fn clients(assume_roles: Option<AssumeRoles>) -> Clients {
        let sdk = SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .time_source(aws_smithy_async::time::SystemTimeSource::new())
            .build();
        Clients::new(sdk, S3Access { assume_roles, ..S3Access::default() })
    }

    #[tokio::test]
    async fn streams_that_go_the_same_way_share_a_client_and_the_longest_unused_goes_first() {
        let assume = AssumeRoles { sts_endpoint_url: None, external_id: "000000000000".to_owned() };
        let clients = clients(Some(assume));
        let first = clients.store(&options("r-0")).await;
        let second = clients.store(&options("r-1")).await;
        assert!(!Arc::ptr_eq(&first, &second));
        for number in 2..CLIENTS_MAX {
            clients.store(&options(&format!("r-{number}"))).await;
        }
        assert!(Arc::ptr_eq(&first, &clients.store(&options("r-0")).await));
        clients.store(&options("one-more")).await;
        assert_eq!(clients.kept.lock().stores.len(), CLIENTS_MAX);
        assert!(Arc::ptr_eq(&first, &clients.store(&options("r-0")).await), "it was used a moment ago");
        assert!(!Arc::ptr_eq(&second, &clients.store(&options("r-1")).await));
    }

    #[tokio::test]
    async fn roles_make_no_difference_where_they_are_not_assumed() {
        let clients = clients(None);
        let as_role = clients.store(&options("r")).await;
        let as_self = clients.store(&PutOptions { role_arn: None, ..options("r") }).await;
        assert!(Arc::ptr_eq(&as_role, &as_self));
    }
}
