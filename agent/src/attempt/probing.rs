//! A library that is new here, or was asked too long ago, is asked in a child of its own what it really offers on this device.

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_core::backend::Accelerator;
use seatrial_core::device::RuntimeOffer;
use seatrial_core::job::Limits;
use seatrial_core::outcome::Outcome;
use seatrial_core::runtimes::{PackageKind, RuntimePackage};
use seatrial_core::stage::Stage;

use super::process::{self, Ended, Launch, ProcessError};
use super::{Attempt, Failure};
use crate::child::spec::{ChildSpec, Task};
use crate::probes::Moment;

/// A library that takes longer to load and to say what it has is not waited for.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of the words of a library that could not be asked.
const MAX_REASON_BYTES: usize = 512;
/// Name of the fact of a job's environment.
const FACT: &str = "runtime_offers";

impl Attempt<'_> {
    /// Notes what the package offers. Nothing of this job is decided by it: what is wrong with the package meets the
    /// job's own children too, and counts there.
    pub(super) fn probe_package(&mut self) -> Result<(), Failure> {
        let package = self.order.spec.package.as_ref();
        let library = package.filter(|package| matches!(package.kind, PackageKind::Library { .. }));
        let (Some(probes), Some(package)) = (&self.order.probes, library) else { return Ok(()) };
        let asked = Moment::now(&self.order.root);
        let offer = if let Some(offer) = probes.known(package, &asked) {
            offer
        } else {
            let answer = self.ask(package);
            self.check_stop(Stage::Prepare)?;
            let offer = answer.unwrap_or_else(|why| unknown(package, &why));
            if let Err(error) = probes.keep(package, &offer, asked) {
                tracing::warn!(%package, %error, "what it offers cannot be remembered; it will be asked again");
            }
            offer
        };
        self.journal.environment.facts.insert(FACT.to_owned(), offer.to_string());
        Ok(())
    }

    fn ask(&self, package: &RuntimePackage) -> Result<RuntimeOffer, String> {
        let folder = self.order.folder.join("probe");
        let spec = ChildSpec { out: folder, ..self.child_spec(0, Task::Probe) };
        let own = self.order.spec.limits.clone();
        let deadlines = BTreeMap::from([Stage::Prepare, Stage::Load].map(|stage| (stage, DEADLINE)));
        let limits = Limits { deadlines, ..own };
        let launch = Launch {
            command: &self.order.child_command,
            spec: &spec,
            mark: &self.order.mark,
            limits: &limits,
            stop: self.stop,
            probe: &self.probe,
            outlast_orphans: self.order.outlast_orphans,
        };
        let ended = process::run(&launch, &mut |_| None).map_err(|error: ProcessError| error.to_string())?;
        answer(&ended).ok_or_else(|| format!("{package}: {}", ended.account(Stage::Load)))
    }
}

fn answer(ended: &Ended) -> Option<RuntimeOffer> {
    let clean = matches!(seatrial_core::outcome::classify(&ended.evidence()), Outcome::Ok);
    ended.result.as_ref().filter(|_| clean).and_then(|result| result.offer.clone())
}

/// A package that could not be asked offers nothing, and says why, as far as a list of many has room for it.
fn unknown(package: &RuntimePackage, why: &str) -> RuntimeOffer {
    let why = why[..why.floor_char_boundary(MAX_REASON_BYTES)].to_owned();
    RuntimeOffer {
        name: package.runtime.clone(),
        version: package.version.clone(),
        formats: package.formats.clone(),
        accelerators: Vec::new(),
        absent: BTreeMap::from([(Accelerator::Cpu, why)]),
    }
}
