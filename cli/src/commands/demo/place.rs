//! Where a demo keeps its files while it runs, and what is left of them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{CliError, Result};
use crate::output;

/// Lines of the agent's log that are worth showing when it fails.
const LOG_LINES: usize = 20;

/// A folder that goes away with the demo, or one that stays.
pub(super) struct Place {
    root: PathBuf,
    /// Removes the folder when it is dropped, also when the demo fails.
    scratch: Option<TempDir>,
}

impl Place {
    /// A folder that was named is never removed; a scratch folder is, unless it is to be kept.
    pub(super) fn new(named: Option<PathBuf>, keep: bool) -> Result<Self> {
        if let Some(root) = named {
            fs_err::create_dir_all(&root).map_err(|error| CliError::failed("make the demo's folder", error))?;
            return Ok(Self { root, scratch: None });
        }
        let scratch = tempfile::Builder::new().prefix("seatrial-demo-").tempdir();
        let scratch = scratch.map_err(|error| CliError::failed("make a scratch folder for the demo", error))?;
        if keep {
            return Ok(Self { root: scratch.keep(), scratch: None });
        }
        Ok(Self { root: scratch.path().to_owned(), scratch: Some(scratch) })
    }

    pub(super) fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    pub(super) fn server(&self) -> PathBuf {
        self.root.join("server")
    }

    pub(super) fn agent(&self) -> PathBuf {
        self.root.join("agent")
    }

    pub(super) fn agent_log(&self) -> Result<std::fs::File> {
        self.log("agent.log")
    }

    /// Logs of the server would run through the progress: they go to a file, unless more was asked for.
    pub(super) fn log_to_file(&self, verbose: u8) -> Result<()> {
        if verbose == 0 {
            crate::telemetry::start_in_file(self.log("server.log")?);
        } else {
            crate::telemetry::start(verbose);
        }
        Ok(())
    }

    fn log(&self, name: &str) -> Result<std::fs::File> {
        let file = fs_err::File::create(self.root.join(name))
            .map_err(|error| CliError::failed("write the demo's logs", error))?;
        Ok(file.into_parts().0)
    }

    /// The end of the agent's log, or why there is none.
    pub(super) fn agent_log_tail(&self) -> String {
        match fs_err::read_to_string(self.root.join("agent.log")) {
            Ok(log) => tail(&log, LOG_LINES),
            Err(error) => error.to_string(),
        }
    }

    /// Removes a scratch folder, and says where one is that stays.
    pub(super) fn close(self) {
        match self.scratch {
            Some(scratch) => {
                let path = scratch.path().to_owned();
                if let Err(error) = scratch.close() {
                    output::note(&format!("{} could not be removed: {error}", path.display()));
                }
            }
            None => say_where(&self.root),
        }
    }
}

fn say_where(root: &Path) {
    let server = root.join("server");
    output::note(&format!(
        "\nkept in {}\n\nhint: `seatrial serve --data {}` shows it again",
        root.display(),
        server.display()
    ));
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_goes_and_a_named_one_stays() {
        let place = Place::new(None, false).unwrap();
        let root = place.root.clone();
        assert!(root.is_dir());
        place.close();
        assert!(!root.exists());

        let named = tempfile::tempdir().unwrap();
        let root = named.path().join("demo");
        Place::new(Some(root.clone()), false).unwrap().close();
        assert!(root.is_dir());
    }

    #[test]
    fn a_log_is_shown_by_its_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }
}
