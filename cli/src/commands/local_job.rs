//! A job on files of this machine, without a server: what `try` and `datasets golden` run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seatrial_agent::attempt::StopSignal;
use seatrial_agent::interpreters::Interpreters;
use seatrial_agent::local;
use seatrial_core::backend::{Affinity, Backend};
use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::job::{DatasetRef, JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::model::{Manifest, ManifestEntry};
use seatrial_core::profile::MeasurementProfile;
use seatrial_core::report::Report;
use seatrial_core::runtimes::{Abi, RuntimePackage};
use seatrial_core::session::Stop;

use super::models::read_variant;
use super::{agent, follow, runtimes};
use crate::args::LocalModelArgs;
use crate::error::{CliError, Result};
use crate::output;
use crate::upload::dataset::Package;
use crate::upload::digest;
use crate::upload::model::{self, BindingFile, Variant};
use crate::upload::runtime::Opened;

/// Inputs are made from it: the same model sees the same numbers every time.
const SEED: u64 = 1;
/// A person waits: other load is said and not waited for.
const LOAD_WAIT: Duration = Duration::ZERO;

/// A job with the files that it names.
pub(super) struct LocalJob {
    pub spec: JobSpec,
    files: BTreeMap<Digest, PathBuf>,
    interpreters: Interpreters,
    /// Goes with what was unpacked of it.
    _runtime: Option<Opened>,
}

impl LocalJob {
    pub(super) async fn new(args: &LocalModelArgs, profile: MeasurementProfile) -> Result<Self> {
        let variants = model::plan(&args.files, &[])?;
        let [planned] = variants.as_slice() else {
            return Err(CliError::plain(format!(
                "{} are models, and one is run at a time",
                output::count(variants.len(), "file")
            )));
        };
        let interpreters = Interpreters::look(args.interpreters.clone()).map_err(CliError::plain)?;
        let (variant, signature) = read_variant(planned, &std::env::temp_dir()).await?;
        let (manifest, mut files) = manifest(&variant).await?;
        let opened = match &args.runtime {
            Some(path) => Some(runtimes::open(path.clone(), None, None).await?),
            None => None,
        };
        let package = match &opened {
            Some(opened) => Some(package_for_this_machine(opened, &mut files).await?),
            None => None,
        };
        let binding = args.binding.as_deref().map(BindingFile::read).transpose()?;
        let mut binding = binding.map_or_else(Binding::default, |file| file.binding);
        binding.axes.extend(args.axes.iter().cloned());
        let runtime = package.as_ref().map_or_else(|| "tract".to_owned(), |package| package.runtime.clone());
        let spec = JobSpec {
            schema: SPEC_SCHEMA,
            model: ModelRef {
                model: variant.files[0].name.clone(),
                version: 1,
                variant: variant.name,
                format: variant.format,
                precision: variant.precision,
                manifest,
                signature,
            },
            binding,
            dataset: None,
            package,
            backend: Backend {
                runtime,
                track: None,
                accelerator: args.accelerator,
                provider: None,
                threads: args.threads,
                affinity: Affinity::Any,
                precision: None,
            },
            profile,
            limits: Limits::default(),
            seed: SEED,
        };
        Ok(Self { spec, files, interpreters, _runtime: opened })
    }

    /// Gives it a dataset package, which must live as long as the job does.
    pub(super) async fn with_dataset(mut self, package: &Package) -> Result<Self> {
        let file = digest(package.path()).await?;
        let manifest = &package.manifest;
        self.spec.dataset = Some(DatasetRef {
            dataset: manifest.name.clone(),
            version: 1,
            digest: file.digest,
            size: file.size,
            task: manifest.task,
            examples: manifest.examples,
            scorer: manifest.scorer.clone(),
        });
        self.files.insert(file.digest, file.path);
        Ok(self)
    }

    /// Ctrl-C ends the child before it ends us, so that its folder goes too.
    pub(super) async fn perform(&self, references: Option<&Path>) -> Result<Report> {
        let mut options = local::Options::new(agent::child_command()?);
        options.preflight.load_wait = LOAD_WAIT;
        options.references = references.map(Path::to_owned);
        options.interpreters = self.interpreters.clone();
        let stop: StopSignal = options.stop.clone();
        let (spec, files) = (self.spec.clone(), self.files.clone());
        let work = tokio::task::spawn_blocking(move || {
            let mut say = |stage: seatrial_core::stage::Stage, _: Duration| tracing::info!(%stage, "entered");
            local::run(spec, &files, &options, &mut say)
        });
        tokio::pin!(work);
        let failed = |error: std::io::Error| CliError::failed("run the model", error);
        tokio::select! {
            done = &mut work => done.map_err(|error| CliError::failed("run the model", error))?.map_err(failed),
            signal = follow::interrupted() => {
                stop.set(Stop::Cancelled("interrupted".to_owned()));
                if let Err(error) = work.await {
                    tracing::warn!(%error, "the attempt did not end well");
                }
                Err(signal)
            }
        }
    }
}

async fn manifest(variant: &Variant) -> Result<(Manifest, BTreeMap<Digest, PathBuf>)> {
    let mut entries = Vec::new();
    let mut files = BTreeMap::new();
    for planned in &variant.files {
        let file = digest(&planned.path).await?;
        entries.push(ManifestEntry {
            role: planned.role.to_owned(),
            digest: file.digest,
            size: file.size,
            file_name: planned.name.clone(),
        });
        files.insert(file.digest, file.path);
    }
    Ok((Manifest { entries }, files))
}

/// Of an archive with several packages, the one that this program can load.
async fn package_for_this_machine(opened: &Opened, files: &mut BTreeMap<Digest, PathBuf>) -> Result<RuntimePackage> {
    let own: Option<Abi> = seatrial_agent::abi().parse().ok();
    let fits = |abi: Option<Abi>| abi.is_none() || abi == own;
    let found = opened.found.iter().find(|found| fits(found.package.abi)).ok_or_else(|| {
        let abis: Vec<String> = opened.found.iter().map(|found| found.package.to_string()).collect();
        CliError::plain(format!("this machine is {}, and there is {}", seatrial_agent::abi(), abis.join(", ")))
    })?;
    let (package, local) = runtimes::package(found).await?;
    files.extend(local.into_iter().map(|file| (file.digest, file.path)));
    Ok(package)
}
