//! One file a page: what it reads, the sentence it opens with, the data it gives as JSON.

pub(crate) mod against_cpu;
pub(crate) mod between;
mod canary;
pub(crate) mod compat;
pub(crate) mod dataset;
pub(crate) mod device;
pub(crate) mod examples;
mod findings;
pub(crate) mod fleet;
pub(crate) mod home;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod live;
pub(crate) mod matrix;
pub(crate) mod model;
pub(crate) mod models;
pub(crate) mod new_run;
pub(crate) mod outputs;
pub(crate) mod paired;
mod present;
pub(crate) mod readings;
pub(crate) mod run;
mod run_jobs;
pub(crate) mod runs;
pub(crate) mod samples;
pub(crate) mod search;
pub(crate) mod suite;
mod wall;

use std::collections::{BTreeSet, HashMap};

use seatrial_core::backend::Accelerator;
use seatrial_core::dataset::scorer;
use seatrial_core::ids::{DeviceId, JobId, RunId};
use seatrial_core::job::AttemptRef;
use seatrial_core::live::LiveDevice;
use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::reading::Reading;
use seatrial_core::store::{DeviceRow, JobRow, StoreError};
use seatrial_core::time::Timestamp;

use self::list::Head;
use crate::Dashboards;
use crate::format::{DASH, Moments, Shown};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status;

/// The metrics that tables and matrices of many jobs show of each: the latency, and the headline of its task.
pub(crate) const HEADLINE: [&str; 9] =
    ["lat_p50_ms", TOLD_LATENCY, "top1", "map", "miou", "cer", "f1_macro", "hit_1", "mae"];
/// Those of the tasks.
const TASK_HEADLINES: &[&str] = HEADLINE.split_at(2).1;
/// What a program that measures itself tells of its latency. It stands in words, and never in the column of a metric.
pub(crate) const TOLD_LATENCY: &str = "told.latency_avg";

/// Metrics of one attempt, in the order in which the store gives them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(Vec<Metric>);

