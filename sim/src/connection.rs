//! One session, word by word.

use std::collections::{BTreeMap, VecDeque};

use seatrial_core::device::{Cpu, Evidence, Profile};
use seatrial_core::job::AttemptRef;
use seatrial_core::reading::Reading;
use seatrial_core::report::Report;
use seatrial_core::stage::Stage;
use seatrial_proto::v1::agent_message::Message;
use seatrial_proto::v1::agent_service_client::AgentServiceClient;
use seatrial_proto::v1::server_message::Message as Word;
use seatrial_proto::{
    ConvertError, MAX_MESSAGE, PROTOCOL_MAX, PROTOCOL_MIN, attempt_from_wire, attempt_to_wire, evidence_to_wire,
    report_to_wire, v1,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::errors::InvalidMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

/// Messages to the server that wait to be sent.
const OUTBOX: usize = 16;

/// Why a fake could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("the server cannot be reached")]
    Transport(#[from] tonic::transport::Error),
    #[error("the server ended the session: {0}")]
    Status(#[from] tonic::Status),
    #[error("the message cannot be written or read: {0}")]
    Convert(#[from] ConvertError),
    #[error("the token is not one that a header can carry")]
    Token(#[from] InvalidMetadataValue),
    #[error("the profile cannot be written: {0}")]
    Profile(#[from] serde_json::Error),
    #[error("the server has closed the session")]
    Closed,
    #[error("the server said {0} where it should have said welcome")]
    NoWelcome(String),
}

/// Who a fake says it is.
#[derive(Debug, Clone)]
pub struct Identity {
    pub evidence: Evidence,
    pub profile: Profile,
    pub token: Option<String>,
}

impl Identity {
    /// A simulated host of its own.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let evidence = Evidence {
            agent_id: None,
            hardware_serial: Some(format!("serial-{name}")),
            machine_id: Some(format!("machine-{name}")),
            usb_path: None,
        };
        let profile = Profile {
            brand: Reading::Present("Seatrial".to_owned()),
            product: Reading::Present(format!("Fake {name}")),
            os: Reading::Present("Simulated OS 1".to_owned()),
            kernel: Reading::absent("simulated"),
            hostname: Reading::absent("not told"),
            soc: Reading::absent("simulated"),
            cpu: Cpu {
                model: Reading::absent("simulated"),
                architecture: "x86_64".to_owned(),
                count: Reading::Present(1),
                clusters: vec![],
                features: Reading::absent("simulated"),
            },
            gpu: Reading::absent("simulated"),
            gpu_driver: Reading::absent("simulated"),
            memory_bytes: Reading::Present(1 << 30),
            abi: "x86_64".to_owned(),
            android_api: Reading::absent("simulated"),
            sensors: vec![],
            absent_sensors: BTreeMap::new(),
            runtimes: vec![],
            engines: Vec::new(),
            packages: Vec::new(),
            interpreters: BTreeMap::new(),
            findings: None,
            battery: None,
            simulated: true,
        };
        Self { evidence, profile, token: None }
    }

    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// The first message of a session of this agent.
    pub fn hello(&self) -> Result<v1::Hello, SimError> {
        Ok(v1::Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            agent_version: "0.0.0-sim".to_owned(),
            evidence: Some(evidence_to_wire(&self.evidence)),
            profile_json: serde_json::to_string(&self.profile)?,
            held: vec![],
            lost: vec![],
            boot_id: String::new(),
            boot_before: String::new(),
            raw_evidence: bytes::Bytes::new(),
            death: bytes::Bytes::new(),
        })
    }
}

/// A connection of its own to the server at `http://…`.
pub async fn dial(address: &str) -> Result<Channel, SimError> {
    Ok(Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true).connect().await?)
}

/// An open session.
pub struct Connection {
    outbox: mpsc::Sender<v1::AgentMessage>,
    inbox: Streaming<v1::ServerMessage>,
    /// Assignments that came while something else was waited for: a device has its next job before its report is durable.
    assigned: VecDeque<v1::Assignment>,
    pub welcome: v1::Welcome,
}

impl Connection {
    /// Shakes hands with nothing held and nothing lost.
    pub async fn open(channel: Channel, identity: &Identity) -> Result<Self, SimError> {
        Self::open_with(channel, identity, identity.hello()?).await
    }

    /// Shakes hands with a first message of the caller's choice.
    pub async fn open_with(channel: Channel, identity: &Identity, hello: v1::Hello) -> Result<Self, SimError> {
        let (outbox, mut inbox) = Self::begin(channel, identity, Message::Hello(Box::new(hello))).await?;
        match inbox.message().await?.and_then(|message| message.message) {
            Some(Word::Welcome(welcome)) => Ok(Self { outbox, inbox, assigned: VecDeque::new(), welcome }),
            other => Err(SimError::NoWelcome(format!("{other:?}"))),
        }
    }

    /// Opens a stream with any first message, and leaves the rest to the caller.
    pub async fn begin(
        channel: Channel,
        identity: &Identity,
        first: Message,
    ) -> Result<(mpsc::Sender<v1::AgentMessage>, Streaming<v1::ServerMessage>), SimError> {
        let (outbox, sent) = mpsc::channel(OUTBOX);
        outbox.send(v1::AgentMessage { message: Some(first) }).await.map_err(|_| SimError::Closed)?;
        let mut request = Request::new(ReceiverStream::new(sent));
        if let Some(token) = &identity.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        }
        let mut client = AgentServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        Ok((outbox, client.open_session(request).await?.into_inner()))
    }

    pub async fn say(&self, message: Message) -> Result<(), SimError> {
        self.outbox.send(v1::AgentMessage { message: Some(message) }).await.map_err(|_| SimError::Closed)
    }

    /// The next word, heartbeats left out.
    pub async fn hear(&mut self) -> Result<Word, SimError> {
        loop {
            match self.inbox.message().await?.ok_or(SimError::Closed)?.message {
                Some(Word::Heartbeat(_)) | None => self.say(Message::Heartbeat(v1::Heartbeat {})).await?,
                Some(word) => return Ok(word),
            }
        }
    }

    /// The next assignment; what comes before it is passed over.
    pub async fn assignment(&mut self) -> Result<(AttemptRef, v1::Assignment), SimError> {
        loop {
            let heard = match self.assigned.pop_front() {
                Some(assignment) => Word::Assignment(assignment),
                None => self.hear().await?,
            };
            if let Word::Assignment(assignment) = heard {
                return Ok((attempt_from_wire(assignment.attempt.clone())?, assignment));
            }
        }
    }

    pub async fn accept(&self, attempt: AttemptRef) -> Result<(), SimError> {
        let attempt = Some(attempt_to_wire(attempt));
        self.say(Message::Accepted(v1::AssignmentAccepted { attempt })).await
    }

    pub async fn enter(&self, attempt: AttemptRef, stage: Stage) -> Result<(), SimError> {
        let attempt = Some(attempt_to_wire(attempt));
        let stage = stage.as_str().to_owned();
        self.say(Message::Stage(v1::StageEntered { attempt, stage, at_us: 0, progress: None })).await
    }

    pub async fn report(&self, attempt: AttemptRef, report: &Report) -> Result<(), SimError> {
        self.say(Message::Report(report_to_wire(attempt, report)?)).await
    }

    /// What the server makes of a report: `Ok(())` when it is durable, `Err` with the reason when it is refused.
    pub async fn verdict(&mut self, attempt: AttemptRef) -> Result<Result<(), String>, SimError> {
        loop {
            match self.hear().await? {
                Word::Durable(v1::ReportDurable { attempt: about }) if attempt_from_wire(about.clone())? == attempt => {
                    return Ok(Ok(()));
                }
                Word::ReportRefused(v1::ReportRefused { attempt: about, reason })
                    if attempt_from_wire(about.clone())? == attempt =>
                {
                    return Ok(Err(reason));
                }
                Word::Assignment(assignment) => self.assigned.push_back(assignment),
                Word::Welcome(_)
                | Word::Heartbeat(_)
                | Word::FindMe(_)
                | Word::Grant(_)
                | Word::Cancel(_)
                | Word::Received(_)
                | Word::Durable(_)
                | Word::ReportRefused(_)
                | Word::Drain(_) => {}
            }
        }
    }
}

/// An attempt that an agent says it has.
#[must_use]
pub fn held(attempt: AttemptRef, ended: bool) -> v1::HeldAttempt {
    v1::HeldAttempt { attempt: Some(attempt_to_wire(attempt)), ended, stage: String::new() }
}
