use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use seatrial_core::accuracy::golden::{Comparison, Standard};
use seatrial_core::ids::{DeviceId, JobId, ProjectId, RunId, VariantId};
use seatrial_core::job::JobState;
use seatrial_core::outcome::Outcome;
use seatrial_core::time::Timestamp;

use super::*;

fn job(model: &str) -> JobRow {
    let now = Timestamp::from_micros(0);
    JobRow {
        id: JobId::new(now, [1; 10]),
        short: "7f3a-0c12".to_owned(),
        project: ProjectId::new(now, [4; 10]),
        run: RunId::new(now, [2; 10]),
        run_number: 12,
        device: DeviceId::new(now, [3; 10]),
        device_name: "bench-1".to_owned(),
        model: model.to_owned(),
        version: 1,
        variant: "fp32".to_owned(),
        variant_id: VariantId::new(now, [4; 10]),
        dataset: None,
        backend: "tract cpu ×1".to_owned(),
        profile: "quick".to_owned(),
        state: JobState::Done { outcome: Outcome::Ok },
        attempt: 1,
        stage: None,
        outcome: Some(Outcome::Ok),
        message: None,
        failure: None,
        invalid: Vec::new(),
        created_at: now,
        started_at: None,
        finished_at: None,
    }
}

fn file(format: Format, tables: &[Table]) -> Vec<u8> {
    let mut writer = Writer::new(format);
    let mut bytes: Vec<u8> = tables.iter().flat_map(|table| writer.add(table).unwrap()).collect();
    bytes.extend(writer.finish().unwrap());
    bytes
}

fn predictions() -> [Table; 3] {
    [
        Table::predictions(&job("a"), &[7, 1], &[7, 3, 2, 1, 0, 2, 1, -1, -1, -1]),
        Table::predictions(&job("without labels"), &[], &[]),
        Table::predictions(&job("b"), &[4], &[4, -1, -1, -1, -1]),
    ]
}

fn comparison(output: &str, examples: u32, kept: Option<u32>) -> GoldenRecord {
    let comparison = Comparison {
        examples,
        elements: 0,
        max_abs: 0.0,
        mean_abs: 0.0,
        cosine: None,
        sqnr_db: None,
        argmax_agree: 0,
        nan_count: 0,
        inf_count: 0,
    };
    GoldenRecord { output: output.to_owned(), comparison, standard: Standard::default(), kept }
}

#[test]
fn predictions_have_one_head_and_a_row_an_example() {
    let text = String::from_utf8(file(Format::Csv, &predictions())).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(",example,label,class_1,class_2,class_3,class_4,class_5"), "{text}");
    assert!(lines[1].contains(",a,1,fp32,,") && lines[1].ends_with(",0,7,7,3,2,1,0"), "{text}");
    assert!(lines[2].ends_with(",1,1,2,1,,,"), "no class is an empty cell: {text}");
    assert!(lines[3].ends_with(",0,4,4,,,,"), "{text}");
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_parquet_file_that_was_made_in_parts_is_read_whole() {
    let reader = SerializedFileReader::new(bytes::Bytes::from(file(Format::Parquet, &predictions()))).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| {
        rows[row].get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| field.clone()).unwrap()
    };
    assert_eq!(rows.len(), 3);
    assert_eq!(cell(1, "class_2"), Field::Long(1));
    assert_eq!(cell(1, "class_3"), Field::Null);
    assert_eq!(cell(2, "model"), Field::Str("b".to_owned()));
    assert_eq!(cell(2, "dataset"), Field::Null);
}

#[test]
fn what_a_row_of_an_answer_does_not_have_is_null_in_parquet_and_never_zero() {
    let evidence = Evidence::Text { truth: vec!["a".into(), String::new()], answers: vec!["b".into(), "c".into()] };
    let tables = [Table::answers(&job("a"), Some(&evidence)), Table::answers(&job("without"), None)];
    let reader = SerializedFileReader::new(bytes::Bytes::from(file(Format::Parquet, &tables))).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| {
        rows[row].get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| field.clone()).unwrap()
    };
    assert_eq!(rows.len(), 4);
    assert_eq!((cell(1, "example"), cell(1, "side")), (Field::Long(1), Field::Str("truth".to_owned())));
    assert_eq!(cell(1, "text"), Field::Str(String::new()), "an empty text is one");
    assert_eq!((cell(2, "side"), cell(2, "text")), (Field::Str("answer".to_owned()), Field::Str("b".to_owned())));
    assert_eq!([cell(0, "score"), cell(0, "left"), cell(0, "class")], [Field::Null, Field::Null, Field::Null]);
}

#[test]
fn outputs_are_told_apart_by_name_example_and_element() {
    let records = [comparison("x", 2, Some(2)), comparison("not kept", 9, None), comparison("y", 2, Some(1))];
    let values = [0.1, 0.2, 0.3, f64::NAN, 5.0, 6.0];
    let text = String::from_utf8(file(Format::Csv, &[Table::outputs(&job("a"), &records, &values)])).unwrap();
    let ends: Vec<&str> = text.lines().map(|line| &line[line.find("quick,").map_or(0, |at| at + 6)..]).collect();
    assert_eq!(ends[1..], ["x,0,0,0.1", "x,0,1,0.2", "x,1,0,0.3", "x,1,1,NaN", "y,0,0,5", "y,1,0,6"]);
}

#[test]
fn a_report_that_claims_more_values_than_it_has_makes_no_rows_of_nothing() {
    let records = [comparison("x", u32::MAX, Some(u32::MAX)), comparison("y", 3, Some(1))];
    let table = Table::outputs(&job("a"), &records, &[1.0]);
    assert_eq!(table.rows, 1);
    assert_eq!(Table::predictions(&job("a"), &[1, 2], &[1, 0, 0, 0, 0]).rows, 0);
}

#[test]
fn only_the_files_that_there_are_have_a_name() {
    for name in
        ["predictions.csv", "predictions.parquet", "answers.csv", "answers.parquet", "outputs.csv", "outputs.parquet"]
    {
        assert_eq!(Asked::parse(name).unwrap().file_name(), name);
    }
    for name in ["export.csv", "predictions.xml", "outputs", "predictions.csv.gz"] {
        assert_eq!(Asked::parse(name), None, "{name}");
    }
}
