//! Failures as rules judge them, and quarantines of what fails together.

use serde::Serialize;
use sqlx::{query, query_scalar};

use seatrial_core::failure::{Death, Failure, TripleVersions};
use seatrial_core::ids::{DeviceId, JobId, PrincipalId, ProjectId, QuarantineId};
use seatrial_core::job::AttemptRef;
use seatrial_core::store::{NewQuarantine, QuarantineRow, Suspect, Unjudged};
use seatrial_core::time::Timestamp;

use super::fault::Fault;
use super::job_rows::outcome;
use super::rows::{Rows, clean, document, number, parse, rows, word};
use crate::dialect::{Connection, Pool};

/// A failure as its columns have it.
pub(crate) fn stored(failure: Option<&Failure>) -> Result<(Option<String>, u32), Fault> {
    let text = failure.map(|failure| document(failure, "failure")).transpose()?;
    Ok((text, failure.map_or(0, |failure| failure.rules)))
}

/// A failure as its column has it.
pub(crate) fn read(text: Option<String>) -> Result<Option<Failure>, Fault> {
    text.map(|text| parse(&text, "failure")).transpose()
}

/// How an agent died, as its column has it.
pub(crate) fn read_death(text: Option<String>) -> Result<Option<Death>, Fault> {
    text.map(|text| parse(&text, "how an agent died")).transpose()
}

pub(crate) async fn unjudged(pool: &Pool, rules: u32, limit: u32) -> Result<Vec<Unjudged>, Fault> {
    let found = query!(
        r#"SELECT attempts.job_id, attempts.attempt, attempts.outcome AS "outcome!: String", attempts.outcome_code,
                  attempts.failed_stage, attempts.message, attempts.death, jobs.backend
           FROM attempts JOIN jobs ON jobs.id = attempts.job_id
           WHERE attempts.failure_rules < $1 AND attempts.outcome IS NOT NULL
             AND attempts.outcome NOT IN ('ok', 'cancelled')
           ORDER BY attempts.failure_rules, attempts.job_id, attempts.attempt LIMIT $2"#,
        i64::from(rules),
        i64::from(limit),
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        let missing = || Fault::corrupt("outcome", "an attempt that has ended has none");
        Ok(Unjudged {
            attempt: AttemptRef { job: word(&row.job_id, "job id")?, attempt: number(row.attempt, "attempt number")? },
            outcome: outcome(Some(&row.outcome), row.outcome_code)?.ok_or_else(missing)?,
            failed_stage: row.failed_stage.map(|stage| word(&stage, "stage")).transpose()?,
            message: row.message,
            backend: row.backend,
            death: read_death(row.death)?,
        })
    });
    read.collect()
}

#[derive(Serialize)]
struct JudgedRecord {
    job: JobId,
    attempt: u32,
    failure: Option<String>,
}

