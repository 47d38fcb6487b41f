//! A runtime that misbehaves on request, for tests of every outcome: the model's file is the request.
//!
//! `BEHAVIOUR` or `BEHAVIOUR in PLACE`, as in `segfault in load`. A place is `load` or `inference`, in the middle of
//! either; `describing`, of an engine that parses the file once more for what it declares; or another stage, where the
//! child has just entered it: `wait for /tmp/go in warmup`.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Signal, getpid, getppid, kill_process, setsid};
use seatrial_core::actual::Actual;
use seatrial_core::backend::Accelerator;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::model::{Axis, Format, Signature, TensorSpec};
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::reason::Code;
use seatrial_core::stage::Stage;
use seatrial_core::tensor::{DType, Tensor};

use super::{LoadRequest, ModelFiles, Runtime, RuntimeError, Session};
use crate::child::timing::Timed;
use crate::data::NamedTensor;

#[derive(Debug, Clone, Copy)]
pub(super) struct Fake;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Behaviour {
    Well,
    /// Goes on once there is such a file.
    WaitFor(PathBuf),
    Segfault,
    Abort,
    Exit(i32),
    Hang,
    /// Spins and ignores TERM.
    Stubborn,
    Flood,
    HogMemory,
    Nan,
    /// Leaves a process in a session of its own and goes on.
    SetsidEscape,
    /// Leaves many and hangs.
    ForkBomb,
    FillDisk,
    KillParent,
    /// Writes outside its folder; goes on when it could not.
    Trespass,
    /// Puts a FIFO in the place of a file of its folder and goes on.
    Fifo(String),
    /// Puts a link to `/dev/zero` in the place of a file of its folder and goes on.
    Endless(String),
    UnsupportedOp,
    LoadFail,
    RunFail,
    Fallback,
    /// Fails to load with a message of so many bytes.
    LoadFailAtLength(usize),
    /// Falls back, in the process of this index only.
    FallbackOf(u8),
    Panic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Load,
    Inference,
    Describing,
    Entering(Stage),
}

#[derive(Debug, Clone)]
struct Script {
    behaviour: Behaviour,
    place: Place,
}

impl FromStr for Script {
    type Err = RuntimeError;

    fn from_str(text: &str) -> Result<Self, RuntimeError> {
        let text = text.trim();
        let (behaviour, place) = match text.rsplit_once(" in ") {
            Some((behaviour, "load")) => (behaviour, Place::Load),
            Some((behaviour, "describing")) => (behaviour, Place::Describing),
            Some((behaviour, "inference")) => (behaviour, Place::Inference),
            Some((behaviour, stage)) => match stage.parse() {
                Ok(stage) => (behaviour, Place::Entering(stage)),
                Err(_) => (text, Place::Inference),
            },
            None => (text, Place::Inference),
        };
        let behaviour = match behaviour {
            "well" => Behaviour::Well,
            "segfault" => Behaviour::Segfault,
            "abort" => Behaviour::Abort,
            "hang" => Behaviour::Hang,
            "hang ignoring term" => Behaviour::Stubborn,
            "flood" => Behaviour::Flood,
            "hog memory" => Behaviour::HogMemory,
            "nan" => Behaviour::Nan,
            "setsid escape" => Behaviour::SetsidEscape,
            "fork bomb" => Behaviour::ForkBomb,
            "fill disk" => Behaviour::FillDisk,
            "kill parent" => Behaviour::KillParent,
            "trespass" => Behaviour::Trespass,
            "unsupported op" => Behaviour::UnsupportedOp,
            "load fail" => Behaviour::LoadFail,
            "run fail" => Behaviour::RunFail,
            "fallback" => Behaviour::Fallback,
            "panic" => Behaviour::Panic,
            other => with_object(other)
                .ok_or_else(|| RuntimeError::new(Claim::LoadFail, format!("{other:?} is no behaviour")))?,
        };
        Ok(Self { behaviour, place })
    }
}

/// A behaviour that names what it is about.
fn with_object(text: &str) -> Option<Behaviour> {
    let object = |verb: &str| text.strip_prefix(verb);
    if let Some(path) = object("wait for ") {
        return Some(Behaviour::WaitFor(path.into()));
    }
    if let Some(code) = object("exit ") {
        return code.parse().ok().map(Behaviour::Exit);
    }
    if let Some(index) = object("fallback in process ") {
        return index.parse().ok().map(Behaviour::FallbackOf);
    }
    if let Some(bytes) = object("load fail in bytes: ") {
        return bytes.parse().ok().map(Behaviour::LoadFailAtLength);
    }
    if let Some(name) = object("fifo ") {
        return Some(Behaviour::Fifo(name.to_owned()));
    }
    object("endless ").map(|name| Behaviour::Endless(name.to_owned()))
}

