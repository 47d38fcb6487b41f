//! Devices that come, go and freeze.

use rustix::process::Signal;
use seatrial_adb::{
    AdbLink, AdbServer, Change, Connected, DeviceLink as _, Exec, Failure, Phase, RebootTarget, Refusal, State, Target,
    changes,
};

use crate::lab::{PATIENCE, Phone, patient, short, states, until};
use crate::namespaces::in_lab;

#[test]
fn phones_are_listed_with_their_states_and_transports() {
    in_lab(async |lab| {
        assert_eq!(lab.server().devices(&patient()).await.unwrap(), [], "a server without phones");
        assert_eq!(lab.server().version(&patient()).await.unwrap(), 41);
        let phones = [lab.phone().await, lab.phone().await];
        let list = lab.server().devices(&patient()).await.unwrap();
        let mut found = states(&list);
        found.sort();
        assert_eq!(found, phones.clone().map(|phone| (phone.serial(), State::Device)));
        for listed in &list {
            let id = Target::Transport(listed.transport_id.unwrap());
            let by_id = AdbLink::new(lab.server(), id);
            assert!(by_id.exec(&Exec::new("true"), &patient()).await.is_success(), "each by its transport");
        }
        let features = phones[0].link(&lab.server()).features(&patient()).await.unwrap();
        assert!(features.iter().any(|feature| feature == "shell_v2"), "{features:?}");
    });
}

#[test]
fn a_phone_that_comes_goes_and_comes_back_is_seen_each_time_and_the_empty_list_too() {
    in_lab(async |lab| {
        let mut tracking = lab.server().track(&patient()).await.unwrap();
        assert_eq!(tracking.next().await.unwrap(), [], "at once");
        let phone = lab.phone().await;
        let mut last = Vec::new();
        let mut next_with = async |serial: &Phone, wanted: Option<State>| {
            tokio::time::timeout(PATIENCE, async {
                let mut seen = Vec::new();
                loop {
                    let list = tracking.next().await.unwrap();
                    seen.extend(changes(&last, &list));
                    last = list;
                    let state = last.iter().find(|listed| listed.serial == serial.serial()).map(|listed| &listed.state);
                    if state == wanted.as_ref() {
                        return seen;
                    }
                }
            })
            .await
            .unwrap()
        };
        let came = next_with(&phone, Some(State::Device)).await;
        assert!(matches!(came.first(), Some(Change::Appeared(_))), "{came:?}");
        lab.kill(&phone);
        let left = next_with(&phone, Some(State::Offline)).await;
        assert!(matches!(left.last(), Some(Change::Changed { .. })), "{left:?}");
        lab.start_again(&phone);
        phone.connect(&lab.server()).await;
        next_with(&phone, Some(State::Device)).await;
        lab.server().disconnect(&phone.serial(), &patient()).await.unwrap();
        let gone = next_with(&phone, None).await;
        assert!(matches!(gone.last(), Some(Change::Gone(_))), "{gone:?}");
    });
}

#[test]
fn a_frozen_phone_stays_listed_and_is_found_by_its_heartbeat() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let link = phone.link(&lab.server());
        let boot = link.heartbeat(&patient()).await.unwrap();
        assert_eq!(boot.len(), 36, "{boot}");
        lab.signal(&phone, Signal::STOP);
        let error = link.heartbeat(&short()).await.unwrap_err();
        assert!(matches!(error.failure(), Some(Failure::TimedOut { phase: Phase::Open, .. })), "{error}");
        assert!(error.to_string().contains(&phone.serial()), "{error}");
        let list = lab.server().devices(&patient()).await.unwrap();
        assert_eq!(states(&list), [(phone.serial(), State::Device)], "the state is not liveness");
        lab.signal(&phone, Signal::CONT);
        assert_eq!(link.heartbeat(&patient()).await.unwrap(), boot, "the same boot");
    });
}

