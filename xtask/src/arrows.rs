//! All arrows point to `core`: which crate may depend on which, checked against what cargo resolves.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::command::{cargo, output};

/// For each crate of the workspace, the crates of the workspace that it may depend on. Tests may depend on more
/// (dev-dependencies are not arrows).
const ALLOWED: &[(&str, &[&str])] = &[
    ("seatrial-core", &[]),
    ("seatrial-proto", &["core"]),
    ("seatrial-store-sqlite", &["core"]),
    ("seatrial-store-postgres", &["core"]),
    ("seatrial-store", &["core", "store-sqlite", "store-postgres"]),
    ("seatrial-dashboards", &["core"]),
    ("seatrial-server", &["core", "proto", "store", "dashboards"]),
    ("seatrial-adb", &[]),
    ("seatrial-agent", &["core", "proto", "adb"]),
    ("seatrial-sim", &["core", "proto"]),
    ("seatrial-cli", &["core", "proto", "store", "server", "agent", "sim", "dashboards"]),
    ("seatrial-bench", &["core", "proto", "store", "server", "adb", "agent", "sim"]),
    ("xtask", &[]),
];

/// Crates that would break the purity of `core`.
const IMPURE: &[&str] = &["tokio", "sqlx", "tonic", "hyper", "rand", "fs-err", "rustix", "reqwest", "axum"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `null`, `"dev"` or `"build"`.
    kind: Option<String>,
}

pub fn check() -> anyhow::Result<()> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot read the output of cargo metadata")?;
    let found = violations(&metadata);
    if !found.is_empty() {
        bail!("arrows that ARCHITECTURE.md does not allow:\n  {}", found.join("\n  "));
    }
    println!("{} crates, every arrow as ARCHITECTURE.md says", metadata.packages.len());
    Ok(())
}

fn violations(metadata: &Metadata) -> Vec<String> {
    let allowed: BTreeMap<&str, BTreeSet<String>> = ALLOWED
        .iter()
        .map(|(name, targets)| (*name, targets.iter().map(|target| format!("seatrial-{target}")).collect()))
        .collect();
    let mut found = Vec::new();
    for package in &metadata.packages {
        let Some(targets) = allowed.get(package.name.as_str()) else {
            found.push(format!("{} is not in the list of crates (xtask/src/arrows.rs)", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind.is_none()) {
            if dependency.name.starts_with("seatrial-") && !targets.contains(&dependency.name) {
                found.push(format!("{} → {}", package.name, dependency.name));
            }
            if package.name == "seatrial-core" && IMPURE.contains(&dependency.name.as_str()) {
                found.push(format!("core is pure and must not see {}", dependency.name));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(name: &str, dependency: &str, kind: Option<&str>) -> Metadata {
        Metadata {
            packages: vec![Package {
                name: name.to_owned(),
                dependencies: vec![Dependency { name: dependency.to_owned(), kind: kind.map(str::to_owned) }],
            }],
        }
    }

    #[test]
    fn an_agent_that_sees_the_store_is_found() {
        assert_eq!(
            violations(&metadata("seatrial-agent", "seatrial-store", None)),
            ["seatrial-agent → seatrial-store"]
        );
        assert!(violations(&metadata("seatrial-agent", "seatrial-core", None)).is_empty());
    }

    #[test]
    fn tests_may_see_more_than_the_crate_does() {
        assert!(violations(&metadata("seatrial-server", "seatrial-sim", Some("dev"))).is_empty());
    }

    #[test]
    fn a_core_that_sees_a_runtime_is_found() {
        assert_eq!(violations(&metadata("seatrial-core", "tokio", None)), ["core is pure and must not see tokio"]);
    }
}
