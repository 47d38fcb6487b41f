//! One stay of an agent.

use std::collections::VecDeque;
use std::sync::Arc;

use seatrial_core::ids::{DeviceId, SessionId};
use seatrial_core::job::{AttemptRef, Grant};
use seatrial_core::live::Vitals;
use seatrial_core::stage::Stage;
use seatrial_proto::v1::agent_message::Message;
use seatrial_proto::v1::{self, server_message::Message as Word};
use seatrial_proto::{attempt_from_wire, attempt_to_wire, report_from_wire};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::handshake::Hello;
use super::{Context, HANDSHAKE_WITHIN};
use crate::auth::Caller;
use crate::fleet::{Attach, Heard, Out, Outbox, Result as Judged, Spec, Stopped};
use crate::ingest;

/// Heartbeats that may be missed before the stream is taken for dead.
const MISSED_BEATS: u32 = 3;
/// Attempts of this session that are remembered once they have ended, for reports that come twice.
const REMEMBERED: usize = 64;
/// Reports that take more bytes than this to judge are judged off the threads that serve streams.
const LARGE: usize = 32 << 10;
/// Texts of an agent that go into a message are cut here.
const MAX_REASON: usize = 1 << 10;

pub(super) async fn serve(
    context: Arc<Context>,
    caller: Caller,
    mut inbound: Streaming<v1::AgentMessage>,
    messages: mpsc::Sender<Out>,
) {
    let opened = tokio::select! {
        opened = Box::pin(open(&context, &caller, &mut inbound, &messages)) => opened,
        () = tokio::time::sleep(HANDSHAKE_WITHIN) => {
            Err(Status::deadline_exceeded(format!("the handshake took more than {} s", HANDSHAKE_WITHIN.as_secs())))
        }
        () = context.fleet.stop_token().cancelled() => Err(Status::unavailable("the server goes away")),
    };
    match opened {
        Ok(session) => session.run(inbound).await,
        Err(status) => {
            tracing::info!(caller = %caller.principal_name, %status, "session refused");
            let _ = messages.send(Out::End(status)).await; // the agent may have left already
        }
    }
}

async fn open(
    context: &Arc<Context>,
    caller: &Caller,
    inbound: &mut Streaming<v1::AgentMessage>,
    messages: &mpsc::Sender<Out>,
) -> Result<Session, Status> {
    let hello = Hello::receive(inbound).await?;
    let known = hello.recognise(context, caller).await?;
    let (device, session) = (known.row.id, known.session);
    let closed = CancellationToken::new();
    let mine = hello.held.iter().filter_map(|held| {
        known.specs.iter().find(|(job, _)| *job == held.attempt.job).map(|(_, spec)| (held.attempt, spec.clone()))
    });
    let opened = Session {
        context: context.clone(),
        device,
        id: session,
        messages: messages.clone(),
        closed: closed.clone(),
        mine: mine.collect(),
        silent_beats: 0,
    };
    let attach = Attach {
        device,
        name: known.row.name,
        service: known.service,
        evidence: hello.evidence,
        session,
        outbox: Outbox { messages: messages.clone(), closed },
        protocol: hello.protocol,
        held: hello.held,
        lost: hello.lost,
        death: hello.death,
        set_aside: known.set_aside,
        specs: known.specs,
        subject: known.subject,
    };
    context.fleet.attach(attach).await.map_err(|_| Status::unavailable("the server goes away"))?;
    Ok(opened)
}

struct Session {
    context: Arc<Context>,
    device: DeviceId,
    id: SessionId,
    messages: mpsc::Sender<Out>,
    /// Cancelled when the actor has given the session up.
    closed: CancellationToken,
    /// Attempts for which it may speak, newest last.
    mine: VecDeque<(AttemptRef, Arc<Spec>)>,
    silent_beats: u32,
}

/// Why a session ends from our side.
enum End {
    Because(Status),
    Stopped,
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Session {
    async fn run(mut self, mut inbound: Streaming<v1::AgentMessage>) {
        let mut beat = tokio::time::interval(self.context.fleet.settings().heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset(); // the welcome was the first
        loop {
            let on = tokio::select! {
                biased;
                () = self.closed.cancelled() => break,
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        self.silent_beats = 0;
                        Box::pin(self.handle(message)).await
                    }
                    Ok(None) | Err(_) => break, // the agent has left, in whatever way
                },
                _ = beat.tick() => self.beat(),
            };
            match on {
                Ok(()) => {}
                Err(End::Stopped) => break,
                Err(End::Because(status)) => {
                    tracing::info!(device = %self.device, %status, "session closed");
                    let _ = self.messages.try_send(Out::End(status)); // full: the end of the stream says it as well
                    break;
                }
            }
        }
        // An error means that the actor has ended, and with it every session.
        let _ = self.context.fleet.hear(self.device, self.id, Heard::Gone).await;
    }

    fn beat(&mut self) -> Result<(), End> {
        if self.silent_beats >= MISSED_BEATS {
            let silence = self.context.fleet.settings().heartbeat * self.silent_beats;
            return Err(End::Because(Status::deadline_exceeded(format!("nothing was heard for {silence:?}"))));
        }
        self.silent_beats += 1;
        self.say(Word::Heartbeat(v1::Heartbeat {}))
    }

    fn say(&self, word: Word) -> Result<(), End> {
        let message = Box::new(v1::ServerMessage { message: Some(word) });
        self.messages
            .try_send(Out::Message(message))
            .map_err(|_| End::Because(Status::resource_exhausted("the device does not read what it is sent")))
    }

