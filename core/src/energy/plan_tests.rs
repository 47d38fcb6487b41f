use proptest::prelude::*;

use super::*;
use crate::energy::signal::Trace;
use crate::energy::source::{ChargingState, Source};
use crate::energy::testing::{Made, known};

fn plan(calibration: &Calibration) -> Plan {
    Plan::of(None, calibration, Limits::default()).unwrap()
}

/// The first `phases` of a recording.
fn after(recording: &Recording, phases: usize) -> Recording {
    let phases = recording.phases[..phases].to_vec();
    let until = phases.last().map_or(0.0, |phase| phase.end_s);
    let battery = recording.battery.iter().copied().filter(|reading| reading.at_s <= until).collect();
    Recording { phases, battery, meter: None }
}

fn code(step: Step) -> Option<Code> {
    match step {
        Step::End(why) => why.code(),
        Step::Run(_) => None,
    }
}

#[test]
fn idle_and_load_take_turns_and_it_ends_when_the_number_is_precise() {
    let made = Made { pairs: 12, ..Made::default() };
    let (recording, calibration) = (made.recording(), made.calibration());
    let plan = plan(&calibration);
    for phases in 0..13 {
        let Step::Run(block) = plan.next(&after(&recording, phases), &calibration) else { panic!("ended at {phases}") };
        let kind = if phases % 2 == 0 { PhaseKind::Idle } else { PhaseKind::Load };
        assert_eq!((block.kind, block.least_mah), (kind, None));
    }
    assert_eq!(code(plan.next(&after(&recording, 13), &calibration)), Some(Code::EndPrecise), "without noise six do");
}

#[test]
fn pairs_that_differ_are_followed_by_more_up_to_the_most() {
    let wobble_w: Vec<f64> = (0..25).map(|index| if index % 4 == 1 { 0.5 } else { 0.0 }).collect();
    let made = Made { pairs: 12, wobble_w, ..Made::default() };
    let (recording, calibration) = (made.recording(), made.calibration());
    let plan = plan(&calibration);
    assert_eq!(code(plan.next(&after(&recording, 13), &calibration)), None);
    assert_eq!(code(plan.next(&recording, &calibration)), Some(Code::EndPairs));
}

#[test]
fn a_phase_is_as_long_as_the_gauge_needs() {
    let length = |period: f64, lag: f64| {
        let calibration = Calibration { period_s: known(period), lag_s: known(lag), ..Made::default().calibration() };
        plan(&calibration).timing
    };
    assert_eq!(length(0.25, 0.0), Timing { settle_s: 0.5, phase_s: 30.5, poll_s: 0.125 });
    assert_eq!(length(5.0, 0.0), Timing { settle_s: 10.0, phase_s: 60.0, poll_s: 2.5 });
    assert_eq!(length(1.0, 4.0), Timing { settle_s: 20.0, phase_s: 50.0, poll_s: 0.5 });
    assert_eq!(length(0.01, 0.0).poll_s, 0.1, "polling costs power: ten times a second at most");
}

#[test]
fn a_counter_alone_runs_until_it_has_moved_enough_or_the_longest_phase_is_over() {
    let made = Made { counter_step_mah: Some(0.5), ..Made::default() };
    let calibration = made.counter_only();
    let plan = plan(&calibration);
    assert_eq!(plan.route, Route::Counter);
    let Step::Run(block) = plan.next(&after(&made.recording(), 1), &calibration) else { panic!() };
    let counts = block.least_mah.unwrap() / 0.5;
    assert!((counts - 4.0).abs() < 1e-6, "four counts in each of six phases are twenty: {counts}");
    let least = block.least_s;
    assert!(!block.is_over(least, None) && !block.is_over(least, Some(1.9)) && !block.is_over(least - 1.0, Some(2.1)));
    assert!(block.is_over(least, Some(2.1)) && block.is_over(block.most_s, None));
    assert_eq!(block.most_s, 600.0);
}

