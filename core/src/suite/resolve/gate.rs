//! The gate: known metrics, limits in order, and filters for what the suite holds.

use crate::backend::Backend;
use crate::dataset::scorer;
use crate::gate::{Gate, MetricRule};
use crate::metric;
use crate::suite::Suite;
use crate::suite::document::Reporter;
use crate::suite::file::{GateTable, MetricRuleTable};
use crate::suite::problem::{nearest, suggest};

pub(super) fn resolve_gate(written: GateTable, suite: &Suite, reporter: &mut Reporter<'_>) -> Gate {
    let GateTable { max_failed, allow_fallback, allow_misfits, allow_invalid, metrics } = written;
    let rules = metrics.into_iter().enumerate();
    let metrics =
        rules.map(|(index, rule)| resolve_rule(&format!("gate.metrics[{index}]"), rule, suite, reporter)).collect();
    Gate { max_failed, allow_fallback, allow_misfits, allow_invalid, metrics }
}

fn resolve_rule(path: &str, written: MetricRuleTable, suite: &Suite, reporter: &mut Reporter<'_>) -> MetricRule {
    let MetricRuleTable { metric, min, max, judge, model, variant, dataset, backend, profile, device } = written;
    // Which of them there are is known when the names of the datasets are.
    let of_scorer = metric.strip_prefix(scorer::PREFIX).is_some_and(scorer::is_metric_name);
    if metric::kind(&metric).is_none() && !of_scorer {
        let names = metric::REGISTRY.iter().map(|kind| kind.name);
        let hint = match nearest(&metric, names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "docs/measurement.md lists the metrics".to_owned(),
        };
        reporter.at(&format!("{path}.metric"), format!("`{path}.metric`: unknown metric {metric:?}"), Some(hint));
    }
    match (min, max) {
        (None, None) => reporter.at(path, format!("`{path}`: a rule needs `min` or `max`"), None),
        (Some(min), Some(max)) if min > max => {
            reporter.at(path, format!("`{path}`: min ({min}) is more than max ({max})"), None);
        }
        (Some(_), Some(_) | None) | (None, Some(_)) => {}
    }
    let profile = profile.map(|kind| kind.as_str().to_owned());
    let backends: Vec<String> = suite.backends.iter().map(Backend::to_string).collect();
    judge_filter(path, "model", model.as_deref(), &suite.models(), reporter);
    judge_filter(path, "dataset", dataset.as_deref(), &suite.datasets(), reporter);
    judge_filter(
        path,
        "backend",
        backend.as_deref(),
        &backends.iter().map(String::as_str).collect::<Vec<_>>(),
        reporter,
    );
    let profiles: Vec<&str> = suite.profiles.iter().map(|profile| profile.kind.as_str()).collect();
    judge_filter(path, "profile", profile.as_deref(), &profiles, reporter);
    MetricRule { metric, min, max, judge, model, variant, dataset, backend, profile, device }
}

/// A filter for what the suite does not hold would never match.
fn judge_filter(path: &str, key: &str, wanted: Option<&str>, held: &[&str], reporter: &mut Reporter<'_>) {
    let Some(wanted) = wanted.filter(|wanted| !held.contains(wanted)) else { return };
    let hint = suggest(wanted, held.iter().copied(), "the suite holds");
    reporter.at(&format!("{path}.{key}"), format!("`{path}.{key}`: {wanted:?} is not in this suite"), Some(hint));
}
