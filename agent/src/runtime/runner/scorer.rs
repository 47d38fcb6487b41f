//! The program that comes with a dataset and judges outputs: a runner with no model. Who has loaded and run the model has
//! no part in it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use seatrial_core::dataset::scorer::{Figure, MAX_REASON};
use seatrial_core::metric::Estimate;
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::report::CUT_MARK;
use seatrial_proto::v1::from_runner::Message as Answer;
use seatrial_proto::v1::to_runner::Message as Request;
use seatrial_proto::v1::{self, Feature, RunnerStage};

use super::client::{Client, only};
use super::{Program, SCORER, tensors};
use crate::data::NamedTensor;
use crate::runtime::RuntimeError;

/// Inference threads are none of a scorer's business: its figures must not depend on how many there are.
const THREADS: u16 = 1;

/// A scorer that has been told what it is to judge.
#[derive(Debug)]
pub(crate) struct Scorer {
    client: Client,
    folder: PathBuf,
    examples: u32,
    /// Whether each example is right, as far as it tells.
    right: Vec<bool>,
}

impl Scorer {
    /// Starts the program and opens the judging. It has until then for all that it does.
    pub(crate) fn start(
        interpreter: &Path,
        program: &Path,
        folder: &Path,
        open: v1::Open,
        until: Instant,
    ) -> Result<Self, RuntimeError> {
        let program = Program { what: SCORER, interpreter: Some(interpreter.to_owned()), path: program.to_owned() };
        let client = Client::start_until(&program, folder, "cpu", THREADS, Some(until))?;
        Self::open(client, folder, open)
    }

    /// Of a program that has greeted.
    pub(super) fn open(mut client: Client, folder: &Path, open: v1::Open) -> Result<Self, RuntimeError> {
        if !client.hello().features.contains(&Feature::Judging.into()) {
            return Err(broken("it does not greet with FEATURE_JUDGING, and is no scorer"));
        }
        let open = v1::Open { cache_folder: folder.to_string_lossy().into_owned(), ..open };
        let examples = open.examples;
        let opened = client.ask(RunnerStage::Score, Request::Open(open), &mut only(&mut None, done()));
        if opened.is_err() {
            client.process.kill();
        }
        opened?;
        Ok(Self { client, folder: folder.to_owned(), examples, right: Vec::new() })
    }

    /// Gives it the outputs of the next example.
    pub(crate) fn judge(&mut self, index: u32, outputs: &[NamedTensor]) -> Result<(), RuntimeError> {
        let outputs = tensors::to_wire(outputs, &self.folder).map_err(|error| {
            let claim = if crate::cache::is_full(&error) { Claim::StorageFull } else { Claim::RunFail };
            RuntimeError::new(claim, format!("writing an output for the scorer: {error}"))
        })?;
        let mut judged = None;
        let pick = |answer: Answer| if let Answer::Judged(judged) = answer { Some(judged) } else { None };
        let request = Request::Judge(v1::Judge { index, outputs });
        self.client.ask(RunnerStage::Score, request, &mut only(&mut judged, pick))?;
        let told = self.right.len() as u32;
        match judged.and_then(|judged| judged.right) {
            None if told > 0 => {
                Err(broken(format!("it says whether example 0 is right, and does not say it of example {index}")))
            }
            Some(_) if told != index => {
                Err(broken(format!("it says whether example {index} is right, and did not say it of example {told}")))
            }
            right => {
                self.right.extend(right);
                Ok(())
            }
        }
    }

    /// The figures, as it tells them.
    pub(crate) fn conclude(&mut self) -> Result<Vec<Figure>, RuntimeError> {
        let mut told = None;
        let pick = |answer: Answer| if let Answer::Figures(figures) = answer { Some(figures) } else { None };
        self.client.ask(RunnerStage::Score, Request::Conclude(v1::Conclude {}), &mut only(&mut told, pick))?;
        told.unwrap_or_default().figures.into_iter().map(figure).collect()
    }

