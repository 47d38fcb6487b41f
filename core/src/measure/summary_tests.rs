//! What a report comes to, from end to end.

use super::*;
use crate::dataset::scorer;
use crate::evidence::Evidence;
use crate::measure::testing::{block, process, report, spec};
use crate::metric::REGISTRY;
use crate::model::{Manifest, Precision};
use crate::report::{GoldenRecord, Memory, StageRecord, Thinned};
use crate::runtimes::{Engine, RuntimePackage};

fn names(summary: &Summary) -> Vec<&str> {
    summary.metrics.iter().map(|metric| metric.name.as_str()).collect()
}

fn estimate(summary: &Summary, name: &str) -> Option<Estimate> {
    find(summary, name).value.present().copied()
}

fn value(summary: &Summary, name: &str) -> Option<f64> {
    // To the ninth digit: sums of decimal fractions are not exact in binary.
    estimate(summary, name).map(|estimate| (estimate.value * 1e9).round() / 1e9)
}

fn reason(summary: &Summary, name: &str) -> Option<String> {
    find(summary, name).value.reason().map(str::to_owned)
}

fn find<'a>(summary: &'a Summary, name: &str) -> &'a Metric {
    summary.metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is not there"))
}

/// Quick run: 128 samples of 10 ms and a bit, one every 11 ms.
fn quick_report() -> Report {
    let latencies: Vec<i64> = (0..128).map(|i| 10_000_000 + i % 8 * 1_000).collect();
    let starts: Vec<i64> = (0..128).map(|i| i * 11_000).collect();
    let blocks = vec![block(BlockKind::LatencyNs, 0, &latencies), block(BlockKind::StartUs, 0, &starts)];
    Report { processes: vec![process(0, 80.0)], blocks, ..report() }
}

fn comparison() -> Comparison {
    Comparison {
        examples: 4,
        elements: 40,
        max_abs: 0.002,
        mean_abs: 0.001,
        cosine: Some(0.9999),
        sqnr_db: Some(60.0),
        argmax_agree: 4,
        nan_count: 0,
        inf_count: 0,
    }
}

fn golden_report(comparisons: &[Comparison]) -> Report {
    let golden = comparisons.iter().enumerate().map(|(index, &comparison)| GoldenRecord {
        output: format!("output_{index}"),
        comparison,
        standard: golden::Standard::default(),
        kept: None,
    });
    Report { golden: golden.collect(), ..report() }
}

#[test]
fn the_output_whose_classes_must_agree_is_known_by_what_the_engine_found_where_nobody_claimed_a_signature() {
    let mut spec = spec(ProfileKind::AccuracyOnly, Some(Task::Classification), 1);
    let claimed = std::mem::take(&mut spec.model.signature);
    let found = |name: &str| {
        let mut signature = claimed.clone();
        signature.outputs[0].name = name.to_owned();
        Some(signature)
    };
    let mut report = golden_report(&[Comparison { argmax_agree: 2, ..comparison() }]);
    report.actual.signature = found("output_0");
    assert_eq!(summarise(&spec, &report).outcome, Outcome::NumericsFail);
    report.actual.signature = found("another");
    assert_eq!(summarise(&spec, &report).outcome, Outcome::Ok, "the control: the task reads another output");
}