    async fn hear(&self, heard: Heard) -> Result<(), End> {
        Ok(self.context.fleet.hear(self.device, self.id, heard).await?)
    }

    async fn handle(&mut self, message: v1::AgentMessage) -> Result<(), End> {
        match message.message {
            None | Some(Message::Heartbeat(_)) => self.hear(Heard::Heartbeat).await,
            Some(Message::Found(v1::Found { what, done })) => {
                let what: String = what.chars().take(MAX_REASON).collect();
                self.hear(Heard::Found(if done { Ok(what) } else { Err(what) })).await
            }
            Some(Message::Vitals(vitals)) => {
                let v1::Vitals { charge, charging, battery_celsius, chip_celsius } = vitals;
                let vitals = Vitals { charge, charging, battery_c: battery_celsius, chip_c: chip_celsius };
                self.hear(Heard::Vitals(vitals.plausible())).await
            }
            Some(Message::Hello(_)) => Err(End::Because(Status::invalid_argument("Hello is the first message only"))),
            Some(Message::Accepted(v1::AssignmentAccepted { attempt })) => {
                let attempt = read(attempt)?;
                if self.spec(attempt).is_some() { self.hear(Heard::Accepted(attempt)).await } else { Ok(()) }
            }
            Some(Message::Refused(v1::AssignmentRefused { attempt, reason, retryable })) => {
                let attempt = read(attempt)?;
                if self.spec(attempt).is_none() {
                    return Ok(());
                }
                self.hear(Heard::Refused { attempt, retryable, reason: cut(reason) }).await
            }
            Some(Message::Stage(entered)) => self.stage(entered).await,
            Some(Message::Report(report)) => self.report(report).await,
            Some(Message::Drain(_)) => self.hear(Heard::Leaving).await,
        }
    }

    async fn stage(&mut self, entered: v1::StageEntered) -> Result<(), End> {
        let v1::StageEntered { attempt, stage, at_us: _, progress } = entered;
        let attempt = read(attempt)?;
        let stage: Stage = stage.parse().map_err(|error| End::Because(Status::invalid_argument(format!("{error}"))))?;
        // What it says of an attempt that is not its own, or not any more, changes nothing.
        let Some(spec) = self.spec(attempt) else { return Ok(()) };
        let limits = &spec.parsed.limits;
        let (grant, deadline) = (Grant::for_stage(stage, limits), limits.deadline(stage));
        let progress = progress.filter(|share| (0.0..=1.0).contains(share));
        self.hear(Heard::Stage { attempt, stage, grant, deadline, progress }).await
    }

    async fn report(&mut self, report: v1::Report) -> Result<(), End> {
        let attempt = read(report.attempt.clone())?;
        let Some(spec) = self.spec(attempt) else {
            let reason = "this attempt was never given to this device".to_owned();
            return self
                .say(Word::ReportRefused(v1::ReportRefused { attempt: Some(attempt_to_wire(attempt)), reason }));
        };
        let size = report.document.len()
            + report.blocks.iter().map(|block| block.data.len()).sum::<usize>()
            + ingest::memory(report.blocks.iter().map(|block| block.count));
        let permit = self.permit(size).await?;
        let (device, received_at) = (self.device, self.context.clock.now());
        let judge = move || {
            let (_, report) = report_from_wire(report).map_err(|error| error.to_string())?;
            ingest::judge(&spec.parsed, attempt, device, report, received_at).map_err(|error| error.to_string())
        };
        let judged = if size > LARGE {
            tokio::task::spawn_blocking(judge)
                .await
                .unwrap_or_else(|error| Err(format!("the report could not be read: {error}")))
        } else {
            judge()
        };
        match judged {
            Ok((completion, outcome)) => {
                self.hear(Heard::Result(Box::new(Judged { completion, outcome, permit }))).await
            }
            Err(reason) => self.hear(Heard::Malformed { attempt, reason: cut(reason) }).await,
        }
    }

    /// A report's share of the bytes that may be under way; waits while the store is behind.
    async fn permit(&self, size: usize) -> Result<OwnedSemaphorePermit, End> {
        let budget = self.context.fleet.report_budget().clone();
        let bytes = size.clamp(1, self.context.fleet.settings().report_bytes);
        let permit = budget.acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        tokio::select! {
            permit = permit => permit.map_err(|_| End::Stopped),
            () = self.closed.cancelled() => Err(End::Stopped),
        }
    }

    /// The specification of an attempt, if this session may speak for it: it holds the attempt, or has done so since it
    /// was opened.
    fn spec(&mut self, attempt: AttemptRef) -> Option<Arc<Spec>> {
        if let Some((_, spec)) = self.mine.iter().find(|(mine, _)| *mine == attempt) {
            return Some(spec.clone());
        }
        let spec = self.context.fleet.active(attempt, self.device)?;
        if self.mine.len() >= REMEMBERED {
            self.mine.pop_front();
        }
        self.mine.push_back((attempt, spec.clone()));
        Some(spec)
    }
}

fn read(attempt: Option<v1::AttemptRef>) -> Result<AttemptRef, End> {
    attempt_from_wire(attempt).map_err(|error| End::Because(Status::invalid_argument(error.to_string())))
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_REASON {
        let end = (0..=MAX_REASON).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let text = cut("é".repeat(MAX_REASON));
        assert!(text.len() <= MAX_REASON + '…'.len_utf8());
        assert!(text.ends_with("é…"));
        assert_eq!(cut("short".to_owned()), "short");
    }
}
