//! Turns `doors.toml` into the table of who may call what, and fails the build when a gRPC method has no row.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

const TABLE: &str = "doors.toml";
const PROTO: &str = "../proto";
/// The router of the pages, one route a line.
const PAGES: &str = "../dashboards/src/lib.rs";
/// Services that are not ours, whose rows name methods that the descriptors do not have.
const FOREIGN: &str = "grpc.";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={TABLE}");
    println!("cargo:rerun-if-changed={PROTO}/seatrial");
    println!("cargo:rerun-if-changed={PAGES}");
    let methods = methods()?;
    let rows = rows(&std::fs::read_to_string(TABLE)?)?;
    check(&methods, &rows)?;
    check_pages(&std::fs::read_to_string(PAGES)?, &rows)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("doors.rs"), table(&methods, &rows)?)?;
    Ok(())
}

/// Every method of the protocol, as `package.Service/Method`, and whether its response is a stream.
fn methods() -> Result<BTreeMap<String, bool>, Box<dyn Error>> {
    let files = protox::compile(["seatrial/v1/agent.proto", "seatrial/v1/control.proto"], [PROTO])?;
    let mut methods = BTreeMap::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let call = format!("{}.{}/{}", file.package(), service.name(), method.name());
                methods.insert(call, method.server_streaming());
            }
        }
    }
    Ok(methods)
}

struct Row {
    write: bool,
    allow: Vec<String>,
}

fn rows(text: &str) -> Result<BTreeMap<String, Row>, Box<dyn Error>> {
    let sections: BTreeMap<String, BTreeMap<String, Vec<String>>> = toml::from_str(text)?;
    let mut rows = BTreeMap::new();
    for (section, calls) in sections {
        let write = match section.as_str() {
            "read" => false,
            "write" => true,
            _ => return Err(format!("{TABLE}: section [{section}] is neither [read] nor [write]").into()),
        };
        for (call, allow) in calls {
            if rows.insert(call.clone(), Row { write, allow }).is_some() {
                return Err(format!("{TABLE}: {call:?} has two rows").into());
            }
        }
    }
    Ok(rows)
}

fn check(methods: &BTreeMap<String, bool>, rows: &BTreeMap<String, Row>) -> Result<(), String> {
    if let Some(method) = methods.keys().find(|method| !rows.contains_key(*method)) {
        return Err(format!("{TABLE} has no row for {method}: say who may call it"));
    }
    let is_stale = |call: &&String| !call.contains(' ') && !call.starts_with(FOREIGN) && !methods.contains_key(*call);
    if let Some(call) = rows.keys().find(is_stale) {
        return Err(format!("{TABLE} has a row for {call}, which the protocol does not have"));
    }
    Ok(())
}

/// Reads the pages' routes from their source: `.route("/runs/new", get(…).post(…))`.
fn check_pages(source: &str, rows: &BTreeMap<String, Row>) -> Result<(), String> {
    for line in source.lines() {
        let unread =
            || Err(format!("{PAGES}: {:?} cannot be read; write each route on one line of its own", line.trim()));
        if [".nest(", ".merge(", ".route_service("].iter().any(|call| line.contains(call)) {
            return unread();
        }
        let Some((_, route)) = line.split_once(".route(") else { continue };
        let Some((path, handlers)) = route.strip_prefix('"').and_then(|rest| rest.split_once('"')) else {
            return unread();
        };
        let methods: Vec<&str> = ["get", "post", "put", "patch", "delete"]
            .into_iter()
            .filter(|method| handlers.contains(&format!("{method}(")))
            .collect();
        if methods.is_empty() {
            return Err(format!("{PAGES}: the methods of {path} cannot be read; write its route on one line"));
        }
        for method in methods {
            let call = format!("{} {path}", method.to_uppercase());
            if !rows.contains_key(&call) {
                return Err(format!("{TABLE} has no row for {call}: say who may call it"));
            }
        }
    }
    Ok(())
}

fn table(methods: &BTreeMap<String, bool>, rows: &BTreeMap<String, Row>) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("&[\n");
    for (call, Row { write, allow }) in rows {
        let allow = allow.iter().map(|word| rule(call, word)).collect::<Result<Vec<_>, _>>()?.join(", ");
        let streams = methods.get(call).copied().unwrap_or(false);
        writeln!(text, "    Door {{ call: {call:?}, write: {write}, streams: {streams}, allow: &[{allow}] }},")?;
    }
    text.push(']');
    Ok(text)
}

fn rule(call: &str, word: &str) -> Result<String, String> {
    match word {
        "anyone" => Ok("Allow::Anyone".to_owned()),
        "enrolment" => Ok("Allow::Enrolment".to_owned()),
        "viewer" => Ok("Allow::Role(Role::Viewer)".to_owned()),
        "submitter" => Ok("Allow::Role(Role::Submitter)".to_owned()),
        "operator" => Ok("Allow::Role(Role::Operator)".to_owned()),
        "admin" => Ok("Allow::Role(Role::Admin)".to_owned()),
        "agent" => Ok("Allow::Role(Role::Agent)".to_owned()),
        _ => Err(format!("{TABLE}: {word:?} in the row of {call} is not a role, \"anyone\" or \"enrolment\"")),
    }
}
