//! Limits and measurement profiles: numbers that must agree with each other.

use std::time::Duration;

use super::report_duplicates;
use crate::energy::Limits as EnergyLimits;
use crate::job::Limits;
use crate::profile::{MeasurementProfile, ProfileKind, StopRule, WarmupRule};
use crate::stage::Stage;
use crate::suite::document::Reporter;
use crate::suite::file::{LimitsTable, ProfileEntry, ProfileNumbers, ProfileTable, WarmupTable};

/// Measuring must end this long before its stage's deadline, or a slow model would look like a hang.
const DEADLINE_MARGIN: Duration = Duration::from_secs(15);

pub(super) fn resolve_limits(written: &LimitsTable) -> Limits {
    let LimitsTable { memory_mb, output_kb, deadline_seconds: seconds } = written;
    let mut limits = Limits::default();
    if let Some(mb) = memory_mb {
        limits.memory_bytes = mb << 20;
    }
    if let Some(kb) = output_kb {
        limits.output_bytes = kb << 10;
    }
    let written = [
        (Stage::Fetch, seconds.fetch),
        (Stage::Prepare, seconds.prepare),
        (Stage::Load, seconds.load),
        (Stage::FirstInference, seconds.first_inference),
        (Stage::Warmup, seconds.warmup),
        (Stage::Measure, seconds.measure),
        (Stage::Accuracy, seconds.accuracy),
        (Stage::Energy, seconds.energy),
        (Stage::Teardown, seconds.teardown),
    ];
    for (stage, seconds) in written {
        if let Some(seconds) = seconds {
            limits.deadlines.insert(stage, Duration::from_secs(seconds.into()));
        }
    }
    limits
}

pub(super) fn resolve_profiles(
    defaults: &ProfileNumbers,
    written: Option<Vec<ProfileEntry>>,
    limits: &Limits,
    reporter: &mut Reporter<'_>,
) -> Vec<MeasurementProfile> {
    let entries = written.unwrap_or_else(|| vec![ProfileEntry::Kind(ProfileKind::Quick)]);
    let tables: Vec<ProfileTable> = entries.into_iter().map(into_table).collect();
    let kinds: Vec<ProfileKind> = tables.iter().map(|table| table.kind).collect();
    let hint = "a profile is a part of a series' name, so a suite may hold each kind once";
    report_duplicates("profiles", &kinds, |kind| kind.as_str().to_owned(), Some(hint), reporter);
    let numbered = tables.into_iter().enumerate();
    numbered
        .map(|(index, table)| resolve_profile(&format!("profiles[{index}]"), table, defaults, limits, reporter))
        .collect()
}

fn into_table(entry: ProfileEntry) -> ProfileTable {
    match entry {
        ProfileEntry::Table(table) => table,
        ProfileEntry::Kind(kind) => ProfileTable {
            kind,
            min_samples: None,
            max_samples: None,
            min_seconds: None,
            max_seconds: None,
            processes: None,
            interval_ms: None,
            max_pairs: None,
            phase_seconds: None,
            phase_updates: None,
            calibration_seconds: None,
            warmup: None,
        },
    }
}

fn resolve_profile(
    path: &str,
    table: ProfileTable,
    defaults: &ProfileNumbers,
    limits: &Limits,
    reporter: &mut Reporter<'_>,
) -> MeasurementProfile {
    let base = MeasurementProfile::of(table.kind);
    if table.kind == ProfileKind::Energy {
        return resolve_energy(path, &table, defaults, limits, reporter);
    }
    let ProfileTable {
        kind,
        min_samples,
        max_samples,
        min_seconds,
        max_seconds,
        processes,
        interval_ms,
        max_pairs,
        phase_seconds,
        phase_updates,
        calibration_seconds,
        warmup,
    } = table;
    let of_energy = [
        ("max_pairs", max_pairs.is_some()),
        ("phase_seconds", phase_seconds.is_some()),
        ("phase_updates", phase_updates.is_some()),
        ("calibration_seconds", calibration_seconds.is_some()),
    ];
    for (key, _) in of_energy.into_iter().filter(|(_, is_set)| *is_set) {
        let message = format!("`{path}.{key}`: \"{}\" measures no energy", kind.as_str());
        reporter.at(&format!("{path}.{key}"), message, Some("set kind = \"energy\"".to_owned()));
    }
    if interval_ms.is_some() && kind != ProfileKind::Paced {
        let message = format!("`{path}.interval_ms`: \"{}\" is not paced", kind.as_str());
        reporter.at(&format!("{path}.interval_ms"), message, Some("set kind = \"paced\"".to_owned()));
    }
    if kind == ProfileKind::AccuracyOnly {
        let timed = min_samples.is_some() || max_samples.is_some() || min_seconds.is_some() || max_seconds.is_some();
        if timed || processes.is_some() || warmup.is_some() {
            let hint = "leave only `kind`, or choose \"quick\"".to_owned();
            reporter.at(
                path,
                format!("`{path}`: \"accuracy_only\" times nothing, so nothing about timing can be set"),
                Some(hint),
            );
        }
        return base;
    }
    let seconds =
        |own: Option<f64>, default: Option<f64>, base: Duration| own.or(default).map_or(base, Duration::from_secs_f64);
    let room = limits.deadline(Stage::Measure).saturating_sub(DEADLINE_MARGIN);
    let min_time = seconds(min_seconds, defaults.min_seconds, base.stop.min_time);
    let stop = StopRule {
        min_samples: min_samples.or(defaults.min_samples).unwrap_or(base.stop.min_samples),
        max_samples: max_samples.or(defaults.max_samples).unwrap_or(base.stop.max_samples),
        min_time,
        max_time: seconds(max_seconds, defaults.max_seconds, base.stop.max_time.max(min_time).min(room)),
    };
    if stop.min_samples > stop.max_samples {
        let message =
            format!("`{path}`: min_samples ({}) is more than max_samples ({})", stop.min_samples, stop.max_samples);
        reporter.at(path, message, None);
    }
    judge_times(path, &stop, room, limits, reporter);
    MeasurementProfile {
        kind,
        warmup: resolve_warmup(path, warmup.as_ref(), defaults.warmup.as_ref(), limits, reporter),
        stop,
        processes: processes.or(defaults.processes).unwrap_or(base.processes),
        interval: interval_ms.map(|ms| Duration::from_secs_f64(ms / 1000.0)).or(base.interval),
        energy: None,
    }
}

