//! Comparison of outputs with reference outputs.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::dataset::Task;
use crate::model::Precision;
use crate::reason::{Code, Reason};
use crate::tensor::Tensor;

/// Characters of an output's name in a reason.
const MAX_SHOWN_NAME: usize = 64;

/// One output against its reference over all examples; definitions in `docs/measurement.md`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub examples: u32,
    /// Elements compared.
    pub elements: u64,
    pub max_abs: f64,
    pub mean_abs: f64,
    /// Smallest cosine similarity of an example.
    pub cosine: Option<f64>,
    /// 10 log10(Σ r² / Σ (r − t)²) over all elements, in dB; `None` when the difference is exactly zero.
    pub sqnr_db: Option<f64>,
    /// Examples whose argmax is the reference's.
    pub argmax_agree: u32,
    pub nan_count: u64,
    pub inf_count: u64,
}

/// An output that has another shape than its reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("example {example} has shape {actual:?}, its reference has {reference:?}")]
pub struct ShapeMismatch {
    /// Counts from 0.
    pub example: u32,
    pub reference: Vec<usize>,
    pub actual: Vec<usize>,
}

/// Takes the examples of one output one by one.
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    examples: u32,
    elements: u64,
    max_abs: f64,
    sum_abs: f64,
    signal: f64,
    noise: f64,
    cosine: Option<f64>,
    argmax_agree: u32,
    nan_count: u64,
    inf_count: u64,
}

impl Accumulator {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares one example. Element types may differ, shapes may not. A value that is not finite is counted when the
    /// reference's is another, and is left out of every sum.
    pub fn push(&mut self, reference: &Tensor, actual: &Tensor) -> Result<(), ShapeMismatch> {
        if reference.shape() != actual.shape() {
            return Err(ShapeMismatch {
                example: self.examples,
                reference: reference.shape().to_vec(),
                actual: actual.shape().to_vec(),
            });
        }
        self.push_values(&reference.to_f64(), &actual.to_f64());
        Ok(())
    }

    /// The same of values alone, as many on both sides.
    pub(super) fn push_values(&mut self, reference: &[f64], actual: &[f64]) {
        self.examples += 1;
        self.argmax_agree += u32::from(argmax(reference) == argmax(actual));

        let mut products = Products::default();
        for (&r, &t) in reference.iter().zip(actual) {
            self.nan_count += u64::from(t.is_nan() && !r.is_nan());
            self.inf_count += u64::from(t.is_infinite() && r != t);
            if r.is_finite() && t.is_finite() {
                let difference = (r - t).abs();
                self.elements += 1;
                self.max_abs = self.max_abs.max(difference);
                self.sum_abs += difference;
                self.signal += r * r;
                self.noise += difference * difference;
                products.add(r, t);
            }
        }
        if let Some(cosine) = products.cosine() {
            self.cosine = Some(self.cosine.map_or(cosine, |least| least.min(cosine)));
        }
    }

    #[must_use]
    pub fn finish(self) -> Comparison {
        let Self { examples, elements, max_abs, sum_abs, signal, noise, cosine, argmax_agree, nan_count, inf_count } =
            self;
        Comparison {
            examples,
            elements,
            max_abs,
            mean_abs: if elements == 0 { 0.0 } else { sum_abs / elements as f64 },
            cosine,
            sqnr_db: sqnr_db(signal, noise),
            argmax_agree,
            nan_count,
            inf_count,
        }
    }
}

/// The smallest ratio that is told from silence: a reference of zeros with any noise on it.
const LEAST_SQNR_DB: f64 = -400.0;

fn sqnr_db(signal: f64, noise: f64) -> Option<f64> {
    (noise > 0.0).then(|| (10.0 * (signal / noise).log10()).max(LEAST_SQNR_DB))
}

/// Sums for the cosine similarity of one example.
#[derive(Default)]
struct Products {
    elements: u64,
    dot: f64,
    reference: f64,
    actual: f64,
}

impl Products {
    fn add(&mut self, r: f64, t: f64) {
        self.elements += 1;
        self.dot += r * t;
        self.reference += r * r;
        self.actual += t * t;
    }

    /// `None` without elements. Two vectors of zeros are alike; a vector of zeros is like no other.
    fn cosine(&self) -> Option<f64> {
        if self.elements == 0 {
            return None;
        }
        if self.reference == 0.0 || self.actual == 0.0 {
            return Some(if self.reference == self.actual { 1.0 } else { 0.0 });
        }
        // The root of the product is exact for a vector and itself, but the product has half the range.
        let product = self.reference * self.actual;
        let norms = if product.is_normal() { product.sqrt() } else { self.reference.sqrt() * self.actual.sqrt() };
        // Rounding may take nearly parallel vectors a hair beyond 1.
        Some((self.dot / norms).clamp(-1.0, 1.0)).filter(|cosine| cosine.is_finite())
    }
}

