use super::fixture::{backend, host, phone, variant};
use super::*;
use crate::backend::Accelerator;
use crate::model::Precision;
use crate::store::PackageRow;
use crate::time::Timestamp;

fn onnx() -> VariantRow {
    variant(1, "fp32", Format::Onnx, Precision::Fp32)
}

fn can_run<'t>(variant: &VariantRow, backend: &Backend, device: &DeviceRow, tracks: &'t [TrackRow]) -> Fit<'t> {
    let combination = Combination { variant, backend, profile: ProfileKind::Quick, has_dataset: false, scorer: None };
    super::can_run(&combination, device, tracks)
}

fn reason(variant: &VariantRow, backend: &Backend, device: &DeviceRow) -> String {
    match can_run(variant, backend, device, &[]) {
        Fit::Fit(_) => "fits".to_owned(),
        Fit::Misfit(reason) => reason.into(),
    }
}

#[test]
fn what_a_device_offers_fits() {
    assert_eq!(can_run(&onnx(), &backend("tract"), &phone(1), &[]), Fit::Fit(None));
    let gpu = Backend { accelerator: Accelerator::Gpu, threads: 8, ..backend("litert") };
    assert_eq!(can_run(&variant(1, "fp16", Format::Tflite, Precision::Fp16), &gpu, &phone(1), &[]), Fit::Fit(None));
}

#[test]
fn runtime_format_accelerator_and_track_are_judged_on_the_offer() {
    let phone = phone(1);
    assert_eq!(reason(&onnx(), &backend("ncnn"), &phone), "the device does not offer ncnn; it offers tract, litert");
    assert_eq!(reason(&onnx(), &backend("litert"), &phone), "litert 1.4.0 does not read onnx");
    let gpu = Backend { accelerator: Accelerator::Gpu, ..backend("tract") };
    assert_eq!(reason(&onnx(), &gpu, &phone), "tract 0.23.9 has no gpu on this device");
    let track = |track: &str| Backend { track: Some(track.to_owned()), ..backend("tract") };
    assert_eq!(reason(&onnx(), &track("0.23"), &phone), "fits");
    assert_eq!(reason(&onnx(), &track("0.2"), &phone), "the device offers tract 0.23.9, which is not of track 0.2");
}

#[test]
fn one_of_several_versions_is_enough_and_otherwise_each_says_why_not() {
    let mut phone = phone(1);
    let mut old = phone.profile.runtimes[0].clone();
    old.version = "0.22.1".to_owned();
    phone.profile.runtimes.push(old);
    let track = |track: &str| Backend { track: Some(track.to_owned()), ..backend("tract") };
    assert_eq!(reason(&onnx(), &track("0.22"), &phone), "fits");
    let both = reason(&onnx(), &track("9"), &phone);
    assert!(both.contains("0.23.9") && both.contains("0.22.1"), "{both}");
}

#[test]
fn threads_are_bounded_by_the_cores_that_the_affinity_leaves() {
    let with = |threads, affinity| Backend { threads, affinity, ..backend("tract") };
    assert_eq!(reason(&onnx(), &with(8, Affinity::Any), &phone(1)), "fits");
    assert_eq!(
        reason(&onnx(), &with(9, Affinity::Any), &phone(1)),
        "9 threads are asked for, and the device has 8 CPUs"
    );
    assert_eq!(reason(&onnx(), &with(4, Affinity::Big), &phone(1)), "fits");
    assert_eq!(
        reason(&onnx(), &with(2, Affinity::Prime), &phone(1)),
        "2 threads are asked for, and the device has 1 CPU (prime)"
    );
}

#[test]
fn an_unknown_number_of_cpus_is_no_reason_against_any_number_of_threads() {
    let mut phone = phone(1);
    phone.profile.cpu.count = Reading::absent("denied");
    phone.profile.cpu.clusters.clear();
    let with = |threads, affinity| Backend { threads, affinity, ..backend("tract") };
    assert_eq!(reason(&onnx(), &with(64, Affinity::Any), &phone), "fits");
    assert_eq!(reason(&onnx(), &with(1, Affinity::Cpus(vec![63])), &phone), "fits");
    assert_eq!(reason(&onnx(), &with(1, Affinity::Big), &phone), "which cores are big is not known (denied)");
}

#[test]
fn each_affinity_means_its_clusters() {
    let cpu = phone(1).profile.cpu;
    let cpus = |affinity| cpus_of(&affinity, &cpu).map_err(String::from);
    assert_eq!(cpus(Affinity::Any), Ok(None));
    assert_eq!(cpus(Affinity::Little), Ok(Some(vec![0, 1, 2, 3])));
    assert_eq!(cpus(Affinity::Mid), Ok(Some(vec![4, 5, 6])));
    assert_eq!(cpus(Affinity::Big), Ok(Some(vec![4, 5, 6, 7])));
    assert_eq!(cpus(Affinity::Prime), Ok(Some(vec![7])));
    assert_eq!(cpus(Affinity::Cpus(vec![0, 7])), Ok(Some(vec![0, 7])));
    assert_eq!(cpus(Affinity::Cpus(vec![8])), Err("the device has no CPU 8".to_owned()));
}

