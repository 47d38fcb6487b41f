//! The task that works and rests in turn, as its parent orders, while that reads what the device draws.

use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

use seatrial_core::energy::conduct::Order;
use seatrial_core::energy::recording::PhaseKind;
use seatrial_core::outcome::Claim;
use seatrial_core::profile::{ANY_SAMPLES, StopRule};
use seatrial_core::stage::Stage;

use super::orders::{self, PHASES_FILE, PhaseEvent};
use super::timing::Heard;
use super::window::Snapshot;
use super::{Failure, Worker};
use crate::clock;
use crate::runtime::{Runtime, RuntimeError, Session};

/// An engine that has a loop of its own infers for so long before it is looked whether the phase is over.
const OWN_LOOP: StopRule = StopRule {
    min_samples: 1,
    min_time: Duration::from_millis(500),
    max_samples: ANY_SAMPLES,
    max_time: Duration::from_millis(500),
};

impl Worker<'_> {
    pub(super) fn energy(&mut self, runtime: &dyn Runtime) -> Result<(), Failure> {
        let inputs = self.first_inputs()?;
        let mut session = self.load(runtime, &inputs)?;
        self.first_inference(session.as_mut(), &inputs)?;
        self.warm_up(session.as_mut())?;
        let mut log =
            PhaseLog { file: File::options().create(true).append(true).open(self.spec.out.join(PHASES_FILE))? };

        self.enter(Stage::Energy)?;
        let allowed = self.result.actual.affinity.present().cloned();
        let engine = session.outside().map(|outside| outside.process);
        let before = Snapshot::take(allowed.as_deref(), engine);
        loop {
            match orders::order(self.orders.next()) {
                Some(Order::Begin(kind)) => log.tell(self.phase(kind, session.as_mut())?)?,
                // A phase ends at the next order, whichever it is.
                Some(Order::Pause) => {}
                Some(Order::Finish) => break,
                None => {
                    let message = "the parent asked for what no child does".to_owned();
                    return Err(Failure { claim: Claim::SpecError, message });
                }
            }
        }
        self.result.window = Some(Snapshot::take(allowed.as_deref(), engine).since(&before));
        self.check_numbers(session.as_mut())?;
        self.tear_down(session).map(|_| ())
    }

    /// Goes on until the next order comes: asleep, or inferring.
    fn phase(&self, kind: PhaseKind, session: &mut dyn Session) -> Result<PhaseEvent, RuntimeError> {
        let start = clock::boot();
        let mut inferences = 0;
        match kind {
            PhaseKind::Idle => self.orders.wait(),
            PhaseKind::Load => {
                while !self.orders.any() {
                    inferences += some(session)?;
                }
            }
        }
        Ok(PhaseEvent { kind, start, end: clock::boot(), inferences })
    }
}

/// One inference, or as many as an engine makes by itself in a while.
fn some(session: &mut dyn Session) -> Result<u64, RuntimeError> {
    let mut inferences = 0;
    if let Some(engine) = session.own_loop() {
        engine.run(&OWN_LOOP, None, &mut |heard| {
            if let Heard::Sample { .. } = heard {
                inferences += 1;
            }
        })?;
        return Ok(inferences);
    }
    session.make_ready();
    session.infer()?;
    Ok(1)
}

struct PhaseLog {
    file: File,
}

impl PhaseLog {
    fn tell(&mut self, phase: PhaseEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(&phase)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}
