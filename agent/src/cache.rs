//! Artifacts by digest on the device's disk: fetched once, verified while they stream, kept until room is needed.
//!
//! A file enters the cache only whole and with the right digest; an interrupted transfer is resumed with Range. The
//! least recently used file goes first, never one that a running job holds. Jobs get hard links, so that eviction
//! cannot take a file away under a reader.

use std::collections::BTreeMap;
use std::fs::{File, FileTimes};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fs_err as fs;
use reqwest::StatusCode;
use seatrial_core::digest::Digest;
use seatrial_core::retry::Backoff;

use crate::attempt::StopSignal;
use crate::folder::sync_folder;

/// Tries of one transfer; each goes on where the last one ended.
const TRIES: u32 = 8;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(5) };
/// Bytes that are left to others on a disk.
const RESERVE: u64 = 16 << 20;

/// Why an artifact is not on the device.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("artifact {digest} takes {size} bytes; {room}: free some space, or raise --cache-bytes")]
    StorageFull { digest: Digest, size: u64, room: String },
    #[error("artifact {digest} arrived damaged: {detail}")]
    Corrupt { digest: Digest, detail: String },
    #[error("the server refused artifact {digest}: {status}")]
    Refused { digest: Digest, status: StatusCode },
    #[error("artifact {digest} could not be fetched in {TRIES} tries: {detail}")]
    Unreachable { digest: Digest, detail: String },
    #[error("fetching artifact {0} was stopped")]
    Stopped(Digest),
    #[error("artifact {digest}: {source}")]
    Io { digest: Digest, source: io::Error },
}

/// Where artifacts come from. Not `Debug`: it holds the token.
#[derive(Clone)]
pub struct Remote {
    pub client: reqwest::Client,
    /// Up to and including the last slash before the digest.
    pub prefix: String,
    pub token: Option<String>,
}

/// The cache of one agent; cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
    held: Arc<Mutex<BTreeMap<Digest, usize>>>,
}

/// Keeps an artifact from being evicted for as long as it lives.
#[derive(Debug)]
pub struct Hold {
    digest: Digest,
    held: Arc<Mutex<BTreeMap<Digest, usize>>>,
    path: PathBuf,
    /// Bytes that had to be moved: 0 when the artifact was there.
    pub moved: u64,
}

