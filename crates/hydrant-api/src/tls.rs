//! The certificate that the listener shows: read from PEM files, checked as a whole, replaced while connections live.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
};

/// Why certificate and key cannot be used. No text of either is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there or not readable.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no `-----BEGIN …-----` in a file.
    #[error("{}: this is not PEM: expected text with a line -----BEGIN …-----", path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
    },
    /// A part of a PEM file is damaged.
    #[error("{}: its PEM is damaged: {problem}", path.display())]
    DamagedPem {
        /// Which.
        path: PathBuf,
        /// What is wrong, without the text.
        problem: &'static str,
    },
    /// The certificate's file has other things in it.
    #[error("{}: there is no certificate in it: expected -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// The key's file has other things in it.
    #[error(
        "{}: there is no private key in it: expected -----BEGIN PRIVATE KEY-----, or RSA or EC PRIVATE KEY",
        path.display()
    )]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// The key needs a password.
    #[error(
        "{}: the private key is encrypted, which is not supported: decrypt it with `openssl pkey -in … -out …`",
        path.display()
    )]
    EncryptedKey {
        /// Which.
        path: PathBuf,
    },
    /// The key is of a kind or size that is not supported.
    #[error("{}: the private key cannot be used: expected RSA of 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519", path.display())]
    UnusableKey {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error(
        "{}: the private key does not belong to the first certificate of {}",
        key.display(),
        certificate.display()
    )]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The first certificate cannot be read.
    #[error("{}: its first certificate cannot be used", path.display())]
    UnusableCertificate {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// A certificate chain and its key, from two PEM files; cheap to clone, all clones are the same.
///
/// TLS 1.2 and 1.3; HTTP/2 and HTTP/1.1 by ALPN; no client certificates. Sessions are resumed from memory, and never those of a
/// certificate that was replaced.
#[derive(Clone)]
pub struct TlsCertificates {
    files: Arc<Files>,
    current: Arc<ArcSwap<ServerConfig>>,
}

#[derive(PartialEq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl fmt::Debug for TlsCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsCertificates")
            .field("certificate", &self.files.certificate)
            .field("key", &self.files.key)
            .finish_non_exhaustive()
    }
}

impl TlsCertificates {
    /// Reads the chain (the server's own certificate first) and the key, which may be one file. Blocks while it reads.
    ///
    /// # Errors
    /// [`TlsError`], naming the file and what is wrong with it.
    pub fn load(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.into(), key: key.into() };
        let current = ArcSwap::from_pointee(files.read()?);
        Ok(Self { files: Arc::new(files), current: Arc::new(current) })
    }

    /// Takes what `other` has read from the same files; nothing where it is of other files. Connections that live go on with what they began
    /// with; those that are made from now on see the new certificate.
    pub fn replace(&self, other: &Self) {
        if *self.files == *other.files {
            self.current.store(other.current.load_full());
        }
    }

    /// What a connection that is made now is served with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

