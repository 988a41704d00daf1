//! TLS: certificates from files, read again when the broker is told to, and who the client's own
//! certificate says it is.

mod login_name;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use broker::connections::TlsFacts;
use http_api::CertificateEnd;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::config::{ClientCertificate, LoginFrom, Tls};

/// Why TLS can't be offered as asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("--tls-cert and --tls-key go together: give both, or neither")]
    Half,

    #[error("--tls-ca is for TLS: it needs --tls-cert and --tls-key")]
    CaAlone,

    #[error(
        "--tls-client-cert required needs --tls-ca, the authority that signed the clients' \
         certificates"
    )]
    NoCa,

    #[error("{}: {error}; {what} in PEM format is needed", file.display())]
    Unreadable { file: PathBuf, what: &'static str, error: pem::Error },

    #[error("{} has no certificate in it; PEM format is needed", file.display())]
    NoCertificate { file: PathBuf },

    #[error("{}: an unusable authority's certificate: {error}", file.display())]
    BadAuthority { file: PathBuf, error: rustls::Error },

    #[error("{}: {error}", file.display())]
    BadAuthorities { file: PathBuf, error: rustls::server::VerifierBuilderError },

    #[error("{} and {} do not fit together: {error}", cert.display(), key.display())]
    BadPair { cert: PathBuf, key: PathBuf, error: rustls::Error },
}

/// The broker's side of TLS; its certificates can be exchanged while connections go on.
#[derive(Debug)]
pub(crate) struct TlsDoor {
    present: RwLock<Present>,
    end: CertificateEnd,
}

/// What new connections are met with.
#[derive(Clone, Debug)]
struct Present {
    config: Arc<ServerConfig>,
    login_from: LoginFrom,
    /// When the first certificate of the chain ends, in seconds since 1970; 0: none says.
    ends_seconds: u64,
}

impl TlsDoor {
    /// `None`: TLS was not asked for.
    pub(crate) fn open(tls: &Tls) -> Result<Option<TlsDoor>, TlsError> {
        let present = read(tls)?;
        Ok(present.map(|present| {
            let end = CertificateEnd::default();
            end.set(present.ends_seconds);
            TlsDoor { present: RwLock::new(present), end }
        }))
    }

    /// Reads everything again. What can't be read leaves all as it was.
    pub(crate) fn reload(&self, tls: &Tls) -> Result<(), TlsError> {
        if let Some(read) = read(tls)? {
            self.end.set(read.ends_seconds);
            *self.present.write().unwrap_or_else(PoisonError::into_inner) = read;
        }
        Ok(())
    }

    /// When its certificate ends; kept up to date.
    pub(crate) fn certificate_end(&self) -> CertificateEnd {
        self.end.clone()
    }

    fn present(&self) -> Present {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Agrees on encryption with a client. Also says which user its certificate names.
    pub(crate) async fn shake_hands(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> io::Result<(TlsStream<TcpStream>, Option<String>)> {
        let Present { config, login_from, .. } = self.present();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let name = certificate.and_then(|certificate| login_name::of(certificate, login_from));
        if certificate.is_some() && name.is_none() {
            tracing::warn!(%peer, ?login_from, "the client's certificate names no user there");
        }
        Ok((stream, name))
    }
}

/// How a connection is encrypted.
pub(crate) fn facts(stream: &TlsStream<TcpStream>) -> TlsFacts {
    let (_, session) = stream.get_ref();
    let version = session.protocol_version().and_then(|it| it.as_str()).unwrap_or_default();
    let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
    TlsFacts {
        version: version.replace('_', ".").into(),
        cipher: suite.and_then(|suite| suite.as_str()).unwrap_or_default().into(),
        peer_certificate_subject: None,
    }
}

fn read(tls: &Tls) -> Result<Option<Present>, TlsError> {
    let (cert, key) = match (&tls.tls_cert, &tls.tls_key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) if tls.tls_ca.is_some() => return Err(TlsError::CaAlone),
        (None, None) => return Ok(None),
        (Some(_), None) | (None, Some(_)) => return Err(TlsError::Half),
    };
    let provider = Arc::new(ring::default_provider());
    let verifier = match (&tls.tls_ca, tls.tls_client_cert) {
        (Some(ca), client) => verifier(ca, client, &provider)?,
        (None, ClientCertificate::Required) => return Err(TlsError::NoCa),
        (None, ClientCertificate::Optional) => Arc::new(NoClientAuth),
    };
    let chain = certificates(cert)?;
    let ends_seconds = chain.iter().filter_map(|it| ends(it)).min().unwrap_or(0);
    let unreadable = |error| TlsError::Unreadable { file: key.clone(), what: "a key", error };
    let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable)?;
    let bad_pair = |error| TlsError::BadPair { cert: cert.clone(), key: key.clone(), error };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(bad_pair)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, secret)
        .map_err(bad_pair)?;
    Ok(Some(Present { config: Arc::new(config), login_from: tls.tls_login_from, ends_seconds }))
}