#[test]
fn a_quick_run_has_every_metric_that_applies_and_no_other() {
    let summary = summarise(&spec(ProfileKind::Quick, None, 1), &quick_report());
    assert_eq!(
        names(&summary),
        [
            "load_cold_ms",
            "load_warm_ms",
            "compile_ms",
            "first_infer_ms",
            "warmup_iterations",
            "lat_p50_ms",
            "lat_mean_ms",
            "lat_min_ms",
            "lat_max_ms",
            "lat_p90_ms",
            "lat_p95_ms",
            "lat_p99_ms",
            "lat_sd_ms",
            "lat_tm80_ms",
            "lat_mad_ms",
            "lat_rcv",
            "lat_p90_es_ms",
            "lat_p95_es_ms",
            "lat_p99_es_ms",
            "lat_samples",
            "throughput_sps",
            "temp_rise_c",
            "mem_base_mb",
            "mem_peak_rss_mb",
            "mem_pss_mb",
            "mem_model_mb",
            "mem_retained_mb",
            "determinism",
            "model_size_mb",
        ]
    );
    assert_eq!(summary.invalid, Vec::<Reason>::new());
    assert_eq!(summary.outcome, Outcome::Ok);
    assert_eq!(value(&summary, "lat_p50_ms"), Some(10.0035));
    assert_eq!(value(&summary, "lat_samples"), Some(128.0));
    assert_eq!(value(&summary, "load_cold_ms"), Some(80.0));
    assert_eq!(value(&summary, "model_size_mb"), Some(1.5));
}

#[test]
fn every_metric_that_any_profile_gives_is_registered_once_with_its_unit() {
    use ProfileKind::{AccuracyOnly, Energy, Full, Paced, Quick, Sustained};
    let mut seen = std::collections::BTreeSet::new();
    for kind in [Quick, Full, Sustained, Paced, AccuracyOnly, Energy] {
        for task in std::iter::once(None).chain(Task::ALL.map(Some)) {
            for report in [report(), quick_report(), golden_report(&[comparison()])] {
                let summary = summarise(&spec(kind, task, 1), &report);
                let mut names = names(&summary);
                let registered = names.iter().filter(|name| !name.starts_with(scorer::PREFIX));
                seen.extend(registered.map(|&name| name.to_owned()));
                for metric in summary.metrics.iter().filter(|metric| !metric.name.starts_with(scorer::PREFIX)) {
                    let kind =
                        crate::metric::kind(&metric.name).unwrap_or_else(|| panic!("{} is unknown", metric.name));
                    assert_eq!(metric.unit, kind.unit);
                }
                names.dedup();
                assert_eq!(names.len(), summary.metrics.len(), "a metric is there twice");
            }
        }
    }
    assert_eq!(seen.len(), REGISTRY.len(), "a metric of the registry is given by no profile");
}

#[test]
fn what_was_not_measured_says_why_and_is_never_zero() {
    let failed = Report { outcome: Outcome::LoadFail, failed_stage: Some(Stage::Load), ..report() };
    let summary = summarise(&spec(ProfileKind::Full, Some(Task::Classification), 1), &failed);
    let absent = Some("the attempt ended as load_fail at load".to_owned());
    for name in ["load_cold_ms", "load_warm_ms", "first_infer_ms", "lat_p50_ms", "throughput_sps", "top1"] {
        assert_eq!(reason(&summary, name), absent, "{name}");
    }
    assert_eq!(reason(&summary, "determinism").as_deref(), Some("not repeated"));
    assert_eq!(reason(&summary, "mem_peak_rss_mb").as_deref(), Some("no memory pass"));
    assert_eq!(reason(&summary, "lat_between_cv").as_deref(), Some("0 process with samples, at least 2 are needed"));
    assert_eq!(summary.outcome, Outcome::LoadFail);
    assert!(summary.invalid.is_empty(), "what was never measured cannot be invalid");
}

#[test]
fn the_first_process_loads_cold_and_the_later_ones_warm() {
    let report = Report { processes: vec![process(0, 90.0), process(1, 20.0), process(2, 30.0)], ..report() };
    let summary = summarise(&spec(ProfileKind::Full, None, 1), &report);
    assert_eq!(value(&summary, "load_cold_ms"), Some(90.0));
    assert_eq!(value(&summary, "load_warm_ms"), Some(25.0));
    assert_eq!(value(&summary, "first_infer_ms"), Some(3.0));
    let quick = summarise(&spec(ProfileKind::Quick, None, 1), &quick_report());
    assert_eq!(reason(&quick, "load_warm_ms").as_deref(), Some("the profile runs one process, which loads cold"));
}

