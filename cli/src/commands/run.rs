//! `seatrial run`: submits a suite, and with `--wait` stays until there is a verdict.

use std::time::Duration;

use seatrial_core::suite::Problem;
use seatrial_proto::v1;
use serde_json::json;
use tonic::Status;
use uuid::Uuid;

use super::{Context, follow, read_text};
use crate::args::RunArgs;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::{self, Output, json};

/// A server that has just lost a connection needs a moment.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

pub(super) async fn run(args: RunArgs, context: &Context) -> Result<Exit> {
    let RunArgs { suite, wait, dry_run, priority, reservation, output } = args;
    let output = context.output(output);
    let suite_toml = read_text(&suite)?;
    let file_name = suite.display().to_string();
    let client = context.connect().await?;
    let preview = preview(&client, &suite_toml, &file_name).await?;
    if dry_run {
        return show_preview(&preview, output);
    }
    let reservation = reservation.unwrap_or_default();
    let request = v1::SubmitRequest { suite_toml, file_name, priority, submission: String::new(), reservation };
    let submitted = submit(&client, request).await?;
    if wait {
        announce(&submitted, &preview);
        let ended = follow::to_the_end(&client, &submitted.run, context.colour).await?;
        return follow::conclude(&ended, output);
    }
    let v1::SubmitResponse { run, number, jobs, misfits } = &submitted;
    if output.is_json() {
        output::print_json(&json!({ "run": run, "number": number, "jobs": jobs, "misfits": misfits }))?;
    } else {
        announce(&submitted, &preview);
        output::note(&format!(
            "\nhint: `seatrial watch {number}` follows it, `seatrial results {number}` shows its results"
        ));
    }
    Ok(Exit::Ok)
}

/// What the suite would do now. Problems in the suite are an error with all their places.
pub(super) async fn preview(client: &Client, suite_toml: &str, file_name: &str) -> Result<v1::PreviewResponse> {
    let doing = format!("check {file_name}");
    let request = v1::PreviewRequest { suite_toml: suite_toml.to_owned(), file_name: file_name.to_owned() };
    let preview = client.runs().preview(Client::request(request)).await.map_err(client.failed(&doing))?.into_inner();
    if preview.problems.is_empty() {
        return Ok(preview);
    }
    let problems = preview.problems.into_iter().map(problem).collect();
    Err(CliError::Problems { file: file_name.to_owned(), problems })
}

/// Submits under a name of its own, so that trying again after a lost answer makes no second run.
pub(super) async fn submit(client: &Client, request: v1::SubmitRequest) -> Result<v1::SubmitResponse> {
    let doing = format!("submit {}", request.file_name);
    let request = v1::SubmitRequest { submission: Uuid::now_v7().to_string(), ..request };
    let answer = at_most_twice(async || client.runs().submit(Client::request(request.clone())).await).await;
    Ok(answer.map_err(client.failed(&doing))?.into_inner())
}

/// Calls again, once, when the first call's answer may only have been lost.
async fn at_most_twice<T>(call: impl AsyncFn() -> std::result::Result<T, Status>) -> std::result::Result<T, Status> {
    match call().await {
        Err(status) if follow::is_passing(&status) => {
            tokio::time::sleep(AGAIN_AFTER).await;
            call().await
        }
        answer => answer,
    }
}

fn problem(problem: v1::Problem) -> Problem {
    let v1::Problem { file, line, column, message, suggestion } = problem;
    Problem { file, line, column, message, suggestion: Some(suggestion).filter(|text| !text.is_empty()) }
}

fn announce(submitted: &v1::SubmitResponse, preview: &v1::PreviewResponse) {
    let v1::SubmitResponse { run: _, number, jobs, misfits } = submitted;
    let misfits = match misfits {
        0 => String::new(),
        1 => ", 1 misfit".to_owned(),
        more => format!(", {more} misfits"),
    };
    output::note(&format!("run {number} ({}): {}{misfits}", preview.name, output::count(*jobs as usize, "job")));
    for misfit in preview.misfits.iter().take(5) {
        let device = misfit.device.as_deref().unwrap_or("any device");
        output::note(&format!(
            "  misfit: {} {} · {} on {device}: {}",
            misfit.model, misfit.variant, misfit.backend, misfit.reason
        ));
    }
    if preview.misfits_total > 5 {
        output::note(&format!("  and {} more misfits", preview.misfits_total - 5));
    }
}

fn show_preview(preview: &v1::PreviewResponse, output: Output) -> Result<Exit> {
    let v1::PreviewResponse { name, jobs, misfits, problems: _, jobs_total, misfits_total } = preview;
    let data = json!({
        "suite": name,
        "jobs": jobs.iter().map(json::preview_job).collect::<Vec<_>>(),
        "misfits": misfits.iter().map(json::misfit).collect::<Vec<_>>(),
        "jobs_total": jobs_total,
        "misfits_total": misfits_total,
    });
    if output.is_json() {
        output::print_json(&data)?;
        return Ok(Exit::Ok);
    }
    output::note(&format!(
        "{name} would run {} now, with {}",
        output::count(*jobs_total as usize, "job"),
        output::count(*misfits_total as usize, "misfit")
    ));
    if jobs.len() < *jobs_total as usize || misfits.len() < *misfits_total as usize {
        output::note("not all of them are listed: they would not fit into one answer");
    }
    if !jobs.is_empty() {
        output.table(output::run::preview(jobs))?;
    }
    if !misfits.is_empty() {
        output::print_text("")?;
        output.table(output::run::misfits(misfits))?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tonic::Code;

    use super::*;

    /// How often is called, and what comes of it, when the calls end so.
    async fn called(answers: &[std::result::Result<i64, Code>]) -> (usize, std::result::Result<i64, Code>) {
        let left = RefCell::new(answers.iter());
        let call = async || left.borrow_mut().next().unwrap().map_err(|code| Status::new(code, ""));
        let answer = at_most_twice(call).await.map_err(|status| status.code());
        (answers.len() - left.borrow().len(), answer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_submission_whose_answer_was_lost_is_made_once_more_and_a_refused_one_is_not() {
        let (lost, refused) = (Err(Code::Unavailable), Err(Code::InvalidArgument));
        assert_eq!(called(&[Ok(1), Ok(2)]).await, (1, Ok(1)));
        assert_eq!(called(&[lost, Ok(2)]).await, (2, Ok(2)));
        assert_eq!(called(&[lost, lost, Ok(3)]).await, (2, lost));
        assert_eq!(called(&[refused, Ok(2)]).await, (1, refused));
    }
}
