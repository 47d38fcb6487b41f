//! What an attempt left behind: its report, stages, packed samples, metrics and environment.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sqlx::{QueryBuilder, query};

use seatrial_core::actual::Actual;
use seatrial_core::dataset::scorer::Figure;
use seatrial_core::digest::Digest;
use seatrial_core::energy::EnergyRecord;
use seatrial_core::ids::{JobId, RunId};
use seatrial_core::job::AttemptRef;
use seatrial_core::metric::{Estimate, Metric};
use seatrial_core::operators::OperatorProfile;
use seatrial_core::outcome::Outcome;
use seatrial_core::reading::Reading;
use seatrial_core::report::{Block, GoldenRecord, Memory, ProcessRecord, Report, SensorTrace, StageRecord};
use seatrial_core::stage::Stage;
use seatrial_core::store::{Completion, Part};
use seatrial_core::time::Timestamp;

use super::fault::Fault;
use super::rows::{Only, Rows, clean, document, integer, number, parse, range, rows, word};
use crate::dialect::{Connection, Db, Pool};

/// An attempt's evidence ready to be written.
pub(crate) struct Evidence {
    attempt: AttemptRef,
    environment: Digest,
    environments: Rows,
    reports: Rows,
    stages: Rows,
    metrics: Vec<MetricEntry>,
    blocks: Vec<Block>,
}

#[derive(Serialize)]
struct EnvironmentRecord {
    digest: Digest,
    document: String,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct ReportRecord {
    job: JobId,
    attempt: u32,
    document: String,
}

/// A report without what is kept beside it: its blocks and its environment.
#[derive(Serialize)]
struct ReportDocument<'a> {
    schema: u32,
    outcome: Outcome,
    message: &'a Option<String>,
    failed_stage: Option<Stage>,
    stages: &'a [StageRecord],
    processes: &'a [ProcessRecord],
    sensors: &'a [SensorTrace],
    actual: &'a Actual,
    golden: &'a [GoldenRecord],
    figures: &'a [Figure],
    determinism: &'a Reading<bool>,
    operators: &'a Reading<OperatorProfile>,
    memory: &'a Reading<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    energy: Option<&'a EnergyRecord>,
    log: &'a str,
    system_log: &'a str,
    bounds_hit: &'a [String],
}

#[derive(Serialize)]
struct StageEntry<'a> {
    job: JobId,
    attempt: u32,
    position: usize,
    stage: Stage,
    process: Option<u8>,
    start_us: i64,
    duration_us: Option<i64>,
    note: Option<Cow<'a, str>>,
}

/// A metric as its row has it: a value or the reason why there is none.
struct MetricEntry {
    position: i64,
    name: String,
    unit: String,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    absent: Option<String>,
}

impl Evidence {
    pub(crate) fn of(completion: &Completion) -> Result<Self, Fault> {
        let AttemptRef { job, attempt } = completion.attempt;
        let Report {
            schema,
            outcome,
            message,
            failed_stage,
            stages,
            processes,
            blocks,
            sensors,
            environment,
            actual,
            golden,
            figures,
            determinism,
            operators,
            memory,
            energy,
            log,
            system_log,
            bounds_hit,
        } = &completion.report;
        let environment = document(environment, "environment")?;
        let digest = Digest::of(environment.as_bytes());
        let report = ReportDocument {
            schema: *schema,
            outcome: *outcome,
            message,
            failed_stage: *failed_stage,
            stages,
            processes,
            sensors,
            actual,
            golden,
            figures,
            determinism,
            operators,
            memory,
            energy: energy.as_ref(),
            log,
            system_log,
            bounds_hit,
        };
        let report = ReportRecord { job, attempt, document: document(&report, "report")? };
        let environments = EnvironmentRecord { digest, document: environment, created_at: completion.received_at };
        let metrics = completion.metrics.iter().enumerate();
        let stages = stages.iter().enumerate();
        Ok(Self {
            attempt: completion.attempt,
            environment: digest,
            environments: Rows::of([environments])?,
            reports: Rows::of([report])?,
            stages: Rows::of(stages.map(|(position, stage)| stage_entry(completion.attempt, position, stage)))?,
            metrics: metrics.map(|(position, metric)| metric_entry(position, metric)).collect(),
            blocks: blocks.clone(),
        })
    }

    pub(crate) const fn environment(&self) -> Digest {
        self.environment
    }

    pub(crate) fn bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|block| block.bytes.len()).sum();
        blocks + self.environments.bytes() + self.reports.bytes() + self.stages.bytes()
    }
}

fn stage_entry(of: AttemptRef, position: usize, record: &StageRecord) -> StageEntry<'_> {
    let StageRecord { stage, process, start_us, duration_us, note } = record;
    StageEntry {
        job: of.job,
        attempt: of.attempt,
        position,
        stage: *stage,
        process: *process,
        start_us: integer(*start_us),
        duration_us: duration_us.map(integer),
        note: note.as_deref().map(clean),
    }
}