pub(crate) async fn set_failures(
    tx: &mut Connection,
    rules: u32,
    judged: &[(AttemptRef, Option<Failure>)],
) -> Result<(), Fault> {
    let records: Vec<JudgedRecord> = judged
        .iter()
        .map(|(AttemptRef { job, attempt }, failure)| {
            Ok(JudgedRecord { job: *job, attempt: *attempt, failure: stored(failure.as_ref())?.0 })
        })
        .collect::<Result<_, Fault>>()?;
    query!(
        "UPDATE attempts SET failure = judged.failure, failure_rules = $2
         FROM (
             SELECT entry.value ->> 'job' AS job, CAST(entry.value ->> 'attempt' AS BIGINT) AS attempt,
                    entry.value ->> 'failure' AS failure
             FROM json_each(CAST($1 AS TEXT)) AS entry
         ) AS judged
         WHERE attempts.job_id = judged.job AND attempts.attempt = judged.attempt",
        rows(&records)?,
        i64::from(rules),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

#[derive(Serialize)]
struct QuarantineRecord<'a> {
    id: QuarantineId,
    job: JobId,
    attempt: u32,
    device: DeviceId,
    runtime: std::borrow::Cow<'a, str>,
    build: std::borrow::Cow<'a, str>,
    created_at: Timestamp,
}

/// The quarantine that goes with a result, ready to be written.
pub(crate) fn prepared(attempt: AttemptRef, quarantine: Option<&NewQuarantine>) -> Result<Rows, Fault> {
    let AttemptRef { job, attempt } = attempt;
    Rows::of(quarantine.into_iter().map(|NewQuarantine { id, device, versions, created_at }| {
        let TripleVersions { runtime, build } = versions;
        let (runtime, build) = (clean(runtime), clean(build));
        QuarantineRecord { id: *id, job, attempt, device: *device, runtime, build, created_at: *created_at }
    }))
}

/// Quarantines what jobs are about. What is in quarantine already stays as it is.
pub(crate) async fn add(tx: &mut Connection, new: &[&Rows]) -> Result<(), Fault> {
    let Some(records) = Rows::array(new.iter().copied()) else { return Ok(()) };
    query!(
        "INSERT INTO quarantines (id, project_id, device_id, variant_id, backend, runtime, build, job_id, attempt, created_at)
         SELECT entry.value ->> 'id', runs.project_id, entry.value ->> 'device', jobs.variant_id, jobs.backend,
                entry.value ->> 'runtime', entry.value ->> 'build', jobs.id,
                CAST(entry.value ->> 'attempt' AS BIGINT), CAST(entry.value ->> 'created_at' AS BIGINT)
         FROM json_each(CAST($1 AS TEXT)) AS entry
         JOIN jobs ON jobs.id = entry.value ->> 'job'
         JOIN runs ON runs.id = jobs.run_id
         WHERE TRUE
         ON CONFLICT (device_id, variant_id, backend, runtime, build) WHERE lifted_at IS NULL DO NOTHING",
        records,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

pub(crate) async fn suspects(pool: &Pool, device: DeviceId, limit: u32) -> Result<Vec<Suspect>, Fault> {
    let found = query!(
        r#"SELECT jobs.id, jobs.run_id, jobs.spec, quarantines.id AS quarantine, quarantines.runtime, quarantines.build,
                  attempts.failure
           FROM quarantines
           JOIN jobs ON jobs.device_id = quarantines.device_id AND jobs.variant_id = quarantines.variant_id
               AND jobs.backend = quarantines.backend AND jobs.state = 'queued'
           JOIN attempts ON attempts.job_id = quarantines.job_id AND attempts.attempt = quarantines.attempt
           WHERE quarantines.device_id = $1 AND quarantines.lifted_at IS NULL
           ORDER BY jobs.created_at, jobs.id, quarantines.id LIMIT $2"#,
        device.to_string(),
        i64::from(limit),
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        Ok(Suspect {
            job: word(&row.id, "job id")?,
            run: word(&row.run_id, "run id")?,
            spec: row.spec,
            quarantine: word(&row.quarantine, "quarantine id")?,
            versions: TripleVersions { runtime: row.runtime, build: row.build },
            failure: read(row.failure)?,
        })
    });
    read.collect()
}

#[derive(Serialize)]
struct AsideRecord<'a> {
    job: JobId,
    reason: std::borrow::Cow<'a, str>,
}

pub(crate) async fn set_aside(
    tx: &mut Connection,
    jobs: &[(JobId, String)],
    now: Timestamp,
) -> Result<Vec<JobId>, Fault> {
    let records: Vec<AsideRecord<'_>> =
        jobs.iter().map(|(job, reason)| AsideRecord { job: *job, reason: clean(reason) }).collect();
    let ended = query_scalar!(
        r#"UPDATE jobs SET state = 'quarantined', reason = aside.reason, finished_at = $2
           FROM (
               SELECT entry.value ->> 'job' AS job, entry.value ->> 'reason' AS reason
               FROM json_each(CAST($1 AS TEXT)) AS entry
           ) AS aside
           WHERE jobs.id = aside.job AND jobs.state = 'queued'
           RETURNING id AS "id!: String""#,
        rows(&records)?,
        now.as_micros(),
    )
    .fetch_all(&mut *tx)
    .await?;
    ended.iter().map(|id| word(id, "job id")).collect()
}

pub(crate) async fn all(
    pool: &Pool,
    project: ProjectId,
    lifted: bool,
    limit: u32,
) -> Result<Vec<QuarantineRow>, Fault> {
    let found = query!(
        r#"SELECT quarantines.id, quarantines.project_id, quarantines.device_id, devices.name AS device_name,
                  quarantines.variant_id, models.name AS model, model_versions.number AS version,
                  variants.name AS variant, quarantines.backend, quarantines.runtime, quarantines.build,
                  attempts.failure, quarantines.job_id, quarantines.attempt, quarantines.created_at,
                  quarantines.lifted_at, principals.name AS "lifted_by?: String"
           FROM quarantines
           JOIN devices ON devices.id = quarantines.device_id
           JOIN variants ON variants.id = quarantines.variant_id
           JOIN model_versions ON model_versions.id = variants.version_id
           JOIN models ON models.id = model_versions.model_id
           JOIN attempts ON attempts.job_id = quarantines.job_id AND attempts.attempt = quarantines.attempt
           LEFT JOIN principals ON principals.id = quarantines.lifted_by
           WHERE quarantines.project_id = $1 AND ($2 OR quarantines.lifted_at IS NULL)
           ORDER BY quarantines.created_at DESC, quarantines.id DESC LIMIT $3"#,
        project.to_string(),
        lifted,
        i64::from(limit),
    )
    .fetch_all(pool)
    .await?;
    let rows = found.into_iter().map(|row| {
        Ok(QuarantineRow {
            id: word(&row.id, "quarantine id")?,
            project: word(&row.project_id, "project id")?,
            device: word(&row.device_id, "device id")?,
            device_name: row.device_name,
            variant_id: word(&row.variant_id, "variant id")?,
            model: row.model,
            version: number(row.version, "version number")?,
            variant: row.variant,
            backend: row.backend,
            versions: TripleVersions { runtime: row.runtime, build: row.build },
            failure: read(row.failure)?,
            job: word(&row.job_id, "job id")?,
            attempt: number(row.attempt, "attempt number")?,
            created_at: Timestamp::from_micros(row.created_at),
            lifted_at: row.lifted_at.map(Timestamp::from_micros),
            lifted_by: row.lifted_by,
        })
    });
    rows.collect()
}

pub(crate) async fn lift(
    tx: &mut Connection,
    project: ProjectId,
    id: QuarantineId,
    by: PrincipalId,
    now: Timestamp,
) -> Result<bool, Fault> {
    let done = query!(
        "UPDATE quarantines SET lifted_at = $3, lifted_by = $4
         WHERE id = $1 AND project_id = $2 AND lifted_at IS NULL",
        id.to_string(),
        project.to_string(),
        now.as_micros(),
        by.to_string(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
