//! TLS: a certificate authority of the bridge's own, or certificates from elsewhere (A139).
//!
//! ```text
//! ca.pem   certificate of the authority; clients pin it
//! ca.key   its key; whoever has it can pose as the bridge and as every app
//! ```
//!
//! The bridge's own certificate is drawn anew at every start and never stored.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lct::{Digest, hash::sha256};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::durable;

const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Days for which the authority certifies, the bridge's own certificate and the authority itself hold.
pub const CLIENT_DAYS: u32 = 365;
const SERVER_DAYS: u32 = 397;
const CA_DAYS: u32 = 3650;
/// Longest file of certificates or keys, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A name cannot stand in a certificate.
    #[error("{name:?} cannot stand in a certificate: {what}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A certificate cannot be made.
    #[error("no certificate can be made: {0}")]
    Made(#[from] rcgen::Error),
    /// The parts do not fit together.
    #[error("certificate and key are not accepted: {0}")]
    Refused(String),
}

/// What the bridge shows to those who connect.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A certificate of its own authority for these names and addresses.
    Own {
        /// The folder of the authority; made when there is none.
        folder: PathBuf,
        /// Names and addresses.
        names: Vec<String>,
    },
    /// Files from elsewhere, in PEM.
    Files {
        /// The certificate, followed by what leads to a root.
        certificates: PathBuf,
        /// Its key.
        key: PathBuf,
        /// Who certifies the clients; the folder's own authority when left out.
        clients: Option<PathBuf>,
    },
}

/// The certificate authority of a bridge.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate of a client, and its key.
pub struct Issued {
    /// Certificate and key in PEM.
    pub pem: Zeroizing<String>,
    /// SHA-256 of the certificate's DER.
    pub fingerprint: Digest,
}

impl Authority {
    /// Reads the authority in `folder`, or makes one.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open_or_create(folder: &Path) -> Result<Self, TlsError> {
        let (certificate_path, key_path) = (folder.join(CA_CERTIFICATE), folder.join(CA_KEY));
        if !certificate_path.exists() {
            let io = |path: &Path| {
                let path = path.to_owned();
                move |source| TlsError::Io { path, source }
            };
            crate::durable::private_folder(folder).map_err(io(folder))?;
            let key = KeyPair::generate()?;
            let mut params = params("modbatt bridge authority", CA_DAYS)?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let certificate = params.self_signed(&key)?;
            let text = Zeroizing::new(key.serialize_pem());
            durable::replace_private(&key_path, text.as_bytes()).map_err(io(&key_path))?;
            // Last: an authority with a certificate is complete.
            durable::replace(&certificate_path, certificate.pem().as_bytes())
                .map_err(io(&certificate_path))?;
        }
        let certificate = String::from_utf8_lossy(&read(&certificate_path)?).into_owned();
        let text = read(&key_path)?;
        let damaged = |what: String| TlsError::Damaged { path: key_path.clone(), what };
        let text = std::str::from_utf8(&text).map_err(|e| damaged(e.to_string()))?;
        let key = KeyPair::from_pem(text).map_err(|e| damaged(e.to_string()))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .map_err(|e| TlsError::Damaged { path: certificate_path, what: e.to_string() })?;
        Ok(Authority { certificate, issuer })
    }

    /// Its certificate in PEM, which clients pin.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Certifies a client for `days`.
    ///
    /// # Errors
    /// [`TlsError::Made`].
    pub fn issue_client(&self, name: &str, days: u32) -> Result<Issued, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = params(name, days)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pem = Zeroizing::new([certificate.pem(), key.serialize_pem()].concat());
        Ok(Issued { pem, fingerprint: sha256(&[certificate.der()]) })
    }

    fn issue_server(
        &self,
        names: &[String],
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
        let key = KeyPair::generate()?;
        let mut params = params("modbatt bridge", SERVER_DAYS)?;
        for name in names {
            let one = CertificateParams::new(vec![name.clone()]);
            let one = one.map_err(|e| TlsError::Name { name: name.clone(), what: e.to_string() })?;
            params.subject_alt_names.extend(one.subject_alt_names);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| TlsError::Refused(e.into()))?;
        Ok((certificate.der().clone(), key))
    }
}

/// What stands in every certificate.
fn params(name: &str, days: u32) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    // Clocks differ a little.
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * days).into();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let io = |source| TlsError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(io)?.len() > FILE_MAX {
        return Err(TlsError::Damaged { path: path.to_owned(), what: "it is too long".into() });
    }
    fs::read(path).map(Zeroizing::new).map_err(io)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let damaged = |what: String| TlsError::Damaged { path: path.to_owned(), what };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| damaged(format!("{e:?}")))?;
    if all.is_empty() { Err(damaged("it holds no certificate in PEM".into())) } else { Ok(all) }
}

/// Makes ready to speak TLS 1.2 and 1.3. A client may show a certificate; what it then may do is the users' file's word.
pub(crate) fn acceptor(identity: &Identity) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (chain, key, clients) = match identity {
        Identity::Own { folder, names } => {
            let authority = Authority::open_or_create(folder)?;
            let (certificate, key) = authority.issue_server(names)?;
            (vec![certificate], key, Some(certificates(&folder.join(CA_CERTIFICATE))?))
        }
        Identity::Files { certificates: path, key, clients } => {
            let bytes = read(key)?;
            let damaged = |e: rustls::pki_types::pem::Error| TlsError::Damaged {
                path: key.clone(),
                what: format!("it holds no key in PEM ({e:?})"),
            };
            let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(damaged)?;
            (certificates(path)?, key, clients.as_deref().map(certificates).transpose()?)
        }
    };
    let refused = |e: &dyn std::fmt::Display| TlsError::Refused(e.to_string());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| refused(&e))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root).map_err(|e| refused(&e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|e| refused(&e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| refused(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tls");
        let first = Authority::open_or_create(&folder).unwrap();
        let again = Authority::open_or_create(&folder).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        assert_ne!(
            first.issue_client("a", 1).unwrap().fingerprint,
            again.issue_client("a", 1).unwrap().fingerprint
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(folder.join(CA_KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(folder.join(CA_KEY), "x").unwrap();
        assert!(matches!(Authority::open_or_create(&folder), Err(TlsError::Damaged { .. })));
    }

    #[test]
    fn what_cannot_be_shown_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tls");
        let names = |name: &str| Identity::Own { folder: folder.clone(), names: vec![name.into()] };
        assert!(acceptor(&names("bridge.example")).is_ok() && acceptor(&names("::1")).is_ok());
        assert!(matches!(acceptor(&names("bücher")), Err(TlsError::Name { .. })));
        let file = dir.path().join("file");
        let files = Identity::Files { certificates: file.clone(), key: file.clone(), clients: None };
        let said = |identity: &Identity| acceptor(identity).map(drop).unwrap_err().to_string();
        assert!(said(&files).contains("file"), "{}", said(&files));
        fs::write(&file, "no PEM").unwrap();
        assert!(said(&files).contains("holds no key"), "{}", said(&files));
        // A certificate with another one's key.
        let authority = Authority::open_or_create(&folder).unwrap();
        fs::write(&file, authority.issue_client("a", 1).unwrap().pem.as_bytes()).unwrap();
        let other = folder.join(CA_KEY);
        let mixed = Identity::Files { certificates: file.clone(), key: other, clients: None };
        assert!(said(&mixed).contains("not accepted"), "{}", said(&mixed));
        assert!(acceptor(&Identity::Files { certificates: file.clone(), key: file, clients: None }).is_ok());
    }
}
