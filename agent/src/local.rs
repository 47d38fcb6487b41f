//! One attempt without a server: `seatrial try`, and the tests.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use seatrial_core::digest::Digest;
use seatrial_core::job::JobSpec;
use seatrial_core::report::Report;
use seatrial_core::stage::Stage;

use crate::attempt::{self, Guard, News, Order, Preflight, Source, Step, StopSignal};
use crate::cache::{FetchError, Patience};
use crate::folder::remove_tree;
use crate::interpreters::Interpreters;
use crate::isolation::Mark;

/// How a local attempt is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// See [`crate::cli::child_command`].
    pub child_command: Vec<OsString>,
    pub preflight: Preflight,
    /// Root of the file system that is probed.
    pub root: PathBuf,
    /// Where the attempt's folder is made; it is removed afterwards.
    pub scratch: PathBuf,
    pub stop: StopSignal,
    /// Where the outputs of the dataset are kept whole.
    pub references: Option<PathBuf>,
    /// What runs runners here.
    pub interpreters: Interpreters,
}

impl Options {
    pub fn new(child_command: Vec<OsString>) -> Self {
        Self {
            child_command,
            preflight: Preflight::default(),
            root: PathBuf::from("/"),
            scratch: std::env::temp_dir(),
            stop: StopSignal::default(),
            references: None,
            interpreters: Interpreters::default(),
        }
    }
}

/// Runs a job on files of this machine, by digest. Everything that goes wrong after the scratch folder was made is an
/// outcome of the report.
pub fn run(
    spec: JobSpec,
    files: &BTreeMap<Digest, PathBuf>,
    options: &Options,
    on_stage: &mut dyn FnMut(Stage, Duration),
) -> io::Result<Report> {
    attempt::prepare_process();
    let scratch = Scratch::create(&options.scratch)?;
    let order = Order {
        spec,
        mark: scratch.mark(),
        folder: scratch.path.clone(),
        child_command: options.child_command.clone(),
        preflight: options.preflight.clone(),
        guard: Guard::default(),
        root: options.root.clone(),
        launch: "process".to_owned(),
        references: options.references.clone(),
        probes: None,
        interpreters: options.interpreters.clone(),
        gauge: None,
        meter: None,
        outlast_orphans: false,
    };
    let mut on_news = |news: News| match news {
        News::Step(Step { stage, at, share: None }) => on_stage(stage, at),
        News::Step(Step { share: Some(_), .. }) | News::Orphans(_) => {}
    };
    Ok(attempt::perform(&order, &mut Files(files), &options.stop, &mut on_news))
}

/// A folder that goes with its value.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn create(parent: &Path) -> io::Result<Self> {
        let name = format!("seatrial-{}-{:016x}", std::process::id(), rand::random::<u64>());
        let path = parent.join(name);
        fs::create_dir_all(parent)?;
        fs::create_dir(&path)?;
        Ok(Self { path: path.canonicalize()? })
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { attempt: "local:1".to_owned(), agent: self.path.clone() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(%error, "a scratch folder stays");
        }
    }
}

struct Files<'a>(&'a BTreeMap<Digest, PathBuf>);

impl Source for Files<'_> {
    fn place(&mut self, digest: Digest, _: u64, place: &Path, _: Patience<'_>) -> Result<u64, FetchError> {
        let io = |source| FetchError::Io { digest, source };
        let from = self.0.get(&digest).ok_or_else(|| io(io::Error::other("no file was given for it")))?;
        // Copied, not linked: a child must not be able to reach the user's own file.
        fs::copy(from, place).map_err(io)
    }
}
