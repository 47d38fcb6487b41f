//! A child whose task a vendor's benchmark program does: it starts the program inside its own confinement, keeps what
//! the program prints, and reads it by the rule file.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use seatrial_core::actual::Actual;
use seatrial_core::backend::{Accelerator, Backend};
use seatrial_core::command::{
    Asked, CallError, Called, Left, MAX_OUTPUT_BYTES, MAX_RULE_BYTES, Reading as ProgramReading, Rule,
};
use seatrial_core::model::Axis;
use seatrial_core::outcome::{Claim, Exit};
use seatrial_core::reading::Reading;
use seatrial_core::report::{BlockKind, ProgramRun, Told};
use seatrial_core::stage::Stage;

use super::spec::PlacedPackage;
use super::window::Snapshot;
use super::{Failure, Worker, cpus, milliseconds};
use crate::clock;
use crate::plain::read_plain;

/// The folder, in the child's own, that the program may write to.
const OUTPUT: &str = "program";
/// Lines that may wait to be looked at for a stage.
const LINES: usize = 256;
/// Bytes of a line that is looked at.
const MAX_LINE: usize = 4 << 10;

impl Worker<'_> {
    /// Runs the program once, whatever the task: it loads, warms up and measures by itself.
    pub(super) fn program(&mut self, package: &PlacedPackage) -> Result<(), Failure> {
        self.enter(Stage::Prepare)?;
        let (path, rule) = opened(package)?;
        let output = self.spec.out.join(OUTPUT);
        std::fs::create_dir_all(&output)?;
        let called = self.called(&rule, package, &output)?;
        if let Some(cpus) = &self.spec.affinity {
            cpus::pin(cpus).map_err(|message| Failure { claim: Claim::UnsupportedBackend, message })?;
        }

        self.enter(rule.first_stage())?;
        let allowed = cpus::allowed();
        let before = Snapshot::take(allowed.present().map(Vec::as_slice), None);
        let begun = clock::boot();
        let ran = self.start(&path, &called.arguments, &called.environment, &output, Some(&rule))?;
        let wall = clock::boot().since(begun);
        let after = Snapshot::take(allowed.present().map(Vec::as_slice), None);
        self.result.window = Some(after.of_program(&before));
        let cpu_ms = after.programs_cpu_since(&before);

        let exit = exit(ran.status);
        let viewer = match (&package.viewer, &called.viewer) {
            (Some(viewer), Some(words)) if exit == Exit::Code(0) => {
                self.view(&package.folder.join(viewer), words, &called, &output)?
            }
            (None, Some(_)) => Reading::absent("the package has no viewer"),
            (_, _) => Reading::absent("no viewer was started"),
        };
        let files = rule.files.iter().map(|name| (name.clone(), read_file(&output, name))).collect();
        let was_cut = !ran.cut.is_empty();
        self.result.bounds_hit.extend(ran.cut);
        let left = Left { exit, stdout: ran.stdout, stderr: ran.stderr, viewer, files };
        let accelerator = self.spec.job.backend.accelerator;
        let mut reading = rule.read(accelerator, &left);
        if was_cut && accelerator != Accelerator::Cpu && reading.failure.is_none() {
            let name = &rule.name;
            let unknown =
                || format!("{name} wrote more than is read: it is not known whether it said that it fell back");
            reading.fallback.get_or_insert_with(unknown);
        }
        let spent = Spent { wall_ms: milliseconds(wall), cpu_ms };
        self.conclude(&rule, reading, exit, spent, allowed, called.precision)
    }

    fn called(&mut self, rule: &Rule, package: &PlacedPackage, output: &Path) -> Result<Called, Failure> {
        let job = &self.spec.job;
        let model = self.files().main()?;
        let (model, output, package) = (text(&model)?, text(output)?, text(&package.folder)?);
        let files = self.spec.files.iter();
        let files: BTreeMap<String, String> = files
            .map(|file| Ok((file.role.clone(), text(&self.spec.model.join(&file.file_name))?)))
            .collect::<Result<_, Failure>>()?;
        let inputs = &job.model.signature.inputs;
        let size = |axis: &Axis| match axis {
            Axis::Fixed(size) => Some(*size),
            Axis::Named(name) => job.binding.axes.get(name).copied(),
        };
        let shapes: Option<Vec<Vec<u64>>> = inputs.iter().map(|input| input.shape.iter().map(size).collect()).collect();
        let list = if rule.wants_inputs() && !inputs.is_empty() { Some(self.make_inputs(&output)?) } else { None };
        let asked = Asked {
            model: &model,
            folder: &text(&self.spec.model)?,
            files: &files,
            package: &package,
            output: &output,
            accelerator: job.backend.accelerator,
            precision: job.backend.precision,
            variant: job.model.precision,
            threads: job.backend.threads.max(1),
            profile: &job.profile,
            shapes: shapes.as_deref().filter(|shapes| !shapes.is_empty()),
            inputs: list.as_deref(),
        };
        rule.call(&asked).map_err(|error| {
            let claim = match error {
                CallError::NoAccelerator(_) | CallError::NoPrecision(_) => Claim::UnsupportedBackend,
                CallError::NoFile(_) | CallError::NoShapes | CallError::NoInputs | CallError::NoWord(_) => {
                    Claim::SpecError
                }
            };
            Failure { claim, message: format!("{} cannot be called: {error}", rule.name) }
        })
    }

    /// Generated inputs as raw little-endian files, and their list: one line, `name:=path` for each input.
    fn make_inputs(&self, output: &str) -> Result<String, Failure> {
        let job = &self.spec.job;
        let mut line = Vec::new();
        for (index, (name, tensor)) in
            crate::data::seeded(&job.model.signature, &job.binding, job.seed)?.into_iter().enumerate()
        {
            let path = format!("{output}/input-{index}.raw");
            std::fs::write(&path, tensor.bytes())?;
            line.push(format!("{name}:={path}"));
        }
        let list = format!("{output}/inputs.txt");
        std::fs::write(&list, format!("{}\n", line.join(" ")))?;
        Ok(list)
    }

    /// Runs a program to its end. Stages are entered as its lines tell them.
    fn start(
        &mut self,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        output: &Path,
        rule: Option<&Rule>,
    ) -> Result<Ran, Failure> {
        let mut child = Command::new(program)
            .args(arguments)
            .env("TMPDIR", output)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(output)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure {
                claim: Claim::UnsupportedBackend,
                message: format!("{} cannot be started: {}", program.display(), explained(&error)),
            })?;
        let (sender, lines) = sync_channel(LINES);
        let pipe = || io::Error::other("the program has no pipe");
        let stdout = drain(child.stdout.take().ok_or_else(pipe)?, sender.clone())?;
        let stderr = drain(child.stderr.take().ok_or_else(pipe)?, sender)?;
        let mut stage = rule.map_or(Stage::Measure, Rule::first_stage);
        for line in lines {
            let next = rule.and_then(|rule| rule.stage_of(&line)).filter(|next| place(*next) > place(stage));
            if let Some(next) = next {
                stage = next;
                self.enter(next)?;
            }
        }
        let status = child.wait()?;
        let finish = |reader: JoinHandle<Kept>| reader.join().map_err(|_| io::Error::other("a reader panicked"));
        let (stdout, stderr) = (finish(stdout)?, finish(stderr)?);
        let cut = [("standard output", &stdout), ("standard error", &stderr)].into_iter();
        let cut = cut.filter(|(_, kept)| kept.total > kept.bytes.len() as u64).map(|(what, kept)| {
            format!("{what} of the program: the last {} of {} bytes were read", kept.bytes.len(), kept.total)
        });
        Ok(Ran { status, cut: cut.collect(), stdout: stdout.text(), stderr: stderr.text() })
    }

    /// What the second program shows of what the first has written.
    fn view(
        &mut self,
        viewer: &Path,
        words: &[String],
        called: &Called,
        out: &Path,
    ) -> Result<Reading<String>, Failure> {
        let ran = self.start(viewer, words, &called.environment, out, None)?;
        Ok(match exit(ran.status) {
            Exit::Code(0) => Reading::Present(ran.stdout),
            other @ (Exit::Code(_) | Exit::Signal(_) | Exit::Deadline | Exit::Stopped) => {
                Reading::absent(format!("the viewer ended with {other:?}"))
            }
        })
    }

    fn conclude(
        &mut self,
        rule: &Rule,
        reading: ProgramReading,
        exit: Exit,
        spent: Spent,
        affinity: Reading<Vec<u16>>,
        precision: Reading<String>,
    ) -> Result<(), Failure> {
        let ProgramReading { samples_ns, told, version, threads, accelerator, delegated, fallback, failure } = reading;
        let told = told.into_iter();
        let run = ProgramRun {
            name: rule.name.clone(),
            version,
            wall_ms: spent.wall_ms,
            told: told
                .map(|figure| Told { name: figure.name, unit: figure.unit.to_string(), value: figure.value })
                .collect(),
        };
        self.result.runtime_version = Some(run.title());
        self.result.facts.insert("program_written_for".to_owned(), rule.written_for.join(", "));
        self.result.program = Some(run);
        self.result.actual = Actual {
            accelerator,
            delegated,
            precision,
            threads,
            affinity,
            fallback,
            ..Actual::unknown("a program that measures itself does not tell it")
        };
        let Backend { accelerator, threads: asked, .. } = self.spec.job.backend;
        if accelerator == Accelerator::Cpu {
            self.result.actual.refute_threads(asked.max(1), spent.cpu_ms, spent.wall_ms);
        }
        if let Reading::Present(samples) = samples_ns {
            let samples: Vec<i64> = samples.into_iter().map(|ns| i64::try_from(ns).unwrap_or(i64::MAX)).collect();
            self.keep_block(BlockKind::LatencyNs, &samples)?;
        }
        let name = &rule.name;
        match (failure, exit) {
            (Some(failure), _) => Err(Failure { claim: failure.claim, message: failure.message }),
            (None, Exit::Code(0) | Exit::Deadline | Exit::Stopped) => Ok(()),
            (None, Exit::Code(code)) => {
                Err(Failure { claim: Claim::EngineExit(code), message: format!("{name} ended with code {code}") })
            }
            (None, Exit::Signal(signal)) => {
                Err(Failure { claim: Claim::EngineSignal(signal), message: format!("{name} died by signal {signal}") })
            }
        }
    }
}

