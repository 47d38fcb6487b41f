//! Figures of the tasks whose evidence is a series of truth and one of answers. See [`crate::evidence`].

use crate::accuracy::classification::{KEPT, wilson};
use crate::accuracy::detection::{self, AnswerBox, TruthBox};
use crate::accuracy::retrieval::{self, Items, RECALL_AT};
use crate::accuracy::{deviation, multilabel, text};
use crate::block;
use crate::dataset::Task;
use crate::evidence::{self, Evidence};
use crate::metric::{Estimate, Metric};
use crate::reading::Reading;
use crate::reason::Code;
use crate::report::{Block, BlockKind};

/// The figures of a task, in the order of the registry.
#[must_use]
pub const fn names(task: Task) -> &'static [&'static str] {
    match task {
        Task::Classification => &["top1", "top5"],
        Task::Detection => {
            &["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100"]
        }
        Task::Segmentation => &["miou", "pixel_accuracy"],
        Task::Text => &["cer", "wer", "text_exact"],
        Task::Multilabel => &["top1", "f1_macro", "f1_micro"],
        Task::Retrieval => &["hit_1", "hit_5", "hit_10", "recall_1", "recall_5", "recall_10"],
        Task::Regression => &["mae", "rmse", "max_error"],
        // The names of a scorer's figures stand in its dataset.
        Task::Golden | Task::Custom => &[],
    }
}

/// The evidence of a task among the blocks of a report; `None` when it carries none.
pub fn read(task: Task, examples: u32, blocks: &[Block]) -> Result<Option<Evidence>, String> {
    let find = |kind: BlockKind| blocks.iter().find(|block| block.metric == kind);
    let (Some(truth), Some(answers)) = (find(BlockKind::Truth), find(BlockKind::Answers)) else { return Ok(None) };
    Evidence::read(task, examples, &unpack(truth)?, &unpack(answers)?).map(Some).map_err(|error| error.to_string())
}

/// Whether each example was answered right, for tasks that know right and wrong; `None` for others, and for a report
/// without evidence. Two jobs of one dataset judge the same examples, in the same order. See [`Evidence::right`].
pub fn right(task: Task, examples: u32, blocks: &[Block]) -> Result<Option<Vec<bool>>, String> {
    match task {
        Task::Golden => Ok(None),
        Task::Classification => {
            let find = |kind: BlockKind| blocks.iter().find(|block| block.metric == kind);
            let (Some(labels), Some(top)) = (find(BlockKind::Labels), find(BlockKind::TopClasses)) else {
                return Ok(None);
            };
            let (labels, top) = (unpack(labels)?, unpack(top)?);
            if top.len() != labels.len() * KEPT {
                return Err(format!("{} labels and {} first classes do not belong together", labels.len(), top.len()));
            }
            Ok(Some(labels.iter().zip(top.chunks_exact(KEPT)).map(|(label, best)| best[0] == *label).collect()))
        }
        Task::Detection
        | Task::Segmentation
        | Task::Text
        | Task::Multilabel
        | Task::Retrieval
        | Task::Regression
        | Task::Custom => Ok(read(task, examples, blocks)?.and_then(|evidence| evidence.right())),
    }
}

pub(super) fn unpack(block: &Block) -> Result<Vec<i64>, String> {
    block::unpack(&block.bytes, block.count)
        .map_err(|error| format!("the {} block cannot be used: {error}", block.metric.as_str()))
}

