//! What is known of every example of a dataset, read from the member that holds its labels.

use std::collections::HashMap;

use super::Task;
use super::labels::{self, LabelError};
use super::package::{ImageMembers, LabelForm, LabelSource, PackageManifest, TensorData};
use super::{coco, npy};
use crate::accuracy::detection::TruthBox;
use crate::accuracy::deviation::MAX_MAGNITUDE;
use crate::tensor::{DType, Tensor};

/// The labels of all examples, as their task has them.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// The class of each example.
    Classes(Vec<u32>),
    /// All objects of all images, which are the examples.
    Boxes(Vec<TruthBox>),
    Masks(Masks),
    Texts(Vec<String>),
    /// The classes of each example, in order.
    Sets(Vec<Vec<u32>>),
    Identities(Identities),
    Values(Vec<f64>),
}

/// The class of each pixel of each example.
#[derive(Debug, Clone, PartialEq)]
pub struct Masks {
    /// Whole numbers of shape `[examples, height, width]`.
    pixels: Tensor,
    /// Pixels of this class are in no figure.
    pub ignored: Option<i64>,
}

impl Masks {
    /// Height and width of every mask.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        match *self.pixels.shape() {
            [_, height, width] => [height, width],
            _ => [0, 0],
        }
    }

    /// The pixels of one example, row by row.
    #[must_use]
    pub fn example(&self, index: u32) -> Vec<i64> {
        // A class that was read lies within the classes or is the ignored one.
        self.integers(index).unwrap_or_default().into_iter().map(|class| class as i64).collect()
    }

    /// Of one example alone: all masks at once would take many times their bytes. `None` for a type with fractions.
    fn integers(&self, index: u32) -> Option<Vec<i128>> {
        let [height, width] = self.size();
        let size = self.pixels.dtype().size();
        let from = height * width * size * index as usize;
        let bytes = self.pixels.bytes().get(from..from + height * width * size)?;
        let one = Tensor::new(self.pixels.dtype(), vec![height * width], bytes.to_vec()).ok()?;
        labels::integers(&one)
    }
}

/// Who or what each example shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities {
    pub of: Vec<u32>,
    /// The first so many examples are searched for among the others; when absent, each among all others.
    pub queries: Option<u32>,
}

/// Reads the member with the labels; `None` when the dataset has none.
pub fn read(manifest: &PackageManifest, bytes: &[u8]) -> Result<Option<Truth>, LabelError> {
    let Some(source) = &manifest.labels else { return Ok(None) };
    let (examples, classes) = (manifest.examples, manifest.classes.as_slice());
    let fields = || match &source.form {
        LabelForm::Csv { column } => labels::csv_column(bytes, column, examples).map(Some),
        LabelForm::Lines => labels::lines(bytes, examples).map(Some),
        LabelForm::Npy | LabelForm::Coco | LabelForm::File => Ok(None),
    };
    let truth = match (manifest.task, fields()?) {
        (Task::Golden | Task::Custom, _) => return Ok(None),
        (Task::Classification, Some(fields)) => Truth::Classes(labels::classes_of(&fields, classes)?),
        (Task::Classification, None) => Truth::Classes(labels::from_tensor(&npy::parse(bytes)?, examples, classes)?),
        (Task::Detection, _) => Truth::Boxes(coco::parse(bytes, examples, classes, |index| image(manifest, index))?),
        (Task::Segmentation, _) => Truth::Masks(masks(npy::parse(bytes)?, examples, classes.len(), source)?),
        (Task::Text, fields) => Truth::Texts(labels::texts_of(fields.unwrap_or_default())?),
        (Task::Multilabel, Some(fields)) => Truth::Sets(labels::sets_of(&fields, classes)?),
        (Task::Multilabel, None) => Truth::Sets(flags(&npy::parse(bytes)?, examples, classes.len())?),
        (Task::Retrieval, Some(fields)) => identities(labels::identities_of(&fields), source)?,
        (Task::Retrieval, None) => {
            let all = labels::one_each(&npy::parse(bytes)?, examples)?;
            let one =
                |(example, identity)| u32::try_from(identity).map_err(|_| LabelError::Identity { example, identity });
            identities(all.into_iter().enumerate().map(one).collect::<Result<_, _>>()?, source)?
        }
        (Task::Regression, Some(fields)) => values(labels::numbers_of(&fields)?)?,
        (Task::Regression, None) => values(labels::numbers(&npy::parse(bytes)?, examples)?)?,
    };
    Ok(Some(truth))
}

