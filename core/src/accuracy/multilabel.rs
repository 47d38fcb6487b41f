//! Several labels an example (audio events): F1 over all decisions and over classes, and the first class.
//!
//! A class is answered when its score reaches the threshold. The figures are those of scikit-learn's
//! `precision_recall_fscore_support`; where that has nothing to divide by (`zero_division=nan`), the figure is `None`
//! and in no mean.

use super::classification::{MAX_CLASSES, top_classes};
use crate::evidence::Decision;

/// How one class fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassDecisions {
    pub class: u32,
    /// Examples with this label.
    pub support: u32,
    /// Examples for which it was answered.
    pub answered: u32,
    /// Examples with this label for which it was answered.
    pub correct: u32,
}

impl ClassDecisions {
    /// Share of the class's examples that were found; `None` when it has none.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.support > 0).then(|| f64::from(self.correct) / f64::from(self.support))
    }

    /// Share of right ones among those answered; `None` when none was.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.answered > 0).then(|| f64::from(self.correct) / f64::from(self.answered))
    }

    /// 2 correct / (support + answered); `None` when the class is neither there nor answered.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        f1(self.correct.into(), self.support.into(), self.answered.into())
    }
}

fn f1(correct: u64, support: u64, answered: u64) -> Option<f64> {
    (support + answered > 0).then(|| 2.0 * correct as f64 / (support + answered) as f64)
}

/// Task metrics over a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multilabel {
    pub examples: u32,
    /// Examples that have a label.
    pub labelled: u32,
    /// Of these, those whose class with the highest score is one of their labels.
    pub top1: u32,
    pub per_class: Vec<ClassDecisions>,
}

impl Multilabel {
    /// F1 over all decisions together; `None` when no class is there or answered.
    #[must_use]
    pub fn micro_f1(&self) -> Option<f64> {
        let sum = |of: fn(&ClassDecisions) -> u32| self.per_class.iter().map(|class| u64::from(of(class))).sum();
        f1(sum(|class| class.correct), sum(|class| class.support), sum(|class| class.answered))
    }

    /// Mean of the classes' F1, those that are neither there nor answered left out; `None` when all are.
    #[must_use]
    pub fn macro_f1(&self) -> Option<f64> {
        let values: Vec<f64> = self.per_class.iter().filter_map(ClassDecisions::f1).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Share of the labelled examples whose best class is right; `None` without any.
    #[must_use]
    pub fn top1_share(&self) -> Option<f64> {
        (self.labelled > 0).then(|| f64::from(self.top1) / f64::from(self.labelled))
    }
}

/// Labels and scores that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultilabelError {
    #[error("{0} classes are refused, 1 to {MAX_CLASSES} are judged")]
    Classes(u32),
    #[error(
        "{labels} labels and {scores} scores are not one of each per example and class, of which there are {classes}"
    )]
    Length { labels: usize, scores: usize, classes: u32 },
    #[error("label {label} of class {class} of example {example} is neither 0 nor 1")]
    Label { example: usize, class: usize, label: i64 },
    #[error("the threshold is not a number")]
    Threshold,
    #[error("there are labels of {truth} examples and answers to {answers}")]
    Decisions { truth: usize, answers: usize },
    #[error("class {class} of example {example} is not one of the {classes} classes")]
    Class { example: usize, class: u32, classes: u32 },
}

/// Judges a dataset: `labels[c i + j]` is 1 when example `i` has class `j` of `c` and 0 when not, `scores[c i + j]` its
/// score. A score that is not a number is no answer, and equal scores go by the lower class.
pub fn summarise(classes: u32, labels: &[i64], scores: &[f64], threshold: f64) -> Result<Multilabel, MultilabelError> {
    if !(1..=MAX_CLASSES).contains(&classes) {
        return Err(MultilabelError::Classes(classes));
    }
    if threshold.is_nan() {
        return Err(MultilabelError::Threshold);
    }
    let width = classes as usize;
    if labels.len() != scores.len() || !labels.len().is_multiple_of(width) {
        return Err(MultilabelError::Length { labels: labels.len(), scores: scores.len(), classes });
    }
    let set = |(example, row): (usize, &[i64])| match row.iter().position(|label| !matches!(label, 0 | 1)) {
        Some(class) => Err(MultilabelError::Label { example, class, label: row[class] }),
        None => Ok((0..classes).zip(row).filter(|&(_, &label)| label == 1).map(|(class, _)| class).collect()),
    };
    let truth: Vec<Vec<u32>> = labels.chunks_exact(width).enumerate().map(set).collect::<Result<_, _>>()?;
    let answers: Vec<Decision> = scores.chunks_exact(width).map(|scores| decide(scores, threshold)).collect();
    judge(classes, &truth, &answers)
}

/// Which classes these scores answer. A score that is not a number is no answer, and equal scores go by the lower class.
#[must_use]
pub fn decide(scores: &[f64], threshold: f64) -> Decision {
    let [best, ..] = top_classes(scores);
    let answered = (0..).zip(scores).filter(|&(_, &score)| score >= threshold).map(|(class, _)| class);
    Decision { best: u32::try_from(best).ok(), answered: answered.collect() }
}

