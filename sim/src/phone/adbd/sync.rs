//! `sync:`: files by the first and the second version of the protocol, as the host asks.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::fs;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

/// Bytes of one DATA packet at most.
const DATA_BYTES: usize = 64 << 10;
const MAX_PATH: u32 = 1024;
/// What of a mode tells a symbolic link.
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;

/// Serves until the host says QUIT or is gone.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (id, length) = match header(&mut stream).await {
            Ok(header) => header,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        if &id == b"QUIT" {
            return Ok(());
        }
        if length > MAX_PATH {
            return fail(&mut stream, "path too long").await;
        }
        let mut path = vec![0; length as usize];
        stream.read_exact(&mut path).await?;
        let Ok(path) = String::from_utf8(path) else { return fail(&mut stream, "path is not UTF-8").await };
        match &id {
            b"STAT" => {
                let found = fs::symlink_metadata(&path).await.ok();
                stream.write_all(&[b"STAT", &stat_v1(found.as_ref())[..]].concat()).await?;
            }
            b"LST2" => stat(&mut stream, b"LST2", fs::symlink_metadata(&path).await).await?,
            b"STA2" => stat(&mut stream, b"STA2", fs::metadata(&path).await).await?,
            b"LIST" => list(&mut stream, &path, b"DENT").await?,
            b"LIS2" => list(&mut stream, &path, b"DNT2").await?,
            b"SEND" => {
                let Some((path, mode)) =
                    path.rsplit_once(',').and_then(|(path, mode)| Some((path, mode.parse().ok()?)))
                else {
                    return fail(&mut stream, "no mode behind the path").await;
                };
                receive(&mut stream, Path::new(path), mode).await?;
            }
            b"SND2" => {
                let [mode, flags] = [second_header(&mut stream, b"SND2").await?, stream.read_u32_le().await?];
                if flags != 0 {
                    return fail(&mut stream, "this phone knows no compression").await;
                }
                receive(&mut stream, Path::new(&path), mode).await?;
            }
            b"RECV" => send(&mut stream, &path).await?,
            b"RCV2" => {
                if second_header(&mut stream, b"RCV2").await? != 0 {
                    return fail(&mut stream, "this phone knows no compression").await;
                }
                send(&mut stream, &path).await?;
            }
            _ => return fail(&mut stream, "unknown request").await,
        }
    }
}

async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<([u8; 4], u32)> {
    let mut id = [0; 4];
    stream.read_exact(&mut id).await?;
    Ok((id, stream.read_u32_le().await?))
}

/// The second version says the path first, and the rest in a message of the same name.
async fn second_header(stream: &mut (impl AsyncRead + Unpin), id: &[u8; 4]) -> io::Result<u32> {
    match header(stream).await? {
        (found, word) if found == *id => Ok(word),
        _ => Err(io::Error::other("the second part of a request is missing")),
    }
}

async fn fail(stream: &mut (impl AsyncWrite + Unpin), why: &str) -> io::Result<()> {
    stream.write_all(&[b"FAIL", &(why.len() as u32).to_le_bytes()[..], why.as_bytes()].concat()).await
}

/// Without Rust's number behind it, as C says it.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Mode, size and time; the size wraps at 4 GiB. All zero for what is not there.
fn stat_v1(found: Option<&std::fs::Metadata>) -> Vec<u8> {
    words(&found.map_or([0; 3], |found| [found.mode(), found.len() as u32, found.mtime() as u32]))
}

fn stat_v2(found: Result<&std::fs::Metadata, &io::Error>) -> Vec<u8> {
    match found {
        Ok(found) => [
            words(&[0]),
            found.dev().to_le_bytes().to_vec(),
            found.ino().to_le_bytes().to_vec(),
            words(&[found.mode(), found.nlink() as u32, found.uid(), found.gid()]),
            found.len().to_le_bytes().to_vec(),
            [found.atime(), found.mtime(), found.ctime()].iter().flat_map(|time| time.to_le_bytes()).collect(),
        ]
        .concat(),
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(5);
            [words(&[number.cast_unsigned()]), vec![0; 64]].concat()
        }
    }
}

async fn stat(
    stream: &mut (impl AsyncWrite + Unpin),
    id: &[u8; 4],
    found: io::Result<std::fs::Metadata>,
) -> io::Result<()> {
    stream.write_all(&[id, &stat_v2(found.as_ref())[..]].concat()).await
}

