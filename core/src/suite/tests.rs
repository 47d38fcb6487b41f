use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::backend::{Accelerator, Affinity, Provider};
use crate::dataset::{Binding, InputBinding, MAX_LABEL_MAP, Quantization, Resize};
use crate::profile::ProfileKind;
use crate::stage::Stage;

const DOCS: &str = include_str!("../../../docs/suite.md");

/// The fenced TOML texts of a page.
fn toml_blocks(page: &str) -> Vec<&str> {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

fn complete() -> &'static str {
    toml_blocks(DOCS).into_iter().max_by_key(|text| text.len()).unwrap()
}

fn faults(text: &str) -> String {
    render(&parse(text, "night.toml").expect_err("the text has faults"))
}

const SMALL: &str = "name = \"s\"\nmodels = [\"m\"]\nbackends = [{ runtime = \"tract\" }]\n";

// --- the file and its schema ---

#[test]
fn every_example_of_the_page_is_a_suite() {
    let blocks = toml_blocks(DOCS);
    assert!(blocks.len() >= 2);
    for text in blocks {
        if let Err(problems) = parse(text, "docs/suite.md") {
            panic!("{}", render(&problems));
        }
    }
}

#[test]
fn the_complete_example_uses_exactly_the_keys_of_the_schema() {
    fn schema_keys(schema: &Value, keys: &mut BTreeSet<String>) {
        match schema {
            Value::Object(object) => {
                for (key, value) in object {
                    if let ("properties", Value::Object(properties)) = (key.as_str(), value) {
                        keys.extend(properties.keys().cloned());
                    }
                    schema_keys(value, keys);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| schema_keys(item, keys)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    fn example_keys(value: &toml::Value, keys: &mut BTreeSet<String>) {
        for (key, value) in value.as_table().into_iter().flatten() {
            keys.insert(key.clone());
            example_keys(value, keys);
        }
        value.as_array().into_iter().flatten().for_each(|item| example_keys(item, keys));
    }
    let (mut schema, mut example) = (BTreeSet::new(), BTreeSet::new());
    schema_keys(&json_schema(), &mut schema);
    example_keys(&toml::Value::Table(complete().parse().unwrap()), &mut example);
    // The names of axes are the model's own.
    assert!(example.remove("batch"));
    assert_eq!(example, schema);
}

/// The keys that serde reads into a type, from its own complaint about one that it does not know.
fn keys_of_serde<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
    let complaint = serde_json::from_str::<T>("{\"?\": 0}").unwrap_err().to_string();
    let (_, expected) = complaint.split_once("expected").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn keys_of_schema<T: schemars::JsonSchema>() -> BTreeSet<String> {
    document::schema_of::<T>()["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_reader_and_the_schema_know_the_same_keys() {
    macro_rules! same {
        ($($kind:ty),*) => {
            $(assert_eq!(keys_of_serde::<$kind>(), keys_of_schema::<$kind>(), stringify!($kind));)*
        };
    }
    same!(file::SuiteFile, file::Defaults, file::BackendDefaults, file::ProfileNumbers, file::ModelTable);
    same!(file::DatasetTable, file::BackendTable, file::ProfileTable, file::WarmupTable, file::LimitsTable);
    same!(file::DeadlineTable, file::GateTable, file::MetricRuleTable);
    same!(Binding, InputBinding, Resize, Quantization);
}

#[test]
fn every_table_of_the_schema_refuses_what_it_does_not_name() {
    fn check(schema: &Value, path: &str) {
        if let Value::Object(object) = schema {
            if object.contains_key("properties") {
                assert_eq!(object.get("additionalProperties"), Some(&Value::Bool(false)), "{path}");
            }
            for (key, value) in object {
                check(value, &format!("{path}/{key}"));
            }
        }
        for (index, item) in schema.as_array().into_iter().flatten().enumerate() {
            check(item, &format!("{path}/{index}"));
        }
    }
    check(&json_schema(), "");
}

#[test]
fn the_checker_knows_every_keyword_that_the_schemas_use() {
    const KNOWN: [&str; 23] = [
        "$schema",
        "$defs",
        "$ref",
        "title",
        "description",
        "default",
        "format",
        "type",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "properties",
        "additionalProperties",
        "required",
        "items",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
    ];
    fn check(schema: &Value) {
        let Some(object) = schema.as_object() else { return };
        for (keyword, value) in object {
            assert!(KNOWN.contains(&keyword.as_str()), "{keyword} is not checked");
            match (keyword.as_str(), value) {
                ("properties" | "$defs", Value::Object(inner)) => inner.values().for_each(check),
                ("anyOf" | "oneOf", Value::Array(inner)) => inner.iter().for_each(check),
                ("items" | "additionalProperties", inner) => check(inner),
                _ => {}
            }
        }
    }
    check(&json_schema());
    check(&crate::dataset::package::json_schema());
}

// --- what a suite means ---

#[test]
fn the_shortest_suite_takes_every_default() {
    let suite = parse(SMALL, "s.toml").unwrap();
    assert_eq!((suite.models(), suite.datasets()), (vec!["m"], vec![]));
    assert_eq!(suite.model_picks[0].version, VersionPick::Alias("latest".to_owned()));
    assert_eq!(suite.backends.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tract cpu ×1"]);
    assert_eq!(suite.profiles, [MeasurementProfile::of(ProfileKind::Quick)]);
    assert_eq!((suite.seed, suite.max_wait), (1, DEFAULT_MAX_WAIT));
    assert_eq!((suite.gate, suite.limits), (None, Limits::default()));
    assert_eq!(suite.devices, Selector::all());
}

#[test]
fn lists_multiply_in_the_order_of_the_file_and_defaults_fill_the_gaps() {
    let text = "name = \"s\"\nmodels = [\"m\"]\n[defaults.backend]\nruntime = \"tract\"\nthreads = 2\n\
        [[backends]]\nthreads = [1, 4]\naffinity = [\"big\", { cpus = [5, 4, 5] }]\n[[backends]]\naccelerator = \"gpu\"\n";
    let suite = parse(text, "s.toml").unwrap();
    let shown: Vec<String> = suite.backends.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["tract cpu ×1 big", "tract cpu ×1 cpus 4+5", "tract cpu ×4 big", "tract cpu ×4 cpus 4+5", "tract gpu ×2"]
    );
    assert_eq!(suite.backends[1].affinity, Affinity::Cpus(vec![4, 5]));
    assert_eq!(suite.backends[4].accelerator, Accelerator::Gpu);
}

#[test]
fn the_complete_example_means_what_it_says() {
    let suite = parse(complete(), "docs/suite.md").unwrap();
    assert_eq!(suite.name, "nightly-vision");
    assert_eq!(suite.backends.len(), 9);
    assert_eq!(suite.backends[8].provider, Some(Provider::Xnnpack));
    assert_eq!(suite.dataset_picks[0].version, Some(2));
    let full = &suite.profiles[0];
    assert_eq!((full.kind, full.processes, full.stop.min_samples), (ProfileKind::Full, 3, 1024));
    let paced = &suite.profiles[1];
    assert_eq!(
        (paced.interval, paced.stop.min_samples),
        (Some(Duration::from_micros(33_300)), 100),
        "from the defaults"
    );
    assert_eq!(paced.warmup.min_iterations, 5);
    assert_eq!(suite.max_wait, Duration::from_mins(90));
    assert_eq!(suite.limits.deadline(Stage::Measure), Duration::from_mins(11));
    let gate = suite.gate.unwrap();
    assert!(gate.allow_misfits && !gate.allow_invalid);
    assert_eq!(gate.metrics.len(), 2);
}

#[test]
fn a_provider_says_what_it_computes_on_and_must_not_contradict_the_table() {
    let with = |keys: &str| format!("name = \"s\"\nmodels = [\"m\"]\n[[backends]]\n{keys}\n");
    let both = parse(&with("runtime = \"onnxruntime\"\nprovider = [\"webgpu\", \"xnnpack\"]"), "s.toml").unwrap();
    let shown: Vec<String> = both.backends.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["onnxruntime gpu by webgpu ×1", "onnxruntime cpu by xnnpack ×1"]);
    let problem = faults(&with("runtime = \"onnxruntime\"\naccelerator = \"npu\"\nprovider = \"webgpu\""));
    assert!(problem.contains("webgpu computes on the gpu, and the npu is asked for"), "{problem}");
    let problem = faults(&with("runtime = \"tract\"\nprovider = \"webgpu\""));
    assert!(problem.contains("tract has no providers"), "{problem}");
}

#[test]
fn measuring_that_nobody_set_is_shortened_to_fit_its_stage() {
    let sustained = parse(&format!("{SMALL}profiles = [\"sustained\"]"), "s.toml").unwrap();
    assert_eq!(sustained.profiles[0].stop.max_time, Duration::from_secs(645));
    let short =
        parse(&format!("{SMALL}profiles = [\"quick\"]\n[limits.deadline_seconds]\nmeasure = 60"), "s.toml").unwrap();
    assert_eq!(short.profiles[0].stop.max_time, Duration::from_secs(45));
    let long = parse(&format!("{SMALL}profiles = [{{ kind = \"quick\", min_seconds = 630 }}]"), "s.toml").unwrap();
    assert_eq!(long.profiles[0].stop.max_time, Duration::from_secs(630), "or prolonged to hold what was asked for");
}

#[test]
fn every_profile_of_the_registry_is_accepted_as_it_is() {
    let text = "name = \"s\"\nmodels = [\"m\"]\ndatasets = [\"d\"]\nbackends = [{ runtime = \"tract\" }]\n\
        profiles = [\"quick\", \"full\", \"sustained\", \"paced\", \"accuracy_only\"]";
    assert_eq!(parse(text, "s.toml").map(|suite| suite.profiles.len()).map_err(|problems| render(&problems)), Ok(5));
}

// --- faults ---

#[test]
fn unknown_keys_and_wrong_types_are_told_with_their_places_and_all_at_once() {
    insta::assert_snapshot!(faults(
        "nmae = \"nightly\"\n\
         devices = 3\n\
         models = [\"digits\", 7, { name = \"x\", verison = 1 }]\n\
         datasets = \"digits\"\n\
         colour = \"red\"\n\
         \n\
         [[backends]]\n\
         runtime = \"tract\"\n\
         threads = \"two\"\n\
         acelerator = \"cpu\"\n\
         \n\
         [[backends]]\n\
         runtime = \"tract\"\n\
         threads = [1, \"two\", 2.5]\n\
         accelerator = \"gpuu\"\n\
         affinity = \"huge\"\n\
         \n\
         [[profiles]]\n\
         kind = \"qiuck\"\n\
         processes = 0\n\
         min_seconds = \"1m\"\n\
         \n\
         [gate]\n\
         allow_fallback = \"no\"\n\
         max_failed = -1\n"
    ));
}

#[test]
fn ranges_empty_lists_and_large_numbers_are_told() {
    insta::assert_snapshot!(faults(
        "name = \"\"\n\
         models = []\n\
         datasets = []\n\
         seed = 99999999999999999999\n\
         backends = [{ runtime = \"tract\", threads = [] }, { runtime = \"tract\", threads = [0, 5000] }]\n\
         profiles = [{ kind = \"quick\", min_seconds = 1e9, max_samples = 0 }, { kind = \"paced\", interval_ms = nan }]\n\
         limits = { memory_mb = 1, deadline_seconds = { measure = 886, fetch = 3600 } }\n"
    ));
}

#[test]
fn what_a_schema_cannot_say_is_told_too() {
    insta::assert_snapshot!(faults(
        "name = \"night\"\n\
         models = [\"digits\", \"digits@latest\", \"a/b\", { name = \"m\", variants = [\"fp32\", \"fp32\"] }]\n\
         datasets = [\"d@2\", \"d@2\", \"d@prod\"]\n\
         \n\
         [[backends]]\n\
         runtime = \"tract\"\n\
         threads = [1, 2]\n\
         \n\
         [[backends]]\n\
         runtime = \"tract\"\n\
         threads = 2\n\
         \n\
         [[profiles]]\n\
         kind = \"quick\"\n\
         min_seconds = 700\n\
         interval_ms = 10\n\
         \n\
         [[profiles]]\n\
         kind = \"quick\"\n\
         min_samples = 100\n\
         max_samples = 10\n\
         warmup = { min_seconds = 30 }\n\
         \n\
         [[profiles]]\n\
         kind = \"accuracy_only\"\n\
         processes = 2\n"
    ));
}

#[test]
fn a_selector_that_is_wrong_is_a_fault_of_the_suite() {
    insta::assert_snapshot!(faults(&format!("{SMALL}devices = 'brnad == \"Xiaomi\"'")));
    insta::assert_snapshot!(faults(&format!("{SMALL}devices = 'brand == '")));
    insta::assert_snapshot!(faults(&format!("{SMALL}devices = '{}'", "(".repeat(30))));
}

#[test]
fn a_gate_names_only_what_the_suite_holds() {
    insta::assert_snapshot!(faults(&format!(
        "{SMALL}\n\
         [[gate.metrics]]\n\
         metric = \"lat_p50\"\n\
         max = 20\n\
         [[gate.metrics]]\n\
         metric = \"top1\"\n\
         [[gate.metrics]]\n\
         metric = \"top1\"\n\
         min = 2\n\
         max = 1\n\
         model = \"mm\"\n\
         dataset = \"digits\"\n\
         backend = \"tract cpu x1\"\n\
         profile = \"full\"\n"
    )));
}

#[test]
fn a_binding_that_cannot_work_is_told() {
    insta::assert_snapshot!(faults(
        "name = \"night\"\n\
         backends = [{ runtime = \"tract\" }]\n\
         [[models]]\n\
         name = \"m\"\n\
         [models.binding]\n\
         axes = { batch = 0 }\n\
         [[models.binding.inputs]]\n\
         tensor = \"image\"\n\
         std = [0.5, 0]\n\
         resize = { height = 8, width = 8, keep_aspect = true }\n\
         [[models.binding.inputs]]\n\
         tensor = \"mask\"\n\
         resize = { height = 0, width = 8 }\n\
         crop = [8, 0]\n\
         shape = [1, 0]\n\
         quantization = { scale = 0, zero_point = 0 }\n"
    ));
    insta::assert_snapshot!(faults(
        "name = \"night\"\n\
         backends = [{ runtime = \"tract\" }]\n\
         [[models]]\n\
         name = \"m\"\n\
         [[models.binding.inputs]]\n\
         crop = [8, 8, 8]\n\
         resize = { height = 8, width = 8, filter = \"bilinaer\" }\n"
    ));
}

#[test]
fn syntax_errors_come_with_their_place() {
    insta::assert_snapshot!(faults("name = \"x\"\nmodels = [\"a\"\nbackends = []\nname = 1\n"));
}

#[test]
fn a_label_map_is_bounded() {
    let suite = |entries: usize| {
        let map = vec!["0"; entries].join(",");
        format!(
            "name = \"night\"\nbackends = [{{ runtime = \"tract\" }}]\n[[models]]\nname = \"m\"\n[models.binding]\nlabel_map = [{map}]\n"
        )
    };
    assert!(crate::suite::parse(&suite(MAX_LABEL_MAP), "night.toml").is_ok());
    let found = faults(&suite(MAX_LABEL_MAP + 1));
    assert!(found.contains("it has 32769 entries, and at most 32768 are allowed"), "{found}");
}

#[test]
fn size_is_bounded_in_bytes_and_in_combinations() {
    let long = format!("{SMALL}# {}", "x".repeat(MAX_SUITE_BYTES));
    assert_eq!(faults(&long), "night.toml: the file is 262207 bytes long, and at most 262144 are read");
    let threads: Vec<String> = (1..=64).map(|threads| threads.to_string()).collect();
    let models: Vec<String> = (0..200).map(|model| format!("\"m{model}\"")).collect();
    let many = format!(
        "name = \"s\"\nmodels = [{}]\nbackends = [{{ runtime = \"tract\", threads = [{}] }}]",
        models.join(","),
        threads.join(",")
    );
    assert!(faults(&many).contains("the suite asks for 12800 combinations, and at most 10000 are allowed"));
    let tracks: Vec<String> = (0..64).map(|track| format!("\"t{track}\"")).collect();
    let product = format!(
        "name = \"s\"\nmodels = [\"m\"]\nbackends = [{{ runtime = [{t}], track = [{t}], threads = [{n}] }}]",
        t = tracks.join(","),
        n = threads.join(",")
    );
    assert!(faults(&product).contains("its lists multiply to 262144 backends"));
}

#[test]
fn problems_are_bounded_and_in_the_order_of_the_file() {
    let keys: Vec<String> = (0..1000).map(|key| format!("k{key} = 1")).collect();
    let problems = parse(&keys.join("\n"), "s.toml").unwrap_err();
    assert_eq!(problems.len(), 100);
    assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&text, "s.toml");
        let _ = parse(&String::from_utf8_lossy(&bytes), "s.toml");
    }

    #[test]
    fn no_damage_to_a_suite_makes_it_panic(at in 0.0..1.0, length in 0_usize..40, piece in "[a-z0-9\\[\\]{}\"'=.,\n -]{0,12}") {
        let signs: Vec<char> = complete().chars().collect();
        let start = (at * signs.len() as f64) as usize;
        let end = (start + length).min(signs.len());
        let text: String = signs[..start].iter().copied().chain(piece.chars()).chain(signs[end..].iter().copied()).collect();
        if let Err(problems) = parse(&text, "s.toml") {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.line > 0 && problem.column > 0));
        }
    }
}