#[test]
fn processes_of_the_memory_and_accuracy_passes_are_timed_for_nothing_but_their_warm_loads() {
    let later = |index, role, load_ms| ProcessRecord { role, window: None, ..process(index, load_ms) };
    let mut report = quick_report();
    report.processes.push(later(1, ProcessRole::Memory, 30.0));
    report.processes.push(later(2, ProcessRole::Accuracy, 20.0));
    let quick = spec(ProfileKind::Quick, None, 1);
    let summary = summarise(&quick, &report);
    assert_eq!((value(&summary, "load_cold_ms"), value(&summary, "load_warm_ms")), (Some(80.0), Some(25.0)));
    assert_eq!(value(&summary, "first_infer_ms"), Some(8.0), "of the latency process alone");
    assert!(summary.invalid.is_empty());
    // One that loads under a profiler is no load like the others.
    report.processes.push(later(3, ProcessRole::Operators, 500.0));
    assert_eq!(value(&summarise(&quick, &report), "load_warm_ms"), Some(25.0));
    report.processes.retain(|process| matches!(process.role, ProcessRole::Latency | ProcessRole::Operators));
    assert_eq!(reason(&summarise(&quick, &report), "load_warm_ms").as_deref(), Some(Code::LoadsColdOnly.template()));
}

#[test]
fn interference_makes_the_numbers_invalid_and_leaves_them_visible() {
    let mut report = quick_report();
    if let Some(window) = &mut report.processes[0].window {
        window.foreign_cpu = Some(0.4);
    }
    let summary = summarise(&spec(ProfileKind::Quick, None, 1), &report);
    assert_eq!(summary.invalid, ["process 0: foreign CPU took 40 % of all cores, limit 5.0 %"]);
    assert_eq!(value(&summary, "lat_p50_ms"), Some(10.0035));
    assert_eq!(summary.outcome, Outcome::Ok);
}

#[test]
fn samples_without_their_window_are_invalid() {
    let mut report = quick_report();
    report.processes[0].window = None;
    let summary = summarise(&spec(ProfileKind::Quick, None, 1), &report);
    assert_eq!(summary.invalid, ["process 0: nothing is known of its measure window"]);
    report.processes.clear();
    let summary = summarise(&spec(ProfileKind::Quick, None, 1), &report);
    assert_eq!(summary.invalid, ["process 0: it has samples, but the report does not list it"]);
}

#[test]
fn a_full_run_with_fewer_processes_than_asked_is_invalid() {
    let summary = summarise(&spec(ProfileKind::Full, None, 1), &quick_report());
    assert!(summary.invalid.iter().any(|reason| *reason == "1 of 3 processes have samples"), "{:?}", summary.invalid);
}

#[test]
fn what_a_report_had_to_leave_out_makes_it_invalid() {
    let quick = spec(ProfileKind::Quick, None, 1);
    let mut report = quick_report();
    report.blocks.retain(|block| block.metric != BlockKind::StartUs);
    assert_eq!(summarise(&quick, &report).invalid, ["process 0: it is not known when its samples began"]);

    let trace = |sensor: &str, points| SensorTrace { sensor: sensor.to_owned(), unit: "°C".to_owned(), points };
    let report = Report {
        sensors: vec![
            trace("thermal/a", Reading::absent(Code::TraceDropped.template())),
            trace("thermal/b", Reading::absent("denied by the kernel")),
        ],
        ..quick_report()
    };
    let dropped = "1 traces of sensors did not fit into the report, so throttling would not show";
    assert_eq!(summarise(&quick, &report).invalid, [dropped]);
}

#[test]
fn samples_that_were_thinned_are_enough_when_the_inferences_were() {
    let mut spec = spec(ProfileKind::Quick, None, 1);
    spec.profile.stop.min_samples = 500;
    let thinned =
        Thinned { every: 4, inferences: 512, total_ns: 5_121_792_000, least_ns: 10_000_000, most_ns: 10_007_000 };
    let mut report = quick_report();
    report.processes[0].thinned = Some(thinned);
    assert!(summarise(&spec, &report).invalid.is_empty());
    report.processes[0].thinned = None;
    assert_eq!(summarise(&spec, &report).invalid, ["process 0: 128 samples, the profile asks for at least 500"]);
}

