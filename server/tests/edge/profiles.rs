//! What devices are: kept as it was read, and read again by newer rules.

use seatrial_core::profile::{Ending, Piece, RULES_VERSION, RawEvidence, Rules, read};
use seatrial_core::reading::Reading;
use seatrial_core::store::DeviceRow;
use seatrial_proto::{raw_evidence_to_wire, v1};
use seatrial_server::{Config, Running, Shutdown};
use seatrial_sim::connection::dial;
use seatrial_sim::{Connection, Identity};

use crate::support::Lab;

const VIVO: &str = "[ro.product.brand]: [vivo]\n[ro.vivo.market.name]: [X100]\n";

fn evidence() -> RawEvidence {
    let mut evidence = RawEvidence::default();
    evidence.keep(Piece::Getprop, VIVO.to_owned(), Ending::Whole);
    evidence
}

/// An agent whose rules of this number have found nothing.
fn hello(rules: u32, raw_evidence: Vec<u8>) -> (Identity, v1::Hello) {
    let mut identity = Identity::named("phone");
    let mut findings = read(&RawEvidence::default(), Rules::shipped().unwrap());
    findings.rules = rules;
    identity.profile.brand = Reading::absent("not found");
    identity.profile.findings = Some(findings);
    let hello = v1::Hello { raw_evidence: raw_evidence.into(), ..identity.hello().unwrap() };
    (identity, hello)
}

async fn attach(server: &Running, rules: u32, raw_evidence: Vec<u8>) -> Result<(), String> {
    let (identity, hello) = hello(rules, raw_evidence);
    let channel = dial(&server.url()).await.unwrap();
    Connection::open_with(channel, &identity, hello).await.map(drop).map_err(|error| error.to_string())
}

async fn device(server: &Running) -> DeviceRow {
    server.store.devices().await.unwrap().remove(0)
}

#[tokio::test]
async fn what_an_agent_of_older_rules_brings_is_read_by_the_rules_of_the_server() {
    let lab = Lab::start().await;
    let raw = raw_evidence_to_wire(&evidence()).unwrap();
    attach(&lab.server, RULES_VERSION, raw.clone()).await.unwrap();
    assert_eq!(device(&lab.server).await.profile.brand.present(), None, "an agent of these rules is believed");
    attach(&lab.server, RULES_VERSION - 1, raw.clone()).await.unwrap();
    let row = device(&lab.server).await;
    assert_eq!(row.profile.brand, Reading::Present("vivo".to_owned()));
    assert_eq!(row.profile.findings, Some(read(&evidence(), Rules::shipped().unwrap())));
    assert_eq!(lab.server.store.raw_evidence(row.id).await.unwrap(), Some(raw));
}

#[tokio::test]
async fn evidence_that_is_damaged_is_refused_in_words_and_none_is_accepted() {
    let lab = Lab::start().await;
    attach(&lab.server, 1, Vec::new()).await.unwrap();
    let error = attach(&lab.server, 1, b"no zstd".to_vec()).await.unwrap_err();
    assert!(error.contains("raw evidence is not valid"), "{error}");
    assert_eq!(lab.server.store.raw_evidence(device(&lab.server).await.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_of_newer_rules_reads_devices_that_are_away_again_when_it_starts() {
    let lab = Lab::start().await;
    attach(&lab.server, RULES_VERSION, raw_evidence_to_wire(&evidence()).unwrap()).await.unwrap();
    let mut row = device(&lab.server).await;
    // As an older server has left it.
    row.profile.findings.as_mut().unwrap().rules = RULES_VERSION - 1;
    assert!(lab.server.store.set_device_profile(row.id, &row.profile).await.unwrap());
    let folder = lab.stop().await;
    let server = seatrial_server::start(Config::embedded(folder.path().join("data"))).await.unwrap();
    assert_eq!(device(&server).await.profile.brand, Reading::Present("vivo".to_owned()));
    server.shutdown(Shutdown::Hard).await;
}
