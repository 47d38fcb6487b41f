//! Figures in the own words of programs that measure themselves: kept beside the metrics, and never among them.

use super::samples::Series;
use super::stats;
use crate::command::Unit;
use crate::metric::{Estimate, Metric};
use crate::reading::Reading;
use crate::reason::{Code, Reason};
use crate::report::{ProcessRecord, ProgramRun, Report, Told};

/// What begins the name of every figure that a program told: none of these is a metric of the registry, so that no gate
/// and no series takes one for a measurement.
pub const PREFIX: &str = "told.";
/// Stands beside the version of the algorithm where figures were told. Nothing is derived of them but the median over
/// the processes of an attempt.
pub const ALGORITHM: &str = "as-told-1";

/// What the figures of a report were derived with: as told, where a program has told any, and what derives energy.
#[must_use]
pub fn algorithm(report: &Report) -> String {
    let told = programs(report).any(|(_, program)| !program.told.is_empty());
    let of_energy = report.energy.as_ref().map(|_| crate::energy::ALGORITHM);
    let more = told.then_some(ALGORITHM).into_iter().chain(of_energy);
    more.fold(super::ALGORITHM.to_owned(), |all, one| format!("{all}+{one}"))
}

fn programs(report: &Report) -> impl Iterator<Item = (&ProcessRecord, &ProgramRun)> {
    report.processes.iter().filter_map(|record| Some((record, record.program.as_ref()?)))
}

/// The figures of a report, as they were told; of several processes their median.
#[must_use]
pub fn metrics(report: &Report) -> Vec<Metric> {
    let Some((_, first)) = programs(report).next() else { return Vec::new() };
    let metric = |of: &Told| {
        let same = |told: &&Told| told.name == of.name && told.unit == of.unit;
        let values =
            programs(report).filter_map(|(_, program)| program.told.iter().find(same)?.value.present().copied());
        let value = match (stats::median_of(values), &of.value) {
            (Some(value), _) => Reading::Present(Estimate { value, interval: None }),
            (None, Reading::Absent(why)) => Reading::absent(why.clone()),
            (None, Reading::Present(_)) => Reading::absent("no finite value"),
        };
        Metric { name: format!("{PREFIX}{}", of.name), unit: of.unit.clone(), value }
    };
    first.told.iter().map(metric).collect()
}

/// An empty series for each process that measured itself and told no samples: what else went on beside it is judged
/// all the same.
pub(super) fn silent(report: &Report, series: &[Series]) -> Vec<Series> {
    let tells_none = |record: &ProcessRecord| record.sentinel && series.iter().all(|each| each.process != record.index);
    programs(report)
        .filter(|(record, _)| tells_none(record))
        .map(|(record, _)| Series { process: record.index, latency_ms: Vec::new(), start_s: Vec::new(), thinned: None })
        .collect()
}

