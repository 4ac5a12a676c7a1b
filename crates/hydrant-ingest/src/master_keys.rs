//! The keys from the configuration, under which streams' data keys are kept.

use std::{collections::HashMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use hydrant_log::DataKey;
use hydrant_types::{DataKeyId, Entropy, Secret, StreamName, WrappedDataKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Longest KeyARN that the API takes (service model, `AWSKMSKeyARN`, whose pattern [`can_be_key_arn`] is).
const ARN_LEN_MAX: usize = 512;
const KEY_LEN: usize = 32;

/// One configured key.
pub struct MasterKey {
    arn: String,
    cipher: LessSafeKey,
}

/// A configured key is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// What names it can be no KeyARN, so that no stream could name it.
    #[error(
        "{0:?} cannot name a key: it must look like arn:aws:kms:REGION:TWELVE DIGITS:key/NAME and have at most {ARN_LEN_MAX} characters, \
         as KeyARN does"
    )]
    Arn(String),
    /// The key is no base64.
    #[error("the key {0} is not in base64 (`openssl rand -base64 32` makes one)")]
    NotBase64(String),
    /// It has another length.
    #[error("the key {arn} has {bytes} bytes, and must have {KEY_LEN} (`openssl rand -base64 32` makes one)")]
    Length {
        /// Which.
        arn: String,
        /// How many it has.
        bytes: usize,
    },
    /// Two of the same name.
    #[error("the key {0} is configured twice")]
    Twice(String),
    /// The default key is none of those that are configured.
    #[error("the default key {0} is not configured")]
    NoSuchDefault(String),
}

impl MasterKey {
    /// The key that `arn` names: 32 bytes, in base64. White space around it is ignored, as a file ends in a newline.
    ///
    /// # Errors
    /// [`MasterKeyError`], without anything of the key.
    pub fn new(arn: &str, base64: &Secret) -> Result<Self, MasterKeyError> {
        if !can_be_key_arn(arn) {
            return Err(MasterKeyError::Arn(arn.to_owned()));
        }
        let bytes = BASE64_STANDARD.decode(base64.reveal().trim()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| MasterKeyError::NotBase64(arn.to_owned()))?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| MasterKeyError::Length { arn: arn.to_owned(), bytes: bytes.len() })?;
        Ok(Self { arn: arn.to_owned(), cipher: LessSafeKey::new(key) })
    }
}

/// Whether the API takes `arn` for a KeyARN.
fn can_be_key_arn(arn: &str) -> bool {
    let all = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let mut parts = arn.rsplitn(4, ':');
    let (resource, account, region, head) = (parts.next(), parts.next(), parts.next(), parts.next());
    arn.len() <= ARN_LEN_MAX
        && head.is_some_and(|head| {
            head.strip_prefix("arn:").is_some_and(|partition| partition.ends_with(":kms"))
        })
        && region.is_some_and(|region| all(region, b"-"))
        && account.is_some_and(|account| account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()))
        && resource
            .and_then(|resource| resource.split_once('/'))
            .is_some_and(|(kind, name)| matches!(kind, "key" | "alias") && all(name, b"_+=,.@-/"))
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// The configured keys. Data keys are wrapped with one of them, and say with which: an old one must stay while data keys that it wrapped are
/// needed.
#[derive(Default)]
pub struct MasterKeys {
    keys: HashMap<String, LessSafeKey>,
    default: Option<String>,
}

/// A data key cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key that wraps it is not configured (any more).
    #[error("data key {} of stream {stream} is wrapped with {arn}, which is not configured", data_key.0)]
    NotConfigured {
        /// Whose.
        stream: StreamName,
        /// Which.
        data_key: DataKeyId,
        /// What wraps it.
        arn: String,
    },
    /// It was not wrapped with the key that is configured under that name, or not for this stream.
    #[error("data key {} of stream {stream} does not unwrap: another key is configured as {arn} than it was wrapped with, or it is damaged", data_key.0)]
    DoesNotUnwrap {
        /// Whose.
        stream: StreamName,
        /// Which.
        data_key: DataKeyId,
        /// What wraps it.
        arn: String,
    },
    /// The stream has no such data key.
    #[error("stream {stream} has no data key {}", data_key.0)]
    Unknown {
        /// Whose.
        stream: StreamName,
        /// Which.
        data_key: DataKeyId,
    },
}

