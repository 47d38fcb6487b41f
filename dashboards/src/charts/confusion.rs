//! Confusion matrix: rows truth, columns prediction, counts always written, tint by row share, recall right.

use super::{Anchor, Area, Svg};
use crate::format::{count, fixed};
use crate::html::Html;
use crate::i18n::Words;

/// With more classes, the most confused of them are drawn.
pub const MOST: usize = 12;
const CELL: f64 = 24.0;
const LEFT: f64 = 92.0;

/// `counts[truth][prediction]`, square, with one name a class.
#[must_use]
pub fn chart(names: &[String], counts: &[Vec<u64>], words: Words) -> Html {
    let drawn = drawn(counts);
    let wide: f64 = if drawn.len() > 8 { 34.0 } else { 42.0 };
    let right = LEFT + wide * drawn.len() as f64;
    let mut svg =
        Svg::new((right + 64.0).max(392.0), 38.0 + CELL * drawn.len() as f64, &words.t("chart.confusion")).natural();
    svg.text((f64::midpoint(LEFT, right), 11.0), &words.t("chart.predicted"), "", Anchor::Middle);
    svg.text((right + 18.0, 26.0), &words.t("chart.recall"), "", Anchor::Start);
    let name = |class: usize, most: usize| -> String {
        let name = names.get(class).cloned().unwrap_or_else(|| class.to_string());
        if name.chars().count() > most { name.chars().take(most - 1).chain(['…']).collect() } else { name }
    };
    let short = if drawn.len() > 8 { 4 } else { 6 };
    for (row, &truth) in drawn.iter().enumerate() {
        let y = 30.0 + CELL * row as f64;
        let total: u64 = counts[truth].iter().sum();
        svg.text((LEFT - 8.0, y + 15.0), &name(truth, 14), "k2", Anchor::End);
        svg.text((LEFT + wide * (row as f64 + 0.5), 26.0), &name(truth, short), "k2", Anchor::Middle);
        for (column, &predicted) in drawn.iter().enumerate() {
            let n = counts[truth].get(predicted).copied().unwrap_or(0);
            let share = if total > 0 { n as f64 / total as f64 } else { 0.0 };
            let (fill, text) = tint(share);
            let x = LEFT + wide * column as f64;
            let tip = words.with(
                "chart.confusion_tip",
                &[
                    ("truth", &name(truth, 40).replace('|', "¦")),
                    ("predicted", &name(predicted, 40).replace('|', "¦")),
                    ("n", &count(n)),
                    ("total", &count(total)),
                ],
            );
            svg.tipped(Area { x, y, width: wide - 2.0, height: CELL - 2.0 }, fill, &tip);
            svg.text(
                (x + wide / 2.0 - 1.0, y + 15.0),
                &if n == 0 { "·".to_owned() } else { count(n) },
                text,
                Anchor::Middle,
            );
        }
        let hits = counts[truth].get(truth).copied().unwrap_or(0);
        let recall = match total {
            0 => crate::format::DASH.to_string(),
            1..20 => words.with("number.of", &[("k", &count(hits)), ("n", &count(total))]),
            20.. => format!("{} %", fixed(hits as f64 / total as f64 * 100.0, 1)),
        };
        svg.text((right + 6.0, y + 15.0), &recall, "k", Anchor::Start);
    }
    svg.finish()
}

fn tint(share: f64) -> (&'static str, &'static str) {
    if share > 0.5 {
        ("op3", "on")
    } else if share > 0.05 {
        ("op2", "k")
    } else if share > 0.008 {
        ("op1", "k2")
    } else {
        ("cm0", "k2")
    }
}

/// All classes in order, or the [`MOST`] that are most often taken for another or another for them.
fn drawn(counts: &[Vec<u64>]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..counts.len()).collect();
    if classes.len() <= MOST {
        return classes;
    }
    let errors = |class: usize| -> u64 {
        let given: u64 = counts[class].iter().enumerate().filter(|(i, _)| *i != class).map(|(_, n)| n).sum();
        let taken: u64 =
            counts.iter().enumerate().filter(|(i, _)| *i != class).filter_map(|(_, row)| row.get(class)).sum();
        given + taken
    };
    classes.sort_by_key(|&class| std::cmp::Reverse(errors(class)));
    classes.truncate(MOST);
    classes.sort_unstable();
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    #[test]
    fn counts_are_written_and_recall_of_few_examples_is_a_count() {
        let svg = chart(&["cat".into(), "<b>".into()], &[vec![95, 5], vec![1, 9]], Words(Language::English));
        for text in [">95<", ">95.0 %<", ">9 of 10<", "&lt;b&gt;"] {
            assert!(svg.as_str().contains(text), "{text}");
        }
        assert!(!svg.as_str().contains("<b>"));
    }

    #[test]
    fn of_many_classes_the_most_confused_are_drawn() {
        let mut counts = vec![vec![0; 40]; 40];
        for (i, row) in counts.iter_mut().enumerate() {
            row[i] = 50;
        }
        counts[37][3] = 20;
        let drawn = drawn(&counts);
        assert_eq!(drawn.len(), MOST);
        assert!(drawn.contains(&37) && drawn.contains(&3));
    }
}
