use super::*;

fn library(path: &str, machine: Machine, needed: &[&str]) -> Library {
    Library {
        path: path.to_owned(),
        machine: Ok(machine),
        android_note: false,
        needed: needed.iter().map(|name| (*name).to_owned()).collect(),
        exports: BTreeMap::new(),
        texts: BTreeSet::new(),
        python_module: false,
    }
}

fn exporting(mut library: Library, name: &str, version: Option<&str>) -> Library {
    library.exports.insert(name.to_owned(), version.map(str::to_owned));
    library
}

fn onnxruntime(path: &str, machine: Machine) -> Library {
    exporting(library(path, machine, &["libc.so.6"]), "OrtGetApiBase", Some("VERS_1.31.1"))
}

fn contents(file_name: &str, libraries: Vec<Library>) -> Contents {
    Contents { file_name: file_name.to_owned(), libraries, declared: None }
}

const WHEEL: &str = "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl";

#[test]
fn a_wheel_of_onnxruntime_is_its_engine_its_version_and_its_providers() {
    let mut python = onnxruntime("onnxruntime/capi/onnxruntime_pybind11_state.so", Machine::X86_64);
    python.python_module = true;
    let libraries = vec![
        onnxruntime("onnxruntime/capi/libonnxruntime.so.1.31.1", Machine::X86_64),
        library("onnxruntime/capi/libonnxruntime_providers_shared.so", Machine::X86_64, &["libc.so.6"]),
        library("other/libonnxruntime_providers_cuda.so", Machine::X86_64, &["libc.so.6"]),
        python,
    ];
    let found = recognise(&contents(WHEEL, libraries), None).unwrap();
    assert_eq!(
        found,
        [Recognised {
            engine: Engine::Onnxruntime,
            version: "1.31.1".to_owned(),
            abi: Abi { machine: Machine::X86_64, libc: Libc::Gnu },
            accelerators: vec![Accelerator::Cpu],
            library: "onnxruntime/capi/libonnxruntime.so.1.31.1".to_owned(),
            companions: vec!["onnxruntime/capi/libonnxruntime_providers_shared.so".to_owned()],
        }]
    );
}

#[test]
fn a_library_tells_its_accelerators_by_what_it_holds() {
    let mut webgpu = onnxruntime("libonnxruntime.so", Machine::X86_64);
    webgpu.texts.insert("wgpuCreateInstance".to_owned());
    let found = recognise(&contents("x.zip", vec![webgpu]), None).unwrap();
    assert_eq!(found[0].accelerators, [Accelerator::Cpu, Accelerator::Gpu]);

    let litert = exporting(library("libLiteRt.so", Machine::X86_64, &["libc.so.6"]), "LiteRtCreateEnvironment", None);
    let gpu = library("libLiteRtWebGpuAccelerator.so", Machine::X86_64, &["libc.so.6"]);
    let plugin = library("libLiteRtCompilerPlugin_Qualcomm.so", Machine::X86_64, &["libQnnHtp.so"]);
    let mut archive = contents("ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_x86_64.whl", vec![litert, gpu, plugin]);
    archive.declared = Some(Declared { name: Some("ai-edge-litert".to_owned()), version: "2.3.0".to_owned() });
    let found = recognise(&archive, None).unwrap();
    assert_eq!(found[0].accelerators, [Accelerator::Cpu, Accelerator::Gpu]);
    assert_eq!((found[0].version.as_str(), found[0].companions.len()), ("2.3.0", 1));
}

#[test]
fn an_aar_is_a_package_for_each_abi() {
    let android = |folder: &str, machine| {
        let path = format!("jni/{folder}/libonnxruntime.so");
        exporting(library(&path, machine, &["libc.so", "liblog.so"]), "OrtGetApiBase", None)
    };
    let libraries = vec![
        android("arm64-v8a", Machine::Aarch64),
        android("armeabi-v7a", Machine::Arm),
        android("x86", Machine::X86),
        android("x86_64", Machine::X86_64),
    ];
    let found = recognise(&contents("onnxruntime-android-1.20.0.aar", libraries), None).unwrap();
    let mut abis: Vec<String> = found.iter().map(|package| package.abi.to_string()).collect();
    abis.sort();
    assert_eq!(abis, ["aarch64-linux-android", "arm-linux-androideabi", "x86-linux-android", "x86_64-linux-android"]);
    assert!(found.iter().all(|package| package.version == "1.20.0"));
}

