//! The device shows itself to a person who stands before a rack: by the program that the agent's own configuration names,
//! else by what the platform has. No request brings a command.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long one program may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Of what a program says about its failure, in bytes.
const MAX_SAID: usize = 200;

/// What a phone has for it: each step with what it does, and its command.
const ANDROID: &[(&str, &[&str])] = &[
    ("switched its screen on", &["/system/bin/input", "keyevent", "KEYCODE_WAKEUP"]),
    ("vibrated for 2 s", &["/system/bin/cmd", "vibrator_manager", "synced", "-f", "-d", "find-me", "oneshot", "2000"]),
];

/// Says what was done, or why nothing was.
pub(crate) async fn show(program: Option<PathBuf>) -> Result<String, String> {
    tracing::warn!("somebody looks for this device");
    if let Some(program) = program {
        let name = program.display().to_string();
        return run(&program, &[]).await.map(|()| format!("ran {name}")).map_err(|why| format!("{name}: {why}"));
    }
    if Path::new(ANDROID[0].1[0]).exists() {
        return by(ANDROID).await;
    }
    let mut stderr = io::stderr();
    if !stderr.is_terminal() {
        return Err(
            "it has nothing to show itself with but a line in its log; name a program to its agent (--find-me)"
                .to_owned(),
        );
    }
    stderr.write_all(b"\x07").map_err(|error| format!("its terminal does not take a bell: {error}"))?;
    Ok("rang the bell of its terminal, and wrote a line to its log".to_owned())
}

/// Every step is tried; one that works is enough.
async fn by(steps: &[(&str, &[&str])]) -> Result<String, String> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (what, command) in steps {
        let Some((program, arguments)) = command.split_first() else { continue };
        match run(Path::new(program), arguments).await {
            Ok(()) => done.push((*what).to_owned()),
            Err(why) => failed.push(format!("not {what}: {why}")),
        }
    }
    if done.is_empty() {
        Err(failed.join("; "))
    } else {
        Ok(done.into_iter().chain(failed).collect::<Vec<_>>().join("; "))
    }
}

async fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.map_err(|_| format!("it did not end within {} s", PATIENCE.as_secs()))?;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr[..output.stderr.len().min(MAX_SAID)]).trim().to_owned();
    Err(format!("{}: {said}", output.status).trim_end_matches([':', ' ']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_program_of_the_configuration_is_run_and_named() {
        assert_eq!(show(Some("/bin/true".into())).await, Ok("ran /bin/true".to_owned()));
        let failed = show(Some("/bin/false".into())).await.unwrap_err();
        assert_eq!(failed, "/bin/false: exit status: 1");
        assert!(show(Some("/nowhere/blink".into())).await.unwrap_err().starts_with("/nowhere/blink: "));
    }

    #[tokio::test]
    async fn one_step_that_works_is_enough_and_the_others_are_told() {
        let (works, fails): (&[&str], &[&str]) = (&["/bin/true"], &["/bin/false"]);
        let said = by(&[("blinked", fails), ("beeped", works)]).await;
        assert_eq!(said, Ok("beeped; not blinked: exit status: 1".to_owned()));
        assert_eq!(by(&[("blinked", fails)]).await, Err("not blinked: exit status: 1".to_owned()));
    }
}
