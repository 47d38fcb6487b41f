//! `seatrial runtimes`: registers inference engines and what speaks for them, in tracks, and lists them.

use std::path::PathBuf;

use seatrial_core::model::{Manifest, ManifestEntry};
use seatrial_core::runtimes::RuntimePackage;
use seatrial_core::store::TrackRow;
use seatrial_dashboards::format::file_size;
use seatrial_proto::v1;
use serde_json::{Value, json};

use super::Context;
use crate::args::RuntimeAction;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::exit::Exit;
use crate::output::table::{Align, plain, row, table};
use crate::output::{self, Output};
use crate::upload::runtime::{Found, Opened, PackageFile, Rules};
use crate::upload::{self, LocalFile};

pub(super) async fn run(action: RuntimeAction, context: &Context) -> Result<Exit> {
    match action {
        RuntimeAction::Add { files, track, version, rules, program, viewer, dry_run, output } => {
            let output = context.output(output);
            let rules = rules.map(|file| Rules { file, program, viewer });
            let mut opened = Vec::new();
            for file in files {
                opened.push(open(file, rules.clone(), version.clone()).await?);
            }
            let client = if dry_run { None } else { Some(context.connect().await?) };
            let mut told = Vec::new();
            for found in opened.iter().flat_map(|opened| &opened.found) {
                told.push(add(client.as_ref(), found, &track).await?);
            }
            show(&told, &track, dry_run, output)?;
        }
        RuntimeAction::List { output } => list(&context.connect().await?, context.output(output)).await?,
    }
    Ok(Exit::Ok)
}

/// A package and what became of it.
struct Told {
    package: RuntimePackage,
    /// False when the track had it already; absent when nothing was asked of the server.
    added: Option<bool>,
    moved: upload::Moved,
}

pub(super) async fn open(path: PathBuf, rules: Option<Rules>, version: Option<String>) -> Result<Opened> {
    let opened = tokio::task::spawn_blocking(move || match &rules {
        None => Opened::open(&path, version.as_deref()),
        Some(rules) => Opened::open_program(&path, rules, version.as_deref()),
    });
    opened.await.map_err(|error| CliError::failed("read the runtime package", error))?
}

async fn add(client: Option<&Client>, found: &Found, track: &str) -> Result<Told> {
    let (package, files) = package(found).await?;
    let Some(client) = client else { return Ok(Told { package, added: None, moved: upload::Moved::default() }) };
    let moved = upload::send_missing(client, &files).await?;
    let doing = format!("register {package}");
    let package_json = serde_json::to_string(&package).map_err(|error| CliError::failed(&doing, error))?;
    let request = v1::AddRuntimeRequest { track: track.to_owned(), package_json };
    let answer = client.runtimes().add(Client::request(request)).await.map_err(client.failed(&doing))?.into_inner();
    Ok(Told { package, added: Some(answer.added), moved })
}

/// The package with its manifest, and the files that it is made of.
pub(super) async fn package(found: &Found) -> Result<(RuntimePackage, Vec<LocalFile>)> {
    let (mut entries, mut files) = (Vec::new(), Vec::new());
    for PackageFile { role, file_name, place } in &found.files {
        let file = upload::digest(place).await?;
        let (digest, size) = (file.digest, file.size);
        entries.push(ManifestEntry { role: role.clone(), digest, size, file_name: file_name.clone() });
        files.push(file);
    }
    Ok((RuntimePackage { manifest: Manifest { entries }, ..found.package.clone() }, files))
}

fn show(told: &[Told], track: &str, dry_run: bool, output: Output) -> Result<()> {
    if output.is_json() {
        let packages: Vec<Value> = told.iter().map(|told| told_json(told, track)).collect();
        return output::print_json(&json!({ "packages": packages }));
    }
    for Told { package, added, moved } in told {
        let accelerators: Vec<&str> = package.accelerators.iter().map(|one| one.as_str()).collect();
        let what = format!("{package} ({}, {})", accelerators.join(", "), file_size(package.manifest.size()));
        output::note(&match added {
            Some(true) => format!("{what} is the newest of track {track} ({} uploaded)", file_size(moved.bytes)),
            Some(false) => format!("{what} was the newest of track {track} already"),
            None => format!("{what} would enter track {track}"),
        });
    }
    if dry_run {
        output::note("nothing was registered (--dry-run)");
    }
    Ok(())
}

fn told_json(told: &Told, track: &str) -> Value {
    let Told { package, added, moved } = told;
    let RuntimePackage { runtime, kind, version, abi, accelerators, formats, manifest } = package;
    let files: Vec<&str> = manifest.entries.iter().map(|entry| entry.file_name.as_str()).collect();
    json!({
        "runtime": runtime, "kind": kind, "version": version, "abi": abi, "accelerators": accelerators,
        "formats": formats, "size": manifest.size(), "files": files, "track": track, "added": added,
        "uploaded_bytes": moved.bytes,
    })
}

async fn list(client: &Client, output: Output) -> Result<()> {
    let doing = "list the runtimes";
    let request = Client::request(v1::ListRuntimesRequest {});
    let answer = client.runtimes().list(request).await.map_err(client.failed(doing))?.into_inner();
    let tracks: Vec<TrackRow> =
        serde_json::from_str(&answer.tracks_json).map_err(|error| CliError::failed(doing, error))?;
    if tracks.is_empty() && !output.is_json() {
        output::note(
            "there is no runtime package\n\nhint: `seatrial runtimes add FILE` registers a wheel, AAR, library, runner or benchmark program",
        );
        return Ok(());
    }
    output.emit(&json!({ "tracks": tracks }), || {
        let mut table = table(&[
            ("runtime", Align::Words),
            ("track", Align::Words),
            ("version", Align::Words),
            ("ABI", Align::Words),
            ("accelerators", Align::Words),
            ("size", Align::Numbers),
        ]);
        for track in &tracks {
            for package in newest(track) {
                let accelerators: Vec<&str> = package.accelerators.iter().map(|one| one.as_str()).collect();
                table.add_row(row([
                    plain(&track.runtime),
                    plain(&track.name),
                    plain(&package.version),
                    plain(package.abi.map_or_else(|| "any".to_owned(), |abi| abi.to_string())),
                    plain(accelerators.join(", ")),
                    plain(file_size(package.manifest.size())),
                ]));
            }
        }
        table
    })
}

/// What jobs get: the newest package for each ABI.
fn newest(track: &TrackRow) -> Vec<&RuntimePackage> {
    let mut found: Vec<&RuntimePackage> = Vec::new();
    for row in &track.packages {
        if !found.iter().any(|package| package.abi == row.package.abi) {
            found.push(&row.package);
        }
    }
    found
}
