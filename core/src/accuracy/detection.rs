//! Average precision and recall of boxes, as COCO defines them.
//!
//! Every figure is that of pycocotools' `COCOeval` (`iouType` "bbox", its default parameters); where that gives −1,
//! there is nothing to judge and the figure is `None`. Annotations are as if numbered from 1.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::classification::MAX_CLASSES;
use crate::dataset::package::MAX_EXAMPLES;

/// Detections of one class that are judged in one image, best first; more are left out, as COCO does.
pub const MAX_DETECTIONS: usize = 100;
/// Boxes of the truth, or of the answers, that one call takes.
pub const MAX_BOXES: usize = 1 << 20;
/// Pairs of an answer and a true box of its class and image that one call compares.
pub const MAX_PAIRS: usize = 1 << 24;
/// Coordinates and areas beyond this, in pixels, are refused: their products would no longer be exact enough to judge.
pub const MAX_MAGNITUDE: f64 = 1e12;

/// IoU that a match needs: 0.50, 0.55 … 0.95.
const IOU_STEPS: usize = 10;
const IOU_50: usize = 0;
const IOU_75: usize = 5;
/// Recall at which precision is read: 0.00, 0.01 … 1.00.
const RECALL_STEPS: usize = 101;
/// Detections per class and image after which recall is read.
const RECALL_AT: [usize; 3] = [1, 10, MAX_DETECTIONS];

/// Smallest and largest area in square pixels, both included, of: all, small, medium, large.
const AREAS: [(f64, f64); 4] =
    [(0.0, 1e5 * 1e5), (0.0, 32.0 * 32.0), (32.0 * 32.0, 96.0 * 96.0), (96.0 * 96.0, 1e5 * 1e5)];
const ALL: usize = 0;

/// Left, top, width and height in pixels.
pub type Rectangle = [f64; 4];

/// An object that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruthBox {
    pub image: u32,
    pub class: u32,
    pub rectangle: Rectangle,
    /// Of the object in square pixels, which decides whether it is small, medium or large. COCO's is that of the
    /// object's outline; without one it is that of the rectangle.
    pub area: f64,
    /// Many objects that nobody counted: finding them is neither right nor wrong.
    pub crowd: bool,
}

/// An object that the model sees. Equal scores go by their order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerBox {
    pub image: u32,
    pub class: u32,
    pub rectangle: Rectangle,
    pub score: f64,
}

/// Task metrics over a dataset, each from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Mean over IoU 0.50 to 0.95, recall 0 to 1, and classes.
    pub ap: Option<f64>,
    /// The same at IoU 0.50 and 0.75 only.
    pub ap_50: Option<f64>,
    pub ap_75: Option<f64>,
    /// The same for objects up to 32², up to 96², and larger.
    pub ap_small: Option<f64>,
    pub ap_medium: Option<f64>,
    pub ap_large: Option<f64>,
    /// Share of objects found by the best 1, 10 and 100 detections per class and image: mean over IoU and classes.
    pub ar_1: Option<f64>,
    pub ar_10: Option<f64>,
    pub ar_100: Option<f64>,
    pub ar_small: Option<f64>,
    pub ar_medium: Option<f64>,
    pub ar_large: Option<f64>,
    pub per_class: Vec<ClassDetection>,
}

/// How one class fared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassDetection {
    pub class: u32,
    /// Objects of the class, crowds left out.
    pub objects: u32,
    /// Boxes that the model gave it, those beyond the hundredth of an image included.
    pub answers: u32,
    pub ap: Option<f64>,
    pub ap_50: Option<f64>,
    pub ar_100: Option<f64>,
}