#[test]
fn a_success_without_a_sample_is_invalid_whatever_the_profile_measures() {
    for kind in [ProfileKind::Quick, ProfileKind::Full, ProfileKind::Sustained, ProfileKind::Paced] {
        let spec = spec(kind, None, 1);
        let none = format!("0 of {} processes have samples", spec.profile.processes);
        assert_eq!(summarise(&spec, &report()).invalid, [none.as_str()], "{kind:?}");
        let fallback = Report { outcome: Outcome::OkFallback, ..report() };
        assert_eq!(summarise(&spec, &fallback).invalid, [none.as_str()], "{kind:?}");
    }
    let nothing = summarise(&spec(ProfileKind::Energy, None, 1), &report());
    assert_eq!(nothing.invalid, ["the report carries no recording of what the device drew"]);
    let nothing = summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Golden), 1), &report());
    assert_eq!(nothing.invalid, ["accuracy: the report carries no comparison with the reference"]);
    let nothing = summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Classification), 1), &report());
    assert_eq!(nothing.invalid, ["accuracy: the report carries no predictions"]);
}

#[test]
fn a_damaged_block_is_a_reason_and_its_metrics_are_absent() {
    let mut report = quick_report();
    report.blocks[0].count += 1;
    let summary = summarise(&spec(ProfileKind::Quick, None, 1), &report);
    assert_eq!(summary.invalid[1..], ["0 of 1 processes have samples"]);
    assert!(
        summary.invalid[0].starts_with("process 0: the latency_ns block cannot be used: "),
        "{:?}",
        summary.invalid
    );
    assert_eq!(reason(&summary, "lat_p50_ms").as_deref(), Some("the report carries no latency samples"));
}

#[test]
fn accuracy_is_counted_from_labels_and_predictions() {
    let mut report = report();
    report.blocks = vec![
        block(BlockKind::Labels, 1, &[0, 1, 2, 3]),
        block(BlockKind::TopClasses, 1, &[0, 1, 2, 3, 4, 1, 0, 2, 3, 4, 0, 2, 1, 3, 4, 0, 1, 2, 4, 5]),
    ];
    let summary = summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Classification), 1), &report);
    assert_eq!(names(&summary)[5..], ["top1", "top5", "determinism", "model_size_mb"]);
    let top1 = estimate(&summary, "top1").unwrap();
    assert_eq!((top1.value, top1.interval), (0.5, Some(classification::wilson(2, 4))));
    assert_eq!(value(&summary, "top5"), Some(0.75));

    report.blocks[1].count = 19;
    let summary = summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Classification), 1), &report);
    assert_eq!(value(&summary, "top1"), None);
    assert_eq!(summary.invalid.len(), 1, "half a block of predictions is no accuracy");
}

#[test]
fn golden_metrics_are_the_worst_over_all_outputs() {
    let second = Comparison {
        elements: 120,
        max_abs: 0.5,
        mean_abs: 0.005,
        cosine: Some(0.995),
        sqnr_db: Some(35.0),
        argmax_agree: 3,
        ..comparison()
    };
    let summary =
        summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Golden), 1), &golden_report(&[comparison(), second]));
    assert_eq!(value(&summary, "golden_max_abs"), Some(0.5));
    assert_eq!(value(&summary, "golden_mean_abs"), Some(0.004), "weighted by elements");
    assert_eq!(value(&summary, "golden_cosine"), Some(0.995));
    assert_eq!(value(&summary, "golden_sqnr_db"), Some(35.0));
    assert_eq!(value(&summary, "golden_argmax_agree"), Some(0.75));
    assert_eq!(value(&summary, "nan_count"), Some(0.0));
    assert_eq!(summary.outcome, Outcome::Ok);
}

