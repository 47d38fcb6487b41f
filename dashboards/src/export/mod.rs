//! A run, or the raw samples of a job, as a file.
//!
//! Tables are in long form: a row a job and metric, so that a value, its interval and the reason of an absence each
//! have a column of their own; a job without metrics has one row.

pub mod csv;
pub mod examples;
pub mod junit;
pub mod parquet;
pub mod table;

use std::str::FromStr;

use seatrial_core::metric::Metric;
use seatrial_core::store::{JobRow, MisfitRow, RunRow};
use serde::Serialize;

/// Everything that is known of a run, derived numbers included.
#[derive(Debug, Clone, Serialize)]
pub struct RunExport {
    pub run: RunRow,
    pub jobs: Vec<JobExport>,
    pub misfits: Vec<MisfitRow>,
}

#[derive(Debug, Clone, Serialize)]
pub struct JobExport {
    pub job: JobRow,
    /// Of its last attempt.
    pub metrics: Vec<Metric>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Json,
    Parquet,
    Junit,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Csv, Self::Json, Self::Parquet, Self::Junit];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
            Self::Junit => "junit",
        }
    }

    /// Ending of a file of this format.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
            Self::Junit => "xml",
        }
    }

    #[must_use]
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Junit => "application/xml",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text || format.ending() == text)
            .ok_or_else(|| format!("{text:?} is not an export format (csv, json, parquet, junit)"))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("failed to write the export as json")]
    Json(#[from] serde_json::Error),
    #[error("failed to write the export as parquet")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// A run as the bytes of a file.
pub fn run(format: Format, export: &RunExport) -> Result<Vec<u8>, ExportError> {
    match format {
        Format::Csv => Ok(table::csv(export).into_bytes()),
        Format::Json => Ok(serde_json::to_vec(export)?),
        Format::Parquet => parquet::write(export),
        Format::Junit => Ok(junit::write(export).into_bytes()),
    }
}
