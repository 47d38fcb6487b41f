//! The compatibility matrix of a run: what works where, and why not. Everything that it shows is in its address.

mod file;
mod filter;
mod parts;

use axum::extract::{Path, State};
use axum::response::Response;
use seatrial_core::store::{DeviceRow, RunRow};
use serde::Serialize;

pub(crate) use file::export;

use self::filter::{Choices, Filter};
use self::parts::{Group, Line, Row, Target, groups, lines, rows, sentence, unread};
use super::{order, run_number};
use crate::Dashboards;
use crate::compat::{Against, By, Change, Compat, Cover, Entry, Uncovered, cover};
use crate::failure::Failure;
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::status::Status;
use crate::visit::{Setting, Visit, Wanted};

/// Failures and changes that the page lists; all of them are in the files.
const LISTED: usize = 100;
/// Runs that one may be held against: the newest.
const RUNS: u32 = 30;

/// Everything that page and files are made from.
#[derive(Serialize)]
pub(crate) struct Data {
    run: RunRow,
    matrix: Compat,
    coverage: Vec<Cover>,
    against: Option<Against>,
    #[serde(skip)]
    fleet: Vec<DeviceRow>,
    /// Without filters, for what may be chosen.
    #[serde(skip)]
    whole: Compat,
}

async fn read(state: &Dashboards, visit: &Visit, number: i64) -> Result<Data, Failure> {
    let setting = &visit.setting;
    let project = visit.viewer.project;
    let run = state.read.run_by_number(project, number).await?;
    let run = run.ok_or_else(|| Failure::NotFound { what: "gone.run", id: run_number(number) })?;
    let mut fleet = state.read.devices().await?;
    order(&mut fleet);
    let by = By::parse(setting.parameter("by"));
    let filter = Filter::of(setting);
    let of_run = async |row: &RunRow| -> Result<Compat, Failure> {
        let (jobs, misfits) = (state.read.jobs(row.id).await?, state.read.misfits(row.id).await?);
        Ok(Compat::of(&jobs, &misfits, &fleet, by))
    };
    let whole = of_run(&run).await?;
    let matrix = whole.clone().filtered(|entry, device| filter.wants(entry, device));
    let against = match setting.parameter("against") {
        None => None,
        Some(other) => {
            let number = super::run::parse_number(other)?;
            let other = state.read.run_by_number(project, number).await?;
            let other = other.ok_or_else(|| Failure::NotFound { what: "gone.run", id: run_number(number) })?;
            let then = of_run(&other).await?.filtered(|entry, device| filter.wants(entry, device));
            Some(Against::of(number, &matrix, &then))
        }
    };
    Ok(Data { coverage: cover(&whole, &fleet), run, matrix, against, fleet, whole })
}

/// One pair of model and device, looked at.
struct Panel {
    title: String,
    /// What the device is, in one line.
    note: String,
    lines: Vec<Line>,
}

/// A trait of the fleet as the run covers it.
struct CoverLine {
    label: String,
    share: String,
    notes: Vec<String>,
}

/// What stands otherwise than in another run.
struct ChangeLine {
    status: Html,
    what: String,
    device: String,
    was: Html,
    is: Html,
}

#[derive(askama::Template)]
#[template(path = "pages/compat.html")]
struct Page {
    frame: Frame,
    number: i64,
    crumb: Vec<String>,
    sentence: String,
    sub: String,
    choices: Choices,
    groups: Vec<Group>,
    rows: Vec<Row>,
    columns: usize,
    rows_left: String,
    lines: Vec<Line>,
    lines_left: String,
    unread: Vec<(String, String)>,
    panel: Option<Panel>,
    cover: Vec<CoverLine>,
    against: Option<(String, Vec<ChangeLine>, String)>,
    legend: Vec<Html>,
    files: Vec<(String, String)>,
}

pub(crate) async fn page(
    State(state): State<Dashboards>,
    Path(number): Path<String>,
    visit: Visit,
) -> Result<Response, Failure> {
    let number = super::run::parse_number(&number)?;
    let data = read(&state, &visit, number).await?;
    if visit.setting.wanted != Wanted::Html {
        return file::data(&data, &visit.setting);
    }
    let runs = state.read.runs(visit.viewer.project, None, RUNS).await?;
    crate::visit::html(&view(&data, &runs, &visit.setting))
}

