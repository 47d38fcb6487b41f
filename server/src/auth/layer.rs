//! The guard before every handler.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts as Head;
use http::{HeaderMap, Method, Uri};
use seatrial_core::role::Role;
use seatrial_core::store::{Bootstrap, Store, StoreError, TokenRow};
use seatrial_core::time::Clock;
use seatrial_dashboards::Viewer;
use tokio::sync::{broadcast, oneshot};

use super::audit::{Audit, Note};
use super::doors::{self, Door};
use super::token::{self, Kind, Secret};
use super::{Caller, Presented, revocation, web};
use crate::error::{Code, Error};
use crate::metrics::Metrics;
use crate::net::Peer;
use seatrial_core::ids::TokenId;

/// Revocations that a slow stream may be behind before it is ended to be safe.
const REVOCATIONS: usize = 64;
/// Writes that may go on without the callers who asked for them; as long as there are so many, no other is begun.
const MAX_UNATTENDED: usize = 1024;

/// What the guard knows. Cheap to clone.
#[derive(Clone)]
pub struct Doors(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    audit: Audit,
    metrics: Metrics,
    /// The operating system's user.
    user: Caller,
    /// Ties forms to this process where no token ties them to a session.
    form_key: [u8; 32],
    /// Host names, beside the loopback ones, at which this machine may be addressed without a token.
    hosts: Vec<String>,
    /// Whether a token was ever made for a person. That cannot become untrue.
    loopback_closed: AtomicBool,
    revoked: broadcast::Sender<TokenId>,
    /// Writes whose callers have left.
    unattended: AtomicUsize,
}

/// What [`Doors::new`] takes.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub audit: Audit,
    pub metrics: Metrics,
    pub bootstrap: Bootstrap,
    /// Name of the operating system's user.
    pub user: String,
    pub form_key: [u8; 32],
    pub hosts: Vec<String>,
}

impl Doors {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, audit, metrics, bootstrap, user, form_key, hosts } = parts;
        let user = Caller {
            principal: bootstrap.principal,
            principal_name: user,
            project: bootstrap.project,
            role: Role::Admin,
            device: None,
            token: None,
        };
        let revoked = broadcast::Sender::new(REVOCATIONS);
        Self(Arc::new(Inner {
            store,
            clock,
            audit,
            metrics,
            user,
            form_key,
            hosts,
            loopback_closed: AtomicBool::new(false),
            revoked,
            unattended: AtomicUsize::new(0),
        }))
    }

    /// Ends the streams of a token that has just been revoked.
    pub fn revoked(&self, token: TokenId) {
        // Nobody listening means that no stream is open.
        let _ = self.0.revoked.send(token);
    }

    /// The caller behind a secret: known, not expired, not revoked.
    pub async fn recognise(&self, secret: &Secret) -> Result<Caller, Error> {
        let unknown = || Error::new(Code::Unauthenticated, "the token is not known to this server");
        if secret.kind() != Kind::Token {
            return Err(Error::new(
                Code::Unauthenticated,
                "an enrolment is not a token; it only enrols a device, once",
            ));
        }
        let row = self.0.store.token_by_hash(&secret.hash()).await?.ok_or_else(unknown)?;
        let TokenRow { id, principal, project, name, role, device, created_at: _, expires_at, revoked_at } = row;
        if revoked_at.is_some() {
            return Err(Error::new(Code::Unauthenticated, "the token was revoked"));
        }
        if expires_at.is_some_and(|end| end <= self.0.clock.now()) {
            return Err(Error::new(Code::Unauthenticated, "the token has expired"));
        }
        Ok(Caller { principal, principal_name: name, project, role, device, token: Some(id) })
    }

    /// The value that every form of a caller's pages must carry.
    #[must_use]
    pub fn form_token(&self, session: Option<&Secret>) -> String {
        web::form_token(&self.0.form_key, session)
    }

    /// Whether this machine's user passes without a token: no person ever had one. That the last of them has ended
    /// opens nothing to every program of this machine.
    pub async fn loopback_is_free(&self) -> Result<bool, StoreError> {
        if self.0.loopback_closed.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let closed = self.0.store.knows_people().await?;
        self.0.loopback_closed.fetch_or(closed, Ordering::Relaxed);
        Ok(!closed)
    }

    async fn authenticate(&self, head: &Head, peer: Peer, is_grpc: bool) -> Result<(Caller, Option<Secret>), Error> {
        if let Some(bearer) = token::bearer(&head.headers) {
            let secret = bearer.map_err(|error| Error::new(Code::Unauthenticated, error.to_string()))?;
            return Ok((self.recognise(&secret).await?, None));
        }
        if let Some(secret) = web::session(&head.headers).filter(|_| !is_grpc) {
            web::same_origin(&head.method, &head.headers, &head.uri, peer, true)?;
            return Ok((self.recognise(&secret).await?, Some(secret)));
        }
        if is_this_machine(peer) && self.loopback_is_free().await? {
            web::loopback_host(&head.headers, &head.uri, &self.0.hosts)?;
            web::same_origin(&head.method, &head.headers, &head.uri, peer, false)?;
            return Ok((self.0.user.clone(), None));
        }
        Err(Error::new(Code::Unauthenticated, "this server needs a token (header \"authorization: Bearer st_…\")"))
    }
}

