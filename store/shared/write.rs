//! [`Store`]: each verb is an order for the writer. Verbs that come by the thousand run together.

use async_trait::async_trait;

use seatrial_core::dataset::Binding;
use seatrial_core::device::{DeviceState, Evidence, Labels, Profile};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{
    DatasetVersionId, DeviceId, JobId, ModelVersionId, PrincipalId, ProjectId, QuarantineId, ReservationId, RunId,
    SubmissionId, TokenId, VariantId,
};
use seatrial_core::job::AttemptRef;
use seatrial_core::model::{Signature, SignatureStanding};
use seatrial_core::stage::Stage;
use seatrial_core::store::{
    Accepted, AgentBuildRow, AuditRow, Bootstrap, BootstrapSeed, CanaryRow, Claim, Completion, DeviceRow, GiveBack,
    JobOrigin, NewAgentBuild, NewDatasetVersion, NewEnrolment, NewModelVersion, NewReservation, NewRun,
    NewRuntimePackage, NewToken, OpenJob, ReservationRow, Result, RunRow, ServiceChange, ServiceRow, Store, Suspect,
    TokenRow, Unjudged,
};
use seatrial_core::time::Timestamp;

use super::read::Doing;
use super::{
    Database, agents, artifacts, canaries, datasets, devices, job_rows, jobs, models, people, quarantines, runs,
    runtimes, services,
};

#[async_trait]
impl Store for Database {
    async fn bootstrap(&self, seed: &BootstrapSeed) -> Result<Bootstrap> {
        let doing = "making the first project";
        self.writer.write(doing, seed.clone(), |seed, tx| Box::pin(people::bootstrap(tx, seed))).await
    }

    async fn create_token(&self, token: &NewToken) -> Result<()> {
        self.writer.write("storing a token", token.clone(), |token, tx| Box::pin(people::create_token(tx, token))).await
    }

    async fn token_by_hash(&self, hash: &Digest) -> Result<Option<TokenRow>> {
        people::token_by_hash(&self.read, hash).await.doing("reading a token")
    }

    async fn tokens(&self) -> Result<Vec<TokenRow>> {
        people::tokens(&self.read).await.doing("reading tokens")
    }

    async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<bool> {
        let doing = "revoking a token";
        self.writer.write(doing, (id, now), |&(id, now), tx| Box::pin(people::revoke_token(tx, id, now))).await
    }

    async fn has_people(&self, now: Timestamp) -> Result<bool> {
        people::has_people(&self.read, now).await.doing("looking for tokens")
    }

    async fn knows_people(&self) -> Result<bool> {
        people::knows_people(&self.read).await.doing("looking for tokens")
    }

    async fn create_enrolment(&self, enrolment: &NewEnrolment) -> Result<()> {
        let doing = "storing an enrolment";
        self.writer
            .write(doing, enrolment.clone(), |enrolment, tx| Box::pin(people::create_enrolment(tx, enrolment)))
            .await
    }

    async fn use_enrolment(&self, hash: &Digest, token: &NewToken, now: Timestamp) -> Result<bool> {
        let doing = "using an enrolment";
        self.writer
            .write(doing, (*hash, token.clone(), now), |(hash, token, now), tx| {
                Box::pin(people::use_enrolment(tx, hash, token, *now))
            })
            .await
    }

    async fn bind_token(&self, token: TokenId, device: DeviceId) -> Result<bool> {
        let doing = "binding a token to its device";
        self.writer
            .write(doing, (token, device), |&(token, device), tx| Box::pin(people::bind_token(tx, token, device)))
            .await
    }

    async fn append_audit(&self, entries: &[AuditRow]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let doing = "writing the audit log";
        let bytes = entries.iter().map(|entry| entry.action.len() + entry.object.len()).sum();
        self.writer
            .write_together(doing, entries.to_vec(), bytes, |entries, tx| Box::pin(people::append_audit(tx, entries)))
            .await
    }

    async fn attach_device(
        &self,
        fresh: DeviceId,
        evidence: &Evidence,
        profile: &Profile,
        agent_version: &str,
        now: Timestamp,
    ) -> Result<DeviceRow> {
        let (evidence, profile, agent_version) = (evidence.clone(), profile.clone(), agent_version.to_owned());
        let attach = devices::Attach { fresh, evidence, profile, agent_version, now };
        self.writer.write("attaching a device", attach, |attach, tx| Box::pin(devices::attach(tx, attach))).await
    }

