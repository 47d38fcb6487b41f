//! Where the time of an inference goes, operator by operator, as an engine tells it, and on what each operator ran.

use serde::{Deserialize, Serialize};

/// Operators that are kept; the slowest are.
pub const MAX_OPERATORS: usize = 256;
/// Names of operators beside the accelerator that are kept.
pub const MAX_REST: usize = 32;

/// Mean times of one inference, from a process that is not timed otherwise: telling costs time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorProfile {
    /// Inferences that the means are of, at least 1.
    pub runs: u32,
    /// Slowest first, at most [`MAX_OPERATORS`].
    pub operators: Vec<OperatorTime>,
    /// How many there were in all.
    pub count: u32,
    /// Their mean times together, in µs.
    pub total_us: f64,
}

/// One operator of the graph that the engine really runs: after its optimiser has fused what it could.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorTime {
    pub name: String,
    /// `Conv`, `FusedMatMul`, …
    pub kind: String,
    /// What ran it, in the engine's own word: `CPUExecutionProvider`.
    pub place: String,
    /// Mean time of one inference, in µs.
    pub mean_us: f64,
}

impl OperatorProfile {
    /// Sorts and bounds.
    #[must_use]
    pub fn new(runs: u32, mut operators: Vec<OperatorTime>) -> Self {
        operators.sort_by(|a, b| b.mean_us.total_cmp(&a.mean_us).then_with(|| a.name.cmp(&b.name)));
        let count = u32::try_from(operators.len()).unwrap_or(u32::MAX);
        let total_us = operators.iter().map(|operator| operator.mean_us).sum();
        operators.truncate(MAX_OPERATORS);
        Self { runs, operators, count, total_us }
    }
}

/// How much of a graph is on the accelerator that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// Operators on the accelerator, and all.
    pub delegated: (u32, u32),
    /// Names of those that are not, at most [`MAX_REST`].
    pub rest: Vec<String>,
}

impl Delegation {
    /// Counts operators by `is_on`, which judges what ran one. Wants all of them: a profile keeps only the slowest, and
    /// one that an accelerator leaves to the CPU may be fast.
    pub fn count(operators: &[OperatorTime], is_on: impl Fn(&str) -> bool) -> Self {
        let (mut on, mut all, mut rest) = (0, 0, Vec::new());
        for OperatorTime { name, kind, place, .. } in operators {
            all += 1;
            if is_on(place) {
                on += 1;
            } else if rest.len() < MAX_REST {
                rest.push(format!("{name} ({kind})"));
            }
        }
        Self { delegated: (on, all), rest }
    }

    /// Why this is not what was asked for; `None` when every operator is on the accelerator.
    #[must_use]
    pub fn fallback(&self, accelerator: &str) -> Option<String> {
        let (on, all) = self.delegated;
        let rest = if self.rest.is_empty() { String::new() } else { format!("; not: {}", self.rest.join(", ")) };
        (on < all).then(|| format!("{on} of {all} operators ran on the {accelerator}{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(name: &str, place: &str, mean_us: f64) -> OperatorTime {
        OperatorTime { name: name.to_owned(), kind: "Conv".to_owned(), place: place.to_owned(), mean_us }
    }

    #[test]
    fn the_slowest_are_kept_and_all_are_counted() {
        let many = (0..1000).map(|index| operator(&index.to_string(), "cpu", f64::from(index))).collect();
        let profile = OperatorProfile::new(5, many);
        assert_eq!((profile.operators.len(), profile.count), (MAX_OPERATORS, 1000));
        assert_eq!(profile.operators[0].name, "999");
        assert_eq!(profile.total_us, 499_500.0);
    }

    #[test]
    fn one_operator_beside_the_accelerator_is_a_fallback_with_its_name() {
        let whole = [operator("a", "gpu", 1.0), operator("b", "gpu", 2.0)];
        let delegation = Delegation::count(&whole, |place| place == "gpu");
        assert_eq!((delegation.delegated, delegation.fallback("gpu")), ((2, 2), None));
        let split = [operator("a", "gpu", 1.0), operator("b", "cpu", 2.0)];
        let delegation = Delegation::count(&split, |place| place == "gpu");
        assert_eq!(delegation.fallback("gpu").unwrap(), "1 of 2 operators ran on the gpu; not: b (Conv)");
    }

    #[test]
    fn a_fast_operator_beside_the_accelerator_counts_in_a_graph_of_any_size() {
        let mut large: Vec<OperatorTime> = (0..1000).map(|index| operator(&index.to_string(), "gpu", 5.0)).collect();
        large.push(operator("shape", "cpu", 0.1));
        let delegation = Delegation::count(&large, |place| place == "gpu");
        assert_eq!(delegation.delegated, (1000, 1001));
        assert_eq!(delegation.rest, ["shape (Conv)"]);
    }
}
