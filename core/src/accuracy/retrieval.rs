//! Embeddings: how alike two are, and whether what is alike is found.
//!
//! Similarity is the cosine, Σ a b / (√Σ a² √Σ b²), which is 0 for a vector of zeros, as in scikit-learn. Rankings are
//! kept as classes are in `classification`: the ten nearest items of each query, best first.

use std::cmp::Ordering;
use std::collections::HashMap;

/// How many items of each query are kept, best first.
pub const KEPT: usize = 10;
/// Stands for no item, where there are fewer than ten.
pub const NO_ITEM: i64 = -1;
/// Where recall is read.
pub const RECALL_AT: [usize; 3] = [1, 5, 10];
/// Components beyond this are refused, so that their squares still add up.
pub const MAX_MAGNITUDE: f64 = 1e100;
/// Components of all items that one search holds.
pub const MAX_COMPONENTS: usize = 1 << 26;

/// Embeddings or rankings that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetrievalError {
    #[error("embeddings of {first} and {second} components cannot be compared")]
    Components { first: usize, second: usize },
    #[error("{values} values are not embeddings of {components} components each")]
    Values { values: usize, components: usize },
    #[error("{0} values are refused, at most {MAX_COMPONENTS} are searched")]
    TooManyValues(usize),
    #[error("component {0} is not a number within ±{MAX_MAGNITUDE:e}")]
    Magnitude(usize),
    #[error("{queries} queries need {expected} items ({KEPT} each), got {actual}")]
    Length { queries: usize, expected: usize, actual: usize },
    #[error("item {item} of query {query} is not one of the {items} items, or the query itself")]
    Item { query: usize, item: i64, items: usize },
    #[error("item {item} of query {query} is there twice")]
    Twice { query: usize, item: i64 },
}

/// Cosine similarity of two embeddings, −1 to 1.
pub fn cosine(first: &[f64], second: &[f64]) -> Result<f64, RetrievalError> {
    if first.len() != second.len() {
        return Err(RetrievalError::Components { first: first.len(), second: second.len() });
    }
    check_components(first)?;
    check_components(second)?;
    Ok(cosine_of(first, second))
}

fn check_components(values: &[f64]) -> Result<(), RetrievalError> {
    match values.iter().position(|value| value.is_nan() || value.abs() > MAX_MAGNITUDE) {
        Some(index) => Err(RetrievalError::Magnitude(index)),
        None => Ok(()),
    }
}

fn cosine_of(first: &[f64], second: &[f64]) -> f64 {
    cosine_with(first, second, norm(first), norm(second))
}

fn cosine_with(first: &[f64], second: &[f64], norm_1: f64, norm_2: f64) -> f64 {
    let norms = norm_1 * norm_2;
    // Rounding may take nearly parallel vectors a hair beyond 1.
    if norms == 0.0 { 0.0 } else { (dot(first, second) / norms).clamp(-1.0, 1.0) }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}

/// How alike the two embeddings of each pair are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    pub pairs: u32,
    pub mean: f64,
    pub least: f64,
}

/// Takes pairs one by one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Similarities {
    pairs: u32,
    sum: f64,
    least: Option<f64>,
}

impl Similarities {
    pub fn push(&mut self, first: &[f64], second: &[f64]) -> Result<(), RetrievalError> {
        let cosine = cosine(first, second)?;
        self.pairs += 1;
        self.sum += cosine;
        self.least = Some(self.least.map_or(cosine, |least| least.min(cosine)));
        Ok(())
    }

    /// `None` without pairs.
    #[must_use]
    pub fn finish(self) -> Option<Similarity> {
        let mean = self.sum / f64::from(self.pairs);
        self.least.map(|least| Similarity { pairs: self.pairs, mean, least })
    }
}

/// Embeddings in which queries are searched.
#[derive(Debug, Clone)]
pub struct Gallery<'a> {
    components: usize,
    values: &'a [f64],
    norms: Vec<f64>,
}

impl<'a> Gallery<'a> {
    /// `values` holds one embedding after the other.
    pub fn new(components: usize, values: &'a [f64]) -> Result<Self, RetrievalError> {
        if values.len() > MAX_COMPONENTS {
            return Err(RetrievalError::TooManyValues(values.len()));
        }
        if components == 0 || !values.len().is_multiple_of(components) {
            return Err(RetrievalError::Values { values: values.len(), components });
        }
        check_components(values)?;
        Ok(Self { components, values, norms: values.chunks_exact(components).map(norm).collect() })
    }

    /// The ten items that are most alike, best first, without `itself`. Equal similarities go by the lower index.
    pub fn nearest(&self, query: &[f64], itself: Option<usize>) -> Result<[i64; KEPT], RetrievalError> {
        if query.len() != self.components {
            return Err(RetrievalError::Components { first: query.len(), second: self.components });
        }
        check_components(query)?;
        let mut best: Vec<(f64, usize)> = Vec::with_capacity(KEPT + 1);
        let own = norm(query);
        let items = self.values.chunks_exact(self.components).zip(&self.norms).enumerate();
        for (index, (item, &norm)) in items.filter(|&(index, _)| Some(index) != itself) {
            let cosine = cosine_with(query, item, own, norm);
            let place = best.partition_point(|&(other, _)| other.partial_cmp(&cosine) != Some(Ordering::Less));
            if place < KEPT {
                best.insert(place, (cosine, index));
                best.truncate(KEPT);
            }
        }
        let mut nearest = [NO_ITEM; KEPT];
        for (slot, (_, index)) in nearest.iter_mut().zip(best) {
            *slot = index as i64;
        }
        Ok(nearest)
    }
}

