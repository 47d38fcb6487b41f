//! A process of its own reads what a model's file declares: on a device where nobody has claimed it, and on the machine of
//! who adds a model.

use seatrial_core::model::Signature;
use seatrial_core::outcome::{Claim, Exit, Outcome};
use seatrial_core::report::ProcessRole;
use seatrial_core::runtimes::PackageKind;
use seatrial_core::stage::Stage;
use seatrial_core::time::Monotonic;
use seatrial_core::weights::Weights;

use super::process::{self, Ended, Launch, ProcessError, Watch};
use super::{Attempt, Failure, Order, StopSignal};
use crate::child::spec::{ChildSpec, PlacedFile, SPEC_SCHEMA, Task};
use crate::clock;
use crate::probe::Probe;

/// What was read of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub signature: Signature,
    pub weights: Option<Weights>,
    /// Why the signature is empty although the file is whole: the engine that is built in does not know all that there is.
    pub unread: Option<String>,
}

impl Attempt<'_> {
    /// Nobody has claimed what the model takes, and no dataset says it: a process reads it before the first that is
    /// measured, which then comes to it and to the engine as every first process does, and as cold.
    pub(super) fn read_unclaimed(&mut self, prepare_begun: Monotonic) -> Result<(), Failure> {
        let spec = &self.order.spec;
        let measures_itself = self.package.as_ref().is_some_and(|package| package.kind == PackageKind::Command);
        if spec.dataset.is_some() || !spec.model.signature.inputs.is_empty() || measures_itself {
            return Ok(());
        }
        self.check_stop(Stage::Prepare)?;
        let child = ChildSpec { out: self.order.folder.join("describe"), ..self.child_spec(0, Task::Describe) };
        // The server counts it as preparing.
        let left = spec.limits.deadline(Stage::Prepare).saturating_sub(clock::boot().since(prepare_begun));
        let mut limits = spec.limits.clone();
        let load = limits.deadline(Stage::Load).min(left);
        limits.deadlines.extend([(Stage::Prepare, left), (Stage::Load, load)]);
        let launch = Launch {
            command: &self.order.child_command,
            spec: &child,
            mark: &self.order.mark,
            limits: &limits,
            stop: self.stop,
            probe: &self.probe,
            outlast_orphans: self.order.outlast_orphans,
        };
        let (ended, last) = run(&launch);
        let ended = ended.map_err(|error| Failure {
            outcome: Outcome::HarnessError,
            stage: last,
            message: format!("the process that reads the model: {error}"),
        })?;
        let verdict = self.judge(0, ProcessRole::Latency, &ended, last);
        if verdict.is_err() {
            if ended.exit != Exit::Stopped {
                self.journal.system_log = self.probe.system_log(clock::boot().since(prepare_begun));
            }
            self.journal.add_process(0, ProcessRole::Latency, ended);
            return verdict;
        }
        self.read = ended.result.and_then(|result| result.signature);
        Ok(())
    }
}

/// Runs the child to its end, and tells its last stage.
fn run(launch: &Launch<'_>) -> (Result<Ended, ProcessError>, Stage) {
    let mut last = Stage::Prepare;
    let ended = process::run(launch, &mut |watch| {
        if let Watch::Stage(stage) = watch {
            last = stage;
        }
        None
    });
    (ended, last)
}

/// Starts one child to read a file: no job, no report. An engine that fails on a file that is whole is no reason to refuse
/// it: another engine, or another version, may know it.
pub(crate) fn describe(order: &Order, files: Vec<PlacedFile>) -> Result<Described, String> {
    let probe = Probe::new(&order.root);
    let spec = ChildSpec {
        schema: SPEC_SCHEMA,
        task: Task::Describe,
        index: 0,
        model: order.folder.join("model"),
        files,
        dataset: None,
        package: None,
        scorer: None,
        out: order.folder.join("out-0"),
        affinity: None,
        spawned: clock::boot(),
        job: order.spec.clone(),
    };
    let stop = StopSignal::default();
    let launch = Launch {
        command: &order.child_command,
        spec: &spec,
        mark: &order.mark,
        limits: &order.spec.limits,
        stop: &stop,
        probe: &probe,
        outlast_orphans: order.outlast_orphans,
    };
    let (ended, last) = run(&launch);
    let ended = ended.map_err(|error| error.to_string())?;
    let clean = matches!(seatrial_core::outcome::classify(&ended.evidence()), Outcome::Ok);
    let Some(result) = &ended.result else { return Err(ended.account(last)) };
    let weights = result.weights.clone();
    match (clean, &result.signature) {
        (true, Some(signature)) => Ok(Described { signature: signature.clone(), weights, unread: None }),
        (_, _) if result.whole && !matches!(result.claim, Some(Claim::SpecError | Claim::StorageFull)) => {
            Ok(Described { signature: Signature::default(), weights, unread: Some(ended.account(last)) })
        }
        (_, _) => Err(ended.account(last)),
    }
}
