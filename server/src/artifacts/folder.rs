//! Artifacts as files: `ab/abcdef…` under the folder, uploads in `tmp` until they are whole.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use fs_err::tokio as fs;
use futures::{StreamExt as _, stream};
use seatrial_core::digest::Digest;
use seatrial_core::time::Timestamp;
use tokio::io::{AsyncWriteExt as _, BufWriter};

use super::{ArtifactError, Kept, PIECE, Pieces};
use crate::system::entropy;

/// Uploads are written in pieces of this size, since each one is a trip to the pool of blocking threads.
const WRITE_PIECE: usize = 1 << 20;
/// Pieces of a download that are read while one is sent.
const READ_AHEAD: usize = 2;

pub(super) struct Folder {
    root: PathBuf,
}

/// A file in `tmp`; removed when dropped before it was published.
pub(super) struct Upload {
    file: BufWriter<fs::File>,
    temporary: Temporary,
    target: PathBuf,
}

struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "an abandoned upload could not be removed");
        }
    }
}

impl Folder {
    pub(super) async fn open(root: &Path) -> Result<Self, ArtifactError> {
        let preparing = |error| ArtifactError::io("preparing the artifact folder", error);
        let temporary = root.join("tmp");
        match fs::remove_dir_all(&temporary).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(preparing(error)),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(&temporary).await.map_err(preparing)?;
        for first in 0..=u8::MAX {
            match fs::create_dir(root.join(shard_name(first))).await {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(preparing(error)),
                Ok(()) | Err(_) => {}
            }
        }
        // The folders' own names must survive a power cut, before there is anything in them that must.
        fs::File::open(root).await.map_err(preparing)?.sync_all().await.map_err(preparing)?;
        Ok(Self { root: root.to_owned() })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(name)
    }

    pub(super) async fn begin(&self, digest: &Digest) -> Result<Upload, ArtifactError> {
        let name = format!("{}-{}", digest.short(), u64::from_le_bytes(entropy()));
        let path = self.root.join("tmp").join(name);
        let file = fs::File::create_new(&path).await.map_err(|error| ArtifactError::io("starting an upload", error))?;
        Ok(Upload {
            file: BufWriter::with_capacity(WRITE_PIECE, file),
            temporary: Temporary(Some(path)),
            target: self.path(digest),
        })
    }

    pub(super) async fn read(&self, digest: &Digest, start: u64, length: u64) -> Result<Pieces, ArtifactError> {
        let file = match tokio::fs::File::open(self.path(digest)).await {
            Ok(file) => Arc::new(file.into_std().await),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ArtifactError::Lost(*digest)),
            Err(error) => return Err(ArtifactError::io("reading an artifact", error)),
        };
        let end = start.saturating_add(length);
        let pieces = stream::iter((start..end).step_by(PIECE)).map(move |offset| {
            let file = Arc::clone(&file);
            let size = (end - offset).min(PIECE as u64) as usize;
            async move { tokio::task::spawn_blocking(move || piece(&file, offset, size)).await? }
        });
        Ok(pieces.buffered(READ_AHEAD).boxed())
    }

    pub(super) async fn remove(&self, digest: &Digest) -> Result<(), ArtifactError> {
        match fs::remove_file(self.path(digest)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ArtifactError::io("removing an artifact", error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn shard(&self, first: u8) -> Result<Vec<Kept>, ArtifactError> {
        let listing = |error| ArtifactError::io("listing artifacts", error);
        let mut entries = match fs::read_dir(self.root.join(shard_name(first))).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(listing(error)),
        };
        let mut kept = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(listing)? {
            // Files of other names are somebody else's: left alone.
            let Some(digest) = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()) else {
                continue;
            };
            let metadata = entry.metadata().await.map_err(listing)?;
            let age = metadata.modified().ok().and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
            let micros = age.map_or(i64::MAX, |age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
            kept.push(Kept { digest, size: metadata.len(), modified: Timestamp::from_micros(micros) });
        }
        Ok(kept)
    }
}

/// Name of the folder for digests that begin with this byte.
fn shard_name(first: u8) -> String {
    format!("{first:02x}")
}

/// Read straight into the buffer that goes to the socket.
fn piece(file: &std::fs::File, offset: u64, size: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}

impl Upload {
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), ArtifactError> {
        fail::fail_point!("artifact_write", |_| Err(ArtifactError::Full(io::ErrorKind::StorageFull.into())));
        self.file.write_all(&piece).await.map_err(|error| ArtifactError::io("writing an artifact", error))
    }

    pub(super) async fn seal(&mut self) -> Result<(), ArtifactError> {
        let writing = |error| ArtifactError::io("writing an artifact", error);
        self.file.flush().await.map_err(writing)?;
        self.file.get_ref().sync_all().await.map_err(writing)
    }

    pub(super) async fn publish(mut self) -> Result<(), ArtifactError> {
        let publishing = |error| ArtifactError::io("putting an artifact in place", error);
        let (Some(parent), Some(temporary)) = (self.target.parent(), self.temporary.0.as_ref()) else { return Ok(()) };
        fs::rename(temporary, &self.target).await.map_err(publishing)?;
        self.temporary.0 = None;
        // The name itself must survive a power cut too.
        fs::File::open(parent).await.map_err(publishing)?.sync_all().await.map_err(publishing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_for_every_first_byte_is_there_before_the_first_upload_and_the_next_start_keeps_what_is_in_them() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("artifacts");
        let folders =
            || std::fs::read_dir(&root).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
        let folder = Folder::open(&root).await.unwrap();
        assert_eq!(folders(), 256 + 1, "and the one of uploads");
        let digest = Digest::of(b"sea");
        let mut upload = folder.begin(&digest).await.unwrap();
        upload.write(Bytes::from_static(b"sea")).await.unwrap();
        upload.seal().await.unwrap();
        upload.publish().await.unwrap();

        let again = Folder::open(&root).await.unwrap();
        assert_eq!(folders(), 256 + 1);
        let kept = again.shard(digest.as_bytes()[0]).await.unwrap();
        assert_eq!(kept.iter().map(|kept| kept.digest).collect::<Vec<_>>(), [digest]);
    }
}
