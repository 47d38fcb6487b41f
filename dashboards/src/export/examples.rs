//! What the models of a run answered, example by example, so that anybody can judge them again: the first five classes
//! with the label, truth and answers of other tasks, or the outputs that were compared with references.
//!
//! A run may hold more answers than fit in memory, so the file is made job by job.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use seatrial_core::accuracy::classification::KEPT;
use seatrial_core::accuracy::retrieval;
use seatrial_core::evidence::Evidence;
use seatrial_core::report::GoldenRecord;
use seatrial_core::store::JobRow;

use super::{ExportError, csv};

/// What a row of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An example with its label and first five classes.
    Predictions,
    /// What another task asked or what was answered: a box, a class, a text, a number.
    Answers,
    /// One value of one output for one example.
    Outputs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Parquet,
}

/// A file that somebody asks for: `predictions.csv`, `outputs.parquet`, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub kind: Kind,
    pub format: Format,
}

impl Asked {
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, format) = name.split_once('.')?;
        let kind = match kind {
            "predictions" => Kind::Predictions,
            "answers" => Kind::Answers,
            "outputs" => Kind::Outputs,
            _ => return None,
        };
        let format = match format {
            "csv" => Format::Csv,
            "parquet" => Format::Parquet,
            _ => return None,
        };
        Some(Self { kind, format })
    }

    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match (self.kind, self.format) {
            (Kind::Predictions, Format::Csv) => "predictions.csv",
            (Kind::Predictions, Format::Parquet) => "predictions.parquet",
            (Kind::Answers, Format::Csv) => "answers.csv",
            (Kind::Answers, Format::Parquet) => "answers.parquet",
            (Kind::Outputs, Format::Csv) => "outputs.csv",
            (Kind::Outputs, Format::Parquet) => "outputs.parquet",
        }
    }

    #[must_use]
    pub const fn mime(self) -> &'static str {
        match self.format {
            Format::Csv => super::Format::Csv.mime(),
            Format::Parquet => super::Format::Parquet.mime(),
        }
    }
}

/// The cells of one column, for the rows of one job.
enum Cells {
    /// The same text in every row.
    Same(Option<String>),
    Text(Vec<Option<String>>),
    /// −1 stands for no class, and is an empty cell.
    Whole(Vec<i64>),
    Number(Vec<Option<f64>>),
}

/// The rows of one job.
pub struct Table {
    rows: usize,
    columns: Vec<(&'static str, Cells)>,
}

const CLASSES: [&str; KEPT] = ["class_1", "class_2", "class_3", "class_4", "class_5"];

impl Table {
    /// Labels and their five classes each. Classes that do not fit the labels are no predictions.
    #[must_use]
    pub fn predictions(job: &JobRow, labels: &[i64], top_classes: &[i64]) -> Self {
        let labels = if top_classes.len() == labels.len() * KEPT { labels } else { &[] };
        let mut columns = of_job(job);
        columns.push(("example", Cells::Whole((0..labels.len() as i64).collect())));
        columns.push(("label", Cells::Whole(labels.to_vec())));
        columns.extend(CLASSES.into_iter().enumerate().map(|(place, name)| {
            let classes = top_classes.chunks_exact(KEPT).take(labels.len()).map(|classes| classes[place]);
            (name, Cells::Whole(classes.collect()))
        }));
        Self { rows: labels.len(), columns }
    }

