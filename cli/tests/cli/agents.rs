//! Builds of the agent: added by an operator, fetched for a device.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Fleet, Person, stderr};

/// A program of this machine that carries an agent's mark.
fn agent(person: &Person, name: &str, version: &str) -> String {
    let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.extend_from_slice(format!("\0seatrial-agent build {version}\n").as_bytes());
    let path = person.path(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_agent_is_served_by_its_abi_and_comes_back_as_it_was() {
    let person = Person::new();
    let (old, new) = (agent(&person, "old", "0.0.1"), agent(&person, "new", "0.0.2"));
    let data = person.path("server");
    let fleet = Fleet::serve(person, &data);
    let abi = format!("{}-linux-gnu", std::env::consts::ARCH);
    let none = stderr(&fleet.seatrial(&["agents", "get", "--abi", &abi]).code(7));
    assert!(none.contains(&format!("no agent for {abi}")), "{none}");

    for (file, version, added) in [(&old, "0.0.1", true), (&new, "0.0.2", true), (&new, "0.0.2", false)] {
        let answer = fleet.json(&["agents", "add", file]);
        assert_eq!(
            (&answer["abi"], &answer["version"], &answer["added"]),
            (&abi.clone().into(), &version.into(), &added.into())
        );
    }
    let listed = fleet.json(&["agents", "list"])["agents"].clone();
    let served: Vec<_> = listed.as_array().unwrap().iter().map(|one| (&one["version"], &one["served"])).collect();
    assert_eq!(served, [(&"0.0.2".into(), &true.into()), (&"0.0.1".into(), &false.into())], "{listed:#}");

    let fetched = fleet.person.path("seatrial-agent");
    fleet.seatrial(&["agents", "get", "--abi", &abi]).success();
    assert!(std::fs::read(&fetched).unwrap() == std::fs::read(&new).unwrap(), "byte by byte");
    assert_eq!(std::fs::metadata(&fetched).unwrap().permissions().mode() & 0o777, 0o755);
    let again = stderr(&fleet.seatrial(&["agents", "get", "--abi", &abi]).code(1));
    assert!(again.contains("exists"), "a file is never written over: {again}");
    fleet.seatrial(&["artifacts", "gc", "--min-age", "0s"]).success();
    fleet.seatrial(&["agents", "get", "--abi", &abi, "--output", "again"]).success();
}

#[test]
fn what_is_no_agent_is_refused_with_its_reason_before_a_server_is_asked() {
    let person = Person::new();
    let own = std::env::current_exe().unwrap();
    let text = person.write("notes", "not a program");
    for (file, why) in [
        (own.to_str().unwrap(), "does not carry an agent's version"),
        (crate::support::PROGRAM, "does not carry an agent's version"),
        (text.to_str().unwrap(), "not a program for Linux or Android"),
    ] {
        let refused = stderr(&person.seatrial(&["agents", "add", file]).code(1));
        assert!(refused.contains(why), "{file}: {refused}");
    }
    person.seatrial(&["agents", "get", "--abi", "sparc-linux-gnu"]).code(2);
}
