//! What the actor asks of the store: in tasks, tried again for as long as the store is not available.
//!
//! Fault points, behind the feature `faults`: `claim-before`, `claim-after`, `complete-before`, `complete-after`,
//! `durable-before` (in `effects`).

use std::future::Future;
use std::sync::Arc;

use fail::fail_point;
use seatrial_core::failure::{self, TripleVersions};
use seatrial_core::ids::{DeviceId, JobId, QuarantineId, RunId};
use seatrial_core::job::{AttemptRef, JobState};
use seatrial_core::lab::canary::{Due, Found, KEPT};
use seatrial_core::lab::standing::Order;
use seatrial_core::outcome::{Outcome, Verdict};
use seatrial_core::retry::Backoff;
use seatrial_core::store::{
    Accepted, CanaryRow, Claim, Completion, GiveBack, JobNext, NewQuarantine, ServiceRow, Store, StoreError,
};
use seatrial_core::time::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::signatures::Signatures;
use super::specs::Attempt;
use super::{Spec, aside};
use crate::canary::{self, Subject};
use crate::ingest;
use crate::service::{self, Undecided};
use crate::system::entropy;

/// An answer of the store.
pub(super) enum Done {
    Claimed(Vec<Claimed>),
    Completed {
        attempt: AttemptRef,
        device: DeviceId,
        outcome: Outcome,
        accepted: Accepted,
        /// Why the result could not be stored, where that is why it is not accepted.
        unstored: Option<String>,
        set_aside: Vec<(RunId, JobId)>,
    },
    GaveBack {
        attempt: AttemptRef,
        held: bool,
        /// Jobs that waited and that ended with it, since what they are about is quarantined.
        set_aside: Vec<(RunId, JobId)>,
    },
    Cancelled {
        run: RunId,
        result: Result<(), Arc<StoreError>>,
    },
    StagesNoted,
    /// A health check was judged, and stored if that was possible. `reported`: its report has come.
    Checked {
        row: Box<CanaryRow>,
        reported: bool,
    },
    /// What holds of the device now; nothing when it is not to be known.
    Decided(Option<Box<ServiceRow>>),
}

/// A health check that has ended, to be judged.
pub(super) struct Checked {
    pub id: JobId,
    pub device: DeviceId,
    pub at: Timestamp,
    pub due: Due,
    pub subject: Subject,
    pub found: Found,
    pub reported: bool,
}

pub(super) struct Claimed {
    pub claim: Claim,
    /// `None` when somebody else was first; `Err` when the specification cannot be read: the job can never run.
    pub spec: Option<Result<Arc<Spec>, String>>,
}

/// The store, and how often to ask it.
#[derive(Clone)]
pub(super) struct Asker {
    pub store: Arc<dyn Store>,
    pub backoff: Backoff,
    pub stop: CancellationToken,
    pub signatures: Arc<Signatures>,
}

/// Why there is no answer.
enum Failure {
    /// The server goes away.
    Stopped,
    /// Asking again will not help.
    Final(StoreError),
}

