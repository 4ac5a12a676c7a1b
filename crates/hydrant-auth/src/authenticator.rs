//! The two phases of verification.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use hmac::Mac;
use hydrant_types::Clock;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    Service,
    access_keys::{AccessKeys, Key, TERMINATOR},
    caller::{Caller, Realm},
    canonical::{self, Head},
    error::{Error, quote},
    presented::{ALGORITHM, Presented, SIGNATURE_PARAMETER},
    signing_time::SigningTime,
};

/// How far a caller's clock may be off, in seconds.
const SKEW: i64 = 5 * 60;

/// A SHA-256 in hexadecimal.
type HexDigest = [u8; 64];

/// Verifies callers; shared by all requests.
pub struct Authenticator {
    /// `None`: nobody is asked.
    verifier: Option<Verifier>,
}

struct Verifier {
    keys: ArcSwap<AccessKeys>,
    service: Service,
    realm: Arc<Realm>,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// Takes signatures for `service` in `realm` by `keys`. `clock` is what callers' clocks are compared with.
    pub fn with_keys(keys: AccessKeys, service: Service, realm: Realm, clock: Arc<dyn Clock>) -> Self {
        let keys = ArcSwap::from_pointee(keys);
        Self { verifier: Some(Verifier { keys, service, realm: Arc::new(realm), clock }) }
    }

    /// Asks nobody: every caller is anonymous and may do everything.
    pub fn anyone() -> Self {
        Self { verifier: None }
    }

    /// Other keys from now on; whether there were keys before (where nobody is asked, that stays so). Requests that are claimed already are
    /// verified with the keys they were claimed under. Each key's calls a second are counted anew.
    pub fn replace_keys(&self, keys: AccessKeys) -> bool {
        let Some(verifier) = &self.verifier else { return false };
        verifier.keys.store(Arc::new(keys));
        true
    }

    /// The first phase: everything that the head of a request alone can say. `None` where nobody is asked.
    ///
    /// # Errors
    /// The head is not one of a caller we know, signed about now, for us.
    pub fn claim(&self, head: &Head<'_>) -> Result<Option<Claim>, Error> {
        self.verifier.as_ref().map(|verifier| verifier.claim(head)).transpose()
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.verifier.as_ref().map(|verifier| verifier.keys.load_full());
        f.debug_struct("Authenticator").field("keys", &keys).finish_non_exhaustive()
    }
}

impl Verifier {
    fn claim(&self, head: &Head<'_>) -> Result<Claim, Error> {
        let presented = Presented::read(head)?;
        self.in_time(&presented)?;
        let signed = presented.signed();
        all_signed(head, &signed)?;
        let declared = declared_payload(head)?;
        self.in_scope(&presented)?;
        // Last, and for a known key nothing slow follows: how long a refusal takes tells nothing that its code does not.
        let [access_key_id, ..] = &presented.credential;
        let keys = self.keys.load();
        let key = keys.get(access_key_id).ok_or(Error::Unrecognized)?;
        // Session tokens are handed out by STS, and there is none here.
        if presented.has_token {
            return Err(Error::Unrecognized);
        }
        let signature = presented.signature.as_bytes().try_into().map_err(|_| Error::SignatureMismatch)?;
        let canonical = canonical::request(head, &signed, SIGNATURE_PARAMETER);
        Ok(Claim {
            key: key.clone(),
            realm: self.realm.clone(),
            service: self.service,
            canonical: Sha256::new_with_prefix(canonical),
            stamp: presented.stamp,
            signature,
            declared,
        })
    }

    fn in_time(&self, presented: &Presented<'_>) -> Result<(), Error> {
        let now = SigningTime::from_seconds((self.clock.now().as_millis() / 1000) as i64);
        let signed = presented.at;
        let latest = now.plus(SKEW);
        if signed > latest {
            return Err(Error::NotYetCurrent { signed, limit: latest, now });
        }
        match presented.expires {
            Some(expires) if signed.plus(expires) < now => {
                Err(Error::PresignedExpired { until: signed.plus(expires), now })
            }
            None if signed < now.plus(-SKEW) => Err(Error::Expired { signed, limit: now.plus(-SKEW), now }),
            _ => Ok(()),
        }
    }

