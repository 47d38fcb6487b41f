use proptest::prelude::*;

use super::*;
use crate::dataset::InputBinding;
use crate::device::DeviceState;
use crate::ids::{JobId, ProjectId, QuarantineId};
use crate::placement::fixture::{dataset, host, model, phone};
use crate::reading::Reading;
use crate::suite::{self, render};
use crate::time::Timestamp;

fn catalog() -> Catalog {
    Catalog {
        models: vec![model(1, "digits-cnn"), model(2, "digits-mlp")],
        datasets: vec![dataset(1, "digits")],
        tracks: Vec::new(),
        quarantines: Vec::new(),
    }
}

/// The first job of this expansion, in quarantine.
fn quarantined(job: &PlannedJob, devices: &[DeviceRow]) -> QuarantineRow {
    let device = devices.iter().find(|device| device.id == job.device).unwrap();
    let now = Timestamp::from_micros(0);
    QuarantineRow {
        id: QuarantineId::new(now, [7; 10]),
        project: ProjectId::new(now, [0; 10]),
        device: job.device,
        device_name: job.device_name.clone(),
        variant_id: job.variant,
        model: job.spec.model.model.clone(),
        version: job.spec.model.version,
        variant: job.spec.model.variant.clone(),
        backend: job.spec.backend.to_string(),
        versions: TripleVersions::of(&job.spec.backend, None, &device.profile),
        failure: None,
        job: JobId::new(now, [1; 10]),
        attempt: 2,
        created_at: now,
        lifted_at: None,
        lifted_by: None,
    }
}

#[test]
fn what_has_failed_together_is_a_misfit_until_something_of_it_changes() {
    let devices = [phone(1), phone(2)];
    let suite = suite::parse(&suite_of("\"digits-cnn\"", ""), "night.toml").unwrap();
    let misfits = |quarantines: Vec<QuarantineRow>, devices: &[DeviceRow]| {
        let catalog = Catalog { quarantines, ..catalog() };
        expand(&suite, &catalog, devices, MAX_CELLS).unwrap().misfits
    };
    let planned = expand(&suite, &catalog(), &devices, MAX_CELLS).unwrap();
    let row = quarantined(&planned.jobs[0], &devices);
    let kept = misfits(vec![row.clone()], &devices);
    assert_eq!(kept.len(), 1, "one backend of one variant on one device");
    assert_eq!((kept[0].device, &kept[0].backend), (Some(row.device), &row.backend));
    assert!(kept[0].reason.starts_with("this model crashed or hung twice with this backend"), "{}", kept[0].reason);
    assert!(kept[0].reason.contains(&row.id.short()), "it says what to lift");

    let mut updated = devices.clone();
    updated[0].profile.kernel = Reading::Present("6.99".to_owned());
    assert_eq!(misfits(vec![row.clone()], &updated), [], "the device has other software");
    let other = TripleVersions { runtime: "tract 99".to_owned(), ..row.versions.clone() };
    assert_eq!(misfits(vec![QuarantineRow { versions: other, ..row.clone() }], &devices), [], "another runtime");
    let version = planned.jobs.iter().find(|job| job.variant != row.variant_id).unwrap().variant;
    let of_other = misfits(vec![QuarantineRow { variant_id: version, ..row.clone() }], &devices);
    assert!(of_other.iter().all(|misfit| misfit.variant != row.variant), "another version has other variants");
    let lifted = QuarantineRow { lifted_at: Some(Timestamp::from_micros(1)), ..row };
    assert_eq!(misfits(vec![lifted], &devices), [], "an operator has lifted it");
}

fn run(text: &str, devices: &[DeviceRow]) -> Result<Expansion, String> {
    let suite = suite::parse(text, "night.toml").map_err(|problems| render(&problems))?;
    expand(&suite, &catalog(), devices, MAX_CELLS).map_err(|problems| render(&problems))
}

fn suite_of(models: &str, rest: &str) -> String {
    format!(
        "name = \"s\"\nmodels = [{models}]\ndatasets = [\"digits\"]\nbackends = [{{ runtime = \"tract\", threads = [1, 4] }}]\n{rest}"
    )
}

