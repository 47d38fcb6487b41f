//! What browsers need on top of tokens: a session cookie, forms that nobody else can send, and a defence against pages
//! that point their own name at this machine.
//!
//! The cookie holds the token itself: revoking the token ends the session at once on every replica, and there is no
//! session table to keep. It is `HttpOnly` and `SameSite=Strict`; script never sees it.

use std::net::IpAddr;

use axum::extract::{Extension, Form, Query, State};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use http::header::{COOKIE, ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use seatrial_dashboards::Viewer;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::layer::{Doors, authority};
use super::token::{Kind, Secret};
use crate::error::{Code, Error};
use crate::net::Peer;

const COOKIE_NAME: &str = "seatrial_session";
/// How long a browser keeps the cookie, in seconds.
const SESSION_SECONDS: u32 = 12 * 3600;
/// Names under which a machine addresses itself.
const LOCAL_NAMES: [&str; 2] = ["localhost", "ip6-localhost"];

/// The token in a request's session cookie.
#[must_use]
pub fn session(headers: &HeaderMap) -> Option<Secret> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE_NAME)?;
    Secret::parse(value)
}

/// What a form must carry: bound to the session's token, or to this process when there is no session.
pub(super) fn form_token(key: &[u8; 32], session: Option<&Secret>) -> String {
    let bound = match session {
        // Replicas have different keys, so a session's forms must not depend on them.
        Some(secret) => blake3::derive_key("seatrial 2026-11 form token of a session", secret.reveal().as_bytes()),
        None => blake3::derive_key("seatrial 2026-11 form token of this process", key),
    };
    hex::encode(bound)
}

/// Refuses a write that a page of another origin asks the browser for. A client that is no browser sends neither
/// header; it passes only where no cookie vouches for it (`needs_proof`).
pub(super) fn same_origin(
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
    peer: Peer,
    needs_proof: bool,
) -> Result<(), Error> {
    if method.is_safe() {
        return Ok(());
    }
    let scheme = if peer.tls { "https" } else { "http" };
    let own = authority(headers, uri).map(|authority| format!("{scheme}://{authority}"));
    let fetch_site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let is_ours = match (headers.get(ORIGIN), fetch_site) {
        (_, Some("same-origin")) => true,
        (_, Some(_)) => false,
        (Some(origin), None) => own.is_some_and(|own| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())),
        (None, None) => !needs_proof,
    };
    if is_ours { Ok(()) } else { Err(Error::new(Code::Forbidden, "a page of another origin may not write here")) }
}

/// Refuses a request without credentials whose client did not mean this machine: a page whose name was pointed here.
pub(super) fn loopback_host(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> Result<(), Error> {
    let host = authority(headers, uri).map(host_of).unwrap_or_default();
    let is_address = |host: &str| host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    let is_local = LOCAL_NAMES.iter().any(|name| host.eq_ignore_ascii_case(name))
        || host.to_ascii_lowercase().ends_with(".localhost")
        || is_address(host)
        || allowed.iter().any(|name| host.eq_ignore_ascii_case(name));
    if is_local {
        return Ok(());
    }
    let shown: String = host.chars().take(100).collect();
    Err(Error::new(
        Code::Forbidden,
        format!("{shown:?} is not a name of this machine; use localhost, or allow the name with --hosts"),
    ))
}

/// The host of `host:port`, without the brackets of IPv6.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// Where a browser without a session is sent.
pub(super) fn login_address(from: &Uri) -> String {
    let wanted = from.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("/login?next={}", encode(wanted))
}

/// Percent-encodes everything but what a query may hold as it is.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

/// An upper-case hexadecimal digit.
fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

/// A path on this server, and nothing that a browser could take for another one.
fn safe_next(next: Option<&str>) -> &str {
    match next {
        Some(path) if path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n']) => path,
        Some(_) | None => "/",
    }
}

#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    next: Option<String>,
}

#[derive(Deserialize)]
pub struct Credentials {
    token: String,
    next: Option<String>,
}

#[derive(Deserialize)]
pub struct Goodbye {
    csrf: String,
}

/// `GET /login`
pub async fn login_page(Query(wanted): Query<Wanted>) -> Html<String> {
    Html(page(wanted.next.as_deref(), None))
}

