//! Stage time line: one bar of the attempt's stages in order, to scale.

use seatrial_core::report::StageRecord;
use seatrial_core::stage::Stage;

use super::{Anchor, Area, Axis, Svg, ticks};
use crate::format::{duration, fixed};
use crate::html::Html;
use crate::i18n::Words;

const WIDTH: f64 = 1340.0;
const TOP: f64 = 22.0;
const BAR: f64 = 24.0;
/// A label is written over a bar of at least this width.
const ROOM: f64 = 92.0;

/// `failed` is the stage at which the attempt ended; stages after it are outlined "not reached".
#[must_use]
pub fn chart(records: &[StageRecord], failed: Option<Stage>, words: Words) -> Html {
    let lengths: Vec<(u64, u64)> = spans(records);
    let total = lengths.iter().map(|(start, length)| start + length).max().unwrap_or(0).max(1) as f64 / 1e6;
    let unreached: Vec<Stage> = failed.map_or_else(Vec::new, |failed| {
        Stage::ALL
            .into_iter()
            .filter(|stage| *stage > failed && *stage != Stage::Energy && *stage != Stage::Teardown)
            .collect()
    });
    // Room for what was not reached, since it has no length.
    let right = WIDTH - unreached.len() as f64 * ROOM;
    let axis = Axis::linear((0.0, total), (0.0, right));
    let seconds = |micros: u64| duration(std::time::Duration::from_micros(micros), words);
    let label = words.with("chart.stages", &[("total", &fixed(total, 1))]);
    let mut svg = Svg::new(WIDTH, 66.0, &label);

    let mut label_end = f64::MIN;
    for (record, (start, length)) in records.iter().zip(&lengths) {
        let (from, to) = (axis.at(*start as f64 / 1e6), axis.at((start + length) as f64 / 1e6));
        let is_failed = failed == Some(record.stage) && record.duration_us.is_none_or(|_| is_last(record, records));
        let name = record.process.map_or_else(
            || record.stage.as_str().to_owned(),
            |process| {
                words.with("chart.stage_of_process", &[("stage", record.stage.as_str()), ("n", &process.to_string())])
            },
        );
        let length_text = seconds(*length);
        let tip = [Some(format!("{name} · {length_text}")), record.note.clone()];
        let tip: Vec<String> = tip.into_iter().flatten().map(|line| line.replace('|', "¦")).collect();
        let area = Area { x: from + 0.5, y: TOP, width: (to - from - 1.0).max(1.0), height: BAR };
        svg.tipped(area, class(record.stage, is_failed), &tip.join("|"));
        if to - from > ROOM {
            let middle = f64::midpoint(from, to);
            svg.text(
                (middle, 14.0),
                &format!("{} {length_text}", record.stage),
                if is_failed { "fl" } else { "k2" },
                Anchor::Middle,
            );
            label_end = middle + 60.0;
        } else if is_failed {
            let x = from.max(label_end);
            svg.text((x, 14.0), &format!("× {} {length_text}", record.stage), "fl", Anchor::Start);
        }
    }
    for (i, stage) in unreached.iter().enumerate() {
        let x = right + i as f64 * ROOM;
        svg.tipped(
            Area { x: x + 4.0, y: TOP + 0.5, width: ROOM - 5.0, height: BAR - 1.0 },
            "out",
            &format!("{stage}|{}", words.t("chart.not_reached")),
        );
        svg.text((x + ROOM / 2.0, TOP + 16.0), stage.as_str(), "", Anchor::Middle);
    }
    if !unreached.is_empty() {
        svg.text((right + 4.0, 62.0), &words.t("chart.not_reached"), "", Anchor::Start);
    }
    let marks = ticks(0.0, total, 10);
    let decimals = super::tick_decimals(&marks);
    for tick in marks {
        let x = axis.at(tick);
        svg.line((x, TOP + BAR), (x, TOP + BAR + 4.0), "ax");
        let anchor = if x < 12.0 {
            Anchor::Start
        } else if x > WIDTH - 16.0 {
            Anchor::End
        } else {
            Anchor::Middle
        };
        svg.text((x, 62.0), &format!("{} s", fixed(tick, decimals)), "", anchor);
    }
    svg.finish()
}

/// Start and length in µs; a stage that did not end lasts until the next one begins, or is a sliver.
fn spans(records: &[StageRecord]) -> Vec<(u64, u64)> {
    let end = records.iter().map(|record| record.start_us + record.duration_us.unwrap_or(0)).max().unwrap_or(0);
    let open = (end / 50).max(1);
    records.iter().map(|record| (record.start_us, record.duration_us.unwrap_or(open))).collect()
}

fn is_last(record: &StageRecord, records: &[StageRecord]) -> bool {
    records.iter().filter(|other| other.stage == record.stage).map(|other| other.start_us).max()
        == Some(record.start_us)
}

const fn class(stage: Stage, failed: bool) -> &'static str {
    if failed {
        return "ff";
    }
    match stage {
        Stage::Measure => "fa",
        Stage::Accuracy | Stage::Energy => "op2",
        Stage::Fetch | Stage::Prepare | Stage::Load | Stage::FirstInference | Stage::Warmup | Stage::Teardown => "stg",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    fn record(stage: Stage, start_us: u64, duration_us: Option<u64>) -> StageRecord {
        StageRecord { stage, process: None, start_us, duration_us, note: Some("<b>|x".to_owned()) }
    }

    #[test]
    fn the_failing_stage_is_marked_and_later_ones_are_outlined() {
        let records = [record(Stage::Fetch, 0, Some(1_000_000)), record(Stage::Load, 1_000_000, None)];
        let svg = chart(&records, Some(Stage::Load), Words(Language::English));
        assert_eq!(svg.as_str().matches(r#"class="ff""#).count(), 1);
        assert_eq!(svg.as_str().matches(r#"class="out""#).count(), 4, "first_inference, warmup, measure, accuracy");
        assert!(!svg.as_str().contains("<b>") && !svg.as_str().contains("|x"));
    }

    #[test]
    fn an_attempt_without_stages_draws_an_empty_axis() {
        assert!(chart(&[], None, Words(Language::Chinese)).as_str().starts_with("<svg"));
    }
}
