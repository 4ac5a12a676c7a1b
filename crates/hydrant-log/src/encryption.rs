//! Encryption of frames (AES-256-GCM), and the digests by which retries of encrypted calls are recognised.
//!
//! A payload is encrypted where it is sealed, by the caller, before the writer gives it its position: what is authenticated with it is
//! therefore what the caller knows. `docs/log-format.md` says which fields these are, and what the others rest on.

use std::{fmt, sync::Arc};

use hydrant_types::{DataKeyId, StreamId, Timestamp};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
};

/// Bytes that encryption adds behind a payload.
pub(crate) const TAG_LEN: usize = 16;
/// A nonce, new and random with each frame.
pub(crate) const NONCE_LEN: usize = 12;

/// A stream's data key, ready for use. Its bytes cannot be had back from it; in memory they stay, expanded, until that is used again.
pub struct DataKey {
    id: DataKeyId,
    cipher: LessSafeKey,
    digest: hmac::Key,
}

/// Where a read gets the keys that frames name.
pub trait DataKeys: Send + Sync {
    /// The data key `id` of `stream`, or `None` where it is not to be had now: the read says so and may be repeated. Asked for each encrypted
    /// frame, also under way of a delivery: no network, no waiting.
    fn find(&self, stream: StreamId, id: DataKeyId) -> Option<Arc<DataKey>>;
}

impl DataKey {
    /// The data key `id` of a stream; `None` for id 0, which marks a frame that is not encrypted.
    ///
    /// `key` encrypts. `digest_key` keys the digests by which a retry is recognised, and nothing else: it should be the same for all data keys
    /// of a stream, so that a retry is recognised though the data key was changed in between.
    pub fn new(id: DataKeyId, key: &[u8; 32], digest_key: &[u8; 32]) -> Option<Self> {
        let cipher = UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 has 32 bytes");
        let digest = hmac::Key::new(hmac::HMAC_SHA256, digest_key);
        (id != DataKeyId(0)).then(|| Self { id, cipher: LessSafeKey::new(cipher), digest })
    }

    /// Which of its stream's keys it is.
    pub fn id(&self) -> DataKeyId {
        self.id
    }

    /// Encrypts `payload` in place and puts the tag behind it. `nonce` must never have been used with this key.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], facts: &Facts, payload: &mut [u8]) -> [u8; TAG_LEN] {
        let aad = Aad::from(facts.encode(self.id));
        let sealed =
            self.cipher.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, payload);
        let tag = sealed.expect("a payload is shorter than the 64 GiB that GCM takes");
        tag.as_ref().try_into().expect("GCM's tag has 16 bytes")
    }

    /// Decrypts `sealed`, payload and tag, in place; whether it is what this key sealed with these facts.
    #[must_use]
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], facts: &Facts, sealed: &mut [u8]) -> bool {
        let aad = Aad::from(facts.encode(self.id));
        self.cipher.open_in_place(Nonce::assume_unique_for_key(nonce), aad, sealed).is_ok()
    }

    /// What stands in the file for `digest`, the digest of a payload, which would tell something of its content. With the call's key under it, so
    /// that equal payloads of different calls do not show.
    pub(crate) fn digest(&self, call: &[u8; 16], digest: &[u8; 16]) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.digest);
        context.update(call);
        context.update(digest);
        context.sign().as_ref()[..16].try_into().expect("SHA-256 has 32 bytes")
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is authenticated with an encrypted payload: none of it can be taken from another frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) stream: StreamId,
    pub(crate) arrival: Timestamp,
    pub(crate) records: u32,
    pub(crate) data_len: u32,
    pub(crate) call: [u8; 16],
    pub(crate) digest: [u8; 16],
}

impl Facts {
    fn encode(&self, key: DataKeyId) -> [u8; 64] {
        let mut bytes = [0; 64];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = after;
        };
        put(b"HFR1");
        put(&key.0.to_le_bytes());
        put(&self.stream.0.to_le_bytes());
        put(&self.arrival.0.to_le_bytes());
        put(&self.records.to_le_bytes());
        put(&self.data_len.to_le_bytes());
        put(&self.call);
        put(&self.digest);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts {
        stream: StreamId(1),
        arrival: Timestamp(2),
        records: 3,
        data_len: 4,
        call: [5; 16],
        digest: [6; 16],
    };

    fn key(id: u32, byte: u8) -> DataKey {
        DataKey::new(DataKeyId(id), &[byte; 32], &[9; 32]).expect("not 0")
    }

    #[test]
    fn what_was_sealed_opens_only_under_its_key_nonce_and_facts() {
        let mut sealed = b"some records".to_vec();
        let tag = key(1, 1).seal([7; 12], &FACTS, &mut sealed);
        sealed.extend_from_slice(&tag);
        let opens = |key: DataKey, nonce, facts: Facts| {
            let mut copy = sealed.clone();
            key.open(nonce, &facts, &mut copy) && &copy[..12] == b"some records"
        };
        assert!(opens(key(1, 1), [7; 12], FACTS));
        assert!(!opens(key(1, 2), [7; 12], FACTS));
        assert!(!opens(key(2, 1), [7; 12], FACTS), "the key's id is authenticated");
        assert!(!opens(key(1, 1), [8; 12], FACTS));
        for facts in [
            Facts { stream: StreamId(0), ..FACTS },
            Facts { arrival: Timestamp(0), ..FACTS },
            Facts { records: 0, ..FACTS },
            Facts { data_len: 0, ..FACTS },
            Facts { call: [0; 16], ..FACTS },
            Facts { digest: [0; 16], ..FACTS },
        ] {
            assert!(!opens(key(1, 1), [7; 12], facts), "{facts:?}");
        }
    }

    #[test]
    fn a_payload_is_sealed_as_gcm_says() {
        // Test case 13 of the GCM specification has no payload and no further data; ours always has the facts, so this holds the primitive only.
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0; 32]).unwrap());
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::empty(), &mut []).unwrap();
        assert_eq!(tag.as_ref(), 0x530f_8afb_c745_36b9_a963_b4f1_c4cb_738b_u128.to_be_bytes());
    }

    #[test]
    fn digests_depend_on_the_digest_key_and_the_call_and_not_on_the_data_key() {
        let digest = |key: &DataKey, call: u8, of: u8| key.digest(&[call; 16], &[of; 16]);
        assert_eq!(digest(&key(1, 1), 1, 1), digest(&key(2, 2), 1, 1));
        assert_ne!(digest(&key(1, 1), 1, 1), digest(&key(1, 1), 2, 1), "equal payloads do not show");
        assert_ne!(digest(&key(1, 1), 1, 1), digest(&key(1, 1), 1, 2));
        let other = DataKey::new(DataKeyId(1), &[1; 32], &[8; 32]).unwrap();
        assert_ne!(digest(&key(1, 1), 1, 1), digest(&other, 1, 1));
    }

    #[test]
    fn a_key_prints_as_its_id_and_id_0_is_none() {
        assert_eq!(format!("{:?}", key(3, 1)), "DataKey { id: DataKeyId(3), .. }");
        assert!(DataKey::new(DataKeyId(0), &[1; 32], &[1; 32]).is_none());
    }
}
