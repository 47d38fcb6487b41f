//! A dispatcher that stores nothing: the same messages over the same libraries, and a map in memory between.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use seatrial_core::ids::JobId;
use seatrial_core::time::Timestamp;
use seatrial_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use seatrial_proto::v1::{self, agent_message, server_message};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

type Outgoing = mpsc::Sender<Result<v1::ServerMessage, Status>>;

/// Idle agents by the only job that each of them is ever given.
#[derive(Clone, Default)]
struct Idle(Arc<Mutex<HashMap<String, Outgoing>>>);

impl Idle {
    fn put(&self, job: &str, agent: Outgoing) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(job.to_owned(), agent);
    }

    fn take(&self, job: &str) -> Option<Outgoing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(job)
    }
}

/// A running dispatcher; it ends when this is dropped.
pub struct Dispatcher {
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Dispatcher {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let idle = Idle::default();
        let router = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(AgentServiceServer::new(Agents { idle: idle.clone(), opened: AtomicU64::new(0) }))
            .add_service(v1::runs_server::RunsServer::new(Submit { idle }));
        let server = tokio::spawn(async move {
            if let Err(error) = router.serve_with_incoming(TcpListenerStream::new(listener)).await {
                eprintln!("baseline dispatcher: {error}");
            }
        });
        Ok(Self { address, server })
    }
}

struct Agents {
    idle: Idle,
    opened: AtomicU64,
}

#[tonic::async_trait]
impl AgentService for Agents {
    type OpenSessionStream = Pin<Box<dyn Stream<Item = Result<v1::ServerMessage, Status>> + Send>>;

    async fn enrol(&self, _: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        Err(Status::unimplemented("the baseline enrols nobody"))
    }

    async fn open_session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let mut incoming = request.into_inner();
        let (outgoing, messages) = mpsc::channel(16);
        let idle = self.idle.clone();
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut entropy = [0; 10];
        entropy[2..].copy_from_slice(&number.to_be_bytes());
        let job = JobId::new(Timestamp::default(), entropy).to_string();
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                let answer = match message.message {
                    Some(agent_message::Message::Hello(_)) => {
                        let device = job.clone();
                        let welcome = v1::Welcome { protocol: 1, device, heartbeat_ms: 10_000, ..Default::default() };
                        server_message::Message::Welcome(welcome)
                    }
                    Some(agent_message::Message::Report(report)) => {
                        server_message::Message::Durable(v1::ReportDurable { attempt: report.attempt })
                    }
                    Some(
                        agent_message::Message::Heartbeat(_)
                        | agent_message::Message::Vitals(_)
                        | agent_message::Message::Found(_)
                        | agent_message::Message::Accepted(_)
                        | agent_message::Message::Stage(_)
                        | agent_message::Message::Drain(_)
                        | agent_message::Message::Refused(_),
                    )
                    | None => continue,
                };
                idle.put(&job, outgoing.clone());
                if outgoing.send(Ok(v1::ServerMessage { message: Some(answer) })).await.is_err() {
                    return;
                }
            }
            idle.take(&job);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

struct Submit {
    idle: Idle,
}

#[tonic::async_trait]
impl v1::runs_server::Runs for Submit {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::RunEvent, Status>> + Send>>;

    async fn rerun(&self, request: Request<v1::RerunRequest>) -> Result<Response<v1::RerunResponse>, Status> {
        let job = request.into_inner().job;
        let agent = self.idle.take(&job).ok_or_else(|| Status::resource_exhausted("the job's agent is not idle"))?;
        let attempt = Some(v1::AttemptRef { job: job.clone(), attempt: 1 });
        let assignment = v1::Assignment { attempt, spec_json: "{}".to_owned(), grant: None };
        let message = v1::ServerMessage { message: Some(server_message::Message::Assignment(assignment)) };
        agent.send(Ok(message)).await.map_err(|_| Status::unavailable("the agent has gone"))?;
        Ok(Response::new(v1::RerunResponse { run: job, number: 1 }))
    }

    async fn preview(&self, _: Request<v1::PreviewRequest>) -> Result<Response<v1::PreviewResponse>, Status> {
        Err(only_rerun())
    }
    async fn submit(&self, _: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        Err(only_rerun())
    }
    async fn list(&self, _: Request<v1::ListRunsRequest>) -> Result<Response<v1::ListRunsResponse>, Status> {
        Err(only_rerun())
    }
    async fn get(&self, _: Request<v1::GetRunRequest>) -> Result<Response<v1::GetRunResponse>, Status> {
        Err(only_rerun())
    }
    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(only_rerun())
    }
    async fn cancel(&self, _: Request<v1::CancelRunRequest>) -> Result<Response<v1::CancelRunResponse>, Status> {
        Err(only_rerun())
    }
}

fn only_rerun() -> Status {
    Status::unimplemented("the baseline submits by rerun only")
}
