//! The stream to the server, and the other two things that go over the same port: enrolment and artifacts.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use seatrial_core::device::Evidence;
use seatrial_core::session::FromServer;
use seatrial_proto::v1::agent_service_client::AgentServiceClient;
use seatrial_proto::{MAX_MESSAGE, evidence_to_wire, v1};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::certificate::{self, CertificateError, ClientCertificate};
use crate::wire;

/// Where Linux distributions keep the authorities that they trust.
pub(crate) const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Messages that wait for the wire.
const OUTGOING: usize = 64;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Why the server cannot be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{0:?} is no address of a server (expected http://host:port or https://host:port)")]
    Address(String),
    #[error("--via {0:?} is no address (expected ip:port)")]
    Via(String),
    #[error("a tunnel to {0} cannot tell that its certificate is the server's: give the server by a name")]
    Nameless(String),
    #[error("authorities in {path}: {detail}")]
    Authorities { path: PathBuf, detail: String },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the token holds characters that cannot be sent")]
    Token,
    #[error("TLS: {0}")]
    Tls(String),
    #[error("enrolment: {0}")]
    Enrolment(String),
}

/// The server, with what it takes to be let in. Not `Debug`: it holds the token.
#[derive(Clone)]
pub(crate) struct Server {
    endpoint: Endpoint,
    pub(crate) token: Option<String>,
    pub(crate) http: reqwest::Client,
    /// Without a slash at the end.
    pub(crate) address: String,
}

/// PEM files for https; none of them is read for http.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TlsFiles<'a> {
    /// Who may vouch for the server; the system's when absent.
    pub(crate) authorities: Option<&'a Path>,
    /// What is shown to a server that asks who we are; both or neither.
    pub(crate) certificate: Option<&'a Path>,
    pub(crate) key: Option<&'a Path>,
}

/// What the stream brings.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Connected,
    Received(FromServer),
    /// Somebody looks for the device: no matter of its session.
    FindMe,
    Closed(String),
}

/// One open stream; dropping it closes the stream.
#[derive(Debug)]
pub(crate) struct Stream {
    outgoing: mpsc::Sender<v1::AgentMessage>,
    task: JoinHandle<()>,
}

