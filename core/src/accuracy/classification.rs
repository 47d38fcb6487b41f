//! Share of right answers with its interval, per class, and who is taken for whom.

use std::cmp::Ordering;

/// How many classes of each example are kept, best first.
pub const KEPT: usize = 5;
/// Stands for no class, where a model has fewer than five or gave no number.
pub const NO_CLASS: i64 = -1;
/// More classes than this are refused: the confusion matrix has the square of it.
pub const MAX_CLASSES: u32 = 4096;

/// Two-sided 95 % quantile of the normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;

/// The classes with the five highest scores, best first. Equal scores go by the lower class; a score that is not a
/// number is never among them.
#[must_use]
pub fn top_classes(scores: &[f64]) -> [i64; KEPT] {
    let mut top: Vec<(f64, usize)> = Vec::with_capacity(KEPT + 1);
    for (class, &score) in scores.iter().enumerate().filter(|(_, score)| !score.is_nan()) {
        let place = top.partition_point(|&(other, _)| other.partial_cmp(&score) != Some(Ordering::Less));
        if place < KEPT {
            top.insert(place, (score, class));
            top.truncate(KEPT);
        }
    }
    let mut classes = [NO_CLASS; KEPT];
    for (slot, (_, class)) in classes.iter_mut().zip(top) {
        *slot = class as i64;
    }
    classes
}

/// The Wilson score interval of a proportion at 95 % (Wilson 1927; Brown, Cai and DasGupta 2001, without continuity
/// correction). Without trials every proportion is possible.
#[must_use]
pub fn wilson(successes: u64, trials: u64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let n = trials as f64;
    let share = successes.min(trials) as f64 / n;
    let shrink = 1.0 + Z_95 * Z_95 / n;
    let centre = (share + Z_95 * Z_95 / (2.0 * n)) / shrink;
    let reach = Z_95 / shrink * (share * (1.0 - share) / n + Z_95 * Z_95 / (4.0 * n * n)).sqrt();
    // At the ends the interval touches the proportion itself; rounding must not move it past.
    let low = if successes == 0 { 0.0 } else { (centre - reach).max(0.0) };
    let high = if successes >= trials { 1.0 } else { (centre + reach).min(1.0) };
    (low, high)
}

/// Who is taken for whom: a row for each label, a column for each first class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u32>,
    unanswered: Vec<u32>,
}

impl Confusion {
    #[must_use]
    pub fn new(classes: u32) -> Self {
        let classes = classes as usize;
        Self { classes, counts: vec![0; classes * classes], unanswered: vec![0; classes] }
    }

    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// Counts one example; `None` when the model gave no class.
    fn push(&mut self, label: usize, predicted: Option<usize>) {
        match predicted {
            Some(class) => self.counts[label * self.classes + class] += 1,
            None => self.unanswered[label] += 1,
        }
    }

    /// Examples of `label` that were taken for `predicted`; 0 outside the matrix.
    #[must_use]
    pub fn count(&self, label: usize, predicted: usize) -> u32 {
        self.row(label).get(predicted).copied().unwrap_or(0)
    }

    /// What the examples of one label were taken for.
    #[must_use]
    pub fn row(&self, label: usize) -> &[u32] {
        self.counts.get(label * self.classes..(label + 1) * self.classes).unwrap_or(&[])
    }

    /// Examples of `label` for which the model gave no class at all.
    #[must_use]
    pub fn unanswered(&self, label: usize) -> u32 {
        self.unanswered.get(label).copied().unwrap_or(0)
    }
}

/// How one class fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassScore {
    pub class: u32,
    /// Examples with this label.
    pub support: u32,
    /// Examples that were taken for this class.
    pub predicted: u32,
    /// Examples with this label that were taken for it.
    pub correct: u32,
}

impl ClassScore {
    /// Share of the class's examples that were found; `None` when it has none.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.support > 0).then(|| f64::from(self.correct) / f64::from(self.support))
    }

    /// Share of right ones among those taken for the class; `None` when none was.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.predicted > 0).then(|| f64::from(self.correct) / f64::from(self.predicted))
    }
}

/// Task metrics over a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classification {
    pub examples: u32,
    /// Examples whose first class is the label.
    pub top1: u32,
    /// Examples whose first five classes hold the label.
    pub top5: u32,
    pub per_class: Vec<ClassScore>,
    pub confusion: Confusion,
}

