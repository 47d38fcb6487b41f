//! Pages, exports and charts over the read trait: server-rendered, in English and Simplified Chinese.
//!
//! Every page is HTML that works without script, and the same data as JSON at the same address
//! (`Accept: application/json` or `?format=json`). Times in JSON are microseconds since 1970-01-01 UTC. The look and
//! the words are decided in `dashboards/DESIGN.md`; no page carries a `style` attribute or an inline script, so that the
//! content security policy can forbid both.
//!
//! Deliberately absent: writes to the store (see [`actions`]), authentication (the server's edge puts a
//! [`Viewer`] into the request), third-party script, and any clock of its own.

pub mod actions;
pub mod assets;
pub mod charts;
mod compat;
pub mod eta;
pub mod export;
pub mod failure;
pub mod format;
pub mod frame;
pub mod html;
pub mod i18n;
mod pages;
pub mod rounding;
pub mod status;
pub mod visit;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use jiff::tz::TimeZone;
use seatrial_core::live::Live;
use seatrial_core::store::Read;
use seatrial_core::time::Clock;

pub use actions::{ActionError, Actions, Preview, PreviewJob, SuiteProblem, Viewer};

/// What the pages are made from.
#[derive(Clone)]
pub struct Dashboards {
    pub read: Arc<dyn Read>,
    pub live: Arc<dyn Live>,
    pub actions: Arc<dyn Actions>,
    pub clock: Arc<dyn Clock>,
    /// Version of the server, for the footer.
    pub version: String,
    /// The zone in which pages write times.
    pub zone: TimeZone,
    /// The address at which agents and command lines reach this server, for the commands that pages show.
    pub address: String,
}

/// Every page, export and asset. The caller adds authentication, compression and limits around it.
pub fn router(state: Dashboards) -> Router {
    Router::new()
        .route("/", get(pages::home::page))
        .route("/devices", get(pages::fleet::page))
        .route("/devices/live", get(pages::live::devices))
        .route("/devices/{id}", get(pages::device::page))
        .route("/runs", get(pages::runs::page))
        .route("/runs/new", get(pages::new_run::page).post(pages::new_run::submit))
        .route("/runs/new/count", get(pages::new_run::counted))
        .route("/runs/{number}", get(pages::run::page))
        .route("/runs/{number}/live", get(pages::live::run))
        .route("/runs/{number}/matrix", get(pages::compat::page))
        .route("/runs/{number}/cancel", post(pages::run::cancel))
        .route("/runs/{number}/{export}", get(pages::run::export))
        .route("/jobs/{id}", get(pages::job::page))
        .route("/jobs/{id}/live", get(pages::live::job))
        .route("/jobs/{id}/rerun", post(pages::job::rerun))
        .route("/jobs/{id}/{samples}", get(pages::samples::download))
        .route("/models", get(pages::models::page))
        .route("/models/{name}", get(pages::model::page))
        .route("/datasets", get(pages::dataset::list))
        .route("/datasets/{name}", get(pages::dataset::page))
        .route("/search", get(pages::search::page))
        .fallback(pages::nowhere)
        .layer(axum::Extension(pages::live::RunReadings::default()))
        .layer(axum::middleware::from_fn_with_state(state.clone(), failure::render))
        // Outside of the layer: an asset has one language, and is kept forever.
        .route("/assets/{name}", get(assets::serve))
        .with_state(state)
}
