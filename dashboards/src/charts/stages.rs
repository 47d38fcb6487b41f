//! Stage time line: one bar of the attempt's stages in order, to scale.

use std::time::Duration;

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

/// `failed` is the stage at which the attempt ended; stages after it are outlined "not reached". A stage that has not
/// ended has no length, so it and those that were not reached stand beside the scale. Empty without any stage.
#[must_use]
pub fn chart(records: &[StageRecord], failed: Option<Stage>, words: Words) -> Html {
    let Some(last) = records.last() else { return Html::default() };
    let open = Some(last).filter(|record| record.duration_us.is_none());
    let lengths: Vec<(u64, u64)> = spans(records);
    let total = lengths.iter().map(|(start, length)| start + length).max().unwrap_or(0) as f64 / 1e6;
    let unreached = unreached(failed);
    let boxes = (unreached.len() + usize::from(open.is_some())) as f64 * ROOM;
    // Without anything to scale, the boxes begin where the scale would.
    let right = if total > 0.0 { WIDTH - boxes } else { 0.0 };
    let axis = Axis::linear((0.0, total.max(1e-6)), (0.0, right));
    let label = words.with("chart.stages", &[("total", &fixed(total, 1))]);
    let mut svg = Svg::new(WIDTH, 66.0, &label);

    let mut label_end = f64::MIN;
    for (record, (start, length)) in records.iter().zip(&lengths).filter(|(_, (_, length))| *length > 0) {
        let (from, to) = (axis.at(*start as f64 / 1e6), axis.at((start + length) as f64 / 1e6));
        let is_failed = open.is_none() && failed == Some(record.stage) && is_last(record, records);
        let length_text = duration(Duration::from_micros(*length), words);
        let area = Area { x: from + 0.5, y: TOP, width: (to - from - 1.0).max(1.0), height: BAR };
        svg.tipped(area, class(record.stage, is_failed), &tip(record, &length_text, words));
        if to - from > ROOM {
            let middle = f64::midpoint(from, to);
            let class = if is_failed { "fl" } else { "k2" };
            svg.text((middle, 14.0), &format!("{} {length_text}", record.stage), class, Anchor::Middle);
            label_end = middle + 60.0;
        } else if is_failed {
            let x = from.max(label_end);
            svg.text((x, 14.0), &format!("× {} {length_text}", record.stage), "fl", Anchor::Start);
        }
    }
    if let Some(record) = open {
        let is_failed = failed == Some(record.stage);
        let area = Area { x: right + 4.0, y: TOP, width: ROOM - 5.0, height: BAR };
        svg.tipped(area, class(record.stage, is_failed), &tip(record, &words.t("chart.not_ended"), words));
        let (mark, class) = if is_failed { ("× ", "fl") } else { ("", "k2") };
        svg.text((right + ROOM / 2.0, 14.0), &format!("{mark}{}", record.stage), class, Anchor::Middle);
        svg.text((right + ROOM / 2.0, 62.0), &words.t("chart.not_ended"), "", Anchor::Middle);
    }
    outline(&mut svg, right + if open.is_some() { ROOM } else { 0.0 }, &unreached, words);
    scale(&mut svg, total, &axis, right);
    svg.finish()
}

fn unreached(failed: Option<Stage>) -> Vec<Stage> {
    let Some(failed) = failed else { return Vec::new() };
    let expected = |stage: &Stage| *stage > failed && *stage != Stage::Energy && *stage != Stage::Teardown;
    Stage::ALL.into_iter().filter(expected).collect()
}

/// Name, length and note.
fn tip(record: &StageRecord, length: &str, words: Words) -> String {
    let name = record.process.map_or_else(
        || record.stage.as_str().to_owned(),
        |process| {
            words.with("chart.stage_of_process", &[("stage", record.stage.as_str()), ("n", &process.to_string())])
        },
    );
    let lines = [Some(format!("{name} · {length}")), record.note.clone()];
    lines.into_iter().flatten().map(|line| line.replace('|', "¦")).collect::<Vec<_>>().join("|")
}

/// What was not reached.
fn outline(svg: &mut Svg, right: f64, unreached: &[Stage], words: Words) {
    for (i, stage) in unreached.iter().enumerate() {
        let x = right + i as f64 * ROOM;
        let area = Area { x: x + 4.0, y: TOP + 0.5, width: ROOM - 5.0, height: BAR - 1.0 };
        svg.tipped(area, "out", &format!("{stage}|{}", words.t("chart.not_reached")));
        svg.text((x + ROOM / 2.0, TOP + 16.0), stage.as_str(), "", Anchor::Middle);
    }
    if !unreached.is_empty() {
        svg.text((right + 4.0, 62.0), &words.t("chart.not_reached"), "", Anchor::Start);
    }
}

/// The seconds of what has ended.
fn scale(svg: &mut Svg, total: f64, axis: &Axis, right: f64) {
    if total <= 0.0 {
        return;
    }
    let marks = ticks(0.0, total, ((right / 130.0) as u32).clamp(2, 10));
    let decimals = super::tick_decimals(&marks);
    for tick in marks {
        let x = axis.at(tick);
        svg.line((x, TOP + BAR), (x, TOP + BAR + 4.0), "ax");
        let anchor = if x < 12.0 {
            Anchor::Start
        } else if x > right - 16.0 {
            Anchor::End
        } else {
            Anchor::Middle
        };
        svg.text((x, 62.0), &format!("{} s", fixed(tick, decimals)), "", anchor);
    }
}

/// Start and length in µs. A stage whose end was not told lasts until the next one begins; the last such has no length.
fn spans(records: &[StageRecord]) -> Vec<(u64, u64)> {
    let next = |i: usize| records.get(i + 1).map(|next| next.start_us);
    let length = |(i, record): (usize, &StageRecord)| {
        let until = || next(i).unwrap_or(record.start_us).saturating_sub(record.start_us);
        (record.start_us, record.duration_us.unwrap_or_else(until))
    };
    records.iter().enumerate().map(length).collect()
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
    fn a_stage_that_has_not_ended_has_no_length() {
        let lost = chart(&[record(Stage::Fetch, 0, None)], Some(Stage::Fetch), Words(Language::English));
        assert!(lost.as_str().contains("× fetch<") && lost.as_str().contains("did not end"), "{}", lost.as_str());
        let ended = [record(Stage::Fetch, 0, Some(2_000_000)), record(Stage::Load, 2_000_000, Some(1_000_000))];
        let died = chart(&ended, Some(Stage::Load), Words(Language::English));
        assert!(died.as_str().contains("load 1.00 s") && !died.as_str().contains("did not end"), "the control");
    }

    #[test]
    fn an_attempt_without_stages_draws_nothing() {
        assert!(chart(&[], None, Words(Language::Chinese)).is_empty());
    }
}
