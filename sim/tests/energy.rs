//! Energy against the known truth: seeded phones in simulated time, from the trace that calibrates to the number.
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod bench;

use bench::{Bench, measured, number, truth_mj};
use seatrial_core::energy::calibrate::{CurrentUnit, Found, Known, Sign};
use seatrial_core::energy::recording::Meter;
use seatrial_core::energy::signal::Trace;
use seatrial_core::energy::source::{Scope, Source};
use seatrial_core::energy::{Calibration, Figure, Grade, Limits, Phase, PhaseKind, Plan, Recording, Step, metrics};
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};
use seatrial_sim::battery::{Charger, Gauge, Pack, SignHabit, StatusHabit, Unit};

const RUNS: u64 = 100;
const GOOD: Gauge = Gauge::GOOD;
const LAGS: Gauge = Gauge { lag_s: 4.0, ..GOOD };
const ONE_PERCENT: Gauge = Gauge { current: None, counter: Some((Unit::Micro, 50.0)), ..GOOD };

/// A hundred phones with this gauge: every error within the limit, and 90 intervals that hold the truth.
fn within_limits(gauge: Gauge) {
    let loads = [(2.0, 0.05), (0.5, 0.12)];
    let mut covered = [0; 2];
    for seed in 0..RUNS {
        let mut bench = Bench::new(gauge, Pack::default(), seed);
        let calibration = bench.calibrate();
        for ((net_w, limit), covered) in loads.into_iter().zip(&mut covered) {
            bench.measure(&calibration, net_w, Limits::default());
            let energy = bench.energy(&calibration, seed);
            bench.recording = Recording::default();
            assert_eq!(energy.grade, Grade::E1, "seed {seed}: {}", energy.why);
            let (mj, (low, high)) = number(&energy.net_mj);
            let error = mj / truth_mj(net_w) - 1.0;
            assert!(error.abs() <= limit, "{net_w} W, seed {seed}: off by {:.1} %", error * 100.0);
            *covered += u32::from((low..=high).contains(&truth_mj(net_w)));
        }
    }
    assert!(covered.iter().all(|&covered| covered >= 90), "{covered:?} of {RUNS} intervals hold the truth");
}

#[test]
fn a_gauge_by_the_interface_is_within_limits() {
    within_limits(GOOD);
}

#[test]
fn a_gauge_with_its_sign_turned_round_is_within_limits() {
    within_limits(Gauge { sign: SignHabit::DischargePositive, ..GOOD });
}

#[test]
fn a_gauge_without_a_sign_is_within_limits() {
    within_limits(Gauge { sign: SignHabit::AlwaysPositive, ..GOOD });
}

#[test]
fn a_gauge_in_milliamps_is_within_limits() {
    within_limits(Gauge { current: Some(Unit::Milli), ..GOOD });
}

#[test]
fn a_gauge_that_updates_four_times_a_second_is_within_limits() {
    within_limits(Gauge { period_s: 0.25, ..GOOD });
}

#[test]
fn a_gauge_that_updates_every_two_seconds_is_within_limits() {
    within_limits(Gauge { period_s: 2.0, ..GOOD });
}

#[test]
fn a_gauge_that_updates_every_five_seconds_is_within_limits() {
    within_limits(Gauge { period_s: 5.0, ..GOOD });
}

#[test]
fn a_gauge_that_lags_by_a_second_and_a_half_is_within_limits() {
    within_limits(Gauge { lag_s: 1.5, ..GOOD });
}

#[test]
fn a_gauge_that_lags_by_four_seconds_is_within_limits() {
    within_limits(LAGS);
}

fn known<T>(value: T) -> Known<T> {
    Reading::Present(Found { value, evidence: Reason::new(Code::CurrentStoodStill, &[]) })
}

