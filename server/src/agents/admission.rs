//! How often one and the same agent may shake hands, and how many may at one time.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seatrial_core::device::Evidence;
use seatrial_core::ids::TokenId;
use seatrial_core::time::Monotonic;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;

/// Handshakes of one agent within [`WINDOW`].
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// Agents that are remembered; with more, all are forgotten and counted anew.
const REMEMBERED: usize = 16_384;
/// Handshakes that talk to the store at one time.
const AT_ONCE: usize = 64;

pub(super) struct Admission {
    recent: Mutex<HashMap<u64, (Monotonic, u32)>>,
    at_once: Semaphore,
}

impl Default for Admission {
    fn default() -> Self {
        Self { recent: Mutex::default(), at_once: Semaphore::new(AT_ONCE) }
    }
}

impl Admission {
    /// Counts a handshake, and refuses an agent that shakes hands without end.
    pub(super) fn count(&self, token: Option<TokenId>, evidence: &Evidence, now: Monotonic) -> Result<(), Status> {
        let mut hasher = DefaultHasher::new();
        token.hash(&mut hasher);
        let Evidence { agent_id, hardware_serial, machine_id, usb_path } = evidence;
        (agent_id, hardware_serial, machine_id, usb_path).hash(&mut hasher);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= REMEMBERED {
            recent.clear();
        }
        let (since, count) = recent.entry(hasher.finish()).or_insert((now, 0));
        if now.since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > BURST {
            return Err(Status::resource_exhausted(format!(
                "more than {BURST} sessions of this agent in {} s: wait before the next",
                WINDOW.as_secs()
            )));
        }
        Ok(())
    }

    /// Waits for a turn at the store.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.at_once.acquire().await.map_err(|_| Status::unavailable("the server goes away"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> Evidence {
        Evidence { agent_id: Some(name.to_owned()), ..Evidence::default() }
    }

    #[test]
    fn an_agent_that_reconnects_without_end_is_refused_and_its_neighbour_is_not() {
        let admission = Admission::default();
        let now = Monotonic::from_nanos(0);
        let admitted = (0..1000).filter(|_| admission.count(None, &agent("a"), now).is_ok()).count();
        assert_eq!(admitted, BURST as usize);
        assert!(admission.count(None, &agent("b"), now).is_ok());
        assert!(admission.count(None, &agent("a"), now.plus(WINDOW)).is_ok(), "it may again after the window");
    }

    #[test]
    fn the_memory_of_admission_is_bounded() {
        let admission = Admission::default();
        for n in 0..2 * REMEMBERED {
            let _ = admission.count(None, &agent(&n.to_string()), Monotonic::from_nanos(0));
        }
        assert!(admission.recent.lock().unwrap().len() <= REMEMBERED);
    }
}
