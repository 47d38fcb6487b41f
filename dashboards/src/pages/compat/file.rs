//! The matrix as a file: CSV and JSON, and one HTML file with everything inside for who has no access to the server.
//! `?redact=1` takes out what names our devices, our project and our run.

use axum::response::{IntoResponse, Response};
use http::header;
use seatrial_core::reading::Reading;

use super::parts::{self, Group, Line, Row, Target, groups, lines, rows, sentence, unread};
use super::{CoverLine, Data, cover_line, read, run_number};
use crate::Dashboards;
use crate::assets;
use crate::compat::{By, Compat, Entry, redact};
use crate::export::csv;
use crate::failure::Failure;
use crate::frame::{Frame, Nav};
use crate::html::Html;
use crate::visit::{Setting, Visit, Wanted, file};

/// Failures in the HTML file; all of them are in the others.
const LISTED: usize = 2000;

/// A device in the file's own table.
struct DeviceLine {
    name: String,
    /// Brand, ROM, SoC, GPU, driver, Android: each as told, or why not.
    cells: Vec<String>,
}

#[derive(askama::Template)]
#[template(path = "pages/compat_file.html")]
struct File {
    frame: Frame,
    style: Html,
    sentence: String,
    sub: String,
    groups: Vec<Group>,
    rows: Vec<Row>,
    columns: usize,
    rows_left: String,
    lines: Vec<Line>,
    lines_left: String,
    unread: Vec<(String, String)>,
    cover: Vec<CoverLine>,
    devices: Vec<DeviceLine>,
    legend: Vec<Html>,
    made: String,
}

fn is_redacted(setting: &Setting) -> bool {
    setting.parameter("redact").is_some_and(|value| value != "0")
}

/// With the names that others may see, where that was asked for.
fn shown(data: &Data, setting: &Setting) -> Compat {
    if is_redacted(setting) {
        redact(
            data.matrix.clone(),
            &data.fleet,
            &[&data.run.suite, &data.run.created_by, &data.run.project.to_string()],
        )
    } else {
        data.matrix.clone()
    }
}

/// JSON or CSV of the page.
pub(super) fn data(data: &Data, setting: &Setting) -> Result<Response, Failure> {
    let matrix = shown(data, setting);
    let hidden = is_redacted(setting);
    if setting.wanted == Wanted::Csv {
        return Ok(crate::visit::csv(without_ids(table(data, &matrix, hidden), &matrix, hidden)));
    }
    if !hidden {
        return crate::visit::json(data);
    }
    let text = without_ids(serde_json::to_string(&matrix)?, &matrix, hidden);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, text).into_response())
}

/// Ids of devices become numbers of the file.
fn without_ids(mut text: String, matrix: &Compat, hidden: bool) -> String {
    if hidden {
        for (number, device) in matrix.devices.iter().enumerate() {
            text = text.replace(&device.id.to_string(), &format!("d{}", number + 1));
        }
    }
    text
}

