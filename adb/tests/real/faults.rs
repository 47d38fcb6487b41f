//! A daemon that is killed, frozen or started anew, and links that are cut or stall at every place: never a success.

use std::time::Duration;

use rustix::process::Signal;
use seatrial_adb::{
    AdbLink, AdbServer, DeviceLink as _, Exec, ExecOutcome, Failure, Limits, LinkError, Phase, Refusal, Target,
};

use crate::files::TRANSFER;
use crate::lab::{FOLDER, Lab, Phone, connect, noise, patient, short, until};
use crate::namespaces::in_lab;
use crate::proxy::{Fault, Proxy};

/// Of the connections of a command, the one that carries it: the first asks for features.
const COMMAND: u64 = 1;
/// What a daemon meets in the middle of a call.
#[derive(Debug, Clone, Copy)]
enum Misfortune {
    Kill,
    Restart,
    Freeze,
}
use Misfortune::{Freeze, Kill, Restart};

fn strike(lab: &mut Lab, phone: &Phone, misfortune: Misfortune) {
    match misfortune {
        Kill => lab.kill(phone),
        Restart => {
            lab.kill(phone);
            lab.start_again(phone);
        }
        Freeze => lab.signal(phone, Signal::STOP),
    }
}

async fn recover(lab: &mut Lab, phone: &Phone, misfortune: Misfortune) {
    match misfortune {
        Kill => lab.start_again(phone),
        Restart => {}
        Freeze => lab.signal(phone, Signal::CONT),
    }
    phone.connect(&lab.server()).await;
}

fn is_lost_or_late(failure: &Failure, misfortune: Misfortune, at: Phase) -> bool {
    match (failure, misfortune) {
        (Failure::TimedOut { phase, .. }, Freeze) | (Failure::TransportLost { phase, .. }, Kill | Restart) => {
            *phase == at
        }
        _ => false,
    }
}

#[test]
fn a_daemon_that_is_killed_frozen_or_restarted_while_a_command_runs_is_no_end_of_the_command() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let link = phone.link(&lab.server());
        for misfortune in [Kill, Restart, Freeze] {
            let begun = lab.seen_on_phone(&format!("{FOLDER}/{misfortune:?}"));
            let exec = Exec::new(format!("touch {FOLDER}/{misfortune:?}; sleep 600"));
            // Long enough for the command to begin, and what ends the call where nothing else does.
            let limits = Limits::within(Duration::from_secs(6));
            let mut call = Box::pin(link.exec(&exec, &limits));
            tokio::select! {
                executed = &mut call => panic!("{executed:?}"),
                () = until(async || begun.exists()) => {}
            }
            strike(lab, &phone, misfortune);
            let executed = call.await;
            let failure = executed.outcome.failure().unwrap();
            // The command may run before the answer to its opening is here, which then never comes, or is that it was closed.
            let is_closed = matches!(&failure, Failure::Refused(refused) if refused.kind == Refusal::Closed)
                && matches!(misfortune, Kill | Restart);
            let is_expected = [Phase::Open, Phase::Run].iter().any(|&at| is_lost_or_late(&failure, misfortune, at));
            assert!(is_closed || is_expected, "{misfortune:?}: {failure}");
            assert!(failure.is_retryable());
            recover(lab, &phone, misfortune).await;
            assert!(link.exec(&Exec::new("true"), &patient()).await.is_success(), "{misfortune:?}");
        }
    });
}

#[test]
fn a_daemon_that_dies_while_a_command_is_opened_or_before_is_no_end_of_the_command() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let link = phone.link(&lab.server());
        // Frozen, it never opens the service; then it dies.
        lab.signal(&phone, Signal::STOP);
        let (exec, limits) = (Exec::new("true"), patient());
        let outcome = short_of(&link).await;
        assert!(matches!(outcome, ExecOutcome::TimedOut { phase: Phase::Open, .. }), "{outcome:?}");
        let proxy = Proxy::start(lab.server().address().to_owned(), Fault::None, None).await;
        let through = phone.link(&AdbServer::at(proxy.address()));
        let mut call = Box::pin(through.exec(&exec, &limits));
        // Both connections are answered, and the command is on its way.
        let sent = async || proxy.up.load(std::sync::atomic::Ordering::SeqCst) > opened_bytes(&phone);
        tokio::select! {
            executed = &mut call => panic!("{executed:?}"),
            () = until(sent) => {}
        }
        lab.kill(&phone);
        let outcome = call.await.outcome;
        let failure = outcome.failure().unwrap();
        assert!(failure.is_retryable() && !matches!(failure, Failure::TimedOut { .. }), "{failure}");

        link.wait_for(&seatrial_adb::State::Offline, &patient()).await.unwrap();
        let failure = link.exec(&exec, &patient()).await.outcome.failure().unwrap();
        assert!(matches!(failure, Failure::Refused(_)) && failure.is_retryable(), "{failure}");
        recover(lab, &phone, Kill).await;
        assert!(link.exec(&exec, &patient()).await.is_success(), "the control");
    });
}

