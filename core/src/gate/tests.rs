use proptest::prelude::*;

use super::*;
use crate::ids::{DeviceId, ProjectId, RunId, VariantId};
use crate::outcome::Outcome;
use crate::stage::Stage;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_micros(0);

fn job(number: u8, outcome: Outcome) -> JobRow {
    let id = JobId::new(NOW, [number; 10]);
    JobRow {
        id,
        short: id.short(),
        project: ProjectId::new(NOW, [0; 10]),
        run: RunId::new(NOW, [0; 10]),
        run_number: 1,
        device: DeviceId::new(NOW, [0; 10]),
        device_name: "Xiaomi 15".to_owned(),
        model: "digits-cnn".to_owned(),
        version: 3,
        variant: "int8".to_owned(),
        variant_id: VariantId::new(NOW, [0; 10]),
        dataset: Some("digits".to_owned()),
        backend: "tract cpu ×2".to_owned(),
        profile: "quick".to_owned(),
        state: JobState::Done { outcome },
        attempt: 1,
        stage: (outcome != Outcome::Ok).then_some(Stage::Load),
        outcome: Some(outcome),
        message: None,
        failure: None,
        invalid: Vec::new(),
        created_at: NOW,
        started_at: None,
        finished_at: None,
    }
}

fn latency(value: f64, low: f64, high: f64) -> Metric {
    Metric::new("lat_p50_ms", Reading::Present(Estimate { value, interval: Some((low, high)) }))
}

fn ok(number: u8) -> (JobRow, Vec<Metric>) {
    (job(number, Outcome::Ok), vec![latency(19.0, 18.5, 19.5), Metric::exact("top1", 0.97)])
}

fn rule(metric: &str, min: Option<f64>, max: Option<f64>) -> MetricRule {
    MetricRule {
        metric: metric.to_owned(),
        min,
        max,
        judge: JudgeBy::Bound,
        model: None,
        variant: None,
        dataset: None,
        backend: None,
        profile: None,
        device: None,
    }
}

fn with(metrics: Vec<MetricRule>) -> Gate {
    Gate { metrics, ..Gate::default() }
}

fn kinds(judgement: &Judgement) -> Vec<FindingKind> {
    judgement.findings.iter().map(|finding| finding.kind).collect()
}

fn misfit() -> MisfitRow {
    MisfitRow {
        model: "digits-cnn".to_owned(),
        variant: "int8".to_owned(),
        dataset: None,
        backend: "litert gpu ×1".to_owned(),
        profile: "quick".to_owned(),
        device: None,
        device_name: Some("Xiaomi 15".to_owned()),
        reason: "litert 1.4.0 does not read onnx".into(),
    }
}

#[test]
fn a_run_in_which_all_went_well_passes() {
    let gate = with(vec![rule("lat_p50_ms", None, Some(20.0)), rule("top1", Some(0.95), None)]);
    let judgement = judge(&gate, &[ok(1), ok(2)], &[]);
    assert_eq!((judgement.passed, judgement.jobs, judgement.comparisons), (true, 2, 4));
    assert!(judgement.findings.is_empty());
}

#[test]
fn a_run_without_jobs_is_not_a_pass() {
    assert_eq!(kinds(&judge(&Gate::default(), &[], &[])), [FindingKind::NothingRan]);
}

#[test]
fn a_gate_that_cannot_be_read_is_not_a_pass() {
    let judgement = unreadable("line 3: unknown key `gat`");
    assert_eq!((judgement.passed, kinds(&judgement), judgement.jobs), (false, vec![FindingKind::GateUnreadable], 0));
    assert!(
        judgement.findings[0].message.ends_with(": line 3: unknown key `gat`"),
        "{}",
        judgement.findings[0].message
    );
}

#[test]
fn failures_count_against_their_limit_and_are_listed_with_their_jobs() {
    let failed = (job(1, Outcome::CrashSignal(11)), vec![]);
    let judgement = judge(&Gate::default(), &[failed.clone(), ok(2)], &[]);
    assert_eq!(kinds(&judgement), [FindingKind::Failed]);
    assert_eq!(judgement.findings[0].job, Some(failed.0.id));
    assert_eq!(judgement.findings[0].message, "the job ended as crash_signal(11) in load");
    let tolerant = Gate { max_failed: 1, ..Gate::default() };
    assert!(judge(&tolerant, &[failed.clone(), ok(2)], &[]).passed);
    assert!(!judge(&tolerant, &[failed.clone(), failed], &[]).passed);
}