#[test]
fn every_cell_is_a_job_or_a_misfit_in_one_order() {
    let devices = [phone(2), host(), phone(1)];
    let expansion = run(&suite_of("\"digits-cnn\"", "profiles = [\"quick\", \"full\"]"), &devices).unwrap();
    // 2 variants × 1 dataset × 2 thread counts × 2 profiles × 3 devices; the host has too few CPUs for 4 threads.
    assert_eq!((expansion.jobs.len(), expansion.misfits.len()), (20, 4));
    let first: Vec<String> = expansion.jobs.iter().take(6).map(cell).collect();
    assert_eq!(
        first,
        [
            "fp32 tract cpu ×1 quick Xiaomi 15 №1",
            "fp32 tract cpu ×1 quick Xiaomi 15 №2",
            "fp32 tract cpu ×1 quick build-host",
            "fp32 tract cpu ×1 full Xiaomi 15 №1",
            "fp32 tract cpu ×1 full Xiaomi 15 №2",
            "fp32 tract cpu ×1 full build-host",
        ]
    );
    let misfit = &expansion.misfits[0];
    assert_eq!(misfit.reason, "4 threads are asked for, and the device has 2 CPUs");
    assert_eq!(
        (misfit.model.as_str(), misfit.dataset.as_deref(), misfit.device),
        ("digits-cnn", Some("digits"), Some(host().id))
    );
    assert_eq!((misfit.backend.as_str(), misfit.profile.as_str()), ("tract cpu ×4", "quick"));
}

fn cell(job: &PlannedJob) -> String {
    let JobSpec { model, backend, profile, .. } = &*job.spec;
    format!("{} {backend} {} {}", model.variant, profile.kind.as_str(), job.device_name)
}

#[test]
fn a_job_holds_all_that_its_device_needs() {
    let expansion = run(&suite_of("\"digits-cnn@prod\"", "seed = 7"), &[phone(1)]).unwrap();
    let job = &expansion.jobs[0];
    let (catalog, spec) = (catalog(), &job.spec);
    let version = &catalog.models[0].versions[1];
    assert_eq!((spec.model.version, job.variant), (1, version.variants[0].id));
    assert_eq!(spec.model.manifest, version.variants[0].manifest);
    assert_eq!(spec.seed, 7);
    let newest = &catalog.datasets[0].versions[0];
    assert_eq!((spec.dataset.as_ref().map(|dataset| dataset.version), job.dataset), (Some(2), Some(newest.id)));
    assert_eq!(spec.dataset.as_ref().map(|dataset| (dataset.digest, dataset.examples)), Some((newest.digest, 360)));
    assert_eq!(spec.artifacts().count(), 2);
}

#[test]
fn versions_are_found_by_number_and_by_alias() {
    for (pick, version) in [("digits-cnn", 2), ("digits-cnn@latest", 2), ("digits-cnn@prod", 1), ("digits-cnn@1", 1)] {
        let expansion = run(&suite_of(&format!("\"{pick}\""), ""), &[phone(1)]).unwrap();
        assert!(expansion.jobs.iter().all(|job| job.spec.model.version == version), "{pick}");
    }
}

#[test]
fn names_that_mean_nothing_are_told_all_at_once() {
    let text = "name = \"s\"\nmodels = [\n \"digits-cn\",\n \"digits-cnn@9\",\n \"digits-cnn@prdo\",\n { name = \"digits-mlp\", variants = [\"int9\"] },\n \"digits-cnn@prod\",\n \"digits-cnn@1\",\n]\n\
        datasets = [\"digitz\", \"digits@3\", \"digits\", \"digits@2\"]\nbackends = [{ runtime = \"tract\" }]\n";
    insta::assert_snapshot!(run(text, &[phone(1)]).unwrap_err());
}