/// Boxes that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectionError {
    #[error("{0} classes are refused, at most {MAX_CLASSES} are judged")]
    TooManyClasses(u32),
    #[error("{0} images are refused, at most {MAX_EXAMPLES} are judged")]
    TooManyImages(u32),
    #[error("{count} {of} boxes are refused, at most {MAX_BOXES} are judged")]
    TooManyBoxes { of: Origin, count: usize },
    #[error("more than {MAX_PAIRS} pairs of boxes would have to be compared")]
    TooManyPairs,
    #[error("{of} box {index} is in image {image}, there are {images}")]
    Image { of: Origin, index: usize, image: u32, images: u32 },
    #[error("{of} box {index} has class {class}, which is not one of the {classes} classes")]
    Class { of: Origin, index: usize, class: u32, classes: u32 },
    #[error("{of} box {index} has a coordinate, area or score that is not a number within ±{MAX_MAGNITUDE:e}")]
    Magnitude { of: Origin, index: usize },
}

/// Where a box comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Truth,
    Answer,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Truth => "true",
            Self::Answer => "answered",
        })
    }
}

/// Judges the boxes of a dataset of `images` images and `classes` classes, both counted from 0.
pub fn summarise(
    images: u32,
    classes: u32,
    truth: &[TruthBox],
    answers: &[AnswerBox],
) -> Result<Detection, DetectionError> {
    check(images, classes, truth, answers)?;
    let mut scenes: BTreeMap<(u32, u32), Scene<'_>> = BTreeMap::new();
    for object in truth {
        scenes.entry((object.class, object.image)).or_default().truth.push(object);
    }
    for answer in answers {
        scenes.entry((answer.class, answer.image)).or_default().answers.push(answer);
    }
    let mut per_class: Vec<Vec<Scene<'_>>> = (0..classes).map(|_| Vec::new()).collect();
    let mut pairs = 0_usize;
    for ((class, _), mut scene) in scenes {
        scene.rank();
        pairs += scene.truth.len() * scene.answers.len();
        if pairs > MAX_PAIRS {
            return Err(DetectionError::TooManyPairs);
        }
        per_class[class as usize].push(scene);
    }

    let mut totals = Totals::default();
    let mut counts = vec![(0, 0); classes as usize];
    for object in truth.iter().filter(|object| !object.crowd) {
        counts[object.class as usize].0 += 1;
    }
    for answer in answers {
        counts[answer.class as usize].1 += 1;
    }
    let per_class = (0..classes)
        .zip(per_class)
        .zip(counts)
        .map(|((class, scenes), (objects, answers))| {
            let curves = Curves::of(&scenes);
            totals.add(&curves);
            ClassDetection {
                class,
                objects,
                answers,
                ap: curves.area(ALL).map(|area| mean(&area.precision)),
                ap_50: curves.area(ALL).map(|area| area.precision[IOU_50]),
                ar_100: curves.area(ALL).map(|area| mean(&area.recall_at(MAX_DETECTIONS))),
            }
        })
        .collect();
    Ok(totals.finish(per_class))
}

fn check(images: u32, classes: u32, truth: &[TruthBox], answers: &[AnswerBox]) -> Result<(), DetectionError> {
    if classes > MAX_CLASSES {
        return Err(DetectionError::TooManyClasses(classes));
    }
    if images > MAX_EXAMPLES {
        return Err(DetectionError::TooManyImages(images));
    }
    let of_truth = truth.iter().map(|object| (object.image, object.class, object.rectangle, object.area));
    check_boxes(Origin::Truth, images, classes, truth.len(), of_truth)?;
    let of_answers = answers.iter().map(|answer| (answer.image, answer.class, answer.rectangle, answer.score));
    check_boxes(Origin::Answer, images, classes, answers.len(), of_answers)
}

