//! Health checks by real processes: a server that makes them, an agent that computes wrongly, and one that is well.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{Fleet, Person, stderr};

const SUITE: &str = r#"
name = "test"
models = [{ name = "digits-mlp", variants = ["fp32"] }]
datasets = ["digits"]
backends = [{ runtime = "tract" }]
profiles = [{ kind = "quick", min_seconds = 0.2, warmup = { min_seconds = 0.1 } }]
gate = { allow_invalid = true }
"#;

/// Ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A device of its own on this machine.
fn agent(fleet: &Fleet, name: &str, faults: &str) -> Agent {
    let log = std::fs::File::options().create(true).append(true).open(fleet.person.path("agent.log")).unwrap();
    let mut command = fleet.person.command();
    command.args(["agent", "run", "--load-wait", "0", "--identity", name, "--server", &fleet.address, "--folder"]);
    Agent(
        command
            .arg(fleet.person.path(name))
            .env("FAILPOINTS", faults)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap(),
    )
}

fn devices(fleet: &Fleet) -> Vec<Value> {
    fleet.json(&["devices"])["devices"].as_array().unwrap().clone()
}

#[test]
fn a_device_that_computes_wrongly_is_quarantined_before_any_job_and_one_that_is_well_does_them() {
    let mut person = Person::new();
    person.environment.push(("SEATRIAL_CANARY", "true".to_owned()));
    let data = person.path("server");
    let fleet = Fleet::serve(person, &data);
    fleet.register_digits();
    let _broken = agent(&fleet, "broken", "outputs-miscomputed=return");
    fleet.eventually("it is quarantined", |fleet| devices(fleet).iter().any(|row| row["state"] == "quarantined"));
    let sick = devices(&fleet).remove(0);
    let broken = sick["id"].as_str().unwrap();
    assert!(sick["state_reason"].as_str().unwrap().contains("outputs that are not what they are"), "{sick:#}");
    assert!(sick["until"].is_string() && sick["decided_by"].is_null(), "a machine decided, for a while: {sick:#}");
    let canary = &sick["canary"];
    assert_eq!(
        ["due", "health", "outcome"].map(|key| canary[key].as_str().unwrap()),
        ["never_checked", "sick", "numerics_fail"]
    );
    let refused = fleet.seatrial(&["devices", "canary", broken, "--now"]).failure();
    assert!(stderr(&refused).contains("in state quarantined: release it first"), "{}", stderr(&refused));

    let _well = agent(&fleet, "well", "");
    let other = |fleet: &Fleet| devices(fleet).into_iter().find(|row| row["id"] != broken);
    fleet.eventually("the other device has joined", |fleet| other(fleet).is_some_and(|row| row["connected"] == true));
    let suite = fleet.person.write("suite.toml", SUITE);
    fleet.seatrial(&["run", suite.to_str().unwrap(), "--wait"]);
    let run = fleet.json(&["results", "1"]);
    let jobs = run["jobs"].as_array().unwrap();
    assert_eq!((jobs.len(), &jobs[0]["outcome"]), (1, &"ok".into()), "{run:#}; {}", fleet.logs());
    assert_eq!(run["misfits"].as_array().unwrap().len(), 1, "the sick device gets none: {run:#}");

    let well = other(&fleet).unwrap();
    let well = well["id"].as_str().unwrap();
    let checks = fleet.json(&["devices", "canary", well]);
    let checks = checks["canaries"].as_array().unwrap();
    assert_eq!((checks.len(), &checks[0]["due"]), (1, &"never_checked".into()));
    // The latency of a machine that does other things may be invalid; the outputs are right all the same.
    assert_eq!(checks[0]["outcome"], "ok", "{checks:#?}");
    assert_ne!(checks[0]["health"], "sick");
    let at = |moment: &Value| moment.as_str().unwrap().to_owned();
    assert!(at(&checks[0]["at"]) <= at(&jobs[0]["finished_at"]), "it was checked before its first job had ended");
    let now = fleet.json(&["devices", "canary", well, "--now"]);
    assert_eq!(["due", "outcome"].map(|key| now["canary"][key].as_str().unwrap()), ["asked", "ok"]);
}
