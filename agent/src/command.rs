//! `seatrial-agent command`: to try a rule file against what a program once printed, or against the program itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use fs_err as fs;
use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::command::{Left, RULES_ROLE, Rule, VIEWER_ROLE};
use seatrial_core::dataset::Binding;
use seatrial_core::digest::Digest;
use seatrial_core::job::{JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::model::{Axis, Manifest, ManifestEntry, Precision, Signature, TensorSpec};
use seatrial_core::outcome::Exit;
use seatrial_core::profile::{MeasurementProfile, ProfileKind};
use seatrial_core::reading::Reading;
use seatrial_core::report::Report;
use seatrial_core::runtimes::recognise::is_library;
use seatrial_core::runtimes::{PROGRAM_ROLE, PackageKind, RuntimePackage};
use seatrial_core::tensor::DType;

use crate::attempt::Preflight;
use crate::local::{self, Options};

#[derive(Debug, Clone, Subcommand)]
pub enum CommandAction {
    /// Check a rule file, and read a recorded output by it
    Check(CheckArgs),
    /// Run a program on a model as a device would, and read it
    Run(RunArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Asked {
    Cpu,
    Gpu,
    Npu,
}

impl From<Asked> for Accelerator {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Cpu => Self::Cpu,
            Asked::Gpu => Self::Gpu,
            Asked::Npu => Self::Npu,
        }
    }
}

#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The rule file
    pub rules: PathBuf,
    /// What the program printed to standard output
    #[arg(long)]
    pub stdout: Option<PathBuf>,
    /// What the program printed to standard error
    #[arg(long)]
    pub stderr: Option<PathBuf>,
    /// What the viewer printed
    #[arg(long)]
    pub viewer: Option<PathBuf>,
    /// A file that the program wrote; its name must be one of `call.files`
    #[arg(long)]
    pub file: Vec<PathBuf>,
    /// The program's exit code
    #[arg(long, default_value_t = 0)]
    pub exit: i32,
    /// What the program was asked to run on
    #[arg(long, value_enum, default_value = "cpu")]
    pub accelerator: Asked,
}

#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The rule file
    pub rules: PathBuf,
    /// The program; libraries that it needs lie beside it
    pub program: PathBuf,
    /// The model's file
    pub model: PathBuf,
    /// Further files of the model, as ROLE=PATH
    #[arg(long)]
    pub file: Vec<String>,
    /// The second program, beside the first
    #[arg(long)]
    pub viewer: Option<String>,
    #[arg(long, value_enum, default_value = "cpu")]
    pub accelerator: Asked,
    #[arg(long, default_value_t = 1)]
    pub threads: u16,
    /// The shape of each input, as in 1,3,224,224
    #[arg(long)]
    pub shape: Vec<String>,
    /// Least inferences; the quick profile's when absent
    #[arg(long)]
    pub runs: Option<u32>,
    /// Least seconds of measuring; the quick profile's when absent
    #[arg(long)]
    pub seconds: Option<u64>,
    /// How long to wait for other load to fall before measuring, in seconds
    #[arg(long, default_value_t = 20)]
    pub load_wait: u64,
    /// Print the whole report as JSON
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn main(action: CommandAction, child_command: Vec<OsString>) -> Result<(), String> {
    let text = match action {
        CommandAction::Check(args) => check(&args)?,
        CommandAction::Run(args) => run(&args, child_command)?,
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.to_string())
}

fn rule(path: &Path) -> Result<Rule, String> {
    Rule::parse(&read(path)?, &path.display().to_string()).map_err(|problems| seatrial_core::suite::render(&problems))
}

fn check(args: &CheckArgs) -> Result<String, String> {
    let rule = rule(&args.rules)?;
    let given = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
    let (stdout, stderr, viewer) = (given(&args.stdout)?, given(&args.stderr)?, given(&args.viewer)?);
    if stdout.is_none() && stderr.is_none() && viewer.is_none() && args.file.is_empty() {
        let accelerators: Vec<&str> = rule.accelerators().map(Accelerator::as_str).collect();
        return Ok(format!("{}: sound; reads runs on {}\n", args.rules.display(), accelerators.join(", ")));
    }
    let mut files: BTreeMap<String, Reading<String>> =
        rule.files.iter().map(|name| (name.clone(), Reading::absent("no file was given for it"))).collect();
    for path in &args.file {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, Reading::Present(read(path)?));
    }
    let left = Left {
        exit: Exit::Code(args.exit),
        stdout: stdout.unwrap_or_default(),
        stderr: stderr.unwrap_or_default(),
        viewer: Reading::from_option(viewer, "no output of a viewer was given"),
        files,
    };
    let reading = rule.read(args.accelerator.into(), &left);
    let told = reading.told.iter().map(|figure| (figure.name.as_str(), figure.value.clone(), figure.unit.to_string()));
    let samples = reading.samples_ns.map(|samples| samples.len() as u64);
    let mut lines = vec![
        ("version".to_owned(), shown(&reading.version)),
        ("ran on".to_owned(), shown(&reading.accelerator)),
        ("delegated".to_owned(), shown(&reading.delegated.map(|(on, of)| format!("{on} of {of}")))),
        ("threads".to_owned(), shown(&reading.threads)),
        ("samples".to_owned(), shown(&samples)),
    ];
    lines.extend(told.map(|(name, value, unit)| (name.to_owned(), with_unit(&value, &unit))));
    lines.extend(reading.fallback.map(|why| ("fallback".to_owned(), why)));
    lines.extend(reading.failure.map(|failure| (format!("failure, {:?}", failure.claim), failure.message)));
    Ok(table(&lines))
}