impl MasterKeys {
    /// These keys, of which `default` is taken for AWS_OWNED_CMK.
    ///
    /// # Errors
    /// [`MasterKeyError::Twice`], [`MasterKeyError::NoSuchDefault`].
    pub fn new(
        configured: impl IntoIterator<Item = MasterKey>,
        default: Option<&str>,
    ) -> Result<Self, MasterKeyError> {
        let mut keys = HashMap::new();
        for MasterKey { arn, cipher } in configured {
            if keys.contains_key(&arn) {
                return Err(MasterKeyError::Twice(arn));
            }
            keys.insert(arn, cipher);
        }
        match default {
            Some(default) if !keys.contains_key(default) => {
                Err(MasterKeyError::NoSuchDefault(default.to_owned()))
            }
            _ => Ok(Self { keys, default: default.map(str::to_owned) }),
        }
    }

    /// ARN of the key that is taken where a stream names none.
    pub fn default_arn(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// Whether `arn` names a configured key.
    pub fn has(&self, arn: &str) -> bool {
        self.keys.contains_key(arn)
    }

    /// Makes the data key `id` of a stream, wrapped with the key `arn`, which must be configured. Its digest key is taken over from the
    /// stream's other data keys, where one of them unwraps: a retry is then recognised across the change.
    ///
    /// # Panics
    /// `arn` is not configured.
    pub(crate) fn new_data_key(
        &self,
        stream: &StreamName,
        id: DataKeyId,
        arn: &str,
        others: &[WrappedDataKey],
        entropy: &dyn Entropy,
    ) -> WrappedDataKey {
        let mut secrets = Secrets::random(entropy);
        if let Some(other) = others.iter().rev().find_map(|other| self.unwrap_secrets(stream, other).ok()) {
            secrets.0[KEY_LEN..].copy_from_slice(&other.0[KEY_LEN..]);
        }
        let mut wrapped = vec![0; NONCE_LEN];
        entropy.fill(&mut wrapped);
        let nonce = nonce_of(&wrapped);
        let mut sealed = Zeroizing::new(secrets.0.to_vec());
        let tag = self.keys[arn].seal_in_place_separate_tag(nonce, context_of(stream, id), &mut sealed);
        wrapped.extend_from_slice(&sealed);
        wrapped.extend_from_slice(tag.expect("64 bytes are within what GCM takes").as_ref());
        WrappedDataKey { id, wrapped_by: arn.to_owned(), wrapped: BASE64_STANDARD.encode(wrapped) }
    }

    /// The data key itself.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(crate) fn unwrap(&self, stream: &StreamName, wrapped: &WrappedDataKey) -> Result<DataKey, KeyError> {
        let secrets = self.unwrap_secrets(stream, wrapped)?;
        let (key, digest_key) = secrets.0.split_at(KEY_LEN);
        let parts = (key.try_into().expect("32 bytes"), digest_key.try_into().expect("32 bytes"));
        // Nothing else wraps a key 0.
        DataKey::new(wrapped.id, parts.0, parts.1)
            .ok_or_else(|| KeyError::Unknown { stream: stream.clone(), data_key: wrapped.id })
    }

    fn unwrap_secrets(&self, stream: &StreamName, wrapped: &WrappedDataKey) -> Result<Secrets, KeyError> {
        let (data_key, arn) = (wrapped.id, &wrapped.wrapped_by);
        let cipher = self.keys.get(arn).ok_or_else(|| KeyError::NotConfigured {
            stream: stream.clone(),
            data_key,
            arn: arn.clone(),
        })?;
        let unwrapped = BASE64_STANDARD.decode(&wrapped.wrapped).ok().and_then(|bytes| {
            let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
            let mut sealed = Zeroizing::new(sealed.to_vec());
            let context = context_of(stream, data_key);
            let plain = cipher.open_in_place(nonce_of(nonce), context, &mut sealed).ok()?;
            Some(Secrets(Zeroizing::new((&*plain).try_into().ok()?)))
        });
        unwrapped.ok_or_else(|| KeyError::DoesNotUnwrap {
            stream: stream.clone(),
            data_key,
            arn: arn.clone(),
        })
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arns: Vec<_> = self.keys.keys().collect();
        arns.sort_unstable();
        f.debug_struct("MasterKeys").field("keys", &arns).field("default", &self.default).finish()
    }
}

