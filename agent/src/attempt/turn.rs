//! Turns to measure. Simulated phones of one machine disturb each other, so that one measures at a time: whoever holds
//! the lock of a file that all of them have. Real devices have no such file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::StopSignal;
use crate::clock;

/// Between two looks at whether the attempt is stopped.
const LOOK: Duration = Duration::from_millis(50);

/// The right to measure, until it is dropped. The kernel gives it back when its holder ends, however it ends.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "its lock is what counts")] File);

/// Why there is no turn.
#[derive(Debug)]
pub(super) enum NoTurn {
    Stopped,
    /// Others measured all the time.
    Late(Duration),
    Io(io::Error),
}

/// Waits for the lock of a file. Linux gives it to those who wait in the order in which they came.
pub(super) fn take(path: &Path, within: Duration, stop: &StopSignal) -> Result<Turn, NoTurn> {
    let file = File::open(path).map_err(NoTurn::Io)?;
    let begun = clock::boot();
    // A lock cannot be waited for in part. A thread that nobody listens to any more gets it and gives it back at once.
    let (sender, receiver) = sync_channel(0);
    let waiting = move || {
        let locked = file.lock().map(|()| file);
        let _ = sender.send(locked);
    };
    thread::Builder::new().name("turn".to_owned()).spawn(waiting).map_err(NoTurn::Io)?;
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(locked) => return locked.map(Turn).map_err(NoTurn::Io),
            Err(RecvTimeoutError::Disconnected) => return Err(NoTurn::Io(io::ErrorKind::BrokenPipe.into())),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let waited = clock::boot().since(begun);
        if stop.is_set() {
            return Err(NoTurn::Stopped);
        }
        if waited >= within {
            return Err(NoTurn::Late(waited));
        }
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::session::Stop;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn file() -> tempfile::NamedTempFile {
        tempfile::NamedTempFile::new().unwrap()
    }

    #[test]
    fn those_who_wait_get_their_turn_in_the_order_in_which_they_came() {
        let file = file();
        let first = take(file.path(), LONG, &StopSignal::default()).unwrap();
        let (sender, order) = std::sync::mpsc::channel();
        let mut threads = Vec::new();
        for number in 0..4 {
            let (path, sender) = (file.path().to_owned(), sender.clone());
            threads.push(thread::spawn(move || {
                let turn = take(&path, LONG, &StopSignal::default()).unwrap();
                sender.send(number).unwrap();
                drop(turn);
            }));
            // As the kernel lists who waits for a lock of this file.
            let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file.path()).unwrap());
            let waits = |text: &str| {
                text.lines().filter(|line| line.contains("->") && line.contains(&format!(":{inode} "))).count()
            };
            while waits(&std::fs::read_to_string("/proc/locks").unwrap()) != number + 1 {
                thread::yield_now();
            }
        }
        assert!(order.try_recv().is_err(), "the control: while the first measures nobody else does");
        drop(first);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn who_is_stopped_or_late_has_no_turn_and_holds_up_nobody() {
        let file = file();
        let first = take(file.path(), LONG, &StopSignal::default()).unwrap();
        let stopped = StopSignal::default();
        stopped.set(Stop::Shutdown);
        assert!(matches!(take(file.path(), LONG, &stopped), Err(NoTurn::Stopped)));
        let late = take(file.path(), Duration::from_millis(60), &StopSignal::default());
        assert!(matches!(late, Err(NoTurn::Late(waited)) if waited >= Duration::from_millis(60)));
        drop(first);
        assert!(take(file.path(), LONG, &StopSignal::default()).is_ok());
        let missing = take(Path::new("/nonexistent/turn"), LONG, &StopSignal::default());
        assert!(matches!(missing, Err(NoTurn::Io(_))));
    }
}
