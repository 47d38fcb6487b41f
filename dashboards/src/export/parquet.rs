//! The table as Parquet: one row group, zstd, every column optional, written with the low-level writer.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::table::{ABSENT, NUMBERS, TEXT, rows};
use super::{ExportError, RunExport};

fn schema() -> Result<Type> {
    let text = |name: &str| {
        let column = Type::primitive_type_builder(name, Physical::BYTE_ARRAY).with_repetition(Repetition::OPTIONAL);
        column.with_logical_type(Some(LogicalType::String)).build().map(Arc::new)
    };
    let number = |name: &str| {
        let column = Type::primitive_type_builder(name, Physical::DOUBLE).with_repetition(Repetition::OPTIONAL);
        column.build().map(Arc::new)
    };
    let mut fields = Vec::with_capacity(TEXT.len() + NUMBERS.len() + 1);
    for name in TEXT {
        fields.push(text(name)?);
    }
    for name in NUMBERS {
        fields.push(number(name)?);
    }
    fields.push(text(ABSENT)?);
    Type::group_type_builder("run").with_fields(fields).build()
}

pub(super) fn write(export: &RunExport) -> std::result::Result<Vec<u8>, ExportError> {
    let level = ZstdLevel::try_new(3)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, Arc::new(schema()?), Arc::new(properties))?;
    let rows = rows(export);
    let mut group = writer.next_row_group()?;
    let text: Vec<_> = rows.iter().map(super::table::Row::text).collect();
    for column in 0..TEXT.len() {
        write_text(&mut group, text.iter().map(|row| row[column].as_deref()))?;
    }
    let numbers: Vec<_> = rows.iter().map(super::table::Row::numbers).collect();
    for column in 0..NUMBERS.len() {
        write_numbers(&mut group, numbers.iter().map(|row| row[column]))?;
    }
    write_text(&mut group, rows.iter().map(super::table::Row::absent))?;
    group.close()?;
    writer.close()?;
    Ok(out)
}

/// A definition level says for each row whether it has a value; only the values that exist are written.
fn levels<T>(cells: impl Iterator<Item = Option<T>>) -> (Vec<T>, Vec<i16>) {
    let mut values = Vec::new();
    let levels = cells.map(|cell| i16::from(cell.map(|value| values.push(value)).is_some())).collect();
    (values, levels)
}

fn write_text<'a, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: impl Iterator<Item = Option<&'a str>>,
) -> Result<()> {
    let (values, levels) = levels(cells.map(|cell| cell.map(ByteArray::from)));
    if let Some(mut column) = group.next_column()? {
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        column.close()?;
    }
    Ok(())
}

fn write_numbers<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: impl Iterator<Item = Option<f64>>,
) -> Result<()> {
    let (values, levels) = levels(cells);
    if let Some(mut column) = group.next_column()? {
        column.typed::<DoubleType>().write_batch(&values, Some(&levels), None)?;
        column.close()?;
    }
    Ok(())
}
