//! Verifies who calls: SigV4, access keys, allowed actions.
//!
//! ```text
//!  method, path, query, headers ─▶ Presented ─▶ Claim ─ the body's SHA-256 ─▶ Caller ─ action, stream ─▶ allowed?
//!                                  (parsed)     (clock, scope, key known)     (signature, rate)
//! ```
//!
//! Two phases, so that nothing expensive happens for nobody: [`Authenticator::claim`] looks at the headers only, [`Claim::verify`] at the
//! signature once the body's hash is known. [`Caller::may`] then says what the caller's access key allows. Nothing here knows HTTP
//! beyond a request's head, and nothing of Firehose but what [`Service`] names.
//!
//! The rules are AWS's: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>. Its published test
//! vectors and aws-sigv4's signatures are the tests.

mod access_keys;
mod authenticator;
mod caller;
mod canonical;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod pattern;
mod presented;
mod signing_time;
#[cfg(test)]
mod tests;

pub use access_keys::{AccessKey, AccessKeys, Fault, Faults};
pub use authenticator::{Authenticator, Claim};
pub use caller::{Caller, Denied, Realm, Resource, partition};
pub use canonical::Head;
pub use error::Error;

/// What is called: the one service whose signatures are taken, and whose actions are allowed.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// In credential scopes, and before the colon of an action: `firehose`.
    pub name: &'static str,
    /// The kind of its resources, in ARNs: `deliverystream`.
    pub resource: &'static str,
    /// Every action there is, as the service writes them: `PutRecord`.
    pub actions: &'static [&'static str],
}
