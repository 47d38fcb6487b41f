//! What `adb_client` 3.2 gets wrong, by its own behaviour here and now, and that the link is free of it. A test that fails
//! because `adb_client` has become better is good news: its control can go.

use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};

use adb_client::ADBDeviceExt as _;
use adb_client::server::ADBServer;
use adb_client::server_device::ADBServerDevice;
use rustix::process::Signal;
use seatrial_adb::{
    AdbServer, CancellationToken, Change, DeviceLink as _, Endpoint, Exec, ExecOutcome, Failure, Refusal, State,
    changes,
};

use crate::lab::{FOLDER, Phone, noise, patient, short, until};
use crate::namespaces::in_lab;
use crate::proxy::{Fault, Proxy};

fn its_address(server: &AdbServer) -> SocketAddrV4 {
    server.address().parse().unwrap()
}

/// What `adb_client` makes of a command: its code and its output.
async fn its_shell(
    phone: &Phone,
    server: &AdbServer,
    command: &'static str,
) -> (adb_client::Result<Option<u8>>, String) {
    let mut device = ADBServerDevice::new(phone.serial(), Some(its_address(server)));
    tokio::task::spawn_blocking(move || {
        let mut output = Vec::new();
        let result = device.shell_command(&command, Some(&mut output), None);
        (result, String::from_utf8(output).unwrap())
    })
    .await
    .unwrap()
}

/// `adb_client` would start an adb server before every call; this program starts none.
fn its_server(server: &AdbServer) -> ADBServer {
    ADBServer::new_from_path(its_address(server), Some("true".to_owned()))
}

#[test]
fn defect_1_an_exit_code_is_not_lost() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let (its, _) = its_shell(&phone, &lab.server(), "exit 7").await;
        assert!(matches!(its, Ok(None)), "the control: {its:?}");
        let ours = phone.link(&lab.server()).exec(&Exec::new("exit 7"), &patient()).await;
        assert_eq!(ours.outcome, ExecOutcome::Exited(7));
    });
}

#[test]
fn defect_2_a_link_that_is_cut_in_mid_command_is_not_its_success() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        // After the answers and the packet with the first word.
        let cut = || Proxy::start(lab.server().address().to_owned(), Fault::CutDown(8 + 5 + 6), Some(1));
        let proxy = cut().await;
        let (its, output) = its_shell(&phone, &AdbServer::at(proxy.address()), "echo begun; sleep 60").await;
        assert!(matches!(its, Ok(None)) && output == "begun\n", "the control: {its:?} {output:?}");
        let proxy = cut().await;
        let link = phone.link(&AdbServer::at(proxy.address()));
        let ours = link.exec(&Exec::new("echo begun; sleep 60"), &patient()).await;
        assert!(matches!(ours.outcome, ExecOutcome::TransportLost { .. }), "{:?}", ours.outcome);
        assert_eq!(ours.stdout.text(), "begun\n");
    });
}

#[test]
fn defect_3_a_frozen_daemon_does_not_hold_a_call_for_ever() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        lab.signal(&phone, Signal::STOP);
        let mut device = ADBServerDevice::new(phone.serial(), Some(its_address(&lab.server())));
        let its = std::thread::spawn(move || device.shell_command(&"true", None, None).is_ok());
        let ours = phone.link(&lab.server()).exec(&Exec::new("true"), &short()).await;
        assert!(matches!(ours.outcome, ExecOutcome::TimedOut { .. }), "{:?}", ours.outcome);
        assert!(!its.is_finished(), "the control: it still waits");
        lab.signal(&phone, Signal::CONT);
        assert!(its.join().unwrap(), "and would have waited until now");
    });
}

/// Whether this process has a file open.
fn is_open(path: &std::path::Path) -> bool {
    let mut files = std::fs::read_dir("/proc/self/fd").unwrap();
    files.any(|file| std::fs::read_link(file.unwrap().path()).is_ok_and(|at| at == path))
}