/// A program cannot have measured for longer than it ran.
pub(super) fn implausible(report: &Report, series: &[Series]) -> Vec<Reason> {
    let more = |(record, program): (&ProcessRecord, &ProgramRun)| {
        let samples = series.iter().find(|each| each.process == record.index).map(|each| each.totals().1);
        let figures = program.told.iter().filter_map(|told| {
            let unit: Unit = serde_json::from_value(told.unit.as_str().into()).ok()?;
            Some(told.value.present()? * unit.nanoseconds()? / 1e6)
        });
        let told_ms = figures.chain(samples).fold(0.0, f64::max);
        (told_ms > program.wall_ms).then(|| {
            let (told, wall) = (format!("{told_ms:.0}"), format!("{:.0}", program.wall_ms));
            let arguments: [(&str, &dyn std::fmt::Display); 3] =
                [("program", &program.name), ("told", &told), ("wall", &wall)];
            Reason::new(Code::ToldMoreTime, &arguments).of_process(record.index)
        })
    };
    programs(report).filter_map(more).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::measure::summarise;
    use crate::profile::ProfileKind;
    use crate::report::BlockKind;

    fn program(figures: &[(&str, &str, Reading<f64>)]) -> ProgramRun {
        let told = figures.iter().map(|(name, unit, value)| Told {
            name: (*name).to_owned(),
            unit: (*unit).to_owned(),
            value: value.clone(),
        });
        ProgramRun {
            name: "benchncnn".to_owned(),
            version: Reading::absent("benchncnn does not tell it"),
            wall_ms: 9_000.0,
            told: told.collect(),
        }
    }

    /// A report of processes that each started the program.
    fn report(programs: &[ProgramRun]) -> Report {
        let processes = (0..).zip(programs).map(|(index, program)| ProcessRecord {
            program: Some(program.clone()),
            load_ms: None,
            first_infer_ms: None,
            warmup_iterations: None,
            ..testing::process(index, 1.0)
        });
        Report { processes: processes.collect(), ..testing::report() }
    }

    #[test]
    fn figures_keep_their_name_unit_and_absence_and_are_no_metrics_of_the_registry() {
        let absent = Reading::absent("benchncnn does not tell it");
        let told =
            metrics(&report(&[program(&[("latency_avg", "us", Reading::Present(5.5)), ("init", "ms", absent)])]));
        assert_eq!((told[0].name.as_str(), told[0].unit.as_str()), ("told.latency_avg", "us"));
        assert_eq!(told[0].value.present().unwrap().value, 5.5);
        assert_eq!(told[1].value.reason(), Some("benchncnn does not tell it"));
        assert!(told.iter().all(|metric| crate::metric::kind(&metric.name).is_none()));
        assert_eq!(metrics(&testing::report()), [], "the control: nobody told anything");
    }

    #[test]
    fn the_algorithm_says_which_figures_are_a_programs_own_words() {
        let told = report(&[program(&[("latency_avg", "ms", Reading::Present(5.5))])]);
        assert_eq!(algorithm(&told), format!("{}+as-told-1", crate::measure::ALGORITHM));
        assert_eq!(algorithm(&report(&[program(&[])])), crate::measure::ALGORITHM, "samples are ours to judge");
        assert_eq!(algorithm(&testing::report()), crate::measure::ALGORITHM);
    }

    #[test]
    fn of_several_processes_the_median_stands() {
        let of = |value| program(&[("latency_avg", "ms", Reading::Present(value))]);
        let told = metrics(&report(&[of(3.0), of(1.0), of(2.0)]));
        assert_eq!(told[0].value.present().unwrap().value, 2.0);
    }

    #[test]
    fn a_run_that_tells_averages_only_is_valid_and_has_no_latencies() {
        let spec = testing::spec(ProfileKind::Quick, None, 1);
        let told = report(&[program(&[("latency_avg", "ms", Reading::Present(5.5))])]);
        let summary = summarise(&spec, &told);
        assert!(summary.invalid.is_empty(), "{:?}", summary.invalid);
        let p50 = summary.metrics.iter().find(|metric| metric.name == "lat_p50_ms").unwrap();
        assert_eq!(p50.value.reason(), Some("benchncnn measures itself; what it reports stands apart"));
        // The control: the same process, had it measured with our clock, would have had to give samples.
        let ours = Report { processes: vec![testing::process(0, 1.0)], ..testing::report() };
        assert_eq!(summarise(&spec, &ours).invalid.len(), 1);
    }

    #[test]
    fn what_went_on_beside_a_program_invalidates_its_words_too() {
        let mut told = report(&[program(&[("latency_avg", "ms", Reading::Present(5.5))])]);
        told.processes[0].window.as_mut().unwrap().foreign_cpu = Some(0.5);
        let summary = summarise(&testing::spec(ProfileKind::Quick, None, 1), &told);
        assert_eq!(summary.invalid[0].code(), Some(Code::ForeignCpu));
    }

    #[test]
    fn samples_of_a_program_are_summarised_as_any_others() {
        let mut told = report(&[program(&[])]);
        let ns: Vec<i64> = (0..100).map(|i| 1_000_000 + (i * 37 % 100) * 1_000).collect();
        told.blocks.push(testing::block(BlockKind::LatencyNs, 0, &ns));
        let summary = summarise(&testing::spec(ProfileKind::Quick, None, 1), &told);
        assert!(summary.invalid.is_empty(), "when they began is not asked of a program: {:?}", summary.invalid);
        let p50 = summary.metrics.iter().find(|metric| metric.name == "lat_p50_ms").unwrap();
        assert!((p50.value.present().unwrap().value - 1.0495).abs() < 1e-9);
    }

    #[test]
    fn a_program_that_tells_of_more_time_than_it_ran_is_not_believed() {
        let too_long = report(&[program(&[("latency_avg", "s", Reading::Present(9.1))])]);
        let summary = summarise(&testing::spec(ProfileKind::Quick, None, 1), &too_long);
        assert_eq!(summary.invalid[0].text(), "process 0: benchncnn tells of 9100 ms, and it ran for 9000 ms");
        let mut samples = report(&[program(&[("throughput", "1/s", Reading::Present(1e9))])]);
        samples.blocks.push(testing::block(BlockKind::LatencyNs, 0, &[100_000_000; 100]));
        let summary = summarise(&testing::spec(ProfileKind::Quick, None, 1), &samples);
        assert_eq!(summary.invalid[0].code(), Some(Code::ToldMoreTime));
    }
}
