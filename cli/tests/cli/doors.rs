//! Who may do what, over https, as people and devices meet it.

use seatrial_core::role::Role;
use seatrial_core::stage::Stage;
use serde_json::Value;

use crate::scripted::child_of;
use crate::support::{AUTHORITY, Fleet, Person, fixture, stderr, stdout};

/// From the least to the most.
const ROLES: [Role; 4] = [Role::Viewer, Role::Submitter, Role::Operator, Role::Admin];

/// A command, with the role that it takes.
const COMMANDS: [(Role, &[&str]); 8] = [
    (Role::Viewer, &["runs"]),
    (Role::Viewer, &["devices"]),
    (Role::Submitter, &["models", "alias", "digits-mlp", "prod", "1"]),
    (Role::Operator, &["devices", "label", "bench", "shelf=A3"]),
    (Role::Operator, &["token", "enrol"]),
    (Role::Admin, &["token", "list"]),
    (Role::Admin, &["audit"]),
    (Role::Admin, &["artifacts", "gc", "--dry-run"]),
];

impl Fleet {
    /// Issues a token and keeps it in a file of the role's name; its id.
    fn issue_token(&self, role: Role) -> String {
        let issued = self.json(&["token", "create", role.as_str(), "--role", role.as_str()]);
        self.person.write(role.as_str(), issued["token"].as_str().unwrap());
        issued["id"].as_str().unwrap().to_owned()
    }

    fn seatrial_as(&self, role: Role, arguments: &[&str]) -> assert_cmd::assert::Assert {
        let token = self.person.path(role.as_str());
        self.seatrial(&[&["--token-file", token.to_str().unwrap()], arguments].concat())
    }
}

#[test]
fn over_https_everybody_does_what_their_role_allows_and_nothing_once_their_token_is_revoked() {
    let person = Person::new();
    person.issue(AUTHORITY, "server");
    let [certificate, key, data] = ["server.pem", "server.key", "server"].map(|name| person.path(name));
    let tls = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut fleet = Fleet::serve_with(person, &data, &tls);
    fleet.seatrial(&["runs"]).success();
    fleet.issue_token(Role::Admin);
    let refused = stderr(&fleet.seatrial(&["runs"]).code(5));
    assert!(refused.contains("seatrial login https://"), "from the first token on everybody needs one: {refused}");

    let token = std::fs::read_to_string(fleet.person.path("admin")).unwrap();
    let mut login = assert_cmd::Command::from_std(fleet.person.command());
    let signed_in = stderr(&login.args(["login", &fleet.address]).write_stdin(token).assert().success());
    assert!(signed_in.contains("admin"), "{signed_in}");
    let ids = [Role::Viewer, Role::Submitter, Role::Operator].map(|role| fleet.issue_token(role));

    let enrolment = fleet.json(&["token", "enrol"])["token"].as_str().unwrap().to_owned();
    fleet.start_agent_with(&[("SEATRIAL_ENROL", &enrolment)]);
    let device = fleet.json(&["devices"])["devices"][0]["name"].as_str().unwrap().to_owned();
    fleet.seatrial(&["devices", "rename", &device, "bench"]).success();
    let [model, binding, digits] = ["models/digits-mlp.fp32.onnx", "binding.toml", "digits"].map(fixture);
    let add = ["models", "add", "digits-mlp", &model, "--binding", &binding];
    fleet.seatrial_as(Role::Viewer, &add).code(5);
    fleet.seatrial_as(Role::Submitter, &add).success();
    fleet.seatrial_as(Role::Submitter, &["datasets", "add", &digits]).success();

    for (role, rank) in ROLES.into_iter().zip(0..) {
        for (needed, command) in COMMANDS {
            let may = ROLES.iter().position(|role| *role == needed).is_some_and(|needed| needed <= rank);
            let answer = fleet.seatrial_as(role, command).code(if may { 0 } else { 5 });
            assert!(may || stderr(&answer).contains(needed.as_str()), "it says which role it takes: {answer:?}");
        }
    }

    let suite = "name = \"doors\"\nmodels = [\"digits-mlp\"]\ndatasets = [\"digits\"]\n\
                 backends = [{ runtime = \"tract\" }]\nprofiles = [\"accuracy_only\"]\n";
    let path = fleet.person.write("doors.toml", suite);
    let run = ["run", path.to_str().unwrap(), "--wait", "--format", "json"];
    fleet.seatrial_as(Role::Viewer, &run).code(5);
    let run: Value = serde_json::from_str(&stdout(&fleet.seatrial_as(Role::Submitter, &run).success())).unwrap();
    assert_eq!(run["jobs"][0]["outcome"], "ok", "{run:#}");
    assert!(run["run"]["created_by"].as_str().unwrap().contains("submitter"), "{run:#}");

    let [_, submitter, _] = ids;
    fleet.seatrial(&["token", "revoke", &submitter]).success();
    let refused = stderr(&fleet.seatrial_as(Role::Submitter, &["runs"]).code(5));
    assert!(refused.contains("revoked"), "{refused}");
    fleet.seatrial_as(Role::Viewer, &["runs"]).success();

    let log = fleet.json(&["audit", "--limit", "10000"]);
    let entries = log["entries"].as_array().unwrap();
    let of = |who: &str, action: &str, allowed: bool| {
        entries.iter().find(|entry| {
            let written = (&entry["principal"], &entry["action"], &entry["allowed"]);
            written == (&who.into(), &action.into(), &allowed.into())
        })
    };
    let revoked = of("admin", "seatrial.v1.Tokens/Revoke", true).unwrap();
    assert_eq!(revoked["object"], format!("token {submitter}"));
    assert!(of("viewer", "seatrial.v1.Runs/Submit", false).is_some(), "what was refused is there too: {log:#}");
    assert!(of("submitter", "seatrial.v1.Runs/Submit", true).is_some(), "{log:#}");
    let older = fleet.json(&["audit", "-n", "1", "--before", entries[3]["id"].as_str().unwrap()]);
    assert_eq!(older["entries"][0], entries[4]);
    assert_eq!(
        stdout(&fleet.seatrial(&["audit", "-n", "3"]).success()).lines().count(),
        5,
        "head, line, three entries"
    );
}

#[test]
fn a_run_that_is_cancelled_in_the_middle_ends_at_once_and_the_device_takes_the_next_job() {
    let fleet = Fleet::start();
    let held = fleet.hold("held", Stage::Measure);
    fleet.register_script("waits", "well");
    let child = child_of(&fleet.agent_folder);
    let cancelled = stderr(&fleet.seatrial(&["cancel", &held.run]).success());
    assert!(cancelled.contains("1 job cancelled"), "{cancelled}");
    // Its gate is not let go: the control is that without the cancellation it would measure for ever.
    let (run, attempts) = fleet.ended(&held.run);
    assert_eq!(attempts, [["cancelled at measure"]], "{run:#} {}", fleet.logs());
    fleet.eventually("its process is gone", |_| !std::path::Path::new(&format!("/proc/{child}")).exists());
    fleet.seatrial(&["watch", &held.run]).code(3);
    fleet.runs_another();
}