#[test]
fn the_suites_binding_comes_before_the_datasets_and_that_before_any() {
    let named = |axis: &str| Binding { axes: [(axis.to_owned(), 1)].into(), ..Binding::default() };
    let mut catalog = catalog();
    let bindings = &mut catalog.models[0].versions[0].bindings;
    let axes = |text: &str, catalog: &Catalog| {
        let suite = suite::parse(text, "s.toml").unwrap();
        let expansion = expand(&suite, catalog, &[phone(1)], MAX_CELLS).unwrap();
        expansion.jobs[0].spec.binding.axes.keys().cloned().collect::<Vec<_>>().join(",")
    };
    let plain = suite_of("\"digits-cnn\"", "");
    bindings.push((Some("other".to_owned()), named("other")));
    assert_eq!(axes(&plain, &catalog), "", "a binding for another dataset is not taken");
    catalog.models[0].versions[0].bindings.push((None, named("any")));
    assert_eq!(axes(&plain, &catalog), "any");
    catalog.models[0].versions[0].bindings.push((Some("digits".to_owned()), named("digits")));
    assert_eq!(axes(&plain, &catalog), "digits");
    let own = suite_of("{ name = \"digits-cnn\", binding = { axes = { own = 1 } } }", "");
    assert_eq!(axes(&own, &catalog), "own");
}

#[test]
fn a_binding_that_names_what_the_model_does_not_have_is_a_fault() {
    let text = suite_of(
        "{ name = \"digits-cnn\", variants = [\"fp32\"], binding = { scores = \"logit\", inputs = [{ tensor = \"photo\" }] } }",
        "",
    );
    insta::assert_snapshot!(run(&text, &[phone(1)]).unwrap_err());
}

#[test]
fn a_task_that_needs_to_be_told_how_outputs_are_read_is_a_misfit_without() {
    for (task, key) in [(Task::Detection, "boxes"), (Task::Text, "text")] {
        let mut catalog = catalog();
        catalog.datasets[0].versions[0].task = task;
        let text = suite_of("\"digits-cnn\"", "");
        let suite = suite::parse(&text, "night.toml").unwrap();
        let error = render(&expand(&suite, &catalog, &[phone(1)], MAX_CELLS).unwrap_err());
        let said = format!("the binding has no `{key}`, which says how outputs are read for {}", task.as_str());
        assert!(error.contains(&said), "{error}");
    }
    let binding: Binding = toml::from_str("boxes = { tensor = \"b\", format = \"xyxy\" }").unwrap();
    assert_eq!(unread(Task::Detection, &binding), None);
    assert_eq!(unread(Task::Segmentation, &Binding::default()), None);
}

#[test]
fn generated_inputs_need_the_size_of_every_axis() {
    let text = |binding: &str| {
        format!("name = \"s\"\nmodels = [{{ name = \"digits-cnn\"{binding} }}]\nbackends = [{{ runtime = \"tract\" }}]")
    };
    let error = run(&text(""), &[phone(1)]).unwrap_err();
    assert!(error.contains("axis \"batch\" of input \"image\" has no size"), "{error}");
    assert_eq!(run(&text(", binding = { axes = { batch = 1 } }"), &[phone(1)]).map(|e| e.jobs.len()), Ok(2));
    assert_eq!(
        run(&text(", binding = { inputs = [{ tensor = \"image\", shape = [1, 64] }] }"), &[phone(1)])
            .map(|e| e.jobs.len()),
        Ok(2)
    );
    let unrelated = InputBinding {
        tensor: "other".to_owned(),
        source: None,
        resize: None,
        crop: None,
        channels: None,
        scale: None,
        mean: None,
        std: None,
        layout: None,
        shape: Some(vec![1]),
        dtype: None,
        quantization: None,
    };
    let binding = Binding { inputs: vec![unrelated], ..Binding::default() };
    assert!(open_axis(&model(1, "m").versions[0].variants[0].signature, &binding, false).is_some());
}

#[test]
fn a_device_out_of_service_is_a_misfit_and_never_silence() {
    let sick = DeviceRow { state: DeviceState::Quarantined, state_reason: "lost two jobs".to_owned(), ..phone(2) };
    let expansion = run(&suite_of("\"digits-cnn\"", ""), &[phone(1), sick.clone()]).unwrap();
    assert_eq!((expansion.jobs.len(), expansion.misfits.len()), (4, 4));
    assert!(
        expansion
            .misfits
            .iter()
            .all(|misfit| misfit.device == Some(sick.id) && misfit.reason.contains("lost two jobs"))
    );
}