/// Index of the largest number, the first of equal ones.
fn argmax(values: &[f64]) -> Option<usize> {
    let numbers = values.iter().enumerate().filter(|(_, value)| !value.is_nan());
    numbers
        .fold(None, |best: Option<(usize, f64)>, (index, &value)| match best {
            Some((_, largest)) if value <= largest => best,
            _ => Some((index, value)),
        })
        .map(|(index, _)| index)
}

/// What a dataset says of its references, and of how near to them outputs must come. What it leaves open, [`Limits::of`]
/// fills in.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Standard {
    /// In which the references were computed; fp32 when absent.
    pub precision: Option<Precision>,
    pub cosine: Option<f64>,
    pub sqnr_db: Option<f64>,
    pub max_abs: Option<f64>,
    /// A share of the examples.
    pub argmax_agree: Option<f64>,
}

/// What an output must keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub least_cosine: f64,
    pub least_sqnr_db: f64,
    pub most_abs: Option<f64>,
    /// A share of the examples, of the output that the task reads; one example may differ in any case.
    pub least_argmax: Option<f64>,
}

impl Limits {
    /// The dataset's own limits, else the defaults of `docs/measurement.md`: stricter for what is compared with the likes
    /// of it than for integers of 8 bits and fewer against floating-point numbers, either way round, which carry
    /// quantisation noise by design; and for tasks whose answer is one class, as many equal answers.
    #[must_use]
    pub fn of(task: Task, variant: Precision, standard: &Standard) -> Self {
        let whole = |precision| matches!(precision, Precision::Int8 | Precision::Int4);
        let reference = standard.precision.unwrap_or(Precision::Fp32);
        let quantised = (whole(variant) || whole(reference)) && reference != variant;
        let least_argmax = match task {
            Task::Classification => Some(if quantised { 0.95 } else { 0.99 }),
            Task::Detection
            | Task::Segmentation
            | Task::Text
            | Task::Multilabel
            | Task::Retrieval
            | Task::Regression
            | Task::Custom
            | Task::Golden => None,
        };
        let cosine = match task {
            // Embeddings are compared by nothing else.
            Task::Retrieval if !quantised => 0.999,
            Task::Retrieval
            | Task::Classification
            | Task::Detection
            | Task::Segmentation
            | Task::Text
            | Task::Multilabel
            | Task::Regression
            | Task::Custom
            | Task::Golden => 0.99,
        };
        Self {
            least_cosine: standard.cosine.unwrap_or(cosine),
            least_sqnr_db: standard.sqnr_db.unwrap_or(if quantised { 20.0 } else { 30.0 }),
            most_abs: standard.max_abs,
            least_argmax: standard.argmax_agree.or(least_argmax),
        }
    }

