//! The timed samples of a report, unpacked and checked.

use std::collections::BTreeMap;

use crate::block;
use crate::profile::MAX_SAMPLES;
use crate::reason::{Code, Reason};
use crate::report::{Block, BlockKind, Report, Thinned};

/// The timed inferences of one process, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub process: u8,
    /// Duration of each inference in ms.
    pub latency_ms: Vec<f64>,
    /// Start of each inference in s since the first.
    pub start_s: Vec<f64>,
    /// When not every inference is a sample.
    pub thinned: Option<Thinned>,
}

impl Series {
    /// Every how many inferences one is a sample.
    #[must_use]
    pub fn every(&self) -> u32 {
        self.thinned.map_or(1, |thinned| thinned.every.max(1))
    }

    /// From one of its samples to the next, so that one of every `every` inferences is taken.
    #[must_use]
    pub fn steps(&self, every: u32) -> usize {
        every.div_ceil(self.every()).max(1) as usize
    }

    /// Every how many inferences one is a sample in the process that thinned its samples most. Samples of several
    /// processes are looked at together only when all are thinned as far: else who thinned less would count for more.
    #[must_use]
    pub fn thinnest(series: &[Self]) -> u32 {
        series.iter().map(Self::every).max().unwrap_or(1)
    }

    /// Timed inferences, and the sum of their latencies in ms.
    #[must_use]
    pub fn totals(&self) -> (u64, f64) {
        match self.thinned {
            Some(thinned) => (thinned.inferences, thinned.total_ns as f64 / 1e6),
            None => (self.latency_ms.len() as u64, self.latency_ms.iter().sum()),
        }
    }

    /// The shortest and the longest latency in ms.
    #[must_use]
    pub fn extremes(&self) -> Option<(f64, f64)> {
        let least = self.latency_ms.iter().copied().reduce(f64::min)?;
        let most = self.latency_ms.iter().copied().reduce(f64::max)?;
        Some(match self.thinned {
            Some(Thinned { least_ns, most_ns, .. }) => {
                (least.min(least_ns as f64 / 1e6), most.max(most_ns as f64 / 1e6))
            }
            None => (least, most),
        })
    }
}

/// What the latency blocks hold, by process, and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    pub series: Vec<Series>,
    /// A block that cannot be trusted is left out, and this says so.
    pub problems: Vec<Reason>,
}

impl Samples {
    /// Unpacks the latency and start blocks of a report. Without sound starts the inferences are taken to have run back
    /// to back, and that is a problem: what was late would not show.
    #[must_use]
    pub fn read(report: &Report) -> Self {
        let mut problems = Vec::new();
        let mut latencies = unpack_all(report, BlockKind::LatencyNs, &mut problems);
        let mut starts = unpack_all(report, BlockKind::StartUs, &mut problems);

        let mut series = Vec::new();
        while let Some((process, nanoseconds)) = latencies.pop_first() {
            let latency_ms: Vec<f64> = nanoseconds.iter().map(|&ns| ns as f64 / 1e6).collect();
            let start_s = match starts.remove(&process) {
                Some(start) if start.len() == latency_ms.len() && start.is_sorted() => {
                    start.iter().map(|&us| (us - start[0]) as f64 / 1e6).collect()
                }
                Some(_) => {
                    problems.push(Reason::new(Code::StartsUnfit, &[]).of_process(process));
                    back_to_back(&latency_ms)
                }
                None => {
                    let record = report.processes.iter().find(|record| record.index == process);
                    // A program that measures itself tells durations only.
                    if record.is_none_or(|record| record.program.is_none()) {
                        problems.push(Reason::new(Code::StartsMissing, &[]).of_process(process));
                    }
                    back_to_back(&latency_ms)
                }
            };
            let record = report.processes.iter().find(|record| record.index == process);
            let thinned = record.and_then(|record| record.thinned);
            series.push(Series { process, latency_ms, start_s, thinned });
        }
        Self { series, problems }
    }
}