#[test]
fn a_labelled_dataset_with_references_has_the_figures_of_both() {
    let summary =
        summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Classification), 1), &golden_report(&[comparison()]));
    assert!(value(&summary, "golden_cosine").is_some());
    assert!(summary.metrics.iter().any(|metric| metric.name == "top1"));
    let plain = summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Classification), 1), &report());
    assert!(plain.metrics.iter().all(|metric| metric.name != "golden_cosine"), "nobody compared anything");
}

#[test]
fn a_dataset_of_any_task_with_references_has_the_figures_of_both() {
    let spec = spec(ProfileKind::AccuracyOnly, Some(Task::Regression), 1);
    let evidence = Evidence::Regression { truth: vec![1.0, 2.0, 3.0, 4.0], answers: vec![1.0, 2.0, 3.0, 6.0] };
    let (truth, answers) = evidence.series(4);
    let mut report = golden_report(&[comparison()]);
    report.blocks = vec![block(BlockKind::Truth, 1, &truth), block(BlockKind::Answers, 1, &answers)];
    let summary = summarise(&spec, &report);
    assert_eq!((value(&summary, "mae"), value(&summary, "golden_cosine")), (Some(0.5), Some(0.9999)));
    assert_eq!((summary.outcome, summary.invalid.as_slice()), (Outcome::Ok, &[][..]));

    report.blocks.pop();
    let summary = summarise(&spec, &report);
    assert_eq!((value(&summary, "mae"), value(&summary, "golden_cosine")), (None, Some(0.9999)));
    assert_eq!(summary.invalid, ["accuracy: the report carries no predictions"]);

    report.golden[0].comparison.cosine = Some(0.5);
    assert_eq!(summarise(&spec, &report).outcome, Outcome::NumericsFail, "labels excuse no wrong output");
}

#[test]
fn broken_golden_limits_turn_a_success_into_a_failure_of_numerics() {
    let spec = spec(ProfileKind::AccuracyOnly, Some(Task::Golden), 1);
    for broken in [
        Comparison { cosine: Some(0.98), ..comparison() },
        Comparison { sqnr_db: Some(29.9), ..comparison() },
        Comparison { nan_count: 1, ..comparison() },
        Comparison { inf_count: 1, ..comparison() },
    ] {
        let summary = summarise(&spec, &golden_report(&[comparison(), broken]));
        assert_eq!((summary.outcome, summary.wrong.len()), (Outcome::NumericsFail, 1));
        assert!(summary.wrong[0].starts_with("output output_1: "), "{:?}", summary.wrong);
    }
    let many = golden_report(&[Comparison { nan_count: 1, ..comparison() }; 30]);
    let wrong = summarise(&spec, &many).wrong;
    assert_eq!((wrong.len(), wrong[10].text()), (11, "and 20 more"));
    let crashed =
        Report { outcome: Outcome::CrashSignal(11), ..golden_report(&[Comparison { nan_count: 1, ..comparison() }]) };
    assert_eq!(summarise(&spec, &crashed).outcome, Outcome::CrashSignal(11), "a crash stays a crash");
}

#[test]
fn an_eight_bit_variant_is_held_to_its_own_limit() {
    let mut spec = spec(ProfileKind::AccuracyOnly, Some(Task::Golden), 1);
    let noisy = golden_report(&[Comparison { sqnr_db: Some(25.0), ..comparison() }]);
    assert_eq!(summarise(&spec, &noisy).outcome, Outcome::NumericsFail);
    spec.model.precision = Precision::Int8;
    assert_eq!(summarise(&spec, &noisy).outcome, Outcome::Ok);
}

#[test]
fn outputs_that_equal_their_reference_pass_every_limit_and_every_gate() {
    let exact = golden_report(&[Comparison { max_abs: 0.0, mean_abs: 0.0, sqnr_db: None, ..comparison() }]);
    let summary = summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Golden), 1), &exact);
    assert_eq!(value(&summary, "golden_sqnr_db"), Some(EXACT_SQNR_DB));
    assert_eq!(summary.outcome, Outcome::Ok);
}