    /// The outputs that were kept, in the order of their comparisons. Values that do not fit them are left out.
    #[must_use]
    pub fn outputs(job: &JobRow, comparisons: &[GoldenRecord], values: &[f64]) -> Self {
        let (mut names, mut examples, mut elements) = (Vec::new(), Vec::new(), Vec::new());
        for GoldenRecord { output, comparison, kept, .. } in comparisons {
            let kept = kept.unwrap_or(0);
            for example in 0..comparison.examples {
                // A report may claim anything; there are no more rows than values.
                if kept as usize > values.len() - names.len() {
                    break;
                }
                names.extend((0..kept).map(|_| Some(output.clone())));
                examples.extend((0..kept).map(|_| i64::from(example)));
                elements.extend((0..kept).map(i64::from));
            }
        }
        let rows = names.len();
        let mut columns = of_job(job);
        columns.push(("output", Cells::Text(names)));
        columns.push(("example", Cells::Whole(examples)));
        columns.push(("element", Cells::Whole(elements)));
        columns.push(("value", Cells::Number(values[..rows].iter().copied().map(Some).collect())));
        Self { rows, columns }
    }

    /// Truth and answers of another task. A row without an example is of all of them together.
    #[must_use]
    pub fn answers(job: &JobRow, evidence: Option<&Evidence>) -> Self {
        let mut rows = Vec::new();
        if let Some(evidence) = evidence {
            answer_rows(evidence, &mut rows);
        }
        let mut columns = of_job(job);
        let whole = |of: fn(&Row) -> Option<u64>| {
            Cells::Whole(rows.iter().map(|row| of(row).map_or(-1, |value| value as i64)).collect())
        };
        let number = |of: fn(&Row) -> Option<f64>| Cells::Number(rows.iter().map(of).collect());
        columns.push(("example", whole(|row| row.example)));
        columns.push(("side", Cells::Text(rows.iter().map(|row| Some(row.side.to_owned())).collect())));
        columns.push(("class", whole(|row| row.class)));
        columns.push(("answered", whole(|row| row.answered)));
        columns.push(("item", whole(|row| row.item)));
        columns.push(("pixels", whole(|row| row.pixels)));
        for (place, name) in ["left", "top", "width", "height"].into_iter().enumerate() {
            let values = rows.iter().map(|row| row.rectangle.map(|rectangle| rectangle[place]));
            columns.push((name, Cells::Number(values.collect())));
        }
        columns.push(("area", number(|row| row.area)));
        columns.push(("crowd", whole(|row| row.crowd)));
        columns.push(("score", number(|row| row.score)));
        columns.push(("value", number(|row| row.value)));
        columns.push(("text", Cells::Text(rows.iter().map(|row| row.text.clone()).collect())));
        Self { rows: rows.len(), columns }
    }

    fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }
}

/// One row of truth or answers: what its task does not have is empty.
#[derive(Default)]
struct Row {
    example: Option<u64>,
    side: &'static str,
    class: Option<u64>,
    answered: Option<u64>,
    item: Option<u64>,
    pixels: Option<u64>,
    rectangle: Option<[f64; 4]>,
    area: Option<f64>,
    crowd: Option<u64>,
    score: Option<f64>,
    value: Option<f64>,
    text: Option<String>,
}

const TRUTH: &str = "truth";
const ANSWER: &str = "answer";
/// The class with the highest score, whether or not it reaches the threshold.
const BEST: &str = "best";
/// 1 where a scorer says that the example is answered right, else 0.
const RIGHT: &str = "right";