/// A row a combination.
fn table(data: &Data, matrix: &Compat, hidden: bool) -> String {
    const HEAD: [&str; 25] = [
        "run",
        "model",
        "version",
        "variant",
        "dataset",
        "profile",
        "device_id",
        "device",
        "brand",
        "rom",
        "rom_version",
        "soc",
        "gpu",
        "driver",
        "android",
        "backend",
        "accelerator",
        "standing",
        "outcome",
        "class",
        "blame",
        "stage",
        "evidence",
        "attempts",
        "job",
    ];
    let text = |reading: &Reading<String>| reading.present().cloned().unwrap_or_default();
    let row = |entry: &Entry| {
        let device = matrix.devices.iter().find(|device| device.id == entry.device);
        let of = |pick: fn(&crate::compat::Traits) -> &Reading<String>| {
            device.map(|device| text(pick(&device.traits))).unwrap_or_default()
        };
        let failure = entry.failure.as_ref();
        let evidence = [
            failure.and_then(|failure| failure.seen.as_ref()).map(|seen| seen.line.clone()),
            entry.message.clone(),
            entry.misfit.as_ref().map(|reason| reason.text().to_owned()),
            (!entry.invalid.is_empty()).then(|| seatrial_core::reason::Reason::joined(&entry.invalid)),
        ];
        vec![
            if hidden { String::new() } else { data.run.number.to_string() },
            entry.model.clone(),
            entry.version.map(|version| version.to_string()).unwrap_or_default(),
            entry.variant.clone(),
            entry.dataset.clone().unwrap_or_default(),
            entry.profile.clone(),
            entry.device.to_string(),
            device.map(|device| device.name.clone()).unwrap_or_default(),
            of(|traits| &traits.brand),
            of(|traits| &traits.rom),
            of(|traits| &traits.rom_version),
            of(|traits| &traits.soc),
            of(|traits| &traits.gpu),
            of(|traits| &traits.driver),
            of(|traits| &traits.android),
            entry.backend.clone(),
            match &entry.accelerator {
                Reading::Present(accelerator) => accelerator.as_str().to_owned(),
                Reading::Absent(why) => format!("unreadable: {why}"),
            },
            entry.standing.as_str().to_owned(),
            entry.outcome.map(|outcome| outcome.to_string()).unwrap_or_default(),
            failure.map(|failure| failure.class.to_string()).unwrap_or_default(),
            failure.map(|failure| failure.blame.to_string()).unwrap_or_default(),
            entry.stage.map(|stage| stage.to_string()).unwrap_or_default(),
            evidence.into_iter().flatten().collect::<Vec<_>>().join("; "),
            entry.attempts.to_string(),
            entry.job.map(|job| job.to_string()).unwrap_or_default(),
        ]
    };
    csv::write(&HEAD, matrix.entries.iter().map(row))
}

/// `/runs/{number}/matrix.html`: needs neither server nor script.
pub(crate) async fn export(state: &Dashboards, visit: &Visit, number: i64) -> Result<Response, Failure> {
    let data = read(state, visit, number).await?;
    let setting = &visit.setting;
    let hidden = is_redacted(setting);
    let page = built(&data, setting, hidden);
    let text = askama::Template::render(&page)?;
    let name = if hidden { "matrix.html".to_owned() } else { format!("matrix-{}.html", run_number(number)) };
    Ok(file(&name, "text/html; charset=utf-8", text.into_bytes()))
}

fn built(data: &Data, setting: &Setting, hidden: bool) -> File {
    let words = setting.words;
    let matrix = shown(data, setting);
    let cells = matrix.cells();
    let marked = parts::marked(&matrix);
    let listed = &marked[..marked.len().min(LISTED)];
    let against = data.against.as_ref().filter(|_| !hidden);
    let (rows, rows_left) = rows(&matrix, &cells, against, &Target::File(listed), words);
    let (sentence, sub) = sentence(&matrix, words);
    let title = if hidden {
        words.t("compat.file_title").into_owned()
    } else {
        words.with("compat.title", &[("run", &run_number(data.run.number))])
    };
    let simulated = matrix.devices.iter().any(|device| device.traits.simulated);
    let when = data.run.finished_at.unwrap_or(data.run.created_at);
    let mut cover: Vec<CoverLine> = Vec::new();
    if !hidden {
        cover.extend(data.coverage.iter().map(|one| cover_line(one, words)));
    }
    let device = |device: &crate::compat::Device| {
        let traits = &device.traits;
        let told = [
            &traits.brand,
            &traits.rom,
            &traits.rom_version,
            &traits.soc,
            &traits.gpu,
            &traits.driver,
            &traits.android,
        ];
        let cell = |reading: &&Reading<String>| match reading {
            Reading::Present(text) => text.clone(),
            Reading::Absent(_) => words.t("compat.not_told").into_owned(),
        };
        DeviceLine { name: device.name.clone(), cells: told.iter().map(cell).collect() }
    };
    File {
        style: Html::trusted(assets::style_text().to_owned()),
        sentence,
        sub,
        groups: groups(&matrix, By::parse(setting.parameter("by")), words),
        columns: matrix.devices.len(),
        rows,
        rows_left,
        lines: lines(listed.iter().copied(), &matrix, words),
        lines_left: super::super::left(marked.len(), LISTED, words),
        unread: unread(&matrix),
        cover,
        devices: matrix.devices.iter().map(device).collect(),
        legend: parts::legend(words),
        made: words.with("compat.made", &[("time", &setting.moments.full(when)), ("version", &setting.version)]),
        frame: Frame::new(setting, title, Nav::None).simulated(simulated),
    }
}
