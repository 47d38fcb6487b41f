//! Outputs that two jobs kept, one held against the other: what one device computes differently from another.

use serde::Serialize;

use super::golden::Accumulator;
use crate::reason::{Code, Reason};
use crate::report::{GoldenRecord, MAX_OUTPUT_VALUES};

/// All compared outputs of one attempt, over all examples; no more than [`MAX_OUTPUT_VALUES`] values.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept(Vec<Output>);

#[derive(Debug, Clone, PartialEq)]
struct Output {
    name: String,
    examples: usize,
    values_an_example: usize,
    /// Example by example.
    values: Vec<f64>,
}

impl Output {
    fn size(&self) -> String {
        format!("{} × {}", self.examples, self.values_an_example)
    }
}

impl Kept {
    /// Of the comparisons of a report and its block of outputs, whose values stand output by output in their order. An
    /// output that was not kept leaves nothing to compare: the rest could look better than the whole.
    pub fn read(comparisons: &[GoldenRecord], values: &[f64]) -> Result<Self, Reason> {
        if comparisons.is_empty() || values.is_empty() {
            return Err(Reason::new(Code::NoOutputsKept, &[]));
        }
        let mut outputs = Vec::with_capacity(comparisons.len());
        let (mut rest, mut expected) = (values, 0_u64);
        for GoldenRecord { output, comparison, kept, .. } in comparisons {
            let each = kept.ok_or_else(|| Reason::new(Code::OutputNotKept, &[("output", output)]))?;
            let size = u64::from(each) * u64::from(comparison.examples);
            expected = expected.saturating_add(size);
            // A report may claim anything.
            let Some((own, others)) = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size)) else {
                continue;
            };
            rest = others;
            let (examples, values_an_example) = (comparison.examples as usize, each as usize);
            outputs.push(Output { name: output.clone(), examples, values_an_example, values: own.to_vec() });
        }
        if expected != values.len() as u64 || expected > u64::from(MAX_OUTPUT_VALUES) {
            let arguments: [(&str, &dyn std::fmt::Display); 2] = [("values", &values.len()), ("expected", &expected)];
            return Err(Reason::new(Code::KeptUnfit, &arguments));
        }
        Ok(Self(outputs))
    }
}

/// How far the outputs of a job are from those of another; definitions as for references in `docs/measurement.md`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Pairs of finite values.
    pub elements: u64,
    /// Largest absolute difference of a pair; absent without one.
    pub max_abs: Option<f64>,
    /// Smallest cosine similarity of an example of an output.
    pub cosine: Option<f64>,
    /// Pairs that differ and of which a value is not finite: such a difference has no size, and is in neither of the two.
    pub not_finite: u64,
}