impl Server {
    /// `via`: the `ip:port` of a tunnel through which the server is reached, under its own name all the same.
    pub(crate) fn new(
        address: &str,
        via: Option<&str>,
        files: TlsFiles<'_>,
        token: Option<String>,
    ) -> Result<Self, LinkError> {
        let bad = || LinkError::Address(address.to_owned());
        let uri: Uri = address.trim_end_matches('/').parse().map_err(|_| bad())?;
        let (scheme, secure) = match uri.scheme_str() {
            Some("https") => ("https", true),
            Some("http") => ("http", false),
            Some(_) | None => return Err(bad()),
        };
        let host = uri.host().ok_or_else(bad)?.to_owned();
        let via = via.map(|via| via.parse::<SocketAddr>().map_err(|_| LinkError::Via(via.to_owned()))).transpose()?;
        let reached = via.map_or_else(|| address.trim_end_matches('/').to_owned(), |via| format!("{scheme}://{via}"));
        let (address, resolved) = match via {
            // A port in the address would be taken instead of the tunnel's.
            Some(via) if secure && host.parse::<IpAddr>().is_err() => {
                (format!("{scheme}://{host}"), Some((host.as_str(), via)))
            }
            Some(via) if secure && host.parse() != Ok(via.ip()) => return Err(LinkError::Nameless(host)),
            Some(_) | None => (reached.clone(), None),
        };
        let mut endpoint = Endpoint::from_shared(reached)
            .map_err(|_| bad())?
            .origin(uri)
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true);
        let (mut authorities, mut own) = (Vec::new(), None);
        if secure {
            let Authorities { pem, certificates } = read_authorities(files.authorities)?;
            authorities = certificates;
            own = ClientCertificate::read(files.certificate, files.key)?;
            let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            if via.is_some() {
                tls = tls.domain_name(&host);
            }
            if let Some(own) = &own {
                tls = tls.identity(Identity::from_pem(own.chain_pem(), own.key_pem()));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| LinkError::Tls(chain(&error)))?;
        }
        let http = http_client(authorities, own, resolved)?;
        Ok(Self { endpoint, token, http, address })
    }

    /// Host and port, for who is to connect to it on its own.
    #[cfg(feature = "lab")]
    pub(crate) fn authority(&self) -> String {
        let uri = self.endpoint.uri();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        format!("{}:{port}", uri.host().unwrap_or_default())
    }

    /// A connection for single calls.
    #[cfg(feature = "lab")]
    pub(crate) async fn channel(&self) -> Result<Channel, String> {
        self.endpoint.connect().await.map_err(|error| chain(&error))
    }

    /// A call with the token and a time limit.
    #[cfg(feature = "lab")]
    pub(crate) fn request<T>(&self, message: T, within: Duration) -> Result<tonic::Request<T>, String> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            let token = bearer(token).map_err(|error| error.to_string())?;
            request.metadata_mut().insert("authorization", token);
        }
        request.set_timeout(within);
        Ok(request)
    }

    /// Trades a one-time token for the device's own.
    pub(crate) async fn enrol(&self, one_time: &str, evidence: &Evidence) -> Result<String, LinkError> {
        let fail = |error: &dyn std::error::Error| LinkError::Enrolment(chain(error));
        let channel = self.endpoint.connect().await.map_err(|error| fail(&error))?;
        let mut request = tonic::Request::new(v1::EnrolRequest { evidence: Some(evidence_to_wire(evidence)) });
        request.metadata_mut().insert("authorization", bearer(one_time)?);
        request.set_timeout(CONNECT_WITHIN);
        let refused = |status: tonic::Status| match status.source() {
            Some(_) => LinkError::Enrolment(describe(&status)),
            None => LinkError::Enrolment(format!("{}: ask for a new one-time token", describe(&status))),
        };
        let response = AgentServiceClient::new(channel).enrol(request).await.map_err(refused)?;
        Ok(response.into_inner().token)
    }

    /// Opens a stream in a task of its own. Events carry `generation`, so that those of an older stream are known.
    pub(crate) fn open(&self, generation: u64, events: mpsc::Sender<(u64, LinkEvent)>) -> Stream {
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let server = self.clone();
        let task = tokio::spawn(async move {
            let reason = match server.speak(generation, queue, &events).await {
                Ok(()) => "the server closed the stream".to_owned(),
                Err(reason) => reason,
            };
            // Nobody listens any more when the agent leaves.
            let _ = events.send((generation, LinkEvent::Closed(reason))).await;
        });
        Stream { outgoing, task }
    }

    async fn speak(
        &self,
        generation: u64,
        queue: mpsc::Receiver<v1::AgentMessage>,
        events: &mpsc::Sender<(u64, LinkEvent)>,
    ) -> Result<(), String> {
        let channel: Channel = self.endpoint.connect().await.map_err(|error| chain(&error))?;
        let mut client = AgentServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        // The server answers a stream only after its first message: the hello must be on its way by then.
        let gone = |_| "the agent has left".to_owned();
        events.send((generation, LinkEvent::Connected)).await.map_err(gone)?;
        let mut request = tonic::Request::new(ReceiverStream::new(queue));
        if let Some(token) = &self.token {
            let token = bearer(token).map_err(|error| error.to_string())?;
            request.metadata_mut().insert("authorization", token);
        }
        let response = client.open_session(request).await.map_err(|status| describe(&status))?;
        let mut incoming = response.into_inner();
        while let Some(message) = incoming.next().await {
            let message = message.map_err(|status| describe(&status))?;
            let event = if wire::is_find_me(&message) {
                LinkEvent::FindMe
            } else {
                let Some(message) = wire::from_wire(message).map_err(|error| error.to_string())? else { continue };
                LinkEvent::Received(message)
            };
            events.send((generation, event)).await.map_err(gone)?;
        }
        Ok(())
    }
}

