//! Jobs and attempts as pages read them.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{query, query_scalar};

use seatrial_core::ids::{DeviceId, JobId, ProjectId, RunId};
use seatrial_core::job::JobState;
use seatrial_core::outcome::Outcome;
use seatrial_core::report::StageRecord;
use seatrial_core::store::{AttemptRow, JobOrigin, JobRow, Part};
use seatrial_core::time::Timestamp;

use super::fault::Fault;
use super::quarantines;
use super::rows::{clean, number, parse, range, word};
use crate::dialect::Pool;

struct JobRecord {
    id: String,
    short: String,
    project_id: String,
    run_id: String,
    run_number: i64,
    device_id: String,
    device_name: String,
    model: String,
    version: i64,
    variant: String,
    variant_id: String,
    dataset: Option<String>,
    backend: String,
    profile: String,
    state: String,
    attempt: i64,
    job_outcome: Option<String>,
    job_code: Option<i64>,
    attempt_outcome: Option<String>,
    attempt_code: Option<i64>,
    stage: Option<String>,
    ended_at: Option<i64>,
    failed_stage: Option<String>,
    message: Option<String>,
    failure: Option<String>,
    invalid: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

impl JobRecord {
    fn read(self) -> Result<JobRow, Fault> {
        let attempt = number(self.attempt, "attempt number")?;
        let job_outcome = outcome(self.job_outcome.as_deref(), self.job_code)?;
        let attempt_outcome = outcome(self.attempt_outcome.as_deref(), self.attempt_code)?;
        // Of an attempt that runs, where it is; of one that failed, where it failed; of one that passed, nothing.
        let stage = if self.ended_at.is_none() { self.stage } else { self.failed_stage };
        Ok(JobRow {
            id: word(&self.id, "job id")?,
            short: self.short,
            project: word(&self.project_id, "project id")?,
            run: word(&self.run_id, "run id")?,
            run_number: self.run_number,
            device: word(&self.device_id, "device id")?,
            device_name: self.device_name,
            model: self.model,
            version: number(self.version, "version number")?,
            variant: self.variant,
            variant_id: word(&self.variant_id, "variant id")?,
            dataset: self.dataset,
            backend: self.backend,
            profile: self.profile,
            state: state(&self.state, attempt, job_outcome)?,
            attempt,
            stage: stage.map(|stage| word(&stage, "stage")).transpose()?,
            outcome: job_outcome.or(attempt_outcome),
            message: self.message,
            failure: quarantines::read(self.failure)?,
            invalid: self.invalid.map(|reasons| parse(&reasons, "reasons")).transpose()?.unwrap_or_default(),
            created_at: Timestamp::from_micros(self.created_at),
            started_at: self.started_at.map(Timestamp::from_micros),
            finished_at: self.finished_at.map(Timestamp::from_micros),
        })
    }
}

fn state(text: &str, attempt: u32, outcome: Option<Outcome>) -> Result<JobState, Fault> {
    match (text, outcome) {
        ("queued", _) => Ok(JobState::Queued),
        ("leased", _) => Ok(JobState::Leased { attempt }),
        ("done", Some(outcome)) => Ok(JobState::Done { outcome }),
        ("quarantined", _) => Ok(JobState::Quarantined),
        (other, outcome) => Err(Fault::corrupt("job state", format!("{other:?} with outcome {outcome:?} is none"))),
    }
}

pub(crate) fn outcome(class: Option<&str>, code: Option<i64>) -> Result<Option<Outcome>, Fault> {
    let Some(class) = class else { return Ok(None) };
    let code = code.map(|code| number(code, "signal or exit code")).transpose()?;
    let outcome = Outcome::from_class(class, code);
    outcome.map(Some).ok_or_else(|| Fault::corrupt("outcome", format!("{class:?} with code {code:?} is none")))
}

macro_rules! select_jobs {
    ($tail:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            JobRecord,
            r#"SELECT jobs.id, jobs.short, runs.project_id, jobs.run_id, runs.number AS run_number, jobs.device_id,
                      devices.name AS device_name, models.name AS model, model_versions.number AS version,
                      variants.name AS variant, jobs.variant_id, datasets.name AS "dataset?: String", jobs.backend,
                      jobs.profile, jobs.state, jobs.attempt, jobs.outcome AS job_outcome, jobs.outcome_code AS job_code,
                      attempts.outcome AS "attempt_outcome?: String", attempts.outcome_code AS "attempt_code?: i64",
                      attempts.stage AS "stage?: String", attempts.ended_at AS "ended_at?: i64",
                      attempts.failed_stage AS "failed_stage?: String", COALESCE(jobs.reason, attempts.message) AS "message?: String",
                      attempts.failure AS "failure?: String", attempts.invalid AS "invalid?: String", jobs.created_at, jobs.started_at, jobs.finished_at
               FROM jobs
               JOIN runs ON runs.id = jobs.run_id
               JOIN devices ON devices.id = jobs.device_id
               JOIN models ON models.id = jobs.model_id
               JOIN variants ON variants.id = jobs.variant_id
               JOIN model_versions ON model_versions.id = variants.version_id
               LEFT JOIN dataset_versions ON dataset_versions.id = jobs.dataset_version_id
               LEFT JOIN datasets ON datasets.id = dataset_versions.dataset_id
               LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt = jobs.attempt "#
                + $tail
            $(, $argument)*
        )
    };
}

fn read(found: Vec<JobRecord>) -> Result<Vec<JobRow>, Fault> {
    found.into_iter().map(JobRecord::read).collect()
}

