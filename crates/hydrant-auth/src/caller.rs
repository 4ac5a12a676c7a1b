//! Who calls, and what that caller may do.

use std::{fmt, sync::Arc};

use crate::{Service, access_keys::Key};

/// The account that is served: what ARNs are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// Signatures are scoped to it.
    pub region: String,
    /// Twelve digits.
    pub account_id: String,
}

impl Realm {
    /// The account in `region`, in the partition that the region is part of.
    pub fn new(region: impl Into<String>, account_id: impl Into<String>) -> Self {
        let region = region.into();
        Self { partition: partition(&region).to_owned(), region, account_id: account_id.into() }
    }
}

/// The partition that `region` is part of, as ARNs have it.
pub fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// What an action is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The resource of this name.
    Named(&'a str),
    /// All resources together, as in a list: only a pattern `*` covers them.
    All,
    /// The request names none that could exist, and will be refused for it: the action has to be allowed on something.
    Unnamed,
}

/// Who calls.
#[derive(Clone)]
pub struct Caller(Option<Identity>);

#[derive(Clone)]
struct Identity {
    key: Arc<Key>,
    realm: Arc<Realm>,
    service: Service,
}

impl Caller {
    /// Anybody, where nobody is asked: may do everything.
    pub fn anonymous() -> Self {
        Self(None)
    }

    pub(crate) fn verified(key: Arc<Key>, realm: Arc<Realm>, service: Service) -> Self {
        Self(Some(Identity { key, realm, service }))
    }

    /// The access key; `None` of an anonymous caller.
    pub fn access_key_id(&self) -> Option<&str> {
        self.0.as_ref().map(|identity| identity.key.id())
    }

    /// The user that an access key stands for, `arn:aws:iam::<account>:user/<access key id>`; `None` of an anonymous caller.
    pub fn arn(&self) -> Option<String> {
        self.0.as_ref().map(Identity::arn)
    }

    /// Whether the caller may do `action`, one of [`Service::actions`], to `resource`.
    ///
    /// # Errors
    /// No: with AWS's words for it.
    pub fn may(&self, action: &str, resource: Resource<'_>) -> Result<(), Denied> {
        let Some(identity) = &self.0 else { return Ok(()) };
        if identity.key.allows(action, resource) {
            return Ok(());
        }
        let Realm { partition, region, account_id } = identity.realm.as_ref();
        let Service { name: service, resource: kind, .. } = identity.service;
        let name = match resource {
            Resource::Named(name) => name,
            Resource::All | Resource::Unnamed => "*",
        };
        Err(Denied {
            user: identity.arn(),
            action: format!("{service}:{action}"),
            resource: format!("arn:{partition}:{service}:{region}:{account_id}:{kind}/{name}"),
        })
    }
}

impl Identity {
    fn arn(&self) -> String {
        let Realm { partition, account_id, .. } = self.realm.as_ref();
        format!("arn:{partition}:iam::{account_id}:user/{}", self.key.id())
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.access_key_id()).finish()
    }
}

/// A caller may not do what it asked for. Display is AWS's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "User: {user} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows \
     the {action} action"
)]
pub struct Denied {
    user: String,
    action: String,
    resource: String,
}

impl Denied {
    /// AWS's code.
    pub const CODE: &'static str = "AccessDeniedException";
}
