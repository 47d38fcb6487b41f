//! The agent's end of the protocol: a greeting, then one request after the other.

use std::path::Path;
use std::time::{Duration, Instant};

use seatrial_core::outcome::Claim;
use seatrial_proto::RUNNER_PROTOCOL;
use seatrial_proto::v1::from_runner::Message as Answer;
use seatrial_proto::v1::to_runner::Message as Request;
use seatrial_proto::v1::{self, RunnerStage};

use super::Program;
use super::claims;
use super::process::Process;
use crate::runtime::RuntimeError;

/// A framework is imported before there is anybody to say that this takes its time.
const GREETING: Duration = Duration::from_mins(1);
/// A runner that works says so every 5 s.
const LIVENESS: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Client {
    pub(super) process: Process,
    hello: v1::RunnerHello,
    /// Of the last request.
    id: u64,
    /// No answer is waited for any longer; the stage's own deadline stands where there is none.
    until: Option<Instant>,
}

impl Client {
    /// Starts the program and hears its greeting.
    pub(super) fn start(
        program: &Program,
        folder: &Path,
        accelerator: &str,
        threads: u16,
    ) -> Result<Self, RuntimeError> {
        Self::start_until(program, folder, accelerator, threads, None)
    }

    /// The same, for one that must not take the time of its stage.
    pub(super) fn start_until(
        program: &Program,
        folder: &Path,
        accelerator: &str,
        threads: u16,
        until: Option<Instant>,
    ) -> Result<Self, RuntimeError> {
        let what = program.what;
        let mut process = Process::start(program, folder, accelerator, threads, until.is_some()).map_err(|error| {
            let started = program.interpreter.as_ref().unwrap_or(&program.path);
            RuntimeError::new(
                Claim::UnsupportedBackend,
                format!("starting the {what} by {}: {error}", started.display()),
            )
        })?;
        let greeted = process.hear(left(GREETING, until));
        if greeted.is_err() && until.is_some() {
            process.kill();
        }
        let message = greeted?;
        let Some(Answer::Hello(hello)) = message.message else {
            return Err(unexpected(what, "its first frame", &message));
        };
        if !(hello.protocol_min..=hello.protocol_max).contains(&RUNNER_PROTOCOL) {
            let v1::RunnerHello { protocol_min, protocol_max, .. } = hello;
            let text = format!(
                "the {what} speaks versions {protocol_min} to {protocol_max} of the protocol, not {RUNNER_PROTOCOL}"
            );
            return Err(RuntimeError::new(Claim::UnsupportedBackend, text));
        }
        Ok(Self { process, hello, id: 0, until })
    }

    pub(super) const fn hello(&self) -> &v1::RunnerHello {
        &self.hello
    }

    /// Sends a request and hands its answers to `take` until that says that the last has come.
    pub(super) fn ask(
        &mut self,
        stage: RunnerStage,
        request: Request,
        take: &mut dyn FnMut(Answer) -> Result<Step, RuntimeError>,
    ) -> Result<(), RuntimeError> {
        self.id += 1;
        let request = v1::ToRunner { id: self.id, message: Some(request) };
        self.process.say(&request, left(LIVENESS, self.until))?;
        self.hear(stage, take)
    }

    /// The answers to the last request.
    pub(super) fn hear(
        &mut self,
        stage: RunnerStage,
        take: &mut dyn FnMut(Answer) -> Result<Step, RuntimeError>,
    ) -> Result<(), RuntimeError> {
        loop {
            let heard = if self.is_late() { None } else { Some(self.process.hear(left(LIVENESS, self.until))) };
            let message = match heard {
                Some(Err(error)) if error.claim == Claim::Hang && self.is_late() => return Err(self.late()),
                None => return Err(self.late()),
                Some(heard) => heard?,
            };
            if message.id < self.id && matches!(message.message, Some(Answer::Progress(_))) {
                // A sign of life that was on its way when its request was answered.
                continue;
            }
            if message.id != self.id {
                return Err(unexpected(self.process.what(), &format!("an answer to request {}", self.id), &message));
            }
            match message.message {
                // A kind of message that a later version has.
                None => {}
                Some(Answer::Error(error)) => return Err(claims::error(&error, stage)),
                Some(answer) => match take(answer)? {
                    Step::More => {}
                    Step::Last => return Ok(()),
                },
            }
        }
    }

    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn late(&self) -> RuntimeError {
        RuntimeError::new(Claim::Hang, format!("the time is up, and the {} is not done", self.process.what()))
    }

    /// The number of the next request, for one that is written by hand.
    pub(super) fn next_id(&mut self) -> u64 {
        self.id += 1;
        self.id
    }
}

/// How long to wait, when it is to be no longer than until then.
fn left(patience: Duration, until: Option<Instant>) -> Duration {
    until.map_or(patience, |until| patience.min(until.saturating_duration_since(Instant::now())))
}

/// Whether an answer was the last to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    More,
    Last,
}

/// Takes one answer of one kind; `Progress` may come before it.
pub(super) fn only<T>(
    into: &mut Option<T>,
    pick: impl Fn(Answer) -> Option<T>,
) -> impl FnMut(Answer) -> Result<Step, RuntimeError> {
    move |answer| {
        if let Answer::Progress(_) = answer {
            return Ok(Step::More);
        }
        let unexpected = unexpected_answer(&answer);
        *into = Some(pick(answer).ok_or(unexpected)?);
        Ok(Step::Last)
    }
}

pub(super) fn unexpected_answer(answer: &Answer) -> RuntimeError {
    RuntimeError::new(Claim::Protocol, format!("it answers with {}, which was not asked for", kind(answer)))
}

fn unexpected(what: &str, expected: &str, message: &v1::FromRunner) -> RuntimeError {
    let kind = message.message.as_ref().map_or("nothing that is known", kind);
    RuntimeError::new(Claim::Protocol, format!("the {what} says {kind} with id {} instead of {expected}", message.id))
}

pub(super) const fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Hello(_) => "RunnerHello",
        Answer::Loaded(_) => "Loaded",
        Answer::Samples(_) => "Samples",
        Answer::Outputs(_) => "Outputs",
        Answer::Tokens(_) => "TokenChunk",
        Answer::Generated(_) => "Generated",
        Answer::Scored(_) => "Scored",
        Answer::Tokenized(_) => "Tokenized",
        Answer::Probed(_) => "Probed",
        Answer::Profiled(_) => "Profiled",
        Answer::Done(_) => "Done",
        Answer::Progress(_) => "Progress",
        Answer::Error(_) => "Error",
        Answer::Judged(_) => "Judged",
        Answer::Figures(_) => "Figures",
    }
}
