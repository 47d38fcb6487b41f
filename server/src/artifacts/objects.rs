//! Artifacts as objects of an S3-compatible store. A multipart upload shows nothing until it is completed, so it goes
//! straight to its final name and is completed only when the digest is right.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, ObjectStore, ObjectStoreExt as _, RetryConfig, WriteMultipart};
use seatrial_core::digest::Digest;
use seatrial_core::time::Timestamp;

use super::{ArtifactError, Kept, Pieces};

/// Parts of an upload in flight: what one upload may hold in memory is this many parts.
const PARTS_IN_FLIGHT: usize = 3;
/// How often, and for how long, a request of ours is tried again: somebody waits for the answer.
const RETRIES: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_secs(20);
/// A store that says nothing for this long is gone. An artifact as a whole takes as long as its reader does.
const SILENCE: Duration = Duration::from_secs(30);
/// Size of a part; S3 allows 10,000 of them, so this bounds an artifact to 156 GiB.
const PART: usize = 16 << 20;

pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

pub(super) struct Upload(Option<WriteMultipart>);

impl Objects {
    pub(super) fn s3(
        bucket: &str,
        prefix: &str,
        endpoint: Option<&str>,
        region: Option<&str>,
    ) -> Result<Self, ArtifactError> {
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_WITHIN, ..RetryConfig::default() };
        let client = ClientOptions::new().with_timeout_disabled().with_read_timeout(SILENCE);
        let mut builder =
            AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).with_client_options(client);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        // The client takes the process's provider; an error says only that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = builder.build().map_err(|error| ArtifactError::Unusable(error.to_string()))?;
        Ok(Self::new(Arc::new(store), prefix))
    }

    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: Path::from(prefix) }
    }

    fn path(&self, digest: &Digest) -> Path {
        let name = digest.to_string();
        self.prefix.clone().join(&name[..2]).join(name)
    }

    pub(super) async fn begin(&self, digest: &Digest) -> Result<Upload, ArtifactError> {
        let upload =
            self.store.put_multipart(&self.path(digest)).await.map_err(|error| failed("starting an upload", error))?;
        Ok(Upload(Some(WriteMultipart::new_with_chunk_size(upload, PART))))
    }

    pub(super) async fn read(&self, digest: &Digest, start: u64, length: u64) -> Result<Pieces, ArtifactError> {
        if length == 0 {
            return Ok(futures::stream::empty().boxed());
        }
        let options = GetOptions { range: Some((start..start + length).into()), ..GetOptions::default() };
        match self.store.get_opts(&self.path(digest), options).await {
            Ok(found) => Ok(found.into_stream().map_err(io::Error::other).boxed()),
            Err(object_store::Error::NotFound { .. }) => Err(ArtifactError::Lost(*digest)),
            Err(error) => Err(failed("reading an artifact", error)),
        }
    }

    pub(super) async fn remove(&self, digest: &Digest) -> Result<(), ArtifactError> {
        match self.store.delete(&self.path(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("removing an artifact", error)),
        }
    }

    pub(super) async fn shard(&self, first: u8) -> Result<Vec<Kept>, ArtifactError> {
        let folder = self.prefix.clone().join(format!("{first:02x}"));
        let listed: Vec<_> =
            self.store.list(Some(&folder)).try_collect().await.map_err(|error| failed("listing artifacts", error))?;
        let kept = listed.into_iter().filter_map(|object| {
            let digest = object.location.filename()?.parse().ok()?;
            let modified = Timestamp::from_micros(object.last_modified.timestamp_micros());
            Some(Kept { digest, size: object.size, modified })
        });
        Ok(kept.collect())
    }
}

impl Upload {
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), ArtifactError> {
        let Some(upload) = self.0.as_mut() else { return Ok(()) };
        upload.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(|error| failed("writing an artifact", error))?;
        upload.put(piece);
        Ok(())
    }

    pub(super) async fn publish(mut self) -> Result<(), ArtifactError> {
        let Some(upload) = self.0.take() else { return Ok(()) };
        upload.finish().await.map(drop).map_err(|error| failed("completing an upload", error))
    }

    pub(super) async fn abandon(mut self) {
        if let Some(upload) = self.0.take() {
            abort(upload).await;
        }
    }
}

impl Drop for Upload {
    /// A request that is dropped in the middle would leave its parts, and their cost, in the store for ever.
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(abort(upload));
        }
    }
}

async fn abort(upload: WriteMultipart) {
    if let Err(error) = upload.abort().await {
        tracing::warn!(%error, "parts of an abandoned upload stay in the object store");
    }
}

fn failed(doing: &'static str, error: object_store::Error) -> ArtifactError {
    ArtifactError::Io { doing, source: io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn an_object_is_there_whole_or_not_at_all() {
        let objects = Objects::new(Arc::new(InMemory::new()), "lab/artifacts");
        let bytes = Bytes::from(vec![7; 100_000]);
        let digest = Digest::of(&bytes);

        let mut upload = objects.begin(&digest).await.unwrap();
        upload.write(bytes.clone()).await.unwrap();
        upload.abandon().await;
        assert!(matches!(objects.read(&digest, 0, 1).await, Err(ArtifactError::Lost(lost)) if lost == digest));

        let mut upload = objects.begin(&digest).await.unwrap();
        upload.write(bytes).await.unwrap();
        upload.publish().await.unwrap();
        let pieces: Vec<Bytes> = objects.read(&digest, 99_000, 1000).await.unwrap().try_collect().await.unwrap();
        assert_eq!(pieces.concat(), vec![7; 1000]);

        let listed = objects.shard(digest.as_bytes()[0]).await.unwrap();
        assert_eq!(listed.iter().map(|kept| (kept.digest, kept.size)).collect::<Vec<_>>(), [(digest, 100_000)]);
        objects.remove(&digest).await.unwrap();
        objects.remove(&digest).await.unwrap();
        assert!(objects.shard(digest.as_bytes()[0]).await.unwrap().is_empty());
    }
}
