//! Asks the system for its states (heat, screen, saver) while a child is watched. Who watches a child never waits for an
//! answer: a service that hangs must not keep an attempt from being stopped.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use seatrial_core::time::Monotonic;

use crate::clock;
use crate::probe::{Probe, SensorReading};

/// For the last answer, once the child is gone.
const LAST_WITHIN: Duration = Duration::from_secs(1);

/// One question at a time.
pub(super) struct States<'a> {
    probe: &'a Probe,
    begun: Monotonic,
    asked: Option<(Duration, Receiver<Vec<SensorReading>>)>,
}

impl<'a> States<'a> {
    pub(super) const fn new(probe: &'a Probe, begun: Monotonic) -> Self {
        Self { probe, begun, asked: None }
    }

    /// Nothing while an answer is still waited for.
    pub(super) fn ask(&mut self) {
        if self.asked.is_some() {
            return;
        }
        let (sender, answer) = sync_channel(1);
        let probe = self.probe.clone();
        let asking = move || {
            // Nobody may listen any more.
            let _ = sender.send(probe.states());
        };
        match thread::Builder::new().name("states".to_owned()).spawn(asking) {
            Ok(_) => self.asked = Some((clock::boot().since(self.begun), answer)),
            Err(error) => tracing::warn!(%error, "nobody can be asked for the states of the system"),
        }
    }

    /// What was answered since, and when it was asked for.
    pub(super) fn answered(&mut self) -> Option<(Duration, Vec<SensorReading>)> {
        let (at, answer) = self.asked.take()?;
        match answer.try_recv() {
            Ok(readings) => Some((at, readings)),
            Err(TryRecvError::Empty) => {
                self.asked = Some((at, answer));
                None
            }
            Err(TryRecvError::Disconnected) => None,
        }
    }

    /// The same of the last question, which is waited for.
    pub(super) fn last(mut self) -> Option<(Duration, Vec<SensorReading>)> {
        let (at, answer) = self.asked.take()?;
        Some((at, answer.recv_timeout(LAST_WITHIN).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use seatrial_core::measure::interference::sensor;
    use seatrial_core::reading::Reading;

    use super::*;

    fn phone(dumpsys: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("system/bin");
        std::fs::create_dir_all(&folder).unwrap();
        let place = folder.join("dumpsys");
        std::fs::write(&place, format!("#!/bin/sh\n{dumpsys}\n")).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
        home
    }

    #[test]
    fn an_answer_comes_with_the_time_of_its_question() {
        let home = phone("echo '  Display Power: state=ON'");
        let probe = Probe::new(home.path());
        let begun = clock::boot();
        let mut states = States::new(&probe, begun);
        assert!(states.answered().is_none(), "nobody asked");
        states.ask();
        let asked = clock::boot();
        let (at, readings) = loop {
            if let Some(answer) = states.answered() {
                break answer;
            }
            assert!(clock::boot().since(asked) < Duration::from_mins(1));
            thread::yield_now();
        };
        assert!(at <= asked.since(begun), "{at:?}");
        let screen = readings.iter().find(|reading| reading.sensor == sensor::SCREEN).unwrap();
        assert_eq!(screen.value, Reading::Present(1.0));
    }

    #[test]
    fn who_asks_a_service_that_hangs_is_kept_by_nothing() {
        let home = phone("exec sleep 60");
        let probe = Probe::new(home.path());
        let mut states = States::new(&probe, clock::boot());
        let begun = clock::boot();
        for _ in 0..20 {
            states.ask();
            assert!(states.answered().is_none());
        }
        assert!(clock::boot().since(begun) < Duration::from_secs(5), "the services are given three seconds each");
    }
}
