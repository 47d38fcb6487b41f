//! Garbage: artifacts that nothing holds any more, and bytes that no record names.

use std::time::Duration;

use async_trait::async_trait;
use seatrial_core::digest::Digest;
use seatrial_core::time::Timestamp;

use super::{ArtifactError, Artifacts, Kept};
use crate::error::Chain;
use crate::tasks::{ReconcileError, Reconciler};

/// Artifacts looked at in one go.
const BATCH: u32 = 500;
/// A preview counts at most this many.
const PREVIEW: u32 = 1_000_000;

/// What was removed, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    pub artifacts: u64,
    pub bytes: u64,
}

impl Collected {
    fn add(&mut self, bytes: u64) {
        self.artifacts += 1;
        self.bytes += bytes;
    }
}

impl Artifacts {
    /// Removes what is older than `min_age` and held by nothing, then bytes without a record. With `dry_run` it only
    /// counts.
    pub async fn collect(&self, min_age: Duration, dry_run: bool) -> Result<Collected, ArtifactError> {
        let age = i64::try_from(min_age.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.0.clock.now().as_micros().saturating_sub(age));
        let mut collected = Collected::default();
        if dry_run {
            for (_, size) in self.0.store.unreferenced_artifacts(before, PREVIEW).await? {
                collected.add(size);
            }
        } else {
            while self.collect_batch(before, &mut collected).await? {}
        }
        self.sweep(before, dry_run, &mut collected).await?;
        Ok(collected)
    }

    /// False when there is nothing more to be had.
    async fn collect_batch(&self, before: Timestamp, collected: &mut Collected) -> Result<bool, ArtifactError> {
        let batch = self.0.store.unreferenced_artifacts(before, BATCH).await?;
        let mut progress = false;
        for (digest, size) in &batch {
            if self.remove(digest).await? {
                progress = true;
                collected.add(*size);
            }
        }
        Ok(progress && batch.len() == BATCH as usize)
    }

    /// Forgets, then removes; false when something has come to hold it.
    async fn remove(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        let _settling = self.0.settling.lock().await;
        if !self.0.store.forget_artifact(digest).await? {
            return Ok(false);
        }
        fail::fail_point!("artifact_forgotten");
        self.0.place.remove(digest).await?;
        // Another replica may have recorded the digest again meanwhile: it must not promise bytes that are gone.
        if !self.0.store.artifacts_present(&[*digest]).await?.is_empty() {
            self.0.store.forget_artifact(digest).await?;
        }
        Ok(true)
    }

    /// Removes bytes that a crash left without a record.
    async fn sweep(&self, before: Timestamp, dry_run: bool, collected: &mut Collected) -> Result<(), ArtifactError> {
        for first in 0..=u8::MAX {
            let old: Vec<Kept> =
                self.0.place.shard(first).await?.into_iter().filter(|kept| kept.modified < before).collect();
            if old.is_empty() {
                continue;
            }
            let _settling = self.0.settling.lock().await;
            let digests: Vec<Digest> = old.iter().map(|kept| kept.digest).collect();
            let recorded = self.0.store.artifacts_present(&digests).await?;
            for Kept { digest, size, modified: _ } in old.into_iter().filter(|kept| !recorded.contains(&kept.digest)) {
                if !dry_run {
                    self.0.place.remove(&digest).await?;
                }
                collected.add(size);
            }
        }
        Ok(())
    }
}

/// Collects garbage as one of the server's reconcilers.
pub struct Collector {
    pub artifacts: Artifacts,
    pub interval: Duration,
    pub min_age: Duration,
}

#[async_trait]
impl Reconciler for Collector {
    fn name(&self) -> &'static str {
        "collect artifacts"
    }

    fn period(&self) -> Duration {
        self.interval
    }

    async fn reconcile(&self) -> Result<String, ReconcileError> {
        match self.artifacts.collect(self.min_age, false).await {
            Ok(Collected { artifacts: 0, bytes: _ }) => Ok(String::new()),
            Ok(Collected { artifacts, bytes }) => Ok(format!("removed {artifacts} artifacts of {bytes} bytes")),
            Err(ArtifactError::Store(error)) => Err(error.into()),
            Err(error) => Err(ReconcileError::Other(Chain(&error).to_string())),
        }
    }
}
