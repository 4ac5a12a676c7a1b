//! Which checksums a body gets, and whether they are what the writer said.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, ChecksumType};
use s3s::{S3Result, TrailingHeaders, s3_error};

use crate::object::Checksums;

/// What the writer says its body's checksums are.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    announced: Checksums,
    /// `x-amz-trailer`: the name of the header that comes after the body.
    trailer: Option<String>,
    trailing: Option<TrailingHeaders>,
    /// `x-amz-sdk-checksum-algorithm` or an upload's own: computed, but not compared with anything.
    algorithm: Option<String>,
    content_md5: Option<String>,
}

impl Expected {
    /// Reads the headers of a request with a body.
    pub(crate) fn of(
        headers: &HeaderMap,
        trailing: Option<TrailingHeaders>,
        algorithm: Option<String>,
    ) -> Self {
        Self {
            announced: announced(headers),
            trailer: text(headers, "x-amz-trailer"),
            trailing,
            algorithm,
            content_md5: text(headers, "content-md5"),
        }
    }

    /// Reads the headers that speak of the object that an upload will make, not of the request's own body.
    pub(crate) fn of_whole_object(headers: &HeaderMap) -> Self {
        Self { announced: announced(headers), ..Self::default() }
    }

    /// A hasher for all that was announced; for CRC-64/NVME where nothing was, as S3 does since 2024.
    pub(crate) fn hasher(&self) -> ChecksumHasher {
        let mut hasher = ChecksumHasher::default();
        for name in NAMES {
            let in_trailer =
                self.trailer.as_ref().is_some_and(|trailer| trailer.eq_ignore_ascii_case(&header(name)));
            let asked = self.algorithm.as_ref().is_some_and(|algorithm| algorithm.eq_ignore_ascii_case(name));
            if in_trailer || asked || self.announced.get(name).is_some() {
                enable(&mut hasher, name);
            }
        }
        let nothing_asked = NAMES.iter().all(|name| !is_enabled(&hasher, name));
        if nothing_asked {
            enable(&mut hasher, CRC64NVME);
        }
        hasher
    }

    /// Compares what was announced before and after the body with what was received.
    ///
    /// # Errors
    /// `BadDigest`, or `InvalidDigest` for a Content-MD5 that is none.
    pub(crate) fn verify(&self, md5: &[u8; 16], received: &Checksums) -> S3Result<()> {
        if let Some(content_md5) = &self.content_md5 {
            let expected = STANDARD.decode(content_md5).map_err(|_| s3_error!(InvalidDigest))?;
            if expected != md5 {
                return Err(s3_error!(
                    BadDigest,
                    "The Content-MD5 you specified did not match what we received."
                ));
            }
        }
        let trailed = self.trailing.as_ref().and_then(TrailingHeaders::take);
        let trailed = trailed.as_ref().map(announced).unwrap_or_default();
        for name in NAMES {
            let expected = trailed.get(name).or(self.announced.get(name));
            if expected.is_some() && expected != received.get(name) {
                return Err(s3_error!(
                    BadDigest,
                    "The {name} you specified did not match the calculated checksum."
                ));
            }
        }
        Ok(())
    }
}

const CRC32: &str = "CRC32";
const CRC32C: &str = "CRC32C";
const CRC64NVME: &str = "CRC64NVME";
const SHA1: &str = "SHA1";
const SHA256: &str = "SHA256";
const NAMES: [&str; 5] = [CRC32, CRC32C, CRC64NVME, SHA1, SHA256];

impl Checksums {
    fn get(&self, name: &str) -> Option<&String> {
        match name {
            CRC32 => self.crc32.as_ref(),
            CRC32C => self.crc32c.as_ref(),
            CRC64NVME => self.crc64nvme.as_ref(),
            SHA1 => self.sha1.as_ref(),
            SHA256 => self.sha256.as_ref(),
            _ => None,
        }
    }

    fn set(&mut self, name: &str, value: Option<String>) {
        match name {
            CRC32 => self.crc32 = value,
            CRC32C => self.crc32c = value,
            CRC64NVME => self.crc64nvme = value,
            SHA1 => self.sha1 = value,
            SHA256 => self.sha256 = value,
            _ => {}
        }
    }

    /// How the checksums were made, where there are any.
    pub(crate) fn kind(&self) -> Option<ChecksumType> {
        let any = NAMES.iter().any(|name| self.get(name).is_some());
        let kind = if self.composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
        any.then(|| ChecksumType::from_static(kind))
    }

    /// The checksum of an object made of parts: over the parts' checksums, with their number (S3 user guide, "Checking
    /// object integrity", composite checksums). Nothing where a part lacks the algorithm.
    pub(crate) fn composite<'a>(
        algorithm: &str,
        parts: impl ExactSizeIterator<Item = &'a Checksums>,
    ) -> Option<Self> {
        let name = NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(algorithm))?;
        let mut hasher = ChecksumHasher::default();
        enable(&mut hasher, name);
        let count = parts.len();
        for part in parts {
            hasher.update(&STANDARD.decode(part.get(name)?).ok()?);
        }
        let over_parts = Self::from(hasher.finalize());
        let mut composite = Self { composite: true, ..Self::default() };
        composite.set(name, over_parts.get(name).map(|checksum| format!("{checksum}-{count}")));
        Some(composite)
    }
}

impl From<Checksum> for Checksums {
    fn from(computed: Checksum) -> Self {
        Self {
            crc32: computed.checksum_crc32,
            crc32c: computed.checksum_crc32c,
            crc64nvme: computed.checksum_crc64nvme,
            sha1: computed.checksum_sha1,
            sha256: computed.checksum_sha256,
            composite: false,
        }
    }
}

fn announced(headers: &HeaderMap) -> Checksums {
    let mut announced = Checksums::default();
    for name in NAMES {
        announced.set(name, text(headers, &header(name)));
    }
    announced
}

fn header(name: &str) -> String {
    format!("x-amz-checksum-{}", name.to_ascii_lowercase())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

fn enable(hasher: &mut ChecksumHasher, name: &str) {
    match name {
        CRC32 => hasher.crc32 = Some(Crc32::new()),
        CRC32C => hasher.crc32c = Some(Crc32c::new()),
        CRC64NVME => hasher.crc64nvme = Some(Crc64Nvme::new()),
        SHA1 => hasher.sha1 = Some(Sha1::new()),
        SHA256 => hasher.sha256 = Some(Sha256::new()),
        _ => {}
    }
}

fn is_enabled(hasher: &ChecksumHasher, name: &str) -> bool {
    match name {
        CRC32 => hasher.crc32.is_some(),
        CRC32C => hasher.crc32c.is_some(),
        CRC64NVME => hasher.crc64nvme.is_some(),
        SHA1 => hasher.sha1.is_some(),
        SHA256 => hasher.sha256.is_some(),
        _ => false,
    }
}
