//! Agent and command line against a server that speaks TLS, with an authority of the lab's own.

use crate::support::{AUTHORITY, Fleet, Person, within};

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
    fleet.register_digits();
    let suite = "name = \"tls\"\nmodels = [\"digits-mlp\"]\ndatasets = [\"digits\"]\n\
                 backends = [{ runtime = \"tract\" }]\nprofiles = [\"accuracy_only\"]\n";
    let path = fleet.person.write("tls.toml", suite);
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    let outcomes: Vec<&serde_json::Value> = run["jobs"].as_array().unwrap().iter().map(|job| &job["outcome"]).collect();
    assert_eq!(outcomes, ["ok", "ok"], "both variants: {run:#}");
}
