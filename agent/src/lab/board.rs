//! What is known of each phone on the cables, and how the server hears of it.

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_core::lab::seen::Seen;
use tokio::sync::watch;

use super::server;
use crate::link::Server;

/// Changes within it are told together.
const GATHER: Duration = Duration::from_secs(1);
/// Before a server that did not listen is told again.
const AGAIN: Duration = Duration::from_secs(15);

type Key = (String, Option<String>);

/// The newest word for each phone.
#[derive(Debug, Clone)]
pub(super) struct Board(watch::Sender<BTreeMap<Key, Seen>>);

impl Board {
    pub(super) fn new() -> Self {
        Self(watch::channel(BTreeMap::new()).0)
    }

    /// Whether that is new.
    pub(super) fn put(&self, seen: &Seen) -> bool {
        let key = (seen.serial.clone(), seen.usb_path.clone());
        self.0.send_if_modified(|board| board.insert(key, seen.clone()).as_ref() != Some(seen))
    }

    pub(super) fn remove(&self, seen: &Seen) {
        let key = (seen.serial.clone(), seen.usb_path.clone());
        self.0.send_if_modified(|board| board.remove(&key).is_some());
    }

    /// Tells the server the whole board whenever it has changed, for ever.
    pub(super) async fn report(&self, server: &Server, host: &str) {
        let mut board = self.0.subscribe();
        let mut is_told = false;
        loop {
            let seen: Vec<Seen> = board.borrow_and_update().values().cloned().collect();
            match server::report(server, host, &seen).await {
                Ok(()) => {
                    is_told = false;
                    // The sender is this board itself, which is here.
                    let _ = board.changed().await;
                    tokio::time::sleep(GATHER).await;
                }
                Err(why) => {
                    if !is_told {
                        tracing::warn!(why, "the server does not hear which phones are here");
                    }
                    is_told = true;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_news_changes_nothing() {
        let board = Board::new();
        let mut changes = board.0.subscribe();
        let seen = |state: &str| Seen { serial: "a".to_owned(), usb_path: None, state: state.to_owned(), advice: None };
        assert!(board.put(&seen("device")) && changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(!board.put(&seen("device")) && !changes.has_changed().unwrap());
        assert!(board.put(&seen("offline")) && changes.has_changed().unwrap());
        changes.mark_unchanged();
        board.remove(&seen("device"));
        board.remove(&seen("device"));
        assert!(changes.has_changed().unwrap() && changes.borrow().is_empty());
    }
}
