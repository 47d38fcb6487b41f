//! Builds of the agent, as devices get them.

use http::StatusCode;
use seatrial_core::digest::Digest;
use seatrial_core::role::Role;
use seatrial_proto::v1;
use seatrial_proto::v1::agents_client::AgentsClient;
use seatrial_server::auth::token::Secret;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use crate::support::{Lab, client, eventually};

const BOARD: &str = "aarch64-linux-gnu";

fn signed<T>(message: T, who: &Secret) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = MetadataValue::try_from(format!("Bearer {}", who.reveal())).unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

async fn agents(lab: &Lab) -> AgentsClient<tonic::transport::Channel> {
    AgentsClient::connect(lab.server.url()).await.unwrap()
}

/// Uploads the bytes and adds them as an agent.
async fn add(lab: &Lab, who: &Secret, abi: &str, bytes: &'static [u8]) -> Result<bool, Status> {
    let digest = Digest::of(bytes);
    let put = client().put(lab.url(&format!("/artifacts/{digest}"))).bearer_auth(who.reveal()).body(bytes);
    assert!(put.send().await.unwrap().status().is_success());
    let request = v1::AddAgentRequest {
        digest: digest.as_bytes().to_vec().into(),
        size: bytes.len() as u64,
        abi: abi.into(),
        version: "0.1.0".into(),
    };
    agents(lab).await.add(signed(request, who)).await.map(|answer| answer.into_inner().added)
}

async fn fetch(lab: &Lab, who: &Secret, bytes: &[u8]) -> StatusCode {
    let get = lab.get(&format!("/artifacts/{}", Digest::of(bytes))).bearer_auth(who.reveal());
    get.send().await.unwrap().status()
}

#[tokio::test]
async fn a_device_fetches_the_newest_agents_and_no_others() {
    let lab = Lab::start().await;
    let (operator, _) = lab.token("operator", Role::Operator, None).await;
    let (device, _) = lab.token("device", Role::Agent, None).await;
    assert!(add(&lab, &operator, BOARD, b"old").await.unwrap());
    assert_eq!(fetch(&lab, &device, b"old").await, StatusCode::OK);
    assert!(add(&lab, &operator, BOARD, b"new").await.unwrap());
    assert!(!add(&lab, &operator, BOARD, b"new").await.unwrap(), "it is the newest already");
    assert_eq!(fetch(&lab, &device, b"old").await, StatusCode::FORBIDDEN);
    assert_eq!(fetch(&lab, &device, b"new").await, StatusCode::OK);
    assert!(add(&lab, &operator, "aarch64-linux-android", b"old").await.unwrap());
    assert_eq!(fetch(&lab, &device, b"old").await, StatusCode::OK, "the newest of another ABI");

    let listed = agents(&lab).await.list(signed(v1::ListAgentsRequest {}, &device)).await.unwrap().into_inner();
    let listed: Vec<_> = listed.builds.iter().map(|build| (build.abi.as_str(), &build.digest[..])).collect();
    let [old, new] = [b"old", b"new"].map(|bytes| *Digest::of(bytes).as_bytes());
    assert_eq!(listed, [("aarch64-linux-android", &old[..]), (BOARD, &new[..]), (BOARD, &old[..])]);
}

#[tokio::test]
async fn only_an_operator_adds_an_agent_and_it_is_written_down() {
    let lab = Lab::start().await;
    let (operator, _) = lab.token("operator", Role::Operator, None).await;
    let (submitter, _) = lab.token("submitter", Role::Submitter, None).await;
    assert_eq!(add(&lab, &submitter, BOARD, b"mine").await.unwrap_err().code(), Code::PermissionDenied);
    let refused = add(&lab, &operator, "sparc-linux-gnu", b"agent").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(add(&lab, &operator, BOARD, b"agent").await.unwrap());

    let written = async || {
        let entries = lab.server.store.audit(lab.project().await, None, 100).await.unwrap();
        let rows = entries.into_iter().map(|entry| entry.row).filter(|row| row.action == "seatrial.v1.Agents/Add");
        rows.map(|row| (row.object, row.allowed, row.after)).collect::<Vec<_>>()
    };
    let entry = ("agent 0.1.0 for aarch64-linux-gnu".to_owned(), true, Some(Digest::of(b"agent")));
    eventually("the audit log has it", async || written().await.contains(&entry)).await;
    let refused = written().await.into_iter().filter(|(_, allowed, _)| !allowed).count();
    assert!(refused >= 1, "{:?}", written().await);
}