#[test]
fn every_outcome_but_ok_speaks_against_the_run() {
    for outcome in Outcome::ALL {
        let judgement = judge(&Gate::default(), &[(job(1, outcome), vec![])], &[]);
        assert_eq!(judgement.passed, outcome == Outcome::Ok, "{outcome}");
    }
    for state in [JobState::Queued, JobState::Leased { attempt: 1 }, JobState::Quarantined] {
        let open = JobRow { state, outcome: None, ..job(1, Outcome::Ok) };
        assert_eq!(kinds(&judge(&Gate::default(), &[(open, vec![])], &[])), [FindingKind::Failed], "{state:?}");
    }
}

#[test]
fn fallbacks_misfits_and_invalid_numbers_pass_only_where_allowed() {
    let fallback = (job(1, Outcome::OkFallback), vec![]);
    let invalid = (JobRow { invalid: vec!["foreign CPU 31 %".into()], ..job(2, Outcome::Ok) }, vec![]);
    let jobs = [fallback, invalid];
    let judgement = judge(&Gate::default(), &jobs, &[misfit()]);
    assert_eq!(kinds(&judgement), [FindingKind::Fallback, FindingKind::Invalid, FindingKind::Misfit]);
    assert_eq!(judgement.findings[1].message, "the job's numbers are invalid: foreign CPU 31 %");
    assert_eq!(judgement.findings[2].subject, "digits-cnn/int8, litert gpu ×1, quick, Xiaomi 15");
    let lenient = Gate { allow_fallback: true, allow_misfits: true, allow_invalid: true, ..Gate::default() };
    assert!(judge(&lenient, &jobs, &[misfit()]).passed);
}

#[test]
fn numbers_that_do_not_count_are_not_compared() {
    let (row, metrics) = ok(1);
    let invalid = (JobRow { invalid: vec!["the device slept".into()], ..row }, metrics);
    let gate = with(vec![rule("top1", Some(0.5), None)]);
    let strict = judge(&gate, std::slice::from_ref(&invalid), &[]);
    assert_eq!((kinds(&strict), strict.comparisons), (vec![FindingKind::Invalid], 0), "said once");
    let tolerant = judge(&Gate { max_failed: 1, ..gate.clone() }, std::slice::from_ref(&invalid), &[]);
    assert_eq!((kinds(&tolerant), tolerant.comparisons), (vec![FindingKind::Missing], 0));
    let allowed = judge(&Gate { allow_invalid: true, ..gate }, &[invalid], &[]);
    assert_eq!((allowed.passed, allowed.comparisons), (true, 1));
}

#[test]
fn a_limit_holds_only_if_it_holds_beyond_the_noise() {
    let noisy = (job(1, Outcome::Ok), vec![latency(19.0, 17.0, 20.5)]);
    let judgement = judge(&with(vec![rule("lat_p50_ms", None, Some(20.0))]), std::slice::from_ref(&noisy), &[]);
    let finding = &judgement.findings[0];
    assert_eq!((finding.kind, finding.value, finding.limit), (FindingKind::BeyondLimit, Some(20.5), Some(20.0)));
    assert_eq!(
        finding.message,
        "lat_p50_ms is 19 ms and its 95 % interval reaches 20.5 ms, above the limit: at most 20 ms"
    );
    let by_value = MetricRule { judge: JudgeBy::Value, ..rule("lat_p50_ms", None, Some(20.0)) };
    assert!(judge(&with(vec![by_value]), std::slice::from_ref(&noisy), &[]).passed);
    assert!(
        !judge(&with(vec![rule("lat_p50_ms", Some(18.0), None)]), &[noisy], &[]).passed,
        "the lower end counts for a minimum"
    );
}

#[test]
fn the_limit_itself_is_within() {
    let exact = |value| (job(1, Outcome::Ok), vec![Metric::exact("top1", value)]);
    let gate = with(vec![rule("top1", Some(0.95), Some(0.99))]);
    assert!(judge(&gate, &[exact(0.95)], &[]).passed && judge(&gate, &[exact(0.99)], &[]).passed);
    assert!(!judge(&gate, &[exact(0.949_999)], &[]).passed && !judge(&gate, &[exact(0.990_001)], &[]).passed);
}

