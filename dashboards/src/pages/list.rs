//! A list as one page shows it: sorted and cut as the address asks, with the links that ask for something else.
//!
//! The list is whole in memory. A page begins after the row that the address names, so rows that come or go elsewhere
//! neither repeat nor hide any; a row that is gone begins the list again.

use std::cmp::Ordering;

use seatrial_core::time::Timestamp;

use crate::format::count;
use crate::html::{self, Html};
use crate::visit::Setting;

/// Rows on one page.
pub(crate) const PAGE: usize = 200;

/// What a column is sorted by. What is missing comes last, whichever way the rest is sorted.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) enum Key {
    Number(f64),
    Text(String),
    Missing,
}

impl Key {
    pub(crate) fn number(value: Option<f64>) -> Self {
        value.filter(|value| value.is_finite()).map_or(Self::Missing, Self::Number)
    }

    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        match (self, other) {
            (Self::Missing, Self::Missing) => Ordering::Equal,
            (Self::Missing, _) => Ordering::Greater,
            (_, Self::Missing) => Ordering::Less,
            (a, b) => {
                let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
                if descending { order.reverse() } else { order }
            }
        }
    }
}

/// A column that can be sorted by.
pub(crate) struct Column<'a, T> {
    /// As the address spells it.
    pub name: &'static str,
    /// Key of the catalogue, or the text itself.
    pub label: &'static str,
    /// Aligned right, as numbers are.
    pub numeric: bool,
    /// Sorted from the largest or the latest first.
    pub largest_first: bool,
    pub key: Box<dyn Fn(&T) -> Key + 'a>,
}

impl<'a, T> Column<'a, T> {
    pub(crate) fn text(name: &'static str, label: &'static str, text: impl Fn(&T) -> String + 'a) -> Self {
        let key = move |row: &T| match text(row) {
            text if text.is_empty() => Key::Missing,
            text => Key::Text(text),
        };
        Self { name, label, numeric: false, largest_first: false, key: Box::new(key) }
    }

    pub(crate) fn number(name: &'static str, label: &'static str, value: impl Fn(&T) -> Option<f64> + 'a) -> Self {
        let key = move |row: &T| Key::number(value(row));
        Self { name, label, numeric: true, largest_first: true, key: Box::new(key) }
    }

    /// A moment reads as words and sorts as a number.
    pub(crate) fn moment(name: &'static str, label: &'static str, moment: impl Fn(&T) -> Timestamp + 'a) -> Self {
        let column = Self::number(name, label, move |row| Some(moment(row).as_micros() as f64));
        Self { numeric: false, ..column }
    }
}

/// One value of a filter.
pub(crate) struct Facet {
    pub label: String,
    pub count: String,
    pub href: String,
    pub current: bool,
}

/// The head of a column, with the link that sorts by it.
pub(crate) struct Head {
    /// Of the column, as the address spells it.
    pub name: &'static str,
    pub label: String,
    pub href: String,
    pub numeric: bool,
    /// Value of `aria-sort`; empty when the list is not sorted by this column.
    pub sorted: &'static str,
}

pub(crate) struct Listing<T> {
    pub heads: Vec<Head>,
    pub rows: Vec<T>,
    /// Rows of all pages.
    pub total: usize,
    /// Value of `after` for the next page, when there is one.
    pub after: Option<String>,
    /// "201 to 400 of 2,000"; empty when there is one page.
    pub place: String,
    pub first: Option<String>,
    pub next: Option<String>,
}

impl<T> Listing<T> {
    /// The heads as markup, in the order of the columns.
    pub(crate) fn head_cells(&self) -> Vec<Html> {
        self.heads.iter().map(html::sorting_head).collect()
    }
}

/// Which rows of which order an address asks for.
pub(crate) struct Asked<'a> {
    pub setting: &'a Setting,
    /// Id of the list's element, to which its links lead.
    pub anchor: &'static str,
}