/// The file of an example, when an input is made of images.
fn image(manifest: &PackageManifest, index: u32) -> Option<String> {
    let images = |data: &TensorData| match data {
        TensorData::Image { members } => ImageMembers::name(members, index),
        TensorData::Npy { .. } | TensorData::Npz { .. } | TensorData::Raw { .. } => None,
    };
    manifest.inputs.iter().find_map(|input| images(&input.data))
}

fn masks(pixels: Tensor, examples: u32, classes: usize, source: &LabelSource) -> Result<Masks, LabelError> {
    const EXPECTED: &str = "integers of shape [examples, height, width]";
    let &[found, _, _] = pixels.shape() else { return Err(labels::refused(&pixels, EXPECTED)) };
    if found != examples as usize {
        return Err(LabelError::Count { found, examples });
    }
    let ignored = source.ignore.map(i64::from);
    let known = |class: i128| {
        (0..classes as i128).contains(&class) || ignored.is_some_and(|ignored| i128::from(ignored) == class)
    };
    let masks = Masks { pixels, ignored };
    for example in 0..examples {
        let integers = masks.integers(example).ok_or_else(|| labels::refused(&masks.pixels, EXPECTED))?;
        if let Some(pixel) = integers.iter().position(|&class| !known(class)) {
            return Err(LabelError::Pixel { example: example as usize, pixel, class: integers[pixel] });
        }
    }
    Ok(masks)
}

/// Zeros and ones of shape `[examples, classes]`.
fn flags(tensor: &Tensor, examples: u32, classes: usize) -> Result<Vec<Vec<u32>>, LabelError> {
    const EXPECTED: &str = "zeros and ones of shape [examples, classes]";
    let &[found, width] = tensor.shape() else { return Err(labels::refused(tensor, EXPECTED)) };
    if width != classes || width == 0 {
        return Err(labels::refused(tensor, EXPECTED));
    }
    if found != examples as usize {
        return Err(LabelError::Count { found, examples });
    }
    let flags = if tensor.dtype() == DType::Bool {
        tensor.bytes().iter().map(|&flag| i128::from(flag)).collect()
    } else {
        labels::integers(tensor).ok_or_else(|| labels::refused(tensor, EXPECTED))?
    };
    if let Some(place) = flags.iter().position(|flag| !matches!(flag, 0 | 1)) {
        return Err(LabelError::Flag { example: place / width, value: flags[place] });
    }
    let set = |row: &[i128]| (0..).zip(row).filter(|&(_, &flag)| flag == 1).map(|(class, _)| class).collect();
    Ok(flags.chunks_exact(width).map(set).collect())
}

fn identities(of: Vec<u32>, source: &LabelSource) -> Result<Truth, LabelError> {
    let identities = Identities { of, queries: source.queries };
    let (queries, items) = identities.parts();
    let mut seen: HashMap<u32, usize> = HashMap::new();
    for item in items {
        *seen.entry(*item).or_default() += 1;
    }
    let own = usize::from(identities.queries.is_none());
    if queries.iter().any(|query| seen.get(query).is_some_and(|&count| count > own)) {
        Ok(Truth::Identities(identities))
    } else {
        Err(LabelError::NothingToFind)
    }
}

impl Identities {
    /// Those that are searched for, and those among which.
    #[must_use]
    pub fn parts(&self) -> (&[u32], &[u32]) {
        match self.queries.and_then(|queries| self.of.split_at_checked(queries as usize)) {
            Some(parts) => parts,
            None => (&self.of, &self.of),
        }
    }
}

