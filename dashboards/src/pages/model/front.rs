//! Which results are worth having: latency against accuracy on one device.

use seatrial_core::metric::{self, Better};

use super::super::{Numbers, accelerator};
use super::Data;
use super::results::{Best, accuracy_metric};
use crate::charts::tradeoff::Point;
use crate::format::{count, is_share, significant};
use crate::i18n::Words;
use crate::status;

/// Points for the chart: results with a latency and a share that tells how good they are, one a variant and backend.
/// A rate of errors, or an error in a unit of its own, is no share: it stands in the table alone.
pub(super) fn points(results: &[Best]) -> Vec<(usize, Point)> {
    let name = accuracy_metric(results);
    let name = name
        .as_deref()
        .filter(|name| is_share(name) && metric::kind(name).is_some_and(|kind| kind.better == Better::Higher));
    let Some(name) = name else { return Vec::new() };
    let measured =
        |best: &&Best| status::is_comparable(&best.job) && Numbers::new(best.metrics.clone()).estimate(name).is_some();
    let newest = results.iter().filter(measured).max_by_key(|best| best.job.created_at);
    let Some(dataset) = newest.map(|best| &best.job.dataset) else { return Vec::new() };
    let mut points: Vec<(usize, Point)> = Vec::new();
    let same = |a: &Best, b: &Best| a.job.variant == b.job.variant && a.job.backend == b.job.backend;
    for (i, best) in results.iter().enumerate() {
        // Two profiles of one combination are two points, which their names must tell apart.
        let twice = results.iter().filter(|other| same(best, other)).count() > 1;
        let profile = if twice { format!(", {}", best.job.profile) } else { String::new() };
        let numbers = Numbers::new(best.metrics.clone());
        let (Some(p50), Some(accuracy)) = (numbers.estimate("lat_p50_ms"), numbers.estimate(name)) else { continue };
        // A fallback is no result of its accelerator, and another dataset is another question.
        if !status::is_comparable(&best.job) || best.job.dataset != *dataset {
            continue;
        }
        points.push((
            i,
            Point {
                name: format!("{} {}{profile}", best.job.variant, best.job.backend),
                accelerator: accelerator(&best.job.backend),
                latency: p50.value,
                accuracy: accuracy.value * 100.0,
                size: best.size_bytes as f64 / 1e6,
                note: best.job.short.clone(),
            },
        ));
    }
    points
}

/// The fastest point on the front against the most accurate one, when they differ.
pub(super) fn sentence(data: &Data, points: &[Point], beaten: &[Option<usize>], words: Words) -> String {
    let device = data.device.as_ref().map_or("", |device| device.name.as_str());
    let front = || points.iter().zip(beaten).filter(|(_, rival)| rival.is_none()).map(|(point, _)| point);
    let fastest = front().min_by(|a, b| a.latency.total_cmp(&b.latency));
    let best = front().max_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    match fastest.zip(best) {
        Some((fastest, best)) if fastest.name != best.name => words.with(
            "model.sentence_tradeoff",
            &[
                ("device", device),
                ("fast", &fastest.name),
                ("best", &best.name),
                ("factor", &significant(best.latency / fastest.latency)),
                ("points", &crate::format::fixed(best.accuracy - fastest.accuracy, 1)),
            ],
        ),
        Some((fastest, _)) if points.len() > 1 => {
            words.with("model.sentence_single", &[("device", device), ("fast", &fastest.name)])
        }
        Some(_) | None if data.results.is_empty() => {
            words.with("model.sentence_unmeasured", &[("name", &data.model.name)])
        }
        Some(_) | None => words.count(
            "model.sentence_measured",
            data.results.len() as u64,
            &[("name", &data.model.name), ("device", device)],
        ),
    }
}

pub(super) fn sub(points: &[Point], beaten: &[Option<usize>], words: Words) -> String {
    if points.len() < 2 {
        return String::new();
    }
    let front = beaten.iter().filter(|rival| rival.is_none()).count();
    let rest = points.len() - front;
    if rest == 0 {
        words.t("model.sub_all").into_owned()
    } else {
        words.with("model.sub", &[("front", &count(front as u64)), ("all", &count(points.len() as u64))])
    }
}
