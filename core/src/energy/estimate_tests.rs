use proptest::prelude::*;

use super::*;
use crate::energy::plan::Plan;
use crate::energy::recording::Meter;
use crate::energy::source::{ChargingState, Scope};
use crate::energy::testing::{Made, conditions};

fn energy(made: &Made) -> Energy {
    estimate(&made.recording(), &made.calibration(), &conditions(), 1)
}

fn near(figure: &Figure, expected: f64, share: f64) {
    let value = figure.number().unwrap_or_else(|| panic!("{figure:?} is no number")).value;
    assert!((value / expected - 1.0).abs() <= share, "{value} is not {expected}");
}

/// By hand: 2 W over 40 s are 80 J for 1,000 inferences; 2.9 W at 3.85 V are 753.2 mA, six times 40 s of it 50.2 mAh,
/// 15.06 % of 5,000 mAh an hour, and 8.37 mAh or 0.167 % for 1,000 inferences.
#[test]
fn the_numbers_are_those_of_the_formulas() {
    let energy = energy(&Made::default());
    assert_eq!((energy.grade, energy.pairs, energy.route), (Grade::E1, 6, Some(Route::Current)));
    assert_eq!(energy.flags, Vec::<Reason>::new());
    near(&energy.net_w, 2.0, 1e-9);
    near(&energy.net_mj, 80.0, 1e-9);
    near(&energy.gross_w, 2.9, 1e-9);
    near(&energy.gross_mj, 116.0, 1e-9);
    near(&energy.idle_w, 0.9, 1e-9);
    near(&energy.drain_mah, 50.216_45, 1e-6);
    near(&energy.percent_per_hour, 15.064_935, 1e-6);
    near(&energy.percent_per_1k, 0.167_388_2, 1e-6);
    assert_eq!(energy.temperature_rise_c.number().map(|it| it.value), Some(0.0));
}

#[test]
fn a_baseline_that_drifts_evenly_falls_out() {
    let made = Made { phase_s: 400.0, ..Made::default() };
    let mut recording = made.recording();
    for reading in &mut recording.battery {
        // 0.1 mA a second: from 0.9 to 2.9 W over the recording.
        reading.current = reading.current.map(|current| current - 100.0 * reading.at_s);
        reading.counter = None;
    }
    let energy = estimate(&recording, &made.calibration(), &conditions(), 1);
    near(&energy.net_w, 2.0, 1e-9);
    assert_eq!(energy.flags[0].code(), Some(Code::BaselineMoved), "and is told");
}

#[test]
fn the_interval_is_as_wide_as_the_pairs_are_apart() {
    let wobble = |w: f64| (0..13).map(|index| if index % 4 == 1 { w } else { 0.0 }).collect();
    let width = |w: f64| {
        let energy = energy(&Made { wobble_w: wobble(w), ..Made::default() });
        let (low, high) = energy.net_w.number().unwrap().interval.unwrap();
        high - low
    };
    assert!(width(0.0) < 1e-9);
    assert!(width(0.4) > 1.8 * width(0.2) && width(0.2) > 0.1);
}

#[test]
fn a_net_power_that_cannot_be_told_from_nothing_is_a_bound_and_gross_stays_a_number() {
    let wobble_w: Vec<f64> = (0..13).map(|index| [0.1, -0.1, 0.05, -0.02, 0.08][index % 5]).collect();
    let energy = energy(&Made { net_w: 0.05, wobble_w, ..Made::default() });
    let Figure::AtMost(most) = energy.net_w else { panic!("{:?}", energy.net_w) };
    assert!((0.05..0.5).contains(&most), "{most}");
    assert!(matches!(energy.net_mj, Figure::AtMost(_)));
    near(&energy.gross_w, 0.95, 0.1);
}

#[test]
fn a_step_of_the_gauge_that_is_as_large_as_the_load_is_below_resolution() {
    let coarse = Made { net_w: 0.2, step_ma: 50.0, counter_step_mah: None, ..Made::default() };
    let Figure::AtMost(most) = energy(&coarse).net_w else { panic!("pairs that agree exactly must not hide the step") };
    assert!(most > 0.2, "{most}");
    assert!(energy(&Made { step_ma: 1.0, ..coarse }).net_w.number().is_some());
}