    async fn device_by_evidence(&self, evidence: &Evidence) -> Result<Option<DeviceRow>> {
        devices::by_evidence(&self.read, evidence).await.doing("looking for a device")
    }

    async fn keep_raw_evidence(&self, id: DeviceId, document: &[u8]) -> Result<()> {
        let doing = "keeping the evidence of a device";
        self.writer
            .write(doing, (id, document.to_vec()), |(id, bytes), tx| {
                Box::pin(devices::keep_raw_evidence(tx, *id, bytes))
            })
            .await
    }

    async fn raw_evidence(&self, id: DeviceId) -> Result<Option<Vec<u8>>> {
        devices::raw_evidence(&self.read, id).await.doing("reading the evidence of a device")
    }

    async fn set_device_profile(&self, id: DeviceId, profile: &Profile) -> Result<bool> {
        let doing = "storing the profile of a device";
        self.writer
            .write(doing, (id, profile.clone()), |(id, profile), tx| Box::pin(devices::set_profile(tx, *id, profile)))
            .await
    }

    async fn touch_devices(&self, devices: &[DeviceId], now: Timestamp) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        let doing = "noting devices as seen";
        self.writer
            .write(doing, (devices.to_vec(), now), |(devices, now), tx| Box::pin(devices::touch(tx, devices, *now)))
            .await
    }

    async fn set_device_state(
        &self,
        id: DeviceId,
        from: DeviceState,
        to: DeviceState,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let transition = devices::Transition { device: id, from, to, reason: reason.to_owned(), by: None, now };
        let doing = "changing the state of a device";
        self.writer.write(doing, transition, |transition, tx| Box::pin(devices::set_state(tx, transition))).await
    }

    async fn services_due(&self, now: Timestamp) -> Result<Vec<ServiceRow>> {
        services::due(&self.read, now).await.doing("looking for decisions that have ended")
    }

    async fn decide(&self, changes: &[ServiceChange]) -> Result<bool> {
        let doing = "storing a decision about devices";
        self.writer.write(doing, changes.to_vec(), |changes, tx| Box::pin(services::decide(tx, changes))).await
    }

    async fn reserve(&self, reservation: &NewReservation, changes: &[ServiceChange]) -> Result<bool> {
        let doing = "storing a reservation";
        self.writer
            .write(doing, (reservation.clone(), changes.to_vec()), |(reservation, changes), tx| {
                Box::pin(services::reserve(tx, reservation, changes))
            })
            .await
    }

    async fn reservations(&self, now: Timestamp) -> Result<Vec<ReservationRow>> {
        services::reservations(&self.read, now).await.doing("reading reservations")
    }

    async fn reservation_by_hash(&self, hash: &Digest, now: Timestamp) -> Result<Option<ReservationId>> {
        services::by_hash(&self.read, hash, now).await.doing("looking for a reservation")
    }

    async fn reserved_devices(&self, id: ReservationId) -> Result<Vec<ServiceRow>> {
        services::of_reservation(&self.read, id).await.doing("reading the devices of a reservation")
    }

    async fn end_reservation(&self, id: ReservationId, changes: &[ServiceChange], now: Timestamp) -> Result<bool> {
        let doing = "ending a reservation";
        self.writer
            .write(doing, (id, changes.to_vec(), now), |(id, changes, now), tx| {
                Box::pin(services::end(tx, *id, changes, *now))
            })
            .await
    }

    async fn add_canary(&self, canary: &CanaryRow) -> Result<()> {
        let doing = "storing a health check";
        self.writer.write(doing, canary.clone(), |canary, tx| Box::pin(canaries::add(tx, canary))).await
    }

    async fn set_device_labels(&self, id: DeviceId, labels: &Labels) -> Result<bool> {
        let doing = "labelling a device";
        self.writer
            .write(doing, (id, labels.clone()), |(id, labels), tx| Box::pin(devices::set_labels(tx, *id, labels)))
            .await
    }

    async fn rename_device(&self, id: DeviceId, name: &str) -> Result<bool> {
        let doing = "naming a device";
        self.writer.write(doing, (id, name.to_owned()), |(id, name), tx| Box::pin(devices::rename(tx, *id, name))).await
    }

    async fn put_artifact(&self, digest: &Digest, size: u64, now: Timestamp) -> Result<()> {
        let doing = "recording an artifact";
        self.writer
            .write(doing, (*digest, size, now), |(digest, size, now), tx| {
                Box::pin(artifacts::put(tx, digest, *size, *now))
            })
            .await
    }

    async fn artifacts_present(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        artifacts::present(&self.read, digests).await.doing("looking for artifacts")
    }

    async fn artifact_size(&self, digest: &Digest) -> Result<Option<u64>> {
        artifacts::size(&self.read, digest).await.doing("looking for an artifact")
    }

    async fn unreferenced_artifacts(&self, before: Timestamp, limit: u32) -> Result<Vec<(Digest, u64)>> {
        artifacts::unreferenced(&self.read, before, limit).await.doing("looking for artifacts that nothing holds")
    }

    async fn forget_artifact(&self, digest: &Digest) -> Result<bool> {
        self.writer.write("forgetting an artifact", *digest, |digest, tx| Box::pin(artifacts::forget(tx, digest))).await
    }

    async fn add_model_version(&self, version: &NewModelVersion) -> Result<u32> {
        let doing = "storing a model version";
        self.writer.write(doing, version.clone(), |version, tx| Box::pin(models::add_version(tx, version))).await
    }

    async fn move_alias(
        &self,
        project: ProjectId,
        model: &str,
        alias: &str,
        version: u32,
        by: PrincipalId,
        now: Timestamp,
    ) -> Result<bool> {
        let wish = models::MoveAlias { project, model: model.to_owned(), alias: alias.to_owned(), version, by, now };
        self.writer.write("moving an alias", wish, |wish, tx| Box::pin(models::move_alias(tx, wish))).await
    }

    async fn settle_signature(
        &self,
        variant: VariantId,
        standing: SignatureStanding,
        found: Option<&Signature>,
    ) -> Result<bool> {
        let doing = "settling a signature";
        self.writer
            .write(doing, (variant, standing, found.cloned()), |(variant, standing, found), tx| {
                Box::pin(models::settle_signature(tx, *variant, *standing, found.as_ref()))
            })
            .await
    }

    async fn add_runtime_package(&self, package: &NewRuntimePackage) -> Result<bool> {
        let doing = "storing a runtime package";
        self.writer.write(doing, package.clone(), |package, tx| Box::pin(runtimes::add(tx, package))).await
    }

    async fn add_dataset_version(&self, version: &NewDatasetVersion) -> Result<u32> {
        let doing = "storing a dataset version";
        self.writer.write(doing, version.clone(), |version, tx| Box::pin(datasets::add_version(tx, version))).await
    }

    async fn add_agent_build(&self, build: &NewAgentBuild) -> Result<bool> {
        self.writer
            .write("storing a build of the agent", build.clone(), |build, tx| Box::pin(agents::add(tx, build)))
            .await
    }

    async fn agent_builds(&self) -> Result<Vec<AgentBuildRow>> {
        agents::all(&self.read).await.doing("reading builds of the agent")
    }

    async fn is_newest_agent(&self, digest: &Digest) -> Result<bool> {
        agents::is_newest(&self.read, digest).await.doing("looking for a build of the agent")
    }

    async fn binding(&self, version: ModelVersionId, dataset: Option<DatasetVersionId>) -> Result<Option<Binding>> {
        models::binding(&self.read, version, dataset).await.doing("reading a binding")
    }

    async fn create_run(&self, run: &NewRun) -> Result<i64> {
        let doing = "storing a run";
        let prepared = runs::Prepared::new(run).doing(doing)?;
        let bytes = prepared.bytes();
        self.writer.write_together(doing, prepared, bytes, |runs, tx| Box::pin(runs::create(tx, runs))).await
    }

    async fn run_by_submission(&self, project: ProjectId, submission: SubmissionId) -> Result<Option<RunRow>> {
        runs::by_submission(&self.read, project, submission).await.doing("looking for the run of a submission")
    }

    async fn open_jobs(&self) -> Result<Vec<OpenJob>> {
        jobs::open(&self.read).await.doing("reading open jobs")
    }

    async fn job_origin(&self, id: JobId) -> Result<Option<JobOrigin>> {
        job_rows::origin(&self.read, id).await.doing("reading what a job was made from")
    }

    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<String>>> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let doing = "claiming jobs";
        self.writer.note_together(doing, claims.to_vec(), |claims, tx| Box::pin(jobs::claim(tx, claims))).await
    }

    async fn enter_stage(&self, attempt: AttemptRef, stage: Stage, lease_until: Timestamp) -> Result<bool> {
        let entered = jobs::Entered { job: attempt.job, attempt: attempt.attempt, stage, lease_until };
        let doing = "noting a stage";
        self.writer.note_together(doing, entered, |entered, tx| Box::pin(jobs::enter_stages(tx, entered))).await
    }

    async fn complete(&self, completion: &Completion) -> Result<Accepted> {
        let doing = "storing a result";
        let prepared = jobs::Prepared::new(completion).doing(doing)?;
        let bytes = prepared.bytes();
        self.writer.write_together(doing, prepared, bytes, |results, tx| Box::pin(jobs::complete(tx, results))).await
    }

    async fn give_back(&self, attempt: AttemptRef, give_back: &GiveBack) -> Result<bool> {
        let doing = "giving a job back";
        self.writer
            .write(doing, (attempt, give_back.clone()), |(attempt, give_back), tx| {
                Box::pin(jobs::give_back(tx, *attempt, give_back))
            })
            .await
    }

    async fn suspects(&self, device: DeviceId, limit: u32) -> Result<Vec<Suspect>> {
        quarantines::suspects(&self.read, device, limit).await.doing("looking for jobs of what is quarantined")
    }

    async fn set_aside(&self, jobs: &[(JobId, String)], now: Timestamp) -> Result<Vec<JobId>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.writer
            .write("setting jobs aside", (jobs.to_vec(), now), |(jobs, now), tx| {
                Box::pin(quarantines::set_aside(tx, jobs, *now))
            })
            .await
    }

    async fn give_up(&self, after: AttemptRef, reason: &str, now: Timestamp) -> Result<bool> {
        let doing = "giving up a job that waits";
        self.writer
            .write(doing, (after, reason.to_owned(), now), |(after, reason, now), tx| {
                Box::pin(jobs::give_up(tx, *after, reason, *now))
            })
            .await
    }

    async fn unjudged(&self, rules: u32, limit: u32) -> Result<Vec<Unjudged>> {
        quarantines::unjudged(&self.read, rules, limit).await.doing("looking for failures that older rules have judged")
    }

    async fn set_failures(&self, rules: u32, judged: &[(AttemptRef, Option<Failure>)]) -> Result<()> {
        if judged.is_empty() {
            return Ok(());
        }
        let doing = "storing what rules say of failures";
        self.writer
            .write(doing, (rules, judged.to_vec()), |(rules, judged), tx| {
                Box::pin(quarantines::set_failures(tx, *rules, judged))
            })
            .await
    }

    async fn lift_quarantine(
        &self,
        project: ProjectId,
        id: QuarantineId,
        by: PrincipalId,
        now: Timestamp,
    ) -> Result<bool> {
        self.writer
            .write("lifting a quarantine", (project, id, by, now), |&(project, id, by, now), tx| {
                Box::pin(quarantines::lift(tx, project, id, by, now))
            })
            .await
    }

    async fn cancel_run(&self, run: RunId, now: Timestamp) -> Result<Vec<(AttemptRef, DeviceId)>> {
        self.writer.write("cancelling a run", (run, now), |&(run, now), tx| Box::pin(runs::cancel(tx, run, now))).await
    }

    async fn finish_run(&self, run: RunId, gate: Option<&str>, passed: Option<bool>, now: Timestamp) -> Result<bool> {
        let finish = runs::Finish { run, gate: gate.map(str::to_owned), passed, now };
        self.writer.write("finishing a run", finish, |finish, tx| Box::pin(runs::finish(tx, finish))).await
    }

    async fn runs_to_finish(&self) -> Result<Vec<RunRow>> {
        runs::to_finish(&self.read).await.doing("looking for runs that have ended")
    }

    async fn taken_over(&self) {
        self.writer.taken_over().await;
    }

    async fn take_lease(&self, name: &str, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let doing = "taking a reconciler's lease";
        self.writer
            .write(doing, (name.to_owned(), holder.to_owned(), now, until), |(name, holder, now, until), tx| {
                Box::pin(people::take_lease(tx, name, holder, *now, *until))
            })
            .await
    }
}