fn run(args: &RunArgs, child_command: Vec<OsString>) -> Result<String, String> {
    let rule = rule(&args.rules)?;
    let mut files = BTreeMap::new();
    let package = package(args, &rule, &mut files)?;
    let mut entries = vec![entry("model", &args.model, &mut files)?];
    for file in &args.file {
        let (role, path) = file.split_once('=').ok_or_else(|| format!("{file:?} is not ROLE=PATH"))?;
        entries.push(entry(role, Path::new(path), &mut files)?);
    }
    let mut profile = MeasurementProfile::of(ProfileKind::Quick);
    profile.stop.min_samples = args.runs.unwrap_or(profile.stop.min_samples);
    profile.stop.min_time = args.seconds.map_or(profile.stop.min_time, Duration::from_secs);
    let spec = JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: "local".to_owned(),
            version: 1,
            variant: "local".to_owned(),
            format: *rule.formats.first().ok_or("the rule file names no format")?,
            precision: Precision::Fp32,
            manifest: Manifest { entries },
            signature: Signature { inputs: inputs(&args.shape)?, outputs: Vec::new(), precision_from: None },
        },
        binding: Binding::default(),
        dataset: None,
        package: Some(package),
        backend: Backend {
            runtime: rule.name.clone(),
            track: None,
            accelerator: args.accelerator.into(),
            provider: None,
            threads: args.threads,
            affinity: Affinity::Any,
            precision: None,
        },
        profile,
        limits: Limits::default(),
        seed: 1,
    };
    let preflight = Preflight { load_wait: Duration::from_secs(args.load_wait), ..Preflight::default() };
    let options = Options { preflight, ..Options::new(child_command) };
    let report = local::run(spec, &files, &options, &mut |_, _| {}).map_err(|error| error.to_string())?;
    if args.json {
        return serde_json::to_string_pretty(&report).map(|text| text + "\n").map_err(|error| error.to_string());
    }
    Ok(told(&report))
}

/// The program with its rules, its viewer and the libraries beside it, as a job would bring them.
fn package(args: &RunArgs, rule: &Rule, files: &mut BTreeMap<Digest, PathBuf>) -> Result<RuntimePackage, String> {
    let folder = args.program.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut entries = vec![entry(PROGRAM_ROLE, &args.program, files)?, entry(RULES_ROLE, &args.rules, files)?];
    if let Some(viewer) = &args.viewer {
        entries.push(entry(VIEWER_ROLE, &folder.join(viewer), files)?);
    }
    for beside in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = beside.map_err(|error| error.to_string())?.path();
        let is_library = path.file_name().and_then(OsStr::to_str).is_some_and(is_library);
        if is_library && path.is_file() && path != args.program {
            entries.push(entry("library", &path, files)?);
        }
    }
    Ok(RuntimePackage {
        runtime: rule.name.clone(),
        kind: PackageKind::Command,
        version: "local".to_owned(),
        abi: crate::abi().parse().ok(),
        accelerators: rule.accelerators().collect(),
        formats: rule.formats.clone(),
        manifest: Manifest { entries },
    })
}

fn entry(role: &str, path: &Path, files: &mut BTreeMap<Digest, PathBuf>) -> Result<ManifestEntry, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let digest = Digest::of(&bytes);
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.insert(digest, path.to_owned());
    Ok(ManifestEntry { role: role.to_owned(), digest, size: bytes.len() as u64, file_name })
}

/// `1,3,224,224`: inputs of f32, named by their number.
fn inputs(shapes: &[String]) -> Result<Vec<TensorSpec>, String> {
    let axes = |text: &String| -> Result<Vec<Axis>, String> {
        let axes = text.split(',').map(|axis| axis.trim().parse().map(Axis::Fixed));
        axes.collect::<Result<_, _>>().map_err(|_| format!("{text:?} is no shape, as in 1,3,224,224"))
    };
    let named = |(index, text)| Ok(TensorSpec { name: format!("input{index}"), dtype: DType::F32, shape: axes(text)? });
    shapes.iter().enumerate().map(named).collect()
}

fn told(report: &Report) -> String {
    let mut lines = vec![("outcome".to_owned(), report.outcome.to_string())];
    lines.extend(report.message.clone().map(|message| ("why".to_owned(), message)));
    lines.push(("ran on".to_owned(), shown(&report.actual.accelerator)));
    lines.push((
        "delegated".to_owned(),
        shown(&report.actual.delegated.clone().map(|(on, of)| format!("{on} of {of}"))),
    ));
    let samples = report.blocks.iter().map(|block| u64::from(block.count)).sum::<u64>();
    lines.push(("samples".to_owned(), samples.to_string()));
    for program in report.processes.iter().filter_map(|process| process.program.as_ref()) {
        lines.push(("program".to_owned(), program.title()));
        lines.push(("ran for".to_owned(), format!("{:.0} ms by our clock", program.wall_ms)));
        lines.extend(program.told.iter().map(|told| (told.name.clone(), with_unit(&told.value, &told.unit))));
    }
    if report.processes.iter().all(|process| process.program.is_none()) {
        lines.push(("log".to_owned(), report.log.clone()));
    }
    table(&lines)
}

fn shown<T: std::fmt::Display>(reading: &Reading<T>) -> String {
    match reading {
        Reading::Present(value) => value.to_string(),
        Reading::Absent(why) => format!("– absent: {why}"),
    }
}

fn with_unit(value: &Reading<f64>, unit: &str) -> String {
    shown(&value.clone().map(|value| if unit == "1" { value.to_string() } else { format!("{value} {unit}") }))
}

fn table(lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect();
    lines.concat()
}