    fn in_scope(&self, presented: &Presented<'_>) -> Result<(), Error> {
        let [_, date, region, service, terminator] = &presented.credential;
        let (stamp, day) = (&presented.stamp, &presented.stamp[..8]);
        let mut faults = Vec::new();
        if *region != self.realm.region {
            faults.push(format!("Credential should be scoped to a valid region, not '{}'.", quote(region)));
        }
        if *service != self.service.name {
            faults.push(format!("Credential should be scoped to correct service: '{}'.", self.service.name));
        }
        if terminator != TERMINATOR {
            let not = quote(terminator);
            faults.push(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{not}'."
            ));
        }
        if date != day {
            let not = quote(date);
            faults.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{not}' != \
                 '{day}', from '{stamp}'."
            ));
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Scope(faults.join(" "))) }
    }
}

/// `Host` and every `x-amz-…` header must be signed. (`Content-Type` need not: AWS's SDK for PHP does not sign it.)
fn all_signed(head: &Head<'_>, signed: &[&str]) -> Result<(), Error> {
    let is_signed = |header: &str| signed.iter().any(|name| name.eq_ignore_ascii_case(header));
    if !is_signed("host") {
        return Err(Error::HostNotSigned);
    }
    let must = |name: &str| {
        // It describes the client and changes nothing; SDKs leave it out of presigned requests.
        name.starts_with("x-amz-") && name != "x-amz-user-agent"
    };
    match head.headers.keys().map(http::HeaderName::as_str).find(|name| must(name) && !is_signed(name)) {
        Some(unsigned) => Err(Error::HeaderNotSigned(quote(unsigned))),
        None => Ok(()),
    }
}

/// The payload's hash, where a header says it. Anything but a hash is refused: an unsigned payload is anybody's.
fn declared_payload(head: &Head<'_>) -> Result<Option<HexDigest>, Error> {
    let Some(declared) = canonical::single(head.headers, "x-amz-content-sha256")? else { return Ok(None) };
    let hash = <HexDigest>::try_from(declared.as_bytes()).ok();
    let hash = hash.filter(|hash| hash.iter().all(u8::is_ascii_hexdigit));
    hash.map(Some).ok_or_else(|| Error::UnsignedPayload(quote(declared)))
}

/// A request that a caller we know could have signed: the signature itself remains to be compared.
pub struct Claim {
    key: Arc<Key>,
    realm: Arc<Realm>,
    service: Service,
    /// Of the canonical request, up to the payload's hash.
    canonical: Sha256,
    stamp: String,
    signature: HexDigest,
    declared: Option<HexDigest>,
}

impl Claim {
    /// The second phase: `body_sha256` is the hash of the body that came.
    ///
    /// # Errors
    /// The signature is not this key's of this request and body; or the key's calls are used up.
    pub fn verify(self, body_sha256: [u8; 32]) -> Result<Caller, Error> {
        let payload = hex_digest(&body_sha256);
        if self.declared.is_some_and(|declared| declared != payload) {
            return Err(Error::PayloadMismatch);
        }
        let request = hex_digest(&self.canonical.chain_update(payload).finalize());
        let Realm { region, .. } = self.realm.as_ref();
        let (service, date) = (self.service.name, &self.stamp[..8]);
        let mut mac = self.key.signing_key(date, region, service);
        for part in
            [ALGORITHM, "\n", &self.stamp, "\n", date, "/", region, "/", service, "/", TERMINATOR, "\n"]
        {
            mac.update(part.as_bytes());
        }
        mac.update(&request);
        let signature = hex_digest(&mac.finalize().into_bytes());
        if !bool::from(signature.ct_eq(&self.signature)) {
            return Err(Error::SignatureMismatch);
        }
        // After the signature: nobody else can use up a caller's calls.
        if !self.key.admits() {
            return Err(Error::Throttled);
        }
        Ok(Caller::verified(self.key, self.realm, self.service))
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("access_key_id", &self.key.id()).finish_non_exhaustive()
    }
}

fn hex_digest(digest: &[u8]) -> HexDigest {
    let mut text = [0; 64];
    hex::encode_to_slice(digest, &mut text).expect("a SHA-256 is 32 bytes");
    text
}
