use super::*;
use crate::energy::source::ChargingState;
use crate::energy::testing::Made;

/// A trace with a gauge that lags, polled faster than it updates.
fn trace(made: &Made, period_s: f64, lag_s: f64) -> Recording {
    let trace = Made { pairs: 1, phase_s: 60.0, poll_s: 0.05, ..made.clone() };
    let mut recording = trace.recording();
    let (mut filtered, mut shown) = (None, None);
    let mut updates = 0_u32;
    for reading in &mut recording.battery {
        let real = reading.current.unwrap();
        let behind = filtered.get_or_insert(real);
        *behind += (real - *behind) * if lag_s > 0.0 { 1.0 - (-0.05 / lag_s).exp() } else { 1.0 };
        if reading.at_s + 1e-9 >= f64::from(updates) * period_s {
            updates += 1;
            // A gauge is never quite still.
            shown = Some(*behind + f64::from(updates % 3) * 2_000.0 * made.unit.milliamps().recip() * 1e-3);
        }
        reading.current = shown;
    }
    recording
}

fn value<T: Clone>(known: &Known<T>) -> T {
    known.present().unwrap_or_else(|| panic!("not known: {}", known.reason().unwrap_or_default())).value.clone()
}

#[test]
fn each_sign_and_unit_is_found_with_its_evidence() {
    for sign in [Sign::DischargeNegative, Sign::DischargePositive] {
        for unit in [CurrentUnit::Milliamps, CurrentUnit::Microamps] {
            for counter_step_mah in [Some(0.05), None] {
                let made = Made { sign, unit, counter_step_mah, ..Made::default() };
                let found = calibrate("build", &trace(&made, 0.25, 0.0));
                assert_eq!((value(&found.sign), value(&found.unit)), (sign, unit), "{made:?}");
                let evidence = &found.unit.present().unwrap().evidence;
                let code = if counter_step_mah.is_some() { Code::UnitByCounter } else { Code::UnitBySize };
                assert_eq!(evidence.code(), Some(code), "{evidence}");
            }
        }
    }
}

#[test]
fn update_period_and_lag_are_found() {
    for period_s in [0.25, 1.0, 2.0, 5.0] {
        for lag_s in [0.0, 1.5, 4.0] {
            let found = calibrate("build", &trace(&Made::default(), period_s, lag_s));
            let period = value(&found.period_s);
            assert!((period - period_s).abs() <= 0.06, "{period} s, {period_s} s is right");
            // The next update after a step comes after half a period on average, here at once or after a whole one.
            let lag = value(&found.lag_s);
            assert!(lag >= lag_s * 0.85 - 0.1 && lag <= lag_s + period_s + 0.1, "{lag} s, {lag_s} s and {period_s} s");
        }
    }
}

#[test]
fn a_gauge_that_does_not_settle_within_the_trace_has_no_lag_and_its_current_is_not_used() {
    let found = calibrate("build", &trace(&Made::default(), 0.25, 30.0));
    assert!(found.lag_s.reason().unwrap().contains("not settled"), "{:?}", found.lag_s);
    assert_eq!(crate::energy::plan::Route::of(None, &found), Ok(crate::energy::plan::Route::Counter));
}

#[test]
fn a_trace_of_a_phone_that_was_fed_says_nothing() {
    let made = Made { charging: Some(ChargingState::NotCharging), ..Made::default() };
    let found = calibrate("build", &trace(&made, 0.25, 0.0));
    assert!(found.sign.reason().unwrap().contains("supplied from outside"));
    assert!(found.counter_unit_mah.reason().is_some());
}

#[test]
fn a_current_that_shrinks_towards_zero_under_load_is_one_that_charges_whatever_the_status_says() {
    // 1.5 A from the charger in the kernel's sign: what the phone draws is taken off it.
    let mut recording = trace(&Made::default(), 0.25, 0.0);
    for reading in &mut recording.battery {
        reading.current = reading.current.map(|current| current + 1.5e6);
    }
    let found = calibrate("build", &recording);
    assert!(found.sign.reason().unwrap().contains("towards zero"), "{:?}", found.sign);
}

#[test]
fn a_current_that_stands_still_or_hardly_moves_says_nothing_of_sign_and_unit() {
    let mut recording = trace(&Made::default(), 0.25, 0.0);
    for reading in &mut recording.battery {
        reading.current = Some(-250_000.0);
    }
    let still = calibrate("build", &recording);
    assert!(still.sign.reason().unwrap().contains("moved by 0"), "{:?}", still.sign);
    assert!(still.resolution.reason().unwrap().contains("never changed"));
    let none = calibrate("build", &trace(&Made { net_w: 0.0, ..Made::default() }, 0.25, 0.0));
    assert!(none.sign.reason().is_some() && none.unit.reason().is_some());
}

#[test]
fn a_unit_that_no_phone_has_is_not_known() {
    // Tenths of a mA: 7,532 would be 7.5 A or 8 mA.
    let mut recording = trace(&Made { counter_step_mah: None, ..Made::default() }, 0.25, 0.0);
    for reading in &mut recording.battery {
        reading.current = reading.current.map(|current| current / 100.0);
    }
    assert!(calibrate("build", &recording).unit.reason().unwrap().contains("no current of a phone"));
}

#[test]
fn a_unit_that_the_charge_counter_contradicts_is_not_known() {
    let mut recording = trace(&Made::default(), 0.25, 0.0);
    for reading in &mut recording.battery {
        reading.current = reading.current.map(|current| current * 3.0);
    }
    assert!(calibrate("build", &recording).unit.reason().unwrap().contains("charge counter fell by"));
}

#[test]
fn the_charge_counter_has_its_own_unit_and_step() {
    let found = calibrate("build", &trace(&Made::default(), 0.25, 0.0));
    assert_eq!(value(&found.counter_unit_mah), 1e-3);
    assert!((value(&found.counter_step_mah) - 0.05).abs() < 1e-6);

    let mut in_mah = trace(&Made::default(), 0.25, 0.0);
    for reading in &mut in_mah.battery {
        reading.counter = reading.counter.map(|counter| counter / 1e3);
    }
    assert_eq!(value(&calibrate("build", &in_mah).counter_unit_mah), 1.0);

    // One of 1 % does not move within a trace: its size alone tells.
    let coarse = calibrate("build", &trace(&Made { counter_step_mah: Some(50.0), ..Made::default() }, 0.25, 0.0));
    assert_eq!(coarse.counter_unit_mah.present().unwrap().evidence.code(), Some(Code::CounterBySize));
    assert!(coarse.counter_step_mah.reason().unwrap().contains("did not move"));
}

#[test]
fn a_calibration_stands_for_one_build_and_one_algorithm() {
    let found = calibrate("OS2.0.5", &trace(&Made::default(), 0.25, 0.0));
    assert!(found.stands_for("OS2.0.5") && !found.stands_for("OS2.0.6"));
    let older = Calibration { algorithm: "seatrial-energy-0".to_owned(), ..found.clone() };
    assert!(!older.stands_for("OS2.0.5"));
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Calibration>(&json).unwrap(), found);
}
