//! Runs: stored with their jobs and misfits at once, counted, cancelled, finished.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use sqlx::{query, query_scalar};

use seatrial_core::digest::Digest;
use seatrial_core::ids::{
    DatasetVersionId, DeviceId, JobId, PrincipalId, ProjectId, ReservationId, RunId, SubmissionId, VariantId,
};
use seatrial_core::job::AttemptRef;
use seatrial_core::store::{MisfitRow, NewMisfit, NewRun, Part, RunCounts, RunRow, RunState};
use seatrial_core::time::Timestamp;

use super::fault::{Fault, OrConflict};
use super::rows::{Rows, clean, document, integer, number, parse, range, rows, word};
use crate::dialect::{Connection, Pool};

/// A run ready to be written: all but its number.
pub(crate) struct Prepared {
    id: RunId,
    project: ProjectId,
    created_by: PrincipalId,
    created_at: Timestamp,
    suite: String,
    suite_digest: Digest,
    submission: Option<SubmissionId>,
    rerun_of: Option<JobId>,
    priority: i32,
    max_wait: Duration,
    reservation: Option<ReservationId>,
    suite_rows: Rows,
    jobs: Rows,
    job_count: usize,
    misfits: Rows,
}

#[derive(Serialize)]
struct SuiteRecord<'a> {
    digest: Digest,
    document: Cow<'a, str>,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct RunRecord<'a> {
    id: RunId,
    project: ProjectId,
    number: i64,
    suite: &'a str,
    suite_digest: Digest,
    submission: Option<SubmissionId>,
    rerun_of: Option<JobId>,
    priority: i32,
    max_wait_us: i64,
    reservation: Option<ReservationId>,
    created_by: PrincipalId,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct JobRecord {
    id: JobId,
    run: RunId,
    position: usize,
    short: String,
    device: DeviceId,
    variant: VariantId,
    dataset: Option<DatasetVersionId>,
    backend: String,
    profile: &'static str,
    created_at: Timestamp,
    spec: String,
}

#[derive(Serialize)]
struct MisfitRecord<'a> {
    run: RunId,
    position: usize,
    model: Cow<'a, str>,
    variant: Cow<'a, str>,
    dataset: Option<Cow<'a, str>>,
    backend: Cow<'a, str>,
    profile: Cow<'a, str>,
    device: Option<DeviceId>,
    /// With its code and arguments, as a document.
    reason: String,
}

impl Prepared {
    pub(crate) fn new(run: &NewRun) -> Result<Self, Fault> {
        let NewRun {
            id,
            project,
            created_by,
            created_at,
            suite,
            suite_text,
            submission,
            rerun_of,
            priority,
            max_wait,
            reservation,
            jobs,
            misfits,
        } = run;
        let suite_text = clean(suite_text);
        let suite_digest = Digest::of(suite_text.as_bytes());
        let suite_record = SuiteRecord { digest: suite_digest, document: suite_text, created_at: *created_at };
        let job_records = jobs.iter().enumerate().map(|(position, job)| {
            Ok(JobRecord {
                id: job.id,
                run: *id,
                position,
                short: job.id.short(),
                device: job.device,
                variant: job.variant,
                dataset: job.dataset,
                backend: job.spec.backend.to_string(),
                profile: job.spec.profile.kind.as_str(),
                created_at: *created_at,
                spec: document(&job.spec, "job specification")?,
            })
        });
        let job_records: Vec<JobRecord> = job_records.collect::<Result<_, Fault>>()?;
        let misfit_records = misfits.iter().enumerate().map(|(position, misfit)| misfit_record(*id, position, misfit));
        Ok(Self {
            id: *id,
            project: *project,
            created_by: *created_by,
            created_at: *created_at,
            suite: clean(suite).into_owned(),
            suite_digest,
            submission: *submission,
            rerun_of: *rerun_of,
            priority: *priority,
            max_wait: *max_wait,
            reservation: *reservation,
            suite_rows: Rows::of([suite_record])?,
            job_count: job_records.len(),
            jobs: Rows::of(job_records)?,
            misfits: Rows::of(misfit_records.collect::<Result<Vec<_>, Fault>>()?)?,
        })
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.jobs.bytes() + self.misfits.bytes() + self.suite_rows.bytes()
    }
}

fn misfit_record(run: RunId, position: usize, misfit: &NewMisfit) -> Result<MisfitRecord<'_>, Fault> {
    let NewMisfit { model, variant, dataset, backend, profile, device, reason } = misfit;
    Ok(MisfitRecord {
        run,
        position,
        model: clean(model),
        variant: clean(variant),
        dataset: dataset.as_deref().map(clean),
        backend: clean(backend),
        profile: clean(profile),
        device: *device,
        reason: document(reason, "a misfit's reason")?,
    })
}

