//! Versions first, then who it is, then what it holds.

use std::sync::Arc;

use bytes::Bytes;
use seatrial_core::device::{DeviceState, Evidence, Profile};
use seatrial_core::failure::Death;
use seatrial_core::ids::{DeviceId, JobId, RunId, SessionId};
use seatrial_core::job::AttemptRef;
use seatrial_core::profile::{self, Rules};
use seatrial_core::reason::Code;
use seatrial_core::schedule::Held;
use seatrial_core::store::{DeviceRow, ServiceRow, StoreError};
use seatrial_proto::v1::{self, agent_message::Message};
use seatrial_proto::{
    PROTOCOL_MAX, PROTOCOL_MIN, attempt_from_wire, death_from_wire, evidence_from_wire, raw_evidence_from_wire,
};
use tonic::{Status, Streaming};

use super::{Context, failed};
use crate::auth::Caller;
use crate::canary::{self, Subject, Unchecked};
use crate::fleet::{Spec, contradict, set_aside};
use crate::system::entropy;

/// Attempts that an agent may say it holds, and as many that it may say it lost.
const MAX_HELD: usize = 256;
const MAX_PROFILE: usize = 256 << 10;
const MAX_VERSION: usize = 64;

/// A first message that has been understood.
pub(super) struct Hello {
    pub protocol: u32,
    pub agent_version: String,
    pub evidence: Evidence,
    pub profile: Profile,
    /// What the profile was read from, as it came; empty of an older agent.
    pub raw_evidence: Bytes,
    pub held: Vec<Held>,
    pub lost: Vec<AttemptRef>,
    /// What is known of the end of the process that lost them, and the boots of it and of now.
    pub death: Death,
}

/// An agent that is known.
pub(super) struct Known {
    pub row: DeviceRow,
    pub service: ServiceRow,
    pub session: SessionId,
    pub specs: Vec<(JobId, Arc<Spec>)>,
    /// Jobs of it that waited and may not run any more.
    pub set_aside: Vec<(RunId, JobId)>,
    /// For its health checks, or why it has none.
    pub subject: Result<Subject, Unchecked>,
}

impl Hello {
    pub(super) async fn receive(inbound: &mut Streaming<v1::AgentMessage>) -> Result<Self, Status> {
        let first = inbound.message().await?.and_then(|message| message.message);
        match first {
            Some(Message::Hello(hello)) => Self::read(*hello),
            Some(
                Message::Heartbeat(_)
                | Message::Vitals(_)
                | Message::Found(_)
                | Message::Accepted(_)
                | Message::Stage(_)
                | Message::Report(_)
                | Message::Drain(_)
                | Message::Refused(_),
            )
            | None => Err(Status::invalid_argument("the first message of a session is Hello")),
        }
    }

    fn read(hello: v1::Hello) -> Result<Self, Status> {
        let v1::Hello {
            protocol_min,
            protocol_max,
            agent_version,
            evidence,
            profile_json,
            held,
            lost,
            raw_evidence,
            boot_id,
            boot_before,
            death,
        } = hello;
        let protocol = protocol_max.min(PROTOCOL_MAX);
        if protocol < protocol_min.max(PROTOCOL_MIN) {
            return Err(Status::failed_precondition(format!(
                "the agent speaks protocol {protocol_min} to {protocol_max}, this server {PROTOCOL_MIN} to {PROTOCOL_MAX}: update the older one"
            )));
        }
        let invalid = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
        for (what, actual, limit) in [
            ("agent_version in bytes", agent_version.len(), MAX_VERSION),
            ("profile_json in bytes", profile_json.len(), MAX_PROFILE),
            ("held attempts", held.len(), MAX_HELD),
            ("lost attempts", lost.len(), MAX_HELD),
            ("names of boots in bytes", boot_id.len().max(boot_before.len()), MAX_VERSION),
        ] {
            if actual > limit {
                return Err(Status::invalid_argument(format!("{what}: {actual} is over the limit of {limit}")));
            }
        }
        let mut profile =
            serde_json::from_str(&profile_json).map_err(|error| invalid(&format!("profile_json: {error}")))?;
        if let Some(raw) = raw_evidence_from_wire(&raw_evidence).map_err(|error| invalid(&error))? {
            let rules = Rules::shipped().map_err(|error| Status::internal(error.to_string()))?;
            profile::read_again(&mut profile, &raw, rules);
        }
        let known_boot = |boot: String| Some(boot).filter(|boot| !boot.is_empty());
        let told = death_from_wire(&death).map_err(|error| invalid(&error))?.unwrap_or_default();
        let death = Death { boot_before: known_boot(boot_before), boot_after: known_boot(boot_id), ..told };
        let read_held = |held: v1::HeldAttempt| {
            let v1::HeldAttempt { attempt, ended, stage: _ } = held;
            attempt_from_wire(attempt).map(|attempt| Held { attempt, ended })
        };
        Ok(Self {
            protocol,
            agent_version,
            evidence: evidence_from_wire(evidence).map_err(|error| invalid(&error))?,
            profile,
            raw_evidence,
            held: held.into_iter().map(read_held).collect::<Result<_, _>>().map_err(|error| invalid(&error))?,
            death,
            lost: lost
                .into_iter()
                .map(|attempt| attempt_from_wire(Some(attempt)))
                .collect::<Result<_, _>>()
                .map_err(|error| invalid(&error))?,
        })
    }