/// When a certificate ends, in seconds since 1970.
fn ends(certificate: &[u8]) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable =
        |error| TlsError::Unreadable { file: file.to_path_buf(), what: "a certificate", error };
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { file: file.to_path_buf() });
    }
    Ok(chain)
}

fn verifier(
    ca: &Path,
    client: ClientCertificate,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca)? {
        roots
            .add(authority)
            .map_err(|error| TlsError::BadAuthority { file: ca.to_path_buf(), error })?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match client {
        ClientCertificate::Required => builder,
        ClientCertificate::Optional => builder.allow_unauthenticated(),
    };
    let bad = |error| TlsError::BadAuthorities { file: ca.to_path_buf(), error };
    builder.build().map_err(bad)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with a certificate, its key, and another key.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        for (name, text) in [
            ("cert.pem", made.cert.pem()),
            ("key.pem", made.signing_key.serialize_pem()),
            ("other-key.pem", other.serialize_pem()),
            ("empty.pem", String::new()),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn tls(folder: &Path, cert: &str, key: &str, ca: &str, client: ClientCertificate) -> Tls {
        let file = |name: &str| (!name.is_empty()).then(|| folder.join(name));
        Tls {
            tls_cert: file(cert),
            tls_key: file(key),
            tls_ca: file(ca),
            tls_client_cert: client,
            tls_login_from: LoginFrom::Subject,
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use ClientCertificate::{Optional, Required};
        let folder = folder();
        for (cert, key, ca, client, expected) in [
            ("", "", "", Optional, "off"),
            ("cert.pem", "key.pem", "", Optional, "on"),
            ("cert.pem", "key.pem", "cert.pem", Required, "on"),
            ("cert.pem", "", "", Optional, "--tls-cert and --tls-key go together"),
            ("", "", "cert.pem", Optional, "--tls-ca is for TLS"),
            ("cert.pem", "key.pem", "", Required, "--tls-client-cert required needs --tls-ca"),
            ("none.pem", "key.pem", "", Optional, "none.pem: I/O error: No such file"),
            ("empty.pem", "key.pem", "", Optional, "empty.pem has no certificate in it"),
            ("cert.pem", "cert.pem", "", Optional, "a key in PEM format is needed"),
            ("cert.pem", "other-key.pem", "", Optional, "do not fit together"),
        ] {
            let found = match TlsDoor::open(&tls(folder.path(), cert, key, ca, client)) {
                Ok(None) => "off".to_owned(),
                Ok(Some(_)) => "on".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{cert} {key} {ca}: {found}");
        }
    }

    #[test]
    fn what_can_not_be_read_again_leaves_all_as_it_was() {
        let folder = folder();
        let tls = tls(folder.path(), "cert.pem", "key.pem", "", ClientCertificate::Optional);
        let door = TlsDoor::open(&tls).unwrap().unwrap();
        let before = door.present().config;
        fs::copy(folder.path().join("other-key.pem"), folder.path().join("key.pem")).unwrap();
        assert!(door.reload(&tls).is_err());
        assert!(Arc::ptr_eq(&before, &door.present().config));
    }
}
