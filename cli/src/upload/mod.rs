//! From files of this machine to artifacts of the server: digest first, then only what is missing, streamed.

pub(crate) mod agent;
pub(crate) mod dataset;
mod members;
pub(crate) mod model;
pub(crate) mod runtime;

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use seatrial_core::digest::Digest;
use seatrial_proto::v1;

use crate::client::Client;
use crate::error::{CliError, Result};

/// A file and the name of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalFile {
    pub path: PathBuf,
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// What an upload moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moved {
    pub files: usize,
    pub bytes: u64,
}

/// Reads a file once for its digest, never holding it whole.
pub(crate) async fn digest(path: &Path) -> Result<LocalFile> {
    let owned = path.to_owned();
    let read = move || -> std::io::Result<LocalFile> {
        let mut hasher = blake3::Hasher::new();
        let file = fs_err::File::open(&owned)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        hasher.update_reader(file)?;
        Ok(LocalFile { digest: Digest::from_bytes(*hasher.finalize().as_bytes()), size: hasher.count(), path: owned })
    };
    let outcome =
        tokio::task::spawn_blocking(read).await.map_err(|error| CliError::failed("compute a digest", error))?;
    outcome.map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// Uploads the files that the server does not have. Files with the same bytes go once.
pub(crate) async fn send_missing(client: &Client, files: &[LocalFile]) -> Result<Moved> {
    let digests = files.iter().map(|file| Bytes::copy_from_slice(file.digest.as_bytes())).collect();
    let request = Client::request(v1::MissingRequest { digests });
    let missing =
        client.artifacts().missing(request).await.map_err(client.failed("ask which files are missing"))?.into_inner();
    let mut missing: HashSet<Bytes> = missing.digests.into_iter().collect();
    let wanted: Vec<&LocalFile> =
        files.iter().filter(|file| missing.remove(file.digest.as_bytes().as_slice())).collect();
    let bar = bar(wanted.iter().map(|file| file.size).sum());
    for file in &wanted {
        let advance = bar.clone();
        client.put_artifact(&file.digest, file.size, &file.path, move |bytes| advance.inc(bytes)).await?;
    }
    bar.finish_and_clear();
    Ok(Moved { files: wanted.len(), bytes: wanted.iter().map(|file| file.size).sum() })
}

fn bar(bytes: u64) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(
        "{bar:24}  uploading {decimal_bytes} of {decimal_total_bytes} · {decimal_bytes_per_sec}",
    );
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─");
    ProgressBar::with_draw_target(Some(bytes), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_named_by_its_bytes_and_a_folder_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        fs_err::write(&path, b"sea").unwrap();
        let file = digest(&path).await.unwrap();
        assert_eq!((file.digest, file.size), (Digest::of(b"sea"), 3));
        let error = digest(folder.path()).await.unwrap_err();
        assert!(matches!(error, CliError::Read { .. }), "{error}");
    }
}