impl Script {
    fn read(files: &ModelFiles<'_>) -> Result<Self, RuntimeError> {
        let text = fs::read_to_string(files.main()?)
            .map_err(|error| RuntimeError::new(Claim::LoadFail, format!("reading the script: {error}")))?;
        text.parse()
    }
}

/// What the script asks for where the child has just entered a stage.
pub(crate) fn on_entering(stage: Stage, files: &ModelFiles<'_>) -> Result<(), RuntimeError> {
    match Script::read(files) {
        Ok(Script { behaviour, place }) if place == Place::Entering(stage) => misbehave(&behaviour),
        // What cannot be read fails where it is loaded.
        Ok(_) | Err(_) => Ok(()),
    }
}

impl Runtime for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn probe(&self) -> RuntimeOffer {
        RuntimeOffer {
            name: self.name().to_owned(),
            version: self.version(),
            formats: vec![Format::Onnx],
            accelerators: vec![Accelerator::Cpu, Accelerator::Gpu],
            absent: std::collections::BTreeMap::new(),
        }
    }

    fn describe(&self, files: &ModelFiles<'_>) -> Result<Signature, RuntimeError> {
        if let Ok(Script { behaviour, place: Place::Describing }) = Script::read(files) {
            misbehave(&behaviour)?;
        }
        Ok(signature())
    }

    fn load(&self, files: &ModelFiles<'_>, _: &LoadRequest<'_>) -> Result<Box<dyn Session>, RuntimeError> {
        let script = Script::read(files)?;
        if script.place == Place::Load {
            misbehave(&script.behaviour)?;
        }
        if script.behaviour == Behaviour::UnsupportedOp {
            return Err(RuntimeError::new(Claim::UnsupportedOp, "operator Fancy is not implemented"));
        }
        if script.behaviour == Behaviour::LoadFail {
            return Err(RuntimeError::new(Claim::LoadFail, "the file is not a model"));
        }
        if let Behaviour::LoadFailAtLength(bytes) = script.behaviour {
            return Err(RuntimeError::new(Claim::LoadFail, "long ".repeat(bytes / 5)));
        }
        Ok(Box::new(Loaded { script, done: false }))
    }
}

fn signature() -> Signature {
    let spec = |name: &str, size| TensorSpec {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: vec![Axis::Fixed(1), Axis::Fixed(size)],
    };
    Signature { inputs: vec![spec("input", 4)], outputs: vec![spec("output", 2)], precision_from: None }
}

struct Loaded {
    script: Script,
    /// What a script does in inference, it does once.
    done: bool,
}

impl Timed for Loaded {
    type Error = RuntimeError;

    fn make_ready(&mut self) {}