pub(crate) async fn of_run(pool: &Pool, run: RunId, part: Part) -> Result<Vec<JobRow>, Fault> {
    let (from, end) = range(part);
    let found = select_jobs!(
        "WHERE jobs.run_id = $1 AND jobs.position >= $2 AND jobs.position < $3 ORDER BY jobs.position",
        run.to_string(),
        from,
        end
    );
    read(found.fetch_all(pool).await?)
}

pub(crate) async fn one(pool: &Pool, id: JobId) -> Result<Option<JobRow>, Fault> {
    select_jobs!("WHERE jobs.id = $1", id.to_string()).fetch_optional(pool).await?.map(JobRecord::read).transpose()
}

/// The last finished one of every device.
pub(crate) async fn last(pool: &Pool) -> Result<Vec<JobRow>, Fault> {
    let found = select_jobs!(
        "WHERE jobs.id IN (
             SELECT (SELECT last.id FROM jobs AS last
                     WHERE last.device_id = devices.id AND last.finished_at IS NOT NULL
                     ORDER BY last.finished_at DESC LIMIT 1)
             FROM devices)"
    );
    read(found.fetch_all(pool).await?)
}

pub(crate) async fn by_short_id(pool: &Pool, short: &str) -> Result<Vec<JobRow>, Fault> {
    read(select_jobs!("WHERE jobs.short = $1 ORDER BY jobs.id DESC", &*clean(short)).fetch_all(pool).await?)
}

pub(crate) async fn of_device(pool: &Pool, device: DeviceId, limit: u32) -> Result<Vec<JobRow>, Fault> {
    let found = select_jobs!(
        "WHERE jobs.device_id = $1 AND jobs.finished_at IS NOT NULL ORDER BY jobs.finished_at DESC LIMIT $2",
        device.to_string(),
        i64::from(limit)
    );
    read(found.fetch_all(pool).await?)
}

pub(crate) async fn of_model(pool: &Pool, project: ProjectId, model: &str, limit: u32) -> Result<Vec<JobRow>, Fault> {
    let found = select_jobs!(
        "WHERE jobs.model_id = (SELECT id FROM models WHERE project_id = $1 AND name = $2)
           AND jobs.finished_at IS NOT NULL
         ORDER BY jobs.finished_at DESC LIMIT $3",
        project.to_string(),
        &*clean(model),
        i64::from(limit)
    );
    read(found.fetch_all(pool).await?)
}

pub(crate) async fn origin(pool: &Pool, id: JobId) -> Result<Option<JobOrigin>, Fault> {
    let found = query!(
        "SELECT jobs.spec, jobs.dataset_version_id, devices.state AS device_state, runs.suite, runs.max_wait_us,
                suites.document AS suite_text
         FROM jobs
         JOIN devices ON devices.id = jobs.device_id
         JOIN runs ON runs.id = jobs.run_id
         JOIN suites ON suites.digest = runs.suite_digest
         WHERE jobs.id = $1",
        id.to_string(),
    )
    .fetch_optional(pool)
    .await?;
    let read = found.map(|row| {
        Ok(JobOrigin {
            spec: row.spec,
            dataset: row.dataset_version_id.map(|version| word(&version, "dataset version id")).transpose()?,
            device_state: word(&row.device_state, "device state")?,
            suite: row.suite,
            suite_text: row.suite_text,
            max_wait: Duration::from_micros(number(row.max_wait_us, "longest wait")?),
        })
    });
    read.transpose()
}

pub(crate) async fn spec(pool: &Pool, id: JobId) -> Result<Option<String>, Fault> {
    Ok(query_scalar!("SELECT spec FROM jobs WHERE id = $1", id.to_string()).fetch_optional(pool).await?)
}

pub(crate) async fn attempts(pool: &Pool, job: JobId) -> Result<Vec<AttemptRow>, Fault> {
    let mut stages = stages(pool, job).await?;
    let found = query!(
        "SELECT attempt, device_id, granted_at, lease_until, ended_at, outcome, outcome_code, failed_stage, message, failure,
                death, invalid
         FROM attempts WHERE job_id = $1 ORDER BY attempt",
        job.to_string(),
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        Ok(AttemptRow {
            attempt: number(row.attempt, "attempt number")?,
            device: word(&row.device_id, "device id")?,
            granted_at: Timestamp::from_micros(row.granted_at),
            lease_until: Timestamp::from_micros(row.lease_until),
            ended_at: row.ended_at.map(Timestamp::from_micros),
            outcome: outcome(row.outcome.as_deref(), row.outcome_code)?,
            failed_stage: row.failed_stage.map(|stage| word(&stage, "stage")).transpose()?,
            message: row.message,
            failure: quarantines::read(row.failure)?,
            death: quarantines::read_death(row.death)?,
            invalid: parse(&row.invalid, "reasons")?,
            stages: stages.remove(&row.attempt).unwrap_or_default(),
        })
    });
    read.collect()
}

/// The stages of every attempt of a job, by attempt.
async fn stages(pool: &Pool, job: JobId) -> Result<HashMap<i64, Vec<StageRecord>>, Fault> {
    let found = query!(
        "SELECT attempt, stage, process, start_us, duration_us, note FROM stages WHERE job_id = $1 ORDER BY attempt, position",
        job.to_string(),
    )
    .fetch_all(pool)
    .await?;
    let mut stages = HashMap::<i64, Vec<StageRecord>>::new();
    for row in found {
        stages.entry(row.attempt).or_default().push(StageRecord {
            stage: word(&row.stage, "stage")?,
            process: row.process.map(|process| number(process, "process number")).transpose()?,
            start_us: number(row.start_us, "offset")?,
            duration_us: row.duration_us.map(|duration| number(duration, "duration")).transpose()?,
            note: row.note,
        });
    }
    Ok(stages)
}