impl Stream {
    /// False when the queue is full or the stream is closed: either way it is to be given up.
    pub(crate) fn send(&self, message: v1::AgentMessage) -> bool {
        self.outgoing.try_send(message).is_ok()
    }

    /// A way to say something later.
    pub(crate) fn outgoing(&self) -> mpsc::Sender<v1::AgentMessage> {
        self.outgoing.clone()
    }

    /// Lets what is queued go out, for as long as that takes up to a bound.
    pub(crate) async fn flush(self, patience: Duration) {
        let begun = tokio::time::Instant::now();
        while self.outgoing.capacity() < OUTGOING && begun.elapsed() < patience && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Authorities {
    pem: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
}

fn read_authorities(path: Option<&Path>) -> Result<Authorities, LinkError> {
    let path = path.unwrap_or(Path::new(SYSTEM_AUTHORITIES));
    let fail = |detail: String| LinkError::Authorities { path: path.to_owned(), detail };
    let pem = std::fs::read(path).map_err(|error| fail(format!("{error}: name the server's authority with --ca")))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(format!("{error:?}")))?;
    if certificates.is_empty() {
        return Err(fail("there is no certificate in it".to_owned()));
    }
    Ok(Authorities { pem, certificates })
}

fn http_client(
    authorities: Vec<CertificateDer<'static>>,
    own: Option<ClientCertificate>,
    via: Option<(&str, SocketAddr)>,
) -> Result<reqwest::Client, LinkError> {
    let unusable = |error: &dyn std::error::Error| LinkError::Tls(chain(error));
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_root_certificates(roots);
    let tls = match own {
        None => tls.with_no_client_auth(),
        Some(own) => tls.with_client_auth_cert(own.chain, own.key).map_err(|error| unusable(&error))?,
    };
    let client = match via {
        Some((host, via)) => reqwest::Client::builder().resolve(host, via),
        None => reqwest::Client::builder(),
    };
    client
        .tls_backend_preconfigured(tls)
        // Artifacts come from the server and from nowhere else.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_WITHIN)
        .read_timeout(Duration::from_secs(15))
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(5))
        .build()
        .map_err(|error| unusable(&error))
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, LinkError> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| LinkError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What the server answered, or why no answer came.
fn describe(status: &tonic::Status) -> String {
    match status.source() {
        Some(cause) => chain(cause),
        None => format!("{} ({:?})", status.message(), status.code()),
    }
}

/// The error with its causes, since tonic's own says only "transport error", and with what to do if that is known.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    match certificate::advice(&text) {
        Some(advice) => format!("{text}: {advice}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_refused_with_an_example() {
        let error = Server::new("localhost:7077", None, TlsFiles::default(), None).err().unwrap();
        assert!(error.to_string().contains("http://host:port"), "{error}");
    }

    #[test]
    fn https_without_an_authority_says_which_flag_names_one() {
        let files = TlsFiles { authorities: Some(Path::new("/nowhere.pem")), ..TlsFiles::default() };
        let error = Server::new("https://localhost:7077", None, files, None).err().unwrap();
        assert!(error.to_string().contains("--ca"), "{error}");
    }

    #[test]
    fn a_tunnel_is_to_a_server_whose_certificate_can_be_told() {
        let new = |server: &str, via| Server::new(server, Some(via), TlsFiles::default(), None).map(|one| one.address);
        assert_eq!(new("http://10.0.0.5:7077/", "127.0.0.1:4000").unwrap(), "http://127.0.0.1:4000");
        assert!(matches!(new("http://lab:7077", "lab:4000"), Err(LinkError::Via(_))));
        assert!(matches!(new("https://10.0.0.5:7077", "127.0.0.1:4000"), Err(LinkError::Nameless(_))));
    }

    #[test]
    fn a_token_is_never_shown() {
        assert_eq!(format!("{:?}", bearer("secret").unwrap()), "Sensitive");
    }
}
