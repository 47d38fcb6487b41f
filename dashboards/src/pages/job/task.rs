//! Figures of a task other than classification, part by part: classes, kinds of error, numbers of items.

use seatrial_core::accuracy::retrieval::Items;
use seatrial_core::accuracy::{detection, multilabel, retrieval, text};
use seatrial_core::evidence::{self, Evidence};
use seatrial_core::measure::task;
use serde::Serialize;

use super::Data;
use crate::format::{DASH, count, fixed};
use crate::i18n::Words;

/// Parts of the figures, derived from the evidence.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Parts {
    Classes(Vec<Class>),
    /// Of the text.
    Errors {
        characters: Edits,
        words: Edits,
    },
    /// Of the nearest items.
    At(Vec<At>),
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Class {
    Boxes {
        class: u32,
        name: Option<String>,
        objects: u32,
        answers: u32,
        ap: Option<f64>,
        ap_50: Option<f64>,
        ar_100: Option<f64>,
    },
    Pixels {
        class: u32,
        name: Option<String>,
        truth: u64,
        answered: u64,
        iou: Option<f64>,
    },
    Decisions {
        class: u32,
        name: Option<String>,
        support: u32,
        answered: u32,
        precision: Option<f64>,
        recall: Option<f64>,
        f1: Option<f64>,
    },
}

#[derive(Serialize)]
pub(super) struct Edits {
    truth: u64,
    substitutions: u64,
    deletions: u64,
    insertions: u64,
    rate: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct At {
    k: u32,
    judged: u32,
    hits: u32,
    recall: Option<f64>,
}

impl From<text::Edits> for Edits {
    fn from(edits: text::Edits) -> Self {
        let text::Edits { substitutions, deletions, insertions, .. } = edits;
        Self { truth: edits.truth(), substitutions, deletions, insertions, rate: edits.rate() }
    }
}

/// `None` where there is nothing to take apart, and for evidence that cannot be judged: the metrics say why.
pub(super) fn parts(evidence: &Evidence, examples: u32, names: &[String]) -> Option<Parts> {
    let name = |class: u32| names.get(class as usize).cloned();
    Some(match evidence {
        Evidence::Detection { truth, answers } => {
            let classes = task::box_classes(truth, answers).max(names.len() as u32);
            let judged = detection::summarise(examples, classes, truth, answers).ok()?;
            let class = |it: detection::ClassDetection| {
                let detection::ClassDetection { class, objects, answers, ap, ap_50, ar_100 } = it;
                Class::Boxes { class, name: name(class), objects, answers, ap, ap_50, ar_100 }
            };
            Parts::Classes(judged.per_class.into_iter().map(class).collect())
        }
        Evidence::Segmentation(pixels) => {
            let class = |it: seatrial_core::accuracy::segmentation::ClassOverlap| Class::Pixels {
                class: it.class,
                name: name(it.class),
                truth: it.truth,
                answered: it.answered,
                iou: it.iou(),
            };
            Parts::Classes(pixels.finish().per_class.into_iter().map(class).collect())
        }
        Evidence::Text { truth, answers } => {
            let judged = text::summarise(truth, answers).ok()?;
            Parts::Errors { characters: judged.characters.into(), words: judged.words.into() }
        }
        Evidence::Multilabel { truth, answers } => {
            let classes = task::class_count(truth, answers).max(names.len() as u32);
            let judged = multilabel::judge(classes, truth, answers).ok()?;
            let class = |it: multilabel::ClassDecisions| Class::Decisions {
                class: it.class,
                name: name(it.class),
                support: it.support,
                answered: it.answered,
                precision: it.precision(),
                recall: it.recall(),
                f1: it.f1(),
            };
            Parts::Classes(judged.per_class.into_iter().map(class).collect())
        }
        Evidence::Retrieval { identities, ranked } => {
            let (queries, items) = evidence::labels(identities);
            let items = if identities.queries.is_some() { Items::Apart(&items) } else { Items::Queries };
            let judged = retrieval::summarise(&queries, items, ranked).ok()?;
            let at = |it: retrieval::RecallAt| At { k: it.k, judged: judged.judged, hits: it.hits, recall: it.recall };
            Parts::At(judged.at.into_iter().map(at).collect())
        }
        Evidence::Regression { .. } | Evidence::Verdicts(_) => return None,
    })
}

/// A table: its heads, then its rows. The first cell of a row names it.
#[derive(Default)]
pub(super) struct Table {
    pub heads: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// More rows than these are folded away.
const OPEN_ROWS: usize = 20;

impl Table {
    pub(super) fn is_long(&self) -> bool {
        self.rows.len() > OPEN_ROWS
    }
}

pub(super) fn table(data: &Data, words: Words) -> Table {
    let percent =
        |share: Option<f64>| share.map_or_else(|| DASH.to_string(), |share| format!("{} %", fixed(share * 100.0, 1)));
    let heads = |keys: &[&str]| -> Vec<String> {
        let head = |key: &&str| if key.contains('.') { words.t(key).into_owned() } else { (*key).to_owned() };
        keys.iter().map(head).collect()
    };
    match &data.parts {
        None => Table::default(),
        Some(Parts::Classes(classes)) => {
            let named = |class: &u32, name: &Option<String>| name.clone().unwrap_or_else(|| class.to_string());
            let row = |class: &Class| match class {
                Class::Boxes { class, name, objects, answers, ap, ap_50, ar_100 } => vec![
                    named(class, name),
                    count((*objects).into()),
                    count((*answers).into()),
                    percent(*ap),
                    percent(*ap_50),
                    percent(*ar_100),
                ],
                Class::Pixels { class, name, truth, answered, iou } => {
                    vec![named(class, name), count(*truth), count(*answered), percent(*iou)]
                }
                Class::Decisions { class, name, support, answered, precision, recall, f1 } => vec![
                    named(class, name),
                    count((*support).into()),
                    count((*answered).into()),
                    percent(*precision),
                    percent(*recall),
                    percent(*f1),
                ],
            };
            let heads = match classes.first() {
                None => Vec::new(),
                Some(Class::Boxes { .. }) => {
                    heads(&["job.class", "job.objects", "job.answered", "AP", "AP50", "AR100"])
                }
                Some(Class::Pixels { .. }) => heads(&["job.class", "job.pixels", "job.answered", "IoU"]),
                Some(Class::Decisions { .. }) => {
                    heads(&["job.class", "dataset.examples", "job.answered", "job.precision", "chart.recall", "F1"])
                }
            };
            Table { heads, rows: classes.iter().map(row).collect() }
        }
        Some(Parts::Errors { characters, words: of_words }) => {
            let row = |key: &str, it: &Edits| {
                let counts = [it.truth, it.substitutions, it.deletions, it.insertions].map(count);
                [vec![words.t(key).into_owned()], counts.to_vec(), vec![percent(it.rate)]].concat()
            };
            Table {
                heads: heads(&[
                    "job.unit",
                    "job.in_truth",
                    "job.substitutions",
                    "job.deletions",
                    "job.insertions",
                    "job.error_rate",
                ]),
                rows: vec![row("job.characters", characters), row("job.words", of_words)],
            }
        }
        Some(Parts::At(at)) => Table {
            heads: heads(&["k", "job.queries", "job.found", "hit@k", "recall@k"]),
            rows: at
                .iter()
                .map(|it| {
                    let hit = (it.judged > 0).then(|| f64::from(it.hits) / f64::from(it.judged));
                    let counts = [it.k, it.judged, it.hits].map(|n| count(n.into()));
                    [counts.to_vec(), vec![percent(hit), percent(it.recall)]].concat()
                })
                .collect(),
        },
    }
}