    /// Finds or makes the device, and refuses an agent that speaks for another's.
    pub(super) async fn recognise(&self, context: &Context, caller: &Caller) -> Result<Known, Status> {
        context.admission.count(caller.token, &self.evidence, context.clock.monotonic())?;
        let _turn = context.admission.turn().await?;
        let now = context.clock.now();
        let mut evidence = self.evidence.clone();
        match caller.device {
            // The token is the strongest evidence, whatever else the agent says of itself.
            Some(device) => evidence.agent_id = Some(device.to_string()),
            None if caller.token.is_some() => refuse_takeover(context, caller, &evidence).await?,
            None => {}
        }
        let known = refuse_contradiction(context, &evidence).await?;
        let fresh = caller.device.unwrap_or_else(|| DeviceId::new(now, entropy()));
        // From now on its id is the evidence that decides; of a device that has no other, the only one.
        evidence.agent_id = Some(known.map_or(fresh, |row| row.id).to_string());
        let attached = context.store.attach_device(fresh, &evidence, &self.profile, &self.agent_version, now).await;
        let row = attached.map_err(failed)?;
        if caller.device.is_some_and(|device| device != row.id) {
            return Err(another_device());
        }
        if let (Some(token), None) = (caller.token, caller.device)
            && !context.store.bind_token(token, row.id).await.map_err(failed)?
        {
            return Err(another_device());
        }
        if !self.raw_evidence.is_empty() {
            context.store.keep_raw_evidence(row.id, &self.raw_evidence).await.map_err(failed)?;
        }
        if row.state == DeviceState::Discovered {
            let (from, to) = (DeviceState::Discovered, DeviceState::Ready);
            context.store.set_device_state(row.id, from, to, Code::Attached.template(), now).await.map_err(failed)?;
        }
        let service = context.store.device_service(row.id).await.map_err(failed)?;
        let specs = load_specs(context, &self.held).await.map_err(failed)?;
        // With the profile of now: a build may have come back that a quarantine is about.
        let set_aside = set_aside(&*context.store, row.id, now).await.map_err(failed)?;
        let subject = if context.fleet.settings().canary {
            let boot_id = self.death.boot_after.as_deref().unwrap_or_default();
            canary::subject(&*context.store, &row, boot_id).await.map_err(failed)?
        } else {
            Err(Unchecked::Off)
        };
        Ok(Known { row, service, session: SessionId::new(now, entropy()), specs, set_aside, subject })
    }
}

fn another_device() -> Status {
    Status::permission_denied("the token belongs to another device: enrol this one with a token of its own")
}

/// An agent may not speak for a device that is connected and that it cannot be. Refused before a word of it is stored:
/// the evidence of the device that is there stays as it is. Returns the device that the evidence points to.
async fn refuse_contradiction(context: &Context, evidence: &Evidence) -> Result<Option<DeviceRow>, Status> {
    let known = context.store.device_by_evidence(evidence).await.map_err(failed)?;
    match &known {
        Some(row) if context.fleet.is_connected(row.id) && contradict(&row.evidence, evidence) => {
            Err(Status::already_exists("another device is connected under this one's evidence"))
        }
        Some(_) | None => Ok(known),
    }
}

/// A new token may not take over a device that has a valid one already.
async fn refuse_takeover(context: &Context, caller: &Caller, evidence: &Evidence) -> Result<(), Status> {
    let shares = |ours: &Option<String>, theirs: &Option<String>| ours.is_some() && ours == theirs;
    let devices = context.store.devices().await.map_err(failed)?;
    let claimed: Vec<DeviceId> = devices
        .into_iter()
        .filter(|row| {
            shares(&evidence.hardware_serial, &row.evidence.hardware_serial)
                || shares(&evidence.machine_id, &row.evidence.machine_id)
                || evidence.agent_id.as_ref().is_some_and(|id| *id == row.id.to_string())
        })
        .map(|row| row.id)
        .collect();
    if claimed.is_empty() {
        return Ok(());
    }
    let tokens = context.store.tokens().await.map_err(failed)?;
    let taken = tokens.iter().any(|token| {
        Some(token.id) != caller.token
            && token.revoked_at.is_none()
            && token.device.is_some_and(|device| claimed.contains(&device))
    });
    if taken {
        return Err(Status::permission_denied(
            "a device with this evidence has a token already: revoke that one before enrolling it again",
        ));
    }
    Ok(())
}

/// Specifications of what the agent holds, as far as there are such jobs.
async fn load_specs(context: &Context, held: &[Held]) -> Result<Vec<(JobId, Arc<Spec>)>, StoreError> {
    let mut specs = Vec::with_capacity(held.len());
    for Held { attempt, .. } in held {
        match Spec::load(&*context.store, attempt.job).await {
            Ok(Some(spec)) => specs.push((attempt.job, spec)),
            Ok(None) => {}
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::error!(job = %attempt.job, error = %crate::fleet::Chain(&error), "specification lost");
            }
        }
    }
    Ok(specs)
}
