//! Raw evidence of what this device is, as the rules list it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use seatrial_core::profile::{self, Ending, Findings, RawEvidence, Rules, Source, Step};
use seatrial_core::reading::Reading;

use super::files::Files;

/// A program's output is read so far: what is kept of it is less.
const MAX_OUTPUT: u64 = 4 << 20;
/// Paths that one pattern may mean.
const MAX_PATHS: usize = 4096;

/// What the device under this root is, and what says so; `None` with a word in the log when this build's own tables are
/// broken.
pub(super) fn look(files: &Files) -> Option<(Findings, RawEvidence)> {
    match Rules::shipped() {
        Ok(rules) => {
            let evidence = collect(files, rules);
            Some((profile::read(&evidence, rules), evidence))
        }
        Err(error) => {
            tracing::error!(%error, "what the device is cannot be read");
            None
        }
    }
}

fn collect(files: &Files, rules: &Rules) -> RawEvidence {
    let mut evidence = RawEvidence::default();
    for step in rules.plan() {
        let (output, ending) = match &step.source {
            Source::Run { words, .. } => run(files.root(), words, step),
            Source::File(path) => file(files, path),
            Source::Values(patterns) => values(files, patterns),
            Source::Exist(patterns) => exist(files, patterns),
        };
        step.keep(&mut evidence, &output, ending);
    }
    evidence
}

fn file(files: &Files, path: &str) -> (String, Ending) {
    match files.text(path.trim_start_matches('/')) {
        Reading::Present(text) => (text, Ending::Whole),
        Reading::Absent(reason) => (reason, Ending::Failed(1)),
    }
}

fn values(files: &Files, patterns: &[String]) -> (String, Ending) {
    let line = |path: String| match files.text(path.trim_start_matches('/')) {
        Reading::Present(text) if !text.is_empty() => format!("{path}={}\n", text.lines().next().unwrap_or_default()),
        Reading::Present(_) | Reading::Absent(_) => format!("{path}!denied or empty\n"),
    };
    (patterns.iter().flat_map(|pattern| expand(files, pattern)).map(line).collect(), Ending::Whole)
}

fn exist(files: &Files, patterns: &[String]) -> (String, Ending) {
    let paths = patterns.iter().flat_map(|pattern| expand(files, pattern));
    (paths.map(|path| path + "\n").collect(), Ending::Whole)
}

/// The paths under the root that a pattern means, sorted.
fn expand(files: &Files, pattern: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    for part in pattern.split('/').skip(1) {
        let next: Vec<String> = if part.contains(['*', '[']) {
            paths
                .iter()
                .flat_map(|folder| {
                    let names =
                        std::fs::read_dir(files.root().join(folder.trim_start_matches('/'))).into_iter().flatten();
                    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                    names.filter(|name| profile::path_matches(part, name)).map(move |name| format!("{folder}/{name}"))
                })
                .take(MAX_PATHS)
                .collect()
        } else {
            paths.iter().map(|folder| format!("{folder}/{part}")).collect()
        };
        paths = next;
    }
    paths.retain(|path| files.exists(path.trim_start_matches('/')));
    paths.sort();
    paths
}

/// The program under the root; of a real device also one that is found by its name.
fn program(root: &Path, name: &str) -> Option<PathBuf> {
    let own = root.join("system/bin").join(name);
    if own.exists() {
        return Some(own);
    }
    (root == Path::new("/")).then(|| PathBuf::from(name))
}

/// What a program prints before its time is over.
fn run(root: &Path, words: &[String], step: &Step) -> (String, Ending) {
    let missing = || ("not found".to_owned(), Ending::Failed(127));
    let Some((name, arguments)) = words.split_first() else { return missing() };
    let Some(program) = program(root, name) else { return missing() };
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
    let until = Instant::now() + Duration::from_secs(step.seconds.into());
    let bytes = output.recv_timeout(until.saturating_duration_since(Instant::now()));
    let code = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code().unwrap_or(128),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return (format!("did not end within {} s", step.seconds), Ending::Failed(124));
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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use seatrial_core::profile::Piece;

    use super::*;

    fn tree() -> (tempfile::TempDir, Files) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("system/bin")).unwrap();
        std::fs::create_dir_all(home.path().join("vendor/lib64/egl/mt6989")).unwrap();
        std::fs::write(home.path().join("vendor/lib64/egl/mt6989/libGLES_mali.so"), "").unwrap();
        let files = Files::new(home.path());
        (home, files)
    }

    fn tool(home: &Path, name: &str, body: &str) {
        let path = home.join("system/bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_phone_under_a_root_is_asked_by_its_own_programs() {
        let (home, files) = tree();
        tool(home.path(), "getprop", "echo '[ro.product.brand]: [vivo]'; echo '[ro.build.version.release]: [14]'");
        tool(
            home.path(),
            "dumpsys",
            "echo noise; echo 'GLES: ARM, Mali-G610 MC6, OpenGL ES 3.2 v1.r32p1-0'; echo noise",
        );
        tool(home.path(), "cmd", "kill -ABRT $$");
        let evidence = collect(&files, Rules::shipped().unwrap());
        assert_eq!(evidence.get(Piece::SurfaceFlinger).unwrap().text.lines().count(), 1);
        assert_eq!(evidence.get(Piece::Vkjson).unwrap().ending, Ending::Failed(128));
        assert_eq!(evidence.get(Piece::PageSize).unwrap().ending, Ending::Failed(127), "not this machine's getconf");
        assert_eq!(evidence.get(Piece::Libraries).unwrap().text, "/vendor/lib64/egl/mt6989/libGLES_mali.so\n");
        let (findings, kept) = look(&files).unwrap();
        assert_eq!(kept, evidence);
        assert_eq!(findings.naming.brand.present().unwrap().value, "vivo");
        assert_eq!(findings.gpu_driver.present().unwrap().value.build, Reading::Present("r32p1".to_owned()));
    }

    #[test]
    fn a_program_that_never_ends_costs_its_own_piece_alone() {
        let (home, _files) = tree();
        tool(home.path(), "getprop", "while :; do :; done");
        let step = Step { seconds: 1, ..Rules::shipped().unwrap().plan()[0].clone() };
        let (text, ending) = run(home.path(), &["getprop".to_owned()], &step);
        assert_eq!((text.as_str(), ending), ("did not end within 1 s", Ending::Failed(124)));
    }
}
