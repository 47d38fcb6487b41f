//! Jobs: claimed, moved through their stages, completed or given back; always by compare-and-set.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use sqlx::{query, query_scalar};

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{DeviceId, JobId};
use seatrial_core::job::AttemptRef;
use seatrial_core::outcome::{Outcome, Verdict};
use seatrial_core::stage::Stage;
use seatrial_core::store::{Accepted, Claim, Completion, GiveBack, JobNext, OpenJob};
use seatrial_core::time::Timestamp;

use super::evidence::{self, Evidence};
use super::fault::Fault;
use super::quarantines;
use super::rows::{Only, Rows, clean, document, number, rounds, rows, word};
use crate::dialect::{Connection, Pool};

/// Jobs that are not over, oldest first.
pub(crate) async fn open(pool: &Pool) -> Result<Vec<OpenJob>, Fault> {
    let found = query!(
        r#"SELECT jobs.id, jobs.run_id, jobs.device_id, runs.priority, jobs.created_at, jobs.attempt,
                  jobs.infrastructure_failures, jobs.crashes, jobs.agent_deaths, runs.max_wait_us, runs.reservation_id,
                  runs.cancelled_at IS NOT NULL AS "cancelled!: bool",
                  attempts.lease_until AS "lease_until?: i64"
           FROM jobs
           JOIN runs ON runs.id = jobs.run_id
           LEFT JOIN attempts
               ON jobs.state = 'leased' AND attempts.job_id = jobs.id AND attempts.attempt = jobs.attempt
           WHERE jobs.state IN ('queued', 'leased')
           ORDER BY jobs.created_at, jobs.run_id, jobs.position"#,
    )
    .fetch_all(pool)
    .await?;
    let read = found.into_iter().map(|row| {
        Ok(OpenJob {
            job: word(&row.id, "job id")?,
            run: word(&row.run_id, "run id")?,
            device: word(&row.device_id, "device id")?,
            priority: number(row.priority, "priority")?,
            created_at: Timestamp::from_micros(row.created_at),
            attempt: number(row.attempt, "attempt number")?,
            infrastructure_failures: number(row.infrastructure_failures, "number of failures")?,
            crashes: number(row.crashes, "number of crashes")?,
            agent_deaths: number(row.agent_deaths, "number of agent deaths")?,
            max_wait: Duration::from_micros(number(row.max_wait_us, "longest wait")?),
            reservation: row.reservation_id.map(|id| word(&id, "reservation id")).transpose()?,
            cancelled: row.cancelled,
            leased_until: row.lease_until.map(Timestamp::from_micros),
        })
    });
    read.collect()
}

#[derive(Serialize)]
struct ClaimRecord {
    job: JobId,
    attempt: u32,
    device: DeviceId,
    granted_at: Timestamp,
    lease_until: Timestamp,
}

impl From<&Claim> for ClaimRecord {
    fn from(claim: &Claim) -> Self {
        let Claim { attempt, device, granted_at, lease_until } = *claim;
        Self { job: attempt.job, attempt: attempt.attempt, device, granted_at, lease_until }
    }
}

pub(crate) async fn claim(tx: &mut Connection, asked: &[Vec<Claim>]) -> Result<Vec<Vec<Option<String>>>, Fault> {
    let mut answers: Vec<Vec<Option<String>>> = asked.iter().map(|claims| vec![None; claims.len()]).collect();
    let claims = asked
        .iter()
        .enumerate()
        .flat_map(|(caller, claims)| claims.iter().enumerate().map(move |(index, claim)| (caller, index, claim)));
    for round in rounds(claims, |(_, _, claim)| claim.attempt.job) {
        let mut won = claim_round(tx, &round.iter().map(|&(_, _, claim)| claim).collect::<Vec<_>>()).await?;
        for (caller, index, claim) in round {
            answers[caller][index] = won.remove(&claim.attempt.job.to_string());
        }
    }
    Ok(answers)
}