    fn infer(&mut self) -> Result<(), RuntimeError> {
        if self.script.place == Place::Inference && !self.done {
            self.done = true;
            misbehave(&self.script.behaviour)?;
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(100) {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

impl Session for Loaded {
    fn actual(&self) -> Actual {
        let in_process = matches!(self.script.behaviour, Behaviour::FallbackOf(index) if is_process(index));
        let fallback = in_process || self.script.behaviour == Behaviour::Fallback;
        Actual {
            accelerator: Reading::Present("cpu".to_owned()),
            provider: Reading::absent("the fake has no providers"),
            device: Reading::absent("the fake has no device"),
            delegated: if fallback { Reading::Present((3, 10)) } else { Reading::absent("the fake has no delegates") },
            rest: Vec::new(),
            precision: Reading::Present("fp32".to_owned()),
            threads: Reading::absent(Code::ThreadsUncounted.template()),
            affinity: Reading::absent("read by the process"),
            fallback: fallback.then(|| "3 of 10 nodes on the accelerator, the rest on the CPU".to_owned()),
            signature: (self.script.place != Place::Describing).then(signature),
            loaded: Vec::new(),
        }
    }

    fn set_inputs(&mut self, _: &[NamedTensor]) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn outputs(&mut self) -> Result<Vec<NamedTensor>, RuntimeError> {
        let value = if self.script.behaviour == Behaviour::Nan { f32::NAN } else { 1.0 };
        let output = Tensor::from_f32(vec![1, 2], &[value, 0.5]);
        Ok(vec![("output".to_owned(), output.map_err(|error| RuntimeError::new(Claim::RunFail, error.to_string()))?)])
    }
}

fn misbehave(behaviour: &Behaviour) -> Result<(), RuntimeError> {
    match behaviour {
        Behaviour::Well
        | Behaviour::Nan
        | Behaviour::UnsupportedOp
        | Behaviour::LoadFail
        | Behaviour::LoadFailAtLength(_)
        | Behaviour::Fallback
        | Behaviour::FallbackOf(_) => Ok(()),
        Behaviour::WaitFor(path) => {
            while !path.exists() {
                sleep(Duration::from_millis(10));
            }
            Ok(())
        }
        Behaviour::RunFail => Err(RuntimeError::new(Claim::RunFail, "the engine returned error 7")),
        Behaviour::Panic => {
            #[expect(clippy::panic, reason = "the behaviour that was asked for")]
            {
                panic!("a panic that nobody catches")
            }
        }
        // The first is answered by Rust's own handler, which then steps aside.
        Behaviour::Segfault => hang_after(|| signal_self(Signal::SEGV)),
        Behaviour::Abort => std::process::abort(),
        #[expect(clippy::disallowed_methods, reason = "drivers do exactly this, in the middle of everything")]
        Behaviour::Exit(code) => std::process::exit(*code),
        Behaviour::Hang => hang_after(|| {}),
        Behaviour::Stubborn => {
            ignore_term();
            loop {
                std::hint::spin_loop();
            }
        }
        Behaviour::Flood => flood(),
        Behaviour::HogMemory => hog_memory(),
        Behaviour::SetsidEscape => leave_process(true),
        Behaviour::ForkBomb => {
            for number in 0..60 {
                leave_process(number % 2 == 0)?;
            }
            hang_after(|| {})
        }
        Behaviour::FillDisk => {
            let file =
                fs::File::create("filler").map_err(|error| RuntimeError::new(Claim::StorageFull, error.to_string()))?;
            // Over the limit of a file's size the kernel sends a signal.
            file.set_len(1 << 40).map_err(|error| RuntimeError::new(Claim::StorageFull, error.to_string()))
        }
        Behaviour::KillParent => hang_after(|| {
            if let Some(parent) = getppid() {
                let _ = kill_process(parent, Signal::KILL);
            }
        }),
        Behaviour::Trespass => match fs::write("../trespassed", "here") {
            Ok(()) => Err(RuntimeError::new(Claim::RunFail, "wrote outside the child's folder")),
            Err(_) => Ok(()),
        },
        Behaviour::Fifo(name) => plant(name, || {
            let mode = Mode::RUSR | Mode::WUSR;
            mknodat(CWD, name.as_str(), FileType::Fifo, mode, 0).map_err(Into::into)
        }),
        Behaviour::Endless(name) => plant(name, || std::os::unix::fs::symlink("/dev/zero", name)),
    }
}

/// A process runs in a folder that ends with its index.
fn is_process(index: u8) -> bool {
    std::env::current_dir().is_ok_and(|folder| folder.ends_with(format!("out-{index}")))
}

/// Puts something else where a file was.
fn plant(name: &str, seed: impl Fn() -> io::Result<()>) -> Result<(), RuntimeError> {
    // What is not there needs no room.
    let _ = fs::remove_file(name);
    seed().map_err(|error| RuntimeError::new(Claim::RunFail, format!("planting {name}: {error}")))
}

fn hang_after(act: impl Fn()) -> Result<(), RuntimeError> {
    loop {
        act();
        sleep(Duration::from_millis(20));
    }
}

fn signal_self(signal: Signal) {
    // A signal that does not arrive leaves the process hanging, which a test notices.
    let _ = kill_process(getpid(), signal);
}

fn flood() -> Result<(), RuntimeError> {
    let block = [b'#'; 1 << 12];
    for _ in 0..8192 {
        let written = std::io::stdout().write_all(&block).and_then(|()| std::io::stderr().write_all(&block));
        written.map_err(|error| RuntimeError::new(Claim::RunFail, error.to_string()))?;
    }
    Ok(())
}

fn hog_memory() -> Result<(), RuntimeError> {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(vec![1; 16 << 20]);
        std::hint::black_box(&hoard);
    }
}

#[expect(unsafe_code, reason = "fork and signal have no safe form; the copy does nothing but sleep")]
fn leave_process(own_session: bool) -> Result<(), RuntimeError> {
    // SAFETY: the copy calls only functions that are safe after a fork in a process with threads.
    match unsafe { libc::fork() } {
        -1 => Err(RuntimeError::new(Claim::RunFail, "fork failed")),
        0 => {
            if own_session {
                let _ = setsid();
            }
            loop {
                sleep(Duration::from_secs(1));
            }
        }
        _ => Ok(()),
    }
}

#[expect(unsafe_code, reason = "fork and signal have no safe form")]
fn ignore_term() {
    // SAFETY: SIG_IGN is no function of ours, and no other thread sets handlers.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
    }
}
