//! Datasets: what accuracy is measured on.

use axum::extract::{Path, State};
use axum::response::Response;
use seatrial_core::dataset::Task;
use seatrial_core::dataset::scorer::{Scorer, ScorerMetric};
use seatrial_core::store::{DatasetDetail, DatasetRow, DatasetVersionRow};
use serde::Serialize;

use super::list::{Asked, Column};
use crate::Dashboards;
use crate::export::csv;
use crate::failure::Failure;
use crate::format::{DASH, Moments, count, file_size};
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::i18n::Words;
use crate::visit::{Visit, encode};

/// Versions that a page lists; all of them are in its JSON.
const VERSIONS: usize = 50;

#[derive(Serialize)]
struct ListData {
    /// Those of this page, in the order asked for.
    datasets: Vec<DatasetRow>,
    total: usize,
    /// Value of `after` for the next page, when there is one.
    after: Option<String>,
}

struct DatasetLine {
    name: String,
    href: String,
    task: &'static str,
    versions: u32,
    examples: String,
    classes: String,
    size: String,
    when: Html,
}

#[derive(askama::Template)]
#[template(path = "pages/datasets.html")]
struct ListPage {
    frame: Frame,
    sentence: String,
    heads: Vec<Html>,
    datasets: Vec<DatasetLine>,
    place: String,
    first: Option<String>,
    next: Option<String>,
}

fn list_columns() -> Vec<Column<'static, DatasetRow>> {
    vec![
        Column::text("name", "col.dataset", |row: &DatasetRow| row.name.clone()),
        Column::text("task", "dataset.task", |row: &DatasetRow| row.task.as_str().to_owned()),
        Column::number("examples", "dataset.examples", |row: &DatasetRow| Some(f64::from(row.examples))),
        Column::number("classes", "dataset.classes", |row: &DatasetRow| Some(f64::from(row.classes))),
        Column::number("size", "job.figure_size", |row: &DatasetRow| Some(row.size as f64)),
        Column::number("versions", "col.versions", |row: &DatasetRow| Some(f64::from(row.versions))),
        Column::moment("when", "col.when", |row: &DatasetRow| row.created_at),
    ]
}

fn dataset_line(row: &DatasetRow, moments: &Moments) -> DatasetLine {
    DatasetLine {
        name: row.name.clone(),
        href: format!("/datasets/{}", encode(&row.name)),
        task: row.task.as_str(),
        versions: row.versions,
        examples: count(row.examples.into()),
        classes: classes(row.classes.into()),
        size: file_size(row.size),
        when: html::ago(row.created_at, moments),
    }
}

pub(crate) async fn list(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let datasets = state.read.datasets(visit.viewer.project).await?;
    let examples: u64 = datasets.iter().map(|row| u64::from(row.examples)).sum();
    let asked = Asked { setting: &visit.setting, anchor: "list" };
    let listing = asked.list(&list_columns(), datasets, |row| row.name.clone());
    let heads = listing.head_cells();
    let data = ListData { datasets: listing.rows, total: listing.total, after: listing.after };
    let moments = &visit.setting.moments;
    let words = moments.words;
    let table = || {
        let rows = data.datasets.iter().map(|row| {
            vec![
                row.name.clone(),
                row.task.as_str().to_owned(),
                row.versions.to_string(),
                row.examples.to_string(),
                row.classes.to_string(),
                row.size.to_string(),
            ]
        });
        csv::write(&["name", "task", "versions", "examples", "classes", "size_bytes"], rows)
    };
    visit.answer(&data, Some(&table), || ListPage {
        frame: Frame::new(&visit.setting, words.t("nav.datasets").into_owned(), Nav::Datasets)
            .with_exports(&visit.setting, true),
        sentence: if data.datasets.is_empty() {
            words.t("dataset.none").into_owned()
        } else {
            words.count("dataset.list_sentence", data.total as u64, &[("examples", &count(examples))])
        },
        heads,
        datasets: data.datasets.iter().map(|row| dataset_line(row, moments)).collect(),
        place: listing.place,
        first: listing.first,
        next: listing.next,
    })
}

