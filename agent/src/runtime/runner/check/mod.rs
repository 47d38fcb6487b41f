//! Holds any runner, or scorer, against the protocol: a list of named checks, each with what to do when it fails.

mod checks;
mod scorer;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use seatrial_core::dataset::Binding;
use seatrial_core::measure::plausible::Claimed;
use seatrial_core::model::{Signature, TensorSpec};
use seatrial_core::outcome::Claim;
use seatrial_core::profile::StopRule;
use seatrial_proto::v1::from_runner::Message as Answer;
use seatrial_proto::v1::to_runner::Message as Request;
use seatrial_proto::v1::{self, Feature};

use super::client::Client;
use super::tensors;
use super::{Program, RUNNER};
use crate::child::window::Waits;
use crate::data::{self, NamedTensor};
use crate::local::Scratch;
use crate::runtime::RuntimeError;

/// A runner that says nothing for longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// So has one that goes on for longer with any of what is asked here, loading apart.
const LONGEST: Duration = Duration::from_secs(30);

/// What is checked.
#[derive(Debug, Clone)]
pub struct Options {
    pub program: PathBuf,
    pub interpreter: Option<PathBuf>,
    /// A model's files by role. Without any, what needs a model is not checked.
    pub files: Vec<(String, PathBuf)>,
    /// The model's format; the first that the runner names when absent.
    pub format: Option<String>,
    pub accelerator: String,
    pub threads: u16,
    /// Of a scorer: its labels, the outputs that it judges by name, as arrays whose first axis counts the examples, and the
    /// names of the figures that it is asked for. Without outputs what needs them is not checked.
    pub labels: Option<PathBuf>,
    pub outputs: Vec<(String, PathBuf)>,
    pub metrics: Vec<String>,
    /// Only checks whose name holds this.
    pub only: Option<String>,
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    Broken(String),
    /// Could not be checked.
    Open(String),
}

/// What begins the reason why times could not be checked.
pub const BUSY: &str = "the machine is busy: try again when it is idle";

/// One check and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub name: &'static str,
    /// What a runner has to do.
    pub rule: &'static str,
    pub verdict: Verdict,
}

/// Runs every check. Takes some ten seconds: one is that a long request shows life.
pub fn run(options: &Options) -> std::io::Result<Vec<Finding>> {
    let scratch = Scratch::create(&std::env::temp_dir())?;
    let folder = scratch.path.join("runner");
    std::fs::create_dir(&folder)?;
    let program = Program {
        what: RUNNER,
        interpreter: options.interpreter.clone(),
        path: std::path::absolute(&options.program)?,
    };
    let mut bench = Bench { options, program, folder, client: None, model: None, spoiled: None };
    let only = options.only.as_deref().unwrap_or_default();
    // One that cannot greet is held against the rules of a runner.
    let is_scorer = bench.client().is_ok_and(|client| client.hello().features.contains(&Feature::Judging.into()));
    let all = if is_scorer { scorer::ALL } else { checks::ALL };
    let findings = all.iter().filter(|(name, ..)| name.contains(only)).map(|&(name, rule, check)| {
        let verdict = match check(&mut bench) {
            Ok(()) => Verdict::Kept,
            Err(Failed::Broken(why)) => {
                // What comes next begins with a process that nothing has happened to.
                bench.client = None;
                bench.model = None;
                Verdict::Broken(why)
            }
            Err(Failed::Open(why)) => Verdict::Open(why),
        };
        Finding { name, rule, verdict }
    });
    Ok(findings.collect())
}

/// Why a check does not hold.
#[derive(Debug)]
enum Failed {
    Broken(String),
    Open(String),
}

impl From<RuntimeError> for Failed {
    fn from(error: RuntimeError) -> Self {
        Self::Broken(error.message)
    }
}

fn broken<T>(why: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::Broken(why.into()))
}

