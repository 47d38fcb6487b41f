//! What invalidates, and what does not.

use proptest::prelude::*;

use super::*;
use crate::reading::Reading;

/// Ten quiet seconds on one of eight CPUs.
fn quiet() -> Window {
    Window {
        wall_ms: 10_000.0,
        monotonic_ms: 10_000.0,
        own_cpu_ms: 9_950.0,
        foreign_cpu: Some(0.02),
        stolen_cpu: Some(0.0),
        involuntary_switches: Some(60),
        voluntary_switches: Some(12),
        run_queue_wait_ms: Some(20.0),
        worst_wait_ms: Some(20.0),
        busiest_thread_ms: Some(9_970.0),
        foreign_allowed_ms: Some(1_600.0),
        major_faults: Some(0),
        unaccounted: None,
    }
}

fn steady() -> Series {
    let latency_ms: Vec<f64> = (0..900).map(|i| 10.0 + f64::from(i % 7) / 100.0).collect();
    Series { process: 0, start_s: (0..900).map(|i| f64::from(i) / 90.0).collect(), latency_ms, thinned: None }
}

fn conditions<'a>(series: &'a Series, sensors: &'a [SensorTrace]) -> Conditions<'a> {
    Conditions {
        profile: ProfileKind::Quick,
        accelerator: Accelerator::Cpu,
        min_samples: 64,
        series,
        sensors,
        span_ms: Some((1_000.0, 11_000.0)),
        affinity: None,
        threads: 1,
        measures_itself: false,
    }
}

fn reasons(window: &Window) -> Vec<Reason> {
    judge(window, &conditions(&steady(), &[]), &Limits::default())
}

fn reasons_of_sensors(sensors: &[SensorTrace]) -> Vec<Reason> {
    judge(&quiet(), &conditions(&steady(), sensors), &Limits::default())
}

/// A reading a second from the first second on.
fn trace(sensor: &str, unit: &str, values: &[f64]) -> SensorTrace {
    let points = values.iter().enumerate().map(|(i, &value)| (1_000 * (i as u32 + 1), value)).collect();
    SensorTrace { sensor: sensor.to_owned(), unit: unit.to_owned(), points: Reading::Present(points) }
}

#[test]
fn time_that_is_missing_from_a_runners_samples_and_cannot_be_told_makes_them_invalid() {
    let missing = |waited_ms| Window {
        unaccounted: Some(Unaccounted { missing_ms: 512.4, borne_ms: 210.0, waited_ms }),
        ..quiet()
    };
    let told = reasons(&missing(Some(430.0)));
    assert_eq!(
        told.iter().map(Reason::text).collect::<Vec<_>>(),
        [
            "process 0: 512 ms of what the runner ran for lie outside of its samples, 210 ms are borne, and it waited 430 ms \
             for a CPU: whether its times are true cannot be told"
        ]
    );
    assert_eq!(reasons(&missing(None))[0].code(), Some(Code::TimesUnseen));
}

#[test]
fn a_quiet_window_is_valid() {
    assert!(reasons(&quiet()).is_empty());
}

#[test]
fn foreign_cpu_invalidates_above_five_percent() {
    assert!(reasons(&Window { foreign_cpu: Some(0.05), ..quiet() }).is_empty());
    assert_eq!(
        reasons(&Window { foreign_cpu: Some(0.23), ..quiet() }),
        ["process 0: foreign CPU took 23 % of all cores, limit 5.0 %"]
    );
}

#[test]
fn stolen_time_is_foreign_and_named() {
    assert_eq!(
        reasons(&Window { foreign_cpu: Some(0.12), stolen_cpu: Some(0.06), ..quiet() }),
        ["process 0: foreign CPU took 12 % of all cores, 50 % of it taken by the hypervisor, limit 5.0 %"]
    );
}

/// A hog that runs on the child's own core of eight.
fn shared_core() -> Window {
    Window {
        foreign_cpu: Some(0.015),
        own_cpu_ms: 9_200.0,
        run_queue_wait_ms: Some(800.0),
        worst_wait_ms: Some(800.0),
        busiest_thread_ms: Some(10_000.0),
        foreign_allowed_ms: Some(1_200.0),
        ..quiet()
    }
}

#[test]
fn a_hog_on_the_same_core_of_many_is_seen_although_its_share_of_all_is_small() {
    let reason =
        "process 0: the child waited for a CPU during 8.0 % of the time it could have run (800 ms), limit 5.0 %";
    assert_eq!(reasons(&shared_core()), [reason]);
    // An agent that did not tell threads apart.
    let older = Window { worst_wait_ms: None, busiest_thread_ms: None, foreign_allowed_ms: None, ..shared_core() };
    assert_eq!(reasons(&older), [reason]);
}