#[test]
fn a_phase_holds_as_many_updates_as_the_suite_asks_for() {
    let calibration = Calibration { period_s: known(2.0), lag_s: known(0.0), ..Made::default().calibration() };
    let length = |least_updates| {
        let limits = Limits { shortest_phase_s: 6.0, least_updates, ..Limits::default() };
        Plan::of(None, &calibration, limits).unwrap().timing.phase_s
    };
    assert_eq!([10, 5, 2].map(length), [24.0, 14.0, 10.0], "and never less than its seconds");
}

#[test]
fn a_counter_that_hardly_moves_leaves_time_for_one_pair_whatever_it_is_given() {
    let made = Made { counter_step_mah: Some(50.0), ..Made::default() };
    let calibration = made.counter_only();
    for longest_s in [400.0, 825.0] {
        let plan = Plan::of(None, &calibration, Limits { longest_s, ..Limits::default() }).unwrap();
        let mut seen = Recording::default();
        while let Step::Run(block) = plan.next(&seen, &calibration) {
            let start_s = seen.seconds();
            let phase =
                crate::energy::Phase { kind: block.kind, start_s, end_s: start_s + block.most_s, inferences: 1 };
            seen.phases.push(phase);
        }
        assert_eq!(seen.phases.len(), 3, "{longest_s} s: {:?}", seen.phases);
    }
}

#[test]
fn it_ends_for_a_charger_a_low_battery_or_the_time() {
    let made = Made::default();
    let calibration = made.calibration();
    let plan = plan(&calibration);
    let seen = after(&made.recording(), 5);
    let with = |change: fn(&mut Recording)| {
        let mut seen = seen.clone();
        change(&mut seen);
        code(plan.next(&seen, &calibration))
    };
    assert_eq!(with(|_| ()), None);
    assert_eq!(with(|it| it.battery[3].charging = Some(ChargingState::Charging)), Some(Code::EndFed));
    assert_eq!(with(|it| it.battery.last_mut().unwrap().level_percent = Some(20.0)), Some(Code::EndLevel));
    let short = Plan { limits: Limits { longest_s: 220.0, ..plan.limits }, ..plan };
    assert_eq!(code(short.next(&seen, &calibration)), Some(Code::EndLongest), "a load needs the idle after it");
}

#[test]
fn without_anything_that_tells_power_there_is_no_plan() {
    let nothing = Calibration::none("build", &Reason::new(Code::NoCurrentInTrace, &[]));
    let why = Plan::of(None, &nothing, Limits::default()).unwrap_err();
    assert_eq!(why.code(), Some(Code::NothingTellsPower));
    let trace = Trace::Rate { points: Vec::new(), step: 0.01 };
    let meter = Meter { source: Source::Hwmon, scope: Scope::Input, period_s: 0.1, trace };
    let plan = Plan::of(Some(&meter), &nothing, Limits::default()).unwrap();
    assert_eq!((plan.route, plan.timing.phase_s), (Route::Meter, 30.2));
}

proptest! {
    #[test]
    fn every_plan_ends_within_its_bounds(
        period in 0.05_f64..10.0, lag in 0.0_f64..6.0, longest_s in 10.0_f64..4000.0, pairs in 1_usize..40, stubborn: bool,
    ) {
        let made = Made::default();
        let calibration = Calibration { period_s: known(period), lag_s: known(lag), ..made.counter_only() };
        let limits = Limits { longest_s, most_pairs: pairs, ..Limits::default() };
        let plan = Plan::of(None, &calibration, limits).unwrap();
        let mut seen = Recording::default();
        let mut steps = 0;
        while let Step::Run(block) = plan.next(&seen, &calibration) {
            prop_assert!(block.least_s <= block.most_s);
            let start_s = seen.seconds();
            // A counter that never falls makes every phase as long as it may be.
            let end_s = start_s + if stubborn { block.most_s } else { block.least_s };
            seen.phases.push(crate::energy::Phase { kind: block.kind, start_s, end_s, inferences: 1 });
            steps += 1;
            prop_assert!(steps <= 2 * MOST_PAIRS + 1);
        }
        prop_assert!(seen.seconds() <= longest_s + 1e-6);
    }
}