fn back_to_back(latency_ms: &[f64]) -> Vec<f64> {
    let mut elapsed_s = 0.0;
    latency_ms
        .iter()
        .map(|latency| {
            let start = elapsed_s;
            elapsed_s += latency / 1e3;
            start
        })
        .collect()
}

/// The block of one kind of every process that has a sound one.
fn unpack_all(report: &Report, kind: BlockKind, problems: &mut Vec<Reason>) -> BTreeMap<u8, Vec<i64>> {
    let mut found = BTreeMap::new();
    for block in report.blocks.iter().filter(|block| block.metric == kind) {
        match unpack(block) {
            Ok(values) if values.is_empty() => {}
            Ok(values) => {
                if found.insert(block.process, values).is_some() {
                    let twice = Reason::new(Code::BlockTwice, &[("block", &kind.as_str())]);
                    problems.push(twice.of_process(block.process));
                }
            }
            Err(why) => {
                let unusable = Reason::new(Code::BlockUnusable, &[("block", &kind.as_str()), ("why", &why)]);
                problems.push(unusable.of_process(block.process));
            }
        }
    }
    found
}

fn unpack(block: &Block) -> Result<Vec<i64>, String> {
    if block.count > MAX_SAMPLES {
        return Err(format!("{} samples are more than the {MAX_SAMPLES} that a report may hold", block.count));
    }
    let values = block::unpack(&block.bytes, block.count).map_err(|error| error.to_string())?;
    match values.iter().find(|&&value| value < 0) {
        Some(negative) => Err(format!("it holds a negative time, {negative}")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::testing::{block, report};

    #[test]
    fn latencies_are_read_in_milliseconds_with_their_starts() {
        let mut report = report();
        report.blocks =
            vec![block(BlockKind::LatencyNs, 1, &[2_000_000, 3_000_000]), block(BlockKind::StartUs, 1, &[500, 10_500])];
        let samples = Samples::read(&report);
        assert!(samples.problems.is_empty());
        assert_eq!(
            samples.series,
            [Series { process: 1, latency_ms: vec![2.0, 3.0], start_s: vec![0.0, 0.01], thinned: None }]
        );
    }

    #[test]
    fn without_starts_the_inferences_are_taken_to_have_run_back_to_back_and_that_is_said() {
        let mut report = report();
        report.blocks = vec![block(BlockKind::LatencyNs, 0, &[2_000_000_000, 3_000_000_000, 1])];
        let samples = Samples::read(&report);
        assert_eq!(samples.series[0].start_s, [0.0, 2.0, 5.0]);
        assert_eq!(samples.problems, ["process 0: it is not known when its samples began"]);
    }

    #[test]
    fn a_damaged_block_is_left_out_and_named() {
        let mut report = report();
        report.blocks = vec![
            block(BlockKind::LatencyNs, 0, &[1, 2, 3]),
            block(BlockKind::LatencyNs, 1, &[4]),
            block(BlockKind::StartUs, 1, &[0]),
        ];
        report.blocks[0].bytes[0] = 77;
        let samples = Samples::read(&report);
        assert_eq!(
            samples.problems,
            ["process 0: the latency_ns block cannot be used: codec 77 is not known to this build"]
        );
        assert_eq!(samples.series.len(), 1, "the sound process is kept");
    }

    #[test]
    fn impossible_samples_are_refused() {
        let mut report = report();
        report.blocks = vec![
            block(BlockKind::LatencyNs, 0, &[5, -1]),
            block(BlockKind::LatencyNs, 1, &[5, 6]),
            block(BlockKind::LatencyNs, 1, &[5, 7]),
            block(BlockKind::StartUs, 1, &[9, 3]),
            Block { count: MAX_SAMPLES + 1, ..block(BlockKind::LatencyNs, 2, &[1]) },
        ];
        assert_eq!(
            Samples::read(&report).problems,
            [
                "process 0: the latency_ns block cannot be used: it holds a negative time, -1",
                "process 1: more than one latency_ns block",
                "process 2: the latency_ns block cannot be used: 400001 samples are more than the 400000 that a report may hold",
                "process 1: the start times do not fit the samples",
            ]
        );
    }
}