#[test]
fn a_device_that_cannot_be_judged_is_a_misfit_with_the_reading_that_is_not_known() {
    let expansion = run(&suite_of("\"digits-cnn\"", "devices = 'android_api >= 34'"), &[phone(1), host()]).unwrap();
    assert_eq!((expansion.jobs.len(), expansion.misfits.len()), (4, 4));
    assert_eq!(
        expansion.misfits[0].reason,
        "the selector cannot be decided: `android_api` is not known (not an Android device)"
    );
    let guarded = suite_of("\"digits-cnn\"", "devices = 'android_api != null && android_api >= 34'");
    assert_eq!(run(&guarded, &[phone(1), host()]).map(|e| e.misfits.len()), Ok(0));
}

#[test]
fn a_suite_that_would_run_nothing_is_a_fault_that_names_what_is_closest() {
    let none =
        suite_of("\"digits-cnn\"", "devices = 'brand == \"Xiaomi\" && memory_gb >= 16 && labels.shelf == \"A3\"'");
    insta::assert_snapshot!(run(&none, &[phone(1), phone(2), host()]).unwrap_err());
    let retired = DeviceRow { state: DeviceState::Retired, ..phone(1) };
    insta::assert_snapshot!(run(&suite_of("\"digits-cnn\"", ""), &[retired]).unwrap_err());
    insta::assert_snapshot!(run(&suite_of("\"digits-cnn\"", ""), &[]).unwrap_err());
}

#[test]
fn the_product_is_bounded() {
    let threads: Vec<String> = (1..=60).map(|threads| threads.to_string()).collect();
    let text = format!(
        "name = \"s\"\nmodels = [\"digits-cnn\"]\ndatasets = [\"digits\"]\nprofiles = [\"quick\", \"full\", \"paced\", \"accuracy_only\"]\n\
         backends = [{{ runtime = [\"tract\", \"litert\", \"a\", \"b\"], accelerator = [\"cpu\", \"gpu\", \"npu\"], threads = [{}] }}]",
        threads.join(",")
    );
    let devices: Vec<DeviceRow> = (1..=30).map(phone).collect();
    let error = run(&text, &devices).unwrap_err();
    assert!(error.contains("5760 combinations on 30 devices are 172800 jobs and misfits"), "{error}");
}

#[test]
fn a_run_has_no_more_jobs_than_the_server_takes_and_says_how_many_there_would_be() {
    let suite = suite::parse(&suite_of("\"digits-cnn\"", ""), "s.toml").unwrap();
    let devices = [phone(1), phone(2)]; // 2 variants × 2 thread counts on 2 devices
    let expanded = |max_jobs| expand(&suite, &catalog(), &devices, max_jobs).map_err(|problems| render(&problems));
    assert_eq!(expanded(8).map(|expansion| expansion.jobs.len()), Ok(8));
    let error = expanded(7).unwrap_err();
    assert!(error.contains("expands to 8 jobs, and this server accepts 7"), "{error}");
    let chosen: Vec<_> = devices.iter().map(|row| ChosenDevice { row, undecided: None }).collect();
    let catalog = catalog();
    let mut problems = Problems { file: "s.toml", found: Vec::new() };
    let variants = choose_variants(&suite, &catalog, &mut problems);
    let datasets = choose_datasets(&suite, &catalog, &mut problems);
    let nothing = Catalog::default();
    let Plan { expansion, jobs, .. } = plan(&suite, &variants, &datasets, &chosen, Plan::new(3, &nothing));
    assert_eq!((jobs, expansion.jobs.len()), (8, 3), "and builds none beyond them");
}

#[test]
fn devices_share_the_specification_of_their_combination() {
    let expansion = run(&suite_of("\"digits-cnn\"", ""), &[phone(1), phone(2)]).unwrap();
    for pair in expansion.jobs.chunks(2) {
        assert!(Arc::ptr_eq(&pair[0].spec, &pair[1].spec));
    }
    assert!(!Arc::ptr_eq(&expansion.jobs[1].spec, &expansion.jobs[2].spec), "the control");
}

