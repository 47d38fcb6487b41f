//! Everything behind the port as one router: gRPC, artifacts, pages, health and metrics, all behind one guard.

mod headers;
mod health;
mod readiness;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, on};
use tower_http::compression::CompressionLayer;

use crate::artifacts;
use crate::auth::layer::{Doors, guard};
use crate::auth::{doors, web};
use crate::fleet::Fleet;
use crate::metrics::Metrics;
pub use readiness::{NotReady, Readiness, Reporting};

/// What the routes of this crate need.
#[derive(Clone)]
pub struct Edge {
    pub doors: Doors,
    pub artifacts: artifacts::http::Door,
    pub readiness: Readiness,
    pub fleet: Fleet,
    pub metrics: Metrics,
}

impl FromRef<Edge> for Doors {
    fn from_ref(edge: &Edge) -> Self {
        edge.doors.clone()
    }
}

impl FromRef<Edge> for artifacts::http::Door {
    fn from_ref(edge: &Edge) -> Self {
        edge.artifacts.clone()
    }
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:expr;)*) => {
        /// Every route of this crate that is not gRPC.
        pub const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        fn own_routes(edge: Edge) -> Router {
            Router::new()$(.route($path, on(MethodFilter::$method, $handler)))*.with_state(edge)
        }
    };
}

routes! {
    GET "/healthz" => health::alive;
    GET "/readyz" => health::ready;
    GET "/metrics" => health::metrics;
    GET "/login" => web::login_page;
    GET "/login.css" => web::login_style;
    POST "/login" => web::login;
    POST "/logout" => web::logout;
    GET "/artifacts/{digest}" => artifacts::http::get;
    PUT "/artifacts/{digest}" => artifacts::http::put;
}

const _: () = assert!(doors::cover(ROUTES), "doors.toml lacks a row for a route of this crate");

/// Puts the parts together. Nothing is reached but through the guard.
pub fn router(edge: Edge, pages: Router, grpc: Router) -> Router {
    let doors = edge.doors.clone();
    own_routes(edge)
        .merge(pages.layer(CompressionLayer::new()))
        .merge(grpc)
        .layer(from_fn_with_state(doors, guard))
        .layer(from_fn(headers::harden))
}
