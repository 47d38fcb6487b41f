//! Between the two clock reads of a sample nothing of ours allocates: an allocator counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seatrial_agent::child::timing::{Samples, Timed, measure};
use seatrial_core::profile::StopRule;

struct Counting;

thread_local! {
    /// Set in the thread that measures: the runner of the tests allocates when it likes.
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}
static CALLS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "an allocator has no safe form; this one only counts and passes on")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    if WATCHING.get() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Watches from the first sample to the last, and so all that is between them.
struct Work {
    left: u32,
    /// The control: an engine that allocates.
    allocates: bool,
}

impl Timed for Work {
    type Error = ();

    fn make_ready(&mut self) {}

    fn infer(&mut self) -> Result<(), ()> {
        WATCHING.set(self.left > 1);
        self.left = self.left.saturating_sub(1);
        if self.allocates {
            std::hint::black_box(Box::new(1u64));
        }
        Ok(())
    }
}

fn calls_of(allocates: bool) -> u64 {
    let rule = StopRule {
        min_samples: 10_000,
        min_time: Duration::ZERO,
        max_samples: 10_000,
        max_time: Duration::from_mins(1),
    };
    let mut samples = Samples::reserve(&rule, rule.max_samples);
    CALLS.store(0, Ordering::Relaxed);
    measure(&mut Work { left: 10_000, allocates }, &rule, None, &mut samples, &mut |_, _| {}).ok();
    assert_eq!(samples.inferences(), 10_000);
    CALLS.load(Ordering::Relaxed)
}

#[test]
fn ten_thousand_samples_take_no_allocation_of_ours() {
    assert_eq!(calls_of(false), 0);
    assert!(calls_of(true) >= 9_999, "the counter counts");

    // What a sample costs beyond its work, at best: two clock reads and two stores.
    let rule = StopRule { min_samples: 50_000, min_time: Duration::ZERO, max_samples: 50_000, max_time: Duration::MAX };
    let mut samples = Samples::reserve(&rule, rule.max_samples);
    measure(&mut Work { left: 0, allocates: false }, &rule, None, &mut samples, &mut |_, _| {}).unwrap();
    let mut latencies = samples.latencies().to_vec();
    latencies.sort_unstable();
    let median = latencies[latencies.len() / 2];
    assert!(cfg!(debug_assertions) || median <= 100, "an empty sample reads {median} ns");
}