#[test]
fn a_state_is_waited_for_and_no_longer_than_the_deadline() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let link = phone.link(&lab.server());
        link.wait_for(&State::Device, &patient()).await.unwrap();
        let error = link.wait_for(&State::Recovery, &short()).await.unwrap_err();
        assert!(matches!(error.failure(), Some(Failure::TimedOut { .. })), "{error}");
        lab.kill(&phone);
        link.wait_for(&State::Offline, &patient()).await.unwrap();
        let refused = link.stat("/", &patient()).await.unwrap_err();
        let Some(Failure::Refused(why)) = refused.failure() else { panic!("{refused}") };
        assert_eq!(why.kind, Refusal::Offline);
        assert!(refused.to_string().contains("plug the cable in again"), "{refused}");
        lab.start_again(&phone);
        phone.connect(&lab.server()).await;
        assert!(link.exec(&Exec::new("true"), &patient()).await.is_success());
    });
}

#[test]
fn what_a_server_cannot_connect_to_or_does_not_know_is_said_in_its_words() {
    in_lab(async |lab| {
        let server = lab.server();
        let nobody = server.connect("127.0.0.1:1", &patient()).await.unwrap();
        assert!(matches!(&nobody, Connected::Failed(why) if why.contains("Connection refused")), "{nobody:?}");
        let phone = lab.phone().await;
        assert_eq!(server.connect(&phone.serial(), &patient()).await.unwrap(), Connected::Already);
        let unknown = AdbLink::new(server.clone(), Target::Serial("R58M1".to_owned()));
        let error = unknown.features(&patient()).await.unwrap_err();
        assert!(matches!(error.failure(), Some(Failure::Refused(why)) if why.kind == Refusal::NoSuchDevice), "{error}");
        // Debian 12's server is older than pairing.
        match server.pair("127.0.0.1:1", "123456", &patient()).await {
            Ok((paired, why)) => assert!(!paired, "{why}"),
            Err(error) => assert!(matches!(error.failure(), Some(Failure::Refused(_))), "{error}"),
        }
    });
}

#[test]
fn a_server_that_is_not_there_is_not_started_and_one_that_is_frozen_is_left_at_the_deadline() {
    in_lab(async |lab| {
        let absent = AdbServer::at("localhost:6099");
        let error = absent.devices(&patient()).await.unwrap_err();
        let Some(Failure::TransportLost { phase: Phase::Connect, .. }) = error.failure() else { panic!("{error}") };
        assert!(error.to_string().contains("adb start-server"), "{error}");
        let link = AdbLink::new(absent.clone(), Target::Serial("x".to_owned()));
        let file = lab.file("f", b"f");
        link.push(&file, "/data/local/tmp/f", 0o644, &patient()).await.unwrap_err();
        link.pull("/data/local/tmp/f", &lab.scratch().join("g"), &patient()).await.unwrap_err();
        link.reboot(RebootTarget::System, &patient()).await.unwrap_err();
        assert!(absent.devices(&patient()).await.is_err(), "nobody has started one");

        crate::lab::signal_child(lab.adb_server(), Signal::STOP);
        let error = lab.server().devices(&short()).await.unwrap_err();
        assert!(matches!(error.failure(), Some(Failure::TimedOut { .. })), "{error}");
        crate::lab::signal_child(lab.adb_server(), Signal::CONT);
        until(async || lab.server().devices(&patient()).await.is_ok()).await;
    });
}

#[test]
fn whoever_tracks_learns_that_the_server_has_ended() {
    in_lab(async |lab| {
        let mut tracking = lab.server().track(&patient()).await.unwrap();
        tracking.next().await.unwrap();
        lab.restart_server().await;
        let end = tokio::time::timeout(PATIENCE, tracking.next()).await.unwrap();
        assert!(matches!(end, Err(Failure::TransportLost { .. })), "{end:?}");
    });
}

/// Debian's daemon cannot restart its machine, and closes the service; a phone opens it and is gone.
#[test]
fn a_restart_that_the_daemon_does_not_offer_is_refused() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        for target in [RebootTarget::System, RebootTarget::Bootloader, RebootTarget::Recovery] {
            let error = link.reboot(target, &patient()).await.unwrap_err();
            assert!(matches!(error.failure(), Some(Failure::Refused(why)) if why.kind == Refusal::Closed), "{error}");
        }
        assert!(link.exec(&Exec::new("true"), &patient()).await.is_success());
    });
}
