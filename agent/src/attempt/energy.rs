//! The measuring of energy as the parent sees it: asks every source, reads them while the child works and rests as
//! `core::energy::conduct` decides, and makes the record of it.

use std::io::Write;
use std::path::Path;

use seatrial_core::energy::calibrate::Calibration;
use seatrial_core::energy::conduct::{Conducted, Conductor, Order};
use seatrial_core::energy::recording::{Meter, Phase, Recording};
use seatrial_core::energy::source::{Answer, Field, State};
use seatrial_core::energy::{EnergyRecord, Limits, Pack, SourceRecord};
use seatrial_core::reason::{Code, Reason};
use seatrial_core::time::Monotonic;

use crate::child::events::LogReader;
use crate::child::orders::{self, MAX_PHASE_BYTES, MAX_PHASES, PHASES_FILE, PhaseEvent};
use crate::clock;
use crate::energy::battery::Gauge;
use crate::energy::poll::Poller;
use crate::energy::{Hook, Kept, meters};
use crate::probe::Probe;

/// One measurement, from the first question to the record.
pub(super) struct Measuring<'a> {
    kept: Option<&'a Kept>,
    begun: Monotonic,
    build: String,
    limits: Limits,
    sources: Vec<SourceRecord>,
    pack: Pack,
    tells_current: bool,
    known: Option<Calibration>,
    /// Until the child is ready.
    waiting: Option<(Option<Gauge>, Option<meters::Found>)>,
    running: Option<Running>,
    /// Why nothing can be measured.
    unable: Option<Reason>,
    phases: LogReader<PhaseEvent>,
}

struct Running {
    conductor: Conductor,
    poller: Poller,
}

impl<'a> Measuring<'a> {
    /// Asks every source: before the child is there, since asking costs power itself.
    pub(super) fn new(
        probe: &Probe,
        kept: Option<&'a Kept>,
        hook: Option<&Hook>,
        limits: Limits,
        begun: Monotonic,
        out: &Path,
    ) -> Self {
        let root = probe.root();
        let build = probe.build();
        let mut gauge = Gauge::find(&root);
        let mut sources = gauge.as_ref().map(|gauge| gauge.sources().to_vec()).unwrap_or_default();
        // A battery that is fed tells nothing of the device, and what sees a part of it does.
        let tells = gauge.as_mut().is_some_and(|gauge| {
            let now = Recording { battery: vec![gauge.read(0.0)], ..Recording::default() };
            gauge.tells() && now.fed().is_none()
        });
        let (meter, unable) = match meters::find(&root, hook, tells) {
            Ok(found) => {
                sources.extend(found.sources);
                (found.best, None)
            }
            // A meter that was asked for and is not there is never replaced by something else.
            Err(why) => (None, Some(Reason::new(Code::NothingTellsPower, &[("why", &why)]))),
        };
        let nothing = || {
            let has_battery = gauge.is_some();
            let why = if has_battery { Code::BatteryTellsNothing } else { Code::NoBatteryNorMeter }.template();
            Reason::new(Code::NothingTellsPower, &[("why", &why)])
        };
        let able = meter.is_some() || gauge.as_ref().is_some_and(Gauge::tells);
        Self {
            kept,
            begun,
            known: kept.and_then(|kept| kept.calibration(&build)),
            build,
            limits,
            sources,
            pack: gauge.as_ref().map_or_else(|| Pack::none(Code::NoGauge.template()), Gauge::pack),
            tells_current: gauge.as_ref().is_some_and(Gauge::tells_current),
            unable: unable.or_else(|| (!able).then(nothing)),
            waiting: Some((gauge, meter)),
            running: None,
            phases: LogReader::new(out, PHASES_FILE, MAX_PHASES, MAX_PHASE_BYTES),
        }
    }

    /// The child is ready: its model is loaded and warm.
    pub(super) fn begin(&mut self, orders: &mut dyn Write) {
        let Some((gauge, meter)) = self.waiting.take() else { return };
        if self.unable.is_none() {
            let as_recorded: Option<Meter> = meter.as_ref().map(meters::Found::meter);
            let conductor = Conductor::new(&self.build, self.known.clone(), as_recorded, self.limits, self.now_s());
            match Poller::start(gauge, meter, self.begun) {
                Ok(poller) => self.running = Some(Running { conductor, poller }),
                Err(error) => self.unable = Some(Reason::from(format!("the thread that reads the gauge: {error}"))),
            }
        }
        if self.running.is_none() {
            tell(orders, Order::Finish);
        }
    }

    /// Twenty times a second. Whether a phase begins, or the last one is over.
    pub(super) fn look(&mut self, orders: &mut dyn Write) -> bool {
        let now_s = self.now_s();
        let Some(Running { conductor, poller }) = &mut self.running else { return false };
        let fetched = poller.fetch();
        fetched.battery.into_iter().for_each(|reading| conductor.heard(reading));
        fetched.meter.into_iter().for_each(|(at_s, value)| conductor.metered(at_s, value));
        for phase in self.phases.read_new() {
            let PhaseEvent { kind, start, end, inferences } = phase;
            let seconds = |at: Monotonic| at.since(self.begun).as_micros() as f64 / 1e6;
            let phase = Phase { kind, start_s: seconds(start), end_s: seconds(end), inferences };
            conductor.ended(phase, now_s);
        }
        let order = conductor.next(now_s);
        if let Some(order) = order {
            tell(orders, order);
        }
        poller.every(conductor.poll_s());
        match order {
            Some(Order::Begin(_) | Order::Finish) => true,
            Some(Order::Pause) | None => false,
        }
    }

    /// How far it is, once it goes on.
    pub(super) fn share(&self) -> Option<f64> {
        self.running.as_ref().map(|running| running.conductor.share())
    }

    /// Whatever came of it.
    pub(super) fn finish(mut self) -> EnergyRecord {
        let why = self.unable.clone().unwrap_or_else(|| Reason::new(Code::EndCut, &[]));
        let conducted = match self.running.take() {
            Some(Running { conductor, poller }) => {
                drop(poller);
                conductor.finish(&why)
            }
            None => Conducted {
                calibration: Calibration::none(&self.build, &why),
                trace: None,
                recording: Recording::default(),
                end: why,
            },
        };
        let Conducted { calibration, trace, recording, end } = conducted;
        if let (Some(kept), Some(trace)) = (self.kept, &trace) {
            if let Err(error) = kept.keep(&calibration, self.tells_current) {
                tracing::warn!(%error, "what was found out of the gauge is not kept: it is found out anew the next time");
            }
            self.judge_current(trace);
        }
        EnergyRecord {
            sources: self.sources,
            pack: self.pack,
            calibration,
            trace,
            recording,
            end,
            input_suspended: false,
        }
    }

    /// A current that stood still while the load did not is no current.
    fn judge_current(&mut self, trace: &Recording) {
        let used = self.sources.iter_mut().find(|it| it.field == Field::Current && it.state == State::Ok);
        let Some(used) = used else { return };
        let answers: Vec<(f64, Answer)> = trace
            .battery
            .iter()
            .map(|reading| (reading.at_s, reading.current.map_or(Answer::Missing, Answer::Value)))
            .collect();
        used.state = State::of(used.source, Field::Current, &answers);
    }

    fn now_s(&self) -> f64 {
        clock::boot().since(self.begun).as_secs_f64()
    }
}

fn tell(orders: &mut dyn Write, order: Order) {
    // A child that is gone hears nothing, and how it ended says why.
    let _ = orders.write_all(&[orders::byte(order)]).and_then(|()| orders.flush());
}
