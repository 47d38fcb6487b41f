//! What the models of a run answered, example by example, so that anybody can judge them again: the first five classes
//! with the label, or the outputs that were compared with references.
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
use seatrial_core::report::GoldenRecord;
use seatrial_core::store::JobRow;

use super::{ExportError, csv};

/// What a row of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An example with its label and first five classes.
    Predictions,
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
    Text(Vec<String>),
    /// −1 stands for no class, and is an empty cell.
    Whole(Vec<i64>),
    Number(Vec<f64>),
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
        for GoldenRecord { output, comparison, kept } in comparisons {
            let kept = kept.unwrap_or(0);
            for example in 0..comparison.examples {
                // A report may claim anything; there are no more rows than values.
                if kept as usize > values.len() - names.len() {
                    break;
                }
                names.extend((0..kept).map(|_| output.clone()));
                examples.extend((0..kept).map(|_| i64::from(example)));
                elements.extend((0..kept).map(i64::from));
            }
        }
        let rows = names.len();
        let mut columns = of_job(job);
        columns.push(("output", Cells::Text(names)));
        columns.push(("example", Cells::Whole(examples)));
        columns.push(("element", Cells::Whole(elements)));
        columns.push(("value", Cells::Number(values[..rows].to_vec())));
        Self { rows, columns }
    }

    fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
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
            Self::Text(texts) => texts[row].clone(),
            Self::Whole(numbers) if numbers[row] < 0 => String::new(),
            Self::Whole(numbers) => numbers[row].to_string(),
            Self::Number(numbers) => numbers[row].to_string(),
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
                let texts: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(text.as_str())).collect();
                column.typed::<ByteArrayType>().write_batch(&texts, Some(&all), None)?
            }
            Self::Whole(numbers) => {
                let levels: Vec<i16> = numbers.iter().map(|number| i16::from(*number >= 0)).collect();
                let there: Vec<i64> = numbers.iter().copied().filter(|number| *number >= 0).collect();
                column.typed::<Int64Type>().write_batch(&there, Some(&levels), None)?
            }
            Self::Number(numbers) => column.typed::<DoubleType>().write_batch(numbers, Some(&all), None)?,
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
