//! Live progress on stderr: a line for the run and one for each device on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use seatrial_proto::v1;

use super::numbers::{Scale, parts};
use super::progress::{Progress, subject};
use super::time::length;
use super::{Colour, first, note};

/// More devices than these share one line.
const DEVICE_LINES: usize = 12;

/// Where progress goes.
pub(crate) enum Watching {
    Terminal(Box<Bars>),
    Lines,
}

/// The lines at the bottom of a terminal.
pub(crate) struct Bars {
    all: MultiProgress,
    run: ProgressBar,
    devices: Vec<ProgressBar>,
    colour: bool,
}

impl Watching {
    pub(crate) fn start(colour: Colour) -> Self {
        if std::io::stderr().is_terminal() { Self::Terminal(Box::new(Bars::new(colour.stderr))) } else { Self::Lines }
    }

    /// Draws what is known now.
    pub(crate) fn draw(&mut self, progress: &Progress, now: Duration) {
        match self {
            Self::Terminal(bars) => bars.draw(progress, now),
            Self::Lines => {}
        }
    }

    /// A job has ended.
    pub(crate) fn ended(&self, job: &v1::Job, progress: &Progress, now: Duration) {
        let count = format!("{} of {}", progress.done(), progress.total());
        match self {
            Self::Terminal(bars) => bars.above(&ended_line(job, &count, bars.colour)),
            Self::Lines => {
                let rest = progress.remaining(now).filter(|_| progress.done() < progress.total());
                let rest = rest.map_or_else(String::new, |left| format!("  (about {} left)", length(left)));
                note(&format!("{}{rest}", ended_line(job, &count, false)));
            }
        }
    }

    /// Anything else that the person should know.
    pub(crate) fn say(&self, text: &str) {
        match self {
            Self::Terminal(bars) => bars.above(text),
            Self::Lines => note(text),
        }
    }
}

impl Drop for Bars {
    /// Takes the lines away; what was said stays.
    fn drop(&mut self) {
        self.all.clear().ok();
    }
}

impl Bars {
    fn new(colour: bool) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        let template = if colour { "{bar:24.cyan/dim}  {wide_msg}" } else { "{bar:24}  {wide_msg}" };
        let run = all.add(ProgressBar::new(0));
        run.set_style(style(template).progress_chars("━━─"));
        Self { all, run, devices: Vec::new(), colour }
    }

    fn above(&self, text: &str) {
        self.all.println(text).ok();
    }

    fn draw(&mut self, progress: &Progress, now: Duration) {
        let (done, total) = (progress.done(), progress.total());
        self.run.set_length(total as u64);
        self.run.set_position(done as u64);
        self.run.set_message(headline(progress, now));
        let devices = progress.devices();
        let width = devices.iter().map(|device| device.device.chars().count()).max().unwrap_or(0).min(24);
        let shown = devices.len().min(DEVICE_LINES);
        let rest = devices.len() - shown;
        let lines = devices.iter().take(shown).map(|device| {
            let doing = match (&device.now, device.done == device.total) {
                (Some(activity), _) => activity.clone(),
                (None, true) => "done".to_owned(),
                (None, false) => "waits".to_owned(),
            };
            format!("  {:<width$}  {:>2} of {:<2}  {doing}", device.device, device.done, device.total)
        });
        let more = (rest > 0).then(|| format!("  and {rest} more devices"));
        let lines: Vec<String> = lines.chain(more).collect();
        while self.devices.len() < lines.len() {
            let line = self.all.add(ProgressBar::new(0));
            line.set_style(style("{wide_msg}"));
            self.devices.push(line);
        }
        for (bar, line) in self.devices.iter().zip(lines) {
            bar.set_message(line);
        }
    }
}

/// A template of ours that indicatif does not take would be a fault of ours: its plainest style still tells the truth.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn headline(progress: &Progress, now: Duration) -> String {
    let name = progress.run.as_ref().map_or_else(String::new, |run| format!("run {} · {} · ", run.number, run.suite));
    let rest = match progress.remaining(now) {
        Some(left) if !left.is_zero() => format!("about {} left", length(left)),
        Some(_) => "ends soon".to_owned(),
        None => "no estimate before the first job has ended".to_owned(),
    };
    format!("{name}{} of {} jobs · {rest}", progress.done(), progress.total())
}

/// `3 of 8  devbox  digits-cnn fp32 · tract cpu ×1  ok  p50 42.1 µs [41.9–42.4]`; beneath it why, when it failed.
fn ended_line(job: &v1::Job, count: &str, colour: bool) -> String {
    let outcome = job.outcome.as_deref().unwrap_or(&job.state);
    let outcome = match (colour, outcome) {
        (true, "ok") | (false, _) => outcome.to_owned(),
        (true, "ok_fallback") => format!("\u{1b}[33m{outcome}\u{1b}[0m"),
        (true, _) => format!("\u{1b}[31m{outcome}\u{1b}[0m"),
    };
    let latency = job.metrics.iter().find(|metric| metric.name == "lat_p50_ms").filter(|metric| metric.value.is_some());
    let latency = latency.map_or_else(String::new, |metric| {
        let scale = Scale::of(&metric.name, &metric.unit, metric.value.as_slice());
        let (value, interval) = parts(metric, scale);
        let space = if interval.is_empty() { "" } else { " " };
        format!("  p50 {value} {}{space}{interval}", scale.unit)
    });
    let invalid = if job.invalid.is_empty() { String::new() } else { format!("  invalid: {}", first(&job.invalid)) };
    let line = format!("{count}  {}  {}  {outcome}{latency}{invalid}", job.device_name, subject(job));
    if !outcome_is_bad(job) {
        return line;
    }
    let stage = job.stage.as_ref().map_or_else(String::new, |stage| format!(" in {stage}"));
    let why = job.message.as_deref().unwrap_or("no reason was reported");
    format!("{line}\n    failed{stage}: {why}\n    seatrial results {}", job.short)
}

fn outcome_is_bad(job: &v1::Job) -> bool {
    !matches!(job.outcome.as_deref(), Some("ok" | "ok_fallback" | "cancelled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(outcome: &str) -> v1::Job {
        v1::Job {
            short: "7f3a-0c12".to_owned(),
            device_name: "devbox".to_owned(),
            model: "digits-cnn".to_owned(),
            variant: "fp32".to_owned(),
            backend: "tract cpu ×1".to_owned(),
            outcome: Some(outcome.to_owned()),
            ..Default::default()
        }
    }

    #[test]
    fn a_job_that_went_well_is_one_line_with_its_latency() {
        let latency = v1::Metric {
            name: "lat_p50_ms".to_owned(),
            unit: "ms".to_owned(),
            value: Some(0.0421),
            lo: Some(0.0419),
            hi: Some(0.0424),
            absent: None,
        };
        let job = v1::Job { metrics: vec![latency], ..job("ok") };
        let line = ended_line(&job, "3 of 8", false);
        assert_eq!(line, "3 of 8  devbox  digits-cnn fp32 · tract cpu ×1  ok  p50 42.1 µs [41.9–42.4]");
    }

    #[test]
    fn a_job_that_failed_says_where_why_and_how_to_look() {
        let job = v1::Job {
            stage: Some("load".to_owned()),
            message: Some("no such operator: Foo".to_owned()),
            ..job("unsupported_op")
        };
        insta::assert_snapshot!(ended_line(&job, "3 of 8", false), @r"
        3 of 8  devbox  digits-cnn fp32 · tract cpu ×1  unsupported_op
            failed in load: no such operator: Foo
            seatrial results 7f3a-0c12
        ");
    }
}
