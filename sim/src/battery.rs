//! A battery and its gauge: power flows out, readings come out, and the true energy is known.
//!
//! Time passes only by [`Battery::advance`], so a test runs hours in milliseconds and a simulated phone follows a real
//! clock. What a gauge does wrong is chosen by [`Gauge`]; the same seed gives the same readings.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use seatrial_core::energy::source::{BatteryReading, ChargingState};
use serde::Deserialize;

/// What the gauge shows while the battery is discharged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignHabit {
    /// The kernel's convention.
    DischargeNegative,
    DischargePositive,
    /// No sign at all.
    AlwaysPositive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// mA, and mAh for the charge counter.
    Milli,
    /// µA and µAh, as the interface has it.
    Micro,
}

impl Unit {
    const fn in_one_milli(self) -> f64 {
        match self {
            Self::Milli => 1.0,
            Self::Micro => 1e3,
        }
    }
}

/// What the charging state says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusHabit {
    Honest,
    /// `dumpsys battery unplug`: "discharging" whatever happens.
    FakedUnplugged,
    /// Denied, or no such field.
    Silent,
}

/// How the readings come about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gauge {
    /// `None`: the phone gives no current.
    pub current: Option<Unit>,
    pub sign: SignHabit,
    /// Between two updates of current, voltage and counter, in s.
    pub period_s: f64,
    /// Step of the current, in mA.
    pub resolution_ma: f64,
    /// Time constant of the filter before the current, in s.
    pub lag_s: f64,
    /// Standard deviation of one update of the current, in mA.
    pub noise_ma: f64,
    /// The current times this is what it shows.
    pub gain: f64,
    /// The current stays at what it was first.
    pub stuck: bool,
    /// Unit and step in mAh of the charge counter; `None`: the phone has none.
    pub counter: Option<(Unit, f64)>,
    pub status: StatusHabit,
}

impl Gauge {
    /// An ordinary good one: a step of 1/1024 A, an update a second, a charge counter of half a mAh.
    pub const GOOD: Self = Self {
        current: Some(Unit::Micro),
        sign: SignHabit::DischargeNegative,
        period_s: 1.0,
        resolution_ma: 0.976_562_5,
        lag_s: 0.0,
        noise_ma: 8.0,
        gain: 1.0,
        stuck: false,
        counter: Some((Unit::Micro, 0.5)),
        status: StatusHabit::Honest,
    };
}

/// The cells.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pack {
    pub capacity_mah: f64,
    /// Share of full at the beginning.
    pub charge: f64,
    pub resistance_ohm: f64,
    /// Of the air, and of the battery at the beginning, in °C.
    pub ambient_c: f64,
    /// Kelvin that a W of the whole phone warms the battery by in the end, and in which time constant in s.
    pub kelvin_per_w: f64,
    pub thermal_s: f64,
}

impl Default for Pack {
    fn default() -> Self {
        Self {
            capacity_mah: 5_000.0,
            charge: 0.7,
            resistance_ohm: 0.12,
            ambient_c: 25.0,
            kelvin_per_w: 2.5,
            thermal_s: 900.0,
        }
    }
}

/// What feeds the phone from outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Charger {
    /// Gives this much, in W: what the phone leaves of it charges the battery, and what is missing comes out of it.
    Gives(f64),
    /// Feeds the phone and leaves the battery alone: battery protection, or charging switched off.
    Bypass,
}

/// What really flowed out of the battery since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Flow {
    pub joules: f64,
    pub mah: f64,
}

/// The model. Plugged and unplugged by its `charger`.
#[derive(Debug, Clone)]
pub struct Battery {
    pub charger: Option<Charger>,
    pack: Pack,
    gauge: Gauge,
    rng: SmallRng,
    now_s: f64,
    mah: f64,
    celsius: f64,
    flow: Flow,
    /// The current before the gauge's filter and behind it, in mA; positive while discharging.
    current_ma: f64,
    filtered_ma: Option<f64>,
    next_update_s: f64,
    shown: BatteryReading,
}

