//! The minutes of a sustained run: what each came to, as a chart, as a table and as data.

use seatrial_core::measure::sustained;
use seatrial_core::profile::ProfileKind;
use serde::Serialize;

use super::super::samples::{Process, Samples};
use crate::charts::minutes;
use crate::format::{DASH, count, fixed, significant};
use crate::html::Html;
use crate::i18n::Words;

/// One full minute in which inferences began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Minute {
    /// Since the start of the first inference.
    from_s: u32,
    p50_ms: f64,
}

/// What the page shows of them.
#[derive(Default)]
pub(super) struct Minutes {
    pub chart: Html,
    /// Number from 1, median in ms, ratio to the first.
    pub rows: Vec<[String; 3]>,
    pub note: String,
}

/// Of the first process of a sustained job; empty for any other, and below a minute.
pub(super) fn of(kind: Option<ProfileKind>, samples: &Samples) -> Vec<Minute> {
    if kind != Some(ProfileKind::Sustained) {
        return Vec::new();
    }
    let series = samples.processes.first().and_then(Process::series);
    let medians = series.map(|series| sustained::minutes(&series)).unwrap_or_default();
    medians.into_iter().map(|(minute, p50_ms)| Minute { from_s: 60 * minute, p50_ms }).collect()
}

pub(super) fn shown(minutes: &[Minute], words: Words) -> Minutes {
    let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else { return Minutes::default() };
    let length = last.from_s as usize / 60 + 1;
    let mut medians = vec![None; length];
    for minute in minutes {
        medians[minute.from_s as usize / 60] = Some(minute.p50_ms);
    }
    let ratio = |median: f64| if first.p50_ms > 0.0 { fixed(median / first.p50_ms, 2) } else { DASH.to_string() };
    let row = |(index, median): (usize, &Option<f64>)| {
        let number = count(index as u64 + 1);
        match median {
            Some(median) => [number, significant(*median), ratio(*median)],
            None => [number, DASH.to_string(), DASH.to_string()],
        }
    };
    Minutes {
        chart: minutes::chart(&medians, words),
        rows: medians.iter().enumerate().map(row).collect(),
        note: words.count("job.minutes_note", length as u64, &[]),
    }
}
