//! The precision of a model's own numbers: what its file says, and whose word it is where the file says nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Precision;

/// Of one hundred numbers of a file, as many must have the fewer bits that somebody says they have.
const LEAST_PERCENT: u64 = 1;

/// Whose word the precision of a variant is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionFrom {
    /// The file's own: its weights were counted.
    Read(Weights),
    /// That of whoever added the model, of a file that could not be read for it.
    Told,
    /// Nobody's. fp32 is only assumed.
    Assumed,
}

impl PrecisionFrom {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Told => "told",
            Self::Assumed => "assumed",
        }
    }
}

/// Numbers that a model's file holds, by their type. Whole numbers of more than eight bits are none of them: they are
/// shapes, indices, and the biases of an integer model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    pub numbers: BTreeMap<Precision, u64>,
    /// Of types that are no [`Precision`]: fp64, fp8, packed by an operator of their own.
    #[serde(default)]
    pub others: u64,
}

impl Weights {
    /// Counts so many numbers of a precision, or of a type that is none.
    pub fn add(&mut self, precision: Option<Precision>, count: u64) {
        let sum = match precision {
            Some(precision) => self.numbers.entry(precision).or_default(),
            None => &mut self.others,
        };
        *sum = sum.saturating_add(count);
    }

    /// What most of them are. `None` where there are none, or most are of a type that is no precision.
    #[must_use]
    pub fn precision(&self) -> Option<Precision> {
        let (precision, count) = self.numbers.iter().max_by_key(|(_, count)| **count)?;
        (*count > self.others).then_some(*precision)
    }

    /// Why they cannot be what somebody says that they are; `None` when they can. Fewer bits than most of them have may be
    /// said where there are some: a model with its embeddings left in fp32 is an int8 one. More may not.
    #[must_use]
    pub fn contradiction(&self, told: Precision) -> Option<String> {
        let read = self.precision()?;
        let count = |precision| self.numbers.get(&precision).copied().unwrap_or(0);
        let all = self.numbers.values().fold(self.others, |sum, count| sum.saturating_add(*count));
        let some = count(told) > 0 && count(told).saturating_mul(100) >= all.saturating_mul(LEAST_PERCENT);
        if told == read || (told.bits() < read.bits() && some) {
            return None;
        }
        Some(format!(
            "{} is said, and {} of the {all} numbers that the file holds are {}",
            told.as_str(),
            count(read),
            read.as_str()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(numbers: &[(Precision, u64)], others: u64) -> Weights {
        Weights { numbers: numbers.iter().copied().collect(), others }
    }

    #[test]
    fn a_file_is_what_most_of_its_numbers_are() {
        let int8 = weights(&[(Precision::Fp32, 40), (Precision::Int8, 20_000)], 0);
        assert_eq!(int8.precision(), Some(Precision::Int8));
        assert_eq!(weights(&[(Precision::Fp32, 1)], 0).precision(), Some(Precision::Fp32));
        assert_eq!(weights(&[(Precision::Fp32, 40)], 20_000).precision(), None, "fp64 is none of ours");
        assert_eq!(Weights::default().precision(), None, "a file without numbers");
    }

    #[test]
    fn more_bits_than_most_numbers_have_are_contradicted_and_fewer_where_there_are_none() {
        let int8 = weights(&[(Precision::Fp32, 400), (Precision::Int8, 20_000)], 0);
        let said = int8.contradiction(Precision::Fp32).unwrap();
        assert_eq!(said, "fp32 is said, and 20000 of the 20400 numbers that the file holds are int8");
        assert_eq!(int8.contradiction(Precision::Int8), None);
        let embedded = weights(&[(Precision::Fp32, 9_000), (Precision::Int8, 1_000)], 0);
        assert_eq!(embedded.contradiction(Precision::Int8), None, "one in ten");
        assert_eq!(embedded.contradiction(Precision::Fp32), None, "and nine in ten");
        assert!(embedded.contradiction(Precision::Fp16).is_some(), "there are none");
        let scales = weights(&[(Precision::Fp32, 9_000), (Precision::Int8, 10)], 0);
        assert!(scales.contradiction(Precision::Int8).is_some(), "zero points alone make no int8 model");
        let half = weights(&[(Precision::Fp16, 9_000)], 0);
        assert!(half.contradiction(Precision::Bf16).is_some(), "as many bits are another type");
    }

    #[test]
    fn a_file_that_does_not_tell_contradicts_nobody() {
        for silent in [Weights::default(), weights(&[(Precision::Fp32, 10)], 500)] {
            assert_eq!(silent.contradiction(Precision::Int4), None, "{silent:?}");
        }
    }

    #[test]
    fn whose_word_it_is_comes_back_from_json() {
        for from in
            [PrecisionFrom::Read(weights(&[(Precision::Int8, 3)], 1)), PrecisionFrom::Told, PrecisionFrom::Assumed]
        {
            let text = serde_json::to_string(&from).unwrap();
            assert_eq!(serde_json::from_str::<PrecisionFrom>(&text).unwrap(), from, "{text}");
            assert!(text.contains(from.as_str()), "{text}");
        }
    }
}