struct VersionLine {
    number: u32,
    digest: String,
    short: String,
    examples: String,
    classes: String,
    size: String,
    by: String,
    when: Html,
}

#[derive(askama::Template)]
#[template(path = "pages/dataset.html")]
struct Page {
    frame: Frame,
    name: String,
    sentence: String,
    facts: Vec<(String, String)>,
    versions: Vec<VersionLine>,
    versions_left: String,
    classes: Vec<String>,
    scorer: Option<Shown>,
}

/// What judges the outputs of the newest version.
struct Shown {
    program: String,
    /// Name, unit, which way is better, meaning.
    metrics: Vec<(String, String, String, String)>,
}

fn shown(scorer: &Scorer, words: Words) -> Shown {
    let values = [("program", scorer.program.as_str()), ("interpreter", scorer.interpreter.as_str())];
    let metric = |metric: &ScorerMetric| {
        let meaning = metric.meaning.clone().unwrap_or_default();
        (metric.full_name(), metric.unit.clone(), words.better(metric.better).into_owned(), meaning)
    };
    Shown {
        program: words.with("dataset.scorer_program", &values),
        metrics: scorer.metrics.iter().map(metric).collect(),
    }
}

pub(crate) async fn page(
    State(state): State<Dashboards>,
    Path(name): Path<String>,
    visit: Visit,
) -> Result<Response, Failure> {
    let found: Option<DatasetDetail> = state.read.dataset(visit.viewer.project, &name).await?;
    let data = found.ok_or_else(|| Failure::NotFound { what: "gone.dataset", id: name.chars().take(80).collect() })?;
    let moments = &visit.setting.moments;
    let words = moments.words;
    visit.answer(&data, None, || {
        let newest = data.versions.first();
        let or = |value: Option<&String>| value.cloned().unwrap_or_else(|| words.t("model.not_stated").into_owned());
        Page {
            frame: Frame::new(&visit.setting, data.name.clone(), Nav::Datasets).with_exports(&visit.setting, false),
            name: data.name.clone(),
            sentence: newest.map_or_else(
                || data.name.clone(),
                |version| {
                    let values = [
                        ("name", data.name.as_str()),
                        ("n", &count(version.examples.into())),
                        ("classes", &count(version.classes.len() as u64)),
                    ];
                    let key = match version.task {
                        Task::Custom => "dataset.sentence_scorer",
                        Task::Golden => "dataset.sentence_golden",
                        Task::Classification => "dataset.sentence_classes",
                        Task::Detection
                        | Task::Segmentation
                        | Task::Text
                        | Task::Multilabel
                        | Task::Retrieval
                        | Task::Regression => "dataset.sentence_labelled",
                    };
                    words.with(key, &values)
                },
            ),
            facts: vec![
                (
                    words.t("dataset.task").into_owned(),
                    newest.map_or_else(|| DASH.to_string(), |version| version.task.as_str().to_owned()),
                ),
                (words.t("model.origin").into_owned(), or(newest.and_then(|version| version.origin.as_ref()))),
                (words.t("model.licence").into_owned(), or(newest.and_then(|version| version.license.as_ref()))),
            ],
            scorer: newest.and_then(|version| version.scorer.as_ref()).map(|scorer| shown(scorer, words)),
            versions: data.versions.iter().take(VERSIONS).map(|version| line(version, moments)).collect(),
            versions_left: super::left(data.versions.len(), VERSIONS, words),
            classes: newest.map(|version| version.classes.clone()).unwrap_or_default(),
        }
    })
}

/// Only a classification has classes.
fn classes(n: u64) -> String {
    if n == 0 { DASH.to_string() } else { count(n) }
}

fn line(version: &DatasetVersionRow, moments: &Moments) -> VersionLine {
    VersionLine {
        number: version.number,
        digest: version.digest.to_string(),
        short: version.digest.short(),
        examples: count(version.examples.into()),
        classes: classes(version.classes.len() as u64),
        size: file_size(version.size),
        by: version.created_by.clone(),
        when: html::ago(version.created_at, moments),
    }
}