/// The program of a package, and the rule by which it is called and read.
fn opened(package: &PlacedPackage) -> Result<(PathBuf, Rule), Failure> {
    let refuse = |message: String| Failure { claim: Claim::SpecError, message };
    let path = package.program().ok_or_else(|| refuse("the runtime package names no program".to_owned()))?;
    let name = package.rules.as_ref().ok_or_else(|| refuse("the runtime package has no rule file".to_owned()))?;
    let unreadable = |why: String| refuse(format!("the rule file {name}: {why}"));
    // One byte more is for the parser to refuse.
    let bytes = read_plain(&package.folder, name, MAX_RULE_BYTES as u64 + 1);
    let text = String::from_utf8(bytes.map_err(|error| unreadable(error.to_string()))?)
        .map_err(|error| unreadable(error.to_string()))?;
    let rule = Rule::parse(&text, name).map_err(|problems| unreadable(seatrial_core::suite::render(&problems)))?;
    Ok((path, rule))
}

/// What a program took from its start to its end.
#[derive(Debug, Clone, Copy)]
struct Spent {
    wall_ms: f64,
    /// Of all its threads.
    cpu_ms: f64,
}

struct Ran {
    status: ExitStatus,
    stdout: String,
    stderr: String,
    /// Bounds that were hit.
    cut: Vec<String>,
}

