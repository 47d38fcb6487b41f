//! The matrix of a run: model × variant against device × backend, one cell a combination.

use std::collections::{BTreeMap, HashMap};

use seatrial_core::ids::{DeviceId, JobId};
use seatrial_core::job::JobState;
use seatrial_core::live::LiveJob;
use seatrial_core::store::{DeviceRow, JobRow, MisfitRow};

use super::Numbers;
use crate::format::{self, significant};
use crate::html::{Html, escape, glyph};
use crate::i18n::Words;
use crate::status;

/// A device with the backends that the run uses on it.
pub(crate) struct Group {
    pub name: String,
    pub href: String,
    pub backends: Vec<String>,
}

pub(crate) struct Row {
    pub model: String,
    pub href: String,
    pub note: String,
    pub cells: Vec<Html>,
}

pub(crate) struct Matrix {
    pub groups: Vec<Group>,
    pub rows: Vec<Row>,
    /// Columns; few of them are not stretched over the whole page.
    pub columns: usize,
    /// What the matrix leaves out, since a page is not larger than a person can read; empty when nothing.
    pub left: String,
}

/// Cells that a page shows.
const MOST_CELLS: usize = 4000;

/// What distinguishes rows; model first, so that variants of a model stand together.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct RowKey {
    model: String,
    version: u32,
    variant: String,
    dataset: Option<String>,
    profile: String,
}

pub(crate) struct Sources<'a> {
    pub jobs: &'a [JobRow],
    pub misfits: &'a [MisfitRow],
    /// In the order of all pages.
    pub devices: &'a [DeviceRow],
    pub numbers: &'a HashMap<JobId, Numbers>,
    pub live: &'a HashMap<JobId, LiveJob>,
}

pub(crate) fn matrix(sources: &Sources<'_>, words: Words) -> Matrix {
    let (rows, cells) = cells(sources, words);
    let columns = columns(sources);
    let several =
        |value: fn(&RowKey) -> String| rows.iter().map(value).collect::<std::collections::BTreeSet<_>>().len() > 1;
    let (datasets, profiles) =
        (several(|row| row.dataset.clone().unwrap_or_default()), several(|row| row.profile.clone()));
    let flat: Vec<(DeviceId, &String)> =
        columns.iter().flat_map(|(device, _, backends)| backends.iter().map(move |b| (*device, b))).collect();
    let row = |key: &RowKey| Row {
        // A misfit alone does not say of which version it was.
        model: match key.version {
            0 => format!("{} {}", key.model, key.variant),
            version => format!("{} v{version} {}", key.model, key.variant),
        },
        href: format!("/models/{}", crate::visit::encode(&key.model)),
        note: {
            let dataset = key.dataset.clone().filter(|_| datasets);
            let profile = Some(key.profile.clone()).filter(|_| profiles);
            [dataset, profile].into_iter().flatten().collect::<Vec<_>>().join(" · ")
        },
        cells: flat
            .iter()
            .map(|(device, backend)| {
                cells.get(&(key.clone(), *device, (*backend).clone())).cloned().unwrap_or_default()
            })
            .collect(),
    };
    let most = (MOST_CELLS / flat.len().max(1)).max(1);
    Matrix {
        left: match rows.len().saturating_sub(most) {
            0 => String::new(),
            rest => words.count("run.rows_left", rest as u64, &[]),
        },
        rows: rows.iter().take(most).map(row).collect(),
        columns: flat.len(),
        groups: columns
            .into_iter()
            .map(|(device, name, backends)| Group { name, href: format!("/devices/{device}"), backends })
            .collect(),
    }
}

type Cells = HashMap<(RowKey, DeviceId, String), Html>;

fn cells(sources: &Sources<'_>, words: Words) -> (Vec<RowKey>, Cells) {
    let mut rows: Vec<RowKey> = Vec::new();
    let mut cells = Cells::new();
    for job in sources.jobs {
        let key = RowKey {
            model: job.model.clone(),
            version: job.version,
            variant: job.variant.clone(),
            dataset: job.dataset.clone(),
            profile: job.profile.clone(),
        };
        let html = job_cell(job, sources.numbers.get(&job.id), sources.live.get(&job.id), words);
        cells.insert((key.clone(), job.device, job.backend.clone()), html);
        rows.push(key);
    }
    for misfit in sources.misfits {
        let Some(device) = misfit.device else { continue };
        let same = |row: &&RowKey| {
            row.model == misfit.model
                && row.variant == misfit.variant
                && row.dataset == misfit.dataset
                && row.profile == misfit.profile
        };
        let version_of = |row: &&RowKey| row.model == misfit.model;
        let version = rows.iter().find(same).or_else(|| rows.iter().find(version_of)).map_or(0, |row| row.version);
        let key = RowKey {
            model: misfit.model.clone(),
            version,
            variant: misfit.variant.clone(),
            dataset: misfit.dataset.clone(),
            profile: misfit.profile.clone(),
        };
        cells.entry((key.clone(), device, misfit.backend.clone())).or_insert_with(|| misfit_cell(misfit, words));
        rows.push(key);
    }
    rows.sort();
    rows.dedup();
    (rows, cells)
}