/// Labels of what was searched. An item is relevant to a query when it has its label.
#[derive(Debug, Clone, Copy)]
pub enum Items<'a> {
    /// Other examples than the queries.
    Apart(&'a [i64]),
    /// The queries themselves; none is relevant to itself, and none may be among its own items.
    Queries,
}

/// Task metrics over a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    pub queries: u32,
    /// Queries to which some item is relevant. The others are in no figure.
    pub judged: u32,
    pub at: [RecallAt; RECALL_AT.len()],
}

/// What the first `k` items hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecallAt {
    pub k: u32,
    /// Queries with a relevant item among their first `k`. Its share of the judged queries is what metric learning
    /// calls recall@k.
    pub hits: u32,
    /// Mean share of a query's relevant items that are among its first `k`: recall@k of information retrieval. `None`
    /// when no query is judged.
    pub recall: Option<f64>,
}

/// Judges rankings: those of query `i` are `ranked[10 i .. 10 i + 10]`, best first, −1 where there is none.
pub fn summarise(queries: &[i64], items: Items<'_>, ranked: &[i64]) -> Result<Retrieval, RetrievalError> {
    let mut judged = 0;
    let mut hits = [0; RECALL_AT.len()];
    let mut shares = [0.0; RECALL_AT.len()];
    judge(queries, items, ranked, |Judged { relevant, found }| {
        judged += 1;
        for (place, found) in found.into_iter().enumerate() {
            hits[place] += u32::from(found > 0);
            shares[place] += found as f64 / relevant as f64;
        }
    })?;
    let at = std::array::from_fn(|place| RecallAt {
        k: RECALL_AT[place] as u32,
        hits: hits[place],
        recall: (judged > 0).then(|| shares[place] / f64::from(judged)),
    });
    Ok(Retrieval { queries: queries.len() as u32, judged, at })
}

/// Whether the nearest item of each query has its label, of queries that some item is relevant to.
pub fn first_hits(queries: &[i64], items: Items<'_>, ranked: &[i64]) -> Result<Vec<bool>, RetrievalError> {
    let mut hits = Vec::new();
    judge(queries, items, ranked, |judged| hits.push(judged.found[0] > 0))?;
    Ok(hits)
}

/// One query that some item is relevant to.
struct Judged {
    relevant: usize,
    /// Relevant items among the first of each of [`RECALL_AT`].
    found: [usize; RECALL_AT.len()],
}

fn judge(
    queries: &[i64],
    items: Items<'_>,
    ranked: &[i64],
    mut each: impl FnMut(Judged),
) -> Result<(), RetrievalError> {
    let expected = queries.len() * KEPT;
    if ranked.len() != expected {
        return Err(RetrievalError::Length { queries: queries.len(), expected, actual: ranked.len() });
    }
    let (labels, own) = match items {
        Items::Apart(labels) => (labels, 0),
        Items::Queries => (queries, 1),
    };
    let mut with_label: HashMap<i64, usize> = HashMap::new();
    for &label in labels {
        *with_label.entry(label).or_default() += 1;
    }
    for (query, (&label, nearest)) in queries.iter().zip(ranked.chunks_exact(KEPT)).enumerate() {
        check_ranking(query, nearest, items, labels.len())?;
        let relevant = with_label.get(&label).map_or(0, |&count| count - own);
        if relevant > 0 {
            let is_found = |item: &&i64| **item != NO_ITEM && labels[**item as usize] == label;
            let found = RECALL_AT.map(|k| nearest[..k].iter().filter(is_found).count());
            each(Judged { relevant, found });
        }
    }
    Ok(())
}

