//! Artifacts by digest on the device's disk: fetched once, verified while they stream, kept until room is needed.
//!
//! A file enters the cache only whole and with the right digest; an interrupted transfer is resumed with Range. The
//! least recently used file goes first, whole or in part, never one that a running job holds. Jobs get hard links, so
//! that eviction cannot take a file away under a reader. A job whose child the kernel does not confine can write through
//! such a link: what is here is therefore verified again before each job.

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
use seatrial_core::time::Monotonic;

use crate::attempt::StopSignal;
use crate::clock;
use crate::folder::sync_folder;
use crate::plain::open_plain;

/// Tries of one transfer; each goes on where the last one ended.
const TRIES: u32 = 8;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(5) };
/// Bytes that are left to others on a disk.
const RESERVE: u64 = 16 << 20;
/// How often a wait for the server looks at the clock: timers stand still while a device sleeps.
const LOOK: Duration = Duration::from_millis(250);
const BUFFER: usize = 1 << 16;
/// Folder of what has arrived in part.
const PARTIAL: &str = "partial";

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
    #[error(
        "artifact {digest} did not arrive in the {} s that fetching may take: {arrived} of its {size} bytes are here, and \
         {rate} bytes arrived a second; the next attempt goes on from there, or takes longer with \
         limits.deadline_seconds.fetch",
        .within.as_secs_f64()
    )]
    TooSlow { digest: Digest, size: u64, arrived: u64, rate: u64, within: Duration },
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

/// How long the artifacts of an attempt may take to arrive.
#[derive(Debug, Clone, Copy)]
pub struct Patience<'a> {
    pub stop: &'a StopSignal,
    /// On the boot clock.
    pub begun: Monotonic,
    pub within: Duration,
}

/// Why nobody waits any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Impatience {
    Stopped,
    Late,
}