/// Both ends on loopback: a tunnel or proxy on this machine looks the same, see docs/security.md.
fn is_this_machine(peer: Peer) -> bool {
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    is_loopback(peer.address.ip()) && is_loopback(peer.local.ip())
}

/// Lets a request through to its handler, or answers it. Use with [`axum::middleware::from_fn_with_state`].
pub async fn guard(State(doors): State<Doors>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let is_grpc = is_grpc(&head.headers);
    let Some(peer) = head.extensions.get::<Peer>().copied() else {
        return refusal(Error::new(Code::Internal, "the connection has no peer"), is_grpc, &head);
    };
    let Some(call) = call_of(&head) else {
        return unknown(is_grpc, &head);
    };
    let Some(door) = doors::find(&call) else {
        if is_grpc {
            return unknown(is_grpc, &head);
        }
        tracing::debug!(call, "refused: doors.toml has no row for it");
        return refusal(Error::new(Code::Forbidden, format!("nobody may call {call}")), is_grpc, &head);
    };
    let visit = Visit { doors, door, head, body, peer, is_grpc };
    if door.write { visit.finish_whatever_its_caller_does(next).await } else { visit.answer(next).await }
}

/// A request that has found its row.
struct Visit {
    doors: Doors,
    door: &'static Door,
    head: Head,
    body: axum::body::Body,
    peer: Peer,
    is_grpc: bool,
}

impl Visit {
    /// Answers in a task of its own: what follows a committed write must also be done when the caller has left.
    async fn finish_whatever_its_caller_does(self, next: Next) -> Response {
        let doors = self.doors.clone();
        let unattended = doors.0.unattended.load(Ordering::Relaxed);
        if unattended >= MAX_UNATTENDED {
            tracing::warn!(call = self.door.call, unattended, "refused: too many writes whose callers have left");
            let error = Error::new(Code::Unavailable, "the server is behind with its writes: try again");
            return refusal(error, self.is_grpc, &self.head);
        }
        let (call, is_grpc) = (self.door.call, self.is_grpc);
        let (mut reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            let mut work = std::pin::pin!(self.answer(next));
            tokio::select! {
                biased;
                response = &mut work => {
                    let _ = reply.send(response); // the caller may leave at any time
                }
                () = reply.closed() => {
                    let _unattended = Unattended::begin(&doors);
                    work.await;
                }
            }
        });
        answer.await.unwrap_or_else(|_| {
            tracing::error!(call, "the handler broke off");
            let error = Error::new(Code::Internal, "the request broke off inside the server: its log says why");
            if is_grpc { tonic::Status::from(error).into_http() } else { error.into_response() }
        })
    }

    async fn answer(self, next: Next) -> Response {
        let Self { doors, door, mut head, body, peer, is_grpc } = self;
        let started = doors.0.clock.monotonic();
        let object = head.uri.path().to_owned();
        // Before the token is looked at: a revocation between the look and the stream would be missed.
        let revoked = door.streams.then(|| doors.0.revoked.subscribe());
        let response = match doors.admit(door, &mut head, peer, is_grpc).await {
            Err(Refused { error, caller }) => {
                if door.write
                    && let Some(caller) = caller
                {
                    let actor = Some((caller.principal, caller.project));
                    doors.0.audit.append(actor, door.call, &object, &Note::default(), false).await;
                }
                refusal(error, is_grpc, &head)
            }
            Ok(caller) => {
                let note = Note::default();
                head.extensions.insert(note.clone());
                let response = next.run(Request::from_parts(head, body)).await;
                if door.write {
                    let actor = caller.as_ref().map(|caller| (caller.principal, caller.project));
                    doors.0.audit.append(actor, door.call, &object, &note, true).await;
                }
                match (caller.and_then(|caller| caller.token), revoked) {
                    (Some(token), Some(revoked)) => revocation::end_when_revoked(response, token, revoked),
                    (None, _) | (_, None) => response,
                }
            }
        };
        let (result, took) = (result_of(&response), doors.0.clock.monotonic().since(started));
        tracing::debug!(call = door.call, result, took_us = took.as_micros(), "answered");
        doors.0.metrics.request(door.call, result, took);
        response
    }
}