impl Asker {
    /// Asks until there is an answer. `tries` counts the failed ones.
    async fn ask<T, F>(&self, what: &str, tries: &mut u32, mut call: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_retryable() => {
                    let wait = self.backoff.delay(*tries, rand::random());
                    *tries += 1;
                    tracing::warn!(%what, tries, ?wait, error = %Chain(&error), "the store is not available");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.stop.cancelled() => return Err(Failure::Stopped),
                    }
                }
                Err(error) => {
                    tracing::error!(%what, error = %Chain(&error), "the store refused");
                    return Err(Failure::Final(error));
                }
            }
        }
    }

    /// Claims in one go.
    pub(super) async fn claim(self, claims: Vec<Claim>) -> Option<Done> {
        fail_point!("claim-before");
        let mut tries = 0;
        let won = self.ask("claim", &mut tries, || self.store.claim(&claims)).await;
        fail_point!("claim-after");
        let won = match won {
            Ok(won) => won,
            Err(Failure::Stopped) => return None,
            Err(Failure::Final(_)) => vec![None; claims.len()],
        };
        let claimed = claims.into_iter().zip(won).map(|(claim, won)| {
            let spec = won.map(|json| Spec::read(claim.attempt.job, json).map_err(|error| Chain(&error).to_string()));
            Claimed { claim, spec }
        });
        let mut claimed: Vec<Claimed> = claimed.collect();
        if tries > 0 {
            self.recognise(&mut claimed).await;
        }
        Some(Done::Claimed(claimed))
    }

    /// A claim whose answer was lost looks refused when it is made again; the job then says that it is ours.
    async fn recognise(&self, claimed: &mut [Claimed]) {
        for Claimed { claim, spec } in claimed.iter_mut().filter(|claimed| claimed.spec.is_none()) {
            let job = self.ask("read a claimed job", &mut 0, || self.store.job(claim.attempt.job)).await;
            let ours = JobState::Leased { attempt: claim.attempt.attempt };
            if matches!(job, Ok(Some(job)) if job.state == ours && job.device == claim.device) {
                *spec = Some(self.spec(claim).await);
            }
        }
    }

    async fn spec(&self, claim: &Claim) -> Result<Arc<Spec>, String> {
        let spec = self.ask("read a specification", &mut 0, || Spec::load(&*self.store, claim.attempt.job)).await;
        match spec {
            Ok(Some(spec)) => Ok(spec),
            Ok(None) => Err("the job has no specification".to_owned()),
            Err(Failure::Stopped) => Err("the server goes away".to_owned()),
            Err(Failure::Final(error)) => Err(Chain(&error).to_string()),
        }
    }

    /// `again`: the job has crashed or hung once more on the same device.
    pub(super) async fn complete(
        self,
        mut completion: Completion,
        outcome: Outcome,
        permit: OwnedSemaphorePermit,
        holder: Option<Attempt>,
        again: bool,
    ) -> Option<Done> {
        fail_point!("complete-before");
        if let Some(holder) = holder.as_ref().filter(|_| again) {
            let triple = self.triple(completion.device, &holder.spec, completion.received_at).await;
            let Ok(quarantine) = triple else { return None };
            completion.quarantine = quarantine;
        }
        let (attempt, device) = (completion.attempt, completion.device);
        let answer = self.ask("store a result", &mut 0, || self.store.complete(&completion)).await;
        fail_point!("complete-after");
        let (accepted, unstored) = match answer {
            Ok(accepted) => (accepted, None),
            Err(Failure::Stopped) => return None,
            Err(Failure::Final(error)) => {
                // Rather a job that ends as our fault than one that never ends.
                let why = format!("the result could not be stored: {}", Chain(&error));
                let give_back = GiveBack {
                    outcome: Outcome::HarnessError,
                    failure: ingest::failure(&failure::Evidence::untold(Outcome::HarnessError, &why)),
                    death: None,
                    quarantine: None,
                    message: why.clone(),
                    next: JobNext::Done(Outcome::HarnessError),
                    verdict: Verdict::Done,
                    agent_death: false,
                    now: completion.received_at,
                };
                self.give_back(attempt, &give_back).await?;
                (Accepted::Stale, Some(why))
            }
        };
        drop(permit);
        if let (Accepted::Stored, Some(holder), Some(found)) = (accepted, &holder, &completion.report.actual.signature)
        {
            self.signatures.settle(&*self.store, attempt.job, holder, found).await;
        }
        let may_wait = completion.quarantine.is_some() || completion.next == JobNext::Queued;
        let set_aside = if accepted == Accepted::Stored && may_wait {
            self.set_aside(device, completion.received_at).await?
        } else {
            Vec::new()
        };
        Some(Done::Completed { attempt, device, outcome, accepted, unstored, set_aside })
    }

    /// Ends what waits for the device and may not run any more: of a new quarantine, or a job that is back in the queue.
    async fn set_aside(&self, device: DeviceId, now: Timestamp) -> Option<Vec<(RunId, JobId)>> {
        let asked = self.ask("set jobs aside", &mut 0, || aside::set_aside(&*self.store, device, now)).await;
        match asked {
            Ok(ended) => Some(ended),
            Err(Failure::Stopped) => None,
            Err(Failure::Final(_)) => Some(Vec::new()),
        }
    }

    /// What is quarantined together, as it is now; nothing of a device that cannot be read.
    async fn triple(&self, device: DeviceId, spec: &Spec, now: Timestamp) -> Result<Option<NewQuarantine>, Failure> {
        match self.ask("read a device", &mut 0, || self.store.device(device)).await {
            Ok(Some(row)) => {
                let spec = &spec.parsed;
                let versions = TripleVersions::of(&spec.backend, spec.package.as_ref(), &row.profile);
                tracing::warn!(
                    device = row.name,
                    model = spec.model.model,
                    version = spec.model.version,
                    backend = %spec.backend,
                    "quarantined together: it crashed or hung twice"
                );
                Ok(Some(NewQuarantine { id: QuarantineId::new(now, entropy()), device, versions, created_at: now }))
            }
            Ok(None) | Err(Failure::Final(_)) => Ok(None),
            Err(Failure::Stopped) => Err(Failure::Stopped),
        }
    }

    /// An attempt ended without a result. `again`: device, backend and model are quarantined together; `spec` is what the
    /// job asked for, as far as it is at hand.
    pub(super) async fn lose(
        self,
        attempt: AttemptRef,
        device: DeviceId,
        mut give_back: GiveBack,
        again: bool,
        mut spec: Option<Arc<Spec>>,
    ) -> Option<Done> {
        if again && spec.is_none() {
            let load = || Spec::load(&*self.store, attempt.job);
            spec = match self.ask("read a specification", &mut 0, load).await {
                Ok(spec) => spec,
                Err(Failure::Final(_)) => None,
                Err(Failure::Stopped) => return None,
            };
        }
        if let Some(spec) = spec.filter(|_| again) {
            let Ok(quarantine) = self.triple(device, &spec, give_back.now).await else { return None };
            give_back.quarantine = quarantine;
        }
        let held = self.give_back(attempt, &give_back).await?;
        let may_wait = give_back.quarantine.is_some() || give_back.next == JobNext::Queued;
        let set_aside = if held && may_wait { self.set_aside(device, give_back.now).await? } else { Vec::new() };
        Some(Done::GaveBack { attempt, held, set_aside })
    }

    /// Whether the attempt held its job; `None` when the server goes away.
    async fn give_back(&self, attempt: AttemptRef, give_back: &GiveBack) -> Option<bool> {
        match self.ask("give a job back", &mut 0, || self.store.give_back(attempt, give_back)).await {
            Ok(held) => Some(held),
            Err(Failure::Stopped) => None,
            Err(Failure::Final(_)) => Some(false),
        }
    }

    pub(super) async fn give_up(self, attempt: AttemptRef, reason: String, now: Timestamp) -> Option<Done> {
        match self.ask("give a job up", &mut 0, || self.store.give_up(attempt, &reason, now)).await {
            Ok(held) => Some(Done::GaveBack { attempt, held, set_aside: Vec::new() }),
            Err(Failure::Stopped) => None,
            Err(Failure::Final(_)) => Some(Done::GaveBack { attempt, held: false, set_aside: Vec::new() }),
        }
    }

    pub(super) async fn cancel(self, run: RunId, now: Timestamp) -> Option<Done> {
        match self.ask("cancel a run", &mut 0, || self.store.cancel_run(run, now)).await {
            Ok(_) => Some(Done::Cancelled { run, result: Ok(()) }),
            Err(Failure::Stopped) => None,
            Err(Failure::Final(error)) => Some(Done::Cancelled { run, result: Err(Arc::new(error)) }),
        }
    }

    pub(super) async fn note_stages(
        self,
        stages: Vec<(AttemptRef, seatrial_core::stage::Stage, Timestamp)>,
    ) -> Option<Done> {
        let notes = stages.into_iter().map(|(attempt, stage, until)| {
            let asker = &self;
            async move {
                // An attempt that has ended meanwhile has no use for it.
                let _ = asker.ask("note a stage", &mut 0, || asker.store.enter_stage(attempt, stage, until)).await;
            }
        });
        futures::future::join_all(notes).await;
        Some(Done::StagesNoted)
    }

    /// Judges a health check by those before it, and stores it.
    pub(super) async fn check(self, checked: Checked) -> Option<Done> {
        let Checked { id, device, at, due, subject, found, reported } = checked;
        let read = self.ask("read health checks", &mut 0, || self.store.canaries(device, KEPT)).await;
        let earlier = match read {
            Ok(earlier) => earlier,
            Err(Failure::Stopped) => return None,
            Err(Failure::Final(_)) => Vec::new(),
        };
        let Subject { known, rom } = subject;
        let judgement = canary::judged(&found, &known, &earlier);
        let (boot_id, fingerprint) = (known.boot_id, known.fingerprint);
        let row = CanaryRow { id, device, at, due, boot_id, fingerprint, rom, found, judgement };
        match self.ask("store a health check", &mut 0, || self.store.add_canary(&row)).await {
            Ok(()) | Err(Failure::Final(_)) => Some(Done::Checked { row: Box::new(row), reported }),
            Err(Failure::Stopped) => None,
        }
    }

    /// Lets a device be judged by what it did.
    pub(super) async fn decide(self, device: DeviceId, order: Order, now: Timestamp) -> Option<Done> {
        let decided = self
            .ask("decide about a device", &mut 0, || async {
                match service::decide(&*self.store, device, &order, None, now).await {
                    Ok(row) => Ok(Some(Box::new(row))),
                    Err(Undecided::Store(error)) => Err(error),
                    Err(why @ (Undecided::Refused(_) | Undecided::Busy)) => {
                        tracing::warn!(%device, ?order, %why, "nothing was decided");
                        Ok(None)
                    }
                }
            })
            .await;
        match decided {
            Err(Failure::Stopped) => None,
            Ok(row) => Some(Done::Decided(row)),
            Err(Failure::Final(_)) => Some(Done::Decided(None)),
        }
    }
}

/// An error with its causes, on one line.
pub(crate) struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