fn answer_rows(evidence: &Evidence, rows: &mut Vec<Row>) {
    let blank = |side, example: usize| Row { example: Some(example as u64), side, ..Row::default() };
    match evidence {
        Evidence::Detection { truth, answers } => {
            rows.extend(truth.iter().map(|it| Row {
                class: Some(it.class.into()),
                rectangle: Some(it.rectangle),
                area: Some(it.area),
                crowd: Some(it.crowd.into()),
                ..blank(TRUTH, it.image as usize)
            }));
            rows.extend(answers.iter().map(|it| Row {
                class: Some(it.class.into()),
                rectangle: Some(it.rectangle),
                score: Some(it.score),
                ..blank(ANSWER, it.image as usize)
            }));
        }
        Evidence::Segmentation(pixels) => {
            let counts = pixels.counts();
            let width = counts.len().isqrt() + 1;
            rows.extend(counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(place, &count)| Row {
                side: ANSWER,
                class: Some((place / width) as u64),
                // The last column is that of pixels without an answer.
                answered: Some((place % width) as u64).filter(|&class| class + 1 < width as u64),
                pixels: u64::try_from(count).ok(),
                ..Row::default()
            }));
        }
        Evidence::Text { truth, answers } => {
            for (side, texts) in [(TRUTH, truth), (ANSWER, answers)] {
                let texts = texts.iter().enumerate();
                rows.extend(texts.map(|(example, text)| Row { text: Some(text.clone()), ..blank(side, example) }));
            }
        }
        Evidence::Multilabel { truth, answers } => {
            let class = |side, example, class: u32| Row { class: Some(class.into()), ..blank(side, example) };
            for (example, (truth, answer)) in truth.iter().zip(answers).enumerate() {
                rows.extend(truth.iter().map(|&it| class(TRUTH, example, it)));
                rows.extend(answer.answered.iter().map(|&it| class(ANSWER, example, it)));
                rows.extend(answer.best.map(|it| class(BEST, example, it)));
            }
        }
        Evidence::Retrieval { identities, ranked } => {
            let truth = identities.of.iter().enumerate();
            rows.extend(truth.map(|(example, &it)| Row { class: Some(it.into()), ..blank(TRUTH, example) }));
            // Items are counted from the first one on, which stands behind the queries where these are apart.
            let first = identities.queries.unwrap_or(0);
            let ranked = ranked.chunks_exact(retrieval::KEPT).enumerate();
            rows.extend(ranked.flat_map(|(query, items)| {
                let found = items.iter().filter_map(|&item| u64::try_from(item).ok());
                found.map(move |item| Row { item: Some(item + u64::from(first)), ..blank(ANSWER, query) })
            }));
        }
        Evidence::Regression { truth, answers } => {
            for (side, values) in [(TRUTH, truth), (ANSWER, answers)] {
                let values = values.iter().enumerate();
                rows.extend(values.map(|(example, &value)| Row { value: Some(value), ..blank(side, example) }));
            }
        }
        Evidence::Verdicts(right) => {
            let right = right.iter().map(|&right| f64::from(u8::from(right))).enumerate();
            rows.extend(right.map(|(example, value)| Row { value: Some(value), ..blank(RIGHT, example) }));
        }
    }
}

/// What tells the rows of one job from those of another.
fn of_job(job: &JobRow) -> Vec<(&'static str, Cells)> {
    [
        ("run", Some(job.run_number.to_string())),
        ("job", Some(job.id.to_string())),
        ("device", Some(job.device_name.clone())),
        ("model", Some(job.model.clone())),
        ("version", Some(job.version.to_string())),
        ("variant", Some(job.variant.clone())),
        ("dataset", job.dataset.clone()),
        ("backend", Some(job.backend.clone())),
        ("profile", Some(job.profile.clone())),
    ]
    .map(|(name, text)| (name, Cells::Same(text)))
    .into()
}

/// Writes tables of one kind, one after the other.
pub enum Writer {
    Csv { head_written: bool },
    Parquet { file: Option<Box<SerializedFileWriter<Drain>>>, drain: Drain },
}

