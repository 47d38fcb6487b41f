//! What each command does. A file a command.

pub(crate) mod agent;
mod agents;
mod artifacts;
mod audit;
mod canary;
mod cancel;
mod completions;
mod datasets;
pub(crate) mod demo;
mod devices;
mod export;
mod follow;
mod golden;
mod local_job;
mod login;
mod models;
mod quarantines;
mod rerun;
mod reservations;
mod results;
mod run;
mod runs;
mod runtimes;
pub(crate) mod serve;
mod suite;
mod token;
mod try_model;
mod watch;

use std::future::Future;
use std::path::PathBuf;

use crate::args::{Cli, Command, Format, Global, OutputArgs};
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::{Colour, Output};
use crate::settings::Settings;

/// What every command is given.
pub(crate) struct Context {
    global: Global,
    format: Option<Format>,
    colour: Colour,
}

impl Context {
    /// How to print: what stands at the command wins over what stands before it.
    fn output(&self, own: OutputArgs) -> Output {
        Output { format: own.format.or(self.format).unwrap_or(Format::Table), colour: self.colour }
    }

    async fn connect(&self) -> Result<Client> {
        Client::connect(&Settings::load(&self.global)?).await
    }
}

pub(crate) fn run(cli: Cli) -> Result<Exit> {
    let Cli { global, format, command } = cli;
    let colour = Colour::decide(global.color);
    let context = Context { global, format, colour };
    let has_own_logs = matches!(command, Command::Serve(_) | Command::Demo(_));
    if !has_own_logs {
        crate::telemetry::start(context.global.verbose);
    }
    block_on(dispatch(command, context))
}

async fn dispatch(command: Command, context: Context) -> Result<Exit> {
    match command {
        Command::Try(args) => try_model::run(args, &context).await,
        Command::Devices { output, selector, action } => devices::run(action, selector, output, &context).await,
        Command::Reserve(args) => reservations::reserve(args, &context).await,
        Command::Reservations { output } => reservations::list(output, &context).await,
        Command::Unreserve { reservation } => reservations::end(reservation, &context).await,
        Command::Agents(action) => agents::run(action, &context).await,
        Command::Models(action) => models::run(action, &context).await,
        Command::Datasets(action) => datasets::run(action, &context).await,
        Command::Runtimes(action) => runtimes::run(action, &context).await,
        Command::Suite(action) => suite::run(action, &context),
        Command::Run(args) => run::run(args, &context).await,
        Command::Runs { output, limit } => runs::run(limit, output, &context).await,
        Command::Watch { run, output } => watch::run(run, output, &context).await,
        Command::Cancel { run } => cancel::run(run, &context).await,
        Command::Results { what, output } => results::run(what, output, &context).await,
        Command::Rerun { job, wait, output } => rerun::run(job, wait, output, &context).await,
        Command::Export(args) => export::run(args, &context).await,
        Command::Quarantines { output, all, action } => quarantines::run(action, all, output, &context).await,
        Command::Token(action) => token::run(action, &context).await,
        Command::Audit { output, limit, before } => audit::run(limit, before, output, &context).await,
        Command::Login { address, forget } => login::run(&address, forget, &context).await,
        Command::Artifacts(action) => artifacts::run(action, &context).await,
        Command::Completions { shell } => completions::run(shell),
        Command::Serve(args) => serve::run(*args, &context).await,
        Command::Demo(args) => demo::run(args, &context).await,
        Command::Agent { .. } | Command::DemoAgent { .. } | Command::DemoPhone { .. } => {
            Err(CliError::plain("the word `agent` comes first").with_hint("seatrial agent run --help"))
        }
    }
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed("start the threads of this process", error))?;
    let outcome = runtime.block_on(work);
    // A thread that reads from a terminal never returns: do not wait for it.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}

/// The program that this is, for starting itself again.
fn own_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|error| CliError::failed("find the path of this program", error))
}

/// A file that a person wrote, with a bound on its size.
fn read_text(path: &std::path::Path) -> Result<String> {
    const MAX_BYTES: u64 = 4 << 20;
    let read = || -> std::io::Result<String> {
        let file = fs_err::File::open(path)?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_BYTES + 1), &mut text)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(std::io::Error::other(format!("larger than {MAX_BYTES} bytes")));
        }
        Ok(text)
    };
    read().map_err(|source| CliError::Read { path: path.to_owned(), source })
}