fn check_ranking(query: usize, nearest: &[i64], among: Items<'_>, items: usize) -> Result<(), RetrievalError> {
    for (place, &item) in nearest.iter().enumerate().filter(|(_, item)| **item != NO_ITEM) {
        let index = usize::try_from(item).ok().filter(|&index| index < items);
        let itself = matches!(among, Items::Queries) && index == Some(query);
        if index.is_none() || itself {
            return Err(RetrievalError::Item { query, item, items });
        }
        if nearest[..place].contains(&item) {
            return Err(RetrievalError::Twice { query, item });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranking(items: &[i64]) -> Vec<i64> {
        let mut ranking = items.to_vec();
        ranking.resize(KEPT, NO_ITEM);
        ranking
    }

    #[test]
    fn the_cosine_tells_directions_and_not_lengths() {
        assert_eq!(cosine(&[1.0, 0.0], &[5.0, 0.0]), Ok(1.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), Ok(0.0));
        assert_eq!(cosine(&[1.0, 1.0], &[-1.0, -1.0]).map(f64::round), Ok(-1.0));
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), Ok(0.0), "a vector of zeros has no direction");
        assert_eq!(cosine(&[1.0], &[1.0, 2.0]), Err(RetrievalError::Components { first: 1, second: 2 }));
        assert_eq!(cosine(&[1.0, f64::NAN], &[1.0, 2.0]), Err(RetrievalError::Magnitude(1)));
    }

    #[test]
    fn pairs_are_judged_by_their_mean_and_the_worst() {
        let mut similarities = Similarities::default();
        assert_eq!(similarities.finish(), None);
        similarities.push(&[1.0, 0.0], &[2.0, 0.0]).unwrap();
        similarities.push(&[1.0, 0.0], &[0.0, 1.0]).unwrap();
        assert_eq!(similarities.finish(), Some(Similarity { pairs: 2, mean: 0.5, least: 0.0 }));
    }

    #[test]
    fn the_nearest_come_first_and_equal_ones_in_their_order() {
        let items = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0];
        let gallery = Gallery::new(2, &items).unwrap();
        assert_eq!(gallery.nearest(&[2.0, 0.0], None).unwrap().to_vec(), ranking(&[1, 3, 2, 0]));
        assert_eq!(gallery.nearest(&[2.0, 0.0], Some(1)).unwrap().to_vec(), ranking(&[3, 2, 0]));
        assert!(gallery.nearest(&[2.0], None).is_err());
        assert!(Gallery::new(3, &items).is_err() && Gallery::new(0, &items).is_err());
    }

    #[test]
    fn recall_counts_what_is_relevant_among_the_first() {
        let items = [7, 7, 8, 8, 8];
        let ranked = [ranking(&[2, 0, 3]), ranking(&[4, 3, 2, 1]), ranking(&[0])].concat();
        let result = summarise(&[7, 8, 9], Items::Apart(&items), &ranked).unwrap();
        assert_eq!((result.queries, result.judged), (3, 2), "no item has the label of the third query");
        let [one, five, ten] = result.at;
        assert_eq!((one.hits, one.recall), (1, Some(f64::midpoint(0.0, 1.0 / 3.0))));
        assert_eq!((five.hits, five.recall), (2, Some(f64::midpoint(0.5, 1.0))));
        assert_eq!((ten.k, ten.hits), (10, 2));
        assert_eq!(summarise(&[], Items::Queries, &[]).unwrap().at[0].recall, None);
    }

    #[test]
    fn a_query_does_not_find_itself() {
        let ranked = [ranking(&[1]), ranking(&[0]), ranking(&[0])].concat();
        let result = summarise(&[5, 5, 6], Items::Queries, &ranked).unwrap();
        assert_eq!((result.judged, result.at[0].hits, result.at[0].recall), (2, 2, Some(1.0)));
        let itself = summarise(&[5, 5, 6], Items::Queries, &[ranking(&[0]), ranking(&[0]), ranking(&[0])].concat());
        assert_eq!(itself, Err(RetrievalError::Item { query: 0, item: 0, items: 3 }));
    }

    #[test]
    fn rankings_that_cannot_be_are_refused() {
        let error = |ranked: &[i64]| summarise(&[1], Items::Apart(&[1, 1]), ranked).unwrap_err().to_string();
        assert_eq!(error(&[0]), "1 queries need 10 items (10 each), got 1");
        assert_eq!(error(&ranking(&[2])), "item 2 of query 0 is not one of the 2 items, or the query itself");
        assert_eq!(error(&ranking(&[-2])), "item -2 of query 0 is not one of the 2 items, or the query itself");
        assert_eq!(error(&ranking(&[1, 0, 1])), "item 1 of query 0 is there twice");
    }

    proptest! {
        #[test]
        fn more_items_never_find_less(
            labels in prop::collection::vec(0_i64..4, 1..30), values in prop::collection::vec(-3_i8..4, 90)
        ) {
            let values: Vec<f64> = values.into_iter().take(labels.len() * 3).map(f64::from).collect();
            let gallery = Gallery::new(3, &values).unwrap();
            let queries = values.chunks_exact(3).enumerate();
            let ranked: Vec<i64> =
                queries.flat_map(|(index, query)| gallery.nearest(query, Some(index)).unwrap()).collect();
            let result = summarise(&labels, Items::Queries, &ranked).unwrap();
            let [one, five, ten] = result.at;
            prop_assert!(one.hits <= five.hits && five.hits <= ten.hits && ten.hits <= result.judged);
            prop_assert!(one.recall <= five.recall && five.recall <= ten.recall);
            prop_assert!(ten.recall.is_none_or(|recall| (0.0..=1.0 + 1e-12).contains(&recall)));
        }

        #[test]
        fn no_cosine_leaves_its_range(values in prop::collection::vec((-1e100_f64..1e100, -1e100_f64..1e100), 0..20)) {
            let (first, second): (Vec<f64>, Vec<f64>) = values.into_iter().unzip();
            prop_assert!((-1.0..=1.0).contains(&cosine(&first, &second).unwrap()));
        }
    }
}
