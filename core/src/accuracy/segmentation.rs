//! Overlap of regions: who is taken for whom, pixel by pixel, over all images.
//!
//! A confusion matrix is small where masks are large, so a device may count each image and send the counts, or masks
//! may be counted where they arrive; both add up to the same. The figures are those of scikit-learn's
//! `confusion_matrix`, `jaccard_score` and `accuracy_score` over all pixels that are not ignored.

/// Stands for no class, where a model gave none for a pixel.
pub const NO_CLASS: i64 = -1;
/// More classes than this are refused: the confusion matrix has the square of it.
pub const MAX_CLASSES: u32 = 1024;

/// Masks or counts that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentationError {
    #[error("{0} classes are refused, at most {MAX_CLASSES} are judged")]
    TooManyClasses(u32),
    #[error("the mask of the truth has {truth} pixels, that of the answer {answer}")]
    Length { truth: usize, answer: usize },
    #[error("true class {class} of pixel {pixel} is neither one of the {classes} classes nor the ignored one")]
    Truth { pixel: usize, class: i64, classes: u32 },
    #[error("answered class {class} of pixel {pixel} is not one of the {classes} classes")]
    Answer { pixel: usize, class: i64, classes: u32 },
    #[error("{classes} classes need {expected} counts, got {actual}")]
    Counts { classes: u32, expected: usize, actual: usize },
    #[error("count {index} is {count}: no number of pixels, or more than can be added up")]
    Count { index: usize, count: i64 },
}

/// Pixels by true class and answered class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    classes: u32,
    /// A row for each true class: a column for each answered class, and a last one for none.
    counts: Vec<u64>,
}

impl Pixels {
    pub fn new(classes: u32) -> Result<Self, SegmentationError> {
        if classes > MAX_CLASSES {
            return Err(SegmentationError::TooManyClasses(classes));
        }
        Ok(Self { classes, counts: vec![0; classes as usize * (classes as usize + 1)] })
    }

    /// Counts one image. Pixels whose true class is `ignored` count nowhere, whatever was answered. After an error
    /// nothing of the image was counted.
    pub fn push(&mut self, truth: &[i64], answer: &[i64], ignored: Option<i64>) -> Result<(), SegmentationError> {
        if truth.len() != answer.len() {
            return Err(SegmentationError::Length { truth: truth.len(), answer: answer.len() });
        }
        let classes = self.classes;
        let known = |class: i64| u32::try_from(class).ok().filter(|&class| class < classes);
        let judged = || truth.iter().zip(answer).enumerate().filter(|(_, (truth, _))| Some(**truth) != ignored);
        for (pixel, (&truth, &answer)) in judged() {
            if known(truth).is_none() {
                return Err(SegmentationError::Truth { pixel, class: truth, classes });
            }
            if answer != NO_CLASS && known(answer).is_none() {
                return Err(SegmentationError::Answer { pixel, class: answer, classes });
            }
        }
        for (_, (&truth, &answer)) in judged() {
            let column = known(answer).unwrap_or(classes);
            self.counts[truth as usize * (classes as usize + 1) + column as usize] += 1;
        }
        Ok(())
    }

    /// Adds counts as [`Self::counts`] gives them, of one image or many. After an error nothing was added.
    pub fn add(&mut self, counts: &[i64]) -> Result<(), SegmentationError> {
        let expected = self.counts.len();
        if counts.len() != expected {
            return Err(SegmentationError::Counts { classes: self.classes, expected, actual: counts.len() });
        }
        // Half the range each, so that sums of rows and columns fit as well.
        let room = u64::MAX / 2 / (expected.max(1) as u64);
        let sums = self.counts.iter().zip(counts).enumerate().map(|(index, (&sum, &count))| {
            let added = u64::try_from(count).ok().and_then(|count| sum.checked_add(count));
            added.filter(|&sum| sum <= room).ok_or(SegmentationError::Count { index, count })
        });
        self.counts = sums.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// A row for each true class: a column for each answered class, and a last one for pixels without an answer.
    #[must_use]
    pub fn counts(&self) -> Vec<i64> {
        self.counts.iter().map(|&count| count as i64).collect()
    }

    fn row(&self, class: u32) -> &[u64] {
        let width = self.classes as usize + 1;
        &self.counts[class as usize * width..(class as usize + 1) * width]
    }

    #[must_use]
    pub fn finish(&self) -> Segmentation {
        let per_class: Vec<ClassOverlap> = (0..self.classes)
            .map(|class| ClassOverlap {
                class,
                truth: self.row(class).iter().sum(),
                answered: (0..self.classes).map(|truth| self.row(truth)[class as usize]).sum(),
                common: self.row(class)[class as usize],
            })
            .collect();
        Segmentation {
            pixels: per_class.iter().map(|class| class.truth).sum(),
            right: per_class.iter().map(|class| class.common).sum(),
            per_class,
        }
    }
}

/// Task metrics over a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segmentation {
    /// Pixels that are not ignored.
    pub pixels: u64,
    /// Those with the right class.
    pub right: u64,
    pub per_class: Vec<ClassOverlap>,
}

