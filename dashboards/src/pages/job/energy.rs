//! What the device drew: the numbers with what they are worth, the trace that they are of, and where it came from.

use seatrial_core::energy::calibrate::{CurrentUnit, Known, Sign};
use seatrial_core::energy::check::CrossCheck;
use seatrial_core::energy::plan::{Limits, Route, Timing};
use seatrial_core::energy::recording::PhaseKind;
use seatrial_core::energy::signal::{Signals, Trace};
use seatrial_core::energy::source::State;
use seatrial_core::energy::{Calibration, Energy, EnergyRecord, Grade};
use seatrial_core::reading::Reading;

use super::super::Numbers;
use super::Data;
use crate::charts::energy::{self, Band};
use crate::format::{DASH, significant};
use crate::html::{self, Html};
use crate::i18n::Words;

/// What the page shows of it; nothing of a job that measured none.
#[derive(Default)]
pub(super) struct Shown {
    pub exists: bool,
    /// The grade, and in words what it means.
    pub grade: String,
    pub grade_class: &'static str,
    pub why: String,
    pub note: String,
    pub chart: Html,
    pub rows: Vec<(String, Html)>,
    pub flags: Vec<String>,
    pub calibration: Vec<(String, String, String)>,
    /// Source, field, state, value.
    pub sources: Vec<[String; 4]>,
}

/// Derived anew from the readings, for the grade with its reason; the numbers shown are the stored ones.
pub(super) fn of(record: Option<&EnergyRecord>, seed: u64) -> Option<Energy> {
    record.map(|record| record.energy(seed))
}

pub(super) fn shown(data: &Data, numbers: &Numbers, words: Words) -> Shown {
    let record = data.report.as_ref().and_then(|report| report.energy.as_ref());
    let (Some(record), Some(energy)) = (record, &data.energy) else { return Shown::default() };
    let labels = [
        ("energy_per_infer_mj", "energy.net"),
        ("energy_gross_per_infer_mj", "energy.gross"),
        ("power_net_w", "energy.net_power"),
        ("power_gross_w", "energy.gross_power"),
        ("power_idle_w", "energy.idle_power"),
        ("drain_mah", "energy.drain"),
        ("drain_pct_per_hour", "energy.per_hour"),
        ("drain_pct_per_1k", "energy.per_thousand"),
        ("battery_temp_rise_c", "energy.rise"),
    ];
    let row =
        |(name, label): (&str, &str)| Some((words.t(label).into_owned(), html::shown(&numbers.shown(name)?, words)));
    // Without a grade every number is absent for the one reason that stands above.
    let rows = if energy.grade == Grade::E4 { Vec::new() } else { labels.into_iter().filter_map(row).collect() };
    Shown {
        exists: true,
        grade: format!("{} {}", energy.grade, words.t(grade_key(energy.grade))),
        grade_class: match energy.grade {
            Grade::E0 | Grade::E1 => "better",
            Grade::E2 | Grade::E3 => "suspect",
            Grade::E4 => "worse",
        },
        why: words.reason(&energy.why),
        note: note(record, energy, words),
        chart: chart(record, energy, words),
        rows,
        flags: energy.flags.iter().map(|flag| words.reason(flag)).collect(),
        calibration: calibration(&record.calibration, words),
        sources: record
            .sources
            .iter()
            .map(|source| {
                let state = state(&source.state, words);
                let value = source.value.map_or_else(|| DASH.to_string(), significant);
                [source.source.to_string(), source.field.to_string(), state, value]
            })
            .collect(),
    }
}

/// How a source answered.
pub(crate) fn state(state: &State, words: Words) -> String {
    match state {
        State::Ok => words.t("energy.source_ok").into_owned(),
        State::Denied(why) | State::Missing(why) | State::Constant(why) => words.reason(why),
    }
}

const fn grade_key(grade: Grade) -> &'static str {
    match grade {
        Grade::E0 => "energy.e0",
        Grade::E1 => "energy.e1",
        Grade::E2 => "energy.e2",
        Grade::E3 => "energy.e3",
        Grade::E4 => "energy.e4",
    }
}

/// How many pairs, of which source, and why it ended.
fn note(record: &EnergyRecord, energy: &Energy, words: Words) -> String {
    let pairs = words.count("energy.pairs", energy.pairs as u64, &[]);
    let route = energy.route.map(|route| {
        let key = match route {
            Route::Meter => "energy.by_meter",
            Route::Current => "energy.by_current",
            Route::Counter => "energy.by_counter",
        };
        words.t(key).into_owned()
    });
    let check = energy.cross_check.as_ref().and_then(|check| match check {
        CrossCheck::Agrees(ratio) | CrossCheck::Disagrees(ratio) => {
            Some(words.with("energy.ratio", &[("ratio", &significant(*ratio))]))
        }
        CrossCheck::Untold(_) => None,
    });
    let end = words.with("energy.ended", &[("why", &words.reason(&record.end))]);
    let parts: Vec<String> = std::iter::once(pairs).chain(route).chain(check).chain([end]).collect();
    parts.join(words.semicolon())
}

