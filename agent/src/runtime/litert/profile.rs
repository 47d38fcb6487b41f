//! The table that LiteRT prints of its operators: one line for each node, in the order in which they run.
//!
//! ```text
//! ===== Run Order =====
//!           [node type]  [start]  [first]  [avg ms]      [%]    [cdf%]  [mem KB] [times called]  [Name]
//!   Delegate/Max Pooling   0.000    0.014     0.006   5.932%   27.542%     0.000              5  [Delegate]:2
//! ```

use seatrial_core::operators::{OperatorProfile, OperatorTime};

const TITLE: &str = " Run Order ";
/// Of a node that the engine's CPU kernels have taken over; others are run by the interpreter's own.
const DELEGATED: &str = "Delegate/";

/// Reads the table. Times are told to a thousandth of a millisecond.
pub(super) fn parse(summary: &str) -> Result<OperatorProfile, String> {
    let table = summary.lines().skip_while(|line| !line.contains(TITLE)).skip(2);
    let nodes: Vec<Node> =
        table.take_while(|line| !line.trim().is_empty()).map(node).collect::<Option<_>>().ok_or_else(unreadable)?;
    let runs = nodes.iter().map(|node| node.calls).max().filter(|&runs| runs > 0).ok_or_else(unreadable)?;
    let operators = nodes.into_iter().map(|Node { kind, mean_ms, calls, name }| {
        let (place, kind) = match kind.strip_prefix(DELEGATED) {
            Some(kind) => ("XNNPACK", kind.to_owned()),
            None => ("interpreter", kind),
        };
        let mean_us = mean_ms * 1e3 * f64::from(calls) / f64::from(runs);
        OperatorTime { name, kind, place: place.to_owned(), mean_us }
    });
    Ok(OperatorProfile::new(runs, operators.collect()))
}

fn unreadable() -> String {
    "the engine's table of operators holds none, or has changed".to_owned()
}

struct Node {
    kind: String,
    mean_ms: f64,
    calls: u32,
    name: String,
}

/// A line, read from its end: a kind has blanks inside.
fn node(line: &str) -> Option<Node> {
    let (rest, name) = line.trim().rsplit_once(" [")?;
    let mut columns: Vec<&str> = rest.split_whitespace().collect();
    let numbers = columns.split_off(columns.len().checked_sub(7)?);
    let [_start, _first, mean_ms, _share, _sum, _memory, calls] = numbers[..] else { return None };
    let kind = columns.join(" ");
    let name = format!("[{name}");
    let mean_ms = mean_ms.parse().ok().filter(|mean: &f64| mean.is_finite() && *mean >= 0.0)?;
    (!kind.is_empty()).then_some(Node { kind, mean_ms, calls: calls.parse().ok()?, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As LiteRT 2.3.0 prints it for a net on the CPU, shortened.
    const SUMMARY: &str = "\
===================================================== Run Order =====================================================
                   [node type]  [start]  [first]  [avg ms]      [%]    [cdf%]  [mem KB] [times called]  [Name]
Delegate/Static Reshape (NC)      0.000      0.014      0.003     3.390%     3.390%      0.000              5   [Delegate]:0
Delegate/Convolution (NHWC, F32) IGEMM      0.000      0.023      0.017    18.220%    21.610%      0.000              5   [Delegate]:1
                        SOFTMAX      0.000      0.001      0.001     0.220%    99.610%      0.000              5   [probabilities]:9

============================================== Top by Computation Time ==============================================
                   [node type]  [start]  [first]  [avg ms]      [%]    [cdf%]  [mem KB] [times called]  [Name]
Delegate/Convolution (NHWC, F32) IGEMM      0.000      0.023      0.017    18.220%    21.610%      0.000              5   [Delegate]:1

Number of nodes executed: 3
";

    #[test]
    fn each_node_is_told_once_with_its_kernels_and_its_mean_time() {
        let profile = parse(SUMMARY).unwrap();
        assert_eq!((profile.runs, profile.count), (5, 3));
        let told: Vec<(&str, &str, &str, f64)> = profile
            .operators
            .iter()
            .map(|one| (one.name.as_str(), one.kind.as_str(), one.place.as_str(), one.mean_us))
            .collect();
        assert_eq!(
            told,
            [
                ("[Delegate]:1", "Convolution (NHWC, F32) IGEMM", "XNNPACK", 17.0),
                ("[Delegate]:0", "Static Reshape (NC)", "XNNPACK", 3.0),
                ("[probabilities]:9", "SOFTMAX", "interpreter", 1.0),
            ]
        );
    }

    #[test]
    fn a_table_that_is_empty_or_another_is_an_error() {
        let changed = SUMMARY.replace("5   [Delegate]:1", "5 times [Delegate]:1");
        for text in ["", "Profiling information not available", " Run Order \nhead\n\n", &changed] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