/// How long it takes follows from the gauge; the suite bounds it.
fn resolve_energy(
    path: &str,
    table: &ProfileTable,
    defaults: &ProfileNumbers,
    limits: &Limits,
    reporter: &mut Reporter<'_>,
) -> MeasurementProfile {
    let base = MeasurementProfile::of(ProfileKind::Energy);
    let timed = table.min_samples.is_some() || table.max_samples.is_some() || table.min_seconds.is_some();
    if timed || table.processes.is_some() || table.interval_ms.is_some() {
        let hint = "set max_seconds, max_pairs, phase_seconds, phase_updates or calibration_seconds".to_owned();
        let message = format!("`{path}`: \"energy\" keeps no samples, and how long it takes follows from the gauge");
        reporter.at(path, message, Some(hint));
    }
    let room = limits.deadline(Stage::Energy).saturating_sub(DEADLINE_MARGIN).as_secs_f64();
    let energy = base.energy.map(|base| EnergyLimits {
        most_pairs: table.max_pairs.unwrap_or(base.most_pairs),
        shortest_phase_s: table.phase_seconds.unwrap_or(base.shortest_phase_s),
        least_updates: table.phase_updates.unwrap_or(base.least_updates),
        trace_phase_s: table.calibration_seconds.unwrap_or(base.trace_phase_s),
        longest_s: table.max_seconds.unwrap_or(base.longest_s.min(room)),
        ..base
    });
    if let Some(energy) = energy.filter(|energy| energy.longest_s > room) {
        let deadline = limits.deadline(Stage::Energy).as_secs();
        let message = format!(
            "`{path}`: measuring energy for {} s does not fit its stage, which ends after {deadline} s and needs {} s to spare",
            energy.longest_s,
            DEADLINE_MARGIN.as_secs()
        );
        reporter.at(path, message, Some("set limits.deadline_seconds.energy (at most 885)".to_owned()));
    }
    MeasurementProfile {
        warmup: resolve_warmup(path, table.warmup.as_ref(), defaults.warmup.as_ref(), limits, reporter),
        energy,
        ..base
    }
}

fn judge_times(path: &str, stop: &StopRule, room: Duration, limits: &Limits, reporter: &mut Reporter<'_>) {
    let (least, most) = (stop.min_time.as_secs_f64(), stop.max_time.as_secs_f64());
    if stop.min_time.max(stop.max_time) > room {
        let deadline = limits.deadline(Stage::Measure).as_secs();
        let message = format!(
            "`{path}`: measuring for {} s does not fit the measure stage, which ends after {deadline} s and needs {} s to spare",
            least.max(most),
            DEADLINE_MARGIN.as_secs()
        );
        let hint = "set limits.deadline_seconds.measure (at most 885), or measure for a shorter time".to_owned();
        reporter.at(path, message, Some(hint));
    } else if stop.min_time > stop.max_time {
        let message = format!("`{path}`: min_seconds ({least}) is more than max_seconds ({most})");
        reporter.at(path, message, None);
    }
}

fn resolve_warmup(
    path: &str,
    own: Option<&WarmupTable>,
    defaults: Option<&WarmupTable>,
    limits: &Limits,
    reporter: &mut Reporter<'_>,
) -> WarmupRule {
    fn pick<T: Copy>(
        own: Option<&WarmupTable>,
        default: Option<&WarmupTable>,
        key: impl Fn(&WarmupTable) -> Option<T>,
    ) -> Option<T> {
        own.and_then(&key).or_else(|| default.and_then(&key))
    }
    let base = WarmupRule::default();
    let seconds = |value: Option<f64>, base: Duration| value.map_or(base, Duration::from_secs_f64);
    let deadline = limits.deadline(Stage::Warmup);
    let rule = WarmupRule {
        min_iterations: pick(own, defaults, |table| table.min_iterations).unwrap_or(base.min_iterations),
        min_time: seconds(pick(own, defaults, |table| table.min_seconds), base.min_time),
        min_improvement: pick(own, defaults, |table| table.min_improvement).unwrap_or(base.min_improvement),
        max_time: seconds(pick(own, defaults, |table| table.max_seconds), base.max_time.min(deadline)),
    };
    let path = format!("{path}.warmup");
    if rule.max_time > deadline {
        let message = format!(
            "`{path}`: warming up for {} s does not fit its stage, which ends after {} s",
            rule.max_time.as_secs_f64(),
            deadline.as_secs()
        );
        reporter.at(&path, message, Some("set limits.deadline_seconds.warmup (at most 885)".to_owned()));
    } else if rule.min_time > rule.max_time {
        let (least, most) = (rule.min_time.as_secs_f64(), rule.max_time.as_secs_f64());
        reporter.at(&path, format!("`{path}`: min_seconds ({least}) is more than max_seconds ({most})"), None);
    }
    rule
}