#[test]
fn outputs_that_cannot_be_compared_have_no_differences() {
    let nothing = Comparison { elements: 0, cosine: None, sqnr_db: None, nan_count: 40, ..comparison() };
    let summary = summarise(&spec(ProfileKind::AccuracyOnly, Some(Task::Golden), 1), &golden_report(&[nothing]));
    assert_eq!(reason(&summary, "golden_max_abs").as_deref(), Some("no element could be compared"));
    assert_eq!(value(&summary, "nan_count"), Some(40.0));
}

#[test]
fn the_batch_is_the_leading_axis_that_inputs_and_outputs_share() {
    assert_eq!(batch(&spec(ProfileKind::Quick, None, 8)), 8);
    let mut unbatched = spec(ProfileKind::Quick, None, 8);
    unbatched.model.signature.outputs[0].shape = vec![Axis::Fixed(10)];
    assert_eq!(batch(&unbatched), 1, "28 rows are no batch of 28");
    let mut named = spec(ProfileKind::Quick, None, 1);
    for tensor in named.model.signature.inputs.iter_mut().chain(&mut named.model.signature.outputs) {
        tensor.shape[0] = Axis::Named("n".to_owned());
    }
    assert_eq!(batch(&named), 1);
    named.binding.axes.insert("n".to_owned(), 4);
    assert_eq!(batch(&named), 4);
}

#[test]
fn memory_is_in_mebibytes_above_its_base() {
    let summary = |peak_kib, pss_kib| {
        let memory = Reading::Present(Memory { base_kib: 10_240, peak_kib, retained_kib: 12_288, pss_kib });
        summarise(&spec(ProfileKind::Quick, None, 1), &Report { memory, ..quick_report() })
    };
    let told = summary(Some(30_720), Some(25_600));
    let values = ["mem_base_mb", "mem_peak_rss_mb", "mem_pss_mb", "mem_model_mb", "mem_retained_mb"];
    assert_eq!(
        values.map(|name| value(&told, name)),
        [Some(10.0), Some(30.0), Some(25.0), Some(20.0), Some(2.0)],
        "{told:?}"
    );
    assert_eq!(reason(&summary(Some(30_720), None), "mem_pss_mb").as_deref(), Some(Code::PssUntold.template()));
    let unmarked = summary(None, Some(25_600));
    assert_eq!(values.map(|name| value(&unmarked, name)), [Some(10.0), None, Some(25.0), None, Some(2.0)]);
    for name in ["mem_peak_rss_mb", "mem_model_mb"] {
        assert_eq!(reason(&unmarked, name).as_deref(), Some(Code::PeakUnmarked.template()), "{name}");
    }
}

#[test]
fn compiling_is_told_by_the_process_that_took_longest_or_not_at_all() {
    let spec = spec(ProfileKind::Full, None, 3);
    let untold = summarise(&spec, &quick_report());
    assert_eq!(reason(&untold, "compile_ms").as_deref(), Some(Code::CompileUntold.template()));
    let mut report = quick_report();
    report.processes[0].compile_ms = Some(12.5);
    assert_eq!(value(&summarise(&spec, &report), "compile_ms"), Some(12.5));
    let mut again = report.processes[0].clone();
    (again.index, again.compile_ms) = (1, Some(2.0));
    report.processes.push(again);
    assert_eq!(value(&summarise(&spec, &report), "compile_ms"), Some(12.5), "later ones took it from a cache");
}