impl Battery {
    /// At rest until time passes. Updates of its gauge begin at a random moment of their period.
    #[must_use]
    pub fn new(pack: Pack, gauge: Gauge, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let next_update_s = rng.random::<f64>() * gauge.period_s;
        let mut battery = Self {
            charger: None,
            pack,
            gauge,
            rng,
            now_s: 0.0,
            mah: pack.capacity_mah * pack.charge,
            celsius: pack.ambient_c,
            flow: Flow::default(),
            current_ma: 0.0,
            filtered_ma: None,
            next_update_s,
            shown: BatteryReading::default(),
        };
        battery.update();
        battery
    }

    /// The phone drew `watts` for `seconds`.
    pub fn advance(&mut self, seconds: f64, watts: f64) {
        let end_s = self.now_s + seconds;
        while self.next_update_s <= end_s {
            self.flow((self.next_update_s - self.now_s).max(0.0), watts);
            self.now_s = self.next_update_s;
            self.next_update_s += self.gauge.period_s;
            self.update();
        }
        self.flow(end_s - self.now_s, watts);
        self.now_s = end_s;
    }

    /// What a program that asks now is told.
    #[must_use]
    pub fn read(&self) -> BatteryReading {
        BatteryReading { at_s: self.now_s, ..self.shown }
    }

    /// What really flowed.
    #[must_use]
    pub const fn flow_so_far(&self) -> Flow {
        self.flow
    }

    fn volts_at_rest(&self) -> f64 {
        3.45 + 0.8 * self.charge()
    }

    fn charge(&self) -> f64 {
        self.mah / self.pack.capacity_mah
    }

    /// W out of the battery; negative while it is charged.
    fn out_of_battery(&self, watts: f64) -> f64 {
        match self.charger {
            None => watts,
            Some(Charger::Bypass) => 0.0,
            Some(Charger::Gives(given)) if self.charge() >= 1.0 => (watts - given).max(0.0),
            Some(Charger::Gives(given)) => watts - given,
        }
    }

    fn flow(&mut self, seconds: f64, watts: f64) {
        if seconds <= 0.0 {
            return;
        }
        // P = (V₀ − I R) I, solved for I.
        let (rest, ohm, out) = (self.volts_at_rest(), self.pack.resistance_ohm, self.out_of_battery(watts));
        let amps = (rest - (rest * rest - 4.0 * ohm * out).max(0.0).sqrt()) / (2.0 * ohm);
        self.current_ma = amps * 1e3;
        self.flow.joules += out * seconds;
        self.flow.mah += self.current_ma * seconds / 3600.0;
        self.mah -= self.current_ma * seconds / 3600.0;
        let reached = |time: f64| if time > 0.0 { 1.0 - (-seconds / time).exp() } else { 1.0 };
        let filtered = self.filtered_ma.get_or_insert(self.current_ma);
        *filtered += (self.current_ma - *filtered) * reached(self.gauge.lag_s);
        let warm = self.pack.ambient_c + self.pack.kelvin_per_w * watts;
        self.celsius += (warm - self.celsius) * reached(self.pack.thermal_s);
    }

    fn update(&mut self) {
        let Gauge { current, sign, resolution_ma, noise_ma, gain, stuck, counter, status, .. } = self.gauge;
        let measured = self.filtered_ma.unwrap_or(self.current_ma) * gain + noise_ma * normal(&mut self.rng);
        let rounded = (measured / resolution_ma).floor() * resolution_ma;
        let signed = match sign {
            SignHabit::DischargeNegative => -rounded,
            SignHabit::DischargePositive => rounded,
            SignHabit::AlwaysPositive => rounded.abs(),
        };
        let fresh = current.map(|unit| (signed * unit.in_one_milli()).round());
        let volts = self.volts_at_rest() - self.current_ma / 1e3 * self.pack.resistance_ohm;
        let plugged = self.charger.is_some();
        let honest = match self.charger {
            None => ChargingState::Discharging,
            Some(Charger::Bypass) => ChargingState::NotCharging,
            Some(Charger::Gives(_)) if self.charge() >= 1.0 => ChargingState::Full,
            Some(Charger::Gives(_)) => ChargingState::Charging,
        };
        self.shown = BatteryReading {
            at_s: self.now_s,
            current: if stuck { self.shown.current.or(fresh) } else { fresh },
            voltage_v: Some(((volts + 0.002 * normal(&mut self.rng)) * 1e3).round() / 1e3),
            counter: counter.map(|(unit, step)| ((self.mah / step).floor() * step * unit.in_one_milli()).round()),
            level_percent: Some((self.charge() * 100.0).floor()),
            charging: match status {
                StatusHabit::Honest => Some(honest),
                StatusHabit::FakedUnplugged => Some(ChargingState::Discharging),
                StatusHabit::Silent => None,
            },
            powered: match status {
                StatusHabit::Honest => Some(plugged),
                StatusHabit::FakedUnplugged => Some(false),
                StatusHabit::Silent => None,
            },
            temperature_c: Some((self.celsius * 10.0).floor() / 10.0),
        };
    }
}

