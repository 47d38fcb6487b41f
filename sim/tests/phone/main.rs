//! A simulated phone at the real adb server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests are tests")]

mod faults;
mod lab;
mod shipped;
#[path = "../../../agent/tests/processes/skipped.rs"]
mod skipped;
mod world;

use std::process::Stdio;

use lab::{Lab, until};
use skipped::unless_missing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn the_adb_server_knows_the_phone_by_its_description() {
    let Some(lab) = unless_missing("the_adb_server_knows_the_phone_by_its_description", Lab::open().await) else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    let list = lab.adb(["devices", "-l"]).await.out;
    assert!(list.contains("device product:fuxi model:2211133C device:fuxi"), "{list}");
    let features = phone.adb(&["features"]).await.out;
    for feature in ["shell_v2", "cmd", "stat_v2"] {
        assert!(features.lines().any(|line| line == feature), "{features}");
    }
    assert_eq!(phone.shell("getprop ro.mi.os.version.incremental").await, "OS1.0.5.0.UMCCNXM");
    assert_eq!(phone.shell("getprop ro.serialno; getprop no.such; getprop no.such other").await, "fuxi\n\nother");
    let dump = phone.shell("getprop").await;
    let abi = if cfg!(target_arch = "x86_64") { "x86_64" } else { "arm64-v8a" };
    assert_eq!(phone.shell("getprop ro.product.cpu.abilist").await, abi, "what runs here runs on this machine");
    assert!(dump.contains("[ro.soc.model]: [SM8550]\n") && dump.contains("[sys.boot_completed]: [1]"), "{dump}");
}

