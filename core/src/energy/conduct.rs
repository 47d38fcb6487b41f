//! One measurement from its first reading to its last: calibrates where nothing is known of the gauge, then follows the
//! plan. Readings, moments and the child's word come in; what to do next comes out.

use super::calibrate::{Calibration, TRACE, TRACE_POLL_S, calibrate};
use super::columns::MAX_KEPT;
use super::plan::{Block, Limits, Plan, Step};
use super::recording::{Meter, Phase, PhaseKind, Recording};
use super::signal::{Trace, smallest_step};
use super::source::BatteryReading;
use crate::reason::{Code, Reason};

/// What the child is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A phase begins.
    Begin(PhaseKind),
    /// The phase ends; nothing is asked for until the next order.
    Pause,
    /// The measurement is over.
    Finish,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Conducted {
    pub calibration: Calibration,
    /// Where the calibration was made here.
    pub trace: Option<Recording>,
    pub recording: Recording,
    pub end: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Doing {
    /// The child waits for an order since this moment, in s.
    Between(f64),
    Phase {
        block: Block,
        since_s: f64,
        /// The charge counter when it began.
        counter: Option<f64>,
    },
    /// The child was told to end its phase, and has not said yet what came of it.
    Closing,
    Over,
}

/// How long a first reading is waited for, in s: the slowest source answers within.
const FIRST_READING_S: f64 = 10.0;

/// The state of one measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Conductor {
    build: String,
    limits: Limits,
    /// `None` until it is known.
    calibration: Option<Calibration>,
    /// Set with the calibration.
    plan: Option<Plan>,
    trace: Recording,
    recording: Recording,
    doing: Doing,
    end: Option<Reason>,
}

impl Conductor {
    /// `kept` is what an earlier measurement found of the gauge under this build; `meter` a meter with its period and an
    /// empty trace, beside which no gauge is needed.
    #[must_use]
    pub fn new(build: &str, kept: Option<Calibration>, meter: Option<Meter>, limits: Limits, now_s: f64) -> Self {
        let of_meter = || Calibration::none(build, &Reason::new(Code::NoSuchTrace, &[]));
        let calibration = if meter.is_some() { Some(kept.unwrap_or_else(of_meter)) } else { kept };
        Self {
            build: build.to_owned(),
            limits,
            calibration,
            plan: None,
            trace: Recording::default(),
            recording: Recording { meter, ..Recording::default() },
            doing: Doing::Between(now_s),
            end: None,
        }
    }

    /// A reading of the battery. One that is not later than the one before says nothing new.
    pub fn heard(&mut self, reading: BatteryReading) {
        let battery = &mut self.current().battery;
        if battery.len() < MAX_KEPT && battery.last().is_none_or(|last| last.at_s < reading.at_s) {
            battery.push(reading);
        }
    }

    /// A reading of the meter.
    pub fn metered(&mut self, at_s: f64, value: f64) {
        let Some(meter) = &mut self.recording.meter else { return };
        let (Trace::Rate { points, .. } | Trace::Total { points, .. }) = &mut meter.trace;
        if points.len() < MAX_KEPT && points.last().is_none_or(|last| last.0 < at_s) {
            points.push((at_s, value));
        }
    }

    /// The child's word of a phase that has ended.
    pub fn ended(&mut self, phase: Phase, now_s: f64) {
        self.current().phases.push(phase);
        if self.doing == Doing::Closing {
            self.doing = Doing::Between(now_s);
        }
    }

    /// From one reading to the next, in s: the same in idle and under load.
    #[must_use]
    pub fn poll_s(&self) -> f64 {
        match &self.plan {
            Some(plan) => plan.timing.poll_s,
            None => TRACE_POLL_S,
        }
    }

    /// How far it is, as a share of the longest that it may take.
    #[must_use]
    pub fn share(&self) -> f64 {
        ((self.trace.seconds() + self.recording.seconds()) / self.limits.longest_s).clamp(0.0, 1.0)
    }