/// Positive control: the same gauge without what the calibration knows of its lag misses the truth by more than what is
/// allowed, and its interval misses it as well.
#[test]
fn without_waiting_for_the_gauge_to_settle_the_number_is_too_small() {
    for seed in 0..20 {
        let mut bench = Bench::new(LAGS, Pack::default(), seed);
        let calibration = Calibration { lag_s: known(0.0), period_s: known(0.25), ..bench.calibrate() };
        bench.measure(&calibration, 2.0, Limits::default());
        let (mj, (_, high)) = number(&bench.energy(&calibration, seed).net_mj);
        assert!(mj < 0.95 * truth_mj(2.0) && high < truth_mj(2.0), "seed {seed}: {mj} mJ");
    }
}

/// Positive control: without the idle baseline, and with every reading taken for independent.
#[test]
fn the_naive_ways_miss_the_truth() {
    let mut covered = 0;
    for seed in 0..RUNS {
        let (bench, calibration) = measured(Gauge { period_s: 2.0, ..GOOD }, 0.5, seed);
        let (gross, _) = number(&bench.energy(&calibration, seed).gross_mj);
        assert!(gross > 2.0 * truth_mj(0.5), "idle counted as the model's: {gross} mJ");

        let watts = |kind: PhaseKind| -> Vec<f64> {
            let phases = bench.recording.phases.iter().filter(|phase| phase.kind == kind);
            let settled = phases.flat_map(|phase| bench.recording.within(phase).iter().skip(8));
            settled.map(|it| -it.current.unwrap() / 1e6 * it.voltage_v.unwrap()).collect()
        };
        // Mean and its squared standard error.
        let moments = |values: &[f64]| {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n)
        };
        let ((load, of_load), (idle, of_idle)) = (moments(&watts(PhaseKind::Load)), moments(&watts(PhaseKind::Idle)));
        covered += u32::from((load - idle - 0.5).abs() <= 1.96 * (of_load + of_idle).sqrt());
    }
    assert!(covered < 85, "{covered} of {RUNS}: readings were not independent");
}

#[test]
fn a_counter_of_one_percent_alone_ends_below_resolution_with_a_bound_that_holds() {
    for seed in 0..RUNS {
        for net_w in [0.5, 2.0] {
            let (bench, calibration) = measured(ONE_PERCENT, net_w, seed);
            let energy = bench.energy(&calibration, seed);
            let Figure::AtMost(most) = energy.net_mj else { panic!("seed {seed}: {:?}", energy.net_mj) };
            assert!(most >= truth_mj(net_w), "seed {seed}: at most {most} mJ, {} mJ is true", truth_mj(net_w));
            let told = &metrics::of(&energy)[0].value;
            assert!(told.reason().is_some_and(|why| why.starts_with("below resolution: at most")), "{told:?}");
        }
    }
}

#[test]
fn a_counter_of_one_percent_that_is_given_the_night_runs_to_twenty_counts() {
    let night = Limits { longest_phase_s: 7_200.0, longest_s: 43_200.0, most_pairs: 6, ..Limits::default() };
    let mut covered = 0;
    for seed in 0..10 {
        let mut bench = Bench::new(ONE_PERCENT, Pack { charge: 0.85, ..Pack::default() }, seed);
        let calibration = bench.calibrate();
        let why = bench.measure(&calibration, 2.0, night);
        assert!(matches!(why.code(), Some(Code::EndPairs | Code::EndPrecise)), "seed {seed}: {why}");
        let loads = bench.recording.phases.iter().filter(|phase| phase.kind == PhaseKind::Load);
        let fell = |phase: &Phase| match bench.recording.within(phase) {
            [first, .., last] => first.counter.unwrap() - last.counter.unwrap(),
            [] | [_] => panic!("nothing was read"),
        };
        let counts = loads.map(fell).sum::<f64>() / 50_000.0;
        assert!(counts >= 20.0, "{counts} counts");
        let energy = bench.energy(&calibration, seed);
        assert_eq!(energy.grade, Grade::E2);
        let (mj, (low, high)) = number(&energy.net_mj);
        assert!((mj / truth_mj(2.0) - 1.0).abs() < 0.2, "seed {seed}: {mj} mJ");
        covered += u32::from((low..=high).contains(&truth_mj(2.0)));
    }
    assert!(covered >= 9, "{covered} of 10");
}