/// The jobs that were claimed, with their specifications.
async fn claim_round(tx: &mut Connection, claims: &[&Claim]) -> Result<HashMap<String, String>, Fault> {
    let records: Vec<ClaimRecord> = claims.iter().map(|&claim| claim.into()).collect();
    let won = query!(
        r#"UPDATE jobs
           SET state = 'leased', attempt = claim.attempt, started_at = COALESCE(jobs.started_at, claim.granted_at)
           FROM (
               SELECT entry.value ->> 'job' AS job, entry.value ->> 'device' AS device,
                      CAST(entry.value ->> 'attempt' AS BIGINT) AS attempt,
                      CAST(entry.value ->> 'granted_at' AS BIGINT) AS granted_at
               FROM json_each(CAST($1 AS TEXT)) AS entry
           ) AS claim
           WHERE jobs.id = claim.job AND jobs.state = 'queued' AND jobs.attempt = claim.attempt - 1
             AND jobs.device_id = claim.device
           RETURNING id AS "id!: String", spec AS "spec!: String""#,
        rows(&records)?,
    )
    .fetch_all(&mut *tx)
    .await?;
    let won: HashMap<String, String> = won.into_iter().map(|row| (row.id, row.spec)).collect();
    let winners: Vec<ClaimRecord> =
        records.into_iter().filter(|record| won.contains_key(&record.job.to_string())).collect();
    if winners.is_empty() {
        return Ok(won);
    }
    query!(
        "INSERT INTO attempts (job_id, attempt, device_id, granted_at, lease_until, invalid, agent_death)
         SELECT entry.value ->> 'job', CAST(entry.value ->> 'attempt' AS BIGINT), entry.value ->> 'device',
                CAST(entry.value ->> 'granted_at' AS BIGINT), CAST(entry.value ->> 'lease_until' AS BIGINT), '[]', FALSE
         FROM json_each(CAST($1 AS TEXT)) AS entry",
        rows(&winners)?,
    )
    .execute(&mut *tx)
    .await?;
    Ok(won)
}

/// An attempt enters a stage.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Entered {
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    pub(crate) stage: Stage,
    pub(crate) lease_until: Timestamp,
}

pub(crate) async fn enter_stages(tx: &mut Connection, asked: &[Entered]) -> Result<Vec<bool>, Fault> {
    let mut answers = vec![false; asked.len()];
    for round in rounds(asked.iter().enumerate(), |(_, entered)| entered.job) {
        let records: Vec<&Entered> = round.iter().map(|&(_, entered)| entered).collect();
        let moved = query_scalar!(
            r#"UPDATE attempts SET stage = entered.stage, lease_until = entered.lease_until
               FROM (
                   SELECT entry.value ->> 'job' AS job, CAST(entry.value ->> 'attempt' AS BIGINT) AS attempt,
                          entry.value ->> 'stage' AS stage, CAST(entry.value ->> 'lease_until' AS BIGINT) AS lease_until
                   FROM json_each(CAST($1 AS TEXT)) AS entry
               ) AS entered
               JOIN jobs ON jobs.id = entered.job AND jobs.attempt = entered.attempt AND jobs.state = 'leased'
               WHERE attempts.job_id = entered.job AND attempts.attempt = entered.attempt
               RETURNING job_id AS "id!: String""#,
            rows(&records)?,
        )
        .fetch_all(&mut *tx)
        .await?;
        for (index, entered) in round {
            answers[index] = moved.contains(&entered.job.to_string());
        }
    }
    Ok(answers)
}

/// The end of an attempt and what becomes of its job.
#[derive(Serialize)]
pub(crate) struct Release {
    job: JobId,
    attempt: u32,
    /// Who must hold it, when that is known.
    device: Option<DeviceId>,
    now: Timestamp,
    state: &'static str,
    job_outcome: Option<&'static str>,
    job_code: Option<i32>,
    /// Set while the job is not over.
    job_ended: Option<Timestamp>,
    job_invalid: bool,
    infrastructure: u8,
    crash: u8,
    agent_death: bool,
    outcome: &'static str,
    code: Option<i32>,
    failed_stage: Option<Stage>,
    message: Option<String>,
    failure: Option<String>,
    failure_rules: u32,
    death: Option<String>,
    invalid: String,
    algorithm: Option<String>,
    environment: Option<Digest>,
}

impl Release {
    /// `verdict` is what follows from how it ended: what it counts as.
    fn new(attempt: AttemptRef, outcome: Outcome, verdict: Verdict, next: JobNext, now: Timestamp) -> Self {
        let (state, job_outcome) = match next {
            JobNext::Done(outcome) => ("done", Some(outcome)),
            JobNext::Queued => ("queued", None),
            JobNext::Quarantined => ("quarantined", None),
        };
        let (infrastructure, crash) = match verdict {
            Verdict::Retry => (1, 0),
            Verdict::Repeat => (0, 1),
            Verdict::Done => (0, 0),
        };
        Self {
            job: attempt.job,
            attempt: attempt.attempt,
            device: None,
            now,
            state,
            job_outcome: job_outcome.map(Outcome::class),
            job_code: job_outcome.and_then(Outcome::code),
            job_ended: (next != JobNext::Queued).then_some(now),
            job_invalid: false,
            infrastructure,
            crash,
            agent_death: false,
            outcome: outcome.class(),
            code: outcome.code(),
            failed_stage: None,
            message: None,
            failure: None,
            failure_rules: 0,
            death: None,
            invalid: "[]".to_owned(),
            algorithm: None,
            environment: None,
        }
    }