#[tokio::test]
async fn a_command_has_its_exit_code_and_both_streams_apart() {
    let Some(lab) = unless_missing("a_command_has_its_exit_code_and_both_streams_apart", Lab::open().await) else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    let output = phone.adb(&["shell", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (Some(7), "out\n", "err\n"));
    for (command, code) in [("kill -SEGV $$", 139), ("kill -KILL $$", 137), ("/no/such/program", 127), ("true", 0)] {
        assert_eq!(phone.adb(&["shell", command]).await.code, Some(code), "{command}");
    }
    // Each command has a session of its own: its process id ends all of it.
    assert_eq!(phone.adb(&["shell", "sh -c 'kill -KILL -'$$; echo survived"]).await.code, Some(137));
    // The shell of old has one stream and no code.
    let output = phone.adb(&["shell", "-x", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!((output.code, output.out.as_str()), (Some(0), "out\nerr\n"));
    let output = phone.adb(&["exec-out", "printf 'a\\r\\nb\\0'"]).await;
    assert_eq!(output.out, "a\r\nb\0", "nothing is translated");

    let mut fed =
        phone.command(&["shell", "wc -c; echo end"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = fed.stdin.take().unwrap();
    stdin.write_all(&vec![b'x'; 3 << 20]).await.unwrap();
    drop(stdin);
    let output = fed.wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3145728\nend\n");
}

#[tokio::test]
async fn files_of_twenty_megabytes_come_back_as_they_were() {
    let Some(lab) = unless_missing("files_of_twenty_megabytes_come_back_as_they_were", Lab::open().await) else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    let [here, back] = ["here", "back"].map(|name| lab.path().join(name).display().to_string());
    let bytes: Vec<u8> = (0..20_000_003u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&here, &bytes).unwrap();
    let there = "/data/local/tmp/new/folder/file";
    let pushed = phone.adb(&["push", &here, there]).await;
    assert_eq!(pushed.code, Some(0), "{pushed:?}");
    let sum = phone.shell(&format!("sha256sum {there}; stat -c %s {there}")).await;
    let own = tokio::process::Command::new("sha256sum").arg(&here).output().await.unwrap();
    assert_eq!(sum.split(' ').next(), String::from_utf8(own.stdout).unwrap().split(' ').next(), "{sum}");
    let pulled = phone.adb(&["pull", there, &back]).await;
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    assert!(std::fs::read(&back).unwrap() == bytes, "it came back otherwise");
    assert!(phone.adb(&["ls", "/data/local/tmp/new"]).await.out.contains("folder"));

    let refused = phone.adb(&["push", &here, "/system/file"]).await;
    assert_eq!(refused.code, Some(1));
    assert!((refused.out + &refused.err).contains("Read-only file system"));
    let missing = phone.adb(&["pull", "/data/local/tmp/none", &back]).await;
    assert!(missing.code == Some(1) && (missing.out + &missing.err).contains("No such file"));
}

#[tokio::test]
async fn a_reverse_port_and_a_forwarded_one_carry_bytes_both_ways() {
    let Some(lab) = unless_missing("a_reverse_port_and_a_forwarded_one_carry_bytes_both_ways", Lab::open().await)
    else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = format!("tcp:{}", echo.local_addr().unwrap().port());
    let echoing = tokio::spawn(async move {
        loop {
            let (peer, _) = echo.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = peer.into_split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    let made = phone.adb(&["reverse", "tcp:0", &here]).await;
    let inner: u16 = made.out.trim().parse().expect("the port that was chosen");
    let there = format!("tcp:{inner}");
    let list = phone.adb(&["reverse", "--list"]).await.out;
    assert!(list.contains(&format!("{there} {here}")), "{list}");
    assert!(TcpStream::connect(("127.0.0.1", inner)).await.is_err(), "the port is the phone's, not this machine's");

    // To the phone's port by the forward, and from there back by the reverse.
    let outer: u16 = phone.adb(&["forward", "tcp:0", &there]).await.out.trim().parse().unwrap();
    let mut both = TcpStream::connect(("127.0.0.1", outer)).await.unwrap();
    let sent: Vec<u8> = (0..500_000u32).map(|index| (index / 7) as u8).collect();
    let mut received = vec![0; sent.len()];
    let (mut from, mut to) = both.split();
    let (wrote, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut received));
    wrote.unwrap();
    read.unwrap();
    assert!(sent == received, "the bytes came back otherwise");

    let clash = phone.adb(&["reverse", "--no-rebind", &there, &here]).await;
    assert!(clash.code == Some(1) && clash.err.contains("cannot rebind"), "{clash:?}");
    let missing = phone.adb(&["reverse", "--remove", "tcp:1"]).await;
    assert!(missing.code == Some(1) && missing.err.contains("listener 'tcp:1' not found"), "{missing:?}");
    assert_eq!(phone.adb(&["reverse", "--remove", &there]).await.code, Some(0));
    assert_eq!(phone.adb(&["reverse", "--list"]).await.out.trim(), "");
    // Nobody listens there any more: whoever comes by the forward is hung up on.
    let mut refused = TcpStream::connect(("127.0.0.1", outer)).await.unwrap();
    assert!(matches!(refused.read(&mut [0]).await, Ok(0) | Err(_)));
    echoing.abort();
}

#[tokio::test]
async fn a_service_that_the_phone_does_not_have_is_refused_and_others_go_on() {
    let Some(lab) =
        unless_missing("a_service_that_the_phone_does_not_have_is_refused_and_others_go_on", Lab::open().await)
    else {
        return;
    };
    let phone = lab.phone("fuxi").await;
    for service in ["framebuffer:", "root:", "tcpip:5555", "reboot:bootloader", "tcp:9", "nonsense"] {
        assert_eq!(lab.service(&phone.name, service).await.map(drop), Err("closed".to_owned()), "{service}");
    }
    let mut shell = lab.service(&phone.name, "exec:echo control").await.unwrap();
    let mut answer = String::new();
    shell.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "control\n");
}

#[tokio::test]
async fn two_phones_side_by_side_are_two_phones() {
    let Some(lab) = unless_missing("two_phones_side_by_side_are_two_phones", Lab::open().await) else {
        return;
    };
    let (xiaomi, realme) = (lab.phone("fuxi").await, lab.phone("rmx").await);
    assert_eq!(xiaomi.shell("getprop ro.product.brand").await, "Xiaomi");
    assert_eq!(realme.shell("getprop ro.product.brand").await, "realme");
    let boot_id = "cat /proc/sys/kernel/random/boot_id";
    assert_ne!(xiaomi.shell(boot_id).await, realme.shell(boot_id).await);
    xiaomi.shell("echo mine > /data/local/tmp/mine").await;
    assert_eq!(realme.adb(&["shell", "cat /data/local/tmp/mine"]).await.code, Some(1));
    // The same port on both, and neither sees the other's processes.
    for phone in [&xiaomi, &realme] {
        assert_eq!(phone.adb(&["reverse", "tcp:7077", "tcp:9"]).await.code, Some(0));
        assert_eq!(phone.shell("ls /proc | grep -c '^[0-9]'").await.parse::<u32>().map(|count| count < 9), Ok(true));
    }
    xiaomi.phone.stop().await.unwrap();
    assert_eq!(realme.shell("echo on").await, "on");
}

#[tokio::test]
async fn nothing_of_a_phone_is_left_when_it_ends() {
    let Some(lab) = unless_missing("nothing_of_a_phone_is_left_when_it_ends", Lab::open().await) else { return };
    let (stopped, dropped) = (lab.phone("fuxi").await, lab.phone("rmx").await);
    let pid = std::process::id();
    let [one, other] = [format!("5{pid}.5"), format!("6{pid}.5")];
    stopped.detach(&format!("exec sleep {one}")).await;
    dropped.detach(&format!("exec sleep {other}")).await;
    until("both sleep", async || lab::runs(&["sleep", &one]) && lab::runs(&["sleep", &other])).await;
    stopped.phone.stop().await.unwrap();
    assert!(!lab::runs(&["sleep", &one]), "when it has stopped, nothing runs");
    drop(dropped);
    until("a phone that is dropped ends as well", async || !lab::runs(&["sleep", &other])).await;
}