async fn short_of(link: &AdbLink) -> ExecOutcome {
    link.exec(&Exec::new("true"), &short()).await.outcome
}

/// What a command has sent when it has asked for features and selected its device.
fn opened_bytes(phone: &Phone) -> u64 {
    let serial = phone.serial();
    (4 + format!("host-serial:{serial}:features").len() + 4 + format!("host:transport:{serial}").len()) as u64
}

#[test]
fn a_command_whose_answer_is_cut_anywhere_is_a_lost_link() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let exec = Exec::new("echo out; echo err >&2; exit 0");
        for bytes in 0.. {
            let fault = Fault::CutDown(bytes);
            let proxy = Proxy::start(lab.server().address().to_owned(), fault, Some(COMMAND)).await;
            let executed = phone.link(&AdbServer::at(proxy.address())).exec(&exec, &patient()).await;
            assert!(proxy.has_bitten(), "{bytes}");
            if executed.is_success() {
                // Two answers, two packets of four bytes, and the status: all of it, and nothing less.
                assert_eq!(bytes, 8 + (5 + 4) * 2 + 6);
                assert_eq!((executed.stdout.text(), executed.stderr.text()), ("out\n".into(), "err\n".into()));
                return;
            }
            assert!(matches!(executed.outcome, ExecOutcome::TransportLost { .. }), "{bytes}: {:?}", executed.outcome);
        }
    });
}

#[test]
fn a_command_that_is_cut_on_its_way_or_stalls_anywhere_is_lost_or_late() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let exec = Exec::new("echo out");
        let request = 4 + "host:transport:".len() + phone.serial().len() + 4 + "shell,v2,raw:echo out".len();
        for bytes in (0..request as u64).step_by(3) {
            let proxy = Proxy::start(lab.server().address().to_owned(), Fault::CutUp(bytes), Some(COMMAND)).await;
            let outcome = phone.link(&AdbServer::at(proxy.address())).exec(&exec, &patient()).await.outcome;
            assert!(matches!(outcome, ExecOutcome::TransportLost { .. }), "{bytes}: {outcome:?}");
        }
        for fault in [0, 4, 8, 11, 13].map(Fault::StallDown).into_iter().chain([0, 10, 50].map(Fault::StallUp)) {
            let proxy = Proxy::start(lab.server().address().to_owned(), fault, Some(COMMAND)).await;
            let outcome = short_of(&phone.link(&AdbServer::at(proxy.address()))).await;
            assert!(matches!(outcome, ExecOutcome::TimedOut { .. }) && proxy.has_bitten(), "{fault:?}: {outcome:?}");
        }
        assert!(phone.link(&lab.server()).exec(&exec, &patient()).await.is_success(), "the control");
    });
}

#[test]
fn a_push_that_is_cut_or_stalls_anywhere_leaves_nothing_in_place_and_the_next_one_succeeds() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let bytes = noise(1_000_000, 9);
        let (local, remote) = (lab.file("f", &bytes), format!("{FOLDER}/f"));
        let there = lab.seen_on_phone(&remote);
        let cuts = [0, 20, 70, 70_000, 500_000, 1_000_000].map(Fault::CutUp);
        let ends = [0, 3, 4, 8, 11].map(Fault::CutDown);
        let stalls = [Fault::StallUp(300_000), Fault::StallDown(8)];
        for fault in cuts.into_iter().chain(ends).chain(stalls) {
            let is_stall = matches!(fault, Fault::StallUp(_) | Fault::StallDown(_));
            let (limits, like) = if is_stall { (short_transfer(), Freeze) } else { (patient(), Kill) };
            let proxy = Proxy::start(lab.server().address().to_owned(), fault, Some(TRANSFER)).await;
            let link = phone.link(&AdbServer::at(proxy.address()));
            let error = link.push(&local, &remote, 0o644, &limits).await.unwrap_err();
            let is_it = is_lost_or_late(error.failure().unwrap(), like, Phase::Transfer);
            assert!(is_it && proxy.has_bitten(), "{fault:?}: {error}");
            assert!(!there.exists(), "{fault:?}");
        }
        phone.link(&lab.server()).push(&local, &remote, 0o644, &patient()).await.unwrap();
        assert!(std::fs::read(&there).unwrap() == bytes);
    });
}