fn check_boxes(
    of: Origin,
    images: u32,
    classes: u32,
    count: usize,
    boxes: impl Iterator<Item = (u32, u32, Rectangle, f64)>,
) -> Result<(), DetectionError> {
    if count > MAX_BOXES {
        return Err(DetectionError::TooManyBoxes { of, count });
    }
    for (index, (image, class, rectangle, value)) in boxes.enumerate() {
        if image >= images {
            return Err(DetectionError::Image { of, index, image, images });
        }
        if class >= classes {
            return Err(DetectionError::Class { of, index, class, classes });
        }
        if !rectangle.into_iter().chain([value]).all(|value| value.abs() <= MAX_MAGNITUDE) {
            return Err(DetectionError::Magnitude { of, index });
        }
    }
    Ok(())
}

/// What one class has in one image.
#[derive(Default)]
struct Scene<'a> {
    truth: Vec<&'a TruthBox>,
    answers: Vec<&'a AnswerBox>,
}

impl Scene<'_> {
    /// Puts the best answers first and keeps those that count.
    fn rank(&mut self) {
        self.answers.sort_by(|a, b| descending(a.score, b.score));
        self.answers.truncate(MAX_DETECTIONS);
    }

    /// For each answer the true boxes that could match it at the lowest threshold, in their order, with their IoU.
    fn candidates(&self) -> Vec<Vec<(usize, f64)>> {
        let near = |answer: &AnswerBox| {
            let pairs = self.truth.iter().enumerate().map(|(index, object)| (index, iou(answer, object)));
            pairs.filter(|&(_, iou)| iou >= iou_threshold(IOU_50)).collect()
        };
        self.answers.iter().map(|answer| near(answer)).collect()
    }
}

fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

/// Intersection over union of two rectangles.
#[must_use]
pub fn overlap(one: Rectangle, other: Rectangle) -> f64 {
    shared(one, other, false)
}

/// Intersection over union; over the answer's own area when the true box is a crowd.
fn iou(answer: &AnswerBox, object: &TruthBox) -> f64 {
    shared(answer.rectangle, object.rectangle, object.crowd)
}

fn shared([x, y, width, height]: Rectangle, [left, top, w, h]: Rectangle, crowd: bool) -> f64 {
    let across = (x + width).min(left + w) - x.max(left);
    let down = (y + height).min(top + h) - y.max(top);
    if across <= 0.0 || down <= 0.0 {
        return 0.0;
    }
    let (common, own) = (across * down, width * height);
    common / if crowd { own } else { own + w * h - common }
}

/// As `numpy.linspace(0.5, 0.95, 10)` rounds it.
fn iou_threshold(step: usize) -> f64 {
    if step + 1 == IOU_STEPS { 0.95 } else { 0.5 + step as f64 * ((0.95 - 0.5) / (IOU_STEPS - 1) as f64) }
}

/// As `numpy.linspace(0, 1, 101)` rounds it.
fn recall_threshold(step: usize) -> f64 {
    if step + 1 == RECALL_STEPS { 1.0 } else { step as f64 * 0.01 }
}

fn outside(area: f64, (least, most): (f64, f64)) -> bool {
    area < least || area > most
}

/// What became of one answer at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
    /// It matches what is not judged, or matches nothing and has an area that is not judged.
    Ignored,
}

/// One answer: its place among those of its image, and what became of it at each threshold.
#[derive(Clone, Copy)]
struct Judged {
    score: f64,
    place: usize,
    verdicts: [Verdict; IOU_STEPS],
}

/// Judges a scene for one range of areas.
fn judge(scene: &Scene<'_>, candidates: &[Vec<(usize, f64)>], range: (f64, f64)) -> Vec<Judged> {
    let ignored: Vec<bool> = scene.truth.iter().map(|object| object.crowd || outside(object.area, range)).collect();
    let blank = |(place, answer): (usize, &&AnswerBox)| {
        let [_, _, width, height] = answer.rectangle;
        let unmatched = if outside(width * height, range) { Verdict::Ignored } else { Verdict::Wrong };
        Judged { score: answer.score, place, verdicts: [unmatched; IOU_STEPS] }
    };
    let mut judged: Vec<Judged> = scene.answers.iter().enumerate().map(blank).collect();
    for step in 0..IOU_STEPS {
        let mut taken = vec![false; scene.truth.len()];
        for (answer, near) in judged.iter_mut().zip(candidates) {
            let open = |&&(index, _): &&(usize, f64)| !taken[index] || scene.truth[index].crowd;
            let best = best_of(near.iter().filter(open).filter(|(index, _)| !ignored[*index]), step)
                .or_else(|| best_of(near.iter().filter(open).filter(|(index, _)| ignored[*index]), step));
            if let Some(index) = best {
                taken[index] = true;
                answer.verdicts[step] = if ignored[index] { Verdict::Ignored } else { Verdict::Right };
            }
        }
    }
    judged
}

