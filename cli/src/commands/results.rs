//! `seatrial results`: a run as a table, or one job with everything that is known of it.

use seatrial_core::report::Report;
use seatrial_proto::v1;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Context, follow};
use crate::args::OutputArgs;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::{self, Output, json};

pub(super) async fn run(what: String, output: OutputArgs, context: &Context) -> Result<Exit> {
    let output = context.output(output);
    let subject = Subject::parse(&what)?;
    let client = context.connect().await?;
    match subject {
        Subject::Run(run) => show_run(&get_run(&client, &run).await?, output)?,
        Subject::Job(job) => show_job(&get_job(&client, &job).await?, output)?,
        Subject::Either(id) => match get_run(&client, &id).await {
            Ok(run) => show_run(&run, output)?,
            Err(CliError::NotFound { .. }) => show_job(&get_job(&client, &id).await?, output)?,
            Err(other) => return Err(other),
        },
    }
    Ok(Exit::Ok)
}

/// What a person may mean.
#[derive(Debug, PartialEq, Eq)]
enum Subject {
    Run(String),
    Job(String),
    /// A full id does not tell which of the two it is.
    Either(String),
}

impl Subject {
    fn parse(text: &str) -> Result<Self> {
        let number = text.strip_prefix('#').unwrap_or(text);
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Run(number.to_owned()));
        }
        if Uuid::try_parse(text).is_ok() {
            return Ok(Self::Either(text.to_owned()));
        }
        let is_short = matches!(text.split_once('-'), Some((left, right)) if [left, right].iter().all(|half| {
            half.len() == 4 && half.bytes().all(|byte| byte.is_ascii_hexdigit())
        }));
        if is_short {
            return Ok(Self::Job(text.to_ascii_lowercase()));
        }
        Err(CliError::plain(format!("{text:?} names neither a run nor a job"))
            .with_hint("a run has a number (12), a job a short id (7f3a-0c12); `seatrial runs` lists the runs"))
    }
}

pub(super) async fn get_run(client: &Client, run: &str) -> Result<v1::GetRunResponse> {
    let doing = format!("show run {run}");
    let mut whole: Option<v1::GetRunResponse> = None;
    loop {
        let page = whole.as_ref().map(|whole| whole.next_page.clone()).unwrap_or_default();
        let request = Client::request(v1::GetRunRequest { run: run.to_owned(), page });
        let page = client.runs().get(request).await.map_err(client.failed(&doing))?.into_inner();
        let whole = add_page(&mut whole, page);
        if whole.next_page.is_empty() {
            return Ok(std::mem::take(whole));
        }
    }
}

/// Puts a page behind those before it.
pub(super) fn add_page(whole: &mut Option<v1::GetRunResponse>, page: v1::GetRunResponse) -> &mut v1::GetRunResponse {
    match whole {
        None => whole.insert(page),
        Some(whole) => {
            let v1::GetRunResponse { run, jobs, misfits, gate_json: _, next_page } = page;
            (whole.run, whole.next_page) = (run, next_page);
            whole.jobs.extend(jobs);
            whole.misfits.extend(misfits);
            whole
        }
    }
}

pub(super) async fn get_job(client: &Client, job: &str) -> Result<v1::GetJobResponse> {
    let doing = format!("show job {job}");
    let request = Client::request(v1::GetJobRequest { job: job.to_owned() });
    Ok(client.results().get_job(request).await.map_err(client.failed(&doing))?.into_inner())
}

fn show_run(run: &v1::GetRunResponse, output: Output) -> Result<()> {
    if output.is_json() { output::print_json(&json::run(run)) } else { follow::show(run, output) }
}

fn show_job(response: &v1::GetJobResponse, output: Output) -> Result<()> {
    let v1::GetJobResponse { job, spec_json, report_json } = response;
    let job = job.as_ref().ok_or_else(|| CliError::plain("the server answered without the job"))?;
    if output.is_json() {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
        let (spec, report) = (parsed(spec_json), report_json.as_deref().and_then(parsed));
        return output::print_json(&json!({ "job": json::job(job), "spec": spec, "report": report }));
    }
    let report: Option<Report> = report_json.as_deref().and_then(|text| serde_json::from_str(text).ok());
    output::print_text(&output::job::facts(job, report.as_ref()))?;
    if !job.metrics.is_empty() {
        output::print_text("")?;
        output.table(output::job::metrics(job))?;
    }
    if let Some(report) = &report {
        output::print_text("")?;
        output.table(output::job::stages(report))?;
        let log = report.log.trim();
        if !log.is_empty() && job.outcome.as_deref() != Some("ok") {
            output::print_text(&format!("\nlast output of the child:\n{log}"))?;
        }
    }
    output::note(&format!("\nhint: `seatrial rerun {} --wait` runs it again", job.short));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_numbers_jobs_have_short_ids_and_anything_else_is_refused() {
        assert_eq!(Subject::parse("12").unwrap(), Subject::Run("12".to_owned()));
        assert_eq!(Subject::parse("#12").unwrap(), Subject::Run("12".to_owned()));
        assert_eq!(Subject::parse("7F3A-0c12").unwrap(), Subject::Job("7f3a-0c12".to_owned()));
        let id = "0199f0c2-5b1e-7cc3-98c4-dc0c0c07398f";
        assert_eq!(Subject::parse(id).unwrap(), Subject::Either(id.to_owned()));
        for wrong in ["", "#", "latest", "7f3a0c12", "7f3a-0c1g", "1-2"] {
            assert!(Subject::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