impl Cache {
    pub fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(folder.join("partial"))?;
        Ok(Self { folder: folder.to_owned(), limit, held: Arc::default() })
    }

    /// The artifact, from disk or from the server.
    pub async fn obtain(
        &self,
        digest: Digest,
        size: u64,
        remote: &Remote,
        stop: &StopSignal,
    ) -> Result<Hold, FetchError> {
        let mut hold = self.hold(digest);
        if self.contains(digest, size) {
            self.touch(digest);
            return Ok(hold);
        }
        self.make_room(digest, size)?;
        hold.moved = self.fetch(digest, size, remote, stop).await?;
        Ok(hold)
    }

    /// Whether the artifact is there whole.
    pub fn contains(&self, digest: Digest, size: u64) -> bool {
        std::fs::metadata(self.place(digest)).is_ok_and(|file| file.len() == size)
    }

    /// Bytes of all artifacts in the cache.
    pub fn used(&self) -> u64 {
        self.entries().iter().map(|entry| entry.size).sum()
    }

    fn hold(&self, digest: Digest) -> Hold {
        *locked(&self.held).entry(digest).or_default() += 1;
        Hold { digest, held: Arc::clone(&self.held), path: self.place(digest), moved: 0 }
    }

    fn place(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// The time of last use is the file's own, so that it survives a restart.
    fn touch(&self, digest: Digest) {
        let now = FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH + wall_since_epoch());
        // A cache on a read-only disk still serves; only the order of eviction suffers.
        let _ = File::open(self.place(digest)).and_then(|file| file.set_times(now));
    }

    // --- room ---

    fn make_room(&self, digest: Digest, size: u64) -> Result<(), FetchError> {
        let full = |room| FetchError::StorageFull { digest, size, room };
        if size > self.limit {
            return Err(full(format!("the cache may hold {} bytes", self.limit)));
        }
        let mut entries = self.entries();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut used: u64 = entries.iter().map(|entry| entry.size).sum();
        loop {
            let free = free_bytes(&self.folder);
            let fits_cache = used.saturating_add(size) <= self.limit;
            let fits_disk = free.is_none_or(|free| free >= size.saturating_add(RESERVE));
            if fits_cache && fits_disk {
                return Ok(());
            }
            let Some(oldest) = entries.pop() else {
                return Err(full(match free.filter(|_| !fits_disk) {
                    Some(free) => format!("the disk has {free} bytes free"),
                    None => "everything in the cache is in use".to_owned(),
                }));
            };
            if locked(&self.held).contains_key(&oldest.digest) {
                continue;
            }
            tracing::debug!(digest = %oldest.digest, "evicting artifact");
            fs::remove_file(self.place(oldest.digest)).map_err(|source| FetchError::Io { digest, source })?;
            used = used.saturating_sub(oldest.size);
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let files = std::fs::read_dir(&self.folder).into_iter().flatten();
        files
            .filter_map(|file| {
                let file = file.ok()?;
                let digest = file.file_name().to_str()?.parse().ok()?;
                let metadata = file.metadata().ok()?;
                Some(Entry { digest, size: metadata.len(), used: metadata.modified().ok()? })
            })
            .collect()
    }

    // --- transfer ---

    async fn fetch(&self, digest: Digest, size: u64, remote: &Remote, stop: &StopSignal) -> Result<u64, FetchError> {
        let mut moved = 0;
        let mut last = String::new();
        for attempt in 0..TRIES {
            if stop.is_set() {
                return Err(FetchError::Stopped(digest));
            }
            match self.try_fetch(digest, size, remote, stop, &mut moved).await {
                Ok(()) => return Ok(moved),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing(detail)) => {
                    tracing::info!(%digest, attempt, detail, "transfer interrupted, resuming");
                    last = detail;
                    tokio::time::sleep(BACKOFF.delay(attempt, rand::random())).await;
                }
            }
        }
        Err(FetchError::Unreachable { digest, detail: last })
    }

    /// One request; what arrived stays in the partial file for the next.
    async fn try_fetch(
        &self,
        digest: Digest,
        size: u64,
        remote: &Remote,
        stop: &StopSignal,
        moved: &mut u64,
    ) -> Result<(), Trouble> {
        let partial = self.folder.join("partial").join(digest.to_string());
        let io = |source| Trouble::of_io(digest, size, source);
        let mut download = Download::resume(&partial, size).map_err(io)?;
        if download.length < size {
            let mut response = request(digest, remote, download.length).await?;
            if response.status() != StatusCode::PARTIAL_CONTENT {
                download.restart().map_err(io)?;
            }
            loop {
                if stop.is_set() {
                    return Err(Trouble::Final(FetchError::Stopped(digest)));
                }
                let Some(chunk) = response.chunk().await.map_err(|error| Trouble::Passing(chain(&error)))? else {
                    break;
                };
                *moved += chunk.len() as u64;
                if download.length + chunk.len() as u64 > size {
                    let detail = format!("the server sent more than the {size} bytes that it announced");
                    return Err(Trouble::Final(download.discard(digest, detail)));
                }
                download.append(&chunk).map_err(io)?;
            }
        }
        if download.length < size {
            return Err(Trouble::Passing(format!("ended after {} of {size} bytes", download.length)));
        }
        let actual = Digest::from_bytes(*download.hasher.finalize().as_bytes());
        if actual != digest {
            return Err(Trouble::Final(download.discard(digest, format!("its digest is {actual}"))));
        }
        download.file.sync_all().map_err(io)?;
        fail::fail_point!("cache-before-rename");
        download.file.set_permissions(std::fs::Permissions::from_mode(0o444)).map_err(io)?;
        fs::rename(&partial, self.place(digest)).map_err(io)?;
        sync_folder(&self.folder).map_err(io)
    }
}

impl Hold {
    /// Gives the artifact a name of its own in another folder of the same disk.
    pub fn link_to(&self, place: &Path) -> io::Result<()> {
        fs::hard_link(&self.path, place)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = locked(&self.held);
        if let Some(count) = held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.digest);
            }
        }
    }
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    size: u64,
    used: std::time::SystemTime,
}