    fn given_back(attempt: AttemptRef, give_back: &GiveBack) -> Result<Self, Fault> {
        let GiveBack { outcome, message, failure, death, quarantine: _, next, verdict, agent_death, now } = give_back;
        let message = Some(clean(message).into_owned());
        let (failure, failure_rules) = quarantines::stored(failure.as_ref())?;
        Ok(Self {
            message,
            failure,
            failure_rules,
            death: death.as_ref().map(|death| document(death, "how an agent died")).transpose()?,
            agent_death: *agent_death,
            ..Self::new(attempt, *outcome, *verdict, *next, *now)
        })
    }

    fn completed(completion: &Completion, environment: Digest) -> Result<Self, Fault> {
        let Completion {
            attempt,
            device,
            received_at,
            report: _,
            outcome,
            message,
            failed_stage,
            failure,
            quarantine: _,
            metrics: _,
            invalid,
            algorithm,
            next,
        } = completion;
        let verdict = failure.as_ref().map_or(outcome.verdict(0), Failure::verdict);
        let (failure, failure_rules) = quarantines::stored(failure.as_ref())?;
        Ok(Self {
            device: Some(*device),
            job_invalid: !invalid.is_empty(),
            failed_stage: *failed_stage,
            message: message.as_deref().map(|message| clean(message).into_owned()),
            failure,
            failure_rules,
            invalid: document(invalid, "reasons")?,
            algorithm: Some(clean(algorithm).into_owned()),
            environment: Some(environment),
            ..Self::new(*attempt, *outcome, verdict, *next, *received_at)
        })
    }
}

/// A result ready to be written.
pub(crate) struct Prepared {
    release: Release,
    evidence: Evidence,
    quarantine: Rows,
}

impl Prepared {
    pub(crate) fn new(completion: &Completion) -> Result<Self, Fault> {
        let evidence = Evidence::of(completion)?;
        let release = Release::completed(completion, evidence.environment())?;
        let quarantine = quarantines::prepared(completion.attempt, completion.quarantine.as_ref())?;
        Ok(Self { release, evidence, quarantine })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.evidence.bytes() + self.quarantine.bytes()
    }
}

pub(crate) async fn complete(tx: &mut Connection, results: &[Prepared]) -> Result<Vec<Accepted>, Fault> {
    let mut answers = vec![Accepted::Unknown; results.len()];
    for round in rounds(results.iter().enumerate(), |(_, result)| result.release.job) {
        let releases: Vec<&Release> = round.iter().map(|(_, result)| &result.release).collect();
        let won = release_jobs(tx, &releases).await?;
        let (stored, refused): (Vec<_>, Vec<_>) =
            round.into_iter().partition(|(_, result)| won.contains(&result.release.job.to_string()));
        if !stored.is_empty() {
            let evidence: Vec<&Evidence> = stored.iter().map(|(_, result)| &result.evidence).collect();
            evidence::store_environments(tx, &evidence).await?;
            end_attempts(tx, &stored.iter().map(|(_, result)| &result.release).collect::<Vec<_>>()).await?;
            evidence::store(tx, &evidence).await?;
            quarantines::add(tx, &stored.iter().map(|(_, result)| &result.quarantine).collect::<Vec<_>>()).await?;
        }
        for (index, _) in stored {
            answers[index] = Accepted::Stored;
        }
        for (index, result) in refused {
            answers[index] = why_refused(tx, &result.release).await?;
        }
    }
    Ok(answers)
}

pub(crate) async fn give_back(tx: &mut Connection, attempt: AttemptRef, give_back: &GiveBack) -> Result<bool, Fault> {
    let release = Release::given_back(attempt, give_back)?;
    let held = !release_jobs(tx, &[&release]).await?.is_empty();
    if held {
        end_attempts(tx, &[&release]).await?;
        quarantines::add(tx, &[&quarantines::prepared(attempt, give_back.quarantine.as_ref())?]).await?;
    }
    Ok(held)
}

