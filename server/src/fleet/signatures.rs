//! What devices find in the files of models, settled against what clients claimed of them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use seatrial_core::ids::{JobId, RunId};
use seatrial_core::job::ModelRef;
use seatrial_core::model::{Signature, SignatureStanding};
use seatrial_core::store::{Result, Store};

use super::specs::Attempt;

/// Variants remembered before all are forgotten. One that is forgotten is settled again, which changes nothing.
const MAX_REMEMBERED: usize = 4096;

/// The variants of each run that are settled, so that only the first of a variant's jobs in a run asks the store.
#[derive(Default)]
pub(super) struct Signatures {
    settled: Mutex<HashSet<(Option<RunId>, String)>>,
}

impl Signatures {
    /// The first device that reads a variant's file settles what was claimed of it. What fails here is settled by the
    /// next job of the variant.
    pub(super) async fn settle(&self, store: &dyn Store, job: JobId, attempt: &Attempt, found: &Signature) {
        let ModelRef { model, version, variant, signature: claimed, .. } = &attempt.spec.parsed.model;
        let key = (attempt.run, format!("{model}@{version}/{variant}"));
        if self.lock().contains(&key) {
            return;
        }
        match settle(store, job, claimed, found).await {
            Ok(()) => self.remember(key),
            Err(error) => tracing::warn!(%job, error = %super::storing::Chain(&error), "the signature is not settled"),
        }
    }

    fn remember(&self, key: (Option<RunId>, String)) {
        let mut settled = self.lock();
        if settled.len() >= MAX_REMEMBERED {
            settled.clear();
        }
        settled.insert(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(Option<RunId>, String)>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn settle(store: &dyn Store, job: JobId, claimed: &Signature, found: &Signature) -> Result<()> {
    let Some(row) = store.job(job).await? else { return Ok(()) };
    let standing = match claimed.contradiction(found) {
        None => SignatureStanding::Confirmed,
        Some(contradiction) => {
            tracing::warn!(variant = %row.variant_id, %contradiction, "a claimed signature is refused");
            SignatureStanding::Refused
        }
    };
    // Where nobody claimed anything, the device is the first to know.
    let precision_from = claimed.precision_from.clone();
    let news = claimed.inputs.is_empty().then(|| Signature { precision_from, ..found.clone() });
    store.settle_signature(row.variant_id, standing, news.as_ref()).await.map(drop)
}