pub(crate) async fn create(tx: &mut Connection, runs: &[Prepared]) -> Result<Vec<i64>, Fault> {
    let numbers = next_numbers(tx, runs).await?;
    if let Some(suites) = Rows::array(runs.iter().map(|run| &run.suite_rows)) {
        query!(
            "INSERT INTO suites (digest, document, created_at)
             SELECT unhex(entry.value ->> 'digest'), entry.value ->> 'document', CAST(entry.value ->> 'created_at' AS BIGINT)
             FROM json_each(CAST($1 AS TEXT)) AS entry
             WHERE TRUE ON CONFLICT (digest) DO NOTHING",
            suites,
        )
        .execute(&mut *tx)
        .await?;
    }
    insert_runs(tx, runs, &numbers).await?;
    insert_jobs(tx, runs).await?;
    insert_misfits(tx, runs).await?;
    Ok(numbers)
}

/// The next numbers of each run's project; the project's row keeps two writers from taking the same.
async fn next_numbers(tx: &mut Connection, runs: &[Prepared]) -> Result<Vec<i64>, Fault> {
    let mut wanted = BTreeMap::<ProjectId, i64>::new();
    for run in runs {
        *wanted.entry(run.project).or_default() += 1;
    }
    let mut next = BTreeMap::<ProjectId, i64>::new();
    for (project, count) in wanted {
        let last = query_scalar!(
            "UPDATE projects SET last_run = last_run + $2 WHERE id = $1 RETURNING last_run",
            project.to_string(),
            count,
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| Fault::Conflict(format!("project {project} does not exist")))?;
        next.insert(project, last - count);
    }
    let numbers = runs.iter().map(|run| {
        let number = next.entry(run.project).or_default();
        *number += 1;
        *number
    });
    Ok(numbers.collect())
}

async fn insert_runs(tx: &mut Connection, runs: &[Prepared], numbers: &[i64]) -> Result<(), Fault> {
    let records = runs.iter().zip(numbers).map(|(run, &number)| RunRecord {
        id: run.id,
        project: run.project,
        number,
        suite: &run.suite,
        suite_digest: run.suite_digest,
        submission: run.submission,
        rerun_of: run.rerun_of,
        priority: run.priority,
        max_wait_us: integer(run.max_wait.as_micros() as u64),
        reservation: run.reservation,
        created_by: run.created_by,
        created_at: run.created_at,
    });
    let records: Vec<RunRecord<'_>> = records.collect();
    query!(
        "INSERT INTO runs (id, project_id, number, suite, suite_digest, submission, rerun_of, priority, max_wait_us,
                           reservation_id, created_by, created_at, state)
         SELECT entry.value ->> 'id', entry.value ->> 'project', CAST(entry.value ->> 'number' AS BIGINT),
                entry.value ->> 'suite', unhex(entry.value ->> 'suite_digest'), entry.value ->> 'submission',
                entry.value ->> 'rerun_of', CAST(entry.value ->> 'priority' AS BIGINT),
                CAST(entry.value ->> 'max_wait_us' AS BIGINT), entry.value ->> 'reservation', entry.value ->> 'created_by',
                CAST(entry.value ->> 'created_at' AS BIGINT), 'running'
         FROM json_each(CAST($1 AS TEXT)) AS entry",
        rows(&records)?,
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| "the run or its submission is stored already, or its principal does not exist".to_owned())?;
    Ok(())
}

async fn insert_jobs(tx: &mut Connection, runs: &[Prepared]) -> Result<(), Fault> {
    let Some(jobs) = Rows::array(runs.iter().map(|run| &run.jobs)) else { return Ok(()) };
    let expected: usize = runs.iter().map(|run| run.job_count).sum();
    let done = query!(
        "INSERT INTO jobs (id, run_id, position, short, device_id, model_id, variant_id, dataset_version_id, backend,
                           profile, state, attempt, invalid, infrastructure_failures, crashes, agent_deaths, created_at,
                           spec)
         SELECT entry.value ->> 'id', entry.value ->> 'run', CAST(entry.value ->> 'position' AS BIGINT),
                entry.value ->> 'short', entry.value ->> 'device', model_versions.model_id, variants.id,
                entry.value ->> 'dataset', entry.value ->> 'backend', entry.value ->> 'profile', 'queued', 0, FALSE, 0, 0,
                0, CAST(entry.value ->> 'created_at' AS BIGINT), entry.value ->> 'spec'
         FROM json_each(CAST($1 AS TEXT)) AS entry
         JOIN variants ON variants.id = entry.value ->> 'variant'
         JOIN model_versions ON model_versions.id = variants.version_id",
        jobs,
    )
    .execute(&mut *tx)
    .await
    .or_conflict(|| "a job of the run is stored already, or names a device or dataset that does not exist".to_owned())?;
    if done.rows_affected() == expected as u64 {
        Ok(())
    } else {
        Err(Fault::Conflict("a job of the run names a variant that does not exist".to_owned()))
    }
}