#[test]
fn defect_4_a_transfer_that_is_cancelled_leaves_no_thread_behind() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let local = lab.file("f", &noise(20_000_000, 6));
        let proxy = Proxy::start(lab.server().address().to_owned(), Fault::StallUp(1_000_000), Some(2)).await;
        let link = phone.link(&AdbServer::at(proxy.address()));
        let cancel = CancellationToken::new();
        let limits = patient().cancelled_by(cancel.clone());
        let remote = format!("{FOLDER}/f");
        let mut call = Box::pin(link.push(&local, &remote, 0o644, &limits));
        tokio::select! {
            result = &mut call => panic!("{result:?}"),
            () = until(async || proxy.has_bitten()) => {}
        }
        assert!(is_open(&local), "the control: the thread is in the middle of it");
        cancel.cancel();
        let error = call.await.unwrap_err();
        assert!(matches!(error.failure(), Some(Failure::Cancelled { .. })), "{error}");
        until(async || !is_open(&local)).await;
    });
}

#[test]
fn defect_5_one_phone_in_an_unknown_state_does_not_hide_the_others() {
    in_lab(async |lab| {
        let _phones = [lab.phone().await, lab.phone().await];
        let proxy = Proxy::start(lab.server().address().to_owned(), Fault::Replace(" device ", " asleep "), None).await;
        let server = AdbServer::at(proxy.address());
        let mut its = its_server(&server);
        let its = tokio::task::spawn_blocking(move || its.devices_long().map(|list| list.len())).await.unwrap();
        assert!(its.is_err(), "the control: {its:?}");
        let mut states: Vec<State> =
            server.devices(&patient()).await.unwrap().into_iter().map(|listed| listed.state).collect();
        states.sort();
        assert_eq!(states, [State::Device, State::Unknown("asleep".to_owned())]);
    });
}

#[test]
fn defect_6_a_phone_that_is_unplugged_is_an_event() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let (mut its, tells) = (its_server(&lab.server()), told.clone());
        std::thread::spawn(move || {
            its.track_devices(|device| {
                tells.lock().unwrap().push(device.state.to_string());
                Ok(())
            })
        });
        let devices = || told.lock().unwrap().iter().filter(|state| *state == "device").count();
        until(async || devices() == 1).await;
        let mut tracking = lab.server().track(&patient()).await.unwrap();
        let mut last = tracking.next().await.unwrap();
        lab.server().disconnect(&phone.serial(), &patient()).await.unwrap();
        let mut seen = Vec::new();
        while !last.is_empty() {
            let list = tracking.next().await.unwrap();
            seen.extend(changes(&last, &list));
            last = list;
        }
        assert!(matches!(seen.last(), Some(Change::Gone(_))), "{seen:?}");
        phone.connect(&lab.server()).await;
        until(async || devices() == 2).await;
        let told = told.lock().unwrap();
        let is_said = told.iter().any(|state| !["device", "offline", "connecting"].contains(&state.as_str()));
        assert!(!is_said, "the control: it has no word for a phone that is gone: {told:?}");
    });
}

#[test]
fn defect_7_a_port_that_was_chosen_is_told() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let mut device = ADBServerDevice::new(phone.serial(), Some(its_address(&lab.server())));
        let its: adb_client::Result<()> =
            tokio::task::spawn_blocking(move || device.forward("tcp:9".to_owned(), "tcp:0".to_owned())).await.unwrap();
        its.expect("the control: nothing but that it was done");
        let link = phone.link(&lab.server());
        let ours = link.forward(&Endpoint::Tcp(0), &Endpoint::Tcp(9), &patient()).await.unwrap().unwrap();
        let output = lab.adb().args(["forward", "--list"]).output().unwrap();
        let list = String::from_utf8(output.stdout).unwrap();
        assert!(ours > 0 && list.contains(&format!("tcp:{ours} tcp:9")), "{list}");
    });
}

#[test]
fn defect_8_a_reverse_tunnel_that_clashes_or_is_missing_is_an_error() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut device = ADBServerDevice::new(phone.serial(), Some(its_address(&lab.server())));
        let its = tokio::task::spawn_blocking(move || device.reverse(format!("tcp:{port}"), "tcp:9".to_owned())).await;
        its.unwrap().expect("the control: it says that it is done");
        let link = phone.link(&lab.server());
        let kind = |error: seatrial_adb::LinkError| match error.failure() {
            Some(Failure::Refused(refused)) => refused.kind,
            other => panic!("{other:?}"),
        };
        let clash = link.reverse(&Endpoint::Tcp(port), &Endpoint::Tcp(9), &patient()).await.unwrap_err();
        assert_eq!(kind(clash), Refusal::InUse);
        let missing = link.remove_reverse(&Endpoint::Tcp(port), &patient()).await.unwrap_err();
        assert_eq!(kind(missing), Refusal::NoSuchRule);
    });
}
