//! What the parent asks of the child while it runs, a byte each on its standard input.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use seatrial_core::energy::conduct::Order;
use seatrial_core::energy::recording::PhaseKind;
use seatrial_core::time::Monotonic;
use serde::{Deserialize, Serialize};

/// Orders that wait; the parent never has more than two on their way.
const MAX_WAITING: usize = 16;

/// The log of phases, one line after each.
pub(crate) const PHASES_FILE: &str = "phases.jsonl";
/// Lines and bytes of it that are read.
pub(crate) const MAX_PHASES: usize = 128;
pub(crate) const MAX_PHASE_BYTES: usize = 32 << 10;

/// A phase as the child has gone through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PhaseEvent {
    pub kind: PhaseKind,
    /// On the boot clock.
    pub start: Monotonic,
    pub end: Monotonic,
    pub inferences: u64,
}

/// The byte of an order.
pub(crate) const fn byte(order: Order) -> u8 {
    match order {
        Order::Begin(PhaseKind::Idle) => b'i',
        Order::Begin(PhaseKind::Load) => b'l',
        Order::Pause => b'p',
        Order::Finish => b'f',
    }
}

pub(super) fn order(byte: u8) -> Option<Order> {
    match byte {
        b'i' => Some(Order::Begin(PhaseKind::Idle)),
        b'l' => Some(Order::Begin(PhaseKind::Load)),
        b'p' => Some(Order::Pause),
        b'f' => Some(Order::Finish),
        _ => None,
    }
}

/// Both ends of it: a thread that reads the input, and the task.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    queue: Mutex<VecDeque<u8>>,
    came: Condvar,
    /// The queue is not empty: looked at between inferences, without a lock.
    any: AtomicBool,
}

impl Orders {
    pub(super) fn push(&self, byte: u8) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() < MAX_WAITING {
            queue.push_back(byte);
            self.0.any.store(true, Ordering::Release);
            self.0.came.notify_all();
        }
    }

    pub(super) fn any(&self) -> bool {
        self.0.any.load(Ordering::Acquire)
    }

    /// Sleeps until there is one.
    pub(super) fn next(&self) -> u8 {
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queue = self.0.came.wait_while(queue, |queue| queue.is_empty()).unwrap_or_else(PoisonError::into_inner);
        let byte = queue.pop_front().unwrap_or_default();
        self.0.any.store(!queue.is_empty(), Ordering::Release);
        byte
    }

    /// Sleeps until there is one, and leaves it.
    pub(super) fn wait(&self) {
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.came.wait_while(queue, |queue| queue.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_a_byte_of_its_own_and_is_taken_in_turn() {
        let orders = Orders::default();
        let all = [Order::Begin(PhaseKind::Idle), Order::Begin(PhaseKind::Load), Order::Pause, Order::Finish];
        assert!(!orders.any());
        for order in all {
            orders.push(byte(order));
        }
        orders.wait();
        for expected in all {
            assert!(orders.any());
            assert_eq!(order(orders.next()), Some(expected));
        }
        assert!(!orders.any());
        assert_eq!(order(b'x'), None);
    }
}