#[test]
fn a_name_that_promises_another_processor_is_refused_with_the_file() {
    let lie = contents("linux-armv7l-3.22.1.tgz", vec![onnxruntime("package/libonnxruntime.so", Machine::Aarch64)]);
    let refusal = recognise(&lie, None).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "\"linux-armv7l-3.22.1.tgz\" promises arm, but package/libonnxruntime.so is built for aarch64: the package is \
         mislabelled and would not load"
    );
    let folder = contents("a.aar", vec![onnxruntime("jni/x86_64/libonnxruntime.so", Machine::X86)]);
    assert!(matches!(recognise(&folder, None), Err(Refusal::NameLies { claimed: Machine::X86_64, .. })));
    let honest = contents("linux-arm64.tgz", vec![onnxruntime("package/libonnxruntime.so", Machine::Aarch64)]);
    assert_eq!(recognise(&honest, None).unwrap().len(), 1, "the control: an honest name");
}

#[test]
fn a_companion_for_another_processor_is_refused() {
    let libraries = vec![
        onnxruntime("libonnxruntime.so", Machine::X86_64),
        library("libonnxruntime_providers_shared.so", Machine::Aarch64, &["libc.so.6"]),
    ];
    let refusal = recognise(&contents("x.zip", libraries), None).unwrap_err();
    assert!(matches!(refusal, Refusal::NameLies { machine: Machine::Aarch64, .. }), "{refusal}");
}

#[test]
fn what_holds_no_engine_says_what_it_holds() {
    let refused = |libraries| recognise(&contents("x.whl", libraries), None).unwrap_err();
    assert_eq!(refused(Vec::new()), Refusal::NoLibrary);
    let other = library("libfoo.so", Machine::X86_64, &["libc.so.6"]);
    assert_eq!(refused(vec![other.clone()]), Refusal::NoEngine { known: None, libraries: 1 });
    let llama = exporting(other, "llama_decode", None);
    assert!(refused(vec![llama]).to_string().contains("llama.cpp"));
    let mut foreign = onnxruntime("libonnxruntime.so", Machine::X86_64);
    foreign.machine = Err(ForeignMachine { code: 22, bits: 64 });
    assert!(refused(vec![foreign]).to_string().contains("ELF machine 22"));
    let mut bare = onnxruntime("libonnxruntime.so", Machine::X86_64);
    bare.needed.clear();
    assert!(matches!(refused(vec![bare]), Refusal::UnknownLibc { .. }));
    let twice = vec![onnxruntime("a/libonnxruntime.so", Machine::X86_64), onnxruntime("b/libort.so", Machine::X86_64)];
    assert!(matches!(refused(twice), Refusal::Ambiguous { .. }));
}

#[test]
fn a_version_comes_from_the_library_then_the_user_then_the_names() {
    let version = |library: Library, file: &str, declared: Option<&str>, given: Option<&str>| {
        let declared = declared.map(|version| Declared { name: None, version: version.to_owned() });
        let archive = Contents { declared, ..contents(file, vec![library]) };
        recognise(&archive, given).map(|found| found[0].version.clone())
    };
    let own = || onnxruntime("libonnxruntime.so", Machine::X86_64);
    let silent = |path: &str| exporting(library(path, Machine::X86_64, &["libc.so.6"]), "OrtGetApiBase", None);
    assert_eq!(version(own(), "x-1.0.0.zip", Some("1.2.0"), Some("1.3.0")).as_deref(), Ok("1.31.1"));
    assert_eq!(version(silent("l.so"), "x-1.0.0.zip", Some("1.20.0"), Some("1.30.0")).as_deref(), Ok("1.30.0"));
    assert_eq!(version(silent("l.so"), "x-1.0.0.zip", Some("1.20.0"), None).as_deref(), Ok("1.20.0"));
    assert_eq!(version(silent("libonnxruntime.so.1.22.0"), "x.so", None, None).as_deref(), Ok("1.22.0"));
    assert_eq!(version(silent("l.so"), "onnxruntime-linux-x64-1.22.0.tgz", None, None).as_deref(), Ok("1.22.0"));
    let unknown = version(silent("libonnxruntime.so.1"), "libonnxruntime.so.1", None, None);
    assert!(unknown.unwrap_err().to_string().contains("--version"));
    let old = version(silent("l.so"), "onnxruntime-linux-x64-1.9.0.tgz", None, None).unwrap_err().to_string();
    assert!(old.contains("onnxruntime has from 1.17.0 on, and this is 1.9.0: take a newer package"), "{old}");
}

