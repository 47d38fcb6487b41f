//! Files to and from a device: checked, and in place as a whole or not at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::capture::{Captured, Keep};
use crate::digest::Contents;
use crate::failure::{Cause, Phase};
use crate::limits::Place;
use crate::link::AdbLink;
use crate::quote::quote;
use crate::relay;

/// What a device says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `st_mode`: kind and permissions.
    pub mode: u32,
    /// In bytes.
    pub size: u64,
    /// Seconds since 1970 by the device's clock.
    pub modified: i64,
}

/// A file that stands on a device under the digest of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub path: String,
    /// Nothing had to be sent.
    pub was_there: bool,
}

/// Told by the script that compares.
const DIFFERS: u8 = 90;

/// Sends a file to `remote` with these permissions: next to it first, compared by size and SHA-256 there, then renamed.
pub(crate) async fn push(
    link: &AdbLink,
    local: &Path,
    file: &Contents,
    remote: &str,
    mode: u32,
    place: &Place,
) -> Result<(), Cause> {
    let part = format!("{remote}.part");
    check_room(link, &part, file.size, place).await?;
    send(link, local, &part, place).await?;
    let (from, to, Contents { size, sha256 }) = (quote(&part), quote(remote), file);
    let script = format!(
        "s=$(stat -c %s {from}) && h=$(sha256sum < {from}) || exit 1\n\
         if [ \"$s\" != {size} ] || [ \"${{h%% *}}\" != {sha256} ]; then echo \"$s bytes, ${{h%% *}}\"; rm -f {from}; \
         exit {DIFFERS}; fi\n\
         chmod {mode:o} {from} && mv -f {from} {to}"
    );
    let (status, out, err) = shell(link, &script, place).await?;
    match status {
        0 => Ok(()),
        DIFFERS => Err(Cause::Device(format!("{size} bytes, {sha256} were sent and {} arrived", out.trim()))),
        _ => Err(Cause::Device(format!("what arrived cannot be checked or put in place: {}", err.trim()))),
    }
}

/// Whether `remote` holds these bytes already.
pub(crate) async fn holds(link: &AdbLink, file: &Contents, remote: &str, place: &Place) -> Result<bool, Cause> {
    let (status, out, _) = shell(link, &format!("sha256sum < {}", quote(remote)), place).await?;
    Ok(status == 0 && out.split_whitespace().next() == Some(&file.sha256))
}

/// A device without room says so before anything is sent. One that does not tell is believed to have it: the transfer
/// itself would fail.
async fn check_room(link: &AdbLink, remote: &str, size: u64, place: &Place) -> Result<(), Cause> {
    let folder = remote.rsplit_once('/').map_or(".", |(folder, _)| if folder.is_empty() { "/" } else { folder });
    let (_, out, _) = shell(link, &format!("df -k {}", quote(folder)), place).await?;
    match free_bytes(&out) {
        Some(free) if free < size => {
            Err(Cause::Device(format!("{folder} has {free} bytes left and {size} are to be sent: make room there")))
        }
        Some(_) | None => Ok(()),
    }
}

