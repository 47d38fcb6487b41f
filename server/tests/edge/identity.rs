//! Which device an agent speaks for, when little says so.

use seatrial_core::device::Evidence;
use seatrial_sim::connection::dial;
use seatrial_sim::{Connection, Identity};

use crate::support::Lab;

/// The id that the server gives a device of this evidence.
async fn attach(lab: &Lab, evidence: Evidence) -> String {
    let identity = Identity { evidence, ..Identity::named("phone") };
    let channel = dial(&lab.server.url()).await.unwrap();
    Connection::open(channel, &identity).await.unwrap().welcome.device
}

async fn devices(lab: &Lab) -> usize {
    lab.server.store.devices().await.unwrap().len()
}

#[tokio::test]
async fn a_device_without_any_evidence_is_attached_and_found_again_by_the_id_it_was_given() {
    let lab = Lab::start().await;
    let id = attach(&lab, Evidence::default()).await;
    let again = Evidence { agent_id: Some(id.clone()), ..Evidence::default() };
    assert_eq!((attach(&lab, again).await, devices(&lab).await), (id.clone(), 1));
    assert_ne!(attach(&lab, Evidence::default()).await, id, "nothing says that it is the same");
}

#[tokio::test]
async fn phones_that_share_a_serial_are_devices_of_their_own_by_the_ids_they_were_given() {
    let lab = Lab::start().await;
    let shared = |agent_id: Option<&String>, usb_path: &str| Evidence {
        agent_id: agent_id.cloned(),
        hardware_serial: Some("0123456789ABCDEF".to_owned()),
        machine_id: None,
        usb_path: Some(usb_path.to_owned()),
    };
    let first = attach(&lab, shared(None, "1-1")).await;
    let machines = ["a", "b"].map(|machine| Evidence { machine_id: Some(machine.to_owned()), ..shared(None, "1-2") });
    let mut ids = vec![first.clone()];
    for evidence in machines {
        ids.push(attach(&lab, evidence).await);
    }
    assert_eq!(ids[0], ids[1], "the one that is known of the serial, wherever it is plugged in");
    assert_ne!(ids[1], ids[2], "another machine of the same serial");
    let nobody = attach(&lab, shared(None, "1-3")).await;
    assert!(!ids.contains(&nobody), "two have the serial, and no socket tells which");
    for id in [&ids[0], &ids[2], &nobody] {
        assert_eq!(attach(&lab, shared(Some(id), "1-9")).await, *id);
    }
    assert_eq!(devices(&lab).await, 3);
}
