//! Recordings made by hand, without noise: what comes out must be what was put in.

use super::calibrate::{Calibration, CurrentUnit, Found, Known, Sign};
use super::estimate::Conditions;
use super::recording::{Phase, PhaseKind, Recording};
use super::source::{BatteryReading, ChargingState};
use crate::reading::Reading;
use crate::reason::{Code, Reason};

/// A phone that draws the same power in each phase of a kind, but for what is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made {
    pub idle_w: f64,
    pub net_w: f64,
    /// Added to each phase in turn, in W.
    pub wobble_w: Vec<f64>,
    pub volts: f64,
    pub phase_s: f64,
    pub pairs: usize,
    pub poll_s: f64,
    pub sign: Sign,
    pub unit: CurrentUnit,
    pub step_ma: f64,
    pub counter_step_mah: Option<f64>,
    pub charging: Option<ChargingState>,
    pub inferences: u64,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            idle_w: 0.9,
            net_w: 2.0,
            wobble_w: Vec::new(),
            volts: 3.85,
            phase_s: 40.0,
            pairs: 6,
            poll_s: 0.5,
            sign: Sign::DischargeNegative,
            unit: CurrentUnit::Microamps,
            step_ma: 0.0,
            counter_step_mah: Some(0.05),
            charging: Some(ChargingState::Discharging),
            inferences: 1_000,
        }
    }
}

pub(super) fn known<T>(value: T) -> Known<T> {
    Reading::Present(Found { value, evidence: Reason::new(Code::CurrentStoodStill, &[]) })
}

pub(super) fn conditions() -> Conditions {
    Conditions { input_suspended: false, design_mah: Reading::Present(5_000.0) }
}

impl Made {
    /// Power in phase `index`, and in idle phases without wobble.
    pub(super) fn watts(&self, recording: &Recording, index: usize) -> (f64, f64) {
        let wobble = self.wobble_w.get(index).copied().unwrap_or(0.0);
        let net = match recording.phases[index].kind {
            PhaseKind::Load => self.net_w,
            PhaseKind::Idle => 0.0,
        };
        (self.idle_w + net + wobble, self.idle_w)
    }

    /// The phase that a reading is of: at a border, the one that ends.
    pub(super) fn phase_at(&self, at_s: f64) -> usize {
        ((at_s - 1e-9).max(0.0) / self.phase_s) as usize
    }

    pub(super) fn recording(&self) -> Recording {
        let phase = |index: usize| {
            let kind = if index.is_multiple_of(2) { PhaseKind::Idle } else { PhaseKind::Load };
            Phase {
                kind,
                start_s: index as f64 * self.phase_s,
                end_s: (index + 1) as f64 * self.phase_s,
                inferences: if kind == PhaseKind::Load { self.inferences } else { 0 },
            }
        };
        let phases: Vec<Phase> = (0..=2 * self.pairs).map(phase).collect();
        let mut recording = Recording { phases, ..Recording::default() };
        let mut mah = 3_030.0;
        let readings = (recording.seconds() / self.poll_s) as usize;
        for index in 0..=readings {
            let at_s = index as f64 * self.poll_s;
            let ma = self.watts(&recording, self.phase_at(at_s)).0 / self.volts * 1e3;
            recording.battery.push(BatteryReading {
                at_s,
                current: Some(self.raw(ma)),
                voltage_v: Some(self.volts),
                counter: self.counter_step_mah.map(|step| (mah / step).floor() * step * 1e3),
                level_percent: Some(60.0),
                charging: self.charging,
                powered: None,
                temperature_c: Some(30.0),
            });
            mah -= ma * self.poll_s / 3600.0;
        }
        recording
    }

    fn raw(&self, ma: f64) -> f64 {
        let ma = if self.step_ma > 0.0 { (ma / self.step_ma).round() * self.step_ma } else { ma };
        let sign = match self.sign {
            Sign::DischargeNegative => -1.0,
            Sign::DischargePositive => 1.0,
        };
        sign * ma / self.unit.milliamps()
    }

    /// What a calibration of this phone would find.
    pub(super) fn calibration(&self) -> Calibration {
        Calibration {
            build: "build".to_owned(),
            algorithm: super::ALGORITHM.to_owned(),
            sign: known(self.sign),
            unit: known(self.unit),
            period_s: known(0.5),
            resolution: known(self.step_ma / self.unit.milliamps()),
            lag_s: known(0.0),
            counter_unit_mah: known(1e-3),
            counter_step_mah: self.counter_step_mah.map_or(Reading::absent("no counter"), known),
        }
    }

    /// The same without what the current is worth.
    pub(super) fn counter_only(&self) -> Calibration {
        Calibration { sign: Reading::absent("no current"), ..self.calibration() }
    }
}