#[test]
fn specifications_are_bounded_in_bytes_together() {
    let suite = suite::parse(&suite_of("\"digits-cnn\"", ""), "s.toml").unwrap();
    let of_labels = |count| {
        let mut catalog = catalog();
        let binding = Binding { label_map: Some(vec![4_000_000_000; count]), ..Binding::default() };
        catalog.models[0].versions[0].bindings.push((None, binding));
        expand(&suite, &catalog, &[phone(1), phone(2)], MAX_CELLS)
    };
    assert_eq!(of_labels(20_000).unwrap().jobs.len(), 8);
    let error = render(&of_labels(2_000_000).unwrap_err()); // 22 MB of JSON each
    assert!(error.contains("take more than 134217728 bytes together"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn jobs_and_misfits_are_the_whole_product_whatever_the_order_of_the_devices(
        threads in prop::collection::btree_set(1_u16..12, 1..5),
        both_models in any::<bool>(),
        full in any::<bool>(),
        mut numbers in Just((1_u8..=6).collect::<Vec<_>>()).prop_shuffle(),
        count in 1_usize..=6,
        states in prop::collection::vec(prop::sample::select(DeviceState::ALL.to_vec()), 6),
    ) {
        numbers.truncate(count);
        let fleet = |numbers: &[u8]| -> Vec<DeviceRow> {
            numbers.iter().map(|&n| DeviceRow { state: states[usize::from(n) - 1], ..phone(n) }).chain([host()]).collect()
        };
        let threads: Vec<String> = threads.iter().map(u16::to_string).collect();
        let models = if both_models { "\"digits-cnn\", \"digits-mlp\"" } else { "\"digits-cnn\"" };
        let profiles = if full { "[\"quick\", \"full\"]" } else { "[\"quick\"]" };
        let text = format!(
            "name = \"s\"\nmodels = [{models}]\ndatasets = [\"digits\"]\nprofiles = {profiles}\nbackends = [{{ runtime = [\"tract\", \"ncnn\"], threads = [1, {}] }}]",
            threads.iter().filter(|n| *n != "1").cloned().collect::<Vec<_>>().join(", ")
        );
        let suite = suite::parse(&text, "s.toml").map_err(|problems| TestCaseError::fail(render(&problems)))?;
        let devices = fleet(&numbers);
        let expansion =
            expand(&suite, &catalog(), &devices, MAX_CELLS).map_err(|problems| TestCaseError::fail(render(&problems)))?;
        let variants = if both_models { 4 } else { 2 };
        let cells = variants * suite.backends.len() * suite.profiles.len() * devices.len();
        prop_assert_eq!(expansion.jobs.len() + expansion.misfits.len(), cells);

        numbers.reverse();
        let again = expand(&suite, &catalog(), &fleet(&numbers), MAX_CELLS).map_err(|problems| TestCaseError::fail(render(&problems)))?;
        prop_assert_eq!(again.jobs, expansion.jobs);
        prop_assert_eq!(again.misfits, expansion.misfits);
    }
}

#[test]
fn a_job_carries_its_datasets_scorer_and_a_gate_on_a_figure_that_no_scorer_tells_is_a_fault() {
    let mut catalog = catalog();
    let version = &mut catalog.datasets[0].versions[0];
    (version.task, version.scorer) = (Task::Custom, Some(scorer::tests::scorer()));
    let mut phone = phone(1);
    phone.profile.interpreters = [("python3".to_owned(), "Python 3.11.7".to_owned())].into();
    let expanded = |gate: &str| {
        let text = suite_of("\"digits-cnn\"", &format!("[gate]\nmetrics = [{{ {gate} }}]"));
        let suite = suite::parse(&text, "night.toml").map_err(|problems| render(&problems))?;
        expand(&suite, &catalog, std::slice::from_ref(&phone), MAX_CELLS).map_err(|problems| render(&problems))
    };
    let expansion = expanded("metric = \"custom.ece\", max = 0.1, dataset = \"digits\"").unwrap();
    assert_eq!(expansion.jobs[0].spec.dataset.as_ref().unwrap().scorer, Some(scorer::tests::scorer()));
    let error = expanded("metric = \"custom.ecce\", max = 0.1").unwrap_err();
    assert!(error.contains("no scorer of its datasets tells \"custom.ecce\""), "{error}");
    assert!(error.contains("did you mean \"custom.ece\"?"), "{error}");
    let error = expanded("metric = \"custom.ECE\", max = 0.1").unwrap_err();
    assert!(error.contains("unknown metric \"custom.ECE\""), "{error}");
}
