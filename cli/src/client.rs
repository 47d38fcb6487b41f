//! The connection to a server: the control API over gRPC, files and exports over HTTP, both on one port.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use seatrial_core::digest::Digest;
use seatrial_proto::MAX_MESSAGE;
use seatrial_proto::v1;
use tokio_util::io::ReaderStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::error::{CliError, Result, root_of};
use crate::settings::{Settings, Tls, Token};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call that is no stream and takes longer has failed.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes of a refusal's body that are worth showing.
const REFUSAL_BYTES: usize = 2000;

/// Puts the token into every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Bearer>;

/// A server that answered.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    service: Service,
    http: reqwest::Client,
}

macro_rules! services {
    ($($name:ident: $module:ident :: $client:ident;)*) => {
        impl Client {$(
            pub fn $name(&self) -> v1::$module::$client<Service> {
                v1::$module::$client::new(self.service.clone())
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE)
            }
        )*}
    };
}

services! {
    server: server_client::ServerClient;
    devices: devices_client::DevicesClient;
    reservations: reservations_client::ReservationsClient;
    agents: agents_client::AgentsClient;
    models: models_client::ModelsClient;
    datasets: datasets_client::DatasetsClient;
    runtimes: runtimes_client::RuntimesClient;
    runs: runs_client::RunsClient;
    results: results_client::ResultsClient;
    tokens: tokens_client::TokensClient;
    artifacts: artifacts_client::ArtifactsClient;
    quarantines: quarantines_client::QuarantinesClient;
    audit: audit_client::AuditClient;
}

impl Client {
    /// Opens the connection now, so that a server that is away is known before any work is done.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self> {
        let address = settings.address.clone();
        let endpoint = endpoint(settings)?;
        let channel = endpoint.connect().await.map_err(|error| CliError::unreachable(&address, root_of(&error)))?;
        let bearer = Bearer(settings.token.as_ref().map(authorization).transpose()?);
        let service = InterceptedService::new(channel, bearer);
        Ok(Self { address, service, http: http_client(settings)? })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A call to the server failed: what was being done, and what the server said.
    pub(crate) fn failed<'a>(&'a self, doing: &'a str) -> impl FnOnce(Status) -> CliError + 'a {
        move |status| CliError::from_status(doing, &self.address, &status)
    }

    /// A request with the usual time limit.
    pub(crate) fn request<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        request
    }

    /// Streams a file to the server under its digest. The server verifies what arrives.
    pub(crate) async fn put_artifact(
        &self,
        digest: &Digest,
        size: u64,
        path: &Path,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<()> {
        let doing = format!("upload {}", path.display());
        let file =
            fs_err::tokio::File::open(path).await.map_err(|source| CliError::Read { path: path.to_owned(), source })?;
        let stream = tokio_stream::StreamExt::map(ReaderStream::with_capacity(file, 256 << 10), move |chunk| {
            chunk.inspect(|bytes| progress(bytes.len() as u64))
        });
        let request = self
            .http
            .put(format!("{}/artifacts/{digest}", self.address))
            .header(CONTENT_LENGTH, size)
            .body(reqwest::Body::wrap_stream(stream));
        self.send(request, &doing).await.map(drop)
    }

    /// A page or export of the server.
    pub(crate) async fn get(&self, path_and_query: &str, doing: &str) -> Result<reqwest::Response> {
        self.send(self.http.get(format!("{}{path_and_query}", self.address)), doing).await
    }

    async fn send(&self, request: reqwest::RequestBuilder, doing: &str) -> Result<reqwest::Response> {
        let response = request.send().await.map_err(|error| {
            let why = root_of(&error);
            if error.is_connect() {
                CliError::unreachable(&self.address, why)
            } else {
                CliError::turned_away(&self.address, &why).unwrap_or_else(|| CliError::failed(doing, why))
            }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let reason = refusal(response).await;
        Err(match status.as_u16() {
            401 => CliError::from_status(doing, &self.address, &Status::unauthenticated(reason)),
            403 => CliError::from_status(doing, &self.address, &Status::permission_denied(reason)),
            404 => CliError::NotFound { doing: doing.to_owned(), reason },
            413 => {
                CliError::failed(doing, reason).with_hint("the server's limit on one file is set by `seatrial serve`")
            }
            _ => CliError::failed(doing, reason),
        })
    }
}

fn endpoint(settings: &Settings) -> Result<Endpoint> {
    let doing = || format!("use the address {}", settings.address);
    let endpoint = Endpoint::from_shared(settings.address.clone())
        .map_err(|error| CliError::failed(doing(), error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| CliError::failed(doing(), error))?;
    let Some(Tls { authorities, own }) = &settings.tls else { return Ok(endpoint) };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
    if let Some(own) = own {
        tls = tls.identity(Identity::from_pem(own.chain_pem(), own.key_pem()));
    }
    endpoint.tls_config(tls).map_err(|error| CliError::failed("set up TLS", error))
}

fn http_client(settings: &Settings) -> Result<reqwest::Client> {
    // Another part of the process may have installed the same provider before.
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut headers = HeaderMap::new();
    if let Some(token) = &settings.token {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|error| CliError::failed("use the token", error))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let (mut trusted, mut own) = (Vec::new(), None);
    if let Some(tls) = &settings.tls {
        trusted = reqwest::Certificate::from_pem_bundle(&tls.authorities)
            .map_err(|error| CliError::failed("read the certificates", error))?;
        own = tls.own.as_deref();
    }
    let mut client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .default_headers(headers)
        .tls_certs_only(trusted)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(own) = own {
        let pem = [own.chain_pem(), b"\n", own.key_pem()].concat();
        let identity =
            reqwest::Identity::from_pem(&pem).map_err(|error| CliError::failed("read the own certificate", error))?;
        client = client.identity(identity);
    }
    client.build().map_err(|error| CliError::failed("set up HTTP", error))
}

fn authorization(token: &Token) -> Result<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {}", token.expose()).parse().map_err(|error| CliError::failed("use the token", error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What the server says of a request that it did not serve, bounded.
async fn refusal(mut response: reqwest::Response) -> String {
    let status = response.status();
    let mut body = Vec::new();
    while body.len() < REFUSAL_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(REFUSAL_BYTES);
    if let Ok(Refusal { message }) = serde_json::from_slice(&body) {
        return message;
    }
    let text = String::from_utf8_lossy(&body);
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') { format!("the server answered {status}") } else { text.to_owned() }
}

/// The form in which the server explains itself over HTTP.
#[derive(serde::Deserialize)]
struct Refusal {
    message: String,
}
