//! Accuracy as data: per class, and who is taken for whom.

use seatrial_core::accuracy::classification::{ClassScore, Classification};
use serde::Serialize;

use super::super::samples::Samples;

#[derive(Serialize)]
pub(super) struct Accuracy {
    examples: u32,
    /// Examples whose first class, or one of whose first five classes, is the label.
    top1: u32,
    top5: u32,
    classes: Vec<Class>,
    /// A row a label, a column a first class.
    confusion: Vec<Vec<u32>>,
    /// Examples of each label for which the model gave no class.
    unanswered: Vec<u32>,
}

#[derive(Serialize)]
struct Class {
    #[serde(rename = "class")]
    number: u32,
    name: Option<String>,
    support: u32,
    predicted: u32,
    correct: u32,
    recall: Option<f64>,
    precision: Option<f64>,
}

impl Accuracy {
    /// `None` without labels, and for labels that do not fit: the metrics say why.
    pub(super) fn of(samples: &Samples, names: &[String]) -> Option<Self> {
        let Classification { examples, top1, top5, per_class, confusion } =
            samples.classification(names.len())?.ok()?;
        let class = |score: ClassScore| {
            let (recall, precision) = (score.recall(), score.precision());
            let ClassScore { class, support, predicted, correct } = score;
            let name = names.get(class as usize).cloned();
            Class { number: class, name, support, predicted, correct, recall, precision }
        };
        Some(Self {
            examples,
            top1,
            top5,
            classes: per_class.into_iter().map(class).collect(),
            confusion: (0..confusion.classes()).map(|label| confusion.row(label).to_vec()).collect(),
            unanswered: (0..confusion.classes()).map(|label| confusion.unanswered(label)).collect(),
        })
    }
}