/// Counts a write as one whose caller has left, until it ends.
struct Unattended<'a>(&'a AtomicUsize);

impl<'a> Unattended<'a> {
    fn begin(doors: &'a Doors) -> Self {
        doors.0.unattended.fetch_add(1, Ordering::Relaxed);
        Self(&doors.0.unattended)
    }
}

impl Drop for Unattended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Refused {
    error: Error,
    /// Who was refused, when that much is known.
    caller: Option<Caller>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, caller: None }
    }
}

impl Doors {
    /// Finds out who is at the door and puts what the handler needs into the request's extensions.
    async fn admit(&self, door: &Door, head: &mut Head, peer: Peer, is_grpc: bool) -> Result<Option<Caller>, Refused> {
        if door.is_open() {
            web::same_origin(&head.method, &head.headers, &head.uri, peer, false)?;
            return Ok(None);
        }
        if door.takes_enrolment() {
            let needed = || {
                Error::new(
                    Code::Unauthenticated,
                    "enrolling needs an enrolment (header \"authorization: Bearer se_…\")",
                )
            };
            let bearer = token::bearer(&head.headers).ok_or_else(needed)?;
            let secret = bearer.ok().filter(|secret| secret.kind() == Kind::Enrolment).ok_or_else(needed)?;
            head.extensions.insert(Presented(secret.hash()));
            return Ok(None);
        }
        let (caller, session) = self.authenticate(head, peer, is_grpc).await?;
        // The user of this machine may also speak for a device: there is no token that could.
        if !door.admits(caller.role) && caller.token.is_some() {
            let error = Error::new(
                Code::Forbidden,
                format!(
                    "{} needs the role {}; {:?} has {}",
                    door.call,
                    door.needs(),
                    caller.principal_name,
                    caller.role.as_str()
                ),
            );
            return Err(Refused { error, caller: Some(caller) });
        }
        if !is_grpc {
            head.extensions.insert(Viewer {
                name: caller.principal_name.clone(),
                role: caller.role,
                project: caller.project,
                csrf: self.form_token(session.as_ref()),
                session: session.is_some(),
            });
        }
        head.extensions.insert(caller.clone());
        Ok(Some(caller))
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The key of the request's row: `package.Service/Method` for gRPC, else method and route. What leads nowhere is `*`.
fn call_of(head: &Head) -> Option<String> {
    let Some(matched) = head.extensions.get::<MatchedPath>() else {
        return head.method.is_safe().then(|| "GET *".to_owned());
    };
    let matched = matched.as_str();
    if matched.ends_with("/{*rest}") && matched.contains('.') {
        return Some(head.uri.path().trim_start_matches('/').to_owned());
    }
    let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
    Some(format!("{method} {matched}"))
}

/// A refusal in the caller's own protocol; a browser that has no session is sent to sign in.
fn refusal(error: Error, is_grpc: bool, head: &Head) -> Response {
    if is_grpc {
        return tonic::Status::from(error).into_http::<axum::body::Body>();
    }
    if error.code == Code::Unauthenticated && wants_page(head) {
        return Redirect::to(&web::login_address(&head.uri)).into_response();
    }
    let needs_token = error.code == Code::Unauthenticated;
    let mut response = error.into_response();
    if needs_token {
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    }
    response
}

/// An address that leads nowhere.
fn unknown(is_grpc: bool, head: &Head) -> Response {
    if is_grpc {
        return tonic::Status::unimplemented(format!("this server has no method {}", head.uri.path())).into_http();
    }
    refusal(Error::not_found(format!("page {}", head.uri.path())), is_grpc, head)
}

fn wants_page(head: &Head) -> bool {
    let accepts_html = |value: &http::HeaderValue| value.to_str().is_ok_and(|accept| accept.contains("text/html"));
    head.method == Method::GET && head.headers.get(ACCEPT).is_some_and(accepts_html)
}

/// `ok`, `refused` (the caller's fault) or `failed` (ours).
fn result_of(response: &Response) -> &'static str {
    let grpc = response.headers().get("grpc-status").and_then(|value| value.to_str().ok()?.parse::<i32>().ok());
    match grpc.map(tonic::Code::from_i32) {
        Some(tonic::Code::Ok) => "ok",
        Some(tonic::Code::Unknown | tonic::Code::Internal | tonic::Code::Unavailable | tonic::Code::DataLoss) => {
            "failed"
        }
        Some(_) => "refused",
        None if response.status().is_server_error() => "failed",
        None if response.status().is_client_error() => "refused",
        None => "ok",
    }
}

/// The address that a request asks for, as its client spells it.
pub(super) fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    uri.authority().map(http::uri::Authority::as_str).or_else(|| headers.get(http::header::HOST)?.to_str().ok())
}
