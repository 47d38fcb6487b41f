//! The audit log: one entry for each write, written in batches beside the requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seatrial_core::digest::Digest;
use seatrial_core::ids::{AuditId, PrincipalId, ProjectId};
use seatrial_core::store::{AuditRow, Store};
use seatrial_core::time::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::system::entropy;

/// Entries that may wait for the database; a writer waits beyond that.
const QUEUE: usize = 4096;
const BATCH: usize = 256;
/// How long an entry waits for company.
const LINGER: Duration = Duration::from_millis(20);
/// A batch is tried this often before it goes to the log instead.
const TRIES: u32 = 5;

/// What a handler knows of its own write and the door does not. A request extension.
#[derive(Debug, Clone, Default)]
pub struct Note(Arc<Mutex<Noted>>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Noted {
    object: Option<String>,
    before: Option<Digest>,
    after: Option<Digest>,
    actor: Option<(PrincipalId, ProjectId)>,
}

impl Note {
    /// Names what is acted on: `run 611`, `model mnist version 3`.
    pub fn object(&self, object: impl Into<String>) {
        self.change(|noted| noted.object = Some(object.into()));
    }

    /// The digest of the object before and after.
    pub fn digests(&self, before: Option<Digest>, after: Option<Digest>) {
        self.change(|noted| (noted.before, noted.after) = (before, after));
    }

    /// Who acts, where the door could not know: an enrolment.
    pub fn actor(&self, principal: PrincipalId, project: ProjectId) {
        self.change(|noted| noted.actor = Some((principal, project)));
    }

    fn change(&self, change: impl FnOnce(&mut Noted)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn taken(&self) -> Noted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The way into the log. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    entries: mpsc::Sender<AuditRow>,
    clock: Arc<dyn Clock>,
}

impl Audit {
    /// Starts the writer. It ends, with everything written, when the last handle is gone.
    pub fn start(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> (Self, JoinHandle<()>) {
        let (entries, receiver) = mpsc::channel(QUEUE);
        (Self { entries, clock }, tokio::spawn(write(store, receiver)))
    }

    /// Appends an entry; waits when the database is behind. `object` names what was acted on if no note does.
    pub async fn append(
        &self,
        actor: Option<(PrincipalId, ProjectId)>,
        action: &str,
        object: &str,
        note: &Note,
        allowed: bool,
    ) {
        let Noted { object: noted, before, after, actor: named } = note.taken();
        let Some((principal, project)) = actor.or(named) else { return };
        let at = self.clock.now();
        let row = AuditRow {
            id: AuditId::new(at, entropy()),
            at,
            principal,
            project,
            action: action.to_owned(),
            object: noted.unwrap_or_else(|| object.to_owned()),
            allowed,
            before,
            after,
        };
        if self.entries.send(row).await.is_err() {
            tracing::error!("an audit entry was lost: the audit log has been closed");
        }
    }
}

async fn write(store: Arc<dyn Store>, mut entries: mpsc::Receiver<AuditRow>) {
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH {
            let company = async { while batch.len() < BATCH && entries.recv_many(&mut batch, BATCH).await > 0 {} };
            let _ = tokio::time::timeout(LINGER, company).await;
        }
        store_batch(store.as_ref(), &batch).await;
        batch.clear();
    }
}

async fn store_batch(store: &dyn Store, batch: &[AuditRow]) {
    for attempt in 1..=TRIES {
        match store.append_audit(batch).await {
            Ok(()) => return,
            Err(error) if error.is_retryable() && attempt < TRIES => {
                tracing::warn!(%error, attempt, "audit entries wait for the database");
                tokio::time::sleep(Duration::from_millis(200) * attempt).await;
            }
            Err(error) => {
                // The log is the last place that can keep them.
                for row in batch {
                    tracing::error!(%error, entry = ?row, "an audit entry could not be stored");
                }
                return;
            }
        }
    }
}
