//! Style and script, embedded; the content's hash is in the name, so that caches may keep them forever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use seatrial_core::digest::Digest;

const STYLE: &str = include_str!("../assets/style.css");
const SCRIPT: &str = include_str!("../assets/app.js");
const MARK: &str = include_str!("../assets/mark.svg");
/// The glyphs, inlined at the top of every body.
pub const SPRITE: &str = include_str!("../assets/sprite.svg");

struct Asset {
    name: String,
    mime: &'static str,
    text: &'static str,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |stem: &str, ending: &str, mime, text: &'static str| Asset {
        name: format!("{stem}.{}.{ending}", Digest::of(text.as_bytes()).short()),
        mime,
        text,
    };
    [
        asset("style", "css", "text/css; charset=utf-8", STYLE),
        asset("app", "js", "text/javascript; charset=utf-8", SCRIPT),
        asset("mark", "svg", "image/svg+xml", MARK),
    ]
});

/// Address of the style sheet.
#[must_use]
pub fn style() -> String {
    format!("/assets/{}", ASSETS[0].name)
}

/// The style sheet itself, for a file that brings everything with it.
pub(crate) const fn style_text() -> &'static str {
    STYLE
}

/// Address of the script.
#[must_use]
pub fn script() -> String {
    format!("/assets/{}", ASSETS[1].name)
}

/// Address of the icon.
#[must_use]
pub fn mark() -> String {
    format!("/assets/{}", ASSETS[2].name)
}

pub(crate) async fn serve(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => {
            let headers = [
                (header::CONTENT_TYPE, asset.mime),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, asset.text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such asset; reload the page that named it\n").into_response(),
    }
}