/// A standard normal number (Box and Muller 1958).
pub(crate) fn normal(rng: &mut SmallRng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flows_out_is_the_power_times_the_time_however_it_is_cut() {
        let mut at_once = Battery::new(Pack::default(), Gauge::GOOD, 1);
        let mut in_pieces = at_once.clone();
        at_once.advance(60.0, 2.0);
        for _ in 0..6_000 {
            in_pieces.advance(0.01, 2.0);
        }
        assert!((at_once.flow_so_far().joules - 120.0).abs() < 1e-9);
        assert!((in_pieces.flow_so_far().joules - 120.0).abs() < 1e-6);
        assert!((at_once.flow_so_far().mah - in_pieces.flow_so_far().mah).abs() < 1e-3);
    }

    #[test]
    fn a_reading_stays_until_the_next_update_and_follows_after_the_lag() {
        let gauge = Gauge { period_s: 5.0, lag_s: 4.0, noise_ma: 0.0, ..Gauge::GOOD };
        let mut battery = Battery::new(Pack::default(), gauge, 1);
        battery.advance(60.0, 0.5);
        let before = battery.read().current;
        let mut changes = 0;
        let mut last = before;
        for _ in 0..200 {
            battery.advance(0.1, 3.0);
            let now = battery.read().current;
            changes += usize::from(now != last);
            last = now;
        }
        assert_eq!(changes, 4, "20 s are four updates");
        let ma = -last.unwrap() / 1e3;
        assert!((600.0..800.0).contains(&ma), "{ma} mA after 5 time constants");
    }

    #[test]
    fn the_habits_of_gauges_are_what_they_are_called() {
        let after = |gauge: Gauge, charger: Option<Charger>| {
            let mut battery = Battery::new(Pack::default(), Gauge { noise_ma: 0.0, ..gauge }, 1);
            battery.charger = charger;
            battery.advance(30.0, 2.0);
            battery.read()
        };
        let good = Gauge::GOOD;
        let raw = after(good, None).current.unwrap();
        assert!((-600_000.0..-400_000.0).contains(&raw), "{raw}");
        let turned = Gauge { sign: SignHabit::DischargePositive, current: Some(Unit::Milli), ..good };
        assert!((400.0..600.0).contains(&after(turned, None).current.unwrap()));
        let unsigned = Gauge { sign: SignHabit::AlwaysPositive, ..good };
        assert!(after(unsigned, Some(Charger::Gives(5.0))).current.unwrap() > 0.0);
        assert!(after(good, Some(Charger::Gives(5.0))).current.unwrap() > 0.0, "charging is positive by the kernel");
        assert_eq!(after(good, Some(Charger::Bypass)).charging, Some(ChargingState::NotCharging));
        let faked = Gauge { status: StatusHabit::FakedUnplugged, ..good };
        assert_eq!(after(faked, Some(Charger::Gives(5.0))).charging, Some(ChargingState::Discharging));
        assert_eq!(after(Gauge { current: None, ..good }, None).current, None);
        assert!(after(good, None).temperature_c.unwrap() > 25.0 - 0.11);
    }

    #[test]
    fn the_charge_counter_falls_in_its_steps() {
        let gauge = Gauge { counter: Some((Unit::Micro, 50.0)), ..Gauge::GOOD };
        let mut battery = Battery::new(Pack::default(), gauge, 1);
        battery.advance(3_600.0, 2.0);
        let fell = 3_500_000.0 - battery.read().counter.unwrap();
        assert_eq!(fell % 50_000.0, 0.0);
        assert!((fell / 1e3 - battery.flow_so_far().mah).abs() <= 50.0);
    }
}