fn values(values: Vec<f64>) -> Result<Truth, LabelError> {
    match values.iter().position(|value| value.is_nan() || value.abs() > MAX_MAGNITUDE) {
        Some(example) => Err(LabelError::Value { example, value: values[example] }),
        None => Ok(Truth::Values(values)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(task: &str, labels: &str) -> PackageManifest {
        let classes = task.parse::<Task>().unwrap().has_classes();
        let classes = if classes { "classes = [\"a\", \"b\"]\n" } else { "" };
        let text = format!(
            "name = \"d\"\ntask = \"{task}\"\nexamples = 3\n{classes}labels = {{ {labels} }}\n\
             inputs = [{{ name = \"x\", kind = \"npy\", member = \"x.npy\" }}]\n"
        );
        PackageManifest::parse(&text, "dataset.toml").unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(bytes);
        file
    }

    fn read_one(task: &str, labels: &str, bytes: &[u8]) -> Result<Truth, LabelError> {
        read(&manifest(task, labels), bytes).map(Option::unwrap)
    }

    #[test]
    fn every_task_reads_its_labels() {
        let csv = "kind = \"csv\", member = \"l\", column = \"label\"";
        let lines = "kind = \"lines\", member = \"l\"";
        let array = "kind = \"npy\", member = \"l\"";
        assert_eq!(read_one("classification", lines, b"b\na\n1\n"), Ok(Truth::Classes(vec![1, 0, 1])));
        assert_eq!(
            read_one("multilabel", csv, b"label\n\"a,b\"\n\"\"\na\n"),
            Ok(Truth::Sets(vec![vec![0, 1], vec![], vec![0]]))
        );
        let flags = npy("|b1", "(3, 2)", &[1, 1, 0, 0, 0, 1]);
        assert_eq!(read_one("multilabel", array, &flags), Ok(Truth::Sets(vec![vec![0, 1], vec![], vec![1]])));
        assert_eq!(
            read_one("text", lines, b"x\n\ny z"),
            Ok(Truth::Texts(vec!["x".into(), String::new(), "y z".into()]))
        );
        assert_eq!(read_one("regression", csv, b"label\n1\n2\n-3\n"), Ok(Truth::Values(vec![1.0, 2.0, -3.0])));
        let identities = |queries| Ok(Truth::Identities(Identities { of: vec![0, 1, 0], queries }));
        assert_eq!(read_one("retrieval", lines, b"p\nq\np\n"), identities(None));
        assert_eq!(read_one("retrieval", &format!("{lines}, queries = 1"), b"p\nq\np\n"), identities(Some(1)));
        let Ok(Truth::Masks(masks)) = read_one(
            "segmentation",
            &format!("{array}, ignore = 255"),
            &npy("|u1", "(3, 1, 2)", &[0, 1, 255, 0, 1, 1]),
        ) else {
            panic!("masks")
        };
        assert_eq!((masks.size(), masks.example(1), masks.ignored), ([1, 2], vec![255, 0], Some(255)));
    }

    #[test]
    fn labels_that_mean_nothing_are_errors_that_say_where() {
        let array = "kind = \"npy\", member = \"l\"";
        for (task, labels, bytes, said) in [
            (
                "segmentation",
                array,
                npy("|u1", "(3, 1, 2)", &[0, 1, 1, 2, 0, 0]),
                "pixel 1 of example 1 has class 2, which is neither a class nor the ignored one",
            ),
            (
                "segmentation",
                array,
                npy("|u1", "(3, 2)", &[0; 6]),
                "labels of type u8 and shape [3, 2] cannot be used: expected integers of shape [examples, height, width]",
            ),
            ("multilabel", array, npy("|i1", "(3, 2)", &[0, 1, 0, 2, 0, 0]), "value 2 of example 1 is neither 0 nor 1"),
            (
                "multilabel",
                array,
                npy("|i1", "(3, 1)", &[0; 3]),
                "labels of type i8 and shape [3, 1] cannot be used: expected zeros and ones of shape [examples, classes]",
            ),
            (
                "retrieval",
                array,
                npy("|i1", "(3,)", &[1, 2, 3]),
                "no example has the identity of another, so that there is nothing to find",
            ),
            (
                "retrieval",
                array,
                npy("|i1", "(3,)", &[1, 0xff, 1]),
                "identity -1 of example 1 is not from 0 to 4294967295",
            ),
            (
                "regression",
                "kind = \"lines\", member = \"l\"",
                b"1\nnan\n3".to_vec(),
                "value NaN of example 1 is not a finite number within ±1e100",
            ),
        ] {
            assert_eq!(read_one(task, labels, &bytes).unwrap_err().to_string(), said);
        }
    }
}
