use super::*;
use crate::energy::calibrate::{CurrentUnit, Sign};
use crate::energy::recording::Meter;
use crate::energy::signal::Trace;
use crate::energy::source::Source;
use crate::energy::testing::{Made, known};

fn checked(recording: &Recording, calibration: &Calibration) -> Result<CrossCheck, Reason> {
    let route = Route::of(recording.meter.as_ref(), calibration)?;
    check(route, recording, calibration, &Signals::of(route, recording, calibration)?)
}

fn code(result: Result<CrossCheck, Reason>) -> Option<Code> {
    match result {
        Ok(CrossCheck::Untold(why)) | Err(why) => why.code(),
        Ok(CrossCheck::Agrees(_) | CrossCheck::Disagrees(_)) => None,
    }
}

#[test]
fn a_current_that_adds_up_to_what_the_counter_fell_by_agrees() {
    let made = Made::default();
    let CrossCheck::Agrees(ratio) = checked(&made.recording(), &made.calibration()).unwrap() else { panic!() };
    assert!((ratio - 1.0).abs() < 0.01, "{ratio}");
}

#[test]
fn a_phone_that_was_fed_at_any_moment_or_does_not_say_so_is_refused() {
    let made = Made::default();
    let mut recording = made.recording();
    recording.battery[700].charging = Some(ChargingState::Charging);
    assert_eq!(code(checked(&recording, &made.calibration())), Some(Code::Fed));
    recording.battery[700].charging = None;
    assert_eq!(code(checked(&recording, &made.calibration())), None, "one reading that does not say is borne");
    let silent = Made { charging: None, ..made.clone() };
    assert_eq!(code(checked(&silent.recording(), &made.calibration())), Some(Code::FeedingUnknown));
    let unsure = Made { charging: Some(ChargingState::Unknown), ..made.clone() };
    assert_eq!(code(checked(&unsure.recording(), &made.calibration())), Some(Code::FeedingUnknown));
}

#[test]
fn a_sign_that_is_mistaken_is_refused() {
    let made = Made { counter_step_mah: None, ..Made::default() };
    let turned = Calibration { sign: known(Sign::DischargePositive), ..made.calibration() };
    assert_eq!(code(checked(&made.recording(), &turned)), Some(Code::CurrentInto));
}

#[test]
fn a_unit_that_is_mistaken_is_refused_also_without_a_counter() {
    for unit in [CurrentUnit::Milliamps, CurrentUnit::Microamps] {
        for counter_step_mah in [Some(0.05), None] {
            let made = Made { unit, counter_step_mah, ..Made::default() };
            let other = match unit {
                CurrentUnit::Milliamps => CurrentUnit::Microamps,
                CurrentUnit::Microamps => CurrentUnit::Milliamps,
            };
            let mistaken = Calibration { unit: known(other), ..made.calibration() };
            assert_eq!(code(checked(&made.recording(), &mistaken)), Some(Code::CurrentImplausible), "{made:?}");
        }
    }
}

#[test]
fn a_current_that_is_off_is_told_and_one_that_is_far_off_is_refused() {
    let made = Made::default();
    let by = |factor: f64| {
        let mut recording = made.recording();
        for reading in &mut recording.battery {
            reading.current = reading.current.map(|current| current * factor);
        }
        checked(&recording, &made.calibration())
    };
    assert!(matches!(by(1.08), Ok(CrossCheck::Agrees(_))));
    assert!(matches!(by(1.15), Ok(CrossCheck::Disagrees(_))));
    assert!(matches!(by(0.8), Ok(CrossCheck::Disagrees(_))));
    assert_eq!(code(by(2.2)), Some(Code::CalibrationMistaken));
    assert_eq!(code(by(0.4)), Some(Code::CalibrationMistaken));
}

#[test]
fn a_counter_that_is_coarse_or_stands_still_or_is_not_there_confirms_nothing() {
    let with = |counter_step_mah: Option<f64>| {
        let made = Made { counter_step_mah, ..Made::default() };
        checked(&made.recording(), &made.calibration())
    };
    assert_eq!(code(with(Some(20.0))), Some(Code::CounterCoarse));
    assert_eq!(code(with(Some(2_000.0))), Some(Code::CounterStoodStill));
    assert_eq!(code(with(None)), Some(Code::NoCounter));
}

#[test]
fn a_counter_that_rises_is_a_phone_that_charges_whatever_its_status_says() {
    let made = Made::default();
    let mut recording = made.recording();
    for reading in &mut recording.battery {
        reading.counter = Some(3e6 + reading.at_s * 100.0);
    }
    assert_eq!(code(checked(&recording, &made.calibration())), Some(Code::CounterRose));
    assert_eq!(code(checked(&recording, &made.counter_only())), Some(Code::CounterRose));
}

#[test]
fn a_gauge_that_stands_still_for_a_pair_is_refused() {
    let made = Made::default();
    let mut recording = made.recording();
    let until = recording.phases[6].end_s;
    for reading in recording.battery.iter_mut().filter(|reading| (160.0..=until).contains(&reading.at_s)) {
        reading.current = Some(-250_000.0);
    }
    assert_eq!(code(checked(&recording, &made.calibration())), Some(Code::GaugeConstant));
}

#[test]
fn a_voltage_that_no_battery_has_is_refused() {
    let made = Made { volts: 0.003_85, ..Made::default() };
    assert_eq!(code(checked(&made.recording(), &made.calibration())), Some(Code::VoltageImplausible));
}

#[test]
fn a_meter_before_a_battery_needs_that_it_rests_and_rails_behind_it_do_not() {
    let metered = |scope, charging: Option<ChargingState>| {
        let mut recording = Made { charging, ..Made::default() }.recording();
        let points = recording.battery.iter().map(|reading| (reading.at_s, 2.0)).collect();
        let trace = Trace::Rate { points, step: 0.001 };
        recording.meter = Some(Meter { source: Source::ExternalMeter, scope, period_s: 0.1, trace });
        let nothing = Calibration::none("build", &Reason::from("no gauge"));
        code(checked(&recording, &nothing))
    };
    use ChargingState::{Charging, Discharging, Full};
    assert_eq!(metered(Scope::Input, Some(Full)), Some(Code::MeterKnowsNoCharge));
    assert_eq!(metered(Scope::Input, Some(Charging)), Some(Code::BatteryBesideMeter));
    assert_eq!(metered(Scope::Input, Some(Discharging)), Some(Code::BatteryBesideMeter));
    assert_eq!(metered(Scope::Input, None), Some(Code::BatteryBesideMeter));
    assert_eq!(metered(Scope::Rail, Some(Charging)), Some(Code::MeterKnowsNoCharge));
    assert_eq!(metered(Scope::Battery, Some(Charging)), Some(Code::Fed));
    assert_eq!(metered(Scope::Battery, Some(Discharging)), Some(Code::MeterKnowsNoCharge));
}