/// Labels and classes that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassificationError {
    #[error("{labels} labels need {expected} top classes ({KEPT} each), got {actual}")]
    Length { labels: usize, expected: usize, actual: usize },
    #[error("label {label} of example {example} is not one of the {classes} classes")]
    Label { example: usize, label: i64, classes: u32 },
    #[error("predicted class {class} of example {example} is not one of the {classes} classes")]
    Class { example: usize, class: i64, classes: u32 },
    #[error("{0} classes are refused, at most {MAX_CLASSES} are judged")]
    TooManyClasses(u64),
}

/// The number of classes that labels and first to fifth classes speak of: the largest plus one.
pub fn class_count(labels: &[i64], top: &[i64]) -> Result<u32, ClassificationError> {
    let largest = labels.iter().chain(top).copied().max().unwrap_or(NO_CLASS).max(NO_CLASS);
    let count = (largest as u64).wrapping_add(1);
    u32::try_from(count).ok().filter(|&count| count <= MAX_CLASSES).ok_or(ClassificationError::TooManyClasses(count))
}

/// Judges a dataset: `labels[i]` against `top[5 i .. 5 i + 5]`, best first, −1 where there is none.
pub fn summarise(labels: &[i64], top: &[i64], classes: u32) -> Result<Classification, ClassificationError> {
    if classes > MAX_CLASSES {
        return Err(ClassificationError::TooManyClasses(classes.into()));
    }
    let expected = labels.len() * KEPT;
    if top.len() != expected {
        return Err(ClassificationError::Length { labels: labels.len(), expected, actual: top.len() });
    }
    let known = |class: i64| usize::try_from(class).ok().filter(|&class| class < classes as usize);

    let mut confusion = Confusion::new(classes);
    let (mut top1, mut top5) = (0, 0);
    for (example, (&label, best)) in labels.iter().zip(top.chunks_exact(KEPT)).enumerate() {
        let row = known(label).ok_or(ClassificationError::Label { example, label, classes })?;
        if let Some(&class) = best.iter().find(|&&class| class != NO_CLASS && known(class).is_none()) {
            return Err(ClassificationError::Class { example, class, classes });
        }
        confusion.push(row, known(best[0]));
        top1 += u32::from(best[0] == label);
        top5 += u32::from(best.contains(&label));
    }
    Ok(Classification { examples: labels.len() as u32, top1, top5, per_class: per_class(&confusion), confusion })
}

