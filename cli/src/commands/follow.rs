//! Follows a run to its end through lost connections and restarts of the server, then gives the verdict.

use std::time::{Duration, Instant};

use seatrial_core::gate::Judgement;
use seatrial_core::retry::Backoff;
use seatrial_proto::v1::{self, run_event::Event};
use tonic::{Code, Status};

use super::results::add_page;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::progress::Progress;
use crate::output::run::Ids;
use crate::output::watching::Watching;
use crate::output::{self, Colour, Output, json};

/// A server that is away is waited for: a run outlives its restart.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(15) };
const PATIENCE: Duration = Duration::from_mins(10);
/// Estimates count down between events.
const REDRAW: Duration = Duration::from_secs(1);
/// Findings of a gate that are worth a line each.
const FINDINGS_SHOWN: usize = 20;

/// Shows progress on stderr until the run has ended. Ctrl-C ends the watching, not the run.
pub(super) async fn to_the_end(client: &Client, run: &str, colour: Colour) -> Result<v1::GetRunResponse> {
    tokio::select! {
        ended = progress(client, run, colour) => ended,
        signal = interrupted() => {
            let commands = format!("`seatrial watch {run}` follows it, `seatrial cancel {run}` ends it");
            output::note(&format!("the run goes on\n\nhint: {commands}"));
            Err(signal)
        }
    }
}

/// The same, for a caller that looks after signals itself.
pub(super) async fn progress(client: &Client, run: &str, colour: Colour) -> Result<v1::GetRunResponse> {
    Follower::new(colour).follow(client, run).await
}

/// Resolves on Ctrl-C or SIGTERM.
pub(super) async fn interrupted() -> CliError {
    use tokio::signal::unix::{SignalKind, signal};
    let doing = "listen for signals";
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => return CliError::failed(doing, error),
    };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => match pressed {
            Ok(()) => CliError::Interrupted,
            Err(error) => CliError::failed(doing, error),
        },
        _ = terminate.recv() => CliError::Interrupted,
    }
}

struct Follower {
    progress: Progress,
    watching: Watching,
    started: Instant,
    /// Pages of the run that has ended, until all are here.
    ended: Option<v1::GetRunResponse>,
    /// Tries since the server was last heard, and when that was.
    tries: u32,
    heard: Instant,
}

impl Follower {
    fn new(colour: Colour) -> Self {
        let now = Instant::now();
        Self {
            progress: Progress::default(),
            watching: Watching::start(colour),
            started: now,
            ended: None,
            tries: 0,
            heard: now,
        }
    }

    async fn follow(&mut self, client: &Client, run: &str) -> Result<v1::GetRunResponse> {
        let doing = format!("follow run {run}");
        loop {
            match self.watch(client, run).await {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => {}
                Err(status) if is_passing(&status) => {
                    if self.heard.elapsed() > PATIENCE {
                        return Err(CliError::from_status(doing, client.address(), &status));
                    }
                    if self.tries == 2 {
                        self.watching.say(&format!("the server at {} does not answer; trying again", client.address()));
                    }
                }
                Err(status) => return Err(CliError::from_status(doing, client.address(), &status)),
            }
            tokio::time::sleep(BACKOFF.delay(self.tries, jitter())).await;
            self.tries += 1;
        }
    }

    /// One stream of events: to the end of the run, or to the end of the stream.
    async fn watch(&mut self, client: &Client, run: &str) -> std::result::Result<Option<v1::GetRunResponse>, Status> {
        self.ended = None; // pages of a stream that broke are told again
        let mut events = client.runs().watch(v1::WatchRequest { run: run.to_owned() }).await?.into_inner();
        let mut redraw = tokio::time::interval(REDRAW);
        redraw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.message() => match event? {
                    Some(event) => {
                        if let Some(ended) = self.take(event) {
                            return Ok(Some(ended));
                        }
                    }
                    None => return Ok(None),
                },
                _ = redraw.tick() => {}
            }
            self.watching.draw(&self.progress, self.started.elapsed());
        }
    }

    fn take(&mut self, event: v1::RunEvent) -> Option<v1::GetRunResponse> {
        if self.tries > 2 {
            self.watching.say("the server answers again");
        }
        (self.tries, self.heard) = (0, Instant::now());
        match event.event? {
            Event::Snapshot(snapshot) => {
                self.progress.run = snapshot.run;
                self.take_jobs(snapshot.jobs);
                None
            }
            Event::Job(job) => {
                self.take_jobs(vec![job]);
                None
            }
            Event::Ended(page) => {
                self.progress.run.clone_from(&page.run);
                self.take_jobs(page.jobs.clone());
                let is_last = page.next_page.is_empty();
                add_page(&mut self.ended, page);
                if is_last { self.ended.take() } else { None }
            }
        }
    }

    fn take_jobs(&mut self, jobs: Vec<v1::Job>) {
        let now = self.started.elapsed();
        let ended: Vec<v1::Job> = jobs.into_iter().filter_map(|job| self.progress.apply(job, now)).collect();
        for job in &ended {
            self.watching.ended(job, &self.progress, now);
        }
    }
}

/// Whether the same call may succeed later.
pub(super) fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Aborted | Code::Unknown | Code::Internal => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// Processes that lost the same server come back one after the other.
fn jitter() -> f64 {
    f64::from(std::process::id() % 101) / 100.0
}