/// The true box with the highest IoU that reaches the threshold, the last of equal ones.
fn best_of<'a>(near: impl Iterator<Item = &'a (usize, f64)>, step: usize) -> Option<usize> {
    let mut least = iou_threshold(step);
    let mut best = None;
    for &(index, iou) in near {
        if iou >= least {
            (least, best) = (iou, Some(index));
        }
    }
    best
}

/// Precision and recall of one class within one range of areas, for each IoU.
struct Curve {
    /// Mean over the recall thresholds.
    precision: [f64; IOU_STEPS],
    /// After the best 1, 10 and 100 of each image.
    recall: [[f64; IOU_STEPS]; RECALL_AT.len()],
}

impl Curve {
    fn recall_at(&self, detections: usize) -> [f64; IOU_STEPS] {
        RECALL_AT.iter().position(|&at| at == detections).map_or([0.0; IOU_STEPS], |at| self.recall[at])
    }
}

/// The curves of one class; `None` for a range of areas without an object.
struct Curves([Option<Curve>; AREAS.len()]);

impl Curves {
    fn of(scenes: &[Scene<'_>]) -> Self {
        let candidates: Vec<_> = scenes.iter().map(Scene::candidates).collect();
        Self(AREAS.map(|range| {
            let counted = |object: &&&TruthBox| !object.crowd && !outside(object.area, range);
            let objects: usize = scenes.iter().map(|scene| scene.truth.iter().filter(counted).count()).sum();
            if objects == 0 {
                return None;
            }
            let scenes = scenes.iter().zip(&candidates);
            let mut judged: Vec<Judged> = scenes.flat_map(|(scene, near)| judge(scene, near, range)).collect();
            judged.sort_by(|a, b| descending(a.score, b.score));
            let mut curve = Curve { precision: [0.0; IOU_STEPS], recall: [[0.0; IOU_STEPS]; RECALL_AT.len()] };
            for step in 0..IOU_STEPS {
                curve.precision[step] = precision(&judged, step, objects);
                for (recall, places) in curve.recall.iter_mut().zip(RECALL_AT) {
                    let found = judged.iter().filter(|answer| answer.place < places);
                    let right = found.filter(|answer| answer.verdicts[step] == Verdict::Right).count();
                    recall[step] = right as f64 / objects as f64;
                }
            }
            Some(curve)
        }))
    }

    const fn area(&self, index: usize) -> Option<&Curve> {
        self.0[index].as_ref()
    }
}

/// Mean over the recall thresholds of the best precision at that recall or a higher one; 0 beyond the highest.
fn precision(judged: &[Judged], step: usize, objects: usize) -> f64 {
    let (mut right, mut wrong) = (0.0, 0.0);
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(judged.len());
    for answer in judged {
        match answer.verdicts[step] {
            Verdict::Right => right += 1.0,
            Verdict::Wrong => wrong += 1.0,
            Verdict::Ignored => {}
        }
        points.push((right / objects as f64, right / (wrong + right + f64::EPSILON)));
    }
    for index in (1..points.len()).rev() {
        points[index - 1].1 = points[index - 1].1.max(points[index].1);
    }
    let at = |threshold: f64| points.get(points.partition_point(|&(recall, _)| recall < threshold));
    let sum: f64 =
        (0..RECALL_STEPS).filter_map(|step| at(recall_threshold(step))).map(|&(_, precision)| precision).sum();
    sum / RECALL_STEPS as f64
}

fn mean(values: &[f64; IOU_STEPS]) -> f64 {
    values.iter().sum::<f64>() / IOU_STEPS as f64
}

/// A mean over classes.
#[derive(Default, Clone, Copy)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn finish(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

#[derive(Default)]
struct Totals {
    ap: [Mean; AREAS.len()],
    ap_50: Mean,
    ap_75: Mean,
    ar: [Mean; AREAS.len()],
    ar_1: Mean,
    ar_10: Mean,
}

impl Totals {
    fn add(&mut self, curves: &Curves) {
        for (index, curve) in curves.0.iter().enumerate() {
            if let Some(curve) = curve {
                self.ap[index].add(mean(&curve.precision));
                self.ar[index].add(mean(&curve.recall_at(MAX_DETECTIONS)));
            }
        }
        if let Some(curve) = curves.area(ALL) {
            self.ap_50.add(curve.precision[IOU_50]);
            self.ap_75.add(curve.precision[IOU_75]);
            self.ar_1.add(mean(&curve.recall_at(1)));
            self.ar_10.add(mean(&curve.recall_at(10)));
        }
    }

