//! How far predicted quantities lie from the true ones (regression).

/// Values beyond this are refused, so that their squares still add up.
pub const MAX_MAGNITUDE: f64 = 1e100;

/// Task metrics over a dataset, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    pub examples: u32,
    /// Σ |y − ŷ| / n
    pub mean_absolute: f64,
    /// √(Σ (y − ŷ)² / n)
    pub root_mean_square: f64,
    /// Largest |y − ŷ|
    pub max_absolute: f64,
}

/// Values that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviationError {
    #[error("there are {truth} true values and {answers} answers")]
    Length { truth: usize, answers: usize },
    #[error("the {of} of example {example} is not a number within ±{MAX_MAGNITUDE:e}")]
    Magnitude { of: &'static str, example: usize },
}

/// Compares each answer with the true value of the same place; `None` without examples.
///
/// An answer that is not a number is an error and not left out: the mean of the others would flatter the model.
pub fn summarise(truth: &[f64], answers: &[f64]) -> Result<Option<Deviation>, DeviationError> {
    if truth.len() != answers.len() {
        return Err(DeviationError::Length { truth: truth.len(), answers: answers.len() });
    }
    let (mut absolute, mut square, mut max_absolute) = (0.0, 0.0, 0.0_f64);
    for (example, (&truth, &answer)) in truth.iter().zip(answers).enumerate() {
        for (of, value) in [("true value", truth), ("answer", answer)] {
            if value.is_nan() || value.abs() > MAX_MAGNITUDE {
                return Err(DeviationError::Magnitude { of, example });
            }
        }
        let difference = (truth - answer).abs();
        absolute += difference;
        square += difference * difference;
        max_absolute = max_absolute.max(difference);
    }
    let n = truth.len() as f64;
    Ok((!truth.is_empty()).then(|| Deviation {
        examples: truth.len() as u32,
        mean_absolute: absolute / n,
        root_mean_square: (square / n).sqrt(),
        max_absolute,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values of scikit-learn 1.9.
    #[test]
    fn deviations_are_those_of_scikit_learn() {
        let result = summarise(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0]).unwrap().unwrap();
        assert_eq!((result.examples, result.mean_absolute, result.max_absolute), (4, 0.5, 1.0));
        assert!((result.root_mean_square - 0.612_372_435_695_794_5).abs() < 1e-15);
    }

    #[test]
    fn without_examples_there_is_no_deviation() {
        assert_eq!(summarise(&[], &[]), Ok(None));
    }

    #[test]
    fn an_answer_that_is_no_number_is_not_left_out() {
        assert_eq!(
            summarise(&[1.0, 1.0], &[1.0, f64::NAN]).unwrap_err().to_string(),
            "the answer of example 1 is not a number within ±1e100"
        );
        assert_eq!(
            summarise(&[f64::INFINITY], &[1.0]).unwrap_err().to_string(),
            "the true value of example 0 is not a number within ±1e100"
        );
        assert_eq!(summarise(&[1.0], &[]), Err(DeviationError::Length { truth: 1, answers: 0 }));
    }

    proptest! {
        #[test]
        fn the_root_mean_square_lies_between_the_mean_and_the_largest(
            pairs in prop::collection::vec((-1e100_f64..1e100, -1e100_f64..1e100), 1..40)
        ) {
            let (truth, answers): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let result = summarise(&truth, &answers).unwrap().unwrap();
            prop_assert!(result.root_mean_square.is_finite());
            prop_assert!(result.mean_absolute <= result.root_mean_square * (1.0 + 1e-12));
            prop_assert!(result.root_mean_square <= result.max_absolute * (1.0 + 1e-12));
        }
    }
}