#[test]
fn one_thread_of_four_that_is_kept_waiting_is_enough() {
    // The three others run freely, but each inference ends with the slowest.
    let window = Window { own_cpu_ms: 39_000.0, ..shared_core() };
    let series = steady();
    let four = Conditions { threads: 4, affinity: Some(&[0, 1, 2, 3]), ..conditions(&series, &[]) };
    assert_eq!(judge(&window, &four, &Limits::default()).len(), 1);
}

/// As measured: four threads of an engine on two CPUs, with hardly anything else on the device.
fn crowded(foreign_ms: f64) -> Window {
    Window {
        own_cpu_ms: 19_400.0,
        foreign_cpu: Some(foreign_ms / 20_000.0),
        involuntary_switches: Some(3_500_000),
        run_queue_wait_ms: Some(15_000.0),
        worst_wait_ms: Some(5_773.0),
        busiest_thread_ms: Some(10_000.0),
        foreign_allowed_ms: Some(foreign_ms),
        ..quiet()
    }
}

#[test]
fn threads_that_wait_for_each_other_are_no_interference_and_a_hog_among_them_is() {
    let series = steady();
    let judged = |window: &Window, affinity| {
        let conditions = Conditions { threads: 4, affinity, ..conditions(&series, &[]) };
        judge(window, &conditions, &Limits::default())
    };
    assert_eq!(judged(&crowded(800.0), Some(&[0, 1])), Vec::<Reason>::new());
    // The hog has a core of eight to itself until it comes to these two.
    let hog = Window { foreign_cpu: Some(0.04), ..crowded(3_200.0) };
    assert_eq!(
        judged(&hog, Some(&[0, 1])),
        ["process 0: others took 16 % of the 2 CPUs that 4 threads share, limit 5.0 %"]
    );
    // Where it is not known what others did, or where the child may run, waiting stands as it is.
    let unknown = Window { foreign_allowed_ms: None, ..crowded(800.0) };
    assert_eq!(judged(&unknown, Some(&[0, 1])).len(), 1);
}

#[test]
fn threads_cannot_have_been_kept_waiting_by_others_for_longer_than_those_ran() {
    // As measured: two threads and their caller on two CPUs of an otherwise idle device.
    let window = Window {
        own_cpu_ms: 13_200.0,
        foreign_cpu: Some(0.01),
        involuntary_switches: Some(3_000_000),
        run_queue_wait_ms: Some(7_900.0),
        worst_wait_ms: Some(3_050.0),
        busiest_thread_ms: Some(8_280.0),
        foreign_allowed_ms: Some(200.0),
        ..quiet()
    };
    let series = steady();
    let two = Conditions { threads: 2, affinity: Some(&[0, 1]), ..conditions(&series, &[]) };
    assert_eq!(judge(&window, &two, &Limits::default()), Vec::<Reason>::new());
    let hog = Window { foreign_allowed_ms: Some(900.0), ..window };
    assert_eq!(judge(&hog, &two, &Limits::default()).len(), 1);
}

#[test]
fn being_switched_out_counts_only_where_waiting_is_not_known() {
    let busy = Window { involuntary_switches: Some(2_000), ..quiet() };
    assert!(reasons(&busy).is_empty(), "switched out often but hardly kept waiting");
    assert_eq!(
        reasons(&Window { run_queue_wait_ms: None, ..busy }),
        ["process 0: the child was taken off its CPU 201 times a second (2000 times), limit 50"]
    );
}

#[test]
fn a_child_that_stood_still_is_seen_whatever_held_it() {
    let halted = Window { own_cpu_ms: 6_000.0, ..quiet() };
    assert_eq!(
        reasons(&halted),
        ["process 0: the child ran during 60 % of its window, at least 90 % is normal for a model on the CPU"]
    );
    let series = steady();
    for (profile, accelerator) in [(ProfileKind::Paced, Accelerator::Cpu), (ProfileKind::Quick, Accelerator::Gpu)] {
        let waits_by_design = Conditions { profile, accelerator, ..conditions(&series, &[]) };
        assert!(judge(&halted, &waits_by_design, &Limits::default()).is_empty());
    }
}

#[test]
fn a_sleeping_device_invalidates() {
    assert_eq!(
        reasons(&Window { wall_ms: 12_500.0, ..quiet() }),
        ["process 0: the device slept for 2500 ms of the window"]
    );
}

