//! Commands.

use std::time::Duration;

use seatrial_adb::{CancellationToken, DeviceLink as _, Exec, ExecOutcome, Keep, Limits, Phase, Refusal, quote};

use crate::lab::{noise, patient, short, until};
use crate::namespaces::in_lab;
use crate::proxy::{Fault, Proxy};

#[test]
fn a_command_ends_with_its_own_code_or_signal() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let expected = [
            ("true", ExecOutcome::Exited(0)),
            ("false", ExecOutcome::Exited(1)),
            ("exit 7", ExecOutcome::Exited(7)),
            ("/no/such/program", ExecOutcome::Exited(127)),
            ("sh -c 'exit 255'", ExecOutcome::Exited(255)),
            ("sh -c 'kill -SEGV $$'", ExecOutcome::Signaled(11)),
            ("kill -KILL $$", ExecOutcome::Signaled(9)),
            ("kill -ABRT $$", ExecOutcome::Signaled(6)),
            ("exit 139", ExecOutcome::Signaled(11)),
        ];
        for (command, outcome) in expected {
            assert_eq!(link.exec(&Exec::new(command), &patient()).await.outcome, outcome, "{command}");
        }
    });
}

#[test]
fn both_streams_come_apart_and_whole() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let command = "i=0; while [ $i -lt 2000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done";
        let executed = link.exec(&Exec::new(command), &patient()).await;
        let lines = |word: &str| (0..2000).map(|i| format!("{word}{i}\n")).collect::<Vec<_>>().concat();
        assert!(executed.is_success() && !executed.merged);
        assert_eq!((executed.stdout.text(), executed.stderr.text()), (lines("out"), lines("err")));
    });
}

#[test]
fn a_command_reads_its_input_to_the_end_and_may_leave_it() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let input = noise(3 << 20, 7);
        let keep = Keep { head: 4 << 20, tail: 0 };
        let executed = link.exec(&Exec::new("cat").with_stdin(input.clone()).keeping(keep), &patient()).await;
        assert!(executed.is_success());
        assert!(executed.stdout.bytes() == input, "what was read is what was sent");
        let leaves = link.exec(&Exec::new("head -c 1 > /dev/null; exit 3").with_stdin(input), &patient()).await;
        assert_eq!(leaves.outcome, ExecOutcome::Exited(3));
        let nothing = link.exec(&Exec::new("wc -c"), &patient()).await;
        assert_eq!(nothing.stdout.text().trim(), "0", "no input is an input that ends");
    });
}

#[test]
fn a_flood_of_output_is_bounded_and_its_ends_are_kept() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let command = "echo first; head -c 50000000 /dev/zero; echo last; echo whole >&2";
        let keep = Keep { head: 6, tail: 5 };
        let executed = link.exec(&Exec::new(command).keeping(keep), &patient()).await;
        assert!(executed.is_success());
        assert_eq!(executed.stdout.bytes(), b"first\nlast\n");
        assert_eq!((executed.stdout.total(), executed.stdout.left_out()), (50_000_011, 50_000_000));
        assert_eq!((executed.stderr.bytes(), executed.stderr.left_out()), (b"whole\n".to_vec(), 0));
    });
}

#[test]
fn a_command_that_does_not_end_is_left_at_its_deadline_with_what_it_said() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let limits = Limits::within(Duration::from_secs(3));
        let executed = link.exec(&Exec::new("echo begun; sleep 600"), &limits).await;
        let after = limits.deadline;
        assert_eq!(executed.outcome, ExecOutcome::TimedOut { phase: Phase::Run, after });
        assert_eq!(executed.stdout.text(), "begun\n");
    });
}

#[test]
fn a_token_ends_a_command() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let cancel = CancellationToken::new();
        let limits = patient().cancelled_by(cancel.clone());
        let begun = lab.seen_on_phone("/data/local/tmp/begun");
        let exec = Exec::new("touch /data/local/tmp/begun; sleep 600");
        let (executed, ()) = tokio::join!(link.exec(&exec, &limits), async {
            until(async || begun.exists()).await;
            cancel.cancel();
        });
        assert!(matches!(executed.outcome, ExecOutcome::Cancelled { .. }), "{:?}", executed.outcome);
    });
}

#[test]
fn a_dropped_call_closes_its_connection() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let file = lab.seen_on_phone("/data/local/tmp/running");
        // The shell of a connection that is closed gets SIGHUP: it says so itself.
        let command =
            "trap 'rm /data/local/tmp/running; exit' HUP; touch /data/local/tmp/running; while :; do sleep 0.05; done";
        let exec = Exec::new(command);
        let limits = patient();
        let mut call = Box::pin(link.exec(&exec, &limits));
        tokio::select! {
            _ = &mut call => panic!("it ended by itself"),
            () = until(async || file.exists()) => {}
        }
        drop(call);
        until(async || !file.exists()).await;
    });
}

#[test]
fn a_name_is_one_word_whatever_is_in_it() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let name = "it's a \"name\"; $(reboot) `x` \\ \n 名";
        let executed = link.exec(&Exec::new(format!("printf %s {}", quote(name))), &patient()).await;
        assert_eq!(executed.stdout.text(), name);
        let refused = link.exec(&Exec::new("echo a\0b"), &patient()).await.outcome;
        assert!(matches!(refused, ExecOutcome::Refused(refused) if refused.kind == Refusal::NotSent));
    });
}

/// The daemon here has `shell_v2`; a phone before Android 7 does not say that it has.
#[test]
fn a_device_without_shell_v2_tells_its_codes_by_a_sentinel() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let proxy = Proxy::start(lab.server().address().to_owned(), Fault::Replace("shell_v2", "shell_v0"), None).await;
        let link = phone.link(&seatrial_adb::AdbServer::at(proxy.address()));
        let expected = [
            ("true", ExecOutcome::Exited(0)),
            ("exit 7", ExecOutcome::Exited(7)),
            ("/no/such/program", ExecOutcome::Exited(127)),
            ("sh -c 'kill -SEGV $$'", ExecOutcome::Signaled(11)),
            ("kill -KILL $$", ExecOutcome::Signaled(9)),
            ("cat; echo @@; exit 3 # a comment", ExecOutcome::Exited(3)),
        ];
        for (command, outcome) in expected {
            assert_eq!(link.exec(&Exec::new(command), &patient()).await.outcome, outcome, "{command}");
        }
        let executed = link.exec(&Exec::new("echo out; echo err >&2; printf end"), &patient()).await;
        assert!(executed.merged && executed.is_success());
        assert_eq!(executed.stdout.text(), "out\nerr\nend");
        let killed = link.exec(&Exec::new("echo out; kill -9 $PPID"), &patient()).await.outcome;
        assert!(matches!(killed, ExecOutcome::TransportLost { phase: Phase::Run, .. }), "no sentinel: {killed:?}");
        let input = link.exec(&Exec::new("cat").with_stdin("x"), &short()).await.outcome;
        assert!(matches!(input, ExecOutcome::Refused(refused) if refused.kind == Refusal::NotSent));
    });
}