/// For a transfer that stalls: what comes before it must be done by then.
fn short_transfer() -> Limits {
    Limits::within(Duration::from_secs(3))
}

#[test]
fn a_push_whose_check_is_cut_is_no_success() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let (local, remote) = (lab.file("f", b"bytes"), format!("{FOLDER}/f"));
        for bytes in [0, 4, 8, 10] {
            let fault = Fault::CutDown(bytes);
            let proxy = Proxy::start(lab.server().address().to_owned(), fault, Some(TRANSFER + 2)).await;
            let link = phone.link(&AdbServer::at(proxy.address()));
            let error = link.push(&local, &remote, 0o644, &patient()).await.unwrap_err();
            assert!(matches!(error.failure(), Some(Failure::TransportLost { .. })), "{bytes}: {error}");
        }
    });
}

#[test]
fn a_daemon_that_is_killed_frozen_or_restarted_in_mid_push_leaves_nothing_in_place() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let (local, remote) = (lab.file("f", &noise(30_000_000, 4)), format!("{FOLDER}/f"));
        for misfortune in [Kill, Restart, Freeze] {
            // The phone's own link stalls after some MB, so that what happens next happens in the middle.
            let proxy = Proxy::start(phone.serial(), Fault::StallUp(5_000_000), None).await;
            connect(&lab.server(), &proxy.address()).await;
            let link = AdbLink::new(lab.server(), Target::Serial(proxy.address()));
            let limits = short_transfer();
            let mut call = Box::pin(link.push(&local, &remote, 0o644, &limits));
            tokio::select! {
                result = &mut call => panic!("{result:?}"),
                () = until(async || proxy.has_bitten()) => {}
            }
            strike(lab, &phone, misfortune);
            let error: LinkError = call.await.unwrap_err();
            let failure = error.failure().unwrap();
            assert!(is_lost_or_late(failure, misfortune, Phase::Transfer), "{misfortune:?}: {error}");
            assert!(!lab.seen_on_phone(&remote).exists());
            drop(proxy);
            let _ = lab.server().disconnect(&link.name(), &patient()).await;
            recover(lab, &phone, misfortune).await;
            let straight = phone.link(&lab.server());
            straight.push(&local, &remote, 0o644, &patient()).await.unwrap();
            std::fs::remove_file(lab.seen_on_phone(&remote)).unwrap();
        }
    });
}

#[test]
fn a_pull_that_is_cut_anywhere_leaves_no_file() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let straight = phone.link(&lab.server());
        let remote = format!("{FOLDER}/f");
        straight.push(&lab.file("f", &noise(200_000, 2)), &remote, 0o644, &patient()).await.unwrap();
        let local = lab.scratch().join("g");
        // The answers, the header of the first piece, its first bytes, and the end that says that it was all.
        for bytes in [0, 4, 8, 12, 15, 16, 17, 1000, 65_552, 65_560, 200_000, 200_040] {
            let proxy = Proxy::start(lab.server().address().to_owned(), Fault::CutDown(bytes), None).await;
            let link = phone.link(&AdbServer::at(proxy.address()));
            let error = link.pull(&remote, &local, &patient()).await.unwrap_err();
            assert!(matches!(error.failure(), Some(Failure::TransportLost { .. })), "{bytes}: {error}");
            assert!(!local.exists() && !lab.scratch().join("g.part").exists(), "{bytes}");
        }
        assert_eq!(straight.pull(&remote, &local, &patient()).await.unwrap(), 200_000, "the control");
    });
}