#[test]
fn reading_pages_from_disk_invalidates() {
    assert!(reasons(&Window { major_faults: Some(9), ..quiet() }).is_empty());
    assert_eq!(
        reasons(&Window { major_faults: Some(200), ..quiet() }),
        ["process 0: 200 page faults were served from disk, limit 9: memory is short"]
    );
}

#[test]
fn too_few_samples_invalidate() {
    let series = Series { process: 2, latency_ms: vec![1.0; 63], start_s: vec![0.0; 63], thinned: None };
    let reasons = judge(&quiet(), &conditions(&series, &[]), &Limits::default());
    assert_eq!(reasons, ["process 2: 63 samples, the profile asks for at least 64"]);
}

/// What a suite may lower ends where nothing can be told any more.
#[test]
fn a_measurement_too_short_to_show_what_else_ran_is_invalid_whatever_the_suite_asks_for() {
    let judged = |samples: usize, window: &Window| {
        let start_s = (0..samples).map(|i| i as f64 / 1e3).collect();
        let series = Series { process: 0, latency_ms: vec![1.0; samples], start_s, thinned: None };
        judge(window, &Conditions { min_samples: 1, ..conditions(&series, &[]) }, &Limits::default())
    };
    // As a child reports it: less than a tick, so there is no share of foreign CPU, beside a hog.
    let window = |length_ms: f64, foreign_cpu: Option<f64>| Window {
        wall_ms: length_ms,
        monotonic_ms: length_ms,
        own_cpu_ms: length_ms,
        foreign_cpu,
        run_queue_wait_ms: Some(0.0),
        worst_wait_ms: Some(0.0),
        busiest_thread_ms: Some(length_ms),
        foreign_allowed_ms: Some(0.0),
        ..quiet()
    };
    assert_eq!(
        judged(3, &window(3.0, None)),
        [
            "process 0: 3 samples, at least 6 are needed whatever the profile asks for",
            "process 0: measuring took 3 ms, and what else ran on the device shows from 200 ms on",
        ]
    );
    let codes =
        |samples, window: &Window| -> Vec<Code> { judged(samples, window).iter().filter_map(Reason::code).collect() };
    assert_eq!(codes(6, &window(199.0, Some(0.0))), [Code::WindowTooShort]);
    assert_eq!(codes(5, &window(200.0, Some(0.0))), [Code::TooFewForAny]);
    assert_eq!(codes(6, &window(200.0, Some(0.0))), [], "the control: small, and enough");
    // One tick of 10 ms of one CPU is within the limit of foreign CPU, two are not.
    assert_eq!(codes(6, &window(200.0, Some(10.0 / LEAST_WINDOW_MS))), []);
    assert_eq!(codes(6, &window(200.0, Some(20.0 / LEAST_WINDOW_MS))), [Code::ForeignCpu]);
    assert!(stats::median_interval(&[1.0; LEAST_INFERENCES as usize]).is_some(), "and five have none");
    assert!(stats::median_interval(&[1.0; LEAST_INFERENCES as usize - 1]).is_none());
}

#[test]
fn missing_evidence_does_not_invalidate_but_having_none_does() {
    assert!(reasons(&Window { foreign_cpu: None, stolen_cpu: None, major_faults: None, ..quiet() }).is_empty());
    let blind = Window { foreign_cpu: None, run_queue_wait_ms: None, involuntary_switches: None, ..quiet() };
    assert_eq!(reasons(&blind), ["process 0: nothing is known of what else ran on the device"]);
}

#[test]
fn a_drift_within_the_window_invalidates_unless_it_is_what_was_looked_for() {
    let mut series = steady();
    for latency in &mut series.latency_ms[500..] {
        *latency *= 1.2;
    }
    let quick = conditions(&series, &[]);
    assert_eq!(
        judge(&quiet(), &quick, &Limits::default()),
        [
            "process 0: the last third of the samples was 20 % slower than the first (12.0360 against 10.0300 ms), limit 5.0 %"
        ]
    );
    let sustained = Conditions { profile: ProfileKind::Sustained, ..quick };
    assert!(judge(&quiet(), &sustained, &Limits::default()).is_empty());
}

#[test]
fn a_falling_clock_invalidates() {
    let falling =
        trace("cpu0/frequency", "MHz", &[2400.0, 2400.0, 2400.0, 2100.0, 1900.0, 1800.0, 1800.0, 1800.0, 1800.0]);
    assert_eq!(
        reasons_of_sensors(std::slice::from_ref(&falling)),
        ["process 0: the clock went from 2400 to 1800 MHz (-25 %), limit ±10 %"]
    );
}

