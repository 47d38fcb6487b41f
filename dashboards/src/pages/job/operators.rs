//! Where the time of an inference goes, operator by operator.

use seatrial_core::operators::{OperatorProfile, OperatorTime};
use seatrial_core::reading::Reading;

use super::Data;
use crate::format::{count, significant};
use crate::i18n::Words;

/// Operators that the page shows; the report in JSON holds more.
const SHOWN: usize = 20;

/// The table, empty when the engine was not asked or did not tell.
#[derive(Default)]
pub(super) struct Operators {
    pub rows: Vec<OperatorLine>,
    pub note: String,
    /// What the rows leave out.
    pub rest: String,
}

pub(super) struct OperatorLine {
    pub name: String,
    pub kind: String,
    pub place: String,
    pub milliseconds: String,
    pub share: String,
}

pub(super) fn operators(data: &Data, words: Words) -> Operators {
    let Some(Reading::Present(profile)) = data.report.as_ref().map(|report| &report.operators) else {
        return Operators::default();
    };
    let OperatorProfile { runs, operators, count: all, total_us } = profile;
    let line = |operator: &OperatorTime| OperatorLine {
        name: operator.name.clone(),
        kind: operator.kind.clone(),
        place: operator.place.clone(),
        milliseconds: significant(operator.mean_us / 1e3),
        share: percent(operator.mean_us, *total_us),
    };
    let rows: Vec<OperatorLine> = operators.iter().take(SHOWN).map(line).collect();
    let shown: f64 = operators.iter().take(SHOWN).map(|operator| operator.mean_us).sum();
    let rest = (*all as usize > rows.len()).then(|| {
        let (n, share) = (count(u64::from(*all) - rows.len() as u64), percent(total_us - shown, *total_us));
        words.with("job.operators_rest", &[("n", &n), ("share", &share)])
    });
    let note = words.with(
        "job.operators_note",
        &[("n", &count((*all).into())), ("runs", &runs.to_string()), ("ms", &significant(total_us / 1e3))],
    );
    Operators { rows, note, rest: rest.unwrap_or_default() }
}

fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", part / whole * 100.0) } else { crate::format::DASH.to_string() }
}