fn view(data: &Data, runs: &[RunRow], setting: &Setting) -> Page {
    let words = setting.words;
    let number = data.run.number;
    let run = words.with("run.title", &[("run", &run_number(number))]);
    let title = words.with("compat.title", &[("run", &run_number(number))]);
    let mut frame = Frame::new(setting, title, Nav::Runs)
        .simulated(data.matrix.devices.iter().any(|device| device.traits.simulated))
        .with_exports(setting, true);
    frame.full = true;
    let cells = data.matrix.cells();
    let target = Target::Page(setting);
    let (rows, rows_left) = rows(&data.matrix, &cells, data.against.as_ref(), &target, words);
    let failed: Vec<&Entry> = parts::marked(&data.matrix);
    let by = By::parse(setting.parameter("by"));
    let (sentence, sub) = sentence(&data.matrix, words);
    let file = |query: &str| format!("/runs/{number}/matrix.html?{query}lang={}", words.0.tag());
    Page {
        number,
        crumb: vec![
            run,
            words.with("run.crumb_suite", &[("suite", &data.run.suite)]),
            words.t("compat.crumb").into_owned(),
        ],
        sentence,
        sub,
        choices: Choices::of(data, runs, setting),
        groups: groups(&data.matrix, by, words),
        columns: data.matrix.devices.len(),
        rows,
        rows_left,
        lines: lines(failed.iter().take(LISTED).copied(), &data.matrix, words),
        lines_left: super::left(failed.len(), LISTED, words),
        unread: unread(&data.matrix),
        panel: panel(data, setting),
        cover: data.coverage.iter().map(|cover| cover_line(cover, words)).collect(),
        against: data.against.as_ref().map(|against| changes(against, words)),
        legend: parts::legend(words),
        files: vec![
            (words.t("compat.file").into_owned(), file("")),
            (words.t("compat.file_redacted").into_owned(), file("redact=1&")),
        ],
        frame,
    }
}

/// What `?cell=MODEL|VARIANT|DEVICE` names.
fn panel(data: &Data, setting: &Setting) -> Option<Panel> {
    let words = setting.words;
    let asked = setting.parameter("cell")?;
    let mut parts = asked.splitn(3, '|');
    let (model, variant, device) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    let cells = data.matrix.cells();
    let entries = cells.get(&(model, variant, device))?;
    let device = data.matrix.devices.iter().find(|it| it.id == device)?;
    let traits = &device.traits;
    let told = [&traits.rom, &traits.rom_version, &traits.soc, &traits.gpu, &traits.driver];
    let mut note: Vec<String> = told.into_iter().filter_map(|reading| reading.present().cloned()).collect();
    note.extend(traits.android.present().map(|release| format!("Android {release}")));
    let version = entries.iter().find_map(|entry| entry.version);
    let name = version.map_or_else(|| format!("{model} {variant}"), |version| format!("{model} v{version} {variant}"));
    Some(Panel {
        title: words.with("compat.on", &[("model", &name), ("device", &device.name)]),
        note: words.list(&note),
        lines: lines(entries.iter().copied(), &data.matrix, words),
    })
}

fn cover_line(cover: &Cover, words: Words) -> CoverLine {
    let Cover { label, covered, uncovered, unknown } = cover;
    let all = covered.len() + uncovered.len();
    let missing = |uncovered: &Uncovered| {
        let key = if uncovered.tried { "compat.tried" } else { "compat.not_selected" };
        let shown: Vec<String> = uncovered.devices.iter().take(3).cloned().collect();
        words.with(key, &[("value", &uncovered.value), ("devices", &words.list(&shown))])
    };
    let mut notes: Vec<String> = uncovered.iter().map(missing).collect();
    notes.extend((*unknown > 0).then(|| words.count("compat.unknown", *unknown as u64, &[])));
    CoverLine {
        label: words.t(label).into_owned(),
        share: words.with("number.of", &[("k", &covered.len().to_string()), ("n", &all.to_string())]),
        notes,
    }
}

fn changes(against: &Against, words: Words) -> (String, Vec<ChangeLine>, String) {
    let count = |change: Change| against.count(change).to_string();
    let summary = words.with(
        "compat.against_summary",
        &[
            ("run", &run_number(against.run)),
            ("worse", &count(Change::Worse)),
            ("better", &count(Change::Better)),
            ("other", &count(Change::Other)),
            ("new", &count(Change::New)),
            ("gone", &count(Change::Gone)),
        ],
    );
    let standing = |standing: Option<crate::compat::Standing>| match standing {
        None => Html::default(),
        Some(standing) => {
            let (glyph, _, class, word) = standing.looks();
            html::status(&Status { glyph, class, word: words.t(word).into_owned() })
        }
    };
    let lines = against.differences.iter().take(LISTED).map(|one| {
        let (glyph, class, word) = one.change.looks();
        ChangeLine {
            status: html::status(&Status { glyph, class, word: words.t(word).into_owned() }),
            what: format!("{} {}", one.model, one.variant),
            device: one.device_name.clone(),
            was: standing(one.was),
            is: standing(one.is),
        }
    });
    (summary, lines.collect(), super::left(against.differences.len(), LISTED, words))
}
