//! Engines that misbehave: libraries made here, with the one function by which ONNX Runtime is known, and a fault each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::runtimes::onnxruntime;
use super::support::{Fleet, Person, stderr};

/// Compiles a library with this code, and what else the compiler is told.
fn library(person: &Person, name: &str, code: &str, options: &[&str]) -> String {
    let known = "const void *OrtGetApiBase(void) { return 0; }\n";
    let source =
        person.write(&format!("{name}.c"), &format!("#include <stdlib.h>\n#include <unistd.h>\n{code}\n{known}"));
    let library = person.path(&format!("lib{name}.so"));
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"])
        .arg(&library)
        .arg(&source)
        .args(options)
        .status();
    assert!(made.unwrap().success(), "{name}");
    library.display().to_string()
}

/// Runs when the library is loaded, before any of its functions is called.
fn on_loading(code: &str) -> String {
    format!("static void __attribute__((constructor)) loading(void) {{ {code} }}")
}

fn add(fleet: &Fleet, library: &str, track: &str) {
    fleet.seatrial(&["runtimes", "add", library, "--version", "9.9.9", "--track", track]).success();
}

/// One job with the engine of each track, by track.
fn run(fleet: &Fleet, tracks: &[&str]) -> BTreeMap<String, Value> {
    let backends: Vec<String> =
        tracks.iter().map(|track| format!("{{ runtime = \"onnxruntime\", track = \"{track}\" }}")).collect();
    let suite = format!(
        "name = \"misbehaving\"\nmodels = [{{ name = \"digits-mlp\", variants = [\"fp32\"] }}]\n\
         datasets = [\"digits\"]\nprofiles = [\"accuracy_only\"]\nbackends = [{}]\n\
         [limits.deadline_seconds]\nload = 5\n",
        backends.join(", ")
    );
    let path = fleet.person.write("misbehaving.toml", &suite);
    let assert = fleet.seatrial(&["run", path.to_str().unwrap(), "--wait", "--format", "json"]);
    let run: Value = serde_json::from_slice(&assert.get_output().stdout)
        .unwrap_or_else(|_| panic!("{}\n{}", stderr(&assert), fleet.logs()));
    let of = |track: &str| {
        let is_of = |job: &&Value| job["backend"].as_str().unwrap().contains(&format!("@{track} "));
        let job = run["jobs"].as_array().unwrap().iter().find(is_of);
        job.unwrap_or_else(|| panic!("no job of {track}: {run:#}")).clone()
    };
    tracks.iter().map(|track| ((*track).to_owned(), of(track))).collect()
}

#[test]
fn an_engine_that_crashes_leaves_hangs_or_floods_while_it_is_loaded_costs_its_own_jobs_only() {
    let fleet = Fleet::start();
    fleet.register_digits();
    for (track, code) in [
        ("crashes", "*(volatile int *)0 = 1;"),
        ("leaves", "_exit(0);"),
        ("hangs", "for (;;) pause();"),
        ("floods", "static char page[65536]; for (int i = 0; i < 256; i++) write(2, page, sizeof page); abort();"),
    ] {
        add(&fleet, &library(&fleet.person, track, &on_loading(code), &[]), track);
    }
    fleet.seatrial(&["runtimes", "add", onnxruntime().to_str().unwrap(), "--track", "works"]).success();

    let tracks = ["crashes", "leaves", "hangs", "floods", "works"];
    let jobs = run(&fleet, &tracks);
    let outcome = |track: &&'static str| (*track, jobs[*track]["outcome"].as_str().unwrap_or_default());
    let outcomes: Vec<_> = tracks.iter().map(outcome).collect();
    let expected = [
        ("crashes", "crash_signal (11)"),
        ("leaves", "driver_exit0"),
        ("hangs", "hang_timeout"),
        ("floods", "crash_signal (6)"),
        ("works", "ok"),
    ];
    assert_eq!(outcomes, expected, "{jobs:#?}");
}

#[test]
fn a_library_that_lacks_what_it_needs_is_an_unsupported_backend_in_the_linkers_words() {
    let fleet = Fleet::start();
    fleet.register_digits();
    let person = &fleet.person;
    let calls = "extern int nowhere_to_be_found(void); int calls(void) { return nowhere_to_be_found(); }";
    let needed = library(person, "needed", "int needed(void) { return 1; }", &[]);
    let folder = PathBuf::from(&needed).parent().unwrap().display().to_string();
    let calls_needed = "extern int needed(void); int calls(void) { return needed(); }";
    let alone = library(person, "alone", calls_needed, &["-L", &folder, "-lneeded"]);
    add(&fleet, &library(person, "symbol", calls, &["-Wl,-z,now"]), "symbol");
    add(&fleet, &alone, "alone");
    let jobs = run(&fleet, &["symbol", "alone"]);
    for (track, words) in [("symbol", "undefined symbol: nowhere_to_be_found"), ("alone", "libneeded.so")] {
        let job = &jobs[track];
        assert_eq!(job["outcome"], "unsupported_backend", "{job:#}");
        let message = job["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
        assert!(message.contains("a library that it needs is"), "what it means is said too: {message}");
    }
}
