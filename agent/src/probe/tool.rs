//! Programs of the device that are asked something, with a limit on their time and their output.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use seatrial_core::profile::Ending;

/// A program's output is read so far.
const MAX_OUTPUT: u64 = 4 << 20;

/// The program under the root; of a real device also one that is found by its name.
fn program(root: &Path, name: &OsStr) -> Option<PathBuf> {
    let own = ["system/bin", "usr/bin"].map(|folder| root.join(folder).join(name)).into_iter().find(|own| own.exists());
    if own.is_some() {
        return own;
    }
    (root == Path::new("/")).then(|| PathBuf::from(name))
}

/// What a program prints before its time is over.
///
/// Output before an end in failure is kept with it; of a program that did not end there is only the reason.
pub(crate) fn run(root: &Path, words: &[impl AsRef<OsStr>], within: Duration) -> (String, Ending) {
    let missing = || ("not found".to_owned(), Ending::Failed(127));
    let Some((name, arguments)) = words.split_first() else { return missing() };
    let Some(program) = program(root, name.as_ref()) else { return missing() };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return missing() };
    let (sender, output) = mpsc::sync_channel(1);
    if let Some(pipe) = child.stdout.take() {
        // A grandchild may hold the pipe open for ever: nobody waits for this thread.
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    let until = Instant::now() + within;
    let bytes = output.recv_timeout(until.saturating_duration_since(Instant::now()));
    let code = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code().unwrap_or(128),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return (format!("did not end within {} s", within.as_secs()), Ending::Failed(124));
            }
        }
    };
    let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    match (text, code) {
        (Ok(text), 0) => (text, Ending::Whole),
        (Ok(text), code) => (text, Ending::Failed(code)),
        (Err(_), _) => ("its output did not end".to_owned(), Ending::Failed(124)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program of the device whose files are under a root.
    pub(crate) fn tool(root: &Path, name: &str, body: &str) {
        let folder = root.join("system/bin");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_program_that_never_ends_is_ended() {
        let home = tempfile::tempdir().unwrap();
        tool(home.path(), "getprop", "while :; do :; done");
        let (text, ending) = run(home.path(), &["getprop"], Duration::from_secs(1));
        assert_eq!((text.as_str(), ending), ("did not end within 1 s", Ending::Failed(124)));
    }
}