#[test]
fn the_temperature_rise_is_taken_over_the_measure_stage() {
    let trace = |sensor: &str, celsius: [f64; 4]| SensorTrace {
        sensor: sensor.to_owned(),
        unit: "°C".to_owned(),
        points: Reading::Present([0, 2_000, 6_000, 20_000].into_iter().zip(celsius).collect()),
    };
    let stage = StageRecord {
        stage: Stage::Measure,
        process: Some(0),
        start_us: 1_000_000,
        duration_us: Some(10_000_000),
        note: None,
    };
    let mut report = Report {
        stages: vec![stage],
        sensors: vec![trace("thermal/a", [20.0, 40.0, 45.0, 90.0]), trace("thermal/b", [20.0, 30.0, 60.0, 90.0])],
        ..quick_report()
    };
    let spec = spec(ProfileKind::Quick, None, 1);
    assert_eq!(value(&summarise(&spec, &report), "temp_rise_c"), Some(30.0), "the hottest zone");
    report.sensors.push(trace("battery/temperature", [20.0, 30.0, 31.5, 40.0]));
    assert_eq!(value(&summarise(&spec, &report), "temp_rise_c"), Some(1.5), "the battery, where there is one");
    report.sensors =
        vec![SensorTrace { points: Reading::absent("denied by the kernel"), ..trace("thermal/a", [0.0; 4]) }];
    assert_eq!(reason(&summarise(&spec, &report), "temp_rise_c").as_deref(), Some("thermal/a: denied by the kernel"));
    report.sensors.push(SensorTrace { points: Reading::Present(vec![(0, 40.0)]), ..trace("thermal/b", [0.0; 4]) });
    assert_eq!(
        reason(&summarise(&spec, &report), "temp_rise_c").as_deref(),
        Some("no temperature was read twice while measuring (quick profile)"),
        "another zone could be read"
    );
}

#[test]
fn a_paced_run_counts_missed_deadlines_and_has_no_back_to_back_throughput() {
    let mut report = quick_report();
    let starts: Vec<i64> = (0..128).map(|i| i * 33_000).collect();
    report.blocks[1] = block(BlockKind::StartUs, 0, &starts);
    let summary = summarise(&spec(ProfileKind::Paced, None, 1), &report);
    assert_eq!(value(&summary, "paced_missed"), Some(0.0));
    assert!(!names(&summary).contains(&"throughput_sps"));
}

#[test]
fn a_load_for_which_the_disk_read_next_to_nothing_was_not_cold() {
    let spec = spec(ProfileKind::Quick, None, 1);
    let size = spec.model.manifest.size();
    let with = |reads: Option<u64>| {
        let mut report = quick_report();
        report.processes[0].load_reads = reads;
        summarise(&spec, &report)
    };
    let warm = with(Some(size / 2 - 1));
    assert_eq!(value(&warm, "load_cold_ms"), None);
    let said = format!("the load was not cold: the disk read {} of the model's {size} bytes", size / 2 - 1);
    assert_eq!(reason(&warm, "load_cold_ms").as_deref(), Some(said.as_str()));
    for cold in [size / 2, size * 3] {
        assert_eq!(value(&with(Some(cold)), "load_cold_ms"), Some(80.0), "{cold}");
    }
    // A kernel without accounting of disk reads.
    let unknown = with(None);
    assert_eq!(value(&unknown, "load_cold_ms"), None);
    assert_eq!(reason(&unknown, "load_cold_ms").as_deref(), Some(Code::ColdUnknown.template()));
}

/// With an engine from a package of this kind, of which the first process took so much from the disk.
fn summarise_packaged(kind: Option<PackageKind>, opened: Option<Opened>) -> Summary {
    let package = kind.map(|kind| RuntimePackage {
        runtime: "engine".to_owned(),
        kind,
        version: "1".to_owned(),
        abi: None,
        accelerators: Vec::new(),
        formats: Vec::new(),
        manifest: Manifest { entries: Vec::new() },
    });
    let spec = JobSpec { package, ..spec(ProfileKind::Quick, None, 1) };
    let mut report = quick_report();
    report.processes[0].opened = opened;
    summarise(&spec, &report)
}