#[derive(Debug)]
enum Trouble {
    /// Worth another try.
    Passing(String),
    Final(FetchError),
}

impl Trouble {
    fn of_io(digest: Digest, size: u64, source: io::Error) -> Self {
        Self::Final(if is_full(&source) {
            FetchError::StorageFull { digest, size, room: source.to_string() }
        } else {
            FetchError::Io { digest, source }
        })
    }
}

/// A file that grows, and the digest of what is in it.
struct Download {
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    length: u64,
}

impl Download {
    fn resume(path: &Path, size: u64) -> io::Result<Self> {
        let file = File::options().read(true).create(true).append(true).open(path)?;
        let mut download = Self { path: path.to_owned(), file, hasher: blake3::Hasher::new(), length: 0 };
        if download.file.metadata()?.len() > size {
            download.restart()?;
            return Ok(download);
        }
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = download.file.read(&mut buffer)?;
            if count == 0 {
                return Ok(download);
            }
            download.hasher.update(&buffer[..count]);
            download.length += count as u64;
        }
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher.reset();
        self.length = 0;
        Ok(())
    }

    fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        fail::fail_point!("cache-write", |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
        self.file.write_all(chunk)?;
        self.hasher.update(chunk);
        self.length += chunk.len() as u64;
        Ok(())
    }

    fn discard(&self, digest: Digest, detail: String) -> FetchError {
        // What cannot be removed is found to be wrong again.
        let _ = std::fs::remove_file(&self.path);
        FetchError::Corrupt { digest, detail }
    }
}

async fn request(digest: Digest, remote: &Remote, from: u64) -> Result<reqwest::Response, Trouble> {
    let mut request = remote.client.get(format!("{}{digest}", remote.prefix));
    if let Some(token) = &remote.token {
        request = request.bearer_auth(token);
    }
    if from > 0 {
        request = request.header(reqwest::header::RANGE, format!("bytes={from}-"));
    }
    let response = request.send().await.map_err(|error| Trouble::Passing(chain(&error)))?;
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(Trouble::Passing(format!("the server answered {status}")))
    } else {
        Err(Trouble::Final(FetchError::Refused { digest, status }))
    }
}

/// The error with its causes: the first alone says only "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Whether the disk, or the user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes that an unprivileged process may still write.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn wall_since_epoch() -> Duration {
    use seatrial_core::time::Clock as _;
    Duration::from_micros(u64::try_from(crate::clock::BootClock.now().as_micros()).unwrap_or(0))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &Cache, bytes: &[u8], age: u64) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::write(cache.place(digest), bytes).unwrap();
        let used = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        File::open(cache.place(digest)).unwrap().set_times(FileTimes::new().set_modified(used)).unwrap();
        digest
    }

    #[test]
    fn the_least_recently_used_goes_first_and_only_as_many_as_it_takes() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path(), 10).unwrap();
        let (old, new) = (put(&cache, b"aaaa", 2), put(&cache, b"bbbb", 1));
        cache.make_room(Digest::of(b"cccc"), 4).unwrap();
        assert!(!cache.contains(old, 4) && cache.contains(new, 4));
        assert_eq!(cache.used(), 4);
    }

    #[test]
    fn what_a_job_holds_is_never_evicted_however_old_it_is() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path(), 10).unwrap();
        let (old, new) = (put(&cache, b"aaaa", 2), put(&cache, b"bbbb", 1));
        let hold = cache.hold(old);
        cache.make_room(Digest::of(b"cccc"), 4).unwrap();
        assert!(cache.contains(old, 4) && !cache.contains(new, 4));
        let error = cache.make_room(Digest::of(b"dddddddd"), 8).unwrap_err();
        assert!(error.to_string().contains("everything in the cache is in use"), "{error}");
        drop(hold);
        cache.make_room(Digest::of(b"dddddddd"), 8).unwrap();
        assert!(!cache.contains(old, 4), "the control: without the hold it goes");
    }

    #[test]
    fn what_is_larger_than_the_cache_evicts_nothing() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path(), 10).unwrap();
        let kept = put(&cache, b"aaaa", 1);
        assert!(matches!(cache.make_room(Digest::of(b"x"), 11), Err(FetchError::StorageFull { .. })));
        assert!(cache.contains(kept, 4));
    }
}
