//! Agent and command line against a server that speaks TLS, with an authority of the lab's own.

use crate::support::{AUTHORITY, Fleet, Person, stderr, within};

#[test]
fn an_agent_fetches_measures_and_reports_over_tls_and_trusts_only_its_authority() {
    let person = Person::new();
    person.issue(AUTHORITY, "server");
    person.issue("other.pem", "elsewhere");
    let [certificate, key, data] = ["server.pem", "server.key", "server"].map(|name| person.path(name));
    let tls = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut fleet = Fleet::serve_with(person, &data, &tls);
    assert!(fleet.address.starts_with("https://"), "{}", fleet.address);

    // The control: an agent that trusts somebody else says why it does not join.
    let log = fleet.person.path("stranger.log");
    let mut stranger = fleet
        .person
        .command()
        .args(["agent", "run", "--server", &fleet.address, "--folder", "stranger"])
        .env("SEATRIAL_CA", fleet.person.path("other.pem"))
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    within(20, "it says why", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("certificate")));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(fleet.json(&["devices"])["devices"].as_array().map(Vec::len), Some(0));

    fleet.start_agent();
    evaluates_digits(&fleet);
}

#[test]
fn a_server_with_an_authority_for_clients_lets_in_agents_and_people_with_its_certificate_and_nobody_else() {
    let mut person = Person::new();
    person.issue(AUTHORITY, "server");
    person.issue("clients.pem", "bench");
    person.issue("other.pem", "foreign");
    let [certificate, key, clients, data] =
        ["server.pem", "server.key", "clients.pem", "server"].map(|name| person.path(name).display().to_string());
    person.show_certificate("bench");
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key, "--tls-client-ca", &clients];
    let mut fleet = Fleet::serve_with(person, data.as_ref(), &tls);

    for (shown, words) in
        [(None, "name yours by --certificate and --key"), (Some("foreign"), "refuses the certificate")]
    {
        fleet.person.environment.clear();
        if let Some(shown) = shown {
            fleet.person.show_certificate(shown);
        }
        let refused = stderr(&fleet.seatrial(&["runs"]).code(5));
        assert!(refused.contains(words), "{refused}");
        let log = fleet.person.path("stranger.log");
        let mut stranger = fleet
            .person
            .command()
            .args(["agent", "run", "--server", &fleet.address, "--folder", "stranger"])
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        within(20, words, || std::fs::read_to_string(&log).is_ok_and(|text| text.contains(words)));
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    fleet.person.environment.clear();
    fleet.person.show_certificate("bench");
    assert_eq!(fleet.json(&["devices"])["devices"].as_array().map(Vec::len), Some(0));
    fleet.start_agent();
    evaluates_digits(&fleet);
}

/// Uploads, fetches, measures, reports: everything that goes over the port.
fn evaluates_digits(fleet: &Fleet) {
    fleet.register_digits();
    let suite = "name = \"tls\"\nmodels = [\"digits-mlp\"]\ndatasets = [\"digits\"]\n\
                 backends = [{ runtime = \"tract\" }]\nprofiles = [\"accuracy_only\"]\n";
    let path = fleet.person.write("tls.toml", suite);
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    let outcomes: Vec<&serde_json::Value> = run["jobs"].as_array().unwrap().iter().map(|job| &job["outcome"]).collect();
    assert_eq!(outcomes, ["ok", "ok"], "both variants: {run:#}");
}