/// What `df -k` says is available: the column before that of percents.
fn free_bytes(df: &str) -> Option<u64> {
    let columns: Vec<&str> = df.lines().last()?.split_whitespace().collect();
    let percent = columns.iter().position(|column| column.ends_with('%'))?;
    columns.get(percent.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

async fn send(link: &AdbLink, local: &Path, remote: &str, place: &Place) -> Result<(), Cause> {
    let (path, to, fault) = (local.to_owned(), remote.to_owned(), Fault::default());
    let seen = fault.clone();
    let relayed = relay::call(&link.server, &link.target, place, move |device| {
        device.push(Noting { inner: fault.note(File::open(&path))?, fault }, to)
    })
    .await?;
    relayed.result.map_err(|error| match seen.take() {
        Some(source) => Cause::Local { what: format!("reading {}", local.display()), source },
        None => relay::failure(error, place).into(),
    })
}

/// Fetches a file; `local` is there as a whole or not at all. Its size in bytes.
pub(crate) async fn pull(link: &AdbLink, remote: &str, local: &Path, place: &Place) -> Result<u64, Cause> {
    let part = PathBuf::from(format!("{}.part", local.display()));
    let (from, path, to, fault) = (remote.to_owned(), part.clone(), local.to_owned(), Fault::default());
    let seen = fault.clone();
    let relayed = relay::call(&link.server, &link.target, place, move |device| {
        let file = fault.note(File::create(&path))?;
        let result = device.pull(&from, &mut Noting { inner: file, fault });
        if result.is_err() {
            // Only a leftover; whatever keeps it there is told by the next attempt.
            let _ = std::fs::remove_file(&path);
        }
        result
    })
    .await?;
    let local_error = |source| Cause::Local { what: format!("writing {}", local.display()), source };
    if let Err(error) = relayed.result {
        return Err(seen.take().map_or_else(|| relay::failure(error, place).into(), local_error));
    }
    if relayed.was_cut {
        let _ = std::fs::remove_file(&part);
        return Err(place.lost(&"the stream ended before the file did").into());
    }
    std::fs::rename(&part, &to).and_then(|()| std::fs::metadata(&to)).map(|file| file.len()).map_err(local_error)
}

/// What is at `remote`, if anything is. By the device's own program: the `stat` of `adb_client` has sizes of 32 bits and no
/// word for a file that may not be looked at.
pub(crate) async fn stat(link: &AdbLink, remote: &str, place: &Place) -> Result<Option<Stat>, Cause> {
    let (status, out, err) = shell(link, &format!("stat -L -c '%f %s %Y' {}", quote(remote)), place).await?;
    if status != 0 {
        let missing = err.contains("No such file") || out.contains("No such file");
        return if missing { Ok(None) } else { Err(Cause::Device(format!("{}{}", out.trim(), err.trim()))) };
    }
    parse_stat(&out).map(Some).ok_or_else(|| Cause::Device(format!("{:?} is no answer of stat", out.trim())))
}

fn parse_stat(text: &str) -> Option<Stat> {
    let mut words = text.split_whitespace();
    let mode = u32::from_str_radix(words.next()?, 16).ok()?;
    let stat = Stat { mode, size: words.next()?.parse().ok()?, modified: words.next()?.parse().ok()? };
    words.next().is_none().then_some(stat)
}

/// A short command of this module: its status and its streams as text.
async fn shell(link: &AdbLink, command: &str, place: &Place) -> Result<(u8, String, String), Cause> {
    let keep = Keep { head: 8 << 10, tail: 0 };
    let (mut out, mut err) = (Captured::new(keep), Captured::new(keep));
    let (status, _) = link.run(command, &[], &mut out, &mut err, place).await?;
    place.enter(Phase::Verify);
    Ok((status, out.text(), err.text()))
}

/// The first error of a file of this computer, which `adb_client` would give as one of the connection.
#[derive(Clone, Default)]
struct Fault(Arc<Mutex<Option<io::Error>>>);

impl Fault {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let shown = io::Error::new(error.kind(), error.to_string());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            shown
        })
    }

    fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A local file whose errors are noted.
struct Noting<T> {
    inner: T,
    fault: Fault,
}

impl<T: Read> Read for Noting<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fault.note(self.inner.read(buffer))
    }
}

impl<T: Write> Write for Noting<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fault.note(self.inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.fault.note(self.inner.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_read_from_either_form_of_df_and_is_unknown_rather_than_zero() {
        let toybox = "Filesystem     1K-blocks     Used Available Use% Mounted on\n\
                      /dev/block/dm-9 112345678 80000000  32345678  72% /data/user/0\n";
        assert_eq!(free_bytes(toybox), Some(32_345_678 * 1024));
        let wrapped =
            "Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/block/a/very/long/name\n 10 4 6 40% /data\n";
        assert_eq!(free_bytes(wrapped), Some(6 * 1024));
        for unknown in ["", "Filesystem Size Used Free Blksize\n/data 12.3G 4.5G 7.8G 4096\n", "df: denied\n", "50%"] {
            assert_eq!(free_bytes(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_file_beyond_4_gib_keeps_its_size() {
        assert_eq!(parse_stat("81a4 5368709120 1790000000\n").unwrap().size, 5 << 30);
        assert_eq!(parse_stat("81a4 12"), None);
        assert_eq!(parse_stat("81a4 12 3 4"), None);
    }
}
