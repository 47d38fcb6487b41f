//! The guard around handlers of a test's own: what must happen although a caller has left.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use http::header::{AUTHORIZATION, HOST};
use http_body_util::BodyExt as _;
use seatrial_core::role::Role;
use seatrial_core::store::BootstrapSeed;
use seatrial_core::time::Clock as _;
use seatrial_server::auth::audit::Audit;
use seatrial_server::auth::layer::{Doors, Parts, guard};
use seatrial_server::metrics::Metrics;
use seatrial_server::net::Peer;
use seatrial_server::system::{SystemClock, entropy};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::support::{Lab, PATIENCE, eventually};

async fn doors(lab: &Lab) -> Doors {
    let store = lab.server.store.clone();
    let clock = Arc::new(SystemClock::new());
    let now = clock.now();
    let seed = BootstrapSeed {
        project: seatrial_core::ids::ProjectId::new(now, entropy()),
        principal: seatrial_core::ids::PrincipalId::new(now, entropy()),
        user: seatrial_server::system::user_name(),
        now,
    };
    let bootstrap = store.bootstrap(&seed).await.unwrap();
    let (audit, _) = Audit::start(store.clone(), clock.clone());
    Doors::new(Parts {
        store,
        clock,
        audit,
        metrics: Metrics::new(),
        bootstrap,
        user: seed.user,
        form_key: entropy(),
        hosts: Vec::new(),
    })
}

fn request(path: &str) -> Request {
    let peer =
        Peer { address: "127.0.0.1:4000".parse().unwrap(), local: "127.0.0.1:5000".parse().unwrap(), tls: false };
    let request = http::Request::post(path).header(HOST, "localhost").extension(peer);
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_write_whose_caller_has_left_runs_to_its_end_and_into_the_audit_log() {
    let lab = Lab::start().await;
    let (begun, go_on, ended) = <(Arc<Notify>, Arc<Notify>, Arc<Notify>)>::default();
    let handler = {
        let (begun, go_on, ended) = (begun.clone(), go_on.clone(), ended.clone());
        async move || {
            begun.notify_one();
            go_on.notified().await;
            ended.notify_one();
        }
    };
    let router = Router::new().route("/logout", post(handler)).layer(from_fn_with_state(doors(&lab).await, guard));
    // A connection that breaks drops what it is waiting for.
    let call = tokio::spawn(router.oneshot(request("/logout")));
    begun.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled(), "the control: the caller has left");
    go_on.notify_one();
    tokio::time::timeout(PATIENCE, ended.notified()).await.unwrap();
    eventually("the audit log has the write", async || {
        let entries = lab.server.store.audit(lab.project().await, None, 10).await.unwrap();
        entries.iter().any(|entry| entry.row.action == "POST /logout" && entry.row.allowed)
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_for() {
    let lab = Lab::start().await;
    let broken = async || -> &'static str { panic!("the test says so") };
    let router = Router::new().route("/logout", post(broken)).layer(from_fn_with_state(doors(&lab).await, guard));
    let answer = router.oneshot(request("/logout")).await.unwrap();
    assert_eq!(answer.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_token_that_is_revoked_while_its_stream_opens_ends_the_stream() {
    let lab = Lab::start().await;
    let (secret, id) = lab.token("ann", Role::Viewer, None).await;
    let doors = doors(&lab).await;
    let revoking = doors.clone();
    let handler = async move || {
        revoking.revoked(id); // the token was let in, and there is no stream yet
        Body::from_stream(futures::stream::pending::<Result<&[u8], std::io::Error>>())
    };
    let router =
        Router::new().route("/seatrial.v1.Runs/{*rest}", post(handler)).layer(from_fn_with_state(doors, guard));
    let mut watch = request("/seatrial.v1.Runs/Watch");
    let bearer = format!("Bearer {}", secret.reveal());
    watch.headers_mut().insert(AUTHORIZATION, bearer.parse().unwrap());
    let answer = router.oneshot(watch).await.unwrap();
    assert_eq!(answer.status(), http::StatusCode::OK);
    let body = tokio::time::timeout(Duration::from_secs(10), answer.into_body().collect()).await.unwrap().unwrap();
    let trailers = body.trailers().unwrap();
    assert_eq!(trailers["grpc-status"], (tonic::Code::Unauthenticated as i32).to_string());
}