impl Numbers {
    pub(crate) fn new(metrics: Vec<Metric>) -> Self {
        Self(metrics)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Metric> {
        self.0.iter().find(|metric| metric.name == name)
    }

    pub(crate) fn estimate(&self, name: &str) -> Option<Estimate> {
        self.get(name)?.value.present().copied()
    }

    /// The name of the task's headline metric among these, when it has a value. A task that has `top1` beside its own
    /// headline is known by its own; a scorer's is the first of its figures that has a value.
    pub(crate) fn headline(&self) -> Option<&str> {
        let registered = TASK_HEADLINES.iter().copied().rev().find(|name| self.estimate(name).is_some());
        registered
            .or_else(|| self.of_scorer().map(|metric| metric.name.as_str()).find(|name| self.estimate(name).is_some()))
    }

    /// What the dataset's own scorer tells.
    pub(crate) fn of_scorer(&self) -> impl Iterator<Item = &Metric> {
        self.0.iter().filter(|metric| metric.name.starts_with(scorer::PREFIX))
    }

    /// The latency that a program told of itself.
    pub(crate) fn told_latency(&self) -> Option<Shown> {
        self.get(TOLD_LATENCY).map(crate::format::told).filter(|shown| shown.absent.is_empty())
    }

    pub(crate) fn into_all(self) -> Vec<Metric> {
        self.0
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Metric> {
        self.0.iter()
    }

    /// The number for a page; `None` when it was never derived.
    pub(crate) fn shown(&self, name: &str) -> Option<Shown> {
        self.get(name).map(crate::format::metric)
    }
}

/// Metrics of the last attempt of every job, grouped.
pub(crate) fn by_job(metrics: Vec<(JobId, Metric)>) -> HashMap<JobId, Numbers> {
    let mut jobs: HashMap<JobId, Vec<Metric>> = HashMap::new();
    for (job, metric) in metrics {
        jobs.entry(job).or_default().push(metric);
    }
    jobs.into_iter().map(|(job, metrics)| (job, Numbers::new(metrics))).collect()
}

/// These metrics of jobs of different runs: one read a run, however many of its jobs are asked for.
pub(crate) async fn named_of<'j>(
    state: &Dashboards,
    jobs: impl IntoIterator<Item = &'j JobRow>,
    names: &[&str],
) -> Result<HashMap<JobId, Numbers>, StoreError> {
    let runs: BTreeSet<RunId> = jobs.into_iter().map(|job| job.run).collect();
    let mut numbers = HashMap::new();
    for run in runs {
        numbers.extend(by_job(state.read.run_metrics_named(run, names).await?));
    }
    Ok(numbers)
}

/// Numbers of the last attempts of a few jobs of different runs.
pub(crate) async fn numbers_of(state: &Dashboards, jobs: &[JobRow]) -> Result<HashMap<JobId, Numbers>, StoreError> {
    let ended = jobs.iter().filter(|job| job.attempt > 0);
    let each = ended.map(|job| async {
        let metrics = state.read.metrics(AttemptRef { job: job.id, attempt: job.attempt }).await?;
        Ok((job.id, Numbers::new(metrics)))
    });
    futures::future::try_join_all(each).await.map(HashMap::from_iter)
}

/// Devices with an open session, by id.
pub(crate) fn sessions(state: &Dashboards) -> HashMap<DeviceId, LiveDevice> {
    state.live.devices().into_iter().map(|device| (device.device, device)).collect()
}

/// The one order of devices on every page: GPU, then SoC, then name.
pub(crate) fn order(devices: &mut [DeviceRow]) {
    let text = |reading: &Reading<String>| reading.present().cloned().unwrap_or_else(|| "\u{10ffff}".to_owned());
    devices.sort_by_cached_key(|device| (text(&device.profile.gpu), text(&device.profile.soc), device.name.clone()));
}

/// `0611`.
pub(crate) fn run_number(number: i64) -> String {
    format!("{number:04}")
}

/// `digits-cnn v3 int8`.
pub(crate) fn model_name(job: &JobRow) -> String {
    format!("{} v{} {}", job.model, job.version, job.variant)
}

/// The runtime's name in a backend's text, as in `benchncnn gpu ×4`.
pub(crate) fn program(backend: &str) -> &str {
    backend.split([' ', '@']).next().unwrap_or(backend)
}

/// The accelerator in a backend's text.
pub(crate) fn accelerator(backend: &str) -> Accelerator {
    [Accelerator::Gpu, Accelerator::Npu]
        .into_iter()
        .find(|accelerator| backend.split(' ').any(|word| word == accelerator.as_str()))
        .unwrap_or(Accelerator::Cpu)
}

/// A reading of a device as one line; a reason for what is absent.
pub(crate) fn reading(reading: &Reading<String>, words: Words) -> String {
    match reading {
        Reading::Present(text) => text.clone(),
        Reading::Absent(reason) => words.absent(reason),
    }
}

/// A job in a table.
pub(crate) struct JobLine {
    pub href: String,
    pub short: String,
    pub device: DeviceId,
    pub device_name: String,
    pub model: String,
    pub model_href: String,
    pub backend: String,
    pub profile: String,
    pub dataset: String,
    pub status: Html,
    /// Class, stage and message of a failure; reasons of an invalid one.
    pub detail: String,
    pub p50: Html,
    timed: bool,
    pub when: Html,
}

/// A table of jobs. Without heads of its own it has plain ones.
#[derive(Default)]
pub(crate) struct JobLines {
    lines: Vec<JobLine>,
    /// Heads that sort, for the columns that every such table has, in their order.
    heads: Vec<Head>,
    /// The device and the model stand in the page's title already.
    pub of_device: bool,
    pub of_model: bool,
}

impl FromIterator<JobLine> for JobLines {
    fn from_iter<T: IntoIterator<Item = JobLine>>(lines: T) -> Self {
        Self { lines: lines.into_iter().collect(), ..Self::default() }
    }
}

impl JobLines {
    pub(crate) fn sorted_by(self, heads: Vec<Head>) -> Self {
        Self { heads, ..self }
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, JobLine> {
        self.lines.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether any row has a latency; a column without one is left out.
    pub(crate) fn timed(&self) -> bool {
        self.lines.iter().any(|line| line.timed)
    }

    /// The head of a column: sorting when the table is a listing, plain otherwise.
    pub(crate) fn head(&self, name: &str, label: impl AsRef<str>) -> Html {
        let sorting = self.heads.iter().find(|head| head.name == name);
        sorting.map_or_else(|| html::head(label.as_ref(), name == "p50"), html::sorting_head)
    }
}

/// What a listing of jobs can be sorted by.
pub(crate) fn job_columns(numbers: &HashMap<JobId, Numbers>, words: Words) -> Vec<list::Column<'_, &JobRow>> {
    use list::Column;
    let p50 = |job: &&JobRow| Some(numbers.get(&job.id)?.estimate("lat_p50_ms")?.value);
    vec![
        Column::text("job", "col.job", |job: &&JobRow| job.short.clone()),
        Column::text("state", "col.state", move |job: &&JobRow| status::job(job, words).word),
        Column::text("model", "col.model", |job: &&JobRow| model_name(job)),
        Column::text("dataset", "col.dataset", |job: &&JobRow| job.dataset.clone().unwrap_or_default()),
        Column::text("device", "col.device", |job: &&JobRow| job.device_name.clone()),
        Column::text("backend", "col.backend", |job: &&JobRow| job.backend.clone()),
        Column::text("profile", "col.profile", |job: &&JobRow| job.profile.clone()),
        Column::number("p50", "p50", p50),
        Column::moment("when", "col.when", |job: &&JobRow| last_moment(job)),
    ]
}

/// When something last happened to a job.
fn last_moment(job: &JobRow) -> Timestamp {
    job.finished_at.or(job.started_at).unwrap_or(job.created_at)
}

pub(crate) fn job_line(job: &JobRow, numbers: Option<&Numbers>, moments: &Moments) -> JobLine {
    let words = moments.words;
    let mut detail = failure(job, words);
    // The job's own page has all of them.
    if let [first, rest @ ..] = job.invalid.as_slice() {
        detail.push(words.reason(first));
        detail.extend((!rest.is_empty()).then(|| words.count("job.more_reasons", rest.len() as u64, &[])));
    }
    let p50 = numbers.and_then(|numbers| numbers.shown("lat_p50_ms"));
    detail.extend(numbers.and_then(Numbers::told_latency).map(|told| {
        words.with("job.told_latency", &[("value", &told.line(words)), ("program", program(&job.backend))])
    }));
    JobLine {
        href: format!("/jobs/{}", job.id),
        short: job.short.clone(),
        device: job.device,
        device_name: job.device_name.clone(),
        model: model_name(job),
        model_href: format!("/models/{}", crate::visit::encode(&job.model)),
        backend: job.backend.clone(),
        profile: job.profile.clone(),
        dataset: job.dataset.clone().unwrap_or_else(|| DASH.to_string()),
        status: html::status(&status::job(job, words)),
        detail: detail.join(" · "),
        timed: p50.as_ref().is_some_and(|shown| shown.absent.is_empty()),
        p50: match p50 {
            Some(shown) if shown.absent.is_empty() => html::shown(&shown, words),
            Some(shown) => html::cell(&shown, words),
            None => Html::default(),
        },
        when: html::ago(last_moment(job), moments),
    }
}

/// How a job failed, in parts: class, stage, message. Of one that did not fail, its message if it has one.
pub(crate) fn failure(job: &JobRow, words: Words) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(outcome) = job.outcome.filter(|outcome| !status::has_result(*outcome)) {
        parts.push(status::class_and_code(outcome));
        parts.extend(job.failure.as_ref().map(|failure| words.class(failure.class)));
        parts.extend(job.stage.map(|stage| stage.to_string()));
    }
    parts.extend(job.message.as_deref().map(|message| words.phrase(message)));
    parts
}

/// What a table leaves out; empty when nothing.
pub(crate) fn left(total: usize, listed: usize, words: Words) -> String {
    let rest = total.saturating_sub(listed);
    if rest > 0 { words.count("run.left", rest as u64, &[]) } else { String::new() }
}

/// An address that is none of ours.
pub(crate) async fn nowhere(visit: crate::visit::Visit) -> crate::failure::Failure {
    crate::failure::Failure::NotFound { what: "gone.page", id: visit.setting.path.chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::TASK_HEADLINES;

    #[test]
    fn every_task_has_its_headline_among_those_that_are_read() {
        let headlines: Vec<&str> =
            seatrial_core::dataset::Task::ALL.into_iter().filter_map(seatrial_core::dataset::Task::headline).collect();
        let mut read = TASK_HEADLINES.to_vec();
        read.sort_unstable();
        let mut expected = headlines;
        expected.sort_unstable();
        assert_eq!(read, expected);
    }
}
