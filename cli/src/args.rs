//! The command line as data: every command, option and default. What they do is under `commands`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use seatrial_agent::interpreters::Interpreter;
use seatrial_core::backend::Accelerator;
use seatrial_core::role::Role;
use seatrial_core::runtimes::Abi;

use crate::exit::Exit;

/// Sea trials for models: one server, a fleet of phones and boards, and a verdict you can trust in the morning.
#[derive(Debug, Parser)]
#[command(name = "seatrial", version, after_help = Exit::help(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    /// How to print data
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Address of the server [default: that of `seatrial login`, else http://127.0.0.1:7077]
    #[arg(long, global = true, env = "SEATRIAL_SERVER", value_name = "URL", hide_env_values = true)]
    pub server: Option<String>,
    /// File that holds the token to sign in with
    #[arg(long, global = true, env = "SEATRIAL_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust for https instead of the system's
    #[arg(long, global = true, env = "SEATRIAL_CA", value_name = "FILE", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// Certificate (PEM) to show to a server that asks for one
    #[arg(long, global = true, env = "SEATRIAL_CERTIFICATE", value_name = "FILE", hide_env_values = true)]
    pub certificate: Option<PathBuf>,
    /// Private key (PEM) of that certificate
    #[arg(long, global = true, env = "SEATRIAL_KEY", value_name = "FILE", hide_env_values = true)]
    pub key: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Say more on stderr; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// How to print data [default: table]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Evaluate this machine for real: server, agent, models, labelled data, one suite
    Demo(DemoArgs),
    /// Load and time one model here: outcome and latency, no server, no files left
    Try(TryArgs),
    /// Run the server
    Serve(Box<crate::commands::serve::ServeArgs>),
    /// Run the agent of a device (`seatrial agent --help`)
    #[command(disable_help_flag = true)]
    Agent {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Look after the devices of the fleet
    Devices {
        #[command(flatten)]
        output: OutputArgs,
        /// Only devices for which this CEL expression is true, e.g. 'labels.shelf == "A3"'
        #[arg(long, value_name = "CEL")]
        selector: Option<String>,
        #[command(subcommand)]
        action: Option<DeviceAction>,
    },
    /// Keep devices for the runs that bring the token, which is printed once
    Reserve(ReserveArgs),
    /// List the reservations that have not ended
    Reservations {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Give the devices of a reservation back before its time
    Unreserve {
        /// Id or short id of the reservation
        reservation: String,
    },
    /// Look after the builds of the agent that devices are served
    #[command(subcommand)]
    Agents(AgentsAction),
    /// Register models and look at them
    #[command(subcommand)]
    Models(ModelAction),
    /// Register datasets and look at them
    #[command(subcommand)]
    Datasets(DatasetAction),
    /// Register inference engines and look at them
    #[command(subcommand)]
    Runtimes(RuntimeAction),
    /// Check suite files
    #[command(subcommand)]
    Suite(SuiteAction),
    /// Submit a suite
    Run(RunArgs),
    /// List the runs, newest first
    Runs {
        #[command(flatten)]
        output: OutputArgs,
        /// At most this many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Follow a run to its end, and exit by its gate
    Watch {
        /// Number or id of the run
        run: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Cancel what is left of a run
    Cancel {
        /// Number or id of the run
        run: String,
    },
    /// Show the results of a run or of one job
    Results {
        /// Number or id of a run, or short or full id of a job
        #[arg(value_name = "RUN|JOB")]
        what: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Run one job again: same device, same specification
    Rerun {
        /// Short or full id of the job
        job: String,
        /// Follow the new run to its end, and exit by its outcome
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Write the results of a run to a file or stdout
    Export(ExportArgs),
    /// List what fails together: a device, a backend and a model that is not tried again as it is
    Quarantines {
        #[command(flatten)]
        output: OutputArgs,
        /// Those that were lifted, too
        #[arg(long)]
        all: bool,
        #[command(subcommand)]
        action: Option<QuarantineAction>,
    },
    /// Issue and revoke tokens
    #[command(subcommand)]
    Token(TokenAction),
    /// Show who wrote what, newest first
    Audit {
        #[command(flatten)]
        output: OutputArgs,
        /// At most this many
        #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Only what is older than the entry with this id
        #[arg(long, value_name = "ID")]
        before: Option<String>,
    },
    /// Remember a server and the token for it
    Login {
        /// Address of the server
        #[arg(value_name = "URL")]
        address: String,
        /// Forget the server and its token instead
        #[arg(long)]
        forget: bool,
    },
    /// Look after stored files
    #[command(subcommand)]
    Artifacts(ArtifactAction),
    /// Print a completion script for a shell
    Completions { shell: Shell },
    /// (internal) the daemon of a simulated phone
    #[command(hide = true, name = crate::commands::demo::PHONE, disable_help_flag = true)]
    DemoPhone {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// (internal) the agent of a demo: an agent that ends with its parent
    #[command(hide = true, name = crate::commands::agent::DEMO_AGENT, disable_help_flag = true)]
    DemoAgent {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// So many simulated phones of different brands in the place of this machine: 1 to 12 (docs/simulated-phone.md)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=12))]
    pub phones: Option<u8>,
    /// Do not measure what an inference costs each phone's battery, which takes some minutes a phone
    #[arg(long, requires = "phones")]
    pub without_energy: bool,
    /// Exit after the result table instead of leaving the pages open
    #[arg(long)]
    pub once: bool,
    /// Keep the demo's database and files, and print where they are
    #[arg(long)]
    pub keep: bool,
    /// Folder for the demo's database and files [default: a scratch folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Port for the pages [default: a free one]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub port: u16,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    #[command(flatten)]
    pub model: LocalModelArgs,
    /// Dataset package that it is judged on too [default: generated inputs, and nothing but speed and memory]
    #[arg(long, value_name = "PACKAGE")]
    pub dataset: Option<PathBuf>,
    /// How long to time it
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub time: Duration,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A model of this machine and what runs it.
#[derive(Debug, Args)]
pub(crate) struct LocalModelArgs {
    /// The model, followed by its external data files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What runs it: a wheel, AAR, library or described runner [default: tract, which is built in]
    #[arg(long, value_name = "PACKAGE")]
    pub runtime: Option<PathBuf>,
    /// What runs a runner that is a script, as in python3=/usr/bin/python3; repeated, or separated by commas
    #[arg(long = "interpreter", env = "SEATRIAL_INTERPRETERS", value_name = "NAME=PATH", value_delimiter = ',')]
    pub interpreters: Vec<Interpreter>,
    /// cpu, gpu or npu
    #[arg(long, default_value = "cpu", value_parser = str::parse::<Accelerator>)]
    pub accelerator: Accelerator,
    /// Inference threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Sizes of named axes, e.g. batch=1
    #[arg(long = "axis", value_name = "NAME=SIZE", value_parser = axis)]
    pub axes: Vec<(String, u64)>,
    /// Binding (TOML) that says how inputs are made
    #[arg(long, value_name = "FILE")]
    pub binding: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceAction {
    /// List the devices (the default)
    List,
    /// Set labels (`shelf=A3`) and remove them (`shelf-`)
    Label {
        /// Name or id
        device: String,
        #[arg(required = true, value_name = "KEY=VALUE|KEY-", value_parser = label_change)]
        changes: Vec<LabelChange>,
    },
    /// Give a device another name
    Rename {
        /// Name or id
        device: String,
        name: String,
    },
    /// Keep a device from jobs while it is in your hands
    Hold(WithdrawFor),
    /// Take a device out of the fleet because it is sick
    Quarantine(WithdrawFor),
    /// Take a device out of the fleet while a person works on it
    Maintenance(Withdraw),
    /// Put a device back to work
    Release {
        /// Name or id
        device: String,
    },
    /// Take a device out of the fleet for good; its results stay
    Retire(Withdraw),
    /// Let a device show itself to whoever stands before it: its screen, vibration, or what its agent was given for that
    FindMe {
        /// Name or id
        device: String,
    },
    /// Show what a device's health checks found, newest first
    Canary {
        /// Name or id
        device: String,
        /// Check it now, or as soon as it has ended what it does, and show what that finds
        #[arg(long)]
        now: bool,
        /// At most this many
        #[arg(long, short = 'n', default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
        limit: u32,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show what was decided of a device, by whom and why, newest first
    History {
        /// Name or id
        device: String,
        /// At most this many
        #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Withdraw {
    /// Name or id
    pub device: String,
    /// Why, for those who find it so
    #[arg(long, default_value = "by hand")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct WithdrawFor {
    /// Name or id
    pub device: String,
    /// Why, for those who find it so
    #[arg(long)]
    pub reason: Option<String>,
    /// For how long, e.g. 2h [default: until it is released]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub length: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct ReserveArgs {
    /// Devices for which this CEL expression is true, e.g. 'labels.shelf == "A3"' [default: any]
    #[arg(long, value_name = "CEL")]
    pub selector: Option<String>,
    /// So many of them [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub devices: Option<u32>,
    /// For how long; 14 days at most
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub length: Duration,
    /// What for, for those who wait
    #[arg(long)]
    pub reason: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelChange {
    Set { key: String, value: String },
    Remove { key: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsAction {
    /// Serve an agent to the devices that it was built for, from now on
    Add {
        /// A `seatrial-agent`; its own headers say for which devices it is
        file: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the agents, of each ABI the one that is served first
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Fetch the agent that devices of an ABI are served
    Get {
        /// As `seatrial-agent probe` says it on the device, e.g. aarch64-linux-gnu
        #[arg(long)]
        abi: Abi,
        /// File to write to; must not exist
        #[arg(long, short, value_name = "FILE", default_value = "seatrial-agent")]
        output: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineAction {
    /// Let further jobs of it run again
    Lift {
        /// Short or full id
        quarantine: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelAction {
    /// Register a new version of a model: uploads its files and moves the alias `latest`
    Add(Box<ModelAddArgs>),
    /// List the models
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a model's versions, variants and aliases
    Show {
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Point an alias at a version
    Alias {
        name: String,
        alias: String,
        /// Number of the version
        version: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ModelAddArgs {
    pub name: String,
    /// Model files, each a variant, each followed by its external data files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Name and precision of a variant, in the order of the model files: name=int8,precision=int8
    #[arg(long = "variant", value_name = "KEY=VALUE,…", value_parser = variant_option)]
    pub variants: Vec<VariantOption>,
    /// Binding (TOML): how inputs are made, for the dataset that it names or for any
    #[arg(long = "binding", value_name = "FILE")]
    pub bindings: Vec<PathBuf>,
    /// Number of the version that this one was made from
    #[arg(long)]
    pub parent: Option<u32>,
    /// Commit that it was built from
    #[arg(long)]
    pub commit: Option<String>,
    /// Address of the build that made it
    #[arg(long, value_name = "URL")]
    pub build: Option<String>,
    /// Label of the version
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label_change)]
    pub labels: Vec<LabelChange>,
    /// Where the model comes from
    #[arg(long)]
    pub origin: Option<String>,
    /// Licence of the model
    #[arg(long)]
    pub license: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What a `--variant` says of one model file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct VariantOption {
    pub name: Option<String>,
    pub precision: Option<seatrial_core::model::Precision>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetAction {
    /// Register a new version of a dataset: a folder or zip with `dataset.toml`
    Add {
        /// Folder or zip
        #[arg(value_name = "PACKAGE")]
        package: PathBuf,
        /// Name [default: as the package says]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a package whose reference outputs are those of a chosen backend on this machine
    Golden(Box<GoldenArgs>),
    /// List the datasets
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GoldenArgs {
    /// Dataset whose inputs are used: folder or zip
    #[arg(long = "dataset", value_name = "PACKAGE")]
    pub package: PathBuf,
    #[command(flatten)]
    pub model: LocalModelArgs,
    /// Name of the new dataset [default: that of the other with "-golden"]
    #[arg(long)]
    pub name: Option<String>,
    /// Folder that is made
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeAction {
    /// Register what a wheel, AAR, npm tarball, zip, tar.gz or shared library holds, a described runner, or a benchmark
    /// program with its rule file, at the head of a track
    Add {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The line of versions that they enter; a backend names it by `track`
        #[arg(long, default_value = seatrial_core::placement::DEFAULT_TRACK)]
        track: String,
        /// Version, where nothing in the file tells it
        #[arg(long)]
        version: Option<String>,
        /// The files are benchmark programs, or hold one: the rule file by which it is called and read
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
        /// File name of the program in an archive or a folder [default: the name in the rule file]
        #[arg(long, value_name = "NAME", requires = "rules")]
        program: Option<String>,
        /// File name of the second program, which shows what the first has written
        #[arg(long, value_name = "NAME", requires = "rules")]
        viewer: Option<String>,
        /// Say what the files hold, and register nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the tracks and their packages
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SuiteAction {
    /// Check suite files without a server: every problem with file, line and what would be right
    Check {
        #[arg(required = true, value_name = "SUITE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print the JSON schema of suite files
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The suite (TOML)
    pub suite: PathBuf,
    /// Follow the run to its end with progress on stderr, print the results, and exit by the gate
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Only say which jobs and misfits it would make
    #[arg(long)]
    pub dry_run: bool,
    /// Jobs of higher priority go first
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// Token of a reservation, whose devices the run may use
    #[arg(long, env = "SEATRIAL_RESERVATION", value_name = "TOKEN", hide_env_values = true)]
    pub reservation: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Number or id of the run
    pub run: String,
    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "csv")]
    pub format: ExportFormat,
    /// Each example's label and first five classes instead, as CSV or Parquet
    #[arg(long, conflicts_with_all = ["outputs", "answers"])]
    pub predictions: bool,
    /// Truth and answers of other tasks instead: boxes, pixels, texts, classes, items or numbers, as CSV or Parquet
    #[arg(long, conflicts_with = "outputs")]
    pub answers: bool,
    /// Each value of the outputs that were compared with references instead, as CSV or Parquet
    #[arg(long)]
    pub outputs: bool,
    /// File to write to; must not exist [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Csv,
    Json,
    Parquet,
    Junit,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Issue a token; it is printed once
    Create {
        /// Name of the person or program
        name: String,
        /// viewer, submitter, operator or admin
        #[arg(long, default_value = "submitter")]
        role: Role,
        /// How long it is valid, e.g. 90d [default: until revoked]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        valid: Option<Duration>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the tokens, never their secrets
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Revoke a token at once
    Revoke {
        /// Id of the token
        id: String,
    },
    /// Issue a one-time token with which a device joins
    Enrol {
        /// How long it can be used
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
        valid: Duration,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactAction {
    /// Delete stored files that nothing holds any more
    Gc {
        /// Only count
        #[arg(long)]
        dry_run: bool,
        /// Keep what is younger: its owner may be on the way
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
        min_age: Duration,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// `90s`, `15m`, `2h`, `30d`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_per_unit = match &text[digits.len()..] {
        "s" | "" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("expected a time such as 90s, 15m, 2h or 30d".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a time such as 90s, 15m, 2h or 30d".to_owned())?;
    number.checked_mul(seconds_per_unit).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

fn axis(text: &str) -> Result<(String, u64), String> {
    let (name, size) = text.split_once('=').ok_or("expected NAME=SIZE, e.g. batch=1")?;
    let size = size.parse().ok().filter(|&size| size > 0).ok_or("the size must be a whole number above 0")?;
    Ok((name.to_owned(), size))
}

fn label_change(text: &str) -> Result<LabelChange, String> {
    if let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) {
        return Ok(LabelChange::Set { key: key.to_owned(), value: value.to_owned() });
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() => Ok(LabelChange::Remove { key: key.to_owned() }),
        Some(_) | None => Err("expected KEY=VALUE to set a label, or KEY- to remove it".to_owned()),
    }
}

fn variant_option(text: &str) -> Result<VariantOption, String> {
    let mut option = VariantOption::default();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("name", name)) if !name.is_empty() => option.name = Some(name.to_owned()),
            Some(("precision", precision)) => option.precision = Some(precision.parse()?),
            Some(_) | None => return Err(format!("{part:?} is not name=… or precision=…")),
        }
    }
    Ok(option)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use seatrial_core::model::Precision;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_unit_and_nothing_else() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(duration("30d"), Ok(Duration::from_hours(720)));
        for wrong in ["", "s", "1y", "-1s", "1.5h", "99999999999999999999d", "18446744073709551615d"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_label_is_set_with_equals_and_removed_with_a_dash() {
        let set = LabelChange::Set { key: "shelf".to_owned(), value: "A-".to_owned() };
        assert_eq!(label_change("shelf=A-"), Ok(set));
        assert_eq!(label_change("shelf-"), Ok(LabelChange::Remove { key: "shelf".to_owned() }));
        for wrong in ["", "-", "shelf", "=A3"] {
            assert!(label_change(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_variant_option_refuses_what_it_does_not_know() {
        let expected = VariantOption { name: Some("q8".to_owned()), precision: Some(Precision::Int8) };
        assert_eq!(variant_option("name=q8,precision=int8"), Ok(expected));
        for wrong in ["", "name=", "precision=int7", "nam=q8", "q8"] {
            assert!(variant_option(wrong).is_err(), "{wrong:?}");
        }
    }
}
