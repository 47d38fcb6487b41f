//! `seatrial export`: the results of a run as a file, made by the server.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Context, results};
use crate::args::{ExportArgs, ExportFormat};
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(args: ExportArgs, context: &Context) -> Result<Exit> {
    let ExportArgs { run, format, predictions, answers, outputs, output: target } = args;
    let what = match (predictions, answers, outputs) {
        (false, false, false) => "export",
        (true, _, _) => "predictions",
        (false, true, _) => "answers",
        (false, false, true) => "outputs",
    };
    if what != "export" && matches!(format, ExportFormat::Json | ExportFormat::Junit) {
        return Err(CliError::plain(format!("{what} are written as csv or parquet"))
            .with_hint(format!("seatrial export {run} --{what} --format csv")));
    }
    if format == ExportFormat::Parquet && target.is_none() && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        return Err(CliError::plain("a Parquet file is not for a terminal").with_hint("name a file with --output FILE"));
    }
    let client = context.connect().await?;
    // The number or id is a person's: let the server say which run it is before it stands in an address.
    let found = results::get_run(&client, &run).await?;
    let number =
        found.run.map(|run| run.number).ok_or_else(|| CliError::plain("the server answered without the run"))?;
    let doing = format!("export run {number}");
    let response = client.get(&format!("/runs/{number}/{what}.{}", ending(format)), &doing).await?;
    match target {
        Some(path) => {
            let written = to_file(response, &path, &doing).await?;
            output::note(&format!("{} ({})", path.display(), seatrial_dashboards::format::file_size(written)));
        }
        None => {
            copy(response, &mut tokio::io::stdout(), &doing, CliError::Output).await?;
        }
    }
    Ok(Exit::Ok)
}

const fn ending(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Csv => "csv",
        ExportFormat::Json => "json",
        ExportFormat::Parquet => "parquet",
        ExportFormat::Junit => "xml",
    }
}

/// Never over a file that is there, and never half: a file that could not be finished is removed.
pub(super) async fn to_file(response: reqwest::Response, path: &Path, doing: &str) -> Result<u64> {
    let failed = |error: std::io::Error| CliError::failed(format!("write {}", path.display()), error);
    let mut options = fs_err::tokio::OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(path).await.map_err(failed)?;
    let outcome = copy(response, &mut file, doing, failed).await;
    if outcome.is_err() {
        remove_partial(path.to_owned()).await;
    }
    outcome
}

pub(super) async fn remove_partial(path: PathBuf) {
    if let Err(error) = fs_err::tokio::remove_file(&path).await {
        output::note(&format!("{} is not complete and could not be removed: {error}", path.display()));
    }
}

async fn copy(
    mut response: reqwest::Response,
    target: &mut (impl AsyncWrite + Unpin),
    doing: &str,
    failed: impl Fn(std::io::Error) -> CliError,
) -> Result<u64> {
    let mut written = 0;
    while let Some(chunk) = response.chunk().await.map_err(|error| CliError::failed(doing, error))? {
        target.write_all(&chunk).await.map_err(&failed)?;
        written += chunk.len() as u64;
    }
    target.flush().await.map_err(&failed)?;
    Ok(written)
}
