//! One answer a case, in the words of `fixtures/check_accuracy.py`.

use std::fmt::Display;

use seatrial_core::accuracy::detection::{self, AnswerBox, TruthBox};
use seatrial_core::accuracy::retrieval::{Gallery, Items, Similarities};
use seatrial_core::accuracy::segmentation::{ClassOverlap, Pixels};
use seatrial_core::accuracy::{classification, deviation, multilabel, paired, retrieval, text};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Case {
    Classification { classes: u32, labels: Vec<i64>, scores: Vec<Vec<f64>> },
    Detection { images: u32, classes: u32, truth: Vec<WrittenTruth>, answers: Vec<WrittenAnswer> },
    Segmentation { classes: u32, ignored: Option<i64>, images: Vec<[Vec<i64>; 2]> },
    Text { truth: Vec<String>, answers: Vec<String> },
    Retrieval { components: usize, items: Vec<f64>, item_labels: Vec<i64>, queries: Vec<f64>, query_labels: Vec<i64> },
    RetrievalOfItself { components: usize, items: Vec<f64>, item_labels: Vec<i64> },
    Deviation { truth: Vec<f64>, answers: Vec<f64> },
    Multilabel { classes: u32, labels: Vec<i64>, scores: Vec<f64>, threshold: f64 },
    Paired { first: Vec<bool>, second: Vec<bool> },
    PairedCounts { counts: [u32; 4] },
}

/// Image, class, rectangle, area, crowd.
#[derive(Deserialize)]
struct WrittenTruth(u32, u32, [f64; 4], f64, bool);

/// Image, class, rectangle, score.
#[derive(Deserialize)]
struct WrittenAnswer(u32, u32, [f64; 4], f64);

/// The figures of each case, in their order.
pub fn answer(cases: &str) -> serde_json::Result<Vec<Value>> {
    let cases: Vec<Case> = serde_json::from_str(cases)?;
    let refused = |error: Box<dyn Display>| json!({ "refused": error.to_string() });
    Ok(cases.into_iter().map(|case| figures(case).unwrap_or_else(refused)).collect())
}

fn boxed<E: Display + 'static>(error: E) -> Box<dyn Display> {
    Box::new(error)
}

fn figures(case: Case) -> Result<Value, Box<dyn Display>> {
    match case {
        Case::Classification { classes, labels, scores } => {
            let top: Vec<i64> = scores.iter().flat_map(|scores| classification::top_classes(scores)).collect();
            let result = classification::summarise(&labels, &top, classes).map_err(boxed)?;
            Ok(json!({
                "top1": share(result.top1, result.examples),
                "top5": share(result.top5, result.examples),
                "precision": result.per_class.iter().map(classification::ClassScore::precision).collect::<Vec<_>>(),
                "recall": result.per_class.iter().map(classification::ClassScore::recall).collect::<Vec<_>>(),
                "confusion": (0..result.confusion.classes()).map(|row| result.confusion.row(row)).collect::<Vec<_>>(),
            }))
        }
        Case::Detection { images, classes, truth, answers } => {
            let truth: Vec<TruthBox> = truth.into_iter().map(TruthBox::from).collect();
            let answers: Vec<AnswerBox> = answers.into_iter().map(AnswerBox::from).collect();
            Ok(of_detection(&detection::summarise(images, classes, &truth, &answers).map_err(boxed)?))
        }
        Case::Segmentation { classes, ignored, images } => {
            let mut pixels = Pixels::new(classes).map_err(boxed)?;
            for [truth, answer] in &images {
                pixels.push(truth, answer, ignored).map_err(boxed)?;
            }
            let result = pixels.finish();
            Ok(json!({
                "confusion": pixels.counts(),
                "pixels": result.pixels,
                "iou": result.per_class.iter().map(ClassOverlap::iou).collect::<Vec<_>>(),
                "mean_iou": result.mean_iou(),
                "pixel_accuracy": result.pixel_accuracy(),
            }))
        }
        Case::Text { truth, answers } => {
            let result = text::summarise(&truth, &answers).map_err(boxed)?;
            Ok(json!({
                "exact": result.exact,
                "characters": of_edits(result.characters),
                "cer": result.characters.rate(),
                "words": of_edits(result.words),
                "wer": result.words.rate(),
            }))
        }
        Case::Retrieval { components, items, item_labels, queries, query_labels } => {
            let gallery = Gallery::new(components, &items).map_err(boxed)?;
            let ranked = queries.chunks_exact(components).map(|query| gallery.nearest(query, None));
            let ranked = ranked.collect::<Result<Vec<_>, _>>().map_err(boxed)?;
            let mut pairs = Similarities::default();
            for (query, item) in queries.chunks_exact(components).zip(items.chunks_exact(components)) {
                pairs.push(query, item).map_err(boxed)?;
            }
            let pairs = pairs.finish().map(|pairs| json!([pairs.pairs, pairs.mean, pairs.least]));
            of_retrieval(&query_labels, Items::Apart(&item_labels), &ranked, pairs.as_ref())
        }
        Case::RetrievalOfItself { components, items, item_labels } => {
            let gallery = Gallery::new(components, &items).map_err(boxed)?;
            let queries = items.chunks_exact(components).enumerate();
            let ranked = queries.map(|(index, query)| gallery.nearest(query, Some(index)));
            let ranked = ranked.collect::<Result<Vec<_>, _>>().map_err(boxed)?;
            of_retrieval(&item_labels, Items::Queries, &ranked, None)
        }
        Case::Deviation { truth, answers } => {
            let result = deviation::summarise(&truth, &answers).map_err(boxed)?;
            Ok(json!({
                "mae": result.map(|result| result.mean_absolute),
                "rmse": result.map(|result| result.root_mean_square),
                "max": result.map(|result| result.max_absolute),
            }))
        }
        Case::Multilabel { classes, labels, scores, threshold } => {
            let result = multilabel::summarise(classes, &labels, &scores, threshold).map_err(boxed)?;
            Ok(json!({
                "precision": result.per_class.iter().map(multilabel::ClassDecisions::precision).collect::<Vec<_>>(),
                "recall": result.per_class.iter().map(multilabel::ClassDecisions::recall).collect::<Vec<_>>(),
                "f1": result.per_class.iter().map(multilabel::ClassDecisions::f1).collect::<Vec<_>>(),
                "micro_f1": result.micro_f1(),
                "macro_f1": result.macro_f1(),
                "top1": result.top1_share(),
            }))
        }
        Case::Paired { first, second } => Ok(of_paired(paired::compare(&first, &second).map_err(boxed)?)),
        Case::PairedCounts { counts: [both, only_first, only_second, neither] } => {
            Ok(of_paired(paired::Paired::of(both, only_first, only_second, neither)))
        }
    }
}

