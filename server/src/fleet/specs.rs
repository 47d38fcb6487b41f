//! Specifications of the attempts that are under way, for those who may ask for them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use seatrial_core::ids::{DeviceId, JobId, RunId};
use seatrial_core::job::{AttemptRef, JobSpec};
use seatrial_core::store::{Result, Store, StoreError};

/// What a job asks for, as it is sent and as it is read.
#[derive(Debug)]
pub struct Spec {
    pub json: String,
    pub parsed: JobSpec,
}

impl Spec {
    /// `None` when there is no such job.
    pub async fn load(store: &dyn Store, job: JobId) -> Result<Option<Arc<Self>>> {
        store.job_spec(job).await?.map(|json| Self::read(job, json)).transpose()
    }

    /// A specification as the store has it.
    pub fn read(job: JobId, json: String) -> Result<Arc<Self>> {
        let parsed = serde_json::from_str(&json).map_err(|error| StoreError::Corrupt {
            what: format!("specification of {job:?}"),
            why: error.to_string(),
        })?;
        Ok(Arc::new(Self { json, parsed }))
    }
}

/// The attempts that devices hold. Bounded by the number of open jobs that are leased.
#[derive(Default)]
pub(super) struct Active {
    by_job: RwLock<HashMap<JobId, Attempt>>,
}

#[derive(Clone)]
pub(super) struct Attempt {
    pub number: u32,
    pub device: DeviceId,
    /// `None` of a health check.
    pub run: Option<RunId>,
    pub spec: Arc<Spec>,
}

impl Active {
    pub(super) fn insert(&self, job: JobId, attempt: Attempt) {
        self.by_job.write().unwrap_or_else(PoisonError::into_inner).insert(job, attempt);
    }

    /// Forgets an attempt, unless a later one has taken its place.
    pub(super) fn remove(&self, attempt: AttemptRef) {
        let mut attempts = self.by_job.write().unwrap_or_else(PoisonError::into_inner);
        if attempts.get(&attempt.job).is_some_and(|active| active.number <= attempt.attempt) {
            attempts.remove(&attempt.job);
        }
    }

    /// The specification, for the device that holds the attempt and for nobody else.
    pub(super) fn get(&self, attempt: AttemptRef, device: DeviceId) -> Option<Arc<Spec>> {
        let attempts = self.by_job.read().unwrap_or_else(PoisonError::into_inner);
        let active = attempts.get(&attempt.job)?;
        (active.number == attempt.attempt && active.device == device).then(|| active.spec.clone())
    }

    pub(super) fn holds(&self, attempt: AttemptRef) -> bool {
        let attempts = self.by_job.read().unwrap_or_else(PoisonError::into_inner);
        attempts.get(&attempt.job).is_some_and(|active| active.number == attempt.attempt)
    }

    pub(super) fn spec_of(&self, attempt: AttemptRef) -> Option<Attempt> {
        let attempts = self.by_job.read().unwrap_or_else(PoisonError::into_inner);
        attempts.get(&attempt.job).filter(|active| active.number == attempt.attempt).cloned()
    }
}