    fn finish(self, per_class: Vec<ClassDetection>) -> Detection {
        let [ap, ap_small, ap_medium, ap_large] = self.ap.map(Mean::finish);
        let [ar_100, ar_small, ar_medium, ar_large] = self.ar.map(Mean::finish);
        let (ap_50, ap_75) = (self.ap_50.finish(), self.ap_75.finish());
        let (ar_1, ar_10) = (self.ar_1.finish(), self.ar_10.finish());
        Detection {
            ap,
            ap_50,
            ap_75,
            ap_small,
            ap_medium,
            ap_large,
            ar_1,
            ar_10,
            ar_100,
            ar_small,
            ar_medium,
            ar_large,
            per_class,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(image: u32, class: u32, rectangle: Rectangle) -> TruthBox {
        TruthBox { image, class, rectangle, area: rectangle[2] * rectangle[3], crowd: false }
    }

    fn answer(image: u32, class: u32, rectangle: Rectangle, score: f64) -> AnswerBox {
        AnswerBox { image, class, rectangle, score }
    }

    const SQUARE: Rectangle = [10.0, 10.0, 20.0, 20.0];

    #[test]
    fn thresholds_are_rounded_as_numpy_rounds_them() {
        let thresholds: Vec<f64> = (0..IOU_STEPS).map(iou_threshold).collect();
        assert_eq!(thresholds, [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.899_999_999_999_999_9, 0.95]);
        assert_eq!((recall_threshold(0), recall_threshold(29), recall_threshold(100)), (0.0, 0.29, 1.0));
    }

    #[test]
    fn a_box_in_its_place_is_found_and_a_second_one_there_is_wrong() {
        let truth = [object(0, 0, SQUARE)];
        let once = summarise(1, 1, &truth, &[answer(0, 0, SQUARE, 0.9)]).unwrap();
        assert!((once.ap.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(once.ar_100, Some(1.0));
        assert_eq!(once.ap_small, once.ap, "20 by 20 is small");
        assert_eq!((once.ap_medium, once.ap_large, once.ar_large), (None, None, None), "nothing there to be found");
        let twice = [answer(0, 0, SQUARE, 0.9), answer(0, 0, SQUARE, 0.95)];
        let first_is_right = summarise(1, 1, &truth, &twice).unwrap();
        assert_eq!(first_is_right.ap, once.ap, "what is wrong below the last right answer costs nothing");
        let moved = [answer(0, 0, [90.0, 90.0, 20.0, 20.0], 0.99), answer(0, 0, SQUARE, 0.9)];
        let wrong_first = summarise(1, 1, &truth, &moved).unwrap();
        assert!((wrong_first.ap.unwrap() - 0.5).abs() < 1e-12);
        assert_eq!((wrong_first.ar_1, wrong_first.ar_10), (Some(0.0), Some(1.0)));
    }

    #[test]
    fn an_overlap_counts_up_to_its_iou() {
        // 20 × 16 of 20 × 20 are covered: IoU 0.8, which seven of the ten thresholds allow.
        let covered = answer(0, 0, [10.0, 10.0, 20.0, 16.0], 0.5);
        let result = summarise(1, 1, &[object(0, 0, SQUARE)], &[covered]).unwrap();
        assert!((result.ap.unwrap() - 0.7).abs() < 1e-12);
        assert_eq!((result.ap_50.map(f64::round), result.ap_75.map(f64::round)), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn what_lies_in_a_crowd_is_neither_right_nor_wrong() {
        let crowd = TruthBox { crowd: true, ..object(0, 0, [0.0, 0.0, 500.0, 500.0]) };
        let one = object(0, 0, SQUARE);
        let inside = [60.0, 60.0, 10.0, 10.0];
        let answers = [answer(0, 0, inside, 0.99), answer(0, 0, inside, 0.98), answer(0, 0, SQUARE, 0.9)];
        let result = summarise(1, 1, &[crowd, one], &answers).unwrap();
        assert!((result.ap.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(result.per_class[0].objects, 1);
        let only_crowd = summarise(1, 1, &[crowd], &answers).unwrap();
        assert_eq!((only_crowd.ap, only_crowd.per_class[0].ap), (None, None));
        let uncounted = summarise(1, 1, &[TruthBox { crowd: false, ..crowd }, one], &answers).unwrap();
        assert!(uncounted.ap.unwrap() < 0.5, "the control: without the crowd these answers are wrong");
    }

    #[test]
    fn a_class_without_objects_is_in_no_mean_and_an_object_without_answers_is_not_found() {
        let truth = [object(0, 0, SQUARE), object(1, 2, SQUARE)];
        let answers = [answer(0, 0, SQUARE, 0.9), answer(1, 1, SQUARE, 0.9)];
        let result = summarise(2, 3, &truth, &answers).unwrap();
        assert!((result.ap.unwrap() - 0.5).abs() < 1e-12, "classes 0 and 2");
        let per_class: Vec<Option<f64>> = result.per_class.iter().map(|class| class.ap.map(f64::round)).collect();
        assert_eq!(per_class, [Some(1.0), None, Some(0.0)]);
        assert_eq!(summarise(0, 0, &[], &[]).unwrap().ap, None);
    }

    #[test]
    fn only_the_hundred_best_of_a_class_in_an_image_are_judged() {
        let mut answers: Vec<AnswerBox> =
            (0..100).map(|i| answer(0, 0, [500.0, f64::from(i), 9.0, 9.0], 0.9)).collect();
        answers.push(answer(0, 0, SQUARE, 0.8));
        let truth = [object(0, 0, SQUARE)];
        assert_eq!(summarise(1, 1, &truth, &answers).unwrap().ap, Some(0.0));
        answers[100].score = 0.9;
        assert_eq!(summarise(1, 1, &truth, &answers).unwrap().ap, Some(0.0), "equal scores go by their order");
        answers[100].score = 0.95;
        assert!(summarise(1, 1, &truth, &answers).unwrap().ap.unwrap() > 0.99);
    }

    #[test]
    fn boxes_that_cannot_be_judged_are_refused_with_their_number() {
        let good = object(0, 0, SQUARE);
        let error =
            |truth: &[TruthBox], answers: &[AnswerBox]| summarise(1, 1, truth, answers).unwrap_err().to_string();
        assert_eq!(error(&[good, object(3, 0, SQUARE)], &[]), "true box 1 is in image 3, there are 1");
        assert_eq!(
            error(&[], &[answer(0, 7, SQUARE, 0.5)]),
            "answered box 0 has class 7, which is not one of the 1 classes"
        );
        let unscored = error(&[good], &[answer(0, 0, SQUARE, f64::NAN)]);
        assert_eq!(unscored, "answered box 0 has a coordinate, area or score that is not a number within ±1e12");
        assert!(summarise(1, 1, &[object(0, 0, [0.0, 0.0, f64::INFINITY, 1.0])], &[]).is_err());
        assert!(summarise(1, MAX_CLASSES + 1, &[], &[]).is_err());
        assert!(summarise(MAX_EXAMPLES + 1, 1, &[], &[]).is_err());
    }

    #[test]
    fn more_pairs_than_can_be_compared_are_refused() {
        let truth = vec![object(0, 0, SQUARE); MAX_PAIRS / MAX_DETECTIONS + 1];
        let answers = vec![answer(0, 0, SQUARE, 0.5); MAX_DETECTIONS];
        assert_eq!(summarise(1, 1, &truth, &answers), Err(DetectionError::TooManyPairs));
        assert_eq!(
            summarise(1, 1, &[], &vec![answers[0]; MAX_BOXES + 1]).unwrap_err().to_string(),
            "1048577 answered boxes are refused, at most 1048576 are judged"
        );
    }

    fn rectangles() -> impl Strategy<Value = Rectangle> {
        prop::array::uniform4(0_u8..40).prop_map(|sides| sides.map(|side| f64::from(side) * 4.0))
    }

    proptest! {
        #[test]
        fn every_figure_is_a_share_and_more_detections_never_find_less(
            truth in prop::collection::vec((0_u32..3, 0_u32..3, rectangles(), any::<bool>()), 0..30),
            answers in prop::collection::vec((0_u32..3, 0_u32..3, rectangles(), 0_u8..5), 0..60),
        ) {
            let truth: Vec<TruthBox> = truth
                .into_iter()
                .map(|(image, class, rectangle, crowd)| TruthBox { crowd, ..object(image, class, rectangle) })
                .collect();
            let answers: Vec<AnswerBox> = answers
                .into_iter()
                .map(|(image, class, rectangle, score)| answer(image, class, rectangle, f64::from(score)))
                .collect();
            let result = summarise(3, 3, &truth, &answers).unwrap();
            let figures = [result.ap, result.ap_50, result.ap_75, result.ap_small, result.ar_1, result.ar_100];
            prop_assert!(figures.into_iter().flatten().all(|figure| (0.0..=1.0).contains(&figure)));
            prop_assert!(result.ar_1 <= result.ar_10 && result.ar_10 <= result.ar_100);
            prop_assert!(result.ap_50 >= result.ap_75 && result.ap_50.unwrap_or(0.0) >= result.ap.unwrap_or(0.0) - 1e-12);
            let judged = truth.iter().any(|object| !object.crowd);
            prop_assert_eq!(result.ap.is_some(), judged);
        }

        #[test]
        fn the_truth_as_answer_finds_everything(boxes in prop::collection::vec((0_u32..4, 0_u32..3, rectangles()), 1..40)) {
            let boxes: Vec<_> = boxes.into_iter().filter(|(_, _, [_, _, width, height])| width * height > 0.0).collect();
            let truth: Vec<TruthBox> = boxes.iter().map(|&(image, class, r)| object(image, class, r)).collect();
            let answers: Vec<AnswerBox> = boxes.iter().map(|&(image, class, r)| answer(image, class, r, 0.5)).collect();
            let result = summarise(4, 3, &truth, &answers).unwrap();
            prop_assert!(result.ap.is_none_or(|ap| (ap - 1.0).abs() < 1e-12));
            prop_assert!(result.ar_100.is_none_or(|recall| recall == 1.0));
        }
    }
}
