//! A simulated phone that is calibrated and measured as an agent would do it.

use seatrial_core::energy::calibrate::{TRACE, TRACE_POLL_S};
use seatrial_core::energy::plan::Block;
use seatrial_core::energy::{
    Calibration, Conditions, Energy, Figure, Limits, Phase, PhaseKind, Plan, Recording, Step, calibrate, estimate,
};
use seatrial_core::reading::Reading;
use seatrial_core::reason::Reason;
use seatrial_sim::battery::{Gauge, Pack, Unit};
use seatrial_sim::draw::{Draw, PhonePower};

/// An inference takes as long, in s.
const INFERENCE_S: f64 = 0.02;
/// What the calibrating load draws, in W.
const TRACE_W: f64 = 2.0;

pub struct Bench {
    pub phone: PhonePower,
    pub recording: Recording,
    counter: Option<Unit>,
}

impl Bench {
    pub fn new(gauge: Gauge, pack: Pack, seed: u64) -> Self {
        let mut phone = PhonePower::new(Draw::default(), pack, gauge, seed);
        phone.run(5.0, 0.0);
        Self { phone, recording: Recording::default(), counter: gauge.counter.map(|(unit, _)| unit) }
    }

    /// Runs one phase: polls, and stops when the block says so.
    pub fn run(&mut self, block: &Block, net_w: f64, poll_s: f64) {
        let first = self.phone.read();
        if self.recording.battery.is_empty() {
            self.recording.battery.push(first);
        }
        let load_w = if block.kind == PhaseKind::Load { net_w } else { 0.0 };
        let mut last = first;
        loop {
            let fell = first.counter.zip(last.counter).zip(self.counter).map(|((first, last), unit)| match unit {
                Unit::Milli => first - last,
                Unit::Micro => (first - last) / 1e3,
            });
            // A float of many steps is not quite the time that they make.
            if block.is_over(last.at_s - first.at_s + 1e-6, fell) {
                break;
            }
            self.phone.run(poll_s, load_w * poll_s);
            last = self.phone.read();
            self.recording.battery.push(last);
        }
        let inferences = if load_w > 0.0 { ((last.at_s - first.at_s) / INFERENCE_S) as u64 } else { 0 };
        self.recording.phases.push(Phase { kind: block.kind, start_s: first.at_s, end_s: last.at_s, inferences });
    }

    pub fn calibrate(&mut self) -> Calibration {
        for (kind, seconds) in TRACE {
            self.run(&Block { kind, least_s: seconds, most_s: seconds, least_mah: None }, TRACE_W, TRACE_POLL_S);
        }
        calibrate("build", &std::mem::take(&mut self.recording))
    }

    /// Follows the plan to its end, and says why it ended.
    pub fn measure(&mut self, calibration: &Calibration, net_w: f64, limits: Limits) -> Reason {
        self.recording.battery.push(self.phone.read());
        let plan = Plan::of(None, calibration, limits).unwrap();
        loop {
            match plan.next(&self.recording, calibration) {
                Step::Run(block) => self.run(&block, net_w, plan.timing.poll_s),
                Step::End(why) => return why,
            }
        }
    }

    /// Six pairs of 40 s, as if no plan looked at what is read.
    pub fn measure_blindly(&mut self, net_w: f64) {
        for index in 0..13 {
            let kind = if index % 2 == 0 { PhaseKind::Idle } else { PhaseKind::Load };
            self.run(&Block { kind, least_s: 40.0, most_s: 40.0, least_mah: None }, net_w, 0.5);
        }
    }

    pub fn energy(&self, calibration: &Calibration, seed: u64) -> Energy {
        let conditions = Conditions { input_suspended: false, design_mah: Reading::Present(5_000.0) };
        estimate(&self.recording, calibration, &conditions, seed)
    }
}

/// One phone, calibrated and measured.
pub fn measured(gauge: Gauge, net_w: f64, seed: u64) -> (Bench, Calibration) {
    let mut bench = Bench::new(gauge, Pack::default(), seed);
    let calibration = bench.calibrate();
    bench.measure(&calibration, net_w, Limits::default());
    (bench, calibration)
}

/// Value and interval.
pub fn number(figure: &Figure) -> (f64, (f64, f64)) {
    let estimate = figure.number().unwrap_or_else(|| panic!("{figure:?} is no number"));
    (estimate.value, estimate.interval.unwrap())
}

/// What one inference of a load of `net_w` really costs, in mJ.
pub fn truth_mj(net_w: f64) -> f64 {
    net_w * INFERENCE_S * 1e3
}
