//! Commands: a real shell in a session of its own, with the environment of a phone.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, WriteHalf};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

/// Kinds of packets of the shell protocol; each is one byte, four of length, and its data.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;
const CLOSE_STDIN: u8 = 4;

/// Bytes of output in one packet.
const PACKET: usize = 32 << 10;
/// Bytes of input that one packet may bring.
const MAX_INPUT: u32 = 1 << 20;

/// Whether the shell is told when its host goes away. Its children never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    Sent,
    NotSent,
}

fn command(line: &str) -> Command {
    // A new session each: whoever knows the shell's process id can end all that it started.
    let mut command = Command::new("/system/bin/setsid");
    command.arg("/system/bin/sh");
    if !line.is_empty() {
        command.args(["-c", line]);
    }
    command.current_dir("/").stdin(Stdio::piped());
    command
}

/// `shell,v2:`: both streams apart, and an exit code at the end; 128 + n for the signal n.
pub async fn v2(line: &str, stream: DuplexStream) {
    let (mut from, to) = tokio::io::split(stream);
    let to = Mutex::new(to);
    let mut child = match command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            let why = format!("adbd: cannot start a shell: {error}\n");
            // A host that has gone needs no answer.
            let _ = send(&to, STDERR, why.as_bytes()).await;
            let _ = send(&to, EXIT, &[127]).await;
            return;
        }
    };
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let done = async {
        // Whatever the shell has left behind holds the stream for as long as it holds the pipes.
        tokio::join!(pass(stdout, STDOUT, &to), pass(stderr, STDERR, &to));
        child.wait().await
    };
    let status = tokio::select! {
        status = done => status,
        _ = input(&mut from, stdin) => {
            hang_up(&child);
            return;
        }
    };
    if let Ok(status) = status {
        let _ = send(&to, EXIT, &[code(status)]).await;
    }
}

/// `exec:` and the shell of old: one stream each way.
pub async fn raw(line: &str, hangup: Hangup, stream: DuplexStream) {
    let (mut from, mut to) = tokio::io::split(stream);
    let started = io::pipe().and_then(|(output, input)| {
        let child = command(line).stdout(input.try_clone()?).stderr(input).spawn()?;
        Ok((child, pipe::Receiver::from_owned_fd(output.into())?))
    });
    let (mut child, mut output) = match started {
        Ok(started) => started,
        Err(error) => {
            let _ = to.write_all(format!("adbd: cannot start a shell: {error}\n").as_bytes()).await;
            return;
        }
    };
    let mut stdin = child.stdin.take();
    let host_gone = async {
        let copied = match &mut stdin {
            Some(stdin) => tokio::io::copy(&mut from, stdin).await,
            None => Ok(0),
        };
        stdin = None;
        // A command that reads no more is not the end, nor for `exec:` is a host that says no more.
        if copied.is_err() || hangup == Hangup::NotSent {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut output, &mut to) => {}
        () = host_gone => hang_up(&child),
    }
}

/// Feeds a command from the host's packets; returns when the host is gone.
async fn input(from: &mut (impl AsyncRead + Unpin), mut stdin: Option<ChildStdin>) -> io::Result<()> {
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32_le().await?;
        if length > MAX_INPUT {
            return Err(io::Error::other("a packet that is too long"));
        }
        let mut data = vec![0; length as usize];
        from.read_exact(&mut data).await?;
        match kind {
            STDIN => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&data).await.is_err()
                {
                    stdin = None;
                }
            }
            CLOSE_STDIN => stdin = None,
            // The size of a window, and what later versions may have.
            _ => {}
        }
    }
}

async fn pass(from: Option<impl AsyncRead + Unpin>, kind: u8, to: &Mutex<WriteHalf<DuplexStream>>) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; PACKET];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if send(to, kind, &buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn send(to: &Mutex<impl AsyncWrite + Unpin>, kind: u8, data: &[u8]) -> io::Result<()> {
    let packet = [&[kind][..], &(data.len() as u32).to_le_bytes(), data].concat();
    to.lock().await.write_all(&packet).await
}

/// As adbd does: the shell alone, not its group.
fn hang_up(child: &Child) {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        // Gone already is as good.
        let _ = kill_process(pid, Signal::HUP);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