/// Prints the results and exits by the verdict.
pub(super) fn conclude(ended: &v1::GetRunResponse, output: Output) -> Result<Exit> {
    if output.is_json() {
        output::print_json(&json::run(ended))?;
    } else {
        show(ended, output)?;
    }
    Ok(verdict(ended))
}

/// The results of a run as tables, with its sentence and its gate on stderr.
pub(super) fn show(run: &v1::GetRunResponse, output: Output) -> Result<()> {
    if let Some(summary) = &run.run {
        output::note(&output::run::sentence(summary));
    }
    if !run.jobs.is_empty() {
        output::note("");
        results(&run.jobs, Ids::Shown, output)?;
    }
    if !run.misfits.is_empty() {
        output::print_text("")?;
        output.table(output::run::misfits(&run.misfits))?;
    }
    if let Some(judgement) = run.gate_json.as_deref().and_then(|text| serde_json::from_str(text).ok()) {
        output::note("");
        for line in gate_lines(&judgement) {
            output::note(&line);
        }
    }
    Ok(())
}

/// The table of the jobs, and beneath it why some of them failed or do not count.
pub(super) fn results(jobs: &[v1::Job], ids: Ids, output: Output) -> Result<()> {
    output.table(output::run::results(jobs, ids, comfy_table::Table::new().width()))?;
    let remarks = output::run::remarks(jobs);
    if !remarks.is_empty() {
        output::print_text(&format!("\n{}", remarks.join("\n")))?;
    }
    Ok(())
}

fn gate_lines(judgement: &Judgement) -> Vec<String> {
    let Judgement { passed, findings, omitted, jobs, comparisons } = judgement;
    if *passed {
        return vec![format!(
            "gate passed: {}, {}",
            output::count(*jobs as usize, "job"),
            output::count(*comparisons as usize, "comparison")
        )];
    }
    let all = findings.len() + *omitted as usize;
    let shown =
        findings.iter().take(FINDINGS_SHOWN).map(|finding| format!("  {}: {}", finding.subject, finding.message));
    let rest = all.saturating_sub(FINDINGS_SHOWN);
    let more = (rest > 0).then(|| format!("  and {rest} more"));
    std::iter::once(format!("gate failed: {}", output::count(all, "finding"))).chain(shown).chain(more).collect()
}

/// A run is judged by its gate. Without one every cell must have a valid result: what did not run, or was disturbed, is
/// no pass.
pub(super) fn verdict(run: &v1::GetRunResponse) -> Exit {
    let is_good = |job: &v1::Job| job.outcome.as_deref() == Some("ok") && job.invalid.is_empty();
    let all_good = !run.jobs.is_empty() && run.misfits.is_empty() && run.jobs.iter().all(is_good);
    let passed = run.run.as_ref().and_then(|run| run.gate_passed).unwrap_or(all_good);
    if passed { Exit::Ok } else { Exit::GateFailed }
}

#[cfg(test)]
mod tests {
    use seatrial_core::gate::{Finding, FindingKind};

    use super::*;

    fn run(gate_passed: Option<bool>, outcomes: &[&str]) -> v1::GetRunResponse {
        let job = |outcome: &&str| v1::Job { outcome: Some((*outcome).to_owned()), ..Default::default() };
        v1::GetRunResponse {
            run: Some(v1::RunSummary { gate_passed, ..Default::default() }),
            jobs: outcomes.iter().map(job).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn the_gate_decides_and_without_one_every_job_must_be_ok() {
        assert_eq!(verdict(&run(Some(true), &["ok", "load_fail"])), Exit::Ok);
        assert_eq!(verdict(&run(Some(false), &["ok"])), Exit::GateFailed);
        assert_eq!(verdict(&run(None, &["ok", "ok"])), Exit::Ok);
        assert_eq!(verdict(&run(None, &["ok", "ok_fallback"])), Exit::GateFailed);
        assert_eq!(verdict(&run(None, &[])), Exit::GateFailed, "nothing ran is no pass");
        let mut disturbed = run(None, &["ok", "ok"]);
        disturbed.jobs[1].invalid.push("foreign CPU".to_owned());
        assert_eq!(verdict(&disturbed), Exit::GateFailed, "what was disturbed is no pass");
        let mut partial = run(None, &["ok"]);
        partial.misfits.push(v1::Misfit::default());
        assert_eq!(verdict(&partial), Exit::GateFailed, "what cannot run is no pass");
    }

    #[test]
    fn a_failed_gate_lists_its_findings_and_counts_the_rest() {
        let finding = |number: usize| Finding {
            kind: FindingKind::BeyondLimit,
            job: None,
            subject: format!("job {number}"),
            message: "p50 is beyond its limit".to_owned(),
            reason: None,
            value: None,
            limit: None,
        };
        let findings = (0..25).map(finding).collect();
        let lines = gate_lines(&Judgement { passed: false, findings, omitted: 3, jobs: 30, comparisons: 30 });
        assert_eq!(lines[0], "gate failed: 28 findings");
        assert_eq!(lines.last().map(String::as_str), Some("  and 8 more"));
        assert_eq!(lines.len(), 22);
    }
}