#[test]
fn a_counter_of_one_mah_alone_gives_a_number_whose_interval_holds_the_truth() {
    let mut covered = 0;
    for seed in 0..RUNS {
        let gauge = Gauge { current: None, counter: Some((Unit::Milli, 1.0)), ..GOOD };
        let (bench, calibration) = measured(gauge, 2.0, seed);
        assert_eq!(calibration.counter_unit_mah.present().map(|it| it.value), Some(1.0), "{calibration:?}");
        let (mj, (low, high)) = number(&bench.energy(&calibration, seed).net_mj);
        assert!((mj / truth_mj(2.0) - 1.0).abs() < 0.1, "seed {seed}: {mj} mJ");
        covered += u32::from((low..=high).contains(&truth_mj(2.0)));
    }
    assert!(covered >= 90, "{covered} of {RUNS}");
}

/// Calibrated in peace, then something feeds the phone.
#[test]
fn a_phone_that_is_fed_never_yields_a_number() {
    let chargers =
        [(Charger::Gives(10.0), 0.7), (Charger::Gives(1.6), 0.7), (Charger::Gives(1.6), 1.0), (Charger::Bypass, 0.7)];
    let mut tried = 0;
    for sign in [SignHabit::DischargeNegative, SignHabit::DischargePositive, SignHabit::AlwaysPositive] {
        for (charger, charge) in chargers {
            for status in [StatusHabit::Honest, StatusHabit::FakedUnplugged, StatusHabit::Silent] {
                for counter in [GOOD.counter, None] {
                    // A faked status, no sign and no counter: nothing is left that could show it. Whoever reads the
                    // status has to see that it is faked.
                    if (status, sign, counter) == (StatusHabit::FakedUnplugged, SignHabit::AlwaysPositive, None) {
                        continue;
                    }
                    let honest = Gauge { sign, counter, ..GOOD };
                    let calibration = Bench::new(honest, Pack::default(), tried).calibrate();
                    let pack = Pack { charge, ..Pack::default() };
                    let mut bench = Bench::new(Gauge { status, ..honest }, pack, tried);
                    bench.phone.plug(Some(charger));
                    bench.phone.run(5.0, 0.0);
                    bench.measure_blindly(2.0);
                    let energy = bench.energy(&calibration, tried);
                    let case = format!("{sign:?} {charger:?} {charge} {status:?} {counter:?}: {}", energy.why);
                    assert_eq!(energy.grade, Grade::E4, "{case}");
                    assert!(metrics::of(&energy).iter().all(|it| it.value.present().is_none()), "{case}");
                    assert!(!matches!(energy.net_w, Figure::AtMost(_)), "{case}");
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 68);
}

/// Positive control: the same phones with nothing plugged in.
#[test]
fn a_phone_that_is_not_fed_yields_a_number_by_the_same_steps() {
    for sign in [SignHabit::DischargeNegative, SignHabit::DischargePositive, SignHabit::AlwaysPositive] {
        for counter in [GOOD.counter, None] {
            let mut bench = Bench::new(Gauge { sign, counter, ..GOOD }, Pack::default(), 1);
            let calibration = bench.calibrate();
            bench.measure_blindly(2.0);
            let (mj, _) = number(&bench.energy(&calibration, 1).net_mj);
            assert!((mj / truth_mj(2.0) - 1.0).abs() < 0.05, "{mj} mJ");
        }
    }
}

#[test]
fn a_charger_that_is_plugged_in_for_a_moment_ends_the_plan_and_the_number() {
    let mut bench = Bench::new(GOOD, Pack::default(), 3);
    let calibration = bench.calibrate();
    bench.measure_blindly(2.0);
    let plan = Plan::of(None, &calibration, Limits::default()).unwrap();
    assert!(bench.energy(&calibration, 3).net_mj.number().is_some());
    bench.phone.plug(Some(Charger::Gives(10.0)));
    bench.phone.run(1.5, 0.0);
    bench.recording.battery.push(bench.phone.read());
    bench.phone.plug(None);
    let Step::End(why) = plan.next(&bench.recording, &calibration) else { panic!("it went on") };
    assert_eq!(why.code(), Some(Code::EndFed));
    assert_eq!(bench.energy(&calibration, 3).why.code(), Some(Code::Fed));
}

/// A calibration of another phone, or of another build of this one.
#[test]
fn a_calibration_that_is_wrong_is_never_believed() {
    for current in [Unit::Milli, Unit::Micro] {
        for sign in [SignHabit::DischargeNegative, SignHabit::DischargePositive] {
            for counter in [GOOD.counter, ONE_PERCENT.counter, None] {
                let gauge = Gauge { current: Some(current), sign, counter, ..GOOD };
                let (bench, right) = measured(gauge, 2.0, 11);
                assert!(bench.energy(&right, 11).net_mj.number().is_some());
                let unit = match current {
                    Unit::Milli => CurrentUnit::Microamps,
                    Unit::Micro => CurrentUnit::Milliamps,
                };
                let turned = match sign {
                    SignHabit::DischargeNegative => Sign::DischargePositive,
                    SignHabit::DischargePositive | SignHabit::AlwaysPositive => Sign::DischargeNegative,
                };
                for (wrong, code) in [
                    (Calibration { unit: known(unit), ..right.clone() }, Code::CurrentImplausible),
                    (Calibration { sign: known(turned), ..right.clone() }, Code::CurrentInto),
                    (Calibration { unit: known(unit), sign: known(turned), ..right.clone() }, Code::CurrentInto),
                ] {
                    let energy = bench.energy(&wrong, 11);
                    assert_eq!((energy.grade, energy.why.code()), (Grade::E4, Some(code)), "{gauge:?}: {}", energy.why);
                }
                // Positive control: the formula alone would have been wrong by the thousand.
                let reading = bench.recording.within(&bench.recording.phases[1])[20];
                let watts = reading.current.unwrap().abs() * unit.milliamps() / 1e3 * reading.voltage_v.unwrap();
                assert!(!(0.03..300.0).contains(&watts), "{watts} W");
            }
        }
    }
}

#[test]
fn a_gauge_that_shows_too_much_is_graded_down_or_refused_as_far_as_the_counter_tells() {
    let with = |gain: f64| {
        let calibration = Bench::new(GOOD, Pack::default(), 5).calibrate();
        let mut bench = Bench::new(Gauge { gain, ..GOOD }, Pack::default(), 5);
        bench.measure(&calibration, 2.0, Limits::default());
        bench.energy(&calibration, 5)
    };
    assert_eq!(with(1.03).grade, Grade::E1, "an error of 3 % of the gauge shows nowhere and is in the number");
    let off = with(1.3);
    assert_eq!((off.grade, off.flags.first().and_then(Reason::code)), (Grade::E2, Some(Code::GaugeDisagrees)));
    assert_eq!(with(2.5).why.code(), Some(Code::CalibrationMistaken));
}

#[test]
fn a_gauge_that_is_stuck_leaves_the_counter_or_nothing() {
    let stuck = Gauge { stuck: true, ..GOOD };
    let calibration = Bench::new(stuck, Pack::default(), 2).calibrate();
    assert!(calibration.sign.present().is_none() && calibration.unit.present().is_none());
    assert!(Plan::of(None, &calibration, Limits::default()).is_ok(), "its counter is a good one");
    let nothing = Bench::new(Gauge { counter: None, ..stuck }, Pack::default(), 2).calibrate();
    assert_eq!(Plan::of(None, &nothing, Limits::default()).unwrap_err().code(), Some(Code::NothingTellsPower));

    // It gets stuck after it was calibrated.
    let good = Bench::new(GOOD, Pack::default(), 2).calibrate();
    let mut bench = Bench::new(stuck, Pack::default(), 2);
    bench.measure_blindly(2.0);
    assert_eq!(bench.energy(&good, 2).why.code(), Some(Code::GaugeConstant));
}

#[test]
fn a_load_too_small_to_be_told_from_idle_is_below_resolution_and_its_bound_holds() {
    let (mut held, mut bounds) = (0, 0);
    for seed in 0..40 {
        let (bench, calibration) = measured(GOOD, 0.02, seed);
        match bench.energy(&calibration, seed).net_mj {
            Figure::AtMost(most) => {
                bounds += 1;
                held += u32::from(most >= truth_mj(0.02));
            }
            Figure::Number(number) => {
                let (low, high) = number.interval.unwrap();
                held += u32::from((low..=high).contains(&truth_mj(0.02)));
            }
            // It seemed to draw less than idle.
            Figure::Absent(why) => assert_eq!(why.code(), Some(Code::LoadBelowIdle)),
        }
    }
    assert!(held >= 36 && bounds >= 36, "{held} of 40 hold, {bounds} are bounds");
}

#[test]
fn a_rail_behind_the_battery_gives_the_best_grade_while_the_phone_charges() {
    for seed in 0..20 {
        let mut bench = Bench::new(GOOD, Pack::default(), seed);
        let nothing = Bench::new(Gauge { current: None, counter: None, ..GOOD }, Pack::default(), seed).calibrate();
        // All that is drawn, as a battery that nothing feeds gives it; what the phone says of its battery is another.
        let drawn = |bench: &Bench| (bench.phone.read().at_s, bench.phone.battery().flow_so_far().joules);
        let mut points = vec![drawn(&bench)];
        for index in 0..13 {
            let (kind, net_w) = if index % 2 == 0 { (PhaseKind::Idle, 0.0) } else { (PhaseKind::Load, 2.0) };
            let start_s = bench.phone.read().at_s;
            for _ in 0..400 {
                bench.phone.run(0.1, net_w * 0.1);
                points.push(drawn(&bench));
            }
            let end_s = bench.phone.read().at_s;
            bench.recording.phases.push(Phase {
                kind,
                start_s,
                end_s,
                inferences: if net_w > 0.0 { 2_000 } else { 0 },
            });
        }
        let mut charging = Bench::new(GOOD, Pack::default(), seed);
        charging.phone.plug(Some(Charger::Gives(10.0)));
        charging.measure_blindly(2.0);
        bench.recording.battery = charging.recording.battery;
        let trace = Trace::Total { points, step: 1e-6 };
        bench.recording.meter = Some(Meter { source: Source::PowerStats, scope: Scope::Rail, period_s: 0.1, trace });
        let energy = bench.energy(&nothing, seed);
        assert_eq!((energy.grade, energy.why.code()), (Grade::E0, Some(Code::GradeMeter)));
        let (mj, _) = number(&energy.net_mj);
        assert!((mj / truth_mj(2.0) - 1.0).abs() < 0.05, "seed {seed}: {mj} mJ");
    }
}

#[test]
fn drain_and_temperature_are_those_of_the_battery() {
    let (bench, calibration) = measured(GOOD, 2.0, 1);
    let energy = bench.energy(&calibration, 1);
    let battery = &bench.recording.battery;
    let volts = battery.iter().map(|it| it.voltage_v.unwrap()).sum::<f64>() / battery.len() as f64;
    // Bursts of 0.3 W for 1 s every 15 s are 0.02 W.
    let ma = 2.92 / volts * 1e3;
    let loads = bench.recording.phases.iter().filter(|phase| phase.kind == PhaseKind::Load);
    let mah = ma * loads.map(Phase::seconds).sum::<f64>() / 3600.0;
    let (drain, _) = number(&energy.drain_mah);
    assert!((drain / mah - 1.0).abs() < 0.04, "{drain} mAh, {mah} mAh are true");
    let (hour, _) = number(&energy.percent_per_hour);
    assert!((hour / (ma / 50.0) - 1.0).abs() < 0.04, "{hour} % an hour");
    let rise = energy.temperature_rise_c.number().unwrap().value;
    assert!((0.5..5.0).contains(&rise), "{rise} K");
}