#[test]
fn what_is_missing_is_never_a_pass() {
    let gate = with(vec![rule("top1", Some(0.0), None)]);
    let absent = (job(1, Outcome::Ok), vec![Metric::absent("top1", "the dataset has no labels")]);
    let judgement = judge(&gate, &[absent], &[]);
    assert_eq!(judgement.findings[0].message, "top1 is missing: the dataset has no labels");
    assert_eq!(kinds(&judge(&gate, &[(job(1, Outcome::Ok), vec![])], &[])), [FindingKind::Missing]);
    for value in [f64::NAN, f64::INFINITY] {
        let broken = (job(1, Outcome::Ok), vec![Metric::exact("top1", value)]);
        assert_eq!(kinds(&judge(&gate, &[broken], &[])), [FindingKind::Missing], "{value}");
    }
    let broken_bound = (job(1, Outcome::Ok), vec![latency(1.0, f64::NAN, f64::NAN)]);
    assert!(!judge(&with(vec![rule("lat_p50_ms", None, Some(9.0))]), &[broken_bound], &[]).passed);
    let tolerated = Gate { max_failed: 1, ..gate.clone() };
    assert_eq!(kinds(&judge(&tolerated, &[(job(1, Outcome::HangTimeout), vec![])], &[])), [FindingKind::Missing]);
    let elsewhere = with(vec![MetricRule { device: Some("OPPO Find X8".to_owned()), ..rule("top1", Some(0.0), None) }]);
    let judgement = judge(&elsewhere, &[ok(1)], &[]);
    assert_eq!(judgement.findings[0].kind, FindingKind::NothingToJudge);
    assert_eq!(judgement.findings[0].subject, "rule on top1 for OPPO Find X8");
}

#[test]
fn a_rule_judges_the_jobs_that_all_of_its_filters_match() {
    let slow = (JobRow { variant: "fp32".to_owned(), ..job(1, Outcome::Ok) }, vec![latency(50.0, 50.0, 50.0)]);
    let only_int8 = MetricRule {
        model: Some("digits-cnn".to_owned()),
        variant: Some("int8".to_owned()),
        dataset: Some("digits".to_owned()),
        backend: Some("tract cpu ×2".to_owned()),
        profile: Some("quick".to_owned()),
        device: Some("Xiaomi 15".to_owned()),
        ..rule("lat_p50_ms", None, Some(20.0))
    };
    let judgement = judge(&with(vec![only_int8]), &[slow.clone(), ok(2)], &[]);
    assert_eq!((judgement.passed, judgement.comparisons), (true, 1));
    let any = with(vec![rule("lat_p50_ms", None, Some(20.0))]);
    assert_eq!(judge(&any, &[slow.clone(), ok(2)], &[]).findings[0].job, Some(slow.0.id));
}

#[test]
fn a_rerun_is_judged_by_the_rules_about_its_job_and_by_no_tolerance_of_the_whole_suite() {
    let elsewhere = MetricRule { model: Some("faces".to_owned()), ..rule("top1", Some(0.9), None) };
    let gate = Gate { max_failed: 1, ..with(vec![elsewhere, rule("lat_p50_ms", None, Some(20.0))]) };
    let of_rerun = |jobs: &[(JobRow, Vec<Metric>)]| judge(&gate.of_rerun(jobs), jobs, &[]);
    assert_eq!(kinds(&judge(&gate, &[ok(1)], &[])), [FindingKind::NothingToJudge], "the control: not a rerun");
    let good = of_rerun(&[ok(1)]);
    assert_eq!((good.passed, good.comparisons), (true, 1));
    let slow = (job(1, Outcome::Ok), vec![latency(30.0, 29.0, 31.0)]);
    assert_eq!(kinds(&of_rerun(&[slow])), [FindingKind::BeyondLimit]);
    assert_eq!(kinds(&of_rerun(&[(job(1, Outcome::Ok), vec![])])), [FindingKind::Missing]);
    assert_eq!(kinds(&of_rerun(&[(job(1, Outcome::LoadFail), vec![])])), [FindingKind::Failed]);
    assert_eq!(kinds(&of_rerun(&[])), [FindingKind::NothingRan]);
}

#[test]
fn findings_are_bounded_and_what_is_left_out_is_counted() {
    let failed: Vec<_> = (0..1200).map(|_| (job(1, Outcome::LoadFail), vec![])).collect();
    let judgement = judge(&Gate::default(), &failed, &[]);
    assert_eq!((judgement.findings.len(), judgement.omitted, judgement.passed), (1000, 200, false));
}

#[test]
fn a_judgement_reads_back_from_its_json() {
    let judgement = judge(&Gate::default(), &[(job(1, Outcome::LoadFail), vec![])], &[misfit()]);
    let text = serde_json::to_string(&judgement).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&text).unwrap(), judgement);
    insta::assert_json_snapshot!(judgement, { ".findings[].job" => "[job]", ".findings[].subject" => insta::dynamic_redaction(|value, _| {
        value.as_str().map(|text| text.replace(&job(1, Outcome::Ok).short, "[short]")).unwrap_or_default()
    }) });
}

