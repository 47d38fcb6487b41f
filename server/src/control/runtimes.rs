//! Runtime packages and their tracks.

use std::collections::HashSet;

use seatrial_core::command::{RULES_ROLE, VIEWER_ROLE};
use seatrial_core::ids::{RuntimePackageId, TrackId};
use seatrial_core::runtimes::{Engine, PackageKind, RuntimePackage};
use seatrial_core::store::NewRuntimePackage;
use seatrial_core::time::Timestamp;
use seatrial_proto::v1::runtimes_server::Runtimes;
use seatrial_proto::v1::{AddRuntimeRequest, AddRuntimeResponse, ListRuntimesRequest, ListRuntimesResponse};
use tonic::{Request, Response, Status};

use super::{Called, Control, convert, validate};
use crate::auth::Caller;
use crate::error::Error;
use crate::system::entropy;

const MAX_FILES: usize = 64;

#[tonic::async_trait]
impl Runtimes for Control {
    async fn add(&self, request: Request<AddRuntimeRequest>) -> Result<Response<AddRuntimeResponse>, Status> {
        let Called { caller, note, message } = Called::from(request)?;
        note.object(format!("track {}", validate::shown(&message.track)));
        let new = checked(&caller, message, self.clock.now())?;
        note.object(format!("{} in track {}", new.package, new.track));
        note.digests(None, new.package.digest());
        for (index, entry) in new.package.manifest.entries.iter().enumerate() {
            self.check_artifact(&format!("package_json.manifest.entries[{index}]."), &entry.digest, entry.size).await?;
        }
        let added = self.store.add_runtime_package(&new).await.map_err(Error::from)?;
        Ok(Response::new(AddRuntimeResponse { added }))
    }

    async fn list(&self, request: Request<ListRuntimesRequest>) -> Result<Response<ListRuntimesResponse>, Status> {
        let Called { caller, note: _, message: ListRuntimesRequest {} } = Called::from(request)?;
        let tracks = self.store.tracks(caller.project).await.map_err(Error::from)?;
        Ok(Response::new(ListRuntimesResponse { tracks_json: convert::json(&tracks)? }))
    }
}

fn checked(caller: &Caller, message: AddRuntimeRequest, now: Timestamp) -> Result<NewRuntimePackage, Error> {
    let AddRuntimeRequest { track, package_json } = message;
    let field = "package_json";
    let package: RuntimePackage = validate::json(field, &package_json)?;
    validate::name(&format!("{field}.runtime"), &package.runtime)?;
    validate::name(&format!("{field}.version"), &package.version)?;
    let refuse = |what: &str, why: String| Err(Error::field(format!("{field}.{what}"), why));
    match &package.kind {
        PackageKind::Library { engine } if package.runtime != engine.as_str() => {
            return refuse("runtime", format!("a library of {engine} is called {:?}", engine.as_str()));
        }
        PackageKind::Runner { .. } | PackageKind::Command if package.runtime.parse::<Engine>().is_ok() => {
            let runtime = &package.runtime;
            let why = format!("{runtime:?} is a library that agents load: give the program another name");
            return refuse("runtime", why);
        }
        PackageKind::Runner { interpreter: Some(interpreter) } => {
            validate::name(&format!("{field}.kind.runner.interpreter"), interpreter)?;
        }
        PackageKind::Library { .. } | PackageKind::Runner { interpreter: None } | PackageKind::Command => {}
    }
    if matches!(package.kind, PackageKind::Library { .. }) && package.abi.is_none() {
        return refuse("abi", "a library is machine code, and says for which ABI".to_owned());
    }
    if package.kind == PackageKind::Command {
        let of = |role: &str| package.manifest.entries.iter().filter(|entry| entry.role == role).count();
        if of(RULES_ROLE) != 1 || of(VIEWER_ROLE) > 1 {
            let why = format!(
                "a benchmark program has one file with the role {RULES_ROLE:?} and at most one {VIEWER_ROLE:?}"
            );
            return refuse("manifest.entries", why);
        }
    }
    if package.accelerators.is_empty() || package.formats.is_empty() {
        let why = "a package has code for at least one accelerator and reads at least one model format";
        return refuse("accelerators", why.to_owned());
    }
    let entries = &package.manifest.entries;
    if entries.len() > MAX_FILES {
        return refuse("manifest.entries", format!("{} files; at most {MAX_FILES} are accepted", entries.len()));
    }
    let main = package.kind.main_role();
    if entries.iter().filter(|entry| entry.role == main).count() != 1 {
        return refuse("manifest.entries", format!("exactly one file has the role {main:?}"));
    }
    let mut seen = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("{field}.manifest.entries[{index}]");
        validate::file_name(&format!("{field}.file_name"), &entry.file_name)?;
        validate::name(&format!("{field}.role"), &entry.role)?;
        // Some file systems do not tell case.
        if !seen.insert(entry.file_name.to_lowercase()) {
            return Err(Error::field(format!("{field}.file_name"), format!("{:?} is given twice", entry.file_name)));
        }
    }
    Ok(NewRuntimePackage {
        id: RuntimePackageId::new(now, entropy()),
        track_id: TrackId::new(now, entropy()),
        project: caller.project,
        track: validate::name("track", &track)?,
        package,
        created_by: caller.principal,
        created_at: now,
    })
}
