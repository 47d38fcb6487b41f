//! The certificate by which a client shows a server who it is. Agent and command line take it in the same way.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::AlertDescription;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Alerts by which a server refuses the certificate that it was shown.
const REFUSALS: [AlertDescription; 8] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::DecryptError,
];

/// Why the files of a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("--certificate and --key go together: {0} is missing")]
    Half(&'static str),
    #[error("{flag} {}: {detail}", path.display())]
    Read { flag: &'static str, path: PathBuf, detail: String },
}

/// A certificate, those between it and its authority, and its key: as PEM and as what that says.
pub struct ClientCertificate {
    chain_pem: Vec<u8>,
    key_pem: Vec<u8>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    /// The one that is named, if one is.
    pub fn read(certificate: Option<&Path>, key: Option<&Path>) -> Result<Option<Self>, CertificateError> {
        let (certificate, key) = match (certificate, key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err(CertificateError::Half("--key")),
            (None, Some(_)) => return Err(CertificateError::Half("--certificate")),
        };
        let (chain_pem, chain) = read("--certificate", certificate, |pem| {
            let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|error| format!("{error:?}"))?;
            if chain.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(chain) }
        })?;
        let (key_pem, key) = read("--key", key, |pem| {
            PrivateKeyDer::from_pem_slice(pem).map_err(|_| "there is no private key in it".to_owned())
        })?;
        Ok(Some(Self { chain_pem, key_pem, chain, key }))
    }

    /// The chain in PEM, the certificate itself first.
    #[must_use]
    pub fn chain_pem(&self) -> &[u8] {
        &self.chain_pem
    }

    /// The private key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> &[u8] {
        &self.key_pem
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(…)")
    }
}

fn read<T>(
    flag: &'static str,
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<(Vec<u8>, T), CertificateError> {
    let fail = |detail| CertificateError::Read { flag, path: path.to_owned(), detail };
    let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let parsed = parse(&pem).map_err(fail)?;
    Ok((pem, parsed))
}

/// What to do about a connection that failed in these words, if a server's alert about certificates is among them. The
/// alert comes as text: HTTP/2 keeps no more of it.
#[must_use]
pub fn advice(failure: &str) -> Option<&'static str> {
    let says = |alert: &AlertDescription| failure.contains(&rustls::Error::AlertReceived(*alert).to_string());
    if says(&AlertDescription::CertificateRequired) {
        Some("the server lets in only who has a certificate of its authority: name yours by --certificate and --key")
    } else if REFUSALS.iter().any(says) {
        Some("the server refuses the certificate of --certificate: it must be valid and of the server's own authority")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_without_its_key_or_a_file_without_one_is_refused_by_the_flag_that_named_it() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        assert!(ClientCertificate::read(None, None).is_ok_and(|certificate| certificate.is_none()));
        let refused = |certificate, key| ClientCertificate::read(certificate, key).unwrap_err().to_string();
        let half = refused(Some(&*empty), None);
        assert_eq!(half, "--certificate and --key go together: --key is missing");
        let empty = refused(Some(&empty), Some(&empty));
        assert!(empty.starts_with("--certificate /") && empty.ends_with("no certificate in it"), "{empty}");
        let nowhere = refused(Some(Path::new("/nowhere.pem")), Some(Path::new("/nowhere.key")));
        assert!(nowhere.starts_with("--certificate /nowhere.pem: No such file"), "{nowhere}");
    }

    #[test]
    fn an_alert_about_certificates_is_told_from_other_failures() {
        let of = |alert| advice(&format!("transport error: {}", rustls::Error::AlertReceived(alert)));
        assert!(of(AlertDescription::CertificateRequired).is_some_and(|text| text.contains("--certificate and --key")));
        assert!(of(AlertDescription::UnknownCA).is_some_and(|text| text.contains("refuses the certificate")));
        assert_eq!(of(AlertDescription::InternalError), None);
        assert_eq!(advice("connection refused"), None);
    }
}