// --- making things worse never makes a run pass ---

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Ok,
        Outcome::Ok,
        Outcome::Ok,
        Outcome::OkFallback,
        Outcome::LoadFail,
        Outcome::HangTimeout,
    ])
}

prop_compose! {
    fn any_job()(outcome in any_outcome(), invalid in any::<bool>(), value in 0.0..40.0, spread in 0.0..5.0, present in any::<bool>()) -> (JobRow, Vec<Metric>) {
        let invalid = if invalid { vec![Reason::from("interference")] } else { vec![] };
        let metrics = if present { vec![latency(value, value - spread, value + spread)] } else { vec![] };
        (JobRow { invalid, ..job(1, outcome) }, metrics)
    }
}

prop_compose! {
    fn any_gate()(max_failed in 0_u32..3, allow in any::<[bool; 3]>(), max in prop::option::of(0.0..60.0), by_value in any::<bool>()) -> Gate {
        let judge = if by_value { JudgeBy::Value } else { JudgeBy::Bound };
        let rules = max.map(|max| MetricRule { judge, ..rule("lat_p50_ms", None, Some(max)) });
        let [allow_fallback, allow_misfits, allow_invalid] = allow;
        Gate { max_failed, allow_fallback, allow_misfits, allow_invalid, metrics: rules.into_iter().collect() }
    }
}

proptest! {
    #[test]
    fn making_a_run_worse_never_makes_it_pass(
        gate in any_gate(),
        jobs in prop::collection::vec(any_job(), 1..5),
        misfits in prop::collection::vec(Just(misfit()), 0..2),
        which in any::<prop::sample::Index>(),
        harm in 0_u8..5,
        slower in 0.0..20.0,
    ) {
        let before = judge(&gate, &jobs, &misfits);
        let (mut worse, mut more_misfits) = (jobs.clone(), misfits.clone());
        let (row, metrics) = &mut worse[which.index(jobs.len())];
        match harm {
            0 => *row = JobRow { invalid: row.invalid.clone(), ..job(1, Outcome::CrashSignal(11)) },
            1 => row.invalid.push("more interference".into()),
            2 => metrics.clear(),
            3 => for metric in metrics {
                if let Reading::Present(Estimate { value, interval: Some((_, high)) }) = &mut metric.value {
                    *value += slower;
                    *high += slower;
                }
            },
            _ => more_misfits.push(misfit()),
        }
        let after = judge(&gate, &worse, &more_misfits);
        prop_assert!(before.passed || !after.passed, "before {:?}, after {:?}", before.findings, after.findings);
    }

    #[test]
    fn a_stricter_gate_never_passes_what_a_laxer_one_fails(gate in any_gate(), jobs in prop::collection::vec(any_job(), 1..5)) {
        let mut stricter = gate.clone();
        stricter.max_failed = 0;
        stricter.allow_fallback = false;
        stricter.allow_invalid = false;
        for rule in &mut stricter.metrics {
            rule.max = rule.max.map(|max| max / 2.0);
            rule.judge = JudgeBy::Bound;
        }
        prop_assert!(judge(&gate, &jobs, &[]).passed || !judge(&stricter, &jobs, &[]).passed);
    }
}

#[test]
fn a_figure_of_a_scorer_is_judged_like_any_metric_in_its_own_unit() {
    let metric = |value| Metric {
        name: "custom.nll".to_owned(),
        unit: "nat".to_owned(),
        value: Reading::Present(Estimate { value, interval: Some((value - 0.1, value + 0.1)) }),
    };
    let gate = Gate { metrics: vec![rule("custom.nll", None, Some(0.5))], ..Gate::default() };
    let judged = |metrics: Vec<Metric>| judge(&gate, &[(job(1, Outcome::Ok), metrics)], &[]);
    assert!(judged(vec![metric(0.3)]).passed, "the control");
    let beyond = judged(vec![metric(0.45)]);
    assert_eq!(
        beyond.findings[0].message,
        "custom.nll is 0.45 nat and its 95 % interval reaches 0.55 nat, above the limit: at most 0.5 nat"
    );
    let absent = Metric { value: Reading::absent("an example has probability 0"), ..metric(0.0) };
    assert_eq!(judged(vec![absent]).findings[0].kind, FindingKind::Missing);
    assert_eq!(judged(Vec::new()).findings[0].kind, FindingKind::Missing);
}