/// The last bytes of a stream.
struct Kept {
    bytes: VecDeque<u8>,
    total: u64,
}

impl Kept {
    fn text(&self) -> String {
        let (front, back) = self.bytes.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

/// Reads a pipe to its end in a thread of its own, shows it to the parent, and sends its lines.
fn drain(mut pipe: impl Read + Send + 'static, lines: SyncSender<String>) -> io::Result<JoinHandle<Kept>> {
    thread::Builder::new().name("program output".to_owned()).stack_size(256 << 10).spawn(move || {
        let (mut kept, mut line, mut buffer) =
            (Kept { bytes: VecDeque::new(), total: 0 }, Vec::new(), vec![0; 1 << 14]);
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let read = &buffer[..count];
            // Without the parent there is nobody to show it to.
            let _ = io::stderr().write_all(read);
            kept.total += count as u64;
            kept.bytes.extend(read);
            let surplus = kept.bytes.len().saturating_sub(MAX_OUTPUT_BYTES);
            kept.bytes.drain(..surplus);
            for &byte in read {
                if byte == b'\n' {
                    // Nobody listens any more when the child has failed.
                    let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
                    line.clear();
                } else if line.len() < MAX_LINE {
                    line.push(byte);
                }
            }
        }
        kept
    })
}

/// Stages only go forward.
fn place(stage: Stage) -> Option<usize> {
    Stage::ALL.iter().position(|known| *known == stage)
}

fn exit(status: ExitStatus) -> Exit {
    status.signal().map_or_else(|| Exit::Code(status.code().unwrap_or(-1)), Exit::Signal)
}

fn read_file(folder: &Path, name: &str) -> Reading<String> {
    match read_plain(folder, name, MAX_OUTPUT_BYTES as u64) {
        Ok(bytes) => Reading::Present(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Reading::absent(format!("{name}: {error}")),
    }
}

/// A path becomes a word, and words are text.
fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| Failure {
        claim: Claim::SpecError,
        message: format!("{} is no path that can be written as text", path.display()),
    })
}

fn explained(error: &io::Error) -> String {
    let advice = if error.kind() == io::ErrorKind::PermissionDenied {
        "; only a program that the kernel loads by itself is started, and no script"
    } else if error.kind() == io::ErrorKind::NotFound {
        "; it, or the dynamic linker that it names, is not there: is it for another system?"
    } else {
        ""
    };
    format!("{error}{advice}")
}