#[test]
fn an_affinity_that_means_nothing_here_is_a_misfit_and_not_a_guess() {
    let little = Backend { affinity: Affinity::Little, ..backend("tract") };
    assert_eq!(reason(&onnx(), &little, &host()), "the device's CPUs are all alike, so it has no little cores");
    let mut two = phone(1);
    two.profile.cpu.clusters.truncate(2);
    let mid = Backend { affinity: Affinity::Mid, ..backend("tract") };
    assert_eq!(reason(&onnx(), &mid, &two), "the device has two kinds of cores, so it has no mid cores");
    two.profile.cpu.clusters[1].max_frequency_khz = Reading::absent("denied");
    assert_eq!(reason(&onnx(), &little, &two), "which cores are little is not known (denied)");
}

#[test]
fn devices_out_of_service_say_why() {
    let states = DeviceState::ALL.iter().filter(|&&state| {
        let device = DeviceRow { state, ..phone(1) };
        can_run(&onnx(), &backend("tract"), &device, &[]) != Fit::Fit(None)
    });
    use DeviceState::{Discovered, Maintenance, Quarantined, Retired, Unauthorized};
    assert_eq!(states.copied().collect::<Vec<_>>(), [Discovered, Unauthorized, Quarantined, Maintenance, Retired]);
    let sick = DeviceRow { state: Quarantined, state_reason: "lost two jobs".to_owned(), ..phone(1) };
    assert_eq!(reason(&onnx(), &backend("tract"), &sick), "the device is quarantined: lost two jobs");
}

#[test]
fn a_variant_larger_than_the_memory_or_with_a_refused_signature_is_not_tried() {
    let mut large = onnx();
    large.manifest.entries[0].size = 9 << 30;
    assert_eq!(
        reason(&large, &backend("tract"), &phone(1)),
        "the variant has 9216 MiB, and the device has 8192 MiB of memory"
    );
    let mut unknown = phone(1);
    unknown.profile.memory_bytes = Reading::absent("denied");
    assert_eq!(reason(&large, &backend("tract"), &unknown), "fits", "what is not known is no reason");
    let refused = VariantRow { standing: SignatureStanding::Refused, ..onnx() };
    assert!(reason(&refused, &backend("tract"), &phone(1)).starts_with("a device loaded the variant"));
}

/// A track of onnxruntime with a package for one ABI.
fn track(name: &str, abi: &str, accelerators: &[Accelerator]) -> TrackRow {
    let package = RuntimePackage {
        runtime: "onnxruntime".to_owned(),
        kind: PackageKind::Library { engine: Engine::Onnxruntime },
        version: "1.31.1".to_owned(),
        abi: Some(abi.parse().unwrap()),
        accelerators: accelerators.to_vec(),
        formats: vec![Format::Onnx],
        manifest: crate::model::Manifest::default(),
    };
    let row = PackageRow { package, created_at: Timestamp::from_micros(0), created_by: "mara".to_owned() };
    TrackRow { runtime: "onnxruntime".to_owned(), name: name.to_owned(), packages: vec![row] }
}

#[test]
fn an_engine_that_is_not_built_in_comes_from_the_track_of_the_devices_abi() {
    let mut host = host();
    host.profile.abi = "x86_64-linux-gnu".to_owned();
    host.profile.engines = vec![Engine::Onnxruntime];
    let tracks = [
        track("stable", "x86_64-linux-gnu", &[Accelerator::Cpu]),
        track("phones", "aarch64-linux-android", &[Accelerator::Cpu]),
    ];
    let judged =
        |backend: &Backend, device: &DeviceRow, tracks: &[TrackRow]| match can_run(&onnx(), backend, device, tracks) {
            Fit::Fit(package) => format!("fits {}", package.map_or("built in", |package| &package.version)),
            Fit::Misfit(reason) => reason.into(),
        };
    let plain = backend("onnxruntime");
    assert_eq!(judged(&plain, &host, &tracks), "fits 1.31.1", "a backend without a track means the stable one");
    assert_eq!(judged(&backend("tract"), &host, &tracks), "fits built in");
    let of = |track: &str| Backend { track: Some(track.to_owned()), ..plain.clone() };
    assert_eq!(
        judged(&of("phones"), &host, &tracks),
        "track phones has no onnxruntime for x86_64-linux-gnu; it has aarch64-linux-android"
    );
    assert_eq!(judged(&of("1.30"), &host, &tracks), "there is no track 1.30 of onnxruntime; there are stable, phones");
    assert_eq!(judged(&plain, &host, &[]), "there is no package of onnxruntime; `seatrial runtimes add` brings one");
    let gpu = Backend { accelerator: Accelerator::Gpu, ..plain.clone() };
    assert_eq!(judged(&gpu, &host, &tracks), "the package of onnxruntime 1.31.1 holds nothing for gpu");
    let tflite = variant(1, "fp32", Format::Tflite, Precision::Fp32);
    let Fit::Misfit(reason) = can_run(&tflite, &plain, &host, &tracks) else { panic!("it reads no TFLite") };
    assert_eq!(reason, "onnxruntime 1.31.1 does not read tflite");
    host.profile.engines.clear();
    assert_eq!(judged(&plain, &host, &tracks), "the agent on the device cannot load onnxruntime from a package");
}

