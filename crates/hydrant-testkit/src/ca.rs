//! A certificate authority of a test's own, and TLS in front of servers that speak none.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

/// A CA that nobody trusts unless told to.
#[derive(Debug)]
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

impl Ca {
    /// Makes one.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("ring makes keys");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // By default all have the same name, and OpenSSL takes a certificate that names itself as its issuer for self-signed.
        params.distinguished_name.push(DnType::CommonName, "CA of a test");
        let pem = params.self_signed(&key).expect("a key signs").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate, for those who are to trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A new certificate for `localhost` and `127.0.0.1`, and its key.
    pub fn certify(&self) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("ring makes keys");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("these are names");
        (params.signed_by(&key, &self.issuer).expect("a key signs"), key)
    }

    /// What a server takes its connections with, to show such a certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        let (certificate, key) = self.certify();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("certificate and key belong together");
        Arc::new(config).into()
    }

    /// Listens with TLS and passes bytes on to `upstream` (`127.0.0.1:5432`) until the test's runtime ends; gives its `https://` URL.
    pub async fn in_front_of(&self, upstream: &str) -> String {
        let (acceptor, upstream) = (self.acceptor(), upstream.to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the handshake; an upstream that is gone, the connection.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        format!("https://{address}")
    }
}
