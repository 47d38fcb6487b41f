//! All models.

use axum::extract::State;
use axum::response::Response;
use seatrial_core::store::ModelRow;
use serde::Serialize;

use super::list::{Asked, Column};
use crate::Dashboards;
use crate::export::csv;
use crate::failure::Failure;
use crate::format::{Moments, count};
use crate::frame::{Frame, Nav};
use crate::html::{self, Html};
use crate::visit::{Visit, encode};

#[derive(Serialize)]
struct ListData {
    /// Those of this page, in the order asked for.
    models: Vec<ModelRow>,
    total: usize,
    /// Value of `after` for the next page, when there is one.
    after: Option<String>,
}

struct ModelLine {
    name: String,
    href: String,
    latest: u32,
    versions: u32,
    variants: String,
    updated: Html,
}

#[derive(askama::Template)]
#[template(path = "pages/models.html")]
struct ListPage {
    frame: Frame,
    sentence: String,
    heads: Vec<Html>,
    models: Vec<ModelLine>,
    place: String,
    first: Option<String>,
    next: Option<String>,
}

pub(crate) async fn page(State(state): State<Dashboards>, visit: Visit) -> Result<Response, Failure> {
    let models = state.read.models(visit.viewer.project).await?;
    let variants: usize = models.iter().map(|model| model.variants.len()).sum();
    let asked = Asked { setting: &visit.setting, anchor: "list" };
    let listing = asked.list(&list_columns(), models, |model| model.name.clone());
    let heads = listing.head_cells();
    let data = ListData { models: listing.rows, total: listing.total, after: listing.after };
    let moments = &visit.setting.moments;
    let words = moments.words;
    let table = || {
        let rows = data.models.iter().map(|model| {
            vec![
                model.name.clone(),
                model.latest.to_string(),
                model.versions.to_string(),
                model.variants.join(" "),
                model.updated_at.as_micros().to_string(),
            ]
        });
        csv::write(&["name", "latest", "versions", "variants", "updated_us"], rows)
    };
    visit.answer(&data, Some(&table), || ListPage {
        frame: Frame::new(&visit.setting, words.t("nav.models").into_owned(), Nav::Models)
            .with_exports(&visit.setting, true),
        sentence: if data.models.is_empty() {
            words.t("model.none").into_owned()
        } else {
            words.count("model.list_sentence", data.total as u64, &[("variants", &count(variants as u64))])
        },
        heads,
        models: data.models.iter().map(|model| model_line(model, moments)).collect(),
        place: listing.place,
        first: listing.first,
        next: listing.next,
    })
}

fn list_columns() -> Vec<Column<'static, ModelRow>> {
    vec![
        Column::text("name", "col.model", |model: &ModelRow| model.name.clone()),
        Column::text("variants", "col.variants", |model: &ModelRow| model.variants.join(", ")),
        Column::number("latest", "col.latest", |model: &ModelRow| Some(f64::from(model.latest))),
        Column::number("versions", "col.versions", |model: &ModelRow| Some(f64::from(model.versions))),
        Column::moment("changed", "col.changed", |model: &ModelRow| model.updated_at),
    ]
}

fn model_line(model: &ModelRow, moments: &Moments) -> ModelLine {
    ModelLine {
        name: model.name.clone(),
        href: format!("/models/{}", encode(&model.name)),
        latest: model.latest,
        versions: model.versions,
        variants: model.variants.join(", "),
        updated: html::ago(model.updated_at, moments),
    }
}
