use proptest::prelude::*;

use super::*;
use crate::placement::fixture::{host, phone};
use crate::reading::Reading;

fn selects(text: &str, device: &DeviceRow) -> Result<bool, SelectorError> {
    Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).matches(device)
}

#[test]
fn profile_labels_and_state_can_be_asked() {
    let phone = phone(1);
    for text in [
        "",
        "  ",
        "true",
        "brand == 'Xiaomi' && android_api >= 34",
        "'i8mm' in cpu.features && memory_gb >= 7.5 && memory_gb == 8",
        "gpu.startsWith('Adreno') || gpu.contains('Mali')",
        "runtimes.exists(r, r.startsWith('litert 1.')) && 'tract' in runtimes",
        "cpu.features.all(f, size(f) > 2) && cpu.features.exists_one(f, f == 'i8mm')",
        "labels.shelf == 'A3' && labels['shelf'] != 'B1' && has(labels.shelf) && 'shelf' in labels",
        "state == 'ready' && !simulated && cpu.count * 2 == 16 && cpu.clusters == 3",
        "name in ['Xiaomi 15 №1', 'other'] && abi == 'arm64-v8a'",
        "cpu.architecture == 'aarch64' ? os.endsWith('112') : false",
        "labels.exists(name, name == 'shelf')",
    ] {
        assert_eq!(selects(text, &phone), Ok(true), "{text}");
    }
}

#[test]
fn a_label_that_is_not_set_reads_as_empty_unless_asked_for() {
    let host = host();
    for (text, selected) in [
        ("labels.shelf == 'A3'", false),
        ("labels.shelf == ''", true),
        ("labels.shelf.startsWith('A') || abi == 'x86_64'", true),
        ("has(labels.shelf)", false),
        ("'shelf' in labels", false),
        ("!has(labels.shelf) || labels.shelf == 'A3'", true),
    ] {
        assert_eq!(selects(text, &host), Ok(selected), "{text}");
    }
}

#[test]
fn what_is_not_known_is_null_and_using_it_is_undecided() {
    let host = host();
    assert_eq!(selects("gpu != null && gpu.contains('Adreno')", &host), Ok(false));
    assert_eq!(selects("gpu == 'Adreno 830'", &host), Ok(false), "null equals nothing else");
    let reason = |text| selects(text, &host).unwrap_err().to_string();
    assert_eq!(
        reason("android_api >= 34"),
        "the selector cannot be decided: `android_api` is not known (not an Android device)"
    );
    assert_eq!(reason("gpu.contains('Adreno')"), "the selector cannot be decided: `gpu` is not known (no GPU found)");
    let mut blind = host.clone();
    blind.profile.cpu.count = Reading::absent("denied");
    blind.profile.cpu.features = Reading::absent("denied");
    for (text, name) in [("cpu.count >= 2", "cpu.count"), ("'avx2' in cpu.features", "cpu.features")] {
        let said = selects(text, &blind).unwrap_err().to_string();
        assert_eq!(said, format!("the selector cannot be decided: `{name}` is not known (denied)"));
    }
    assert_eq!(selects("android_api >= 34 || abi == 'x86_64'", &host), Ok(true), "the other side decides");
}

#[test]
fn an_unknown_name_is_refused_when_the_suite_is_read() {
    let refused = |text: &str| Selector::parse(text).unwrap_err();
    for (text, message, hint) in [
        ("brnad == 'Xiaomi'", "unknown name `brnad` in the selector", "did you mean `brand`?"),
        ("cpu.cuont > 1", "unknown name `cpu.cuont` in the selector", "did you mean `cpu.count`?"),
        (
            "cpu.bogomips > 1",
            "unknown name `cpu.bogomips` in the selector",
            "the names here are cpu.model, cpu.architecture, cpu.count, cpu.clusters, cpu.features",
        ),
        ("cpu > 1", "`cpu` alone is not allowed in a selector", "name a part of it, as in `cpu.count`"),
        ("gpu.name == 'x'", "`.name` is not allowed in a selector", "only `cpu` and `labels` have parts"),
        (
            "matches(name, '.*')",
            "the function `matches` is not allowed in a selector",
            "the functions are size, contains, startsWith, endsWith, has, all, exists and exists_one",
        ),
        (
            "runtimes.map(r, r) == runtimes",
            "a loop that builds a list is not allowed in a selector",
            "use `all`, `exists` or `exists_one`",
        ),
        (
            "runtimes[0] == 'x'",
            "an index is not allowed in a selector",
            "ask whether a list holds something, as in `\"i8mm\" in cpu.features`",
        ),
        (
            "labels[name] == 'x'",
            "a computed label is not allowed in a selector",
            "name the label, as in `labels[\"shelf\"]`",
        ),
        ("{'a': 1}.a == 1", "a map is not allowed in a selector", "compare with strings, numbers and lists"),
    ] {
        let error = refused(text);
        assert_eq!(error.to_string(), message, "{text}");
        assert_eq!(error.suggestion().as_deref(), Some(hint), "{text}");
    }
    let nested = "runtimes.exists(r, runtimes.exists(s, r == s))";
    assert!(matches!(refused(nested), SelectorError::NotAllowed { .. }));
    assert!(matches!(refused("brand =="), SelectorError::Syntax { .. }));
}

#[test]
fn the_answer_must_be_yes_or_no() {
    let error = selects("cpu.count", &phone(1)).unwrap_err();
    assert_eq!(error, SelectorError::NotBoolean { found: "a number" });
    assert!(matches!(selects("1 / 0 == 1", &phone(1)), Err(SelectorError::Undecided { .. })));
    assert!(matches!(selects("name < 1", &phone(1)), Err(SelectorError::Undecided { .. })));
}