    /// What the child is to do now; `None` while it is to go on.
    pub fn next(&mut self, now_s: f64) -> Option<Order> {
        match self.doing {
            Doing::Over | Doing::Closing => None,
            Doing::Phase { block, since_s, counter } => {
                let last = self.seen().battery.last().and_then(|reading| reading.counter);
                let unit = self.calibration.as_ref().and_then(|it| it.counter_mah(1.0));
                let fell = counter.zip(last).zip(unit).map(|((from, to), unit)| (from - to) * unit);
                // Whatever feeds it now, it has spoiled the phase.
                let spoiled = self.by_battery() && self.seen().fed().is_some();
                (spoiled || block.is_over(now_s - since_s, fell)).then(|| {
                    self.doing = Doing::Closing;
                    Order::Pause
                })
            }
            Doing::Between(since_s) => {
                let waits = self.nothing_read() && now_s - since_s < FIRST_READING_S;
                if waits { None } else { Some(self.decide(now_s)) }
            }
        }
    }

    /// It is over, whatever it was doing: as when the child is.
    #[must_use]
    pub fn finish(mut self, why: &Reason) -> Conducted {
        if let Some(meter) = &mut self.recording.meter {
            let (Trace::Rate { points, step } | Trace::Total { points, step }) = &mut meter.trace;
            *step = smallest_step(points.iter().map(|point| point.1)).unwrap_or(0.0);
        }
        let untold = || Calibration::none(&self.build, why);
        Conducted {
            calibration: self.calibration.clone().unwrap_or_else(untold),
            trace: (!self.trace.battery.is_empty()).then_some(self.trace),
            recording: self.recording,
            end: self.end.unwrap_or_else(|| why.clone()),
        }
    }

    fn decide(&mut self, now_s: f64) -> Order {
        let Some(calibration) = self.calibration.clone() else { return self.decide_trace(now_s) };
        let plan = if let Some(plan) = self.plan {
            plan
        } else {
            // What calibrating took is part of what it may take.
            let longest_s = (self.limits.longest_s - self.trace.seconds()).max(0.0);
            let limits = Limits { longest_s, ..self.limits };
            match Plan::of(self.recording.meter.as_ref(), &calibration, limits) {
                Ok(plan) => *self.plan.insert(plan),
                Err(why) => return self.over(why),
            }
        };
        match plan.next(&self.recording, &calibration) {
            Step::Run(block) => self.begin(block, now_s),
            Step::End(why) => self.over(why),
        }
    }

    fn decide_trace(&mut self, now_s: f64) -> Order {
        if self.trace.fed().is_some() {
            return self.over(Reason::new(Code::EndFed, &[]));
        }
        let length = self.limits.trace_phase_s;
        if let Some(&(kind, _)) = TRACE.get(self.trace.phases.len()) {
            return self.begin(Block { kind, least_s: length, most_s: length, least_mah: None }, now_s);
        }
        self.calibration = Some(calibrate(&self.build, &self.trace));
        // What is measured begins with a reading of its own.
        self.recording.battery.extend(self.trace.battery.last().copied());
        self.decide(now_s)
    }

    fn begin(&mut self, block: Block, now_s: f64) -> Order {
        let counter = self.seen().battery.last().and_then(|reading| reading.counter);
        self.doing = Doing::Phase { block, since_s: now_s, counter };
        Order::Begin(block.kind)
    }

    fn over(&mut self, why: Reason) -> Order {
        self.doing = Doing::Over;
        self.end = Some(why);
        Order::Finish
    }

    fn by_battery(&self) -> bool {
        self.recording.meter.as_ref().is_none_or(|meter| meter.scope == super::source::Scope::Battery)
    }

    fn nothing_read(&self) -> bool {
        match &self.recording.meter {
            Some(meter) => meter.trace.points().is_empty(),
            None => self.seen().battery.is_empty(),
        }
    }

    /// What is recorded now: the trace until the gauge is known.
    const fn seen(&self) -> &Recording {
        if self.calibration.is_some() { &self.recording } else { &self.trace }
    }

    const fn current(&mut self) -> &mut Recording {
        if self.calibration.is_some() { &mut self.recording } else { &mut self.trace }
    }
}

#[cfg(test)]
#[path = "conduct_tests.rs"]
mod tests;