fn chart(record: &EnergyRecord, energy: &Energy, words: Words) -> Html {
    let meter = record.recording.meter.as_ref();
    // A recording that gives no number may still show what was read.
    let Some(route) = energy.route.or_else(|| Route::of(meter, &record.calibration).ok()) else {
        return Html::default();
    };
    let Ok(signals) = Signals::of(route, &record.recording, &record.calibration) else { return Html::default() };
    let settle_s = Timing::of(route, meter, &record.calibration, &Limits::default()).settle_s;
    let band = |phase: &seatrial_core::energy::Phase| Band {
        from: phase.start_s,
        until: phase.end_s,
        load: phase.kind == PhaseKind::Load,
        watts: signals.power.mean(phase.start_s + settle_s, phase.end_s),
        inferences: phase.inferences,
    };
    let bands: Vec<Band> = record.recording.phases.iter().map(band).collect();
    let points = match &signals.power {
        Trace::Rate { points, .. } => points.as_slice(),
        // How fast a counter rises shows over a whole phase only.
        Trace::Total { .. } => &[],
    };
    energy::chart(points, &bands, words)
}

/// What is known of the gauge: label, value, and what shows it or why it is not known.
pub(crate) fn calibration(calibration: &Calibration, words: Words) -> Vec<(String, String, String)> {
    fn line<T>(key: &str, known: &Known<T>, value: impl Fn(&T) -> String, words: Words) -> (String, String, String) {
        let label = words.t(key).into_owned();
        match known {
            Reading::Present(found) => (label, value(&found.value), words.reason(&found.evidence)),
            Reading::Absent(why) => (label, DASH.to_string(), words.phrase(why)),
        }
    }
    let seconds = |value: &f64| format!("{} s", significant(*value));
    let sign = |sign: &Sign| {
        let key = match sign {
            Sign::DischargeNegative => "energy.sign_negative",
            Sign::DischargePositive => "energy.sign_positive",
        };
        words.t(key).into_owned()
    };
    let unit = |unit: &CurrentUnit| match unit {
        CurrentUnit::Milliamps => "mA".to_owned(),
        CurrentUnit::Microamps => "µA".to_owned(),
    };
    vec![
        line("energy.sign", &calibration.sign, sign, words),
        line("energy.unit", &calibration.unit, unit, words),
        line("energy.period", &calibration.period_s, seconds, words),
        line("energy.resolution", &calibration.resolution, |value| significant(*value), words),
        line("energy.lag", &calibration.lag_s, seconds, words),
        line(
            "energy.counter_unit",
            &calibration.counter_unit_mah,
            |value| format!("{} mAh", significant(*value)),
            words,
        ),
        line(
            "energy.counter_step",
            &calibration.counter_step_mah,
            |value| format!("{} mAh", significant(*value)),
            words,
        ),
    ]
}

/// Moment in s, what was done then, and every value that was read: for people who reckon themselves.
pub(crate) fn table(record: &EnergyRecord) -> String {
    let head =
        ["at_s", "phase", "current", "voltage_v", "counter", "level_percent", "charging", "powered", "temperature_c"];
    let phase_at = |at_s: f64| {
        let phase = record.recording.phases.iter().find(|phase| (phase.start_s..=phase.end_s).contains(&at_s));
        phase.map_or("", |phase| match phase.kind {
            PhaseKind::Idle => "idle",
            PhaseKind::Load => "load",
        })
    };
    let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let rows = record.recording.battery.iter().map(|reading| {
        vec![
            reading.at_s.to_string(),
            phase_at(reading.at_s).to_owned(),
            text(reading.current),
            text(reading.voltage_v),
            text(reading.counter),
            text(reading.level_percent),
            reading
                .charging
                .and_then(|it| serde_json::to_value(it).ok())
                .and_then(|it| it.as_str().map(str::to_owned))
                .unwrap_or_default(),
            reading.powered.map(|powered| powered.to_string()).unwrap_or_default(),
            text(reading.temperature_c),
        ]
    });
    if record.recording.meter.is_none() {
        return crate::export::csv::write(&head, rows);
    }
    let points = record.recording.meter.iter().flat_map(|meter| meter.trace.points());
    let rows = points.map(|&(at_s, value)| vec![at_s.to_string(), phase_at(at_s).to_owned(), value.to_string()]);
    let total = record.recording.meter.as_ref().is_some_and(|meter| matches!(meter.trace, Trace::Total { .. }));
    crate::export::csv::write(&["at_s", "phase", if total { "energy_j" } else { "power_w" }], rows)
}