fn share(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole)
}

impl From<WrittenTruth> for TruthBox {
    fn from(WrittenTruth(image, class, rectangle, area, crowd): WrittenTruth) -> Self {
        Self { image, class, rectangle, area, crowd }
    }
}

impl From<WrittenAnswer> for AnswerBox {
    fn from(WrittenAnswer(image, class, rectangle, score): WrittenAnswer) -> Self {
        Self { image, class, rectangle, score }
    }
}

fn of_detection(result: &detection::Detection) -> Value {
    json!({
        "ap": result.ap, "ap_50": result.ap_50, "ap_75": result.ap_75,
        "ap_small": result.ap_small, "ap_medium": result.ap_medium, "ap_large": result.ap_large,
        "ar_1": result.ar_1, "ar_10": result.ar_10, "ar_100": result.ar_100,
        "ar_small": result.ar_small, "ar_medium": result.ar_medium, "ar_large": result.ar_large,
        "per_class": result.per_class.iter().map(|class| class.ap).collect::<Vec<_>>(),
        "per_class_50": result.per_class.iter().map(|class| class.ap_50).collect::<Vec<_>>(),
        "per_class_recall": result.per_class.iter().map(|class| class.ar_100).collect::<Vec<_>>(),
        "objects": result.per_class.iter().map(|class| class.objects).collect::<Vec<_>>(),
        "answers": result.per_class.iter().map(|class| class.answers).collect::<Vec<_>>(),
    })
}

fn of_edits(edits: text::Edits) -> [u64; 4] {
    [edits.hits, edits.substitutions, edits.deletions, edits.insertions]
}

fn of_retrieval(
    queries: &[i64],
    items: Items<'_>,
    ranked: &[[i64; retrieval::KEPT]],
    pairs: Option<&Value>,
) -> Result<Value, Box<dyn Display>> {
    let result = retrieval::summarise(queries, items, ranked.as_flattened()).map_err(boxed)?;
    Ok(json!({
        "ranked": ranked,
        "judged": result.judged,
        "hits": result.at.map(|at| at.hits),
        "recall": result.at.map(|at| at.recall),
        "pairs": pairs,
    }))
}

fn of_paired(paired: Option<paired::Paired>) -> Value {
    json!(paired.map(|paired| json!({
        "counts": [paired.both, paired.only_first, paired.only_second, paired.neither],
        "p": paired.p,
        "difference": paired.difference,
        "interval": paired.interval,
    })))
}