/// Judges decisions: `truth[i]` holds the classes of example `i`.
pub fn judge(classes: u32, truth: &[Vec<u32>], answers: &[Decision]) -> Result<Multilabel, MultilabelError> {
    if !(1..=MAX_CLASSES).contains(&classes) {
        return Err(MultilabelError::Classes(classes));
    }
    if truth.len() != answers.len() {
        return Err(MultilabelError::Decisions { truth: truth.len(), answers: answers.len() });
    }
    let blank = |class| ClassDecisions { class, support: 0, answered: 0, correct: 0 };
    let mut per_class: Vec<ClassDecisions> = (0..classes).map(blank).collect();
    let (mut labelled, mut top1) = (0, 0);
    for (example, (labels, Decision { best, answered })) in truth.iter().zip(answers).enumerate() {
        if let Some(&class) = labels.iter().chain(answered).find(|&&class| class >= classes) {
            return Err(MultilabelError::Class { example, class, classes });
        }
        for &class in labels {
            per_class[class as usize].support += 1;
        }
        for class in answered {
            per_class[*class as usize].answered += 1;
            per_class[*class as usize].correct += u32::from(labels.contains(class));
        }
        labelled += u32::from(!labels.is_empty());
        top1 += u32::from(best.is_some_and(|best| labels.contains(&best)));
    }
    Ok(Multilabel { examples: truth.len() as u32, labelled, top1, per_class })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decisions_are_judged_together_and_per_class() {
        let labels = [1, 0, 0, 1, 1, 0, 0, 0, 0];
        let scores = [0.9, 0.6, 0.1, 0.2, 0.5, 0.3, 0.7, 0.1, 0.2];
        let result = summarise(3, &labels, &scores, 0.5).unwrap();
        assert_eq!((result.examples, result.labelled, result.top1), (3, 2, 2));
        assert_eq!(result.top1_share(), Some(1.0));
        let [zero, one, two] = result.per_class[..] else { panic!("three classes") };
        assert_eq!((zero.precision(), zero.recall(), zero.f1()), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!((one.precision(), one.recall(), one.f1()), (Some(0.5), Some(1.0), Some(2.0 / 3.0)));
        assert_eq!((two.precision(), two.recall(), two.f1()), (None, None, None), "neither there nor answered");
        assert_eq!(result.micro_f1(), Some(4.0 / 7.0));
        assert_eq!(result.macro_f1(), Some(f64::midpoint(0.5, 2.0 / 3.0)));
    }

    #[test]
    fn a_score_that_is_no_number_is_no_answer() {
        let result = summarise(2, &[1, 1], &[f64::NAN, f64::NAN], f64::NEG_INFINITY).unwrap();
        assert_eq!((result.top1, result.labelled, result.micro_f1()), (0, 1, Some(0.0)));
        let silent = summarise(2, &[0, 0], &[0.1, 0.2], 0.5).unwrap();
        assert_eq!((silent.micro_f1(), silent.macro_f1(), silent.top1_share()), (None, None, None));
    }

    #[test]
    fn labels_and_scores_must_belong_together() {
        let error = |classes, labels: &[i64], scores: &[f64]| summarise(classes, labels, scores, 0.5).unwrap_err();
        assert_eq!(
            error(2, &[1, 0, 1], &[0.0; 3]).to_string(),
            "3 labels and 3 scores are not one of each per example and class, of which there are 2"
        );
        assert_eq!(
            error(2, &[1, 0, 1, 2], &[0.0; 4]).to_string(),
            "label 2 of class 1 of example 1 is neither 0 nor 1"
        );
        assert_eq!(error(0, &[], &[]), MultilabelError::Classes(0));
        assert_eq!(error(MAX_CLASSES + 1, &[], &[]), MultilabelError::Classes(MAX_CLASSES + 1));
        assert_eq!(summarise(1, &[], &[], f64::NAN), Err(MultilabelError::Threshold));
    }

    proptest! {
        #[test]
        fn a_higher_threshold_never_answers_more(
            cells in prop::collection::vec((0_i64..2, 0_u8..5), 12..13), low in 0_u8..5, more in 0_u8..3
        ) {
            let (labels, scores): (Vec<i64>, Vec<u8>) = cells.into_iter().unzip();
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            let lax = summarise(4, &labels, &scores, low.into()).unwrap();
            let strict = summarise(4, &labels, &scores, (low + more).into()).unwrap();
            prop_assert_eq!(lax.top1, strict.top1, "the best class needs no threshold");
            for (lax, strict) in lax.per_class.iter().zip(&strict.per_class) {
                prop_assert!(strict.answered <= lax.answered && strict.correct <= lax.correct);
                prop_assert!(lax.correct <= lax.support.min(lax.answered));
                prop_assert!(lax.f1().is_none_or(|f1| (0.0..=1.0).contains(&f1)));
            }
        }
    }
}
