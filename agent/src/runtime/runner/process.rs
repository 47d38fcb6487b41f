//! The process of a runner: started, heard, ended.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use prost::Message;
use rustix::fs::{OFlags, fcntl_setfl};
use seatrial_core::outcome::Claim;
use seatrial_proto::v1::FromRunner;

use super::Program;
use super::frames::{self, FrameError};
use crate::drivers;
use crate::isolation::{AGENT_VARIABLE, ATTEMPT_VARIABLE};
use crate::runtime::RuntimeError;

/// How long a runner may take to end once its input has.
pub(super) const LEAVING: Duration = Duration::from_secs(2);
/// Messages that wait to be heard; then the runner waits.
const WAITING: usize = 16;
const LOOK: Duration = Duration::from_millis(5);

/// Variables of the child's environment that a runner keeps.
const KEPT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", ATTEMPT_VARIABLE, AGENT_VARIABLE];
/// Variables that lead to a folder in which a program may write.
const FOLDERS: [&str; 3] = ["HOME", "TMPDIR", "XDG_CACHE_HOME"];

/// Tells a runner which accelerator it will be asked for, before it greets.
const ACCELERATOR_VARIABLE: &str = "SEATRIAL_ACCELERATOR";

/// A running program. It ends with its value.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    heard: Receiver<Result<FromRunner, FrameError>>,
    what: &'static str,
}

impl Process {
    /// Starts the program in its folder. Its standard error is ours. One that is not trusted to read what it is sent is
    /// sent it without waiting, [`LOOK`] by look: a runner's times include the way to it.
    pub(super) fn start(
        program: &Program,
        folder: &Path,
        accelerator: &str,
        threads: u16,
        distrusted: bool,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut command = match &program.interpreter {
            Some(interpreter) => {
                let mut command = Command::new(interpreter);
                command.arg(&program.path);
                command
            }
            None => Command::new(&program.path),
        };
        let mut child = command
            .env_clear()
            .envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(std::env::vars_os().filter(|(name, _)| drivers::is_variable(name)))
            .envs(FOLDERS.map(|name| (name, folder)))
            // Libraries start their threads before anybody can tell them how many.
            .env("OMP_NUM_THREADS", threads.to_string())
            // Looking for a GPU takes time and memory that are no part of a job on the CPU.
            .env(ACCELERATOR_VARIABLE, accelerator)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipe = |what| move || io::Error::other(format!("the process has no standard {what}"));
        let stdin = child.stdin.take().ok_or_else(pipe("input"))?;
        if distrusted {
            fcntl_setfl(&stdin, OFlags::NONBLOCK)?;
        }
        let mut stdout = child.stdout.take().ok_or_else(pipe("output"))?;
        let (sender, heard) = mpsc::sync_channel(WAITING);
        thread::Builder::new().name("runner".to_owned()).stack_size(128 << 10).spawn(move || {
            while let Some(message) = frames::read(&mut stdout).transpose() {
                let last = message.is_err();
                // Nobody listens to a process that is being ended.
                if sender.send(message).is_err() || last {
                    break;
                }
            }
        })?;
        Ok(Self { child, stdin: Some(stdin), heard, what: program.what })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) const fn what(&self) -> &'static str {
        self.what
    }

    /// Sends one frame. One that is not trusted to read it has read it within `patience`, or has failed.
    pub(super) fn say(&mut self, message: &impl Message, patience: Duration) -> Result<(), RuntimeError> {
        self.say_bytes(&message.encode_to_vec(), patience)
    }

    pub(super) fn say_bytes(&mut self, body: &[u8], patience: Duration) -> Result<(), RuntimeError> {
        let what = self.what;
        let Some(stdin) = &mut self.stdin else { return Err(self.ended("after its input was closed")) };
        match frames::write(&mut Patient { stdin, until: Instant::now() + patience }, body) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(self.ended("before it took a request")),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let message = format!("the {what} has not read a request for {patience:?}");
                Err(RuntimeError::new(Claim::Hang, message))
            }
            Err(error) => Err(RuntimeError::new(Claim::SpecError, format!("a request to the {what}: {error}"))),
        }
    }

    /// The next frame, which must come within `patience`.
    pub(super) fn hear(&mut self, patience: Duration) -> Result<FromRunner, RuntimeError> {
        let what = self.what;
        match self.heard.recv_timeout(patience) {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(FrameError::Cut)) => Err(self.ended("in the middle of a frame")),
            Ok(Err(error)) => Err(RuntimeError::new(Claim::Protocol, format!("the {what}: {error}"))),
            Err(RecvTimeoutError::Timeout) => {
                let message = format!("the {what} has said nothing for {patience:?}, not even that it lives");
                Err(RuntimeError::new(Claim::Hang, message))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended("while an answer was expected")),
        }
    }

    /// How it ended, as an error.
    fn ended(&mut self, when: &str) -> RuntimeError {
        let what = self.what;
        match self.exit(LEAVING) {
            Ok(Some(status)) => {
                if let Some(signal) = status.signal() {
                    let message = format!("the {what} died by signal {signal} {when}");
                    return RuntimeError::new(Claim::EngineSignal(signal), message);
                }
                let code = status.code().unwrap_or(-1);
                RuntimeError::new(Claim::EngineExit(code), format!("the {what} ended with code {code} {when}"))
            }
            Ok(None) => {
                let message = format!("the {what} closed its standard output {when}, and goes on");
                RuntimeError::new(Claim::Protocol, message)
            }
            Err(error) => RuntimeError::new(Claim::RunFail, format!("waiting for the {what}: {error}")),
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        // Fails only when it is gone after all.
        let _ = self.child.kill();
    }

    /// Tells it that there is nothing more; `None` when it is still there after `patience`.
    pub(super) fn leave(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        drop(self.stdin.take());
        self.exit(patience)
    }

    pub(super) fn exit(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            let status = self.child.try_wait()?;
            if status.is_some() || begun.elapsed() >= patience {
                return Ok(status);
            }
            thread::sleep(LOOK);
        }
    }
}

/// Where a request goes. One that does not read it, or a byte now and then, is waited for until then.
struct Patient<'a> {
    stdin: &'a mut ChildStdin,
    until: Instant,
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stdin.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= self.until {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    thread::sleep(LOOK);
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdin.flush()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.leave(LEAVING), Ok(Some(_))) {
            self.kill();
            let _ = self.child.wait();
        }
    }
}