pub(crate) async fn give_up(
    tx: &mut Connection,
    after: AttemptRef,
    reason: &str,
    now: Timestamp,
) -> Result<bool, Fault> {
    let done = query!(
        "UPDATE jobs SET state = 'done', outcome = 'device_lost', reason = $3, finished_at = $4
         WHERE id = $1 AND attempt = $2 AND state = 'queued'",
        after.job.to_string(),
        i64::from(after.attempt),
        &*clean(reason),
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes the jobs from the attempts that hold them, and gives the ids of those that were held.
async fn release_jobs(tx: &mut Connection, releases: &[&Release]) -> Result<HashSet<String>, Fault> {
    let held = query_scalar!(
        r#"UPDATE jobs
           SET state = release.state, outcome = release.outcome, outcome_code = release.code,
               finished_at = release.ended, invalid = release.invalid,
               infrastructure_failures = jobs.infrastructure_failures + release.infrastructure,
               crashes = jobs.crashes + release.crash,
               agent_deaths = jobs.agent_deaths + CASE WHEN release.agent_death THEN 1 ELSE 0 END
           FROM (
               SELECT entry.value ->> 'job' AS job, CAST(entry.value ->> 'attempt' AS BIGINT) AS attempt,
                      entry.value ->> 'device' AS device, entry.value ->> 'state' AS state,
                      entry.value ->> 'job_outcome' AS outcome, CAST(entry.value ->> 'job_code' AS BIGINT) AS code,
                      CAST(entry.value ->> 'job_ended' AS BIGINT) AS ended,
                      CAST(entry.value ->> 'job_invalid' AS BOOLEAN) AS invalid,
                      CAST(entry.value ->> 'infrastructure' AS BIGINT) AS infrastructure,
                      CAST(entry.value ->> 'crash' AS BIGINT) AS crash,
                      CAST(entry.value ->> 'agent_death' AS BOOLEAN) AS agent_death
               FROM json_each(CAST($1 AS TEXT)) AS entry
           ) AS release
           WHERE jobs.id = release.job AND jobs.state = 'leased' AND jobs.attempt = release.attempt
             AND (release.device IS NULL OR jobs.device_id = release.device)
           RETURNING id AS "id!: String""#,
        rows(releases)?,
    )
    .fetch_all(&mut *tx)
    .await?;
    end_with_cancelled_run(tx, releases, &held).await?;
    Ok(held.into_iter().collect())
}

/// A job that would be queued again ends instead, if its run was cancelled while it was held.
async fn end_with_cancelled_run(tx: &mut Connection, releases: &[&Release], held: &[String]) -> Result<(), Fault> {
    let queued = releases.iter().filter(|release| release.job_ended.is_none());
    let queued: Vec<&&Release> = queued.filter(|release| held.contains(&release.job.to_string())).collect();
    let Some(now) = queued.iter().map(|release| release.now).max() else { return Ok(()) };
    let jobs: Vec<Only<JobId>> = queued.iter().map(|release| Only { id: release.job }).collect();
    query!(
        "UPDATE jobs SET state = 'done', outcome = 'cancelled', finished_at = $2
         WHERE id IN (SELECT entry.value ->> 'id' FROM json_each(CAST($1 AS TEXT)) AS entry) AND state = 'queued'
           AND EXISTS (SELECT 1 FROM runs WHERE runs.id = jobs.run_id AND runs.cancelled_at IS NOT NULL)",
        rows(&jobs)?,
        now.as_micros(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn end_attempts(tx: &mut Connection, releases: &[&Release]) -> Result<(), Fault> {
    query!(
        "UPDATE attempts
         SET ended_at = ending.ended_at, outcome = ending.outcome, outcome_code = ending.code,
             failed_stage = ending.failed_stage, message = ending.message, failure = ending.failure,
             failure_rules = ending.failure_rules, death = ending.death, invalid = ending.invalid,
             agent_death = ending.agent_death, algorithm = ending.algorithm, environment_digest = ending.environment
         FROM (
             SELECT entry.value ->> 'job' AS job, CAST(entry.value ->> 'attempt' AS BIGINT) AS attempt,
                    CAST(entry.value ->> 'now' AS BIGINT) AS ended_at, entry.value ->> 'outcome' AS outcome,
                    CAST(entry.value ->> 'code' AS BIGINT) AS code, entry.value ->> 'failed_stage' AS failed_stage,
                    entry.value ->> 'message' AS message, entry.value ->> 'failure' AS failure,
                    CAST(entry.value ->> 'failure_rules' AS BIGINT) AS failure_rules, entry.value ->> 'death' AS death,
                    entry.value ->> 'invalid' AS invalid,
                    CAST(entry.value ->> 'agent_death' AS BOOLEAN) AS agent_death,
                    entry.value ->> 'algorithm' AS algorithm, unhex(entry.value ->> 'environment') AS environment
             FROM json_each(CAST($1 AS TEXT)) AS entry
         ) AS ending
         WHERE attempts.job_id = ending.job AND attempts.attempt = ending.attempt",
        rows(releases)?,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn why_refused(tx: &mut Connection, release: &Release) -> Result<Accepted, Fault> {
    let known = query_scalar!("SELECT attempt FROM jobs WHERE id = $1", release.job.to_string())
        .fetch_optional(&mut *tx)
        .await?;
    if known.is_none() {
        return Ok(Accepted::Unknown);
    }
    let stored = query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM reports JOIN attempts ON attempts.job_id = reports.job_id AND attempts.attempt = reports.attempt
               WHERE reports.job_id = $1 AND reports.attempt = $2 AND attempts.device_id = $3) AS "stored!: bool""#,
        release.job.to_string(),
        i64::from(release.attempt),
        release.device.map(|device| device.to_string()),
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(if stored { Accepted::Duplicate } else { Accepted::Stale })
}