    /// What the comparison of an output breaks, in words and numbers; empty when it keeps to all of it. `is_answer`: it is
    /// the one that the task reads.
    #[must_use]
    pub fn broken_by(&self, output: &str, is_answer: bool, comparison: &Comparison) -> Vec<Reason> {
        let output: String = output.chars().take(MAX_SHOWN_NAME).collect();
        let beside = |code, value: &dyn Display, limit: &dyn Display| {
            Reason::new(code, &[("output", &output), ("value", value), ("limit", limit)])
        };
        let counted = |code, count: u64| Reason::new(code, &[("output", &output), ("count", &count)]);
        let mut broken = Vec::new();
        if comparison.elements == 0 {
            broken.push(Reason::new(Code::OutputNotCompared, &[("output", &output)]));
        }
        if comparison.nan_count > 0 {
            broken.push(counted(Code::OutputNan, comparison.nan_count));
        }
        if comparison.inf_count > 0 {
            broken.push(counted(Code::OutputInfinite, comparison.inf_count));
        }
        if let Some(cosine) = comparison.cosine.filter(|&cosine| cosine < self.least_cosine) {
            let (value, limit) = (format!("{cosine:.4}"), format!("{:.4}", self.least_cosine));
            broken.push(beside(Code::OutputCosine, &value, &limit));
        }
        if let Some(sqnr) = comparison.sqnr_db.filter(|&sqnr| sqnr < self.least_sqnr_db) {
            let (value, limit) = (format!("{sqnr:.1}"), format!("{:.1}", self.least_sqnr_db));
            broken.push(beside(Code::OutputSqnr, &value, &limit));
        }
        if let Some(limit) = self.most_abs.filter(|&limit| comparison.max_abs > limit) {
            broken.push(beside(Code::OutputMaxAbs, &comparison.max_abs, &limit));
        }
        if let Some(limit) = self.least_argmax.filter(|_| is_answer) {
            let Comparison { examples, argmax_agree, .. } = *comparison;
            let differ = f64::from(examples.saturating_sub(argmax_agree));
            if differ > ((1.0 - limit) * f64::from(examples)).max(1.0) {
                let value = format!("{argmax_agree} / {examples}");
                broken.push(beside(Code::OutputArgmax, &value, &format!("{limit:.3}")));
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::DType;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![1, values.len()], values).unwrap()
    }

    fn compare(pairs: &[(&[f32], &[f32])]) -> Comparison {
        let mut accumulator = Accumulator::new();
        for (reference, actual) in pairs {
            accumulator.push(&tensor(reference), &tensor(actual)).unwrap();
        }
        accumulator.finish()
    }

    fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() <= 1e-12 * expected.abs(), "{actual} is not {expected}");
    }

    #[test]
    fn a_comparison_is_what_numpy_makes_of_it() {
        let result = compare(&[(&[1.0, 2.0, -3.0], &[1.1, 1.9, -3.05]), (&[0.5, 0.25, 4.0], &[0.5, 0.3, 3.9])]);
        close(result.max_abs, 0.100_000_023_841_857_91);
        close(result.mean_abs, 0.066_666_652_758_916_22);
        close(result.cosine.unwrap(), 0.999_209_408_316_102_4);
        close(result.sqnr_db.unwrap(), 29.375_538_743_077_378);
        assert_eq!((result.examples, result.elements, result.argmax_agree), (2, 6, 2));
    }

    #[test]
    fn equal_outputs_have_no_noise_and_so_no_ratio() {
        let result = compare(&[(&[1.0, -2.0], &[1.0, -2.0])]);
        assert_eq!((result.max_abs, result.cosine, result.sqnr_db), (0.0, Some(1.0), None));
    }

    #[test]
    fn the_cosine_is_that_of_the_worst_example() {
        let result = compare(&[(&[1.0, 0.0], &[1.0, 0.0]), (&[1.0, 0.0], &[0.0, 1.0])]);
        assert_eq!(result.cosine, Some(0.0));
        assert_eq!(result.argmax_agree, 1);
    }

    #[test]
    fn values_that_are_not_finite_are_counted_and_kept_out_of_the_sums() {
        let result = compare(&[(&[1.0, 2.0, 3.0, 4.0], &[1.0, f32::NAN, f32::NEG_INFINITY, 4.5])]);
        assert_eq!((result.nan_count, result.inf_count, result.elements), (1, 1, 2));
        assert_eq!((result.max_abs, result.mean_abs), (0.5, 0.25));
    }

    #[test]
    fn what_the_reference_has_as_well_is_no_fault() {
        let odd = [f32::NAN, f32::INFINITY, 1.0];
        let result = compare(&[(&odd, &odd)]);
        assert_eq!((result.nan_count, result.inf_count, result.elements), (0, 0, 1));
        let turned = compare(&[(&[f32::INFINITY, 1.0], &[f32::NEG_INFINITY, 1.0])]);
        assert_eq!(turned.inf_count, 1, "the other infinity is another value");
    }

    #[test]
    fn the_argmax_takes_the_first_of_equals_and_skips_what_is_no_number() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[f64::NAN, -1.0]), Some(1));
        assert_eq!(argmax(&[f64::NAN]), None);
    }

    #[test]
    fn vectors_of_zeros_are_alike_and_like_no_other() {
        assert_eq!(compare(&[(&[0.0, 0.0], &[0.0, 0.0])]).cosine, Some(1.0));
        let noise_on_silence = compare(&[(&[0.0, 0.0], &[0.1, 0.0])]);
        assert_eq!((noise_on_silence.cosine, noise_on_silence.sqnr_db), (Some(0.0), Some(LEAST_SQNR_DB)));
    }

    #[test]
    fn shapes_must_agree_and_element_types_need_not() {
        let mut accumulator = Accumulator::new();
        let whole = Tensor::new(DType::I8, vec![1, 2], vec![3, 0xff]).unwrap();
        accumulator.push(&tensor(&[3.0, -1.0]), &whole).unwrap();
        let flat = Tensor::from_f32(vec![2], &[3.0, -1.0]).unwrap();
        let error = accumulator.push(&tensor(&[3.0, -1.0]), &flat).unwrap_err();
        assert_eq!(error.to_string(), "example 1 has shape [2], its reference has [1, 2]");
        assert_eq!(accumulator.finish().examples, 1, "a refused example is not counted");
    }

    #[test]
    fn each_broken_limit_is_named() {
        let limits = of(Task::Golden, Precision::Fp32, None);
        let good = compare(&[(&[1.0, 2.0], &[1.001, 2.0])]);
        assert_eq!(limits.broken_by("y", true, &good), Vec::<Reason>::new());
        let bad = compare(&[(&[1.0, 2.0, 0.0, 0.0], &[2.0, 1.0, f32::NAN, f32::INFINITY])]);
        assert_eq!(
            limits.broken_by("y", true, &bad),
            [
                "output y: 1 values are not a number where the reference is one",
                "output y: 1 values are infinite where the reference is not",
                "output y: cosine similarity 0.8000, limit 0.9900",
                "output y: signal to noise 4.0 dB, limit 30.0 dB",
            ]
        );
        assert_eq!(limits.broken_by("y", true, &compare(&[])), ["output y: no element could be compared"]);
    }

    fn of(task: Task, variant: Precision, reference: Option<Precision>) -> Limits {
        Limits::of(task, variant, &Standard { precision: reference, ..Standard::default() })
    }

    #[test]
    fn eight_bit_variants_may_carry_their_quantisation_noise_but_not_against_eight_bits() {
        let result = compare(&[(&[1.0, 2.0], &[1.08, 1.94])]);
        let broken = |variant, reference| of(Task::Golden, variant, reference).broken_by("y", true, &result).len();
        assert_eq!(broken(Precision::Fp16, None), 1);
        assert_eq!(broken(Precision::Int8, None), 0);
        assert_eq!(broken(Precision::Int8, Some(Precision::Fp16)), 0);
        assert_eq!(broken(Precision::Int8, Some(Precision::Int8)), 1, "the same noise is in the reference");
        assert_eq!(broken(Precision::Int4, Some(Precision::Int8)), 0);
        assert_eq!(broken(Precision::Fp32, Some(Precision::Int8)), 0, "the noise is the reference's");
        assert_eq!(broken(Precision::Fp32, Some(Precision::Fp16)), 1);
    }

    #[test]
    fn classes_must_agree_but_for_one_example_and_only_where_the_task_reads_them() {
        let same: (&[f32], &[f32]) = (&[100.0, 99.99], &[100.0, 99.99]);
        let other: (&[f32], &[f32]) = (&[100.0, 99.99], &[99.99, 100.0]);
        let with = |others: usize| compare(&[vec![other; others], vec![same; 50 - others]].concat());
        let broken = |task, others, answer| of(task, Precision::Fp32, None).broken_by("y", answer, &with(others));
        assert_eq!(broken(Task::Classification, 2, true), ["output y: argmax as the reference's 48 / 50, limit 0.990"]);
        assert_eq!(broken(Task::Classification, 1, true), Vec::<Reason>::new(), "one may be a tie");
        assert_eq!(broken(Task::Classification, 2, false), Vec::<Reason>::new());
        assert_eq!(broken(Task::Golden, 2, true), Vec::<Reason>::new());
    }

    #[test]
    fn what_a_dataset_says_goes_before_the_defaults() {
        let standard = Standard { sqnr_db: Some(60.0), max_abs: Some(0.05), ..Standard::default() };
        let limits = Limits::of(Task::Retrieval, Precision::Fp32, &standard);
        assert_eq!((limits.least_cosine, limits.least_sqnr_db), (0.999, 60.0));
        let broken = limits.broken_by("y", true, &compare(&[(&[10.0, 20.0], &[10.0, 20.5])]));
        assert_eq!(
            broken,
            ["output y: signal to noise 33.0 dB, limit 60.0 dB", "output y: largest difference 0.5, limit 0.05"]
        );
    }

    proptest! {
        #[test]
        fn an_output_compared_with_itself_is_perfect(values in prop::collection::vec(-1e30_f32..1e30, 1..50)) {
            let result = compare(&[(&values, &values)]);
            prop_assert_eq!(result.max_abs, 0.0);
            prop_assert_eq!(result.sqnr_db, None);
            prop_assert!(result.cosine.unwrap() > 1.0 - 1e-12);
            prop_assert_eq!(result.argmax_agree, 1);
        }

        #[test]
        fn no_number_of_a_comparison_is_ever_not_a_number(
            reference in prop::collection::vec(any::<f32>(), 8), actual in prop::collection::vec(any::<f32>(), 8)
        ) {
            let result = compare(&[(&reference, &actual)]);
            prop_assert!(result.max_abs.is_finite() && result.mean_abs.is_finite());
            prop_assert!(result.cosine.is_none_or(|cosine| (-1.0..=1.0).contains(&cosine)));
            prop_assert!(result.sqnr_db.is_none_or(f64::is_finite));
            prop_assert!(result.elements + result.nan_count + result.inf_count <= 8);
        }
    }
}