/// Every figure of the evidence; those that have nothing to judge say so.
pub fn metrics(evidence: &Evidence, examples: u32) -> Result<Vec<Metric>, String> {
    match evidence {
        Evidence::Detection { truth, answers } => boxes(examples, truth, answers),
        Evidence::Segmentation(pixels) => {
            let result = pixels.finish();
            Ok(vec![plain("miou", result.mean_iou()), plain("pixel_accuracy", result.pixel_accuracy())])
        }
        Evidence::Text { truth, answers } => {
            let result = text::summarise(truth, answers).map_err(|error| error.to_string())?;
            Ok(vec![
                plain("cer", result.characters.rate()),
                plain("wer", result.words.rate()),
                share("text_exact", result.exact, result.examples),
            ])
        }
        Evidence::Multilabel { truth, answers } => {
            let result = multilabel::judge(class_count(truth, answers), truth, answers);
            let result = result.map_err(|error| error.to_string())?;
            Ok(vec![
                share("top1", result.top1, result.labelled),
                plain("f1_macro", result.macro_f1()),
                plain("f1_micro", result.micro_f1()),
            ])
        }
        Evidence::Retrieval { identities, ranked } => {
            const NAMES: [[&str; 2]; RECALL_AT.len()] =
                [["hit_1", "recall_1"], ["hit_5", "recall_5"], ["hit_10", "recall_10"]];
            let (queries, items) = evidence::labels(identities);
            let items = if identities.queries.is_some() { Items::Apart(&items) } else { Items::Queries };
            let result = retrieval::summarise(&queries, items, ranked).map_err(|error| error.to_string())?;
            let each = result.at.iter().zip(NAMES);
            Ok(each
                .flat_map(|(at, [hit, recall])| [share(hit, at.hits, result.judged), plain(recall, at.recall)])
                .collect())
        }
        Evidence::Regression { truth, answers } => {
            let result = deviation::summarise(truth, answers).map_err(|error| error.to_string())?;
            Ok(vec![
                plain("mae", result.map(|it| it.mean_absolute)),
                plain("rmse", result.map(|it| it.root_mean_square)),
                plain("max_error", result.map(|it| it.max_absolute)),
            ])
        }
        // The scorer has told its figures itself.
        Evidence::Verdicts(_) => Ok(Vec::new()),
    }
}

fn boxes(examples: u32, truth: &[TruthBox], answers: &[AnswerBox]) -> Result<Vec<Metric>, String> {
    let result = detection::summarise(examples, box_classes(truth, answers), truth, answers);
    let result = result.map_err(|error| error.to_string())?;
    Ok(vec![
        plain("map", result.ap),
        plain("map_50", result.ap_50),
        plain("map_75", result.ap_75),
        plain("map_small", result.ap_small),
        plain("map_medium", result.ap_medium),
        plain("map_large", result.ap_large),
        plain("mar_1", result.ar_1),
        plain("mar_10", result.ar_10),
        plain("mar_100", result.ar_100),
    ])
}

/// Classes of which there are boxes; those without an object change no figure.
#[must_use]
pub fn box_classes(truth: &[TruthBox], answers: &[AnswerBox]) -> u32 {
    let largest = truth.iter().map(|object| object.class).chain(answers.iter().map(|answer| answer.class)).max();
    largest.map_or(0, |class| class.saturating_add(1))
}

/// Classes that labels and decisions speak of, at least one.
#[must_use]
pub fn class_count(truth: &[Vec<u32>], answers: &[evidence::Decision]) -> u32 {
    let answered = answers.iter().flat_map(|answer| &answer.answered);
    truth.iter().flatten().chain(answered).max().map_or(1, |class| class.saturating_add(1))
}

fn share(name: &str, right: u32, of: u32) -> Metric {
    if of == 0 {
        return Metric::absent(name, Code::NothingForFigure.template());
    }
    let interval = Some(wilson(right.into(), of.into()));
    Metric::new(name, Reading::Present(Estimate { value: f64::from(right) / f64::from(of), interval }))
}