impl Asked<'_> {
    /// The rows of this page. Rows that compare equal stay in the order in which they came.
    pub(crate) fn list<T>(&self, columns: &[Column<'_, T>], mut rows: Vec<T>, id: impl Fn(&T) -> String) -> Listing<T> {
        let setting = self.setting;
        let sort = setting.parameter("sort").unwrap_or_default();
        let (wanted, descending) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
        if let Some(column) = columns.iter().find(|column| column.name == wanted) {
            let mut keyed: Vec<(Key, T)> = rows.into_iter().map(|row| ((column.key)(&row), row)).collect();
            keyed.sort_by(|(a, _), (b, _)| a.compare(b, descending));
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        let total = rows.len();
        let after = setting.parameter("after");
        let from = after.and_then(|after| rows.iter().position(|row| id(row) == after)).map_or(0, |at| at + 1);
        let rows: Vec<T> = rows.into_iter().skip(from).take(PAGE).collect();
        let until = from + rows.len();
        let after = rows.last().map(&id).filter(|_| until < total);
        Listing {
            heads: columns.iter().map(|column| self.head(column, wanted, descending)).collect(),
            place: if total > PAGE {
                let words = setting.words;
                let numbers = [from + usize::from(total > 0), until, total].map(|n| count(n as u64));
                words.with("list.place", &[("from", &numbers[0]), ("to", &numbers[1]), ("total", &numbers[2])])
            } else {
                String::new()
            },
            first: (from > 0).then(|| self.link(&[("after", None)])),
            next: after.as_ref().map(|last| self.link(&[("after", Some(last))])),
            total,
            after,
            rows,
        }
    }

    /// Sorts by a column; once more, the other way round. Numbers begin with the largest.
    fn head<T>(&self, column: &Column<'_, T>, wanted: &str, descending: bool) -> Head {
        let current = column.name == wanted;
        let down = if current { !descending } else { column.largest_first };
        let sort = if down { format!("-{}", column.name) } else { column.name.to_owned() };
        Head {
            name: column.name,
            label: self.setting.words.t(column.label).into_owned(),
            href: self.link(&[("sort", Some(&sort)), ("after", None)]),
            numeric: column.numeric,
            sorted: match (current, descending) {
                (false, _) => "",
                (true, true) => "descending",
                (true, false) => "ascending",
            },
        }
    }

    /// This page with other values of some parameters; everything else of the address stays.
    pub(crate) fn link(&self, changes: &[(&str, Option<&str>)]) -> String {
        format!("{}#{}", self.setting.link_with(changes), self.anchor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(query: &str) -> Setting {
        Setting::for_tests("/runs/7", query)
    }

    fn columns() -> Vec<Column<'static, (u32, Option<f64>)>> {
        vec![
            Column::text("name", "col.job", |row: &(u32, Option<f64>)| format!("{:04}", row.0)),
            Column::number("p50", "p50", |row: &(u32, Option<f64>)| row.1),
        ]
    }

    fn list(query: &str, rows: Vec<(u32, Option<f64>)>) -> Listing<(u32, Option<f64>)> {
        Asked { setting: &setting(query), anchor: "jobs" }.list(&columns(), rows, |row| row.0.to_string())
    }

    #[test]
    fn what_is_missing_comes_last_in_both_directions() {
        let rows = vec![(1, Some(2.0)), (2, None), (3, Some(9.0)), (4, Some(f64::NAN)), (5, Some(1.0))];
        let order = |query| list(query, rows.clone()).rows.iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(order("sort=p50"), [5, 1, 3, 2, 4]);
        assert_eq!(order("sort=-p50"), [3, 1, 5, 2, 4]);
        assert_eq!(order("sort=nonsense"), [1, 2, 3, 4, 5], "an unknown column changes nothing");
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let rows: Vec<_> = (0..450).map(|n| (n, Some(f64::from(n % 7)))).collect();
        let mut seen = Vec::new();
        let mut query = "sort=-p50&show=all".to_owned();
        loop {
            let page = list(&query, rows.clone());
            assert!(page.rows.len() <= PAGE);
            seen.extend(page.rows.iter().map(|row| row.0));
            let Some(next) = page.next else { break };
            assert!(next.contains("show=all") && next.ends_with("#jobs"), "{next}");
            query = next.trim_start_matches("/runs/7?").trim_end_matches("#jobs").to_owned();
        }
        assert_eq!(seen.len(), 450);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 450);
    }

    #[test]
    fn a_head_says_how_the_list_is_sorted_and_turns_it_round() {
        let heads = list("sort=-p50&after=3&show=failed", vec![(3, None)]).heads;
        assert_eq!((heads[1].sorted, heads[0].sorted), ("descending", ""));
        assert_eq!(heads[1].href, "/runs/7?show=failed&sort=p50#jobs", "another order begins at its first page");
        assert_eq!(heads[0].href, "/runs/7?show=failed&sort=name#jobs");
    }

    #[test]
    fn a_page_after_a_row_that_is_gone_is_the_first() {
        assert_eq!(list("after=99", vec![(1, None), (2, None)]).rows.len(), 2);
        assert!(list("after=1", vec![(1, None), (2, None)]).first.is_some(), "the control");
    }
}