/// The runner under check and what is known of it.
struct Bench<'a> {
    options: &'a Options,
    program: Program,
    folder: PathBuf,
    client: Option<Client>,
    /// Of the model that the client has loaded.
    model: Option<Model>,
    /// What came out of the runner that was no frame.
    spoiled: Option<String>,
}

#[derive(Debug, Clone)]
struct Model {
    loaded: v1::Loaded,
    outputs: Vec<TensorSpec>,
    inputs: Vec<NamedTensor>,
}

/// All that came of one request.
struct Exchange {
    answers: Vec<Answer>,
    last: Answer,
    wall: Duration,
}

impl Bench<'_> {
    fn client(&mut self) -> Result<&mut Client, Failed> {
        if self.client.is_none() {
            let Options { accelerator, threads, .. } = self.options;
            let started = Client::start(&self.program, &self.folder, accelerator, *threads);
            self.client = Some(started.map_err(|error| self.note(error))?);
        }
        match &mut self.client {
            Some(client) => Ok(client),
            None => broken("the runner could not be started"),
        }
    }

    /// Keeps in mind that something was no frame.
    fn note(&mut self, error: RuntimeError) -> Failed {
        if error.claim == Claim::Protocol {
            self.spoiled.get_or_insert_with(|| error.message.clone());
        }
        error.into()
    }

    /// A request and everything up to its last answer.
    fn exchange(&mut self, request: Request) -> Result<Exchange, Failed> {
        self.exchange_with(Some(request), &[])
    }

    /// The same with bytes behind the message, as a later version would write them.
    fn exchange_with(&mut self, request: Option<Request>, more: &[u8]) -> Result<Exchange, Failed> {
        let is_load = matches!(request, Some(Request::Load(_)));
        let client = self.client()?;
        let id = client.next_id();
        let body = [prost::Message::encode_to_vec(&v1::ToRunner { id, message: request }), more.to_vec()].concat();
        let begun = Instant::now();
        client.process.say_bytes(&body, PATIENCE)?;
        let mut answers = Vec::new();
        loop {
            if begun.elapsed() > LONGEST && !is_load {
                return broken(format!("it is not done with its request after {LONGEST:?}"));
            }
            let heard = self.client()?.process.hear(PATIENCE);
            let v1::FromRunner { id: of, message } = heard.map_err(|error| self.note(error))?;
            if of != id {
                return broken(format!("an answer carries id {of}, and request {id} was asked"));
            }
            let Some(answer) = message else { continue };
            if matches!(answer, Answer::Progress(_) | Answer::Samples(_) | Answer::Tokens(_)) {
                answers.push(answer);
            } else {
                return Ok(Exchange { answers, last: answer, wall: begun.elapsed() });
            }
        }
    }

    fn load_request(&mut self, files: &[(String, PathBuf)]) -> Result<v1::Load, Failed> {
        let first = self.client()?.hello().formats.first().cloned().unwrap_or_default();
        let Options { format, accelerator, threads, .. } = self.options;
        Ok(v1::Load {
            files: files
                .iter()
                .map(|(role, path)| v1::RunnerFile {
                    role: role.clone(),
                    path: path.to_string_lossy().into_owned(),
                    ..Default::default()
                })
                .collect(),
            format: format.clone().unwrap_or(first),
            accelerator: accelerator.clone(),
            threads: (*threads).into(),
            cache_folder: self.folder.to_string_lossy().into_owned(),
            ..Default::default()
        })
    }

    /// The model, loaded in the process that is there.
    fn model(&mut self) -> Result<Model, Failed> {
        if let Some(model) = &self.model {
            return Ok(model.clone());
        }
        if self.options.files.is_empty() {
            return Err(Failed::Open("give a model: --file ROLE=PATH".to_owned()));
        }
        let files = self.options.files.clone();
        let load = self.load_request(&files)?;
        // Field 900 of a later version, a string.
        let Exchange { last, .. } = self.exchange_with(Some(Request::Load(load)), &[0xa2, 0x38, 1, b'x'])?;
        let Answer::Loaded(loaded) = last else {
            return broken(format!("loading is answered with {}", said(&last)));
        };
        let specs = |tensors: &[v1::RunnerTensor]| -> Result<Vec<TensorSpec>, Failed> {
            tensors.iter().map(tensors::declared).collect::<Result<_, _>>().map_err(Failed::Broken)
        };
        let signature =
            Signature { inputs: specs(&loaded.inputs)?, outputs: specs(&loaded.outputs)?, precision_from: None };
        let inputs =
            data::seeded(&signature, &Binding::default(), 1).map_err(|error| Failed::Open(error.to_string()))?;
        let model = Model { loaded, outputs: signature.outputs, inputs };
        self.model = Some(model.clone());
        Ok(model)
    }

    /// Samples and outputs of a request.
    fn run(&mut self, rule: &StopRule, run: v1::Run) -> Result<Ran, Failed> {
        let paced = run.interval_ns > 0;
        let wanted = v1::Run {
            repeat: rule.min_samples,
            min_duration_ns: rule.min_time.as_nanos() as u64,
            max_repeat: rule.max_samples,
            ..run
        };
        let mut moved = tensors::bytes(&wanted.inputs, &self.folder);
        let waits = Waits::begin(self.client()?.process.id());
        let Exchange { answers, last, wall } = self.exchange(Request::Run(wanted))?;
        let waited = waits.over();
        let Answer::Outputs(outputs) = last else {
            return broken(format!("a run is answered with {}", said(&last)));
        };
        let mut claimed = Claimed::default();
        let (mut starts, mut progress) = (Vec::new(), 0);
        for answer in &answers {
            if let Answer::Samples(samples) = answer {
                super::session::push(&mut claimed, samples, paced, &mut |_| {})?;
                starts.extend(&samples.start_ns);
            } else if let Answer::Progress(_) = answer {
                progress += 1;
            } else {
                return broken(format!("samples are mixed with {}", said(answer)));
            }
        }
        moved += tensors::bytes(&outputs.tensors, &self.folder);
        (claimed.wall, claimed.waited, claimed.moved) = (wall, waited, moved);
        Ok(Ran { claimed, starts, progress, outputs })
    }

    fn inputs(&self, model: &Model) -> Result<Vec<v1::TensorValue>, Failed> {
        tensors::to_wire(&model.inputs, &self.folder).map_err(|error| Failed::Open(format!("writing inputs: {error}")))
    }
}

