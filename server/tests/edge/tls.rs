//! TLS, with and without certificates of clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use seatrial_server::config::TlsFiles;

use crate::support::{Lab, PATIENCE};

/// An authority with a server's and a client's certificate, as PEM files.
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        write("ca.pem", authority.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
            write(&format!("{name}.pem"), params.signed_by(&key, &authority).unwrap().pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn server(&self) -> TlsFiles {
        TlsFiles { certificate: self.folder.join("server.pem"), key: self.folder.join("server.key"), client_ca: None }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(name)).unwrap()
    }

    fn client(&self, identity: bool) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder =
            Client::builder().timeout(PATIENCE).tls_certs_only([Certificate::from_pem(&self.read("ca.pem")).unwrap()]);
        let builder = if identity {
            builder.identity(Identity::from_pem(&[self.read("client.pem"), self.read("client.key")].concat()).unwrap())
        } else {
            builder
        };
        builder.build().unwrap()
    }
}

#[tokio::test]
async fn https_works_and_plain_http_on_its_port_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path());
    let lab = Lab::with(|config| config.tls = Some(files.server())).await;
    assert!(lab.server.url().starts_with("https://"));
    let answer = files.client(false).get(lab.url("/healthz")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok\n");
    let plain = format!("http://{}/healthz", lab.server.address);
    assert!(crate::support::client().get(plain).send().await.is_err());
}

#[tokio::test]
async fn where_clients_need_certificates_a_stranger_does_not_even_get_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path());
    let tls = TlsFiles { client_ca: Some(folder.path().join("ca.pem")), ..files.server() };
    let lab = Lab::with(|config| config.tls = Some(tls)).await;
    assert!(files.client(false).get(lab.url("/healthz")).send().await.is_err());
    assert!(files.client(true).get(lab.url("/healthz")).send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn a_stranger_who_is_still_sending_when_turned_away_reads_why() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path());
    let tls = TlsFiles { client_ca: Some(folder.path().join("ca.pem")), ..files.server() };
    let lab = Lab::with(|config| config.tls = Some(tls)).await;
    let (address, authority) = (lab.server.address, files.read("ca.pem"));
    let stranger = tokio::task::spawn_blocking(move || {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&authority).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tls = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, TcpStream::connect(address).unwrap());
        for _ in 0..10 {
            stream.write_all(b"and another thing").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        stream.read(&mut [0; 16]).unwrap_err().to_string()
    });
    let why = stranger.await.unwrap();
    assert!(why.contains("CertificateRequired"), "{why}");
}

#[tokio::test]
async fn tls_files_that_are_missing_or_empty_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path());
    let start = async |tls: TlsFiles| {
        let config =
            seatrial_server::Config { tls: Some(tls), ..seatrial_server::Config::embedded(folder.path().join("data")) };
        seatrial_server::start(config).await.err().unwrap().to_string()
    };
    let missing = start(TlsFiles { key: folder.path().join("absent.key"), ..files.server() }).await;
    assert!(missing.contains("private key") && missing.contains("absent.key"), "{missing}");
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    let empty = start(TlsFiles { certificate: folder.path().join("empty.pem"), ..files.server() }).await;
    assert!(empty.contains("empty.pem holds no certificate"), "{empty}");
}