fn columns(sources: &Sources<'_>) -> Vec<(DeviceId, String, Vec<String>)> {
    let mut backends: BTreeMap<DeviceId, std::collections::BTreeSet<String>> = BTreeMap::new();
    let mut names: HashMap<DeviceId, String> = HashMap::new();
    for job in sources.jobs {
        backends.entry(job.device).or_default().insert(job.backend.clone());
        names.insert(job.device, job.device_name.clone());
    }
    for misfit in sources.misfits {
        let Some(device) = misfit.device else { continue };
        backends.entry(device).or_default().insert(misfit.backend.clone());
        names.entry(device).or_insert_with(|| misfit.device_name.clone().unwrap_or_else(|| device.to_string()));
    }
    let rank: HashMap<DeviceId, usize> = sources.devices.iter().enumerate().map(|(i, device)| (device.id, i)).collect();
    let mut columns: Vec<(DeviceId, String, Vec<String>)> = backends
        .into_iter()
        .map(|(device, backends)| (device, names.remove(&device).unwrap_or_default(), backends.into_iter().collect()))
        .collect();
    columns.sort_by_key(|(device, _, _)| rank.get(device).copied().unwrap_or(usize::MAX));
    columns
}

/// Text of a tip: `|` separates lines, so it may not stand in one.
fn tip(lines: &[String]) -> String {
    let lines: Vec<String> =
        lines.iter().filter(|line| !line.is_empty()).map(|line| escape(&line.replace('|', "¦"))).collect();
    lines.join("|")
}

fn job_cell(job: &JobRow, numbers: Option<&Numbers>, live: Option<&LiveJob>, words: Words) -> Html {
    let state = status::job(job, words);
    let title = format!("{} · {}", super::model_name(job), job.device_name);
    let mut lines = vec![title, format!("{} · {}", job.backend, state.word)];
    let (class, content) = match job.state {
        JobState::Queued => ("que", glyph(state.glyph).to_string()),
        JobState::Leased { .. } => {
            let stage = live.map(|live| live.stage).or(job.stage);
            lines.extend(stage.map(|stage| stage.to_string()));
            let share = live.and_then(|live| live.progress).map(|share| format!("{} %", (share * 100.0).round()));
            let text = share.or_else(|| stage.map(|stage| stage.to_string())).unwrap_or_default();
            ("run", format!("{}{}", glyph(state.glyph), escape(&text)))
        }
        JobState::Quarantined => ("hx", format!("{}{}", glyph(state.glyph), escape(&words.t("state.job_quarantined")))),
        JobState::Done { outcome } => {
            lines.extend(job.message.as_deref().map(|message| words.phrase(message)));
            lines.extend(job.invalid.iter().map(|reason| words.reason(reason)));
            if status::has_result(outcome) {
                let number = headline(numbers);
                lines.extend(number.as_ref().map(|(tip, _)| tip.clone()));
                let text = number.map_or_else(|| escape(&state.word), |(_, text)| text);
                let mark = if state.glyph == "ok" { String::new() } else { glyph(state.glyph).to_string() };
                (if state.glyph == "ok" { "" } else { "hs" }, format!("{mark}{text}"))
            } else {
                lines.push(status::class_and_code(outcome));
                let class = if state.class == "s-misfit" { "hm" } else { "hx" };
                (class, format!("{}{}", glyph(state.glyph), escape(&status::code(outcome))))
            }
        }
    };
    // The heads of its row and column say what a cell is of; its word says what the glyph does.
    let (class, word) = match class {
        "" => (String::new(), String::new()),
        class => (format!(r#" class="{class}""#), format!(r#"<span class="vh">{}</span>"#, escape(&state.word))),
    };
    Html::trusted(format!(r#"<a{class} href="/jobs/{}" data-tip="{}">{content}{word}</a>"#, job.id, tip(&lines)))
}

/// p50 in ms, or the headline of the task where nothing was timed: tip and cell.
fn headline(numbers: Option<&Numbers>) -> Option<(String, String)> {
    let numbers = numbers?;
    if let Some(p50) = numbers.estimate("lat_p50_ms") {
        let shown = format::quantity(p50, "ms");
        return Some((format!("p50 {}{} {}", shown.number, shown.unit, shown.interval), significant(p50.value)));
    }
    let name = numbers.headline()?;
    let shown = numbers.shown(name)?;
    let tip = format!("{} {}{} {}", format::figure_name(name), shown.number, shown.unit, shown.interval);
    Some((tip, format!("{}{}", shown.number, shown.unit)))
}

fn misfit_cell(misfit: &MisfitRow, words: Words) -> Html {
    let state = status::misfit(words);
    let device = misfit.device_name.clone().unwrap_or_default();
    let why = words.with("state.misfit_why", &[("reason", &words.reason(&misfit.reason))]);
    let lines = [format!("{} {} · {device}", misfit.model, misfit.variant), misfit.backend.clone(), why.clone()];
    let label = escape(&why);
    Html::trusted(format!(
        r##"<a class="hm" href="#misfits" data-tip="{}" aria-label="{label}">{}</a>"##,
        tip(&lines),
        glyph(state.glyph)
    ))
}
