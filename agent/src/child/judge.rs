//! Outputs judged by the dataset's own scorer: unpacked, started, fed as the pass goes, and held to what it may say.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use seatrial_core::dataset::scorer::{Figure, Scorer as Declared};
use seatrial_core::evidence::Evidence;
use seatrial_core::outcome::Claim;
use seatrial_core::stage::Stage;
use seatrial_proto::v1;

use super::Failure;
use super::spec::ChildSpec;
use crate::data::{Examples, NamedTensor};
use crate::runtime::RuntimeError;
use crate::runtime::runner::scorer::Scorer;

/// Folders, in the child's own, of the scorer's files and of what it may write.
const PROGRAM: &str = "scorer";
const WORK: &str = "scored";
/// Of a stage's deadline, what is left for a scorer that must be ended to be told of: else its parent would take the child
/// for one that hangs, and the model for the reason.
const LEFT: (u32, Duration) = (5, Duration::from_secs(20));

/// The scorer of a pass over the dataset.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    declared: &'a Declared,
    examples: u32,
    process: Scorer,
    /// What the pass has waited for it.
    spent: Duration,
}

/// What a scorer has said of a dataset.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) figures: Vec<Figure>,
    /// Series of truth and answers, where it has said of every example whether it is right.
    pub(super) evidence: Option<(Vec<i64>, Vec<i64>)>,
    /// What the pass has waited for it.
    pub(super) spent: Duration,
}

impl<'a> Judge<'a> {
    /// `None` for a dataset without a scorer. `entered` is when the stage began.
    pub(super) fn start(
        spec: &'a ChildSpec,
        examples: &mut Examples,
        entered: Instant,
    ) -> Result<Option<Self>, Failure> {
        let dataset = spec.job.dataset.as_ref();
        let Some((dataset, declared)) = dataset.and_then(|it| Some((it, it.scorer.as_ref()?))) else {
            return Ok(None);
        };
        let refuse = |message: String| Failure { claim: Claim::SpecError, message };
        if examples.scorer() != Some(declared) {
            let name = &dataset.dataset;
            return Err(refuse(format!(
                "the scorer in the package of {name} is not the one that was claimed; add it again"
            )));
        }
        let Some(interpreter) = &spec.scorer else {
            return Err(refuse(format!("nothing was given that runs {}", declared.program)));
        };
        let (folder, work) = (spec.out.join(PROGRAM), spec.out.join(WORK));
        std::fs::create_dir_all(&folder)?;
        let mut labels = PathBuf::new();
        for (member, is_labels) in examples.scorer_members() {
            let place = folder.join(&member);
            std::fs::write(&place, examples.scorer_member(&member, is_labels)?)?;
            if is_labels {
                labels = place;
            }
        }
        let deadline = spec.job.limits.deadline(Stage::Accuracy);
        let until = entered + deadline.saturating_sub(LEFT.1.min(deadline / LEFT.0));
        let open = v1::Open {
            labels: labels.to_string_lossy().into_owned(),
            examples: examples.count(),
            cache_folder: String::new(),
            metrics: declared.metrics.iter().map(|metric| metric.name.clone()).collect(),
        };
        let begun = Instant::now();
        let process = Scorer::start(interpreter, &folder.join(&declared.program), &work, open, until)
            .map_err(|error| failed(declared, &error))?;
        Ok(Some(Self { declared, examples: examples.count(), process, spent: begun.elapsed() }))
    }

    /// Gives it the outputs of one example.
    pub(super) fn take(&mut self, index: u32, outputs: &[NamedTensor]) -> Result<(), Failure> {
        let begun = Instant::now();
        let judged = self.process.judge(index, outputs);
        self.spent += begun.elapsed();
        judged.map_err(|error| self.fail(&error, &format!("at example {index}, ")))
    }

    /// What it says of all of them.
    pub(super) fn finish(mut self) -> Result<Judged, Failure> {
        let begun = Instant::now();
        let figures = self.process.conclude();
        self.spent += begun.elapsed();
        let figures = figures.map_err(|error| self.fail(&error, "asked for its figures, "))?;
        if let Some(why) = self.declared.refuted(&figures, self.examples) {
            return Err(self.fail(&RuntimeError::new(Claim::Protocol, why), ""));
        }
        let evidence = self.process.right().map(|right| Evidence::Verdicts(right.to_vec()).series(self.examples));
        let Self { declared, process, spent, .. } = self;
        process.leave().map_err(|error| failed(declared, &error))?;
        Ok(Judged { figures, evidence, spent })
    }

    /// Whatever went wrong with it, it is ended now.
    fn fail(&mut self, error: &RuntimeError, place: &str) -> Failure {
        self.process.kill();
        let spent = self.spent.as_secs_f64();
        let message = format!("{place}after {spent:.1} s in it: {}", error.message);
        failed(self.declared, &RuntimeError::new(error.claim, message))
    }
}

/// Never the model's fault, whatever kind of error it would be of an engine. A full disk is nobody's.
fn failed(declared: &Declared, error: &RuntimeError) -> Failure {
    let claim = if error.claim == Claim::StorageFull { Claim::StorageFull } else { Claim::Scorer };
    Failure { claim, message: format!("{}: {}", declared.program, error.message) }
}
