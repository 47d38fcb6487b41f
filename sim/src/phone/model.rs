//! The battery, the heat and the clocks of a simulated phone, driven by the CPU time that its processes really use.

use seatrial_core::energy::source::{BatteryReading, ChargingState};

use super::parts::{Heat, Parts};
use super::power::{Chip, Load, Power, Shown, Status, Truth};
use crate::battery::Charger;
use crate::draw::PhonePower;

/// What a USB port gives, in W.
const PORT_W: f64 = 5.0;
/// Share of one CPU from which on the clocks are at their highest.
const BUSY: f64 = 0.2;
/// `Thermal Status` of a phone that lowers its clocks and says so: moderate.
const MODERATE: u8 = 2;

/// One phone's cells, gauge, heat and clocks, from its description. The same seed gives the same phone.
#[derive(Debug, Clone)]
pub(super) struct Model {
    phone: PhonePower,
    heat: Heat,
    joules_per_cpu_s: f64,
    /// Of the chip above the battery.
    rise_k: f64,
    is_busy: bool,
    seconds: f64,
}

impl Model {
    pub fn new(parts: &Parts, seed: u64) -> Self {
        Self {
            phone: PhonePower::new(parts.draw, parts.pack(), parts.gauge(), seed),
            heat: parts.heat.clone(),
            joules_per_cpu_s: parts.draw.joules_per_cpu_s,
            rise_k: 0.0,
            is_busy: false,
            seconds: 0.0,
        }
    }

    fn chip(&self, battery_celsius: f64) -> Chip {
        let celsius = battery_celsius + self.rise_k;
        let cap = self.heat.cap.filter(|cap| celsius >= cap.above_celsius);
        Chip {
            celsius,
            is_busy: self.is_busy,
            cap: cap.map(|cap| cap.share),
            thermal_status: cap.map_or(0, |cap| if cap.silent { 0 } else { MODERATE }),
        }
    }
}

impl Power for Model {
    fn advance(&mut self, Load { elapsed, cpu, plugged, on }: Load) -> Shown {
        let [seconds, cpu_s] = [elapsed, cpu].map(|time| time.as_secs_f64());
        self.phone.plug(plugged.then_some(Charger::Gives(PORT_W)));
        if seconds > 0.0 && on {
            self.phone.run(seconds, cpu_s);
            self.seconds += seconds;
            self.is_busy = cpu_s / seconds >= BUSY;
            let warm = self.heat.kelvin_per_w * self.joules_per_cpu_s * cpu_s / seconds;
            self.rise_k += (warm - self.rise_k) * (1.0 - (-seconds / self.heat.seconds).exp());
        }
        let reading = self.phone.read();
        let chip = reading.temperature_c.map(|celsius| self.chip(celsius));
        Shown { chip, ..shown(&reading) }
    }

    fn truth(&self) -> Option<Truth> {
        let flow = self.phone.battery().flow_so_far();
        Some(Truth { seconds: self.seconds, joules: flow.joules, mah: flow.mah, cpu_joules: self.phone.used_j() })
    }
}

/// A reading as nodes have it.
fn shown(reading: &BatteryReading) -> Shown {
    let BatteryReading { at_s: _, current, voltage_v, counter, level_percent, charging, powered: _, temperature_c } =
        *reading;
    Shown {
        status: charging.map(|state| match state {
            ChargingState::Charging => Status::Charging,
            ChargingState::Discharging => Status::Discharging,
            ChargingState::Full => Status::Full,
            ChargingState::NotCharging | ChargingState::Unknown => Status::NotCharging,
        }),
        capacity: level_percent.map(|percent| percent.clamp(0.0, 100.0) as u8),
        voltage: voltage_v.map(|volts| (volts * 1e6).round() as i64),
        current: current.map(|value| value as i64),
        charge: counter.map(|value| value as i64),
        temperature: temperature_c.map(|celsius| (celsius * 10.0).round() as i64),
        chip: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn load(cpu: f64, plugged: bool) -> Load {
        let elapsed = Duration::from_secs(1);
        Load { elapsed, cpu: Duration::from_secs_f64(cpu), plugged, on: true }
    }

    fn model(text: &str) -> Model {
        Model::new(&toml::from_str(text).unwrap(), 1)
    }

    #[test]
    fn what_programs_used_is_known_to_the_joule_and_flows_out_of_the_battery() {
        let mut model = model("[draw]\nidle_w = 1.0\ndrift = 0.0\nburst_w = 0.0\njoules_per_cpu_s = 2.0\n");
        for second in 0..600 {
            let cpu = if second < 300 { 1.0 } else { 0.0 };
            model.advance(load(cpu, false));
        }
        let truth = model.truth().unwrap();
        assert_eq!(truth.cpu_joules, 600.0);
        assert!((truth.joules - 1200.0).abs() < 1e-6, "{truth:?}");
        assert_eq!(truth.seconds, 600.0);
        let shown = model.advance(load(0.0, false));
        let ma = -shown.current.unwrap() as f64 / 1e3;
        assert!((230.0..300.0).contains(&ma), "{ma} mA at 1 W and 3.95 V, by the sign of the interface");
    }

    #[test]
    fn a_phone_on_its_port_charges_and_nothing_flows_out() {
        let mut model = model("");
        let shown = (0..60).map(|_| model.advance(load(0.5, true))).last().unwrap();
        assert_eq!(shown.status, Some(Status::Charging));
        assert!(shown.current.unwrap() > 0 && model.truth().unwrap().joules < 0.0);
    }

    #[test]
    fn a_phone_that_is_off_draws_nothing() {
        let mut model = model("");
        model.advance(Load { on: false, ..load(0.0, false) });
        assert_eq!(model.truth().unwrap(), Truth::default());
    }

    #[test]
    fn work_warms_the_chip_and_a_silent_cap_lowers_clocks_without_a_word() {
        for (silent, status) in [(true, 0), (false, MODERATE)] {
            let mut model =
                model(&format!("[heat]\ncap = {{ above_celsius = 35.0, share = 0.6, silent = {silent} }}\n"));
            let cold = model.advance(load(0.0, false)).chip.unwrap();
            assert_eq!((cold.cap, cold.is_busy, cold.thermal_status), (None, false, 0));
            let hot = (0..120).map(|_| model.advance(load(2.0, false))).last().unwrap().chip.unwrap();
            assert!(hot.celsius > 38.0, "{hot:?}");
            assert_eq!((hot.cap, hot.is_busy, hot.thermal_status), (Some(0.6), true, status));
            let again = (0..200).map(|_| model.advance(load(0.0, false))).last().unwrap().chip.unwrap();
            assert_eq!(again.cap, None, "{again:?}");
        }
    }
}