/// How one class fared, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassOverlap {
    pub class: u32,
    pub truth: u64,
    pub answered: u64,
    /// Those where truth and answer agree.
    pub common: u64,
}

impl ClassOverlap {
    /// Intersection over union, 0 to 1; `None` when the class is neither there nor answered.
    #[must_use]
    pub fn iou(&self) -> Option<f64> {
        let union = self.truth + self.answered - self.common;
        (union > 0).then(|| self.common as f64 / union as f64)
    }
}

impl Segmentation {
    /// Share of pixels with the right class; `None` without pixels.
    #[must_use]
    pub fn pixel_accuracy(&self) -> Option<f64> {
        (self.pixels > 0).then(|| self.right as f64 / self.pixels as f64)
    }

    /// Mean of the classes' IoU, those that are neither there nor answered left out; `None` when none is.
    #[must_use]
    pub fn mean_iou(&self) -> Option<f64> {
        let ious: Vec<f64> = self.per_class.iter().filter_map(ClassOverlap::iou).collect();
        (!ious.is_empty()).then(|| ious.iter().sum::<f64>() / ious.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn regions_are_judged_by_their_overlap() {
        let mut pixels = Pixels::new(4).unwrap();
        pixels.push(&[0, 0, 1, 1, 255, 2], &[0, 1, 1, 1, 0, -1], Some(255)).unwrap();
        let result = pixels.finish();
        assert_eq!((result.pixels, result.right), (5, 3));
        assert_eq!(result.pixel_accuracy(), Some(0.6));
        let ious: Vec<Option<f64>> = result.per_class.iter().map(ClassOverlap::iou).collect();
        assert_eq!(ious, [Some(0.5), Some(2.0 / 3.0), Some(0.0), None], "class 3 is nowhere");
        assert_eq!(result.mean_iou(), Some((0.5 + 2.0 / 3.0) / 3.0));
    }

    #[test]
    fn a_class_that_is_answered_where_it_is_not_counts_in_the_mean() {
        let mut pixels = Pixels::new(2).unwrap();
        pixels.push(&[0, 0], &[0, 1], None).unwrap();
        assert_eq!(pixels.finish().mean_iou(), Some(0.25));
    }

    #[test]
    fn without_pixels_nothing_is_claimed() {
        let mut pixels = Pixels::new(3).unwrap();
        pixels.push(&[9, 9], &[0, 77], Some(9)).unwrap();
        assert_eq!((pixels.finish().mean_iou(), pixels.finish().pixel_accuracy()), (None, None));
    }

    #[test]
    fn a_refused_image_counts_nowhere() {
        let mut pixels = Pixels::new(2).unwrap();
        let before = pixels.clone();
        let error = |error: SegmentationError| error.to_string();
        assert_eq!(
            error(pixels.push(&[0, 2], &[0, 0], Some(255)).unwrap_err()),
            "true class 2 of pixel 1 is neither one of the 2 classes nor the ignored one"
        );
        assert_eq!(
            error(pixels.push(&[0, 1], &[0, 255], Some(255)).unwrap_err()),
            "answered class 255 of pixel 1 is not one of the 2 classes"
        );
        assert_eq!(
            error(pixels.push(&[0], &[0, 1], None).unwrap_err()),
            "the mask of the truth has 1 pixels, that of the answer 2"
        );
        assert_eq!(pixels.add(&[1; 4]).unwrap_err().to_string(), "2 classes need 6 counts, got 4");
        assert!(matches!(pixels.add(&[1, 1, -1, 1, 1, 1]), Err(SegmentationError::Count { index: 2, count: -1 })));
        assert!(matches!(pixels.add(&[1, 1, 1, 1, 1, i64::MAX]), Err(SegmentationError::Count { index: 5, .. })));
        assert_eq!(pixels, before);
        assert!(Pixels::new(MAX_CLASSES + 1).is_err());
    }

    proptest! {
        #[test]
        fn counts_of_images_add_up_to_those_of_all_pixels(
            images in prop::collection::vec(prop::collection::vec((0_i64..4, -1_i64..4), 0..30), 0..5)
        ) {
            let mut at_once = Pixels::new(4).unwrap();
            let mut added = Pixels::new(4).unwrap();
            for image in &images {
                let (truth, answer): (Vec<i64>, Vec<i64>) = image.iter().copied().unzip();
                at_once.push(&truth, &answer, Some(3)).unwrap();
                let mut one = Pixels::new(4).unwrap();
                one.push(&truth, &answer, Some(3)).unwrap();
                added.add(&one.counts()).unwrap();
            }
            prop_assert_eq!(&at_once, &added);
            let result = at_once.finish();
            let judged = images.iter().flatten().filter(|(truth, _)| *truth != 3).count() as u64;
            prop_assert_eq!(result.pixels, judged);
            prop_assert!(result.per_class.iter().filter_map(ClassOverlap::iou).all(|iou| (0.0..=1.0).contains(&iou)));
            prop_assert!(result.mean_iou().unwrap_or(0.0) <= 1.0);
        }
    }
}