fn per_class(confusion: &Confusion) -> Vec<ClassScore> {
    (0..confusion.classes())
        .map(|class| ClassScore {
            class: class as u32,
            support: confusion.row(class).iter().sum::<u32>() + confusion.unanswered(class),
            predicted: (0..confusion.classes()).map(|label| confusion.count(label, class)).sum(),
            correct: confusion.count(class, class),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_classes_come_first() {
        assert_eq!(top_classes(&[0.1, 0.7, 0.05, 0.9, 0.2, 0.3, 0.0]), [3, 1, 5, 4, 0]);
    }

    #[test]
    fn equal_scores_go_by_the_lower_class() {
        assert_eq!(top_classes(&[1.0, 2.0, 2.0, 2.0, 1.0, 2.0, 2.0]), [1, 2, 3, 5, 6]);
    }

    #[test]
    fn what_is_missing_is_padded_and_what_is_no_number_is_no_answer() {
        assert_eq!(top_classes(&[0.5, f64::NAN, 0.7]), [2, 0, -1, -1, -1]);
        assert_eq!(top_classes(&[f64::NEG_INFINITY]), [0, -1, -1, -1, -1]);
        assert_eq!(top_classes(&[]), [-1; 5]);
    }

    /// Values of scipy 1.17, `binomtest(k, n).proportion_ci(0.95, "wilson")`.
    #[test]
    fn the_wilson_interval_is_that_of_scipy() {
        for (successes, trials, low, high) in [
            (0, 10, 0.0, 0.277_532_799_862_889_26),
            (10, 10, 0.722_467_200_137_110_7, 1.0),
            (1, 1, 0.206_549_314_377_237_45, 1.0),
            (5, 10, 0.236_593_090_512_564, 0.763_406_909_487_436_1),
            (1938, 2000, 0.960_459_271_791_826_7, 0.975_742_537_858_358_3),
            (7, 2000, 0.001_696_431_697_042_418_6, 0.007_207_196_253_241_746),
        ] {
            let (l, h) = wilson(successes, trials);
            assert!((l - low).abs() < 1e-12 && (h - high).abs() < 1e-12, "{successes} of {trials}: {l} to {h}");
        }
    }

    #[test]
    fn without_examples_every_share_is_possible() {
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn the_interval_encloses_the_share(trials in 1_u64..100_000, share in 0.0_f64..=1.0) {
            let successes = (share * trials as f64) as u64;
            let (low, high) = wilson(successes, trials);
            let value = successes as f64 / trials as f64;
            prop_assert!(0.0 <= low && low <= value && value <= high && high <= 1.0);
        }

        #[test]
        fn the_best_classes_are_those_of_a_stable_sort(scores in prop::collection::vec(-3_i8..3, 0..20)) {
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            let mut order: Vec<i64> = (0..scores.len() as i64).collect();
            order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
            order.resize(scores.len().max(KEPT), NO_CLASS);
            prop_assert_eq!(&top_classes(&scores)[..], &order[..KEPT]);
        }

        #[test]
        fn every_example_is_counted_once(
            answers in prop::collection::vec((0_i64..6, prop::collection::vec(-5.0_f64..5.0, 6)), 0..60)
        ) {
            let labels: Vec<i64> = answers.iter().map(|(label, _)| *label).collect();
            let top: Vec<i64> = answers.iter().flat_map(|(_, scores)| top_classes(scores)).collect();
            let result = summarise(&labels, &top, 6).unwrap();
            prop_assert_eq!(result.per_class.iter().map(|class| class.support).sum::<u32>(), result.examples);
            prop_assert_eq!(result.per_class.iter().map(|class| class.correct).sum::<u32>(), result.top1);
            prop_assert!(result.top1 <= result.top5 && result.top5 <= result.examples);
        }
    }

    #[test]
    fn answers_are_judged_per_class() {
        let labels = [0, 0, 1, 2, 2];
        let top = [
            0, 1, 2, -1, -1, //
            1, 0, 2, -1, -1, //
            1, 0, 2, -1, -1, //
            0, 1, -1, -1, -1, //
            -1, -1, -1, -1, -1,
        ];
        let result = summarise(&labels, &top, 3).unwrap();
        assert_eq!((result.examples, result.top1, result.top5), (5, 2, 3));
        assert_eq!(result.confusion.row(0), [1, 1, 0]);
        assert_eq!(result.confusion.row(2), [1, 0, 0]);
        assert_eq!(result.confusion.unanswered(2), 1, "no answer is a wrong answer, not a missing example");
        let [zero, one, two] = result.per_class[..] else { panic!("three classes") };
        assert_eq!((zero.recall(), zero.precision()), (Some(0.5), Some(0.5)));
        assert_eq!((one.recall(), one.precision()), (Some(1.0), Some(0.5)));
        assert_eq!(
            (two.recall(), two.precision()),
            (Some(0.0), None),
            "a class that was never answered has no precision"
        );
    }

    #[test]
    fn labels_and_classes_must_belong_together() {
        assert_eq!(summarise(&[0], &[0, 1], 2).unwrap_err().to_string(), "1 labels need 5 top classes (5 each), got 2");
        assert_eq!(
            summarise(&[2], &[0, 1, -1, -1, -1], 2).unwrap_err().to_string(),
            "label 2 of example 0 is not one of the 2 classes"
        );
        assert!(matches!(summarise(&[-1], &[0; 5], 2), Err(ClassificationError::Label { label: -1, .. })));
        assert!(matches!(summarise(&[0], &[0, 1, 7, -1, -1], 2), Err(ClassificationError::Class { class: 7, .. })));
        assert!(matches!(summarise(&[0], &[0, -2, 0, 0, 0], 2), Err(ClassificationError::Class { class: -2, .. })));
    }

    #[test]
    fn a_confusion_matrix_is_bounded() {
        assert_eq!(class_count(&[3, 0], &[9, -1, -1, -1, -1]), Ok(10));
        assert_eq!(class_count(&[], &[]), Ok(0));
        assert!(class_count(&[5_000_000], &[]).is_err());
        assert!(class_count(&[i64::MAX], &[]).is_err());
        assert!(summarise(&[], &[], MAX_CLASSES + 1).is_err());
    }
}
