//! What a lab host asks of the Seatrial server.

use std::collections::BTreeSet;
use std::time::Duration;

use seatrial_core::agents::AgentBuild;
use seatrial_core::digest::Digest;
use seatrial_core::lab::seen::Seen;
use seatrial_proto::v1;
use seatrial_proto::v1::agents_client::AgentsClient;
use seatrial_proto::v1::devices_client::DevicesClient;
use seatrial_proto::v1::tokens_client::TokensClient;

use crate::link::Server;

/// How long a one-time token of a phone is good: it is used when its agent starts.
const ENROLMENT_SECONDS: u64 = 600;
const WITHIN: Duration = Duration::from_secs(15);

/// The newest agent of each ABI. What the server lists and this version does not understand is left out.
pub(super) async fn newest_builds(server: &Server) -> Result<Vec<AgentBuild>, String> {
    let request = server.request(v1::ListAgentsRequest {}, WITHIN)?;
    let answer = AgentsClient::new(server.channel().await?).list(request).await.map_err(|status| told(&status))?;
    let mut builds: Vec<AgentBuild> = Vec::new();
    for v1::AgentBuild { abi, version, digest, size, .. } in answer.into_inner().builds {
        let (Ok(abi), Ok(digest)) = (abi.parse(), Digest::try_from(&digest[..])) else { continue };
        if !builds.iter().any(|build| build.abi == abi) {
            builds.push(AgentBuild { abi, version, digest, size });
        }
    }
    Ok(builds)
}

/// A one-time token, for a phone that has none of its own.
pub(super) async fn one_time_token(server: &Server) -> Result<String, String> {
    let request = server.request(v1::CreateEnrolmentRequest { valid_seconds: ENROLMENT_SECONDS }, WITHIN)?;
    let answer = TokensClient::new(server.channel().await?).enrol(request).await.map_err(|status| told(&status))?;
    Ok(answer.into_inner().token)
}

/// Ids of the devices that have a stream to the server now.
pub(super) async fn connected(server: &Server) -> Result<BTreeSet<String>, String> {
    let request = server.request(v1::ListDevicesRequest { selector: String::new() }, WITHIN)?;
    let mut client = DevicesClient::new(server.channel().await?).max_decoding_message_size(seatrial_proto::MAX_MESSAGE);
    let answer = client.list(request).await.map_err(|status| told(&status))?;
    let devices = answer.into_inner().devices.into_iter();
    Ok(devices.filter(|device| device.connected).map(|device| device.id).collect())
}

/// Tells what is on the cables here.
pub(super) async fn report(server: &Server, host: &str, seen: &[Seen]) -> Result<(), String> {
    let request = server.request(seatrial_proto::seen_to_wire(host, seen), WITHIN)?;
    let answer = DevicesClient::new(server.channel().await?).report_seen(request).await;
    answer.map(drop).map_err(|status| told(&status))
}

fn told(status: &tonic::Status) -> String {
    format!("{} ({:?})", status.message(), status.code())
}