#[test]
fn a_runner_needs_no_abi_and_a_device_with_its_interpreter() {
    let mut track = track("stable", "x86_64-linux-gnu", &[Accelerator::Cpu]);
    track.runtime = "caffe".to_owned();
    let package = &mut track.packages[0].package;
    package.runtime = "caffe".to_owned();
    package.kind = PackageKind::Runner { interpreter: Some("python3".to_owned()) };
    package.abi = None;
    let tracks = [track];
    let mut phone = phone(1);
    let refused = can_run(&onnx(), &backend("caffe"), &phone, &tracks);
    let Fit::Misfit(refused) = refused else { panic!("it has no interpreter") };
    assert_eq!(
        refused,
        "caffe is run by python3, which the agent on the device does not have: start it with --interpreter"
    );
    phone.profile.interpreters = [("python3".to_owned(), "3.11.7".to_owned())].into();
    assert!(matches!(can_run(&onnx(), &backend("caffe"), &phone, &tracks), Fit::Fit(Some(_))));
}

#[test]
fn a_benchmark_program_is_not_given_what_it_cannot_do() {
    let mut track = track("stable", "aarch64-linux-android", &[Accelerator::Cpu]);
    track.runtime = "llama-bench".to_owned();
    let package = &mut track.packages[0].package;
    package.runtime = "llama-bench".to_owned();
    package.kind = PackageKind::Command;
    package.formats = vec![Format::Gguf];
    let mut phone = phone(1);
    phone.profile.abi = "aarch64-linux-android".to_owned();
    let (tracks, gguf) = ([track], variant(1, "q4", Format::Gguf, Precision::Int4));
    let judged = |backend: &Backend, profile: ProfileKind, has_dataset: bool| match super::can_run(
        &Combination { variant: &gguf, backend, profile, has_dataset, scorer: None },
        &phone,
        &tracks,
    ) {
        Fit::Fit(package) => format!("fits {}", package.map_or("built in", |package| &package.runtime)),
        Fit::Misfit(reason) => reason.into(),
    };
    let plain = backend("llama-bench");
    assert_eq!(judged(&plain, ProfileKind::Full, false), "fits llama-bench");
    let measures_itself = "llama-bench is a program that measures itself: it";
    assert_eq!(judged(&plain, ProfileKind::Full, true), format!("{measures_itself} runs no dataset"));
    assert_eq!(judged(&plain, ProfileKind::Paced, false), format!("{measures_itself} knows no profile paced"));
    let gpu = Backend { accelerator: Accelerator::Gpu, ..plain };
    let refused = judged(&gpu, ProfileKind::Quick, false);
    assert_eq!(refused, "the package of llama-bench 1.31.1 holds nothing for gpu");
}

#[test]
fn a_scorer_needs_a_device_with_its_interpreter_whatever_the_engine() {
    let scorer = crate::dataset::scorer::tests::scorer();
    let (variant, backend, mut phone) = (onnx(), backend("tract"), phone(1));
    let combination = Combination {
        variant: &variant,
        backend: &backend,
        profile: ProfileKind::Quick,
        has_dataset: true,
        scorer: Some(("digits-ece", &scorer)),
    };
    let Fit::Misfit(reason) = super::can_run(&combination, &phone, &[]) else { panic!("it has no interpreter") };
    assert_eq!(reason.code(), Some(Code::NoScorerInterpreter));
    assert_eq!(
        reason,
        "the scorer of digits-ece is run by python3, which the agent on the device does not have: start it with --interpreter"
    );
    let none = Combination { scorer: None, ..combination };
    assert_eq!(super::can_run(&none, &phone, &[]), Fit::Fit(None), "the control: nothing is asked of the device");
    phone.profile.interpreters = [("python3".to_owned(), "Python 3.11.7".to_owned())].into();
    assert_eq!(super::can_run(&combination, &phone, &[]), Fit::Fit(None));
}