#[test]
fn a_litert_whose_functions_take_other_arguments_is_refused_by_its_version() {
    let of = |version: &str| {
        let litert =
            exporting(library("libLiteRt.so", Machine::X86_64, &["libc.so.6"]), "LiteRtCreateEnvironment", None);
        recognise(&contents("x.whl", vec![litert]), Some(version)).map(|found| found[0].version.clone())
    };
    for version in ["2.0.3", "2.1.0", "2.1.0rc1", "2.1.5"] {
        let refused = of(version).unwrap_err();
        assert_eq!(refused, Refusal::TooOld { engine: Engine::Litert, version: version.to_owned() });
        assert!(refused.to_string().contains("litert has from 2.1.6 on"), "{refused}");
    }
    for version in ["2.1.6", "2.1.10", "2.2.0", "2.3.0", "2.4.0.dev20261026", "2.2", "10.0.0"] {
        assert_eq!(of(version).as_deref(), Ok(version));
    }
}

#[test]
fn qualcomms_libraries_come_along_with_their_parts_for_the_coprocessor() {
    let mut skeleton = library("libQnnHtpV73Skel.so", Machine::Aarch64, &[]);
    skeleton.machine = Err(ForeignMachine { code: 164, bits: 32 });
    let mut engine = onnxruntime("libonnxruntime.so", Machine::Aarch64);
    engine.texts.insert("QnnInterface_getProviders".to_owned());
    let htp = library("libQnnHtp.so", Machine::Aarch64, &["libc.so.6"]);
    let mut libraries = vec![engine, htp, skeleton];
    let found = recognise(&contents("onnxruntime-qnn.zip", libraries.clone()), None).unwrap();
    assert_eq!(found[0].companions, ["libQnnHtp.so", "libQnnHtpV73Skel.so"]);
    assert_eq!(found[0].accelerators, [Accelerator::Cpu, Accelerator::Npu]);
    libraries[2].path = "libonnxruntime_providers_dsp.so".to_owned();
    let refused = recognise(&contents("onnxruntime-qnn.zip", libraries), None);
    assert!(matches!(refused, Err(Refusal::ForeignMachine { .. })), "the control: {refused:?}");
}

#[test]
fn a_program_is_for_the_c_library_that_it_needs_and_without_one_for_each() {
    let abis = |program: &Library| -> Result<Vec<String>, Refusal> {
        Ok(abis_of_program(program, "run")?.iter().map(ToString::to_string).collect())
    };
    assert_eq!(abis(&library("run", Machine::Aarch64, &["libm.so", "libc.so"])).unwrap(), ["aarch64-linux-android"]);
    let alone = library("run", Machine::Arm, &[]);
    assert_eq!(abis(&alone).unwrap(), ["arm-linux-gnueabihf", "arm-linux-musleabihf", "arm-linux-androideabi"]);
    let mut bionic = alone.clone();
    bionic.android_note = true;
    assert_eq!(abis(&bionic).unwrap(), ["arm-linux-androideabi"]);
    let strange = library("run", Machine::X86_64, &["libstrange.so"]);
    assert_eq!(abis(&strange), Err(Refusal::UnknownLibc { path: "run".to_owned() }));
    let mut foreign = alone;
    foreign.machine = Err(ForeignMachine { code: 243, bits: 64 });
    assert!(matches!(abis(&foreign), Err(Refusal::ForeignMachine { .. })));
    let lies = abis_of_program(&library("run", Machine::X86_64, &["libc.so.6"]), "linux_aarch64_run");
    assert!(matches!(lies, Err(Refusal::NameLies { .. })), "{lies:?}");
}
