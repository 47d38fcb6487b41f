//! What a model was asked and what it answered over a dataset, as two series of integers beside a report.
//!
//! A device reports them, and every figure is derived from them where they arrive. Each series begins with the number
//! of examples, so that none is ever empty. Then follow, column by column, numbers with a fraction as the bits of a
//! `f64`:
//!
//! | task | truth | answers |
//! |---|---|---|
//! | detection | of each object: image, class, left, top, width, height, area, crowd | of each box: image, class, left, top, width, height, score |
//! | segmentation | – | pixels by true class and answered class ([`Pixels::counts`]) |
//! | text | length of each text, then all code points | the same |
//! | multilabel | number of classes of each example, then all classes | best class of each example or −1, number of classes answered, then all of them |
//! | retrieval | number of queries or 0, then the identity of each example | ten items of each query, best first, −1 where there is none |
//! | regression | each value | each value |
//! | custom | – | 1 for each example that is right, 0 for each that is wrong, where the scorer tells |

use crate::accuracy::detection::{AnswerBox, TruthBox};
use crate::accuracy::retrieval::Items;
use crate::accuracy::segmentation::{Pixels, SegmentationError};
use crate::accuracy::{retrieval, text};
use crate::dataset::Task;
use crate::dataset::package::MAX_EXAMPLES;
use crate::dataset::truth::Identities;

/// Values of one series.
pub const MAX_VALUES: u32 = 11 * MAX_EXAMPLES;

/// Truth and answers of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    Detection {
        truth: Vec<TruthBox>,
        answers: Vec<AnswerBox>,
    },
    Segmentation(Pixels),
    Text {
        truth: Vec<String>,
        answers: Vec<String>,
    },
    Multilabel {
        truth: Vec<Vec<u32>>,
        answers: Vec<Decision>,
    },
    Retrieval {
        identities: Identities,
        ranked: Vec<i64>,
    },
    Regression {
        truth: Vec<f64>,
        answers: Vec<f64>,
    },
    /// Whether each example is right, in the words of the dataset's scorer.
    Verdicts(Vec<bool>),
}

/// Which classes one example was given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The class with the highest score; `None` when it is none of the dataset's.
    pub best: Option<u32>,
    /// Those whose score reaches the threshold, in order.
    pub answered: Vec<u32>,
}

