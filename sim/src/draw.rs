//! What a phone draws: its idle with drift and bursts, and the CPU time that its programs used.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use seatrial_core::energy::source::BatteryReading;
use serde::Deserialize;

use crate::battery::{Battery, Charger, Gauge, Pack, normal};

/// How a phone draws power.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Draw {
    /// With nothing to do, on average beside the bursts, in W.
    pub idle_w: f64,
    /// Standard deviation of the slow wandering of idle, as a share of it, and its time constant in s.
    pub drift: f64,
    pub drift_s: f64,
    /// Bursts of the system's own doing: W, mean length and mean distance in s.
    pub burst_w: f64,
    pub burst_s: f64,
    pub burst_every_s: f64,
    /// What a second of CPU time costs, in J.
    pub joules_per_cpu_s: f64,
}

impl Default for Draw {
    fn default() -> Self {
        Self {
            idle_w: 0.9,
            drift: 0.03,
            drift_s: 90.0,
            burst_w: 0.3,
            burst_s: 1.0,
            burst_every_s: 15.0,
            joules_per_cpu_s: 1.0,
        }
    }
}

/// Power is the same for this long at most, in s.
const STEP_S: f64 = 0.5;

/// A phone's power: what it draws, and the battery that it draws from.
#[derive(Debug, Clone)]
pub struct PhonePower {
    draw: Draw,
    battery: Battery,
    rng: SmallRng,
    /// Deviation of idle as a share of it.
    wander: f64,
    burst_left_s: f64,
    used_j: f64,
}

impl PhonePower {
    #[must_use]
    pub fn new(draw: Draw, pack: Pack, gauge: Gauge, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0xb017);
        let wander = draw.drift * normal(&mut rng);
        let battery = Battery::new(pack, gauge, seed);
        Self { draw, battery, rng, wander, burst_left_s: 0.0, used_j: 0.0 }
    }

    /// `seconds` passed in which programs used `cpu_s` of CPU time, evenly.
    pub fn run(&mut self, seconds: f64, cpu_s: f64) {
        let Draw { idle_w, drift, drift_s, burst_w, burst_s, burst_every_s, joules_per_cpu_s } = self.draw;
        if seconds <= 0.0 {
            return;
        }
        self.used_j += cpu_s * joules_per_cpu_s;
        let load_w = cpu_s * joules_per_cpu_s / seconds;
        let mut left = seconds;
        while left > 0.0 {
            let step = left.min(STEP_S);
            left -= step;
            // An Ornstein-Uhlenbeck process, exact for any step.
            let keeps = (-step / drift_s).exp();
            self.wander = self.wander * keeps + drift * (1.0 - keeps * keeps).sqrt() * normal(&mut self.rng);
            if self.burst_left_s <= 0.0 && self.rng.random::<f64>() < step / burst_every_s {
                self.burst_left_s = -burst_s * (1.0 - self.rng.random::<f64>()).ln();
            }
            let burst = burst_w * self.burst_left_s.clamp(0.0, step) / step;
            self.burst_left_s -= step;
            self.battery.advance(step, idle_w * (1.0 + self.wander) + burst + load_w);
        }
    }

    /// What a program that asks now is told.
    #[must_use]
    pub fn read(&self) -> BatteryReading {
        self.battery.read()
    }

    pub fn plug(&mut self, charger: Option<Charger>) {
        self.battery.charger = charger;
    }

    /// J that CPU time has cost: the true net energy of whatever used it.
    #[must_use]
    pub const fn used_j(&self) -> f64 {
        self.used_j
    }

    #[must_use]
    pub const fn battery(&self) -> &Battery {
        &self.battery
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_costs_what_it_is_said_to_and_the_rest_is_idle() {
        let draw = Draw { drift: 0.0, burst_w: 0.0, joules_per_cpu_s: 1.5, ..Draw::default() };
        let mut phone = PhonePower::new(draw, Pack::default(), Gauge::GOOD, 1);
        phone.run(60.0, 80.0);
        assert_eq!(phone.used_j(), 120.0);
        assert!((phone.battery().flow_so_far().joules - 120.0 - 54.0).abs() < 1e-9);
    }

    #[test]
    fn the_same_seed_gives_the_same_phone_and_another_seed_another() {
        let readings = |seed| {
            let mut phone = PhonePower::new(Draw::default(), Pack::default(), Gauge::GOOD, seed);
            (0..50)
                .map(|_| {
                    phone.run(1.0, 1.0);
                    phone.read().current
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(readings(7), readings(7));
        assert_ne!(readings(7), readings(8));
    }

    #[test]
    fn idle_wanders_by_as_much_as_it_is_said_to() {
        let draw = Draw { burst_w: 0.0, ..Draw::default() };
        let mut phone = PhonePower::new(draw, Pack { capacity_mah: 1e6, ..Pack::default() }, Gauge::GOOD, 3);
        let mut before = 0.0;
        let shares: Vec<f64> = (0..400)
            .map(|_| {
                phone.run(60.0, 0.0);
                let joules = phone.battery().flow_so_far().joules;
                let watts = (joules - before) / 60.0;
                before = joules;
                watts / draw.idle_w - 1.0
            })
            .collect();
        let mean = shares.iter().sum::<f64>() / 400.0;
        let sd = (shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 400.0).sqrt();
        assert!(mean.abs() < 0.01 && (0.015..0.035).contains(&sd), "{mean} ± {sd}");
    }
}
