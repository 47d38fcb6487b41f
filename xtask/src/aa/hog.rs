//! A process that takes all the CPU time it can get.

use std::hint::spin_loop;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};

/// Name of the hidden command that is the hog.
pub const COMMAND: &str = "hog";

/// A running hog. It ends with this value, and with this process, however that ends: it reads a pipe that nobody else
/// holds open.
pub struct Hog(Child);

impl Hog {
    pub fn start(threads: usize) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.args([COMMAND, "--threads", &threads.to_string()]).stdin(Stdio::piped());
        Ok(Self(command.spawn().context("cannot start the hog")?))
    }

    /// Ends it. A hog that had ended by itself did not disturb what it should have.
    pub fn stop(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.0.try_wait().context("cannot look after the hog")? {
            bail!("the hog ended by itself ({status})");
        }
        Ok(())
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("xtask: cannot wait for the hog: {error}");
        }
    }
}

/// Spins until standard input ends.
pub fn spin(threads: usize) -> anyhow::Result<()> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let ended = std::io::stdin().read_to_end(&mut Vec::new());
        over.store(true, Ordering::Relaxed);
        ended.map(drop).context("cannot read standard input")
    })
}
