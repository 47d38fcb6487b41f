//! Boxes from a file of annotations as COCO has them (<https://cocodataset.org/#format-data>, "object detection").

use std::collections::HashMap;

use serde::Deserialize;

use super::labels::Classes;
use crate::accuracy::detection::{MAX_MAGNITUDE, TruthBox};
use crate::evidence::MAX_VALUES;

/// Boxes of a dataset, so that a report holds them beside what was answered.
pub const MAX_ANNOTATIONS: usize = (MAX_VALUES as usize - 1) / 8;

/// Annotations that are not those of the dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CocoError {
    #[error("{0}")]
    Json(String),
    #[error("`images` has {found} entries for {examples} examples")]
    Images { found: usize, examples: u32 },
    #[error("image id {0} is there twice")]
    ImageTwice(i64),
    #[error(
        "image {index} is {found:?} in the annotations and {expected:?} in dataset.toml: they must be in one order"
    )]
    Order { index: usize, found: String, expected: String },
    #[error("category {0:?} is not one of the `classes` of dataset.toml")]
    Category(String),
    #[error("annotation {index} is of image {image}, which is not in `images`")]
    UnknownImage { index: usize, image: i64 },
    #[error("annotation {index} is of category {category}, which is not in `categories`")]
    UnknownCategory { index: usize, category: i64 },
    #[error("annotation {0} has a `bbox` or `area` that is negative or not a number within {MAX_MAGNITUDE:e}")]
    Box(usize),
    #[error("{0} annotations are refused, at most {MAX_ANNOTATIONS} are reported")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    #[serde(default)]
    file_name: Option<String>,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: i64,
    category_id: i64,
    bbox: [f64; 4],
    #[serde(default)]
    area: Option<f64>,
    #[serde(default)]
    iscrowd: u8,
}

/// The boxes of a file, in its order. The entries of `images` are the examples in their order; `member` gives the file
/// name of an example where it has one, which must then be the `file_name` of the entry, folders left out. Categories
/// are classes by their names. Without an area that of the rectangle counts.
pub fn parse(
    bytes: &[u8],
    examples: u32,
    classes: &[String],
    member: impl Fn(u32) -> Option<String>,
) -> Result<Vec<TruthBox>, CocoError> {
    let File { images, annotations, categories } =
        serde_json::from_slice(bytes).map_err(|error| CocoError::Json(error.to_string()))?;
    if images.len() != examples as usize {
        return Err(CocoError::Images { found: images.len(), examples });
    }
    if annotations.len() > MAX_ANNOTATIONS {
        return Err(CocoError::TooMany(annotations.len()));
    }
    let mut image_of = HashMap::new();
    for (index, Image { id, file_name }) in (0..examples).zip(images) {
        if image_of.insert(id, index).is_some() {
            return Err(CocoError::ImageTwice(id));
        }
        if let (Some(found), Some(expected)) = (file_name, member(index))
            && found.rsplit('/').next() != Some(expected.as_str())
        {
            return Err(CocoError::Order { index: index as usize, found, expected });
        }
    }
    let known = Classes::new(classes);
    let mut class_of = HashMap::new();
    for Category { id, name } in categories {
        let class = known.named(&name).ok_or(CocoError::Category(name))?;
        class_of.insert(id, class);
    }
    let object = |(index, annotation): (usize, Annotation)| {
        let Annotation { image_id, category_id, bbox, area, iscrowd } = annotation;
        let [.., width, height] = bbox;
        let area = area.unwrap_or(width * height);
        let bounded = bbox.iter().chain([&area]).all(|value| value.abs() <= MAX_MAGNITUDE);
        if !bounded || [width, height, area].iter().any(|&size| size < 0.0) {
            return Err(CocoError::Box(index));
        }
        Ok(TruthBox {
            image: *image_of.get(&image_id).ok_or(CocoError::UnknownImage { index, image: image_id })?,
            class: *class_of.get(&category_id).ok_or(CocoError::UnknownCategory { index, category: category_id })?,
            rectangle: bbox,
            area,
            crowd: iscrowd != 0,
        })
    };
    annotations.into_iter().enumerate().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"info": {"year": 2026}, "images": [{"id": 9, "file_name": "val/a.jpg", "width": 5}, {"id": 3}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 1, "bbox": [1, 2.5, 10, 20], "area": 150.25, "iscrowd": 0, "segmentation": [[1, 2]]},
            {"id": 2, "image_id": 9, "category_id": 18, "bbox": [0, 0, 4, 5], "iscrowd": 1}]}"#;

    fn read(text: &str) -> Result<Vec<TruthBox>, CocoError> {
        let classes = ["cat", "dog"].map(str::to_owned);
        parse(text.as_bytes(), 2, &classes, |index| Some(["a.jpg", "b.jpg"][index as usize].to_owned()))
    }

    #[test]
    fn images_are_examples_in_their_order_and_categories_are_classes_by_name() {
        let [first, second] = read(FILE).unwrap()[..] else { panic!("two boxes") };
        let box_ = |image, class, rectangle, area, crowd| TruthBox { image, class, rectangle, area, crowd };
        assert_eq!(first, box_(1, 0, [1.0, 2.5, 10.0, 20.0], 150.25, false));
        assert_eq!(second, box_(0, 1, [0.0, 0.0, 4.0, 5.0], 20.0, true));
    }

    #[test]
    fn what_is_not_of_the_dataset_is_told() {
        for (from, to, said) in [
            (
                "val/a.jpg",
                "b.jpg",
                "image 0 is \"b.jpg\" in the annotations and \"a.jpg\" in dataset.toml: they must be in one order",
            ),
            ("{\"id\": 3}", "{\"id\": 9}", "image id 9 is there twice"),
            (", {\"id\": 3}", "", "`images` has 1 entries for 2 examples"),
            ("\"name\": \"dog\"", "\"name\": \"cow\"", "category \"cow\" is not one of the `classes` of dataset.toml"),
            ("\"image_id\": 3", "\"image_id\": 4", "annotation 0 is of image 4, which is not in `images`"),
            (
                "\"category_id\": 18",
                "\"category_id\": 0",
                "annotation 1 is of category 0, which is not in `categories`",
            ),
            ("10, 20]", "-10, 20]", "annotation 0 has a `bbox` or `area` that is negative or not a number within 1e12"),
        ] {
            assert_eq!(read(&FILE.replacen(from, to, 1)).unwrap_err().to_string(), said);
        }
        assert!(matches!(read("{}"), Err(CocoError::Json(_))));
    }
}