#[test]
fn a_coarse_counter_alone_gives_a_bound_that_holds_and_a_fine_one_a_number() {
    let of = |step: f64, pairs: usize| {
        let made = Made { counter_step_mah: Some(step), pairs, ..Made::default() };
        estimate(&made.recording(), &made.counter_only(), &conditions(), 1)
    };
    for pairs in [1, 3, 6] {
        let Figure::AtMost(most) = of(50.0, pairs).net_w else { panic!("{pairs} pairs") };
        assert!(most >= 2.0, "{most}");
    }
    let fine = of(0.05, 6);
    near(&fine.net_w, 2.0, 0.03);
    assert_eq!((fine.grade, fine.why.code()), (Grade::E2, Some(Code::CounterAlone)));
    let (low, high) = fine.net_w.number().unwrap().interval.unwrap();
    assert!(low <= 2.0 && 2.0 <= high, "[{low}, {high}]");
    assert!(matches!(of(0.05, 0).net_w, Figure::Absent(_)), "without a pair nothing is bounded");
}

#[test]
fn fewer_than_six_pairs_of_a_current_give_no_number_and_say_so() {
    let energy = energy(&Made { pairs: 5, ..Made::default() });
    let Figure::Absent(why) = &energy.net_w else { panic!() };
    assert_eq!((energy.grade, why.code()), (Grade::E4, Some(Code::TooFewPairs)));
}

#[test]
fn a_phone_that_charges_has_no_number_of_any_kind() {
    for charging in [ChargingState::Charging, ChargingState::NotCharging, ChargingState::Full] {
        let energy = energy(&Made { charging: Some(charging), ..Made::default() });
        assert_eq!(energy.grade, Grade::E4);
        let metrics = crate::energy::metrics::of(&energy);
        assert!(metrics.iter().all(|metric| metric.value.present().is_none()), "{metrics:?}");
    }
}

#[test]
fn less_power_under_load_than_in_idle_is_refused() {
    let energy = energy(&Made { net_w: -0.3, ..Made::default() });
    assert_eq!((energy.grade, energy.why.code()), (Grade::E4, Some(Code::LoadBelowIdle)));
}

#[test]
fn what_is_not_known_is_absent_and_not_zero() {
    let made = Made { inferences: 0, ..Made::default() };
    let unknown = Conditions { design_mah: Reading::absent("no design capacity"), ..conditions() };
    let mut recording = made.recording();
    for reading in &mut recording.battery {
        reading.temperature_c = None;
    }
    let energy = estimate(&recording, &made.calibration(), &unknown, 1);
    for figure in
        [&energy.net_mj, &energy.gross_mj, &energy.percent_per_hour, &energy.percent_per_1k, &energy.temperature_rise_c]
    {
        assert!(matches!(figure, Figure::Absent(_)), "{figure:?}");
    }
    near(&energy.net_w, 2.0, 1e-9);
}

#[test]
fn a_phone_that_slept_through_a_phase_loses_that_pair_and_says_so() {
    let made = Made { pairs: 8, ..Made::default() };
    let mut recording = made.recording();
    recording.battery.retain(|reading| !(125.0..155.0).contains(&reading.at_s));
    let energy = estimate(&recording, &made.calibration(), &conditions(), 1);
    assert_eq!(energy.pairs, 7);
    assert_eq!(energy.flags[0].code(), Some(Code::PairsDark));
}

#[test]
fn a_meter_gives_the_best_grade_also_while_charging_and_no_charge() {
    let made = Made { charging: Some(ChargingState::Charging), ..Made::default() };
    let mut recording = made.recording();
    let watts = |at_s: f64| made.watts(&recording, made.phase_at(at_s)).0;
    let mut joules = 0.0;
    let (mut rate, mut total) = (Vec::new(), Vec::new());
    for reading in &recording.battery {
        rate.push((reading.at_s, watts(reading.at_s)));
        total.push((reading.at_s, joules % 100.0));
        joules += watts((reading.at_s + made.poll_s).min(520.0)) * made.poll_s;
    }
    let nothing = Calibration::none("build", &Reason::from("no gauge"));
    for (trace, source, grade) in [
        (Trace::Rate { points: rate.clone(), step: 0.001 }, Source::PowerStats, Grade::E0),
        (Trace::unwrapped(&total, 100.0, 0.001), Source::Rapl, Grade::E0),
        (Trace::Rate { points: rate, step: 0.001 }, Source::Pmic, Grade::E2),
    ] {
        recording.meter = Some(Meter { source, scope: Scope::Rail, period_s: 0.5, trace });
        let energy = estimate(&recording, &nothing, &conditions(), 1);
        assert_eq!((energy.grade, energy.route), (grade, Some(Route::Meter)), "{}", energy.why);
        near(&energy.net_w, 2.0, 1e-9);
        assert!(matches!(energy.drain_mah, Figure::Absent(_)));
    }
}