#[test]
fn idle_cores_may_clock_down() {
    let busy = trace("cpu0/frequency", "MHz", &[2400.0; 9]);
    let idle = trace("cpu1/frequency", "MHz", &[2400.0, 2400.0, 2400.0, 800.0, 800.0, 800.0, 800.0, 800.0, 800.0]);
    assert!(reasons_of_sensors(&[busy.clone(), idle.clone()]).is_empty());

    let series = steady();
    let sensors = [busy, idle];
    let pinned = |cpus| {
        let conditions = Conditions { affinity: Some(cpus), ..conditions(&series, &sensors) };
        judge(&quiet(), &conditions, &Limits::default()).len()
    };
    assert_eq!(pinned(&[0]), 0);
    assert_eq!(pinned(&[1]), 1, "the only CPU that it may use is the slow one");
    assert_eq!(pinned(&[3]), 1, "CPU 3 has no clock of its own and belongs to the domain of CPU 1");
}

#[test]
fn readings_outside_the_window_do_not_count() {
    let mut hot_before = trace("thermal/soc-2", "°C", &[60.0; 9]);
    hot_before.points = Reading::Present(vec![(500, 110.0), (5_000, 60.0), (12_000, 110.0)]);
    assert!(reasons_of_sensors(&[hot_before]).is_empty());
}

#[test]
fn heat_invalidates() {
    let sensors = [
        trace("thermal/acpitz-0", "°C", &[40.0, 41.0]),
        trace("thermal/x86_pkg_temp-1", "°C", &[90.0, 98.5]),
        trace("battery/temperature", "°C", &[44.0, 46.2]),
        trace("thermal/fault-3", "°C", &[f64::NAN]),
    ];
    assert_eq!(
        reasons_of_sensors(&sensors),
        [
            "process 0: thermal/x86_pkg_temp-1 reached 98.5 °C, limit 95.0 °C",
            "process 0: battery/temperature reached 46.2 °C, limit 45.0 °C",
        ]
    );
}

#[test]
fn what_the_device_says_of_throttling_counts() {
    let sensors = [
        trace("cooling/thermal-cpufreq-0-4", "1", &[0.0, 0.25]),
        trace("cooling/Fan-0", "1", &[5.0]),
        trace("cpu4/frequency_max", "MHz", &[2800.0, 2800.0, 2000.0]),
    ];
    assert_eq!(
        reasons_of_sensors(&sensors),
        [
            "process 0: cooling/thermal-cpufreq-0-4 was throttling (state 25 %)",
            "process 0: cpu4/frequency_max was lowered from 2800 to 2000 MHz",
        ]
    );
}

/// Readings at moments in ms; the window of these tests lasts from 1 s to 11 s.
fn at(sensor: &str, points: &[(u32, f64)]) -> SensorTrace {
    SensorTrace { sensor: sensor.to_owned(), unit: "1".to_owned(), points: Reading::Present(points.to_vec()) }
}

#[test]
fn what_the_system_says_of_its_heat_before_and_after_the_window_counts_for_it() {
    let status =
        |before, after| at("android/thermal_status", &[(0, 5.0), (600, before), (12_000, after), (20_000, 6.0)]);
    let said = "process 0: the system's thermal status was 3 of 6; from 2 on it holds clocks back";
    assert_eq!(reasons_of_sensors(&[status(3.0, 0.0)]), [said]);
    assert_eq!(reasons_of_sensors(&[status(0.0, 3.0)]), [said]);
    assert!(reasons_of_sensors(&[status(0.0, 1.0)]).is_empty(), "of the others, a nearer one knows better");
}

#[test]
fn a_screen_that_is_switched_and_a_battery_saver_invalidate() {
    let screen = |before, after| at("android/screen", &[(600, before), (12_000, after)]);
    let switched = "process 0: the screen was switched on or off while it was measured";
    assert_eq!(reasons_of_sensors(&[screen(1.0, 0.0)]), [switched]);
    assert_eq!(reasons_of_sensors(&[screen(0.0, 1.0)]), [switched]);
    assert!(reasons_of_sensors(&[screen(0.0, 0.0)]).is_empty(), "it was off all the time");
    let saver = |value| at("android/battery_saver", &[(600, value)]);
    let saving = "process 0: the battery saver was on, which holds clocks back";
    assert_eq!(reasons_of_sensors(&[saver(1.0)]), [saving]);
    assert!(reasons_of_sensors(&[saver(0.0)]).is_empty());
}