#[test]
fn a_load_through_an_interpreter_whose_files_stay_in_the_page_cache_is_not_cold() {
    let summarise_with = |interpreter: Option<&str>, opened| {
        summarise_packaged(Some(PackageKind::Runner { interpreter: interpreter.map(str::to_owned) }), opened)
    };
    let interpreted = summarise_with(Some("python3"), None);
    assert_eq!(value(&interpreted, "load_cold_ms"), None);
    assert_eq!(reason(&interpreted, "load_cold_ms").as_deref(), Some(Code::InterpreterKept.template()));
    let opened = Some(Opened { held: 1 << 20, read: 1 << 20 });
    let alone = summarise_with(None, opened);
    assert_eq!(value(&alone, "load_cold_ms"), Some(80.0), "the control: all of it is in its package");
}

#[test]
fn a_load_is_as_cold_as_the_warmer_of_model_and_package() {
    let kind = || Some(PackageKind::Library { engine: Engine::Onnxruntime });
    let held = 4 << 20;
    let with = |read| summarise_packaged(kind(), Some(Opened { held, read }));
    for cold in [held / 2, held * 3] {
        assert_eq!(value(&with(cold), "load_cold_ms"), Some(80.0), "{cold}");
    }
    let warm = with(held / 2 - 1);
    assert_eq!(value(&warm, "load_cold_ms"), None);
    let said = reason(&warm, "load_cold_ms").unwrap();
    assert!(said.contains(&format!("{} of the {held} bytes of the engine's package", held / 2 - 1)), "{said}");
    let untold = summarise_packaged(kind(), None);
    assert_eq!(reason(&untold, "load_cold_ms").as_deref(), Some(Code::PackageColdUnknown.template()));
    assert_eq!(value(&summarise_packaged(None, None), "load_cold_ms"), Some(80.0), "the control: it is built in");
}

#[test]
fn figures_of_a_scorer_are_metrics_with_the_units_of_the_dataset_behind_those_of_the_registry() {
    let spec = spec(ProfileKind::AccuracyOnly, Some(Task::Custom), 1);
    let told =
        Report { figures: vec![scorer::tests::figure("nll", 0.5), scorer::tests::figure("ece", 0.1)], ..report() };
    let summary = summarise(&spec, &told);
    assert_eq!((summary.outcome, summary.invalid.as_slice()), (Outcome::Ok, &[][..]));
    let of_scorer: Vec<_> =
        summary.metrics.iter().rev().take(2).map(|it| (it.name.as_str(), it.unit.as_str())).collect();
    assert_eq!(of_scorer, [("custom.nll", "nat"), ("custom.ece", "1")]);
    assert_eq!(value(&summary, "custom.ece"), Some(0.1));
}

#[test]
fn figures_that_are_missing_or_cannot_be_true_are_absent_and_make_the_job_invalid() {
    let spec = spec(ProfileKind::AccuracyOnly, Some(Task::Custom), 1);
    let nan = vec![scorer::tests::figure("nll", f64::NAN), scorer::tests::figure("ece", 0.1)];
    for (figures, why) in [
        (Vec::new(), "the report carries no predictions"),
        (vec![scorer::tests::figure("nll", 0.5)], "the scorer score.py: it does not tell \"ece\""),
        (nan, "the scorer score.py: nll: NaN [NaN, NaN] is not a finite number"),
    ] {
        let summary = summarise(&spec, &Report { figures, ..report() });
        assert_eq!(summary.invalid[0].code(), Some(Code::AccuracyUnusable));
        for name in ["custom.ece", "custom.nll"] {
            let metric = summary.metrics.iter().find(|metric| metric.name == name).unwrap();
            assert_eq!(metric.value.reason(), Some(why), "{name}");
        }
    }
    let failed = Report { outcome: Outcome::SpecError, failed_stage: Some(Stage::Accuracy), ..report() };
    let summary = summarise(&spec, &failed);
    let ece = summary.metrics.iter().find(|metric| metric.name == "custom.ece").unwrap();
    assert_eq!(ece.value.reason(), Some("the attempt ended as spec_error at accuracy"));
    assert_eq!(summary.outcome, Outcome::SpecError);
}