/// `GET /login.css`
pub async fn login_style() -> impl axum::response::IntoResponse {
    ([(http::header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("login.css"))
}

/// `POST /login`: trades a token for a session cookie.
pub async fn login(
    State(doors): State<Doors>,
    Extension(peer): Extension<Peer>,
    Form(form): Form<Credentials>,
) -> Response {
    let Credentials { token, next } = form;
    let recognised = match Secret::parse(token.trim()).filter(|secret| secret.kind() == Kind::Token) {
        None => Err(Error::new(Code::Unauthenticated, "this is not a token: it begins with st_ and has 46 characters")),
        Some(secret) => doors.recognise(&secret).await.map(|caller| (secret, caller)),
    };
    match recognised {
        Ok((_, caller)) if caller.role == seatrial_core::role::Role::Agent => {
            refused(next.as_deref(), StatusCode::FORBIDDEN, "this token belongs to a device")
        }
        Ok((secret, _)) => {
            let to = Redirect::to(safe_next(next.as_deref()));
            (set_cookie(secret.reveal(), SESSION_SECONDS, peer.tls), to).into_response()
        }
        Err(error) => refused(next.as_deref(), error.code.http(), &error.message),
    }
}

/// `POST /logout`: makes the browser forget the token.
pub async fn logout(
    Extension(viewer): Extension<Viewer>,
    Extension(peer): Extension<Peer>,
    Form(form): Form<Goodbye>,
) -> Response {
    if !bool::from(form.csrf.as_bytes().ct_eq(viewer.csrf.as_bytes())) {
        return Error::new(Code::Forbidden, "the form is not of this session; load the page again").into_response();
    }
    (set_cookie("", 0, peer.tls), Redirect::to("/login")).into_response()
}

fn set_cookie(value: &str, seconds: u32, tls: bool) -> [(http::HeaderName, HeaderValue); 1] {
    let secure = if tls { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    [(SET_COOKIE, header)]
}

fn refused(next: Option<&str>, status: StatusCode, why: &str) -> Response {
    (status, Html(page(next, Some(why)))).into_response()
}

/// The one page that is needed before there is a viewer.
fn page(next: Option<&str>, problem: Option<&str>) -> String {
    let problem = problem.map_or_else(String::new, |why| {
        format!(
            "<p role=\"alert\">{} <span lang=\"zh-Hans\">未能登录：请检查令牌，或重新生成一个。</span></p>",
            escape(why)
        )
    });
    include_str!("login.html").replace("{{problem}}", &problem).replace("{{next}}", &escape(safe_next(next)))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(tls: bool) -> Peer {
        Peer { address: ([127, 0, 0, 1], 1).into(), local: ([127, 0, 0, 1], 2).into(), tls }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_pages_of_this_origin_may_write() {
        let judge = |pairs: &[(&'static str, &str)], needs_proof| {
            same_origin(&Method::POST, &headers(pairs), &Uri::from_static("/login"), peer(false), needs_proof).is_ok()
        };
        assert!(judge(&[("host", "localhost:7077"), ("origin", "http://localhost:7077")], true));
        assert!(judge(&[("host", "h"), ("sec-fetch-site", "same-origin")], true));
        for (foreign, why) in [
            (vec![("host", "localhost:7077"), ("origin", "http://evil.example")], "another host"),
            (vec![("host", "localhost:7077"), ("origin", "http://localhost:7078")], "another port"),
            (vec![("host", "localhost:7077"), ("origin", "https://localhost:7077")], "another scheme"),
            (vec![("host", "localhost:7077"), ("origin", "null")], "a sandboxed frame"),
            (vec![("host", "h"), ("origin", "http://h"), ("sec-fetch-site", "same-site")], "a sibling domain"),
        ] {
            assert!(!judge(&foreign, false), "{why}");
        }
        assert!(!judge(&[("host", "h")], true), "a cookie without any proof of origin");
        assert!(judge(&[("host", "h")], false), "a command line on this machine");
    }

    #[test]
    fn reading_needs_no_origin() {
        let foreign = headers(&[("host", "h"), ("origin", "http://evil.example")]);
        assert!(same_origin(&Method::GET, &foreign, &Uri::from_static("/"), peer(false), true).is_ok());
    }

    #[test]
    fn a_name_that_was_pointed_at_this_machine_is_refused() {
        let judge = |host: &str| {
            loopback_host(&headers(&[("host", host)]), &Uri::from_static("/"), &["lab.local".to_owned()]).is_ok()
        };
        for local in
            ["localhost", "LOCALHOST:7077", "a.localhost:1", "127.0.0.1:7077", "127.9.9.9", "[::1]:7077", "Lab.local:1"]
        {
            assert!(judge(local), "{local}");
        }
        for foreign in
            ["evil.example", "evil.example:7077", "localhost.evil.example", "10.0.0.1:7077", "127.0.0.1.nip.io", ""]
        {
            assert!(!judge(foreign), "{foreign:?}");
        }
    }

    #[test]
    fn a_login_leads_to_this_server_only() {
        for (next, expected) in [
            (Some("/runs/5?tab=a"), "/runs/5?tab=a"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (None, "/"),
        ] {
            assert_eq!(safe_next(next), expected);
        }
        assert_eq!(login_address(&Uri::from_static("/runs?a=b&c")), "/login?next=/runs%3Fa%3Db%26c");
    }

    #[test]
    fn what_a_stranger_sends_is_text_on_the_page() {
        let page = page(Some("/\"><script>"), Some("<script>alert(1)</script>"));
        assert!(!page.contains("<script>"), "{page}");
    }

    #[test]
    fn a_session_is_read_from_among_other_cookies() {
        let secret = Secret::new(Kind::Token, [3; 32]);
        let line = format!("theme=dark; {COOKIE_NAME}={}; x=y", secret.reveal());
        assert_eq!(session(&headers(&[("cookie", &line)])), Some(secret));
        assert_eq!(session(&headers(&[("cookie", "seatrial_session=garbage")])), None);
    }

    #[test]
    fn form_tokens_differ_by_session_and_by_process() {
        let (a, b) = (Secret::new(Kind::Token, [1; 32]), Secret::new(Kind::Token, [2; 32]));
        assert_ne!(form_token(&[0; 32], Some(&a)), form_token(&[0; 32], Some(&b)));
        assert_eq!(form_token(&[0; 32], Some(&a)), form_token(&[9; 32], Some(&a)), "any replica accepts it");
        assert_ne!(form_token(&[0; 32], None), form_token(&[9; 32], None));
    }
}