/// A value that is no number has no place in a column of numbers: it is absent, and says why.
fn metric_entry(position: usize, metric: &Metric) -> MetricEntry {
    let Metric { name, unit, value } = metric;
    let (name, unit) = (clean(name).into_owned(), clean(unit).into_owned());
    let blank = MetricEntry { position: position as i64, name, unit, value: None, low: None, high: None, absent: None };
    match value {
        Reading::Absent(reason) => MetricEntry { absent: Some(clean(reason).into_owned()), ..blank },
        Reading::Present(Estimate { value, .. }) if !value.is_finite() => {
            MetricEntry { absent: Some(format!("the derived value is {value}")), ..blank }
        }
        Reading::Present(Estimate { value, interval }) => {
            let (low, high) = interval.filter(|(low, high)| low.is_finite() && high.is_finite()).unzip();
            MetricEntry { value: Some(*value), low, high, ..blank }
        }
    }
}

/// Equal surroundings are stored once.
pub(crate) async fn store_environments(tx: &mut Connection, evidence: &[&Evidence]) -> Result<(), Fault> {
    let Some(environments) = Rows::array(evidence.iter().map(|one| &one.environments)) else { return Ok(()) };
    query!(
        "INSERT INTO environments (digest, document, created_at)
         SELECT unhex(entry.value ->> 'digest'), entry.value ->> 'document', CAST(entry.value ->> 'created_at' AS BIGINT)
         FROM json_each(CAST($1 AS TEXT)) AS entry
         WHERE TRUE ON CONFLICT (digest) DO NOTHING",
        environments,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

pub(crate) async fn store(tx: &mut Connection, evidence: &[&Evidence]) -> Result<(), Fault> {
    if let Some(reports) = Rows::array(evidence.iter().map(|one| &one.reports)) {
        query!(
            "INSERT INTO reports (job_id, attempt, document)
             SELECT entry.value ->> 'job', CAST(entry.value ->> 'attempt' AS BIGINT), entry.value ->> 'document'
             FROM json_each(CAST($1 AS TEXT)) AS entry",
            reports,
        )
        .execute(&mut *tx)
        .await?;
    }
    if let Some(stages) = Rows::array(evidence.iter().map(|one| &one.stages)) {
        query!(
            "INSERT INTO stages (job_id, attempt, position, stage, process, start_us, duration_us, note)
             SELECT entry.value ->> 'job', CAST(entry.value ->> 'attempt' AS BIGINT),
                    CAST(entry.value ->> 'position' AS BIGINT), entry.value ->> 'stage',
                    CAST(entry.value ->> 'process' AS BIGINT), CAST(entry.value ->> 'start_us' AS BIGINT),
                    CAST(entry.value ->> 'duration_us' AS BIGINT), entry.value ->> 'note'
             FROM json_each(CAST($1 AS TEXT)) AS entry",
            stages,
        )
        .execute(&mut *tx)
        .await?;
    }
    store_metrics(tx, evidence).await?;
    store_blocks(tx, evidence).await
}

/// Rows a statement. A few sizes, so that each statement is prepared once and fits any number of rows.
const SIZES: [usize; 7] = [100, 50, 20, 10, 5, 2, 1];

/// Cuts rows into pieces of the sizes above, largest first.
fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|&size| size <= rows.len())?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// Numbers are bound as they are: SQLite reads decimal text, such as JSON has, only to about the last bit.
async fn store_metrics(tx: &mut Connection, evidence: &[&Evidence]) -> Result<(), Fault> {
    let all = evidence.iter().flat_map(|one| one.metrics.iter().map(move |metric| (one.attempt, metric)));
    let all: Vec<(AttemptRef, &MetricEntry)> = all.collect();
    for some in pieces(&all) {
        let mut insert = QueryBuilder::<Db>::new(
            "INSERT INTO metrics (job_id, attempt, position, name, unit, value, low, high, absent) ",
        );
        insert.push_values(some, |mut row, (of, metric)| {
            let MetricEntry { position, name, unit, value, low, high, absent } = metric;
            row.push_bind(of.job.to_string()).push_bind(i64::from(of.attempt)).push_bind(*position);
            row.push_bind(name.as_str()).push_bind(unit.as_str());
            row.push_bind(*value).push_bind(*low).push_bind(*high).push_bind(absent.as_deref());
        });
        insert.build().execute(&mut *tx).await?;
    }
    Ok(())
}

/// Bytes are bound, never copied through JSON.
async fn store_blocks(tx: &mut Connection, evidence: &[&Evidence]) -> Result<(), Fault> {
    let all = evidence.iter().flat_map(|one| (0_i64..).zip(&one.blocks).map(move |block| (one.attempt, block)));
    let all: Vec<(AttemptRef, (i64, &Block))> = all.collect();
    for some in pieces(&all) {
        let mut insert = QueryBuilder::<Db>::new(
            "INSERT INTO sample_blocks (job_id, attempt, position, kind, process, count, bytes) ",
        );
        insert.push_values(some, |mut row, (of, (position, block))| {
            row.push_bind(of.job.to_string()).push_bind(i64::from(of.attempt)).push_bind(*position);
            row.push_bind(block.metric.as_str()).push_bind(i64::from(block.process));
            row.push_bind(i64::from(block.count)).push_bind(block.bytes.as_slice());
        });
        insert.build().execute(&mut *tx).await?;
    }
    Ok(())
}

pub(crate) async fn report(pool: &Pool, attempt: AttemptRef) -> Result<Option<String>, Fault> {
    let found = query!(
        r#"SELECT reports.document AS report, environments.document AS environment
           FROM reports
           JOIN attempts ON attempts.job_id = reports.job_id AND attempts.attempt = reports.attempt
           JOIN environments ON environments.digest = attempts.environment_digest
           WHERE reports.job_id = $1 AND reports.attempt = $2"#,
        attempt.job.to_string(),
        i64::from(attempt.attempt),
    )
    .fetch_optional(pool)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let mut report: BTreeMap<String, Value> = parse(&found.report, "report")?;
    report.insert("environment".to_owned(), parse(&found.environment, "environment")?);
    document(&report, "report").map(Some)
}

pub(crate) async fn blocks(pool: &Pool, attempt: AttemptRef) -> Result<Vec<Block>, Fault> {
    let found = query!(
        "SELECT kind, process, count, bytes FROM sample_blocks WHERE job_id = $1 AND attempt = $2 ORDER BY position",
        attempt.job.to_string(),
        i64::from(attempt.attempt),
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        Ok(Block {
            metric: word(&row.kind, "kind of block")?,
            process: number(row.process, "process number")?,
            count: number(row.count, "number of samples")?,
            bytes: row.bytes,
        })
    });
    read.collect()
}

