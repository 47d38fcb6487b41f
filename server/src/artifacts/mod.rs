//! Immutable bytes by BLAKE3 digest: received while being hashed, kept in a folder or an S3-compatible store, sent in
//! pieces, and never whole in memory.
//!
//! Order of effects: bytes are in place before an artifact is recorded, and it is forgotten before its bytes go. A crash
//! in between leaves bytes that nobody records; the collector sweeps those.

pub mod collect;
mod folder;
pub mod http;
mod objects;
mod range;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use seatrial_core::digest::Digest;
use seatrial_core::store::{Store, StoreError};
use seatrial_core::time::{Clock, Timestamp};
use tokio::sync::Mutex;

use crate::config::{ArtifactLocation, Limits};
use crate::metrics::{Direction, Metrics};
use folder::Folder;
use objects::Objects;

/// Pieces in which artifacts are read, in bytes.
pub const PIECE: usize = 256 << 10;

/// Bytes of an artifact as they are read.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// Why an artifact was not received, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the bytes have the digest {found}, not {expected}; nothing was kept")]
    WrongDigest { expected: Digest, found: Digest },
    #[error("the artifact is larger than the {limit} bytes that this server accepts (max_artifact_bytes)")]
    TooLarge { limit: u64 },
    #[error("the upload ended after {received} of {declared} bytes; nothing was kept")]
    Short { received: u64, declared: u64 },
    #[error("the upload broke off after {received} bytes: {why}; nothing was kept")]
    Interrupted { received: u64, why: String },
    #[error("the upload was silent for {} s after {received} bytes; nothing was kept", limit.as_secs())]
    Stalled { received: u64, limit: Duration },
    #[error("no room is left for artifacts; nothing was kept")]
    Full(#[source] io::Error),
    #[error("the artifact store failed while {doing}: try again; the server's log says why")]
    Io { doing: &'static str, source: io::Error },
    #[error("artifact {} is recorded but its bytes are gone; upload it again", .0.short())]
    Lost(Digest),
    #[error("the artifact store cannot be used: {0}")]
    Unusable(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ArtifactError {
    fn io(doing: &'static str, source: io::Error) -> Self {
        let is_full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if is_full { Self::Full(source) } else { Self::Io { doing, source } }
    }
}

/// Whether an upload was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Stored,
    /// It was there before.
    Present,
}

/// Every artifact of a server. Cheap to clone.
#[derive(Clone)]
pub struct Artifacts(Arc<Inner>);

struct Inner {
    place: Place,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    limits: Limits,
    /// Held while an artifact is recorded or forgotten, so that its bytes are not removed in between.
    settling: Mutex<()>,
}

enum Place {
    Folder(Folder),
    Objects(Objects),
}

enum Upload {
    Folder(folder::Upload),
    Objects(objects::Upload),
}

/// Bytes in place, as the sweep finds them.
struct Kept {
    digest: Digest,
    size: u64,
    modified: Timestamp,
}

impl Artifacts {
    /// Opens the place and removes what interrupted uploads of an earlier process left.
    pub async fn open(
        location: &ArtifactLocation,
        limits: Limits,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, ArtifactError> {
        let place = match location {
            ArtifactLocation::Folder(path) => Place::Folder(Folder::open(path).await?),
            ArtifactLocation::S3 { bucket, prefix, endpoint, region } => {
                Place::Objects(Objects::s3(bucket, prefix, endpoint.as_deref(), region.as_deref())?)
            }
        };
        Ok(Self(Arc::new(Inner { place, store, clock, metrics, limits, settling: Mutex::new(()) })))
    }

    /// Receives an artifact. Nothing is kept unless all of it arrives and has the digest.
    pub async fn receive<E: std::fmt::Display>(
        &self,
        digest: Digest,
        declared: Option<u64>,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Received, ArtifactError> {
        let limit = self.0.limits.artifact_bytes;
        if declared.is_some_and(|size| size > limit) {
            return Err(ArtifactError::TooLarge { limit });
        }
        if self.size(&digest).await?.is_some() {
            return self.drain(bytes).await;
        }
        let mut upload = self.0.place.begin(&digest).await?;
        match self.fill(&mut upload, digest, declared, bytes).await {
            Ok(size) => {
                upload.seal().await?;
                let _settling = self.0.settling.lock().await;
                upload.publish().await?;
                fail::fail_point!("artifact_published");
                self.0.store.put_artifact(&digest, size, self.0.clock.now()).await?;
                Ok(Received::Stored)
            }
            Err(error) => {
                upload.abandon().await;
                Err(error)
            }
        }
    }

    /// Writes and hashes until the stream ends; returns the size.
    async fn fill<E: std::fmt::Display>(
        &self,
        upload: &mut Upload,
        expected: Digest,
        declared: Option<u64>,
        mut bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<u64, ArtifactError> {
        let mut hasher = blake3::Hasher::new();
        let mut received = 0;
        while let Some(piece) = self.next_piece(&mut bytes, received).await? {
            received += piece.len() as u64;
            if received > self.0.limits.artifact_bytes {
                return Err(ArtifactError::TooLarge { limit: self.0.limits.artifact_bytes });
            }
            self.0.metrics.artifact_bytes(Direction::In, piece.len() as u64);
            hasher.update(&piece);
            upload.write(piece).await?;
        }
        if let Some(declared) = declared.filter(|declared| *declared != received) {
            return Err(ArtifactError::Short { received, declared });
        }
        let found = Digest::from_bytes(*hasher.finalize().as_bytes());
        if found != expected {
            return Err(ArtifactError::WrongDigest { expected, found });
        }
        Ok(received)
    }

    async fn next_piece<E: std::fmt::Display>(
        &self,
        bytes: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
        received: u64,
    ) -> Result<Option<Bytes>, ArtifactError> {
        let limit = self.0.limits.upload_stall;
        let stalled = |_| ArtifactError::Stalled { received, limit };
        let next = tokio::time::timeout(limit, bytes.next()).await.map_err(stalled)?;
        next.transpose().map_err(|error| ArtifactError::Interrupted { received, why: error.to_string() })
    }

    /// Takes what a client sends although it is here already: to close the door on it would break its connection.
    async fn drain<E: std::fmt::Display>(
        &self,
        mut bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Received, ArtifactError> {
        let mut received = 0;
        while let Some(piece) = self.next_piece(&mut bytes, received).await? {
            received += piece.len() as u64;
            if received > self.0.limits.artifact_bytes {
                return Err(ArtifactError::TooLarge { limit: self.0.limits.artifact_bytes });
            }
        }
        Ok(Received::Present)
    }

    /// The size in bytes of a recorded artifact.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.0.store.artifact_size(digest).await
    }

    /// Whether this is an agent that every device may have.
    pub async fn is_newest_agent(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.0.store.is_newest_agent(digest).await
    }

    /// The bytes from `start` on, `length` of them.
    pub async fn read(&self, digest: &Digest, start: u64, length: u64) -> Result<Pieces, ArtifactError> {
        let pieces = match &self.0.place {
            Place::Folder(folder) => folder.read(digest, start, length).await?,
            Place::Objects(objects) => objects.read(digest, start, length).await?,
        };
        let metrics = self.0.metrics.clone();
        let counted = pieces.inspect(move |piece| {
            if let Ok(piece) = piece {
                metrics.artifact_bytes(Direction::Out, piece.len() as u64);
            }
        });
        Ok(counted.boxed())
    }
}

impl Place {
    async fn begin(&self, digest: &Digest) -> Result<Upload, ArtifactError> {
        match self {
            Self::Folder(folder) => Ok(Upload::Folder(folder.begin(digest).await?)),
            Self::Objects(objects) => Ok(Upload::Objects(objects.begin(digest).await?)),
        }
    }

    async fn remove(&self, digest: &Digest) -> Result<(), ArtifactError> {
        match self {
            Self::Folder(folder) => folder.remove(digest).await,
            Self::Objects(objects) => objects.remove(digest).await,
        }
    }

    /// Everything whose digest begins with this byte.
    async fn shard(&self, first: u8) -> Result<Vec<Kept>, ArtifactError> {
        match self {
            Self::Folder(folder) => folder.shard(first).await,
            Self::Objects(objects) => objects.shard(first).await,
        }
    }
}

impl Upload {
    async fn write(&mut self, piece: Bytes) -> Result<(), ArtifactError> {
        match self {
            Self::Folder(upload) => upload.write(piece).await,
            Self::Objects(upload) => upload.write(piece).await,
        }
    }

    /// Makes the bytes durable, without showing them to anybody.
    async fn seal(&mut self) -> Result<(), ArtifactError> {
        match self {
            Self::Folder(upload) => upload.seal().await,
            Self::Objects(_) => Ok(()),
        }
    }

    /// Puts the bytes under their digest, at once and whole.
    async fn publish(self) -> Result<(), ArtifactError> {
        match self {
            Self::Folder(upload) => upload.publish().await,
            Self::Objects(upload) => upload.publish().await,
        }
    }

    async fn abandon(self) {
        match self {
            Self::Folder(upload) => drop(upload),
            Self::Objects(upload) => upload.abandon().await,
        }
    }
}