impl Writer {
    #[must_use]
    pub fn new(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv { head_written: false },
            Format::Parquet => Self::Parquet { file: None, drain: Drain::default() },
        }
    }

    /// The bytes that follow when this table has been added. A table without rows adds at most the head.
    pub fn add(&mut self, table: &Table) -> Result<Vec<u8>, ExportError> {
        match self {
            Self::Csv { head_written } => {
                let head = (!std::mem::replace(head_written, true)).then(|| table.names());
                let rows = (0..table.rows).map(|row| table.columns.iter().map(|(_, cells)| cells.text(row)).collect());
                Ok(csv::write_part(head.as_deref(), rows).into_bytes())
            }
            Self::Parquet { file, drain } => {
                let writer = match file {
                    Some(writer) => writer,
                    None => file.insert(Box::new(open(table, drain.clone())?)),
                };
                if table.rows > 0 {
                    let mut group = writer.next_row_group()?;
                    for (_, cells) in &table.columns {
                        let Some(mut column) = group.next_column()? else { continue };
                        cells.write(table.rows, &mut column)?;
                        column.close()?;
                    }
                    group.close()?;
                }
                Ok(drain.take())
            }
        }
    }

    /// The bytes that end the file.
    pub fn finish(self) -> Result<Vec<u8>, ExportError> {
        match self {
            Self::Csv { .. } | Self::Parquet { file: None, .. } => Ok(Vec::new()),
            Self::Parquet { file: Some(writer), drain } => {
                writer.close()?;
                Ok(drain.take())
            }
        }
    }
}

impl Cells {
    fn text(&self, row: usize) -> String {
        match self {
            Self::Same(text) => text.clone().unwrap_or_default(),
            Self::Text(texts) => texts[row].clone().unwrap_or_default(),
            Self::Whole(numbers) if numbers[row] < 0 => String::new(),
            Self::Whole(numbers) => numbers[row].to_string(),
            Self::Number(numbers) => numbers[row].map(|number| number.to_string()).unwrap_or_default(),
        }
    }

    fn write(
        &self,
        rows: usize,
        column: &mut parquet::file::writer::SerializedColumnWriter<'_>,
    ) -> parquet::errors::Result<()> {
        let all = vec![1_i16; rows];
        match self {
            Self::Same(None) => column.typed::<ByteArrayType>().write_batch(&[], Some(&vec![0; rows]), None)?,
            Self::Same(Some(text)) => column.typed::<ByteArrayType>().write_batch(
                &vec![ByteArray::from(text.as_str()); rows],
                Some(&all),
                None,
            )?,
            Self::Text(texts) => {
                let levels: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
                let there: Vec<ByteArray> = texts.iter().flatten().map(|text| ByteArray::from(text.as_str())).collect();
                column.typed::<ByteArrayType>().write_batch(&there, Some(&levels), None)?
            }
            Self::Whole(numbers) => {
                let levels: Vec<i16> = numbers.iter().map(|number| i16::from(*number >= 0)).collect();
                let there: Vec<i64> = numbers.iter().copied().filter(|number| *number >= 0).collect();
                column.typed::<Int64Type>().write_batch(&there, Some(&levels), None)?
            }
            Self::Number(numbers) => {
                let levels: Vec<i16> = numbers.iter().map(|number| i16::from(number.is_some())).collect();
                let there: Vec<f64> = numbers.iter().copied().flatten().collect();
                column.typed::<DoubleType>().write_batch(&there, Some(&levels), None)?
            }
        };
        Ok(())
    }
}

fn open(table: &Table, drain: Drain) -> Result<SerializedFileWriter<Drain>, ExportError> {
    let field = |(name, cells): &(&'static str, Cells)| {
        let (physical, logical) = match cells {
            Cells::Same(_) | Cells::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Cells::Whole(_) => (Physical::INT64, None),
            Cells::Number(_) => (Physical::DOUBLE, None),
        };
        let column = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        column.with_logical_type(logical).build().map(Arc::new)
    };
    let fields = table.columns.iter().map(field).collect::<parquet::errors::Result<Vec<_>>>()?;
    let schema = Type::group_type_builder("examples").with_fields(fields).build()?;
    let compression = Compression::ZSTD(ZstdLevel::try_new(3)?);
    let properties = WriterProperties::builder().set_compression(compression).build();
    Ok(SerializedFileWriter::new(drain, Arc::new(schema), Arc::new(properties))?)
}

/// What was written and not yet sent on.
#[derive(Clone, Default)]
pub struct Drain(Arc<Mutex<Vec<u8>>>);

impl Drain {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Drain {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "examples_tests.rs"]
mod tests;