struct MetricRow {
    name: String,
    unit: String,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    absent: Option<String>,
}

impl From<MetricRow> for Metric {
    fn from(row: MetricRow) -> Self {
        let MetricRow { name, unit, value, low, high, absent } = row;
        let value = match value {
            Some(value) => Reading::Present(Estimate { value, interval: low.zip(high) }),
            None => Reading::Absent(absent.unwrap_or_default()),
        };
        Self { name, unit, value }
    }
}

pub(crate) async fn metrics(pool: &Pool, attempt: AttemptRef) -> Result<Vec<Metric>, Fault> {
    let found = sqlx::query_as!(
        MetricRow,
        "SELECT name, unit, value, low, high, absent FROM metrics WHERE job_id = $1 AND attempt = $2 ORDER BY position",
        attempt.job.to_string(),
        i64::from(attempt.attempt),
    )
    .fetch_all(pool)
    .await?;
    Ok(found.into_iter().map(Metric::from).collect())
}

struct RunMetricRow {
    job_id: String,
    name: String,
    unit: String,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    absent: Option<String>,
}

impl RunMetricRow {
    fn read(self) -> Result<(JobId, Metric), Fault> {
        let Self { job_id, name, unit, value, low, high, absent } = self;
        Ok((word(&job_id, "job id")?, MetricRow { name, unit, value, low, high, absent }.into()))
    }
}

macro_rules! select_run_metrics {
    ($condition:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            RunMetricRow,
            "SELECT metrics.job_id, metrics.name, metrics.unit, metrics.value, metrics.low, metrics.high, metrics.absent
             FROM jobs JOIN metrics ON metrics.job_id = jobs.id AND metrics.attempt = jobs.attempt
             WHERE jobs.run_id = $1 AND "
                + $condition
                + " ORDER BY jobs.position, metrics.position",
            $($argument),*
        )
    };
}

pub(crate) async fn run_metrics(pool: &Pool, run: RunId, part: Part) -> Result<Vec<(JobId, Metric)>, Fault> {
    let (from, end) = range(part);
    let found = select_run_metrics!("jobs.position >= $2 AND jobs.position < $3", run.to_string(), from, end)
        .fetch_all(pool)
        .await?;
    found.into_iter().map(RunMetricRow::read).collect()
}

pub(crate) async fn run_metrics_named(pool: &Pool, run: RunId, names: &[&str]) -> Result<Vec<(JobId, Metric)>, Fault> {
    let names: Vec<Only<&str>> = names.iter().map(|&id| Only { id }).collect();
    let found = select_run_metrics!(
        "metrics.name IN (SELECT entry.value ->> 'id' FROM json_each(CAST($2 AS TEXT)) AS entry)",
        run.to_string(),
        rows(&names)?
    )
    .fetch_all(pool)
    .await?;
    found.into_iter().map(RunMetricRow::read).collect()
}