async fn list(stream: &mut (impl AsyncWrite + Unpin), path: &str, id: &[u8; 4]) -> io::Result<()> {
    let is_second = id == b"DNT2";
    // A folder that cannot be read is an empty one: the protocol has no word for it.
    if let Ok(mut entries) = fs::read_dir(path).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            let found = entry.metadata().await;
            let stat = match (&found, is_second) {
                (found, true) => stat_v2(found.as_ref()),
                (Ok(found), false) => stat_v1(Some(found)),
                (Err(_), false) => continue,
            };
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            stream.write_all(&[id, &stat[..], &words(&[name.len() as u32]), name].concat()).await?;
        }
    }
    let nothing = if is_second { 72 } else { 16 };
    stream.write_all(&[b"DONE", &vec![0; nothing][..]].concat()).await
}

/// A file from the host. What cannot be written is read to its end all the same, and then refused.
async fn receive(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &Path, mode: u32) -> io::Result<()> {
    let mut target = Target::open(path, mode).await;
    let done = match pour(stream, &mut target).await {
        Ok(time) => match target {
            Ok(target) => target.close(path, time).await.map_err(|error| format!("close failed: {}", plain(&error))),
            Err(why) => Err(why),
        },
        Err(error) => {
            // Half a file is no file.
            let _ = fs::remove_file(path).await;
            return Err(error);
        }
    };
    match done {
        Ok(()) => stream.write_all(b"OKAY\0\0\0\0").await,
        Err(why) => {
            let _ = fs::remove_file(path).await;
            fail(stream, &why).await
        }
    }
}

/// Reads a file's data to its end, which brings its time in seconds since 1970.
async fn pour(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &mut Result<Target, String>,
) -> io::Result<u32> {
    let mut buffer = vec![0; DATA_BYTES];
    loop {
        let (id, length) = header(stream).await?;
        match &id {
            b"DONE" => return Ok(length),
            b"DATA" if length as usize <= DATA_BYTES => {}
            _ => {
                fail(stream, "invalid data message").await?;
                return Err(io::Error::other("a file's data without its header"));
            }
        }
        let part = &mut buffer[..length as usize];
        stream.read_exact(part).await?;
        if let Ok(open) = target
            && let Err(error) = open.write(part).await
        {
            *target = Err(format!("write failed: {}", plain(&error)));
        }
    }
}

enum Target {
    File(fs::File),
    Link(Vec<u8>),
}

