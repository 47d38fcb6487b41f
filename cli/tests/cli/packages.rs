//! Engines that misbehave: libraries made here, with the one function by which ONNX Runtime is known, and a fault each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::runtimes::onnxruntime;
use super::support::{Fleet, Person, fixture, stderr};

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

/// A zip of these members, such as wheels and AARs are.
fn zip(person: &Person, name: &str, members: &[(&str, &[u8])]) -> String {
    let path = person.path(name);
    let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
    for (member, bytes) in members {
        archive.start_file(*member, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    path.display().to_string()
}

/// What npm makes of a folder.
fn npm(person: &Person, name: &str, members: &[(&str, &[u8])]) -> String {
    let path = person.path(name);
    let gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (member, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, member, *bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
    path.display().to_string()
}

#[test]
fn a_package_whose_name_or_folder_lies_about_its_abi_is_refused_whatever_it_is() {
    let fleet = Fleet::start();
    let person = &fleet.person;
    let bytes = std::fs::read(library(person, "engine", "", &[])).unwrap();
    let (own, other) = match std::env::consts::ARCH {
        "aarch64" => ("aarch64", "x86_64"),
        own => (own, "aarch64"),
    };
    let wheel = |tag: &str| {
        let name = format!("onnxruntime-9.9.9-cp311-cp311-manylinux_2_28_{tag}.whl");
        zip(person, &name, &[("onnxruntime/capi/libonnxruntime.so.9.9.9", &bytes)])
    };
    let folder = if other == "aarch64" { "arm64-v8a" } else { "x86_64" };
    let described = format!("{{\"name\": \"@onnxruntime/linux-{other}\", \"version\": \"9.9.9\"}}");
    let lies = [
        wheel(other),
        zip(person, "onnxruntime-android-9.9.9.aar", &[(&format!("jni/{folder}/libonnxruntime.so"), &bytes)]),
        npm(person, &format!("linux-{other}-9.9.9.tgz"), &[("package/libonnxruntime.so", &bytes)]),
        npm(
            person,
            "onnxruntime-9.9.9.tgz",
            &[("package/package.json", described.as_bytes()), ("package/libonnxruntime.so", &bytes)],
        ),
    ];
    for lie in lies {
        let refused = stderr(&fleet.seatrial(&["runtimes", "add", &lie]).code(1));
        let said = format!("is built for {own}: the package is mislabelled and would not load");
        assert!(refused.contains(&said) && refused.contains(&format!("promises {other}")), "{lie}: {refused}");
    }
    let listed = fleet.json(&["runtimes", "list"]);
    assert!(!listed.to_string().contains("9.9.9"), "nothing was sent: {listed:#}");
    // The control: the same library under honest names.
    fleet.seatrial(&["runtimes", "add", &wheel(own)]).success();
    let honest = npm(person, &format!("linux-{own}-9.9.9.tgz"), &[("package/libonnxruntime.so", &bytes)]);
    fleet.seatrial(&["runtimes", "add", &honest, "--dry-run"]).success();
}

#[test]
fn a_package_without_a_library_for_linux_or_android_is_refused_before_anything_is_sent() {
    let fleet = Fleet::start();
    let person = &fleet.person;
    let metadata: (&str, &[u8]) = ("onnxruntime-9.9.9.dist-info/METADATA", b"Name: onnxruntime\nVersion: 9.9.9\n");
    let bytes = std::fs::read(library(person, "engine", "", &[])).unwrap();
    for (name, member, content) in [
        ("onnxruntime-9.9.9-py3-none-any.whl", "onnxruntime/__init__.py", b"import this".as_slice()),
        ("onnxruntime-9.9.9-cp311-cp311-win_amd64.whl", "onnxruntime/capi/onnxruntime.dll", b"MZ".as_slice()),
        (
            "onnxruntime-9.9.9-cp311-cp311-macosx_13_0_arm64.whl",
            "onnxruntime/capi/libonnxruntime.dylib",
            bytes.as_slice(),
        ),
        ("onnxruntime-9.9.9.whl", "onnxruntime/capi/libonnxruntime.so.9.9.9", b"a text with a name".as_slice()),
    ] {
        let refused =
            stderr(&fleet.seatrial(&["runtimes", "add", &zip(person, name, &[metadata, (member, content)])]).code(1));
        assert!(refused.contains("there is no Linux or Android shared library in it"), "{name}: {refused}");
    }
    let whole = zip(person, "whole.whl", &[metadata, ("onnxruntime/capi/libonnxruntime.so.9.9.9", &bytes)]);
    let added = stderr(&fleet.seatrial(&["runtimes", "add", &whole]).success());
    assert!(added.contains("onnxruntime 9.9.9"), "the control: {added}");
}

#[test]
fn a_model_of_another_engines_format_is_a_misfit_and_one_under_its_name_is_refused() {
    let fleet = Fleet::start();
    let person = &fleet.person;
    add(&fleet, &library(person, "engine", "", &[]), "stable");
    let tflite = fixture("models/digits-cnn.fp32.tflite");
    fleet.seatrial(&["models", "add", "lite", &tflite]).success();
    let suite = "name = \"other\"\nmodels = [\"lite\"]\nprofiles = [\"quick\"]\n\
                 backends = [{ runtime = \"onnxruntime\" }, { runtime = \"tract\" }]\n[gate]\nallow_misfits = true\n";
    let path = person.write("other.toml", suite);
    let assert = fleet.seatrial(&["run", path.to_str().unwrap(), "--wait", "--format", "json"]);
    let told = format!("{}{}", super::support::stdout(&assert), stderr(&assert));
    for reader in ["onnxruntime 9.9.9", "tract 0.23.9"] {
        assert!(told.contains(&format!("{reader} does not read tflite")), "{told}");
    }
    // Under the name of a model that they read it is no model.
    let renamed = person.path("renamed.onnx");
    std::fs::copy(&tflite, &renamed).unwrap();
    let refused = stderr(&fleet.seatrial(&["models", "add", "renamed", renamed.to_str().unwrap()]).failure());
    assert!(refused.contains("renamed.onnx") && refused.contains("loading failed"), "{refused}");
}

/// An engine that runs, and says its version when it is loaded.
fn litert(person: &Person, version: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/libraries/litert.c");
    let loaded = format!("#include <stdio.h>\n{}", on_loading(&format!("fputs(\"engine {version}\\n\", stderr);")));
    let says = person.write(&format!("says-{version}.c"), &loaded);
    let library = person.path(&format!("libLiteRt-{version}.so"));
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg(says).status();
    assert!(made.unwrap().success());
    library.display().to_string()
}

#[test]
fn two_versions_of_an_engine_run_in_one_suite_each_in_its_own_jobs() {
    let fleet = Fleet::start();
    let versions = ["9.8.0", "9.9.0"];
    for version in versions {
        let library = litert(&fleet.person, version);
        fleet.seatrial(&["runtimes", "add", &library, "--version", version, "--track", version]).success();
    }
    let model = fleet.person.write("well.tflite", "well");
    fleet.seatrial(&["models", "add", "well", model.to_str().unwrap()]).success();
    let suite = "name = \"versions\"\nmodels = [\"well\"]\nprofiles = [\"quick\"]\n\
                 backends = [{ runtime = \"litert\", track = [\"9.8.0\", \"9.9.0\"] }]\n[gate]\nallow_invalid = true\n";
    let path = fleet.person.write("versions.toml", suite);
    let run = fleet.json(&["run", path.to_str().unwrap(), "--wait"]);
    let jobs = run["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 2, "{run:#}");
    for version in versions {
        let is_of = |job: &&Value| job["backend"].as_str().unwrap().contains(&format!("@{version} "));
        let job = jobs.iter().find(is_of).unwrap_or_else(|| panic!("no job of {version}: {run:#}"));
        assert_eq!(job["outcome"], "ok", "{job:#}\n{}", fleet.logs());
        let page: Value =
            serde_json::from_str(&fleet.page_data(&format!("/jobs/{}", job["id"].as_str().unwrap()))).unwrap();
        let report = &page["report"];
        assert_eq!(
            report["environment"]["runtime_version"],
            format!("litert {version}, as the package says"),
            "{report:#}"
        );
        let log = report["log"].as_str().unwrap();
        let said: Vec<bool> = versions.iter().map(|one| log.contains(&format!("engine {one}\n"))).collect();
        assert_eq!(said, versions.map(|one| one == version), "the library itself was loaded: {log}");
    }
}