    /// Whether each example is right, where it has told that of all of them.
    pub(crate) fn right(&self) -> Option<&[bool]> {
        (self.right.len() == self.examples as usize).then_some(self.right.as_slice())
    }

    /// Asks it to end. What it has said stands, however it ends.
    pub(crate) fn leave(mut self) -> Result<(), RuntimeError> {
        self.client.ask(RunnerStage::Teardown, Request::Shutdown(v1::Shutdown {}), &mut only(&mut None, done()))
    }

    /// Ends it at once: what has failed is waited for no longer.
    pub(crate) fn kill(&mut self) {
        self.client.process.kill();
    }

    pub(super) fn into_client(self) -> Client {
        self.client
    }
}

fn done() -> impl Fn(Answer) -> Option<v1::Done> {
    |answer| if let Answer::Done(done) = answer { Some(done) } else { None }
}

fn broken(why: impl Into<String>) -> RuntimeError {
    RuntimeError::new(Claim::Protocol, why)
}

/// A figure as the wire has it; what is neither a value nor an absence is refused here, and what cannot be true where it
/// is known what was asked for.
fn figure(told: v1::Figure) -> Result<Figure, RuntimeError> {
    let v1::Figure { name, value, low, high, examples, absent } = told;
    let shown: String = name.chars().take(80).collect();
    let interval = match (low, high) {
        (Some(low), Some(high)) => Some((low, high)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(broken(format!("{shown}: it tells one bound of the interval and not the other")));
        }
    };
    let value = match (value, absent.is_empty()) {
        (Some(value), true) => Reading::Present(Estimate { value, interval }),
        (None, false) if interval.is_none() => Reading::Absent(cut(absent)),
        (None, false) => return Err(broken(format!("{shown}: it tells an interval and no value"))),
        (Some(_), false) => return Err(broken(format!("{shown}: it tells a value and why there is none"))),
        (None, true) => return Err(broken(format!("{shown}: it tells neither a value nor why there is none"))),
    };
    Ok(Figure { name, value, examples })
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_REASON {
        text.truncate(text.floor_char_boundary(MAX_REASON - CUT_MARK.len()));
        text.push_str(CUT_MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> v1::Figure {
        v1::Figure { name: "ece".into(), value: Some(0.1), ..Default::default() }
    }

    #[test]
    fn a_figure_is_a_value_or_a_reason_and_an_interval_has_two_bounds() {
        let value = |value, interval| Figure {
            name: "ece".into(),
            value: Reading::Present(Estimate { value, interval }),
            examples: None,
        };
        assert_eq!(figure(told()), Ok(value(0.1, None)));
        let bounded = v1::Figure { low: Some(0.0), high: Some(0.2), ..told() };
        assert_eq!(figure(bounded.clone()), Ok(value(0.1, Some((0.0, 0.2)))));
        let absent = v1::Figure { value: None, absent: "no label".into(), ..told() };
        assert_eq!(figure(absent.clone()).unwrap().value, Reading::absent("no label"));
        for (wrong, said) in [
            (v1::Figure { low: Some(0.0), ..told() }, "one bound of the interval and not the other"),
            (v1::Figure { value: None, ..told() }, "neither a value nor why there is none"),
            (v1::Figure { absent: "x".into(), ..told() }, "a value and why there is none"),
            (v1::Figure { value: None, absent: "x".into(), ..bounded }, "an interval and no value"),
        ] {
            let error = figure(wrong).unwrap_err();
            assert!(error.message.contains(said) && error.claim == Claim::Protocol, "{}", error.message);
        }
        let endless = figure(v1::Figure { absent: "é".repeat(MAX_REASON), ..absent }).unwrap();
        let why = endless.value.reason().unwrap();
        assert!(why.len() <= MAX_REASON && why.ends_with(CUT_MARK));
    }
}