/// What a run came to.
struct Ran {
    claimed: Claimed,
    starts: Vec<u64>,
    progress: usize,
    outputs: v1::Outputs,
}

fn said(answer: &Answer) -> String {
    if let Answer::Error(error) = answer {
        let (class, stage) = (error.class().as_str_name(), error.stage().as_str_name());
        return format!("an error ({class}, {stage}): {}", error.message);
    }
    super::client::kind(answer).to_owned()
}

/// Two columns and what to do, as `seatrial-agent runner check` prints them.
pub fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let lines = findings.iter().map(|Finding { name, rule, verdict }| match verdict {
        Verdict::Kept => format!("ok      {name}\n"),
        Verdict::Open(why) => format!("–       {name:width$}  not checked: {why}\n"),
        Verdict::Broken(why) => format!("failed  {name:width$}  {why}\n        {:width$}  do: {rule}\n", ""),
    });
    let count = |wanted: fn(&Verdict) -> bool| findings.iter().filter(|finding| wanted(&finding.verdict)).count();
    let kept = count(|verdict| matches!(verdict, Verdict::Kept));
    let failed = count(|verdict| matches!(verdict, Verdict::Broken(_)));
    let sum = format!("\n{kept} ok, {failed} failed, {} not checked\n", findings.len() - kept - failed);
    lines.chain([sum]).collect()
}