/// Series that are not those of a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    #[error("the series of the {side} is of {found} examples, the dataset has {examples}")]
    Examples { side: &'static str, found: i64, examples: u32 },
    #[error("the series of the {side} ends too early or too late")]
    Length { side: &'static str },
    #[error("value {value} of the {side} is out of its range")]
    Value { side: &'static str, value: i64 },
    #[error(transparent)]
    Pixels(#[from] SegmentationError),
    #[error("the task {0} has no such series")]
    Task(&'static str),
}

const TRUTH: &str = "truth";
const ANSWERS: &str = "answers";

impl Evidence {
    /// The series of the truth and that of the answers.
    #[must_use]
    pub fn series(&self, examples: u32) -> (Vec<i64>, Vec<i64>) {
        let (truth, answers) = match self {
            Self::Detection { truth, answers } => (truth_columns(truth), answer_columns(answers)),
            Self::Segmentation(pixels) => (Vec::new(), pixels.counts()),
            Self::Text { truth, answers } => (texts(truth), texts(answers)),
            Self::Multilabel { truth, answers } => {
                let best = answers.iter().map(|answer| answer.best.map_or(-1, i64::from));
                let answered: Vec<&[u32]> = answers.iter().map(|answer| answer.answered.as_slice()).collect();
                let truth: Vec<&[u32]> = truth.iter().map(Vec::as_slice).collect();
                (sets(&truth), best.chain(sets(&answered)).collect())
            }
            Self::Retrieval { identities, ranked } => {
                let queries = i64::from(identities.queries.unwrap_or(0));
                let of = identities.of.iter().map(|&identity| i64::from(identity));
                (std::iter::once(queries).chain(of).collect(), ranked.clone())
            }
            Self::Regression { truth, answers } => {
                let bits = |values: &[f64]| values.iter().map(|&value| bits(value)).collect();
                (bits(truth), bits(answers))
            }
            Self::Verdicts(right) => (Vec::new(), right.iter().map(|&right| right.into()).collect()),
        };
        let head = i64::from(examples);
        ([&[head], truth.as_slice()].concat(), [&[head], answers.as_slice()].concat())
    }

    /// Reads the series of a dataset of so many examples.
    pub fn read(task: Task, examples: u32, truth: &[i64], answers: &[i64]) -> Result<Self, EvidenceError> {
        let truth = body(TRUTH, examples, truth)?;
        let answers = body(ANSWERS, examples, answers)?;
        Ok(match task {
            Task::Detection => Self::Detection { truth: truth_boxes(truth)?, answers: answer_boxes(answers)? },
            Task::Segmentation => {
                if !truth.is_empty() {
                    return Err(EvidenceError::Length { side: TRUTH });
                }
                // c classes have c (c + 1) counts.
                let classes = answers.len().isqrt() as u32;
                let mut pixels = Pixels::new(classes)?;
                pixels.add(answers)?;
                Self::Segmentation(pixels)
            }
            Task::Text => Self::Text {
                truth: read_texts(TRUTH, examples, truth)?,
                answers: read_texts(ANSWERS, examples, answers)?,
            },
            Task::Multilabel => {
                let (best, answered) =
                    answers.split_at_checked(examples as usize).ok_or(EvidenceError::Length { side: ANSWERS })?;
                let decisions = best.iter().zip(read_sets(ANSWERS, examples, answered)?).map(|(&best, answered)| {
                    let best = if best == -1 { None } else { Some(whole(ANSWERS, best)?) };
                    Ok(Decision { best, answered })
                });
                Self::Multilabel {
                    truth: read_sets(TRUTH, examples, truth)?,
                    answers: decisions.collect::<Result<_, EvidenceError>>()?,
                }
            }
            Task::Retrieval => {
                let (&queries, of) = truth.split_first().ok_or(EvidenceError::Length { side: TRUTH })?;
                let of: Vec<u32> = of.iter().map(|&identity| whole(TRUTH, identity)).collect::<Result<_, _>>()?;
                if of.len() != examples as usize {
                    return Err(EvidenceError::Length { side: TRUTH });
                }
                let queries = whole(TRUTH, queries)?;
                if queries > examples {
                    return Err(EvidenceError::Value { side: TRUTH, value: queries.into() });
                }
                let identities = Identities { of, queries: (queries > 0).then_some(queries) };
                Self::Retrieval { identities, ranked: answers.to_vec() }
            }
            Task::Regression => {
                let values = |side, series: &[i64]| {
                    let values: Vec<f64> = series.iter().map(|&bits| float(bits)).collect();
                    if values.len() == examples as usize { Ok(values) } else { Err(EvidenceError::Length { side }) }
                };
                Self::Regression { truth: values(TRUTH, truth)?, answers: values(ANSWERS, answers)? }
            }
            Task::Custom => {
                if !truth.is_empty() {
                    return Err(EvidenceError::Length { side: TRUTH });
                }
                if answers.len() != examples as usize {
                    return Err(EvidenceError::Length { side: ANSWERS });
                }
                let right = |&value: &i64| match value {
                    0 => Ok(false),
                    1 => Ok(true),
                    value => Err(EvidenceError::Value { side: ANSWERS, value }),
                };
                Self::Verdicts(answers.iter().map(right).collect::<Result<_, _>>()?)
            }
            Task::Classification | Task::Golden => return Err(EvidenceError::Task(task.as_str())),
        })
    }

    /// Whether each example was answered right, where the task knows right and wrong: the text without an error, the
    /// best class among the labels (of examples that have one), the nearest item of the same identity (of queries that
    /// have one), and whatever a scorer says is right. `None` for other tasks, and for rankings that cannot be.
    #[must_use]
    pub fn right(&self) -> Option<Vec<bool>> {
        match self {
            Self::Text { truth, answers } => {
                Some(truth.iter().zip(answers).map(|(truth, answer)| text::is_exact(truth, answer)).collect())
            }
            Self::Multilabel { truth, answers } => {
                let labelled = truth.iter().zip(answers).filter(|(truth, _)| !truth.is_empty());
                Some(labelled.map(|(truth, answer)| answer.best.is_some_and(|best| truth.contains(&best))).collect())
            }
            Self::Retrieval { identities, ranked } => {
                let (queries, items) = labels(identities);
                let items = if identities.queries.is_some() { Items::Apart(&items) } else { Items::Queries };
                retrieval::first_hits(&queries, items, ranked).ok()
            }
            Self::Verdicts(right) => Some(right.clone()),
            Self::Detection { .. } | Self::Segmentation(_) | Self::Regression { .. } => None,
        }
    }
}

/// Identities of queries and items as [`retrieval::summarise`] takes them.
#[must_use]
pub fn labels(identities: &Identities) -> (Vec<i64>, Vec<i64>) {
    let (queries, items) = identities.parts();
    let wide = |identities: &[u32]| identities.iter().map(|&identity| i64::from(identity)).collect();
    (wide(queries), wide(items))
}

fn body<'s>(side: &'static str, examples: u32, series: &'s [i64]) -> Result<&'s [i64], EvidenceError> {
    match series.split_first() {
        Some((&found, body)) if found == i64::from(examples) => Ok(body),
        Some((&found, _)) => Err(EvidenceError::Examples { side, found, examples }),
        None => Err(EvidenceError::Length { side }),
    }
}

fn bits(value: f64) -> i64 {
    value.to_bits().cast_signed()
}

fn float(bits: i64) -> f64 {
    f64::from_bits(bits.cast_unsigned())
}

fn whole(side: &'static str, value: i64) -> Result<u32, EvidenceError> {
    u32::try_from(value).map_err(|_| EvidenceError::Value { side, value })
}

// --- boxes ---

fn truth_columns(boxes: &[TruthBox]) -> Vec<i64> {
    let column = |of: fn(&TruthBox) -> i64| boxes.iter().map(of);
    column(|it| it.image.into())
        .chain(column(|it| it.class.into()))
        .chain(column(|it| bits(it.rectangle[0])))
        .chain(column(|it| bits(it.rectangle[1])))
        .chain(column(|it| bits(it.rectangle[2])))
        .chain(column(|it| bits(it.rectangle[3])))
        .chain(column(|it| bits(it.area)))
        .chain(column(|it| it.crowd.into()))
        .collect()
}

fn answer_columns(boxes: &[AnswerBox]) -> Vec<i64> {
    let column = |of: fn(&AnswerBox) -> i64| boxes.iter().map(of);
    column(|it| it.image.into())
        .chain(column(|it| it.class.into()))
        .chain(column(|it| bits(it.rectangle[0])))
        .chain(column(|it| bits(it.rectangle[1])))
        .chain(column(|it| bits(it.rectangle[2])))
        .chain(column(|it| bits(it.rectangle[3])))
        .chain(column(|it| bits(it.score)))
        .collect()
}

/// Columns of equal length.
fn split<'s, const N: usize>(side: &'static str, series: &'s [i64]) -> Result<[&'s [i64]; N], EvidenceError> {
    let rows = series.len() / N;
    if series.len() != rows * N {
        return Err(EvidenceError::Length { side });
    }
    Ok(std::array::from_fn(|column| &series[column * rows..(column + 1) * rows]))
}

fn truth_boxes(series: &[i64]) -> Result<Vec<TruthBox>, EvidenceError> {
    let columns = split::<8>(TRUTH, series)?;
    let one = |row: usize| {
        let [image, class, left, top, width, height, area, crowd] = columns.map(|column| column[row]);
        Ok(TruthBox {
            image: whole(TRUTH, image)?,
            class: whole(TRUTH, class)?,
            rectangle: [left, top, width, height].map(float),
            area: float(area),
            crowd: crowd != 0,
        })
    };
    (0..columns[0].len()).map(one).collect()
}

fn answer_boxes(series: &[i64]) -> Result<Vec<AnswerBox>, EvidenceError> {
    let columns = split::<7>(ANSWERS, series)?;
    let one = |row: usize| {
        let [image, class, left, top, width, height, score] = columns.map(|column| column[row]);
        Ok(AnswerBox {
            image: whole(ANSWERS, image)?,
            class: whole(ANSWERS, class)?,
            rectangle: [left, top, width, height].map(float),
            score: float(score),
        })
    };
    (0..columns[0].len()).map(one).collect()
}

// --- lists of different lengths ---

fn texts(texts: &[String]) -> Vec<i64> {
    let lengths = texts.iter().map(|text| text.chars().count() as i64);
    lengths.chain(texts.iter().flat_map(|text| text.chars().map(|sign| i64::from(u32::from(sign))))).collect()
}

fn sets(sets: &[&[u32]]) -> Vec<i64> {
    let lengths = sets.iter().map(|set| set.len() as i64);
    lengths.chain(sets.iter().flat_map(|set| set.iter().map(|&class| i64::from(class)))).collect()
}

/// The list of each example.
fn lists<'s>(side: &'static str, examples: u32, series: &'s [i64]) -> Result<Vec<&'s [i64]>, EvidenceError> {
    let short = || EvidenceError::Length { side };
    let (lengths, mut rest) = series.split_at_checked(examples as usize).ok_or_else(short)?;
    let mut lists = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (list, after) = usize::try_from(length).ok().and_then(|at| rest.split_at_checked(at)).ok_or_else(short)?;
        lists.push(list);
        rest = after;
    }
    if rest.is_empty() { Ok(lists) } else { Err(short()) }
}

fn read_texts(side: &'static str, examples: u32, series: &[i64]) -> Result<Vec<String>, EvidenceError> {
    let sign =
        |&value: &i64| u32::try_from(value).ok().and_then(char::from_u32).ok_or(EvidenceError::Value { side, value });
    lists(side, examples, series)?.into_iter().map(|list| list.iter().map(sign).collect()).collect()
}

fn read_sets(side: &'static str, examples: u32, series: &[i64]) -> Result<Vec<Vec<u32>>, EvidenceError> {
    let set = |list: &[i64]| list.iter().map(|&class| whole(side, class)).collect();
    lists(side, examples, series)?.into_iter().map(set).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(image: u32, class: u32, left: f64) -> TruthBox {
        TruthBox { image, class, rectangle: [left, 0.1, 2.5, 3.0], area: 7.25, crowd: class == 1 }
    }

    fn pixels(counts: &[i64], classes: u32) -> Pixels {
        let mut pixels = Pixels::new(classes).unwrap();
        pixels.add(counts).unwrap();
        pixels
    }

    /// One of each task, for two examples.
    fn all() -> Vec<(Task, Evidence)> {
        let answer = AnswerBox { image: 1, class: 0, rectangle: [0.3, -1.0, 2.0, 4.0], score: 0.1 + 0.2 };
        let text = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        let identities = Identities { of: vec![4, 4], queries: None };
        vec![
            (
                Task::Detection,
                Evidence::Detection { truth: vec![object(0, 1, 0.1), object(1, 0, 5.0)], answers: vec![answer] },
            ),
            (Task::Detection, Evidence::Detection { truth: Vec::new(), answers: Vec::new() }),
            (Task::Segmentation, Evidence::Segmentation(pixels(&[5, 1, 0, 2, 9, 1], 2))),
            (Task::Text, Evidence::Text { truth: text(["今天", ""]), answers: text(["今 天", "x"]) }),
            (
                Task::Multilabel,
                Evidence::Multilabel {
                    truth: vec![vec![0, 3], vec![]],
                    answers: vec![Decision { best: Some(3), answered: vec![3] }, Decision::default()],
                },
            ),
            (Task::Retrieval, Evidence::Retrieval { identities, ranked: vec![1, -1, 0, -1] }),
            (Task::Regression, Evidence::Regression { truth: vec![0.1, -0.0], answers: vec![f64::INFINITY, 2.0] }),
        ]
    }

    #[test]
    fn evidence_comes_back_as_it_was() {
        for (task, evidence) in all() {
            let (truth, answers) = evidence.series(2);
            assert_eq!(Evidence::read(task, 2, &truth, &answers), Ok(evidence));
        }
    }

    #[test]
    fn series_of_other_examples_or_of_another_length_are_refused() {
        for (task, evidence) in all() {
            let (truth, answers) = evidence.series(2);
            let said = Evidence::read(task, 3, &truth, &answers).unwrap_err();
            assert!(matches!(said, EvidenceError::Examples { found: 2, examples: 3, .. }), "{task:?}: {said}");
            let short = &answers[..answers.len() - 1];
            if task != Task::Retrieval {
                assert!(Evidence::read(task, 2, &truth, short).is_err(), "{task:?}");
            }
            assert!(Evidence::read(task, 2, &[], &answers).is_err(), "{task:?}");
        }
        assert!(Evidence::read(Task::Classification, 0, &[0], &[0]).is_err());
    }

    #[test]
    fn right_and_wrong_are_of_the_examples_that_can_be_either() {
        let right: Vec<Option<Vec<bool>>> = all().into_iter().map(|(_, evidence)| evidence.right()).collect();
        assert_eq!(right[3], Some(vec![false, false]));
        assert_eq!(right[4], Some(vec![true]), "an example without a label is in no share");
        assert_eq!([&right[0], &right[2], &right[6]], [&None; 3]);
    }

    proptest! {
        #[test]
        fn no_series_makes_it_panic(
            truth in prop::collection::vec(-3_i64..4, 0..40), answers in prop::collection::vec(-3_i64..4, 0..40)
        ) {
            for task in Task::ALL {
                if let Ok(evidence) = Evidence::read(task, 2, &truth, &answers) {
                    let _ = evidence.right();
                }
            }
        }
    }
}