impl Target {
    async fn open(path: &Path, mode: u32) -> Result<Self, String> {
        if let Some(parent) = path.parent() {
            let made = fs::create_dir_all(parent).await;
            made.map_err(|error| format!("secure_mkdirs failed: {}", plain(&error)))?;
        }
        if mode & KIND == LINK {
            return Ok(Self::Link(Vec::new()));
        }
        let refused = |error: io::Error| format!("couldn't create file: {}", plain(&error));
        // A program that runs from the old file keeps it.
        match fs::remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
            Ok(()) | Err(_) => {}
        }
        let file = fs::File::options().create_new(true).write(true).open(path).await.map_err(refused)?;
        // As adbd does: what the owner may, everybody may.
        let owner = (mode >> 6) & 7;
        let all = owner << 6 | owner << 3 | owner;
        file.set_permissions(std::fs::Permissions::from_mode(all)).await.map_err(refused)?;
        Ok(Self::File(file))
    }

    async fn write(&mut self, part: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(part).await,
            Self::Link(target) => {
                target.extend_from_slice(part);
                if target.len() > MAX_PATH as usize { Err(io::Error::other("File name too long")) } else { Ok(()) }
            }
        }
    }

    async fn close(self, path: &Path, time: u32) -> io::Result<()> {
        match self {
            Self::File(mut file) => {
                file.flush().await?;
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time.into());
                file.into_std().await.set_modified(time)
            }
            Self::Link(target) => {
                let target = String::from_utf8_lossy(&target).trim_end_matches('\0').to_owned();
                let _ = fs::remove_file(path).await;
                fs::symlink(target, path).await
            }
        }
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), path: &str) -> io::Result<()> {
    let mut file = match fs::File::open(path).await {
        Ok(file) => file,
        Err(error) => return fail(stream, &format!("open failed: {}", plain(&error))).await,
    };
    let mut packet = vec![0; 8 + DATA_BYTES];
    packet[..4].copy_from_slice(b"DATA");
    loop {
        let count = match file.read(&mut packet[8..]).await {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return fail(stream, &format!("read failed: {}", plain(&error))).await,
        };
        packet[4..8].copy_from_slice(&(count as u32).to_le_bytes());
        stream.write_all(&packet[..8 + count]).await?;
    }
    stream.write_all(b"DONE\0\0\0\0").await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the daemon answers to so many bytes of a host that then hangs up.
    async fn answer(request: &[&[u8]]) -> Vec<u8> {
        let (mut host, phone) = tokio::io::duplex(1 << 20);
        host.write_all(&request.concat()).await.unwrap();
        host.write_all(b"QUIT\0\0\0\0").await.unwrap();
        serve(phone).await.unwrap();
        let mut answer = Vec::new();
        host.read_to_end(&mut answer).await.unwrap();
        answer
    }

    fn named(id: [u8; 4], text: &str) -> Vec<u8> {
        [&id[..], &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[tokio::test]
    async fn the_second_version_writes_and_reads_what_the_first_does() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let path = path.to_str().unwrap();
        let data = [named(*b"DATA", "hello"), [b"DONE", &1_700_000_000u32.to_le_bytes()[..]].concat()].concat();
        let second = [b"SND2", &words(&[0o100_640, 0])[..]].concat();
        assert_eq!(answer(&[&named(*b"SND2", path), &second, &data]).await, b"OKAY\0\0\0\0");
        let expected = [&named(*b"DATA", "hello")[..], b"DONE\0\0\0\0"].concat();
        assert_eq!(answer(&[&named(*b"RCV2", path), b"RCV2\0\0\0\0"]).await, expected);
        assert_eq!(answer(&[&named(*b"RECV", path)]).await, expected);

        let stat = answer(&[&named(*b"STAT", path)]).await;
        assert_eq!((word(&stat, 4), word(&stat, 8), word(&stat, 12)), (0o100_666, 5, 1_700_000_000));
        let stat = answer(&[&named(*b"STA2", path)]).await;
        assert_eq!((stat.len(), word(&stat, 4), word(&stat, 24), word(&stat, 40)), (72, 0, 0o100_666, 5));
        assert_eq!(answer(&[&named(*b"SEND", &format!("{path},33152")), &data]).await, b"OKAY\0\0\0\0");
    }

    #[tokio::test]
    async fn what_is_missing_is_told_as_each_version_can() {
        let stat = answer(&[&named(*b"STAT", "/no/such")]).await;
        assert_eq!(stat, b"STAT\0\0\0\0\0\0\0\0\0\0\0\0");
        let stat = answer(&[&named(*b"LST2", "/no/such")]).await;
        assert_eq!((stat.len(), word(&stat, 4)), (72, 2), "ENOENT");
        let failed = answer(&[&named(*b"RECV", "/no/such")]).await;
        assert_eq!(failed, named(*b"FAIL", "open failed: No such file or directory"));
        let list = answer(&[&named(*b"LIST", "/no/such")]).await;
        assert_eq!((&list[..4], list.len()), (&b"DONE"[..], 20));
    }

    #[tokio::test]
    async fn a_list_names_every_entry_in_the_form_that_was_asked_for() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("one"), "1").unwrap();
        let path = home.path().to_str().unwrap();
        let first = answer(&[&named(*b"LIST", path)]).await;
        assert_eq!((&first[..4], word(&first, 8), word(&first, 16)), (&b"DENT"[..], 1, 3));
        assert_eq!((&first[20..23], first.len()), (&b"one"[..], 20 + 3 + 20));
        let second = answer(&[&named(*b"LIS2", path)]).await;
        assert_eq!((&second[..4], word(&second, 72)), (&b"DNT2"[..], 3));
        assert_eq!((&second[76..79], second.len()), (&b"one"[..], 76 + 3 + 76));
    }

    #[tokio::test]
    async fn a_refused_file_is_read_to_its_end_and_what_comes_behind_it_is_served() {
        let data = [named(*b"DATA", "hello"), b"DONE\0\0\0\0".to_vec()].concat();
        let answer = answer(&[&named(*b"SEND", "/proc/no/such,33188"), &data, &named(*b"STAT", "/")]).await;
        assert_eq!(&answer[..4], b"FAIL");
        let behind = 8 + word(&answer, 4) as usize;
        assert_eq!((&answer[behind..behind + 4], answer.len()), (&b"STAT"[..], behind + 16));
    }

    #[tokio::test]
    async fn half_a_file_is_none() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let (mut host, phone) = tokio::io::duplex(1 << 20);
        host.write_all(&named(*b"SEND", &format!("{},33188", path.display()))).await.unwrap();
        host.write_all(&named(*b"DATA", "hello")).await.unwrap();
        drop(host);
        assert!(serve(phone).await.is_err());
        assert!(!path.exists());
    }
}
