//! What every page knows of its request, and how it answers: HTML, JSON or CSV of the same data at one address.

use std::fmt::Write as _;

use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use seatrial_core::role::Role;
use serde::Serialize;

use crate::Dashboards;
use crate::actions::Viewer;
use crate::failure::Failure;
use crate::format::Moments;
use crate::i18n::{Language, Words};

/// What the reader asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Html,
    Json,
    Csv,
}

impl Wanted {
    fn of(query: &[(String, String)], headers: &HeaderMap) -> Self {
        match query.iter().find(|(key, _)| key == "format").map(|(_, value)| value.as_str()) {
            Some("json") => return Self::Json,
            Some("csv") => return Self::Csv,
            Some(_) | None => {}
        }
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let at = |mime| accept.find(mime).unwrap_or(usize::MAX);
        let (html, json, csv) = (at("text/html"), at("application/json"), at("text/csv"));
        if json < html && json < csv {
            Self::Json
        } else if csv < html {
            Self::Csv
        } else {
            Self::Html
        }
    }
}

/// The request, read once. Extraction fails only for a request without a [`Viewer`].
#[derive(Debug, Clone)]
pub struct Visit {
    pub viewer: Viewer,
    pub setting: Setting,
}

/// The part of a request that even a failed one has.
#[derive(Debug, Clone)]
pub struct Setting {
    pub words: Words,
    pub moments: Moments,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub wanted: Wanted,
    pub version: String,
    pub address: String,
    /// `None` before sign-in.
    pub viewer: Option<(String, Role)>,
    /// The form token of a viewer who has a session to end.
    pub logout: Option<String>,
}

impl Setting {
    pub(crate) fn read(parts: &Parts, state: &Dashboards) -> Self {
        let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).unwrap_or_default();
        let asked = query.iter().find(|(key, _)| key == "lang").map(|(_, value)| value.as_str());
        let words = Words(Language::negotiate(asked, &parts.headers));
        let viewer = parts.extensions.get::<Viewer>();
        Self {
            words,
            moments: Moments { words, zone: state.zone.clone(), now: state.clock.now() },
            // A form's answer has no address of its own: its links lead back to the page that it was sent from.
            path: if parts.method == Method::POST { "/".to_owned() } else { parts.uri.path().to_owned() },
            wanted: Wanted::of(&query, &parts.headers),
            query,
            version: state.version.clone(),
            address: state.address.clone(),
            viewer: viewer.map(|viewer| (viewer.name.clone(), viewer.role)),
            logout: viewer.filter(|viewer| viewer.session).map(|viewer| viewer.csrf.clone()),
        }
    }

    /// The first value of a query parameter; empty counts as absent.
    #[must_use]
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All values of a query parameter.
    pub fn parameters(&self, key: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(name, value)| name == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// This page's address with one parameter set, or without it.
    #[must_use]
    pub fn link(&self, key: &str, value: Option<&str>) -> String {
        self.link_with(&[(key, value)])
    }

    /// This page's address with some parameters set or left out; the others stay.
    #[must_use]
    pub fn link_with(&self, changes: &[(&str, Option<&str>)]) -> String {
        let kept = self.query.iter().filter(|(name, _)| !changes.iter().any(|(key, _)| key == name));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let set = changes.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let pairs: Vec<String> =
            kept.chain(set).map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        if pairs.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, pairs.join("&")) }
    }

    /// Another address with this page's explicit language, so that a stream speaks as the page does.
    #[must_use]
    pub fn link_to(&self, path: &str) -> String {
        format!("{path}?lang={}", self.words.0.tag())
    }

    /// The cookie that keeps a language chosen by address.
    pub(crate) fn language_cookie(&self) -> Option<HeaderValue> {
        let chosen = Language::of_tag(self.parameter("lang")?)?;
        HeaderValue::from_str(&format!("lang={}; Path=/; Max-Age=31536000; SameSite=Lax", chosen.tag())).ok()
    }
}

#[cfg(test)]
impl Setting {
    /// An English page at an address.
    pub(crate) fn for_tests(path: &str, query: &str) -> Self {
        let words = Words(Language::English);
        let uri: http::Uri = format!("{path}?{query}").parse().expect("a test's address parses");
        let Query(query) = Query::try_from_uri(&uri).expect("a test's query parses");
        let zone = jiff::tz::TimeZone::UTC;
        let now = seatrial_core::time::Timestamp::from_micros(0);
        Self {
            words,
            moments: Moments { words, zone, now },
            path: path.to_owned(),
            query,
            wanted: Wanted::Html,
            version: String::new(),
            address: String::new(),
            viewer: None,
            logout: None,
        }
    }
}

/// Percent-encoding for one part of an address.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

impl FromRequestParts<Dashboards> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboards) -> Result<Self, Failure> {
        let viewer = parts.extensions.get::<Viewer>().cloned().ok_or(Failure::NotSignedIn)?;
        if !viewer.role.includes(Role::Viewer) {
            return Err(Failure::Forbidden { needs: Role::Viewer });
        }
        Ok(Self { viewer, setting: Setting::read(parts, state) })
    }
}

impl Visit {
    /// Refuses a form that was not made for this viewer. Constant time in the token's content.
    pub(crate) fn check_csrf(&self, token: &str) -> Result<(), Failure> {
        let (mine, theirs) = (self.viewer.csrf.as_bytes(), token.as_bytes());
        let difference = mine.iter().zip(theirs).fold(0, |sum, (a, b)| sum | (a ^ b));
        if mine.is_empty() || mine.len() != theirs.len() || difference != 0 { Err(Failure::StaleForm) } else { Ok(()) }
    }

    /// HTML from `page`, or `data` as JSON. A page with a table passes it for CSV.
    pub(crate) fn answer<D: Serialize, T: askama::Template>(
        &self,
        data: &D,
        table: Option<&dyn Fn() -> String>,
        page: impl FnOnce() -> T,
    ) -> Result<Response, Failure> {
        match (self.setting.wanted, table) {
            (Wanted::Json, _) => json(data),
            (Wanted::Csv, Some(table)) => Ok(csv(table())),
            (Wanted::Html, _) | (Wanted::Csv, None) => html(&page()),
        }
    }
}

pub(crate) fn html(page: &impl askama::Template) -> Result<Response, Failure> {
    let text = page.render()?;
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, text).into_response())
}

pub(crate) fn json<D: Serialize>(data: &D) -> Result<Response, Failure> {
    let text = serde_json::to_vec(data)?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, text).into_response())
}

pub(crate) fn csv(text: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

/// A file to keep, under a name of our own making.
pub(crate) fn file(name: &str, mime: &'static str, bytes: Vec<u8>) -> Response {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let disposition = format!("attachment; filename=\"{name}\"");
    let mut response = ([(header::CONTENT_TYPE, mime), (header::CACHE_CONTROL, "no-store")], bytes).into_response();
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn a_browser_gets_html_and_a_program_what_it_accepts() {
        assert_eq!(Wanted::of(&[], &headers("text/html,application/xhtml+xml,*/*;q=0.8")), Wanted::Html);
        assert_eq!(Wanted::of(&[], &headers("application/json")), Wanted::Json);
        assert_eq!(Wanted::of(&[], &headers("text/csv")), Wanted::Csv);
        assert_eq!(Wanted::of(&[], &HeaderMap::new()), Wanted::Html);
        assert_eq!(Wanted::of(&[("format".into(), "json".into())], &headers("text/html")), Wanted::Json);
    }

    #[test]
    fn addresses_are_encoded() {
        assert_eq!(encode("a b/№2&x=<"), "a%20b%2F%E2%84%962%26x%3D%3C");
    }
}
