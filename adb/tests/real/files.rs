//! Files to and from a phone.

use std::path::PathBuf;

use seatrial_adb::{AdbServer, Cause, DeviceLink as _, Exec, Failure, LinkError};

use crate::lab::{FOLDER, noise, patient};
use crate::namespaces::in_lab;
use crate::proxy::{Fault, Proxy};

/// Of the connections of a push, the one with the bytes of the file: those before ask for room.
pub const TRANSFER: u64 = 2;

fn mode_of(path: &PathBuf) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn device_says(error: &LinkError) -> &str {
    match &error.cause {
        Cause::Device(text) => text,
        Cause::Link(_) | Cause::Local { .. } => panic!("{error}"),
    }
}

#[test]
fn a_file_arrives_whole_with_its_permissions_and_comes_back() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        for (name, size) in [("empty", 0), ("one", 1), ("chunk", 65_535), ("more", 3_000_001)] {
            let bytes = noise(size, 3);
            let local = lab.file(name, &bytes);
            let remote = format!("{FOLDER}/new folder/it's {name}");
            link.push(&local, &remote, 0o750, &patient()).await.unwrap();
            let there = lab.seen_on_phone(&remote);
            assert!(std::fs::read(&there).unwrap() == bytes, "{name}");
            assert_eq!(mode_of(&there), 0o750);
            let stat = link.stat(&remote, &patient()).await.unwrap().unwrap();
            assert_eq!((stat.size, stat.mode), (size as u64, 0o100_750));
            let back = lab.scratch().join("back");
            assert_eq!(link.pull(&remote, &back, &patient()).await.unwrap(), size as u64);
            assert!(std::fs::read(&back).unwrap() == bytes, "{name}");
        }
    });
}

#[test]
fn a_file_is_replaced_as_a_whole_while_it_is_used() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let remote = format!("{FOLDER}/program");
        link.push(&lab.file("old", b"old"), &remote, 0o755, &patient()).await.unwrap();
        let mut open = std::fs::File::open(lab.seen_on_phone(&remote)).unwrap();
        link.push(&lab.file("new", b"the new one"), &remote, 0o755, &patient()).await.unwrap();
        let held = std::io::read_to_string(&mut open).unwrap();
        assert_eq!(held, "old", "who had it open keeps what it was");
        assert_eq!(std::fs::read(lab.seen_on_phone(&remote)).unwrap(), b"the new one");
    });
}

#[test]
fn a_stored_file_stands_under_its_digest_and_is_sent_once() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let bytes = noise(2_000_000, 5);
        let local = lab.file("agent", &bytes);
        let proxy = Proxy::start(lab.server().address().to_owned(), Fault::None, None).await;
        let link = phone.link(&AdbServer::at(proxy.address()));
        let sent = || proxy.up.load(std::sync::atomic::Ordering::SeqCst);
        let first = link.store(&local, FOLDER, 0o755, &patient()).await.unwrap();
        assert!(!first.was_there && sent() > 2_000_000);
        assert_eq!(first.path.len(), FOLDER.len() + 65);
        let before = sent();
        let second = link.store(&local, FOLDER, 0o755, &patient()).await.unwrap();
        assert!(second.was_there && second.path == first.path);
        assert!(sent() < before + 10_000, "nothing was sent again");
        // What stands under the name is believed only when its bytes are those of the name.
        std::fs::write(lab.seen_on_phone(&first.path), b"cut").unwrap();
        let third = link.store(&local, FOLDER, 0o755, &patient()).await.unwrap();
        assert!(!third.was_there);
        assert!(std::fs::read(lab.seen_on_phone(&first.path)).unwrap() == bytes);
    });
}

#[test]
fn bytes_that_were_altered_on_their_way_are_not_put_in_place() {
    in_lab(async |lab| {
        let phone = lab.phone().await;
        let local = lab.file("f", b"some bytes THE-WORD some more");
        let fault = Fault::Replace("THE-WORD", "ANOTHER!");
        let proxy = Proxy::start(lab.server().address().to_owned(), fault, Some(TRANSFER)).await;
        let link = phone.link(&AdbServer::at(proxy.address()));
        let remote = format!("{FOLDER}/f");
        let error = link.push(&local, &remote, 0o644, &patient()).await.unwrap_err();
        assert!(device_says(&error).contains("were sent and 29 bytes"), "{error}");
        assert_eq!(link.stat(&remote, &patient()).await.unwrap(), None);
        assert_eq!(link.stat(&format!("{remote}.part"), &patient()).await.unwrap(), None);
        link.push(&local, &remote, 0o644, &patient()).await.unwrap();
    });
}

#[test]
fn a_phone_without_room_says_so_before_anything_is_sent() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        lab.small_folder("/mnt", 64);
        let error = link.push(&lab.file("f", &noise(100_000, 1)), "/mnt/f", 0o644, &patient()).await.unwrap_err();
        let said = device_says(&error);
        assert!(said.contains("/mnt has 65536 bytes left and 100000 are to be sent"), "{error}");
        assert_eq!(link.stat("/mnt/f.part", &patient()).await.unwrap(), None);
        link.push(&lab.file("g", &noise(30_000, 1)), "/mnt/g", 0o644, &patient()).await.unwrap();
    });
}

#[test]
fn what_the_phone_or_this_computer_refuses_is_told_apart_and_in_its_words() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let local = lab.file("f", b"f");
        let impossible = link.push(&local, "/proc/no/f", 0o644, &patient()).await.unwrap_err();
        assert!(matches!(impossible.failure(), Some(Failure::Refused(_))), "{impossible}");
        let missing = link.pull("/no/such", &lab.scratch().join("g"), &patient()).await.unwrap_err();
        let Some(Failure::Refused(why)) = missing.failure() else { panic!("{missing}") };
        assert!(why.text.contains("No such file"), "{missing}");
        assert!(!lab.scratch().join("g").exists() && !lab.scratch().join("g.part").exists());
        let here = link.pull("/etc/debian_version", &lab.scratch().join("no/folder"), &patient()).await.unwrap_err();
        assert!(matches!(here.cause, Cause::Local { .. }), "{here}");
        let nothing = link.push(&lab.scratch().join("none"), "/data/local/tmp/x", 0o644, &patient()).await.unwrap_err();
        assert!(matches!(nothing.cause, Cause::Local { .. }), "{nothing}");
        let folder = link.push(lab.scratch(), "/data/local/tmp/x", 0o644, &patient()).await.unwrap_err();
        assert!(matches!(folder.cause, Cause::Local { .. }), "{folder}");
    });
}

#[test]
fn a_file_beyond_4_gib_has_its_size_and_a_missing_one_is_nothing() {
    in_lab(async |lab| {
        let link = lab.phone().await.link(&lab.server());
        let large = format!("{FOLDER}/large");
        assert!(link.exec(&Exec::new(format!("truncate -s 5G {large}")), &patient()).await.is_success());
        assert_eq!(link.stat(&large, &patient()).await.unwrap().unwrap().size, 5 << 30);
        assert_eq!(link.stat(&format!("{FOLDER}/none"), &patient()).await.unwrap(), None);
    });
}
