//! What probes are told, over HTTP and over gRPC.

use http::StatusCode;
use seatrial_core::role::Role;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::support::Lab;

async fn probe(lab: &Lab) -> HealthClient<Channel> {
    HealthClient::new(Channel::from_shared(lab.server.url()).unwrap().connect().await.unwrap())
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    watch.message().await.unwrap().map(|said| said.status())
}

#[tokio::test]
async fn health_is_for_everybody_and_counters_are_not() {
    let lab = Lab::start().await;
    lab.token("ann", Role::Admin, None).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(lab.get(path).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    assert_eq!(lab.get("/metrics").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let mut probe = probe(&lab).await;
    for service in ["", "seatrial.v1.AgentService", "seatrial.v1.Runs", "seatrial.v1.Tokens"] {
        let said = probe.check(of(service)).await.unwrap().into_inner();
        assert_eq!(said.status(), ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(probe.check(of("seatrial.v1.Nothing")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn who_watches_hears_that_the_server_drains_and_does_not_hold_it_up() {
    let lab = Lab::start().await;
    let mut probe = probe(&lab).await;
    let mut watches = Vec::new();
    for service in ["", "seatrial.v1.AgentService", "seatrial.v1.Runs"] {
        let mut watch = probe.watch(of(service)).await.unwrap().into_inner();
        assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving), "{service:?}");
        watches.push(watch);
    }
    let begun = std::time::Instant::now();
    let stopping = tokio::spawn(lab.stop_within(crate::support::PATIENCE));
    for mut watch in watches {
        assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
        assert_eq!(next(&mut watch).await, None, "it is let go");
    }
    drop(probe);
    drop(stopping.await.unwrap());
    assert!(begun.elapsed() < crate::support::PATIENCE / 2, "the drain waited for its deadline");
}