impl Files {
    fn read(&self) -> Result<ServerConfig, TlsError> {
        let chain = read_chain(&self.certificate)?;
        let key = read_key(&self.key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("ring has suites of both")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| self.refusal(error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn refusal(&self, error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::KeyMismatch { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            rustls::Error::InvalidCertificate(_) => {
                TlsError::UnusableCertificate { path: self.certificate.clone(), source: error }
            }
            source => TlsError::UnusableKey { path: self.key.clone(), source },
        }
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read_pem(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| damaged(path, &error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read_pem(path)?;
    // PKCS#8's own form, and the older one with its headers inside of the section.
    let is_encrypted = || {
        [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| memchr::memmem::find(&text, mark).is_some())
    };
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        _ if is_encrypted() => TlsError::EncryptedKey { path: path.to_owned() },
        PemError::NoItemsFound => TlsError::NoKey { path: path.to_owned() },
        error => damaged(path, &error),
    })
}

fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    let text = std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    match memchr::memmem::find(&text, b"-----BEGIN ") {
        Some(_) => Ok(text),
        None => Err(TlsError::NotPem { path: path.to_owned() }),
    }
}

/// In our words: the parser's quote the file.
fn damaged(path: &Path, error: &PemError) -> TlsError {
    let problem = match error {
        PemError::MissingSectionEnd { .. } => "a section has no -----END …----- line",
        PemError::IllegalSectionStart { .. } => "a -----BEGIN …----- line is not whole",
        PemError::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    };
    TlsError::DamagedPem { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    struct Pair {
        certificate: String,
        key: String,
    }

    fn pair() -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key);
        Pair { certificate: certificate.unwrap().pem(), key: key.serialize_pem() }
    }

    fn load(dir: &TempDir, certificate: &str, key: &str) -> Result<TlsCertificates, TlsError> {
        let paths = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        fs::write(&paths.0, certificate).unwrap();
        fs::write(&paths.1, key).unwrap();
        TlsCertificates::load(paths.0, paths.1)
    }

    #[test]
    fn a_chain_and_its_key_are_taken_from_two_files_or_one() {
        let (dir, server, issuer) = (tempfile::tempdir().unwrap(), pair(), pair());
        let chain = format!("a comment\n{}\n{}", server.certificate, issuer.certificate);
        load(&dir, &chain, &server.key).unwrap();
        let all = format!("{}{}", server.key, server.certificate);
        load(&dir, &all, &all).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file_and_without_its_text() {
        let (dir, pair, other) = (tempfile::tempdir().unwrap(), pair(), pair());
        let encrypted = pair.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let cut = &pair.key[..pair.key.len() - 40];
        let garbled = pair.key.replacen("\nM", "\n!!M", 1);
        let no_certificate = pair.certificate.replace("\nM", "\nA");
        for (certificate, key, expected) in [
            ("", &*pair.key, "tls.crt: this is not PEM"),
            ("\u{0}\u{1}", &*pair.key, "tls.crt: this is not PEM"),
            (&*pair.key, &*pair.key, "tls.crt: there is no certificate in it"),
            (&*pair.certificate, "", "tls.key: this is not PEM"),
            (&*pair.certificate, &*pair.certificate, "tls.key: there is no private key in it"),
            (&*pair.certificate, &*encrypted, "tls.key: the private key is encrypted"),
            (&*pair.certificate, old_encrypted, "tls.key: the private key is encrypted"),
            (&*pair.certificate, &*other.key, "tls.key: the private key does not belong to"),
            (&*pair.certificate, cut, "tls.key: its PEM is damaged: a section has no -----END"),
            (&*pair.certificate, &*garbled, "tls.key: its PEM is damaged: a section is not base64"),
            (&*no_certificate, &*pair.key, "tls.crt: its first certificate cannot be used"),
            (
                &*pair.certificate,
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "tls.key: the private key cannot be used",
            ),
        ] {
            let error = load(&dir, certificate, key).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(expected), "{expected:?} in {text:?}");
            let body = pair.key.lines().nth(1).unwrap();
            assert!(!format!("{error:?} {text}").contains(body), "{text}");
        }
        let error = TlsCertificates::load("/nowhere/tls.crt", "/nowhere/tls.key").unwrap_err();
        assert_eq!(error.to_string(), "/nowhere/tls.crt: cannot be read");
    }

    #[test]
    fn what_was_read_from_the_same_files_is_taken_by_all_clones() {
        let (dir, first, second) = (tempfile::tempdir().unwrap(), pair(), pair());
        let certificates = load(&dir, &first.certificate, &first.key).unwrap();
        let before = certificates.current();
        let other = load(&tempfile::tempdir().unwrap(), &second.certificate, &second.key).unwrap();
        certificates.replace(&other);
        assert!(Arc::ptr_eq(&before, &certificates.current()), "of other files");
        let again = load(&dir, &second.certificate, &second.key).unwrap();
        certificates.clone().replace(&again);
        assert!(Arc::ptr_eq(&again.current(), &certificates.current()), "clones are the same");
    }
}