/// Compares what two attempts kept of the same outputs for the same examples.
pub fn compare(reference: &Kept, actual: &Kept) -> Result<Difference, Reason> {
    let (mut all, mut not_finite) = (Accumulator::new(), 0);
    for place in 0..reference.0.len().max(actual.0.len()) {
        let (of, other) = (reference.0.get(place), actual.0.get(place));
        let alike = |of: &Output, other: &Output| of.name == other.name && of.size() == other.size();
        let Some((of, other)) = of.zip(other).filter(|(of, other)| alike(of, other)) else {
            let told = |output: Option<&Output>| {
                output.map_or_else(|| "–".to_owned(), |output| format!("{} {}", output.name, output.size()))
            };
            return Err(Reason::new(Code::OutputUnlike, &[("output", &told(other)), ("reference", &told(of))]));
        };
        let each = of.values_an_example.max(1);
        for (of, other) in of.values.chunks(each).zip(other.values.chunks(each)) {
            all.push_values(of, other);
        }
        let differ = |(r, t): &(&f64, &f64)| !(r.is_finite() && t.is_finite() || r.is_nan() && t.is_nan() || r == t);
        not_finite += of.values.iter().zip(&other.values).filter(differ).count() as u64;
    }
    let compared = all.finish();
    Ok(Difference {
        elements: compared.elements,
        max_abs: (compared.elements > 0).then_some(compared.max_abs),
        cosine: compared.cosine,
        not_finite,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::accuracy::golden::{Comparison, Standard};

    fn record(output: &str, examples: u32, kept: Option<u32>) -> GoldenRecord {
        let comparison = Comparison { examples, ..Accumulator::new().finish() };
        GoldenRecord { output: output.to_owned(), comparison, standard: Standard::default(), kept }
    }

    /// One output of two values an example.
    fn kept(values: &[f64]) -> Kept {
        Kept::read(&[record("y", values.len() as u32 / 2, Some(2))], values).unwrap()
    }

    #[test]
    fn the_largest_difference_and_the_cosine_of_the_worst_example_are_told() {
        let difference = compare(&kept(&[1.0, 0.0, 3.0, 4.0]), &kept(&[0.0, 1.0, 3.0, 4.5])).unwrap();
        assert_eq!(difference, Difference { elements: 4, max_abs: Some(1.0), cosine: Some(0.0), not_finite: 0 });
    }

    #[test]
    fn what_is_not_finite_on_either_side_alone_is_counted_and_never_a_difference_of_zero() {
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        let numbers = kept(&[1.0, 2.0, 3.0, 4.0]);
        let odd = kept(&[nan, 2.0, infinity, 4.0]);
        for (reference, actual) in [(&numbers, &odd), (&odd, &numbers)] {
            let difference = compare(reference, actual).unwrap();
            assert_eq!((difference.not_finite, difference.elements, difference.max_abs), (2, 2, Some(0.0)));
        }
        assert_eq!(compare(&odd, &odd).unwrap().not_finite, 0, "the control: both say the same");
        assert_eq!(compare(&kept(&[infinity, 1.0]), &kept(&[-infinity, 1.0])).unwrap().not_finite, 1);
        let none = compare(&kept(&[nan, nan]), &kept(&[1.0, 1.0])).unwrap();
        assert_eq!((none.max_abs, none.cosine, none.not_finite), (None, None, 2), "missing is not zero");
    }

    #[test]
    fn outputs_of_different_sizes_or_names_are_not_compared() {
        let of = |name, examples, each, values: &[f64]| Kept::read(&[record(name, examples, Some(each))], values);
        let four = [1.0; 4];
        let reference = of("y", 2, 2, &four).unwrap();
        for (other, told) in [
            (of("y", 1, 4, &four), "output y 1 × 4 is y 2 × 2 on the other device"),
            (of("y", 1, 2, &[1.0; 2]), "output y 1 × 2 is y 2 × 2 on the other device"),
            (of("z", 2, 2, &four), "output z 2 × 2 is y 2 × 2 on the other device"),
        ] {
            assert_eq!(compare(&reference, &other.unwrap()).unwrap_err(), told);
        }
        let two = Kept::read(&[record("y", 2, Some(2)), record("z", 1, Some(1))], &[1.0; 5]).unwrap();
        assert_eq!(compare(&reference, &two).unwrap_err(), "output z 1 × 1 is – on the other device");
        assert_eq!(compare(&two, &reference).unwrap_err(), "output – is z 1 × 1 on the other device");
    }

    #[test]
    fn what_was_not_kept_says_so() {
        let read = |records: &[GoldenRecord], values: &[f64]| Kept::read(records, values).unwrap_err();
        assert_eq!(read(&[], &[]), "the job kept no outputs");
        assert_eq!(read(&[record("y", 2, Some(2))], &[]), "the job kept no outputs");
        let large = [record("y", 2, Some(1)), record("map", 2, None)];
        assert_eq!(read(&large, &[1.0, 2.0]), "the values of output map were not kept");
        for claimed in [1, 3, u32::MAX] {
            let unfit = read(&[record("y", 2, Some(claimed))], &[1.0; 4]);
            assert_eq!(unfit.code(), Some(Code::KeptUnfit), "{unfit}");
        }
        let more = MAX_OUTPUT_VALUES + 1;
        let unfit = read(&[record("y", 1, Some(more))], &vec![0.0; more as usize]);
        assert_eq!(unfit.code(), Some(Code::KeptUnfit), "{unfit}");
    }

    proptest! {
        #[test]
        fn either_side_may_be_the_reference(pairs in prop::collection::vec((any::<f64>(), any::<f64>()), 1..40)) {
            let side = |of: fn(&(f64, f64)) -> f64| {
                let values: Vec<f64> = pairs.iter().map(of).collect();
                Kept::read(&[record("y", values.len() as u32, Some(1))], &values).unwrap()
            };
            let (a, b) = (side(|pair| pair.0), side(|pair| pair.1));
            prop_assert_eq!(compare(&a, &b), compare(&b, &a));
        }
    }
}