/// What is wrapped: the data key, then the digest key.
struct Secrets(Zeroizing<[u8; 2 * KEY_LEN]>);

impl Secrets {
    fn random(entropy: &dyn Entropy) -> Self {
        let mut secrets = Zeroizing::new([0; 2 * KEY_LEN]);
        entropy.fill(&mut *secrets);
        Self(secrets)
    }
}

fn nonce_of(bytes: &[u8]) -> Nonce {
    Nonce::try_assume_unique_for_key(bytes).expect("the caller took as many bytes as a nonce has")
}

/// What a wrapped key is bound to: it is no other stream's, and none of the same stream's others.
fn context_of(stream: &StreamName, id: DataKeyId) -> Aad<Vec<u8>> {
    let mut context = b"hydrant data key 1\0".to_vec();
    context.extend_from_slice(&id.0.to_le_bytes());
    context.extend_from_slice(stream.as_str().as_bytes());
    Aad::from(context)
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::SeededEntropy;

    use super::*;

    const OLD: &str = "arn:aws:kms:us-east-1:000000000000:key/old";
    const NEW: &str = "arn:aws:kms:us-east-1:000000000000:key/new";

    fn key(arn: &str, byte: u8) -> MasterKey {
        MasterKey::new(arn, &Secret::new(BASE64_STANDARD.encode([byte; 32]))).unwrap()
    }

    fn stream(name: &str) -> StreamName {
        name.parse().unwrap()
    }

    #[test]
    fn a_configured_key_is_32_bytes_in_base64_under_an_arn_and_errors_do_not_show_it() {
        let refused = |arn: &str, key: &str| MasterKey::new(arn, &Secret::new(key)).unwrap_err();
        for arn in [
            "alias/x",
            "arn:hydrant:key/2026",
            "arn:kms:us-east-1:000000000000:key/x",
            "arn:aws:kms:us-east-1:00000000000:key/x",
            "arn:aws:kms::000000000000:key/x",
            "arn:aws:kms:us-east-1:000000000000:key/",
            "arn:aws:kms:us-east-1:000000000000:grant/x",
            "arn:aws:kms:us-east-1:000000000000:key/a b",
        ] {
            assert_eq!(refused(arn, "hunter2"), MasterKeyError::Arn(arn.to_owned()));
        }
        assert!(can_be_key_arn("arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/a_b+c/d"));
        assert_eq!(refused(OLD, "hunter2!"), MasterKeyError::NotBase64(OLD.to_owned()));
        let short = BASE64_STANDARD.encode([7; 31]);
        assert_eq!(refused(OLD, &short), MasterKeyError::Length { arn: OLD.to_owned(), bytes: 31 });
        assert_eq!(refused(OLD, ""), MasterKeyError::Length { arn: OLD.to_owned(), bytes: 0 });
        assert!(!refused(OLD, &short).to_string().contains(&short));
        let long = format!("{OLD}{}", "x".repeat(ARN_LEN_MAX));
        assert!(matches!(refused(&long, "x"), MasterKeyError::Arn(_)));
        assert!(MasterKey::new(OLD, &Secret::new(BASE64_STANDARD.encode([7; 32]) + "\n")).is_ok());
    }

    #[test]
    fn keys_are_named_once_and_the_default_is_one_of_them() {
        let twice = MasterKeys::new([key(OLD, 1), key(OLD, 2)], None);
        assert_eq!(twice.unwrap_err(), MasterKeyError::Twice(OLD.to_owned()));
        let other = MasterKeys::new([key(OLD, 1)], Some(NEW));
        assert_eq!(other.unwrap_err(), MasterKeyError::NoSuchDefault(NEW.to_owned()));
        let keys = MasterKeys::new([key(OLD, 1), key(NEW, 2)], Some(NEW)).unwrap();
        assert_eq!((keys.default_arn(), keys.has(OLD), keys.has("arn:x")), (Some(NEW), true, false));
        let printed = format!("{keys:?}, {:?}", key(OLD, 0x41));
        assert!(printed.contains(OLD) && !printed.contains("65") && !printed.contains("41"), "{printed}");
    }

    #[test]
    fn a_wrapped_key_unwraps_for_its_stream_and_id_only_and_under_its_key_only() {
        let entropy = SeededEntropy::from_environment();
        let keys = MasterKeys::new([key(OLD, 1), key(NEW, 2)], None).unwrap();
        let orders = stream("orders");
        let wrapped = keys.new_data_key(&orders, DataKeyId(3), OLD, &[], &entropy);
        assert_eq!((wrapped.id, wrapped.wrapped_by.as_str()), (DataKeyId(3), OLD));
        assert_eq!(keys.unwrap(&orders, &wrapped).unwrap().id(), DataKeyId(3));

        let refused = |keys: &MasterKeys, name: &str, wrapped: &WrappedDataKey| {
            keys.unwrap(&stream(name), wrapped).map(drop).unwrap_err()
        };
        let does_not_unwrap = |error| matches!(error, KeyError::DoesNotUnwrap { .. });
        assert!(does_not_unwrap(refused(&keys, "other", &wrapped)));
        for changed in [
            WrappedDataKey { id: DataKeyId(4), ..wrapped.clone() },
            WrappedDataKey { wrapped_by: NEW.to_owned(), ..wrapped.clone() },
            WrappedDataKey { wrapped: "AAAA".to_owned(), ..wrapped.clone() },
            WrappedDataKey { wrapped: "%".to_owned(), ..wrapped.clone() },
        ] {
            assert!(does_not_unwrap(refused(&keys, "orders", &changed)), "{changed:?}");
        }
        let mut bytes = BASE64_STANDARD.decode(&wrapped.wrapped).unwrap();
        for byte in 0..bytes.len() {
            bytes[byte] ^= 1;
            let changed = WrappedDataKey { wrapped: BASE64_STANDARD.encode(&bytes), ..wrapped.clone() };
            assert!(does_not_unwrap(refused(&keys, "orders", &changed)), "byte {byte}");
            bytes[byte] ^= 1;
        }
        let other_key = MasterKeys::new([key(OLD, 9)], None).unwrap();
        assert!(does_not_unwrap(refused(&other_key, "orders", &wrapped)));
        let without = MasterKeys::new([key(NEW, 2)], None).unwrap();
        let error = refused(&without, "orders", &wrapped);
        assert!(matches!(&error, KeyError::NotConfigured { arn, .. } if arn == OLD), "{error}");
    }

    #[test]
    fn data_keys_differ_and_their_digest_key_stays_while_one_of_them_unwraps() {
        let entropy = SeededEntropy::from_environment();
        let keys = MasterKeys::new([key(OLD, 1), key(NEW, 2)], None).unwrap();
        let orders = stream("orders");
        let secrets =
            |wrapped: &_| keys.unwrap_secrets(&orders, wrapped).unwrap().0.split_at(KEY_LEN).1.to_vec();
        let first = keys.new_data_key(&orders, DataKeyId(1), OLD, &[], &entropy);
        let second = keys.new_data_key(&orders, DataKeyId(2), NEW, std::slice::from_ref(&first), &entropy);
        assert_eq!(secrets(&first), secrets(&second));
        let key_of = |wrapped: &_| keys.unwrap_secrets(&orders, wrapped).unwrap().0[..KEY_LEN].to_vec();
        assert_ne!(key_of(&first), key_of(&second));
        // The old configured key is gone: the second still has the digest key.
        let left = MasterKeys::new([key(NEW, 2)], None).unwrap();
        let third = left.new_data_key(&orders, DataKeyId(3), NEW, &[first.clone(), second], &entropy);
        assert_eq!(secrets(&first), secrets(&third));
        let fresh = left.new_data_key(&orders, DataKeyId(4), NEW, std::slice::from_ref(&first), &entropy);
        assert_ne!(secrets(&first), secrets(&fresh), "there is none to take over");
    }
}