#[test]
fn grades_say_how_the_number_came_about() {
    let made = Made::default();
    let suspended = Conditions { input_suspended: true, ..conditions() };
    assert_eq!(estimate(&made.recording(), &made.calibration(), &suspended, 1).grade, Grade::E3);
    let alone = energy(&Made { counter_step_mah: None, ..made.clone() });
    assert_eq!((alone.grade, alone.why.code()), (Grade::E2, Some(Code::NoCounter)));
    let mut off = made.recording();
    for reading in &mut off.battery {
        reading.current = reading.current.map(|current| current * 1.3);
    }
    let off = estimate(&off, &made.calibration(), &conditions(), 1);
    assert_eq!((off.grade, off.why.code()), (Grade::E2, Some(Code::GaugeDisagrees)));
    assert_eq!(off.flags[0].code(), Some(Code::GaugeDisagrees));
}

#[test]
fn what_spoils_a_comparison_is_flagged() {
    let made = Made::default();
    let mut recording = made.recording();
    for reading in &mut recording.battery {
        reading.level_percent = Some(95.0);
        reading.temperature_c = Some(41.0 + reading.at_s / 50.0);
    }
    let flags: Vec<_> = estimate(&recording, &made.calibration(), &conditions(), 1).flags;
    let codes: Vec<_> = flags.iter().filter_map(Reason::code).collect();
    assert_eq!(codes, [Code::LevelOutside, Code::BatteryWarmed, Code::BatteryHot]);
}

#[test]
fn an_energy_and_its_recording_read_back_and_the_same_recording_gives_the_same_numbers() {
    let wobble_w = vec![0.0, 0.1, 0.0, -0.2, 0.0, 0.15];
    let made = Made { wobble_w, ..Made::default() };
    let energy = energy(&made);
    assert_eq!(estimate(&made.recording(), &made.calibration(), &conditions(), 1), energy);
    let json = serde_json::to_string(&energy).unwrap();
    let read: Energy = serde_json::from_str(&json).unwrap();
    assert_eq!((read.grade, &read.why, &read.flags), (energy.grade, &energy.why, &energy.flags));
    // JSON keeps all but the last bit.
    near(&read.net_mj, energy.net_mj.number().unwrap().value, 1e-12);
    let json = serde_json::to_string(&made.recording()).unwrap();
    let recording: Recording = serde_json::from_str(&json).unwrap();
    let again = estimate(&recording, &made.calibration(), &conditions(), 1);
    near(&again.net_mj, energy.net_mj.number().unwrap().value, 1e-9);
}

/// Values as broken devices and liars send them.
fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        -1e7_f64..1e7,
        Just(0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(-1.0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_recording_makes_a_number_that_is_none(
        values in prop::collection::vec((anything(), anything(), anything(), 0_usize..6), 1..20),
        inferences: u64,
        counter_only: bool,
    ) {
        let made = Made { inferences, phase_s: 32.0, ..Made::default() };
        let mut recording = made.recording();
        for (index, (current, voltage, counter, field)) in values.into_iter().enumerate() {
            let at = index * 37 % recording.battery.len();
            let reading = &mut recording.battery[at];
            match field {
                0 => reading.current = Some(current),
                1 => reading.voltage_v = Some(voltage),
                2 => reading.counter = Some(counter),
                3 => (reading.current, reading.counter) = (None, None),
                4 => reading.temperature_c = Some(current),
                _ => reading.level_percent = Some(voltage),
            }
        }
        let calibration = if counter_only { made.counter_only() } else { made.calibration() };
        let energy = estimate(&recording, &calibration, &conditions(), 3);
        for metric in crate::energy::metrics::of(&energy) {
            if let Some(value) = metric.value.present() {
                prop_assert!(value.value.is_finite(), "{metric:?}");
                let holds = value.interval.is_none_or(|(low, high)| low <= value.value && value.value <= high);
                prop_assert!(holds, "{metric:?}");
            }
        }
        if let Ok(plan) = Plan::of(None, &calibration, crate::energy::Limits::default()) {
            let _ = plan.next(&recording, &calibration);
        }
        let _ = crate::energy::calibrate("build", &recording);
    }

    #[test]
    fn the_net_number_does_not_depend_on_the_idle_below_it(idle_w in 0.3_f64..1.5, net_w in 0.5_f64..4.0) {
        let energy = energy(&Made { idle_w, net_w, counter_step_mah: None, ..Made::default() });
        prop_assert!((energy.net_w.number().unwrap().value / net_w - 1.0).abs() < 1e-9);
    }
}