impl Patience<'_> {
    fn check(&self) -> Result<(), Impatience> {
        if self.stop.is_set() {
            Err(Impatience::Stopped)
        } else if clock::boot().since(self.begun) >= self.within {
            Err(Impatience::Late)
        } else {
            Ok(())
        }
    }

    async fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, Impatience> {
        let mut future = std::pin::pin!(future);
        loop {
            self.check()?;
            if let Ok(done) = tokio::time::timeout(LOOK, future.as_mut()).await {
                return Ok(done);
            }
        }
    }
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
        fs::create_dir_all(folder.join(PARTIAL))?;
        Ok(Self { folder: folder.to_owned(), limit, held: Arc::default() })
    }

    /// The artifact, from disk or from the server.
    pub async fn obtain(
        &self,
        digest: Digest,
        size: u64,
        remote: &Remote,
        patience: Patience<'_>,
    ) -> Result<Hold, FetchError> {
        let begun = clock::boot();
        let mut hold = self.hold(digest);
        if self.contains(digest, size) {
            match self.is_intact(digest, patience) {
                Ok(true) => {
                    self.touch(digest);
                    return Ok(hold);
                }
                Ok(false) => tracing::warn!(%digest, "an artifact was altered in the cache and is fetched again"),
                Err(why) => return Err(self.impatient(why, digest, size, patience, begun, 0)),
            }
            fs::remove_file(self.place(digest)).map_err(|source| FetchError::Io { digest, source })?;
        }
        self.make_room(digest, size)?;
        hold.moved = self.fetch(digest, size, remote, patience).await?;
        Ok(hold)
    }

    /// Whether there is something of the artifact's size in its place.
    pub fn contains(&self, digest: Digest, size: u64) -> bool {
        std::fs::symlink_metadata(self.place(digest)).is_ok_and(|file| file.len() == size)
    }

    /// Whether what is in the artifact's place is the artifact.
    fn is_intact(&self, digest: Digest, patience: Patience<'_>) -> Result<bool, Impatience> {
        let Ok(mut file) = open_plain(&self.folder, &digest.to_string()) else { return Ok(false) };
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            patience.check()?;
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Digest::from_bytes(*hasher.finalize().as_bytes()) == digest),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(_) => return Ok(false), // a disk that lost it: fetching it again tells more
            };
        }
    }

    /// Bytes of all artifacts in the cache, in whole or in part.
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

    fn partial_place(&self, digest: Digest) -> PathBuf {
        self.folder.join(PARTIAL).join(digest.to_string())
    }

    /// Bytes that an earlier transfer has left.
    fn arrived(&self, digest: Digest) -> u64 {
        std::fs::metadata(self.partial_place(digest)).map_or(0, |file| file.len())
    }

    /// The time of last use is the file's own, so that it survives a restart.
    fn touch(&self, digest: Digest) {
        let now = FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH + wall_since_epoch());
        // A cache on a read-only disk still serves; only the order of eviction suffers.
        let _ = File::open(self.place(digest)).and_then(|file| file.set_times(now));
    }

    // --- room ---

    /// For what is still missing of the artifact.
    fn make_room(&self, digest: Digest, size: u64) -> Result<(), FetchError> {
        let full = |room| FetchError::StorageFull { digest, size, room };
        if size > self.limit {
            return Err(full(format!("the cache may hold {} bytes", self.limit)));
        }
        let missing = size.saturating_sub(self.arrived(digest));
        let mut entries = self.entries();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut used: u64 = entries.iter().map(|entry| entry.size).sum();
        loop {
            let free = free_bytes(&self.folder);
            let fits_cache = used.saturating_add(missing) <= self.limit;
            let fits_disk = free.is_none_or(|free| free >= missing.saturating_add(RESERVE));
            if fits_cache && fits_disk {
                return Ok(());
            }
            let Some(oldest) = entries.pop() else {
                return Err(full(match free.filter(|_| !fits_disk) {
                    Some(free) => format!("the disk has {free} bytes free"),
                    None => "everything in the cache is in use".to_owned(),
                }));
            };
            if oldest.digest == digest || locked(&self.held).contains_key(&oldest.digest) {
                continue;
            }
            tracing::debug!(path = %oldest.path.display(), "evicting artifact");
            fs::remove_file(&oldest.path).map_err(|source| FetchError::Io { digest, source })?;
            used = used.saturating_sub(oldest.size);
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let folders = [self.folder.clone(), self.folder.join(PARTIAL)];
        let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        files
            .filter_map(|file| {
                let file = file.ok()?;
                let digest = file.file_name().to_str()?.parse().ok()?;
                let metadata = file.metadata().ok()?;
                Some(Entry { path: file.path(), digest, size: metadata.len(), used: metadata.modified().ok()? })
            })
            .collect()
    }

    // --- transfer ---

    async fn fetch(
        &self,
        digest: Digest,
        size: u64,
        remote: &Remote,
        patience: Patience<'_>,
    ) -> Result<u64, FetchError> {
        let begun = clock::boot();
        let mut moved = 0;
        let mut last = String::new();
        for attempt in 0..TRIES {
            match self.try_fetch(digest, size, remote, patience, &mut moved).await {
                Ok(()) => return Ok(moved),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Impatient(why)) => return Err(self.impatient(why, digest, size, patience, begun, moved)),
                Err(Trouble::Passing(detail)) => {
                    tracing::info!(%digest, attempt, detail, "transfer interrupted, resuming");
                    last = detail;
                    let pause = tokio::time::sleep(BACKOFF.delay(attempt, rand::random()));
                    let waited = patience.wait(pause).await;
                    waited.map_err(|why| self.impatient(why, digest, size, patience, begun, moved))?;
                }
            }
        }
        Err(FetchError::Unreachable { digest, detail: last })
    }

    fn impatient(
        &self,
        why: Impatience,
        digest: Digest,
        size: u64,
        patience: Patience<'_>,
        begun: Monotonic,
        moved: u64,
    ) -> FetchError {
        match why {
            Impatience::Stopped => FetchError::Stopped(digest),
            Impatience::Late => {
                let rate = (moved as f64 / clock::boot().since(begun).as_secs_f64().max(0.001)) as u64;
                FetchError::TooSlow { digest, size, arrived: self.arrived(digest), rate, within: patience.within }
            }
        }
    }

    /// One request; what arrived stays in the partial file for the next.
    async fn try_fetch(
        &self,
        digest: Digest,
        size: u64,
        remote: &Remote,
        patience: Patience<'_>,
        moved: &mut u64,
    ) -> Result<(), Trouble> {
        let partial = self.partial_place(digest);
        let io = |source| Trouble::of_io(digest, size, source);
        let mut download = Download::resume(&partial, size).map_err(io)?;
        if download.length < size {
            let mut response = patience.wait(request(digest, remote, download.length)).await??;
            if response.status() != StatusCode::PARTIAL_CONTENT {
                download.restart().map_err(io)?;
            }
            loop {
                let chunk = patience.wait(response.chunk()).await?;
                let Some(chunk) = chunk.map_err(|error| Trouble::Passing(chain(&error)))? else { break };
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
        if actual != digest && compares_digests() {
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
    path: PathBuf,
    digest: Digest,
    size: u64,
    used: std::time::SystemTime,
}

#[derive(Debug)]
enum Trouble {
    /// Worth another try.
    Passing(String),
    Impatient(Impatience),
    Final(FetchError),
}

impl From<Impatience> for Trouble {
    fn from(why: Impatience) -> Self {
        Self::Impatient(why)
    }
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
        let mut buffer = vec![0; BUFFER];
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

/// Always, but where a test takes the protection away to see what it is for.
fn compares_digests() -> bool {
    fail::fail_point!("cache-digest", |_| false);
    true
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

    fn put_partial(cache: &Cache, whole: &[u8], arrived: usize, age: u64) -> Digest {
        let digest = Digest::of(whole);
        std::fs::write(cache.partial_place(digest), &whole[..arrived]).unwrap();
        let used = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        File::open(cache.partial_place(digest)).unwrap().set_times(FileTimes::new().set_modified(used)).unwrap();
        digest
    }

    #[test]
    fn what_arrived_in_part_is_counted_and_goes_in_its_turn() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path(), 10).unwrap();
        let (part, whole) = (put_partial(&cache, b"aaaaaaaa", 5, 2), put(&cache, b"bbbb", 1));
        assert_eq!(cache.used(), 9);
        cache.make_room(Digest::of(b"cc"), 2).unwrap();
        assert_eq!((cache.arrived(part), cache.contains(whole, 4)), (0, true));
    }

    #[test]
    fn what_has_arrived_of_an_artifact_is_kept_for_it_and_takes_no_room_twice() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path(), 10).unwrap();
        let (part, whole) = (put_partial(&cache, b"aaaaaaaa", 6, 2), put(&cache, b"bb", 1));
        cache.make_room(part, 8).unwrap();
        assert_eq!((cache.arrived(part), cache.contains(whole, 2)), (6, true), "6 are here, 2 are missing, 2 others");
        // The control: an artifact of which nothing is here takes it all.
        cache.make_room(Digest::of(b"cccccccc"), 8).unwrap();
        assert_eq!(cache.arrived(part), 0);
    }

    #[test]
    fn what_is_not_what_its_name_says_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path(), 10).unwrap();
        let stop = StopSignal::default();
        let patience = Patience { stop: &stop, begun: clock::boot(), within: Duration::from_mins(1) };
        let digest = put(&cache, b"aaaa", 1);
        assert_eq!(cache.is_intact(digest, patience), Ok(true));
        std::fs::write(cache.place(digest), b"aaab").unwrap();
        assert!(cache.contains(digest, 4), "the size is the same");
        assert_eq!(cache.is_intact(digest, patience), Ok(false));
        std::fs::remove_file(cache.place(digest)).unwrap();
        std::os::unix::fs::symlink("/dev/zero", cache.place(digest)).unwrap();
        assert_eq!(cache.is_intact(digest, patience), Ok(false));
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