async fn insert_misfits(tx: &mut Connection, runs: &[Prepared]) -> Result<(), Fault> {
    let Some(misfits) = Rows::array(runs.iter().map(|run| &run.misfits)) else { return Ok(()) };
    query!(
        "INSERT INTO misfits (run_id, position, model, variant, dataset, backend, profile, device_id, reason)
         SELECT entry.value ->> 'run', CAST(entry.value ->> 'position' AS BIGINT), entry.value ->> 'model',
                entry.value ->> 'variant', entry.value ->> 'dataset', entry.value ->> 'backend', entry.value ->> 'profile',
                entry.value ->> 'device', entry.value ->> 'reason'
         FROM json_each(CAST($1 AS TEXT)) AS entry",
        misfits,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

pub(crate) async fn cancel(
    tx: &mut Connection,
    run: RunId,
    now: Timestamp,
) -> Result<Vec<(AttemptRef, DeviceId)>, Fault> {
    query!(
        "UPDATE runs SET cancelled_at = $2 WHERE id = $1 AND state = 'running' AND cancelled_at IS NULL",
        run.to_string(),
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    query!(
        "UPDATE jobs SET state = 'done', outcome = 'cancelled', finished_at = $2 WHERE run_id = $1 AND state = 'queued'",
        run.to_string(),
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    let held = query!(
        "SELECT id, attempt, device_id FROM jobs WHERE run_id = $1 AND state = 'leased' ORDER BY position",
        run.to_string(),
    )
    .fetch_all(&mut *tx)
    .await?;
    let read = held.into_iter().map(|row| {
        let attempt = AttemptRef { job: word(&row.id, "job id")?, attempt: number(row.attempt, "attempt number")? };
        Ok((attempt, word(&row.device_id, "device id")?))
    });
    read.collect()
}

/// How a run ended.
pub(crate) struct Finish {
    pub(crate) run: RunId,
    pub(crate) gate: Option<String>,
    pub(crate) passed: Option<bool>,
    pub(crate) now: Timestamp,
}

pub(crate) async fn finish(tx: &mut Connection, finish: &Finish) -> Result<bool, Fault> {
    let done = query!(
        "UPDATE runs
         SET state = CASE WHEN cancelled_at IS NULL THEN 'done' ELSE 'cancelled' END, finished_at = $4, gate = $2,
             gate_passed = $3
         WHERE id = $1 AND state = 'running'
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run_id = runs.id AND jobs.state IN ('queued', 'leased'))",
        finish.run.to_string(),
        finish.gate.as_deref(),
        finish.passed,
        finish.now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

struct RunRecordOut {
    id: String,
    number: i64,
    project_id: String,
    suite: String,
    suite_text: String,
    rerun_of: Option<String>,
    created_by: String,
    created_at: i64,
    state: String,
    finished_at: Option<i64>,
    gate: Option<String>,
    gate_passed: Option<bool>,
    queued: Option<i64>,
    leased: Option<i64>,
    ok: Option<i64>,
    fallback: Option<i64>,
    failed: Option<i64>,
    cancelled: Option<i64>,
    quarantined: Option<i64>,
    invalid: Option<i64>,
    misfits: i64,
}

impl RunRecordOut {
    fn read(self) -> Result<RunRow, Fault> {
        // A run without jobs has no row of counts.
        let count = |value: Option<i64>| number(value.unwrap_or(0), "number of jobs");
        Ok(RunRow {
            id: word(&self.id, "run id")?,
            number: self.number,
            project: word(&self.project_id, "project id")?,
            suite: self.suite,
            suite_text: self.suite_text,
            rerun_of: self.rerun_of.map(|job| word(&job, "job id")).transpose()?,
            created_by: self.created_by,
            created_at: Timestamp::from_micros(self.created_at),
            state: state(&self.state)?,
            finished_at: self.finished_at.map(Timestamp::from_micros),
            gate: self.gate,
            gate_passed: self.gate_passed,
            counts: RunCounts {
                queued: count(self.queued)?,
                leased: count(self.leased)?,
                ok: count(self.ok)?,
                fallback: count(self.fallback)?,
                failed: count(self.failed)?,
                cancelled: count(self.cancelled)?,
                quarantined: count(self.quarantined)?,
                misfits: count(Some(self.misfits))?,
                invalid: count(self.invalid)?,
            },
        })
    }
}

fn state(text: &str) -> Result<RunState, Fault> {
    [RunState::Running, RunState::Done, RunState::Cancelled]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| Fault::corrupt("run state", format!("{text:?} is not one")))
}

/// Runs with their counts in one statement; `$page` chooses their ids.
macro_rules! select_runs {
    ($page:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            RunRecordOut,
            r#"SELECT runs.id, runs.number, runs.project_id, runs.suite, suites.document AS suite_text, runs.rerun_of,
                      principals.name AS created_by, runs.created_at, runs.state, runs.finished_at, runs.gate,
                      runs.gate_passed, counts.queued AS "queued?: i64", counts.leased AS "leased?: i64",
                      counts.ok AS "ok?: i64", counts.fallback AS "fallback?: i64", counts.failed AS "failed?: i64",
                      counts.cancelled AS "cancelled?: i64", counts.quarantined AS "quarantined?: i64",
                      counts.invalid AS "invalid?: i64",
                      (SELECT COUNT(*) FROM misfits WHERE misfits.run_id = runs.id) AS "misfits!: i64"
               FROM runs
               JOIN suites ON suites.digest = runs.suite_digest
               JOIN principals ON principals.id = runs.created_by
               LEFT JOIN (
                   SELECT run_id,
                          COUNT(*) FILTER (WHERE state = 'queued') AS queued,
                          COUNT(*) FILTER (WHERE state = 'leased') AS leased,
                          COUNT(*) FILTER (WHERE outcome = 'ok') AS ok,
                          COUNT(*) FILTER (WHERE outcome = 'ok_fallback') AS fallback,
                          COUNT(*) FILTER (WHERE outcome NOT IN ('ok', 'ok_fallback', 'cancelled')) AS failed,
                          COUNT(*) FILTER (WHERE outcome = 'cancelled') AS cancelled,
                          COUNT(*) FILTER (WHERE state = 'quarantined') AS quarantined,
                          COUNT(*) FILTER (WHERE outcome IN ('ok', 'ok_fallback') AND invalid) AS invalid
                   FROM jobs WHERE run_id IN ("#
                + $page
                + ") GROUP BY run_id) AS counts ON counts.run_id = runs.id WHERE runs.id IN ("
                + $page
                + ") ORDER BY runs.number DESC"
            $(, $argument)*
        )
    };
}

pub(crate) async fn page(
    pool: &Pool,
    project: ProjectId,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<RunRow>, Fault> {
    let found = select_runs!(
        "SELECT id FROM runs WHERE project_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
        project.to_string(),
        before.unwrap_or(i64::MAX),
        i64::from(limit)
    )
    .fetch_all(pool)
    .await?;
    found.into_iter().map(RunRecordOut::read).collect()
}

pub(crate) async fn one(pool: &Pool, id: RunId) -> Result<Option<RunRow>, Fault> {
    let found = select_runs!("SELECT id FROM runs WHERE id = $1", id.to_string()).fetch_optional(pool).await?;
    found.map(RunRecordOut::read).transpose()
}

pub(crate) async fn by_number(pool: &Pool, project: ProjectId, number: i64) -> Result<Option<RunRow>, Fault> {
    let found = select_runs!("SELECT id FROM runs WHERE project_id = $1 AND number = $2", project.to_string(), number)
        .fetch_optional(pool)
        .await?;
    found.map(RunRecordOut::read).transpose()
}

pub(crate) async fn by_submission(
    pool: &Pool,
    project: ProjectId,
    submission: SubmissionId,
) -> Result<Option<RunRow>, Fault> {
    let found = select_runs!(
        "SELECT id FROM runs WHERE project_id = $1 AND submission = $2",
        project.to_string(),
        submission.to_string()
    )
    .fetch_optional(pool)
    .await?;
    found.map(RunRecordOut::read).transpose()
}

pub(crate) async fn to_finish(pool: &Pool) -> Result<Vec<RunRow>, Fault> {
    let found = select_runs!(
        "SELECT id FROM runs AS ended
         WHERE state = 'running'
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run_id = ended.id AND jobs.state IN ('queued', 'leased'))"
    )
    .fetch_all(pool)
    .await?;
    found.into_iter().map(RunRecordOut::read).collect()
}

pub(crate) async fn misfits(pool: &Pool, run: RunId, part: Part) -> Result<Vec<MisfitRow>, Fault> {
    let (from, end) = range(part);
    let found = query!(
        r#"SELECT model, variant, dataset, backend, misfits.profile, device_id, devices.name AS "device_name?: String", reason
           FROM misfits LEFT JOIN devices ON devices.id = misfits.device_id
           WHERE run_id = $1 AND position >= $2 AND position < $3 ORDER BY position"#,
        run.to_string(),
        from,
        end,
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        Ok(MisfitRow {
            model: row.model,
            variant: row.variant,
            dataset: row.dataset,
            backend: row.backend,
            profile: row.profile,
            device: row.device_id.map(|device| word(&device, "device id")).transpose()?,
            device_name: row.device_name,
            reason: parse(&row.reason, "a misfit's reason")?,
        })
    });
    read.collect()
}
