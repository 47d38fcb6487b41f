//! The service that agents call: joining, and staying.
//!
//! An agent speaks for one device, and only about attempts that were assigned to that device. Who the device is was
//! decided at the door (its token) or, where there are no tokens, by its evidence alone.

mod admission;
mod handshake;
mod reread;
mod session;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use seatrial_core::ids::{PrincipalId, TokenId};
use seatrial_core::role::Role;
use seatrial_core::store::{NewToken, Store};
use seatrial_core::time::Clock;
use seatrial_proto::v1;
use seatrial_proto::v1::agent_service_server::{self, AgentService, AgentServiceServer};
use seatrial_proto::{MAX_MESSAGE, evidence_from_wire};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::audit::Note;
use crate::auth::token::{Kind, Secret};
use crate::auth::{Caller, Presented};
use crate::fleet::{Fleet, Out};
use crate::system::entropy;
use admission::Admission;
pub use reread::read_devices_again;

/// How long an agent may take to say who it is.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Messages to a device that wait to be sent; a device that leaves more unread is given up.
const OUTBOX: usize = 64;

/// Full name of the service.
pub const SERVICE: &str = agent_service_server::SERVICE_NAME;

/// The service, for the edge to serve. The edge has put a [`Caller`] or a [`Presented`] into every request.
pub fn service(fleet: Fleet, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> AgentServiceServer<Agents> {
    let agents = Agents { context: Arc::new(Context { fleet, store, clock, admission: Admission::default() }) };
    AgentServiceServer::new(agents).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
}

pub struct Agents {
    context: Arc<Context>,
}

struct Context {
    fleet: Fleet,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    admission: Admission,
}

#[tonic::async_trait]
impl AgentService for Agents {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let Presented(enrolment) =
            request.extensions().get().copied().ok_or_else(|| {
                Status::unauthenticated("no enrolment token was presented (authorization: Bearer se_…)")
            })?;
        let note = request.extensions().get::<Note>().cloned().unwrap_or_default();
        let v1::EnrolRequest { evidence } = request.into_inner();
        let evidence = evidence_from_wire(evidence).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let secret = Secret::new(Kind::Token, entropy());
        let token = self.device_token(&evidence, &secret).await?;
        let joined = self.context.store.use_enrolment(&enrolment, &token, token.created_at).await.map_err(failed)?;
        if !joined {
            return Err(Status::unauthenticated(
                "the enrolment token is unknown, has expired or was used: ask for a new one",
            ));
        }
        // The door knows no caller here: the audit log has the device itself as the actor.
        note.actor(token.principal, token.project);
        note.object(format!("{}, token {}", token.name, token.id));
        tracing::info!(token = %token.id, name = %token.name, "a device has enrolled");
        Ok(Response::new(v1::EnrolResponse { token: secret.reveal().to_owned() }))
    }

    type OpenSessionStream = Pin<Box<dyn Stream<Item = Result<v1::ServerMessage, Status>> + Send>>;

    async fn open_session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let caller = request
            .extensions()
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| Status::unauthenticated("nobody has said who is calling"))?;
        let (messages, sent) = tokio::sync::mpsc::channel(OUTBOX);
        // At once, and not after the handshake: some clients send nothing before they see the head of the response.
        tokio::spawn(session::serve(self.context.clone(), caller, request.into_inner(), messages));
        let sent = ReceiverStream::new(sent).map(|out| match out {
            Out::Message(message) => Ok(*message),
            Out::End(status) => Err(status),
        });
        Ok(Response::new(Box::pin(sent)))
    }
}

impl Agents {
    /// A token of the device's own. Which device that is becomes known when it first attaches.
    async fn device_token(
        &self,
        evidence: &seatrial_core::device::Evidence,
        secret: &Secret,
    ) -> Result<NewToken, Status> {
        let now = self.context.clock.now();
        let id = TokenId::new(now, entropy());
        let known = evidence.hardware_serial.as_deref().or(evidence.machine_id.as_deref()).unwrap_or("device");
        let known: String =
            known.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(32).collect();
        let bootstrap = seatrial_core::store::BootstrapSeed {
            project: seatrial_core::ids::ProjectId::new(now, entropy()),
            principal: PrincipalId::new(now, entropy()),
            user: crate::system::user_name(),
            now,
        };
        let project = self.context.store.bootstrap(&bootstrap).await.map_err(failed)?.project;
        Ok(NewToken {
            id,
            principal: PrincipalId::new(now, entropy()),
            project,
            name: format!("agent {known} {}", id.short()),
            role: Role::Agent,
            hash: secret.hash(),
            device: None,
            created_at: now,
            expires_at: None,
        })
    }
}

/// What an agent hears when the store fails.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn failed(error: seatrial_core::store::StoreError) -> Status {
    tracing::error!(error = %crate::fleet::Chain(&error), "the store failed an agent");
    if error.is_retryable() {
        Status::unavailable("the database is not available: come back")
    } else {
        Status::internal("the database refused: see the server's log")
    }
}