#[test]
fn a_screen_that_is_another_in_one_phase_than_in_the_next_spoils_what_the_device_drew() {
    let judged = |sensors: &[SensorTrace]| {
        let reasons = judge_energy(Some(&quiet()), sensors, Some((1_000.0, 11_000.0)), &Limits::default());
        reasons.into_iter().map(|reason| reason.text().to_owned()).collect::<Vec<_>>()
    };
    let steady = |sensor: &str, value| at(sensor, &[(600, value), (4_000, value), (12_000, value)]);
    let (on, off) = (steady("android/screen", 1.0), steady("android/screen", 0.0));
    let by_hand = steady("android/brightness_automatic", 0.0);
    let bright = |later| at("android/brightness", &[(600, 102.0), (4_000, 102.0), (8_000, later)]);
    assert!(judged(&[on.clone(), bright(102.0), by_hand.clone()]).is_empty(), "the control");
    let changed = "the brightness of the screen went from 102 to 180 while the device's power was measured";
    assert_eq!(judged(&[on.clone(), bright(180.0), by_hand.clone()]), [changed]);
    assert_eq!(judged(&[bright(180.0)]), [changed], "nobody tells whether it is on");
    assert!(judged(&[off.clone(), bright(180.0)]).is_empty(), "a screen that is off is not bright");
    let follows = "the screen was on and its brightness follows the light: set it by hand";
    assert_eq!(judged(&[on, bright(102.0), steady("android/brightness_automatic", 1.0)]), [follows]);
    let switched = at("android/screen", &[(600, 1.0), (4_000, 0.0), (8_000, 1.0)]);
    assert_eq!(judged(&[switched]), ["the screen was switched on or off while it was measured"]);
    let saving = steady("android/battery_saver", 1.0);
    assert_eq!(judged(&[off, saving]), ["the battery saver was on, which holds clocks back"]);
    assert!(judged(&[at("android/screen", &[(12_000, 1.0), (13_000, 0.0)])]).is_empty(), "after it was over");
}

#[test]
fn a_device_that_does_a_little_by_itself_draws_it_in_idle_as_well() {
    let judged = |foreign_cpu| {
        let window = Window { foreign_cpu: Some(foreign_cpu), ..quiet() };
        judge_energy(Some(&window), &[], None, &Limits::default()).len()
    };
    assert_eq!([0.05, 0.09, 0.11].map(judged), [0, 0, 1]);
}

#[test]
fn a_clock_that_was_limited_before_the_window_began_is_limited_in_all_of_it() {
    let limit = |points: &[(u32, f64)]| SensorTrace {
        points: Reading::Present(points.to_vec()),
        ..trace("cpu0/frequency_max", "MHz", &[])
    };
    let lowered = limit(&[(100, 2800.0), (1_500, 2000.0), (9_000, 2000.0)]);
    assert_eq!(reasons_of_sensors(&[lowered]), ["process 0: cpu0/frequency_max was lowered from 2800 to 2000 MHz"],);
    let after = limit(&[(100, 2800.0), (9_000, 2800.0), (12_000, 2000.0)]);
    let raised = limit(&[(100, 2000.0), (1_500, 2800.0), (12_000, 3000.0)]);
    assert!(reasons_of_sensors(&[after, raised]).is_empty());
}

proptest! {
    #[test]
    fn more_time_of_others_on_the_same_cpus_never_makes_a_window_valid(
        foreign in 0.0_f64..5_000.0,
        more in 0.0_f64..5_000.0,
        threads in 1_u16..4,
    ) {
        let series = steady();
        let conditions = Conditions { threads, affinity: Some(&[0, 1]), ..conditions(&series, &[]) };
        let count = |foreign| judge(&Window { foreign_cpu: None, ..crowded(foreign) }, &conditions, &Limits::default()).len();
        prop_assert!(count(foreign + more) >= count(foreign));
    }

    #[test]
    fn more_foreign_load_never_makes_a_window_valid(share in 0.0_f64..1.0, more in 0.0_f64..1.0) {
        let less = reasons(&Window { foreign_cpu: Some(share), ..quiet() });
        let worse = reasons(&Window { foreign_cpu: Some(share + more), ..quiet() });
        prop_assert!(worse.len() >= less.len());
    }

    #[test]
    fn a_window_of_zeros_is_judged_without_nonsense(own in 0.0_f64..10.0, wait in prop::option::of(0.0_f64..10.0)) {
        let window = Window {
            own_cpu_ms: own,
            run_queue_wait_ms: wait,
            worst_wait_ms: wait,
            busiest_thread_ms: wait.map(|_| 0.0),
            foreign_allowed_ms: wait,
            involuntary_switches: Some(0),
            ..Window::default()
        };
        prop_assert!(reasons(&window).iter().all(|reason| !reason.contains("NaN")));
    }
}
