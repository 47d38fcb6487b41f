//! What the binary says and how it exits, without a server.

use std::process::Stdio;

use crate::support::{Person, stderr, stdout};
use serde_json::Value;

const SUITE: &str = r#"
name = "night"
models = ["digits-mlp"]

[[backends]]
runtime = "tract"
threads = 1
"#;

#[test]
fn help_names_every_command_and_exit_code() {
    let person = Person::new();
    for arguments in
        [&["--help"][..], &["run", "--help"], &["models", "add", "--help"], &["demo", "--help"], &["devices", "--help"]]
    {
        let assert = person.seatrial(arguments).success();
        assert_eq!(stderr(&assert), "");
        insta::with_settings!({ snapshot_suffix => arguments.join(" ").replace("--", "").replace(' ', "_") }, {
            insta::assert_snapshot!(stdout(&assert));
        });
    }
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_so_on_stderr() {
    let person = Person::new();
    for arguments in [
        &["fly"][..],
        &["run"],
        &["runs", "--format", "csv"],
        &["token", "create", "x", "--role", "king"],
        &["try", "--axis", "batch=0", "m.onnx"],
    ] {
        let assert = person.seatrial(arguments).code(2);
        assert_eq!(stdout(&assert), "", "{arguments:?}");
        assert!(stderr(&assert).contains("error:"), "{arguments:?}");
    }
}

#[test]
fn a_server_that_is_away_exits_with_4_and_says_what_to_do() {
    let person = Person::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("http://{free}");
    let suite = person.write("night.toml", SUITE);
    for arguments in [&["runs"][..], &["devices"], &["run", suite.to_str().unwrap(), "--wait"], &["cancel", "1"]] {
        let assert = person.seatrial(&[&["--server", &address], arguments].concat()).code(4);
        assert_eq!(stdout(&assert), "");
        insta::with_settings!({ filters => vec![(r"127\.0\.0\.1:\d+", "[address]")] }, {
            insta::assert_snapshot!("unreachable", stderr(&assert));
        });
    }
}

#[test]
fn a_token_is_in_no_message() {
    let person = Person::new();
    let token = person.write("token", "very-secret\n");
    let arguments = ["--server", "http://127.0.0.1:1", "--token-file", token.to_str().unwrap(), "-vv", "runs"];
    let assert = person.seatrial(&arguments).code(4);
    assert!(!stderr(&assert).contains("very-secret"));
}

#[test]
fn a_suite_without_problems_is_said_to_have_none() {
    let person = Person::new();
    let suite = person.write("night.toml", SUITE);
    let assert = person.seatrial(&["suite", "check", suite.to_str().unwrap()]).success();
    assert_eq!(stdout(&assert), "");
    assert!(stderr(&assert).ends_with("night.toml: no problems\n"));
}

#[test]
fn problems_in_a_suite_exit_with_6_each_with_its_place_and_what_would_be_right() {
    let person = Person::new();
    person.write("night.toml", &SUITE.replace("threads = 1", "thread = 1").replace("name = \"night\"", "name = 5"));
    let assert = person.seatrial(&["suite", "check", "night.toml"]).code(6);
    insta::assert_snapshot!("suite_problems", stdout(&assert));
    let assert = person.seatrial(&["suite", "check", "night.toml", "--format", "json"]).code(6);
    let data: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    assert_eq!(data["problems"].as_array().unwrap().len(), 2);
    assert_eq!(data["problems"][0]["line"], 2);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let person = Person::new();
    let assert = person.seatrial(&["suite", "check", "gone.toml"]).code(1);
    assert!(stderr(&assert).starts_with("error: failed to read gone.toml\n"), "{}", stderr(&assert));
}

#[test]
fn the_schema_of_a_suite_is_json() {
    let assert = Person::new().seatrial(&["suite", "schema"]).success();
    let schema: Value = serde_json::from_str(&stdout(&assert)).unwrap();
    assert!(schema["properties"]["models"].is_object());
}

#[test]
fn every_shell_gets_completions() {
    let person = Person::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let assert = person.seatrial(&["completions", shell]).success();
        assert!(stdout(&assert).contains("datasets"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let person = Person::new();
    let mut child =
        person.command().args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_configuration_is_checked_without_starting_anything() {
    let person = Person::new();
    let assert = person.seatrial(&["serve", "--check-config", "--data", "data", "--listen", "127.0.0.1:9"]).success();
    assert!(stdout(&assert).contains("listen = \"127.0.0.1:9\""));
    assert!(!person.path("data").exists());
    let assert = person.seatrial(&["serve", "--check-config", "--data", "data", "--database", "mysql://x"]).code(1);
    assert!(stderr(&assert).contains("postgres://"), "{}", stderr(&assert));
}

#[test]
fn a_login_is_not_saved_for_a_server_that_does_not_answer() {
    let person = Person::new();
    person.seatrial(&["login", "http://127.0.0.1:1"]).code(4);
    assert!(!person.path("home/.config").exists());
}