#[test]
fn a_loops_variable_hides_a_name_and_ends_with_the_loop() {
    assert_eq!(selects("runtimes.exists(brand, brand == 'tract')", &phone(1)), Ok(true));
    assert!(Selector::parse("runtimes.exists(r, r == 'tract') && r == 'x'").is_err());
}

#[test]
fn every_documented_variable_can_be_read() {
    for variable in VARIABLES {
        let mut device = phone(1);
        device.profile.gpu_driver = Reading::Present("v1".to_owned());
        device.profile.cpu.model = Reading::Present("Oryon".to_owned());
        describe(&mut device);
        assert_eq!(selects(&format!("{} != null", variable.name), &device), Ok(true), "{}", variable.name);
    }
}

#[test]
fn nasty_texts_are_answered_on_a_small_stack() {
    let nasty = [
        "(".repeat(2000),
        "[".repeat(2000),
        "!".repeat(2000),
        "-".repeat(2000),
        "a.".repeat(1000),
        "1+".repeat(1000),
        "!".repeat(16) + "true",
        "1 == 1".to_owned() + &" && 1 == 1".repeat(70),
        "1".to_owned() + &" + 1".repeat(149) + " == 150",
        "true ? true : ".repeat(16) + "true",
        "'".repeat(2000),
        "\"\\".repeat(900),
        "\"\\u{d800}\"".to_owned(),
        "\"\\ud800\" == name".to_owned(),
        "\u{0}\u{1}\u{feff}".to_owned(),
        "99999999999999999999999 == 1".to_owned(),
        "-9223372036854775808 == -(-9223372036854775808)".to_owned(),
        "1.0e999999 == 1.0".to_owned(),
        "b'\\xff' == b''".to_owned(),
        "a ? b".to_owned(),
        "`x` == 1".to_owned(),
        "有 == '模型'".to_owned(),
        "name == '模型' // 注".to_owned(),
        "has(name)".to_owned(),
        "has()".to_owned(),
        "runtimes.exists()".to_owned(),
        "runtimes.exists(1, true)".to_owned(),
        "runtimes.exists(r.s, true)".to_owned(),
        "runtimes.?x".to_owned(),
        "@result == 1".to_owned(),
        "__result__ == 1".to_owned(),
        "size() == 1".to_owned(),
        "contains() == 1".to_owned(),
        "size(1, 2, 3) == 1".to_owned(),
        "'' .contains(1)".to_owned(),
        "9223372036854775807 + 1 == 0".to_owned(),
        "-9223372036854775808 / -1 == 0".to_owned(),
        "-9223372036854775808 % -1 == 0".to_owned(),
        "10u - 11u == 0u".to_owned(),
    ];
    let judge = move || {
        let device = phone(1);
        for text in nasty {
            if let Ok(selector) = Selector::parse(&text) {
                let _ = selector.matches(&device);
            }
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(judge).unwrap().join().unwrap();
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        if let Ok(selector) = Selector::parse(&text) {
            let _ = selector.matches(&phone(1));
        }
    }

    #[test]
    fn no_expression_makes_it_panic(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 1..40)) {
        if let Ok(selector) = Selector::parse(&words.join(" ")) {
            let _ = selector.matches(&phone(1));
            let _ = selector.conjuncts();
        }
    }
}

const WORDS: [&str; 40] = [
    "brand",
    "cpu",
    "cpu.count",
    "cpu.features",
    "labels",
    "labels.shelf",
    "gpu",
    "simulated",
    "runtimes",
    "name",
    ".",
    "(",
    ")",
    "[",
    "]",
    "&&",
    "||",
    "!",
    "==",
    "!=",
    "<",
    ">=",
    "+",
    "-",
    "/",
    "%",
    "in",
    "?",
    ":",
    "'a'",
    "1",
    "2.5",
    "null",
    "true",
    ".exists(x,",
    "has(",
    "size(",
    ".contains(",
    ",",
    "x",
];

/// Gives the phone what raw evidence says: HyperOS 10.0.5.0, and OpenCL.
fn describe(device: &mut DeviceRow) {
    use crate::profile::{Ending, Piece, RawEvidence, Rules, read};
    let mut evidence = RawEvidence::default();
    let properties = "[ro.product.brand]: [Xiaomi]\n[ro.mi.os.version.incremental]: [OS10.0.5.0.VNCCNXM]\n";
    evidence.keep(Piece::Getprop, properties.to_owned(), Ending::Whole);
    evidence.keep(Piece::Libraries, "/vendor/lib64/libOpenCL.so\n".to_owned(), Ending::Whole);
    read(&evidence, Rules::shipped().unwrap()).describe(&mut device.profile);
}

#[test]
fn a_rom_is_selected_by_name_and_version_and_libraries_by_what_they_are_for() {
    let mut device = phone(1);
    let said = selects("rom_major >= 2", &device).unwrap_err().to_string();
    assert_eq!(said, "the selector cannot be decided: `rom_major` is not known (the device's agent did not tell)");
    describe(&mut device);
    for (text, selected) in [
        ("rom == 'HyperOS' && rom_major >= 9", true),
        ("rom_version == '10.0.5.0'", true),
        ("'opencl' in libraries && !('qualcomm_npu' in libraries)", true),
        ("rom == 'ColorOS'", false),
    ] {
        assert_eq!(selects(text, &device), Ok(selected), "{text}");
    }
}