fn plain(name: &str, value: Option<f64>) -> Metric {
    match value {
        Some(value) => Metric::exact(name, value),
        None => Metric::absent(name, Code::NothingForFigure.template()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::segmentation::Pixels;
    use crate::dataset::truth::Identities;
    use crate::evidence::Decision;

    fn blocks(evidence: &Evidence, examples: u32) -> Vec<Block> {
        let (truth, answers) = evidence.series(examples);
        [(BlockKind::Truth, truth), (BlockKind::Answers, answers)]
            .map(|(metric, values)| Block {
                metric,
                process: 0,
                count: values.len() as u32,
                bytes: block::pack(&values),
            })
            .into()
    }

    /// Name and value of each figure.
    fn figures(task: Task, evidence: &Evidence, examples: u32) -> Vec<(String, Option<f64>)> {
        let read = read(task, examples, &blocks(evidence, examples)).unwrap().unwrap();
        assert_eq!(&read, evidence);
        let metrics = metrics(&read, examples).unwrap();
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let mut expected = names_in_registry(task);
        let mut sorted = names.clone();
        expected.sort_unstable();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "every figure of the task, and no other");
        metrics.into_iter().map(|metric| (metric.name.clone(), metric.value.present().map(|it| it.value))).collect()
    }

    fn names_in_registry(task: Task) -> Vec<&'static str> {
        names(task).iter().map(|name| crate::metric::kind(name).unwrap().name).collect()
    }

    fn of(figures: &[(String, Option<f64>)], name: &str) -> Option<f64> {
        figures.iter().find(|(other, _)| other == name).unwrap().1
    }

    #[test]
    fn every_task_but_golden_and_custom_has_figures_and_its_headline_is_one_of_them() {
        for task in Task::ALL {
            assert_eq!(names_in_registry(task).is_empty(), matches!(task, Task::Golden | Task::Custom));
            assert!(task.headline().is_none_or(|headline| names(task).contains(&headline)), "{task:?}");
        }
    }

    #[test]
    fn figures_come_from_the_blocks_alone() {
        let object = TruthBox { image: 0, class: 0, rectangle: [0.0, 0.0, 10.0, 10.0], area: 100.0, crowd: false };
        let answer = AnswerBox { image: 0, class: 0, rectangle: object.rectangle, score: 0.5 };
        let evidence = Evidence::Detection { truth: vec![object], answers: vec![answer] };
        let found = figures(Task::Detection, &evidence, 2);
        assert!((of(&found, "map").unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(of(&found, "map_large"), None, "there is no large object");

        let mut pixels = Pixels::new(2).unwrap();
        pixels.add(&[3, 1, 0, 0, 4, 0]).unwrap();
        let found = figures(Task::Segmentation, &Evidence::Segmentation(pixels), 1);
        assert_eq!(of(&found, "pixel_accuracy"), Some(7.0 / 8.0));

        let identities = Identities { of: vec![1, 1, 2], queries: None };
        let row = |items: [i64; 2]| [&items[..], &[-1; 8]].concat();
        let ranked = [row([1, 2]), row([2, 0]), row([0, 1])].concat();
        let evidence = Evidence::Retrieval { identities, ranked };
        assert_eq!(of(&figures(Task::Retrieval, &evidence, 3), "hit_1"), Some(0.5));
        assert_eq!(right(Task::Retrieval, 3, &blocks(&evidence, 3)), Ok(Some(vec![true, false])));

        let evidence = Evidence::Regression { truth: vec![1.0, 2.0], answers: vec![1.0, 4.0] };
        assert_eq!(of(&figures(Task::Regression, &evidence, 2), "mae"), Some(1.0));
        assert_eq!(right(Task::Regression, 2, &blocks(&evidence, 2)), Ok(None), "a number is neither right nor wrong");

        let verdicts = blocks(&Evidence::Verdicts(vec![true, false]), 2);
        assert_eq!(right(Task::Custom, 2, &verdicts), Ok(Some(vec![true, false])));
        assert!(right(Task::Custom, 3, &verdicts).is_err());
        let maybe = Evidence::read(Task::Custom, 2, &[2], &[2, 1, 7]);
        assert_eq!(maybe, Err(evidence::EvidenceError::Value { side: "answers", value: 7 }));
    }

    #[test]
    fn without_anything_to_judge_nothing_is_claimed() {
        let evidence = Evidence::Detection { truth: Vec::new(), answers: Vec::new() };
        assert!(figures(Task::Detection, &evidence, 1).iter().all(|(_, value)| value.is_none()));
        let evidence = Evidence::Multilabel { truth: vec![vec![]], answers: vec![Decision::default()] };
        assert!(figures(Task::Multilabel, &evidence, 1).iter().all(|(_, value)| value.is_none()));
    }

    #[test]
    fn evidence_of_other_examples_or_none_gives_no_figure() {
        let evidence = Evidence::Regression { truth: vec![1.0], answers: vec![1.0] };
        let blocks = blocks(&evidence, 1);
        assert_eq!(read(Task::Regression, 1, &blocks[..1]), Ok(None));
        assert!(read(Task::Regression, 2, &blocks).unwrap_err().contains("is of 1 examples, the dataset has 2"));
        let nan = Evidence::Regression { truth: vec![1.0], answers: vec![f64::NAN] };
        assert!(metrics(&nan, 1).is_err(), "the mean of the others would flatter the model");
    }

    #[test]
    fn the_first_class_is_right_or_wrong() {
        let block = |metric, values: &[i64]| Block {
            metric,
            process: 0,
            count: values.len() as u32,
            bytes: block::pack(values),
        };
        let labels = block(BlockKind::Labels, &[2, 0]);
        let top = block(BlockKind::TopClasses, &[2, 0, -1, -1, -1, -1, -1, -1, -1, -1]);
        assert_eq!(right(Task::Classification, 2, &[labels.clone(), top]), Ok(Some(vec![true, false])));
        assert_eq!(right(Task::Classification, 2, std::slice::from_ref(&labels)), Ok(None));
        assert!(right(Task::Classification, 2, &[labels, block(BlockKind::TopClasses, &[2])]).is_err());
    }
}
