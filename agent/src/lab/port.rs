//! Power of a phone's USB port: `uhubctl`, or a program of the operator's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use seatrial_core::lab::port::{HubPort, hub_port};
use tokio::process::Command;

/// A hub that takes longer hangs itself.
const WITHIN: Duration = Duration::from_mins(1);
/// Off for so long: phones hold a charge in their port for some seconds.
const OFF_SECONDS: &str = "5";
/// Of what a program says, in bytes.
const MAX_SAID: usize = 500;

/// What switches ports here.
#[derive(Debug, Clone)]
pub(super) enum PortPower {
    None,
    Uhubctl(PathBuf),
    Program(PathBuf),
}

impl PortPower {
    /// The operator's program before what is installed.
    pub(super) fn find(program: Option<&Path>, path: Option<OsString>) -> Self {
        match program {
            Some(program) => Self::Program(program.to_owned()),
            None => std::env::split_paths(&path.unwrap_or_default())
                .map(|folder| folder.join("uhubctl"))
                .find(|program| program.is_file())
                .map_or(Self::None, Self::Uhubctl),
        }
    }

    /// Whether the port of a phone that is listed there can be switched.
    pub(super) fn can_switch(&self, usb: Option<&str>) -> bool {
        match self {
            Self::None => false,
            Self::Uhubctl(_) => usb.and_then(hub_port).is_some(),
            Self::Program(_) => true,
        }
    }

    /// Off, and on again.
    pub(super) async fn cycle(&self, usb: Option<&str>, serial: &str) -> Result<(), String> {
        let (program, arguments) = match self {
            Self::None => {
                return Err("nothing here switches ports: install uhubctl, or name a program (--port-power)".to_owned());
            }
            Self::Uhubctl(program) => {
                let HubPort { hub, port } =
                    usb.and_then(hub_port).ok_or_else(|| format!("{usb:?} is no port of a USB hub"))?;
                let words = ["-l", &hub, "-p", &port.to_string(), "-a", "cycle", "-d", OFF_SECONDS].map(str::to_owned);
                (program, words.to_vec())
            }
            Self::Program(program) => {
                (program, vec!["cycle".to_owned(), usb.unwrap_or_default().to_owned(), serial.to_owned()])
            }
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let fault = |why: String| format!("{}: {why}", program.display());
        let output = tokio::time::timeout(WITHIN, command.output())
            .await
            .map_err(|_| fault(format!("not done within {} s", WITHIN.as_secs())))?
            .map_err(|error| fault(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said: Vec<u8> = [output.stdout, output.stderr].concat().into_iter().take(MAX_SAID).collect();
        Err(fault(format!("{}: {}", output.status, String::from_utf8_lossy(&said).trim())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn program(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_port_is_switched_by_the_hub_it_is_of_or_by_the_operators_program() {
        let folder = tempfile::tempdir().unwrap();
        let said = folder.path().join("said");
        let text = format!("#!/bin/sh\necho \"$*\" > {}\n", said.display());
        program(folder.path(), "uhubctl", &text);
        let found = PortPower::find(None, Some(folder.path().into()));
        assert!(found.can_switch(Some("usb:1-4.2")) && !found.can_switch(None));
        found.cycle(Some("usb:1-4.2"), "s").await.unwrap();
        assert_eq!(std::fs::read_to_string(&said).unwrap(), "-l 1-4 -p 2 -a cycle -d 5\n");

        let own = program(folder.path(), "own", &text);
        let own = PortPower::find(Some(&own), Some(folder.path().into()));
        assert!(own.can_switch(None), "it may know ports by serial");
        own.cycle(Some("usb:1-4"), "s; rm").await.unwrap();
        assert_eq!(std::fs::read_to_string(&said).unwrap(), "cycle usb:1-4 s; rm\n");
    }

    #[tokio::test]
    async fn a_hub_that_does_not_do_it_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let own = program(folder.path(), "own", "#!/bin/sh\necho no such hub >&2\nexit 3\n");
        let error = PortPower::Program(own).cycle(None, "s").await.unwrap_err();
        assert!(error.contains("no such hub") && error.contains('3'), "{error}");
        let nothing = PortPower::find(None, None);
        assert!(!nothing.can_switch(Some("usb:1-4")));
        assert!(nothing.cycle(Some("usb:1-4"), "s").await.unwrap_err().contains("--port-power"));
    }
}
