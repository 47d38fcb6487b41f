//! JUnit XML, for CI: a test case a job and a misfit, and one for the gate.
//!
//! A misfit, a cancelled and an unfinished job are skipped, never passed; what the lab or the ROM did is an error, all
//! else that is not a valid result of the accelerator asked for is a failure. What the run's own gate allows passes, with a
//! note of what it is.

use std::fmt::Write as _;

use seatrial_core::gate::{Finding, FindingKind, Judgement};
use seatrial_core::job::JobState;
use seatrial_core::outcome::Family;
use seatrial_core::reason::Reason;
use seatrial_core::store::JobRow;

use super::RunExport;

/// XML allows neither most control characters nor two code points at the end of the plane.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\n' => "&#10;".to_owned(),
            '\u{fffe}' | '\u{ffff}' => "\u{fffd}".to_owned(),
            c if c.is_control() => "\u{fffd}".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

enum Verdict {
    Passed { allowed: Option<String> },
    Failure { kind: String, message: String },
    Error { kind: String, message: String },
    Skipped { message: String },
}

fn verdict(job: &JobRow) -> Verdict {
    let outcome = match job.state {
        JobState::Queued | JobState::Leased { .. } => {
            return Verdict::Skipped { message: format!("not finished: {}", job.state.as_str()) };
        }
        JobState::Quarantined => {
            return Verdict::Error { kind: "quarantined".to_owned(), message: job.message.clone().unwrap_or_default() };
        }
        JobState::Done { outcome } => outcome,
    };
    let kind = crate::status::class_and_code(outcome);
    let place = job.stage.map(|stage| format!("in {stage}: ")).unwrap_or_default();
    let message = format!("{place}{}", job.message.clone().unwrap_or_default());
    match outcome.family() {
        Family::Ok if job.invalid.is_empty() => Verdict::Passed { allowed: None },
        Family::Ok => Verdict::Failure { kind: "invalid".to_owned(), message: Reason::joined(&job.invalid) },
        Family::Fallback
        | Family::Died
        | Family::Hung
        | Family::WrongOutput
        | Family::CannotLoad
        | Family::NotBelieved => Verdict::Failure { kind, message },
        Family::LabOrRom | Family::Misspecified => Verdict::Error { kind, message },
        Family::Cancelled => Verdict::Skipped { message: format!("{kind}: {message}") },
    }
}

/// A gate that has nothing to say of a job allows it, whatever became of it.
fn allowed(verdict: Verdict, job: &JobRow, judgement: Option<&Judgement>) -> Verdict {
    let is_judged = |judgement: &&Judgement| {
        let unreadable = |finding: &Finding| finding.kind == FindingKind::GateUnreadable;
        judgement.omitted == 0 && !judgement.findings.iter().any(unreadable)
    };
    let named = |judgement: &Judgement| judgement.findings.iter().any(|finding| finding.job == Some(job.id));
    match (verdict, judgement.filter(is_judged)) {
        (Verdict::Failure { kind, message } | Verdict::Error { kind, message }, Some(judgement))
            if !named(judgement) =>
        {
            Verdict::Passed { allowed: Some(format!("allowed by the gate: {kind}: {message}")) }
        }
        (verdict, _) => verdict,
    }
}

fn judgement(export: &RunExport) -> Option<Judgement> {
    export.run.gate.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

struct Case {
    class: String,
    name: String,
    seconds: f64,
    verdict: Verdict,
}

fn cases(export: &RunExport) -> Vec<Case> {
    let judgement = judgement(export);
    let name = |model: &str, variant: &str, dataset: Option<&str>, profile: &str| {
        let dataset = dataset.map(|dataset| format!(" on {dataset}")).unwrap_or_default();
        format!("{model} {variant}{dataset}, {profile}")
    };
    let jobs = export.jobs.iter().map(|entry| {
        let job = &entry.job;
        let seconds = job.started_at.zip(job.finished_at).map_or(0.0, |(start, end)| end.since(start).as_secs_f64());
        let model = format!("{} v{}", job.model, job.version);
        Case {
            class: format!("{}.{}", job.device_name, job.backend),
            name: name(&model, &job.variant, job.dataset.as_deref(), &job.profile),
            seconds,
            verdict: allowed(verdict(job), job, judgement.as_ref()),
        }
    });
    let misfits = export.misfits.iter().map(|misfit| Case {
        class: format!("{}.{}", misfit.device_name.as_deref().unwrap_or("no device"), misfit.backend),
        name: name(&misfit.model, &misfit.variant, misfit.dataset.as_deref(), &misfit.profile),
        seconds: 0.0,
        verdict: Verdict::Skipped { message: format!("misfit: {}", misfit.reason) },
    });
    jobs.chain(misfits).chain(gate(export)).collect()
}

fn gate(export: &RunExport) -> Option<Case> {
    let passed = export.run.gate_passed?;
    let findings = judgement(export).map_or_else(String::new, |judgement| {
        judgement
            .findings
            .iter()
            .map(|finding| format!("{}: {}", finding.subject, finding.message))
            .collect::<Vec<_>>()
            .join("\n")
    });
    let verdict = if passed {
        Verdict::Passed { allowed: None }
    } else {
        Verdict::Failure { kind: "gate".to_owned(), message: findings }
    };
    Some(Case { class: export.run.suite.clone(), name: "gate".to_owned(), seconds: 0.0, verdict })
}

pub(super) fn write(export: &RunExport) -> String {
    let cases = cases(export);
    let count = |wanted: fn(&Verdict) -> bool| cases.iter().filter(|case| wanted(&case.verdict)).count();
    let failures = count(|verdict| matches!(verdict, Verdict::Failure { .. }));
    let errors = count(|verdict| matches!(verdict, Verdict::Error { .. }));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped { .. }));
    let seconds: f64 = cases.iter().map(|case| case.seconds).sum();
    let suite = escape(&export.run.suite);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{suite}\" id=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\">\n",
        export.run.number,
        cases.len(),
    );
    for case in &cases {
        let (class, name) = (escape(&case.class), escape(&case.name));
        let _ = write!(out, "<testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\"", case.seconds);
        match &case.verdict {
            Verdict::Passed { allowed: None } => out.push_str("/>\n"),
            Verdict::Passed { allowed: Some(why) } => {
                let _ = writeln!(out, "><system-out>{}</system-out></testcase>", escape(why));
            }
            Verdict::Failure { kind, message } => {
                let _ =
                    writeln!(out, "><failure type=\"{}\" message=\"{}\"/></testcase>", escape(kind), escape(message));
            }
            Verdict::Error { kind, message } => {
                let _ = writeln!(out, "><error type=\"{}\" message=\"{}\"/></testcase>", escape(kind), escape(message));
            }
            Verdict::Skipped { message } => {
                let _ = writeln!(out, "><skipped message=\"{}\"/></testcase>", escape(message));
            }
        }
    }
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}
