//! Runs and jobs as JSON. Missing is `null` or `{"absent": reason}`, never zero.

use seatrial_proto::v1;
use serde_json::{Map, Value, json};

use super::numbers;
use super::time::rfc3339;

/// A metric as `{"value", "unit", "lo", "hi"}`, or `{"absent": reason}`, with `at_most` and its unit where that much is known.
pub(crate) fn metric(metric: &v1::Metric) -> Value {
    let v1::Metric { name: _, unit, value, lo, hi, absent } = metric;
    match (value, absent) {
        (Some(value), _) => json!({ "value": value, "unit": unit, "lo": lo, "hi": hi }),
        (None, reason) => {
            let mut told = json!({ "absent": reason.as_deref().unwrap_or("not measured") });
            if let Some(most) = numbers::bound(metric) {
                told["at_most"] = json!(most);
                told["unit"] = json!(unit);
            }
            told
        }
    }
}

/// Metrics by name.
pub(crate) fn metrics(all: &[v1::Metric]) -> Value {
    all.iter().map(|one| (one.name.clone(), metric(one))).collect::<Map<_, _>>().into()
}

/// What the demo promises of a job, and why its numbers are not valid, when they are not.
pub(crate) fn demo_job(job: &v1::Job) -> Value {
    json!({
        "model": job.model,
        "variant": job.variant,
        "device": job.device_name,
        "backend": job.backend,
        "profile": job.profile,
        "outcome": job.outcome,
        "invalid": job.invalid,
        "metrics": metrics(&job.metrics),
    })
}

pub(crate) fn job(job: &v1::Job) -> Value {
    let v1::Job {
        id,
        short,
        device,
        device_name,
        model,
        version,
        variant,
        dataset,
        backend,
        profile,
        state,
        attempt,
        stage,
        outcome,
        message,
        invalid,
        metrics: values,
        started_us,
        finished_us,
        failure_class,
        blame,
    } = job;
    json!({
        "id": id,
        "short": short,
        "device": device_name,
        "device_id": device,
        "model": model,
        "version": version,
        "variant": variant,
        "dataset": dataset,
        "backend": backend,
        "profile": profile,
        "state": state,
        "attempt": attempt,
        "stage": stage,
        "outcome": outcome,
        "message": message,
        "failure_class": failure_class,
        "blame": blame,
        "invalid": invalid,
        "metrics": metrics(values),
        "started_at": started_us.and_then(rfc3339),
        "finished_at": finished_us.and_then(rfc3339),
    })
}

pub(crate) fn misfit(misfit: &v1::Misfit) -> Value {
    let v1::Misfit { model, variant, dataset, backend, profile, device, reason } = misfit;
    json!({
        "model": model,
        "variant": variant,
        "dataset": dataset,
        "backend": backend,
        "profile": profile,
        "device": device,
        "reason": reason,
    })
}

pub(crate) fn preview_job(job: &v1::PreviewJob) -> Value {
    let v1::PreviewJob { model, version, variant, dataset, backend, profile, device } = job;
    json!({
        "model": model,
        "version": version,
        "variant": variant,
        "dataset": dataset,
        "backend": backend,
        "profile": profile,
        "device": device,
    })
}

pub(crate) fn run_summary(run: &v1::RunSummary) -> Value {
    let v1::RunSummary { id, number, suite, state, created_by, created_us, finished_us, gate_passed, counts } = run;
    let v1::RunCounts { queued, leased, ok, fallback, failed, cancelled, quarantined, misfits, invalid } =
        counts.unwrap_or_default();
    json!({
        "id": id,
        "number": number,
        "suite": suite,
        "state": state,
        "created_by": created_by,
        "created_at": rfc3339(*created_us),
        "finished_at": finished_us.and_then(rfc3339),
        "gate_passed": gate_passed,
        "counts": {
            "queued": queued,
            "leased": leased,
            "ok": ok,
            "fallback": fallback,
            "failed": failed,
            "cancelled": cancelled,
            "quarantined": quarantined,
            "misfits": misfits,
            "invalid": invalid,
        },
    })
}

/// A run with everything in it.
pub(crate) fn run(run: &v1::GetRunResponse) -> Value {
    let v1::GetRunResponse { run, jobs, misfits, gate_json, next_page: _ } = run;
    let gate: Option<Value> = gate_json.as_deref().and_then(|text| serde_json::from_str(text).ok());
    json!({
        "run": run.as_ref().map(run_summary),
        "jobs": jobs.iter().map(job).collect::<Vec<_>>(),
        "misfits": misfits.iter().map(misfit).collect::<Vec<_>>(),
        "gate": gate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_all_four_keys_or_only_the_reason() {
        let present = v1::Metric { unit: "ms".to_owned(), value: Some(1.5), ..Default::default() };
        assert_eq!(metric(&present), json!({ "value": 1.5, "unit": "ms", "lo": null, "hi": null }));
        let absent = v1::Metric { absent: Some("the dataset has no labels".to_owned()), ..Default::default() };
        assert_eq!(metric(&absent), json!({ "absent": "the dataset has no labels" }));
        let why = "below resolution: at most 0.0004124 mJ".to_owned();
        let bound = v1::Metric { unit: "mJ".to_owned(), absent: Some(why.clone()), ..Default::default() };
        assert_eq!(metric(&bound), json!({ "absent": why, "at_most": 0.000_412_4, "unit": "mJ" }));
    }
}
