use proptest::prelude::*;

use super::*;
use crate::suite::render;

const DOCS: &str = include_str!("../../../../docs/dataset.md");

fn faults(text: &str) -> String {
    render(&PackageManifest::parse(text, "dataset.toml").expect_err("the text has faults"))
}

#[test]
fn every_example_of_the_page_is_a_manifest() {
    let blocks: Vec<&str> = DOCS.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 10);
    for text in blocks {
        if let Err(problems) = PackageManifest::parse(text, "docs/dataset.md") {
            panic!("{}", render(&problems));
        }
    }
}

#[test]
fn labels_are_written_as_their_task_reads_them() {
    let told = |task: &str, classes: &str, labels: &str| {
        faults(&format!(
            "name = \"d\"\ntask = \"{task}\"\nexamples = 3\n{classes}\nlabels = {{ {labels} }}\n\
             inputs = [{{ name = \"x\", kind = \"npy\", member = \"x.npy\" }}]\n"
        ))
    };
    for (task, classes, labels, said) in [
        (
            "detection",
            "classes = [\"a\"]",
            "kind = \"npy\", member = \"l\"",
            "a detection dataset reads kind = \"coco\"",
        ),
        ("text", "classes = [\"a\"]", "kind = \"lines\", member = \"l\"", "a text dataset has no classes"),
        ("segmentation", "classes = [\"a\"]", "kind = \"npy\", member = \"l\"", "names at least 2 classes"),
        ("regression", "", "kind = \"npy\", member = \"l\", ignore = 2", "goes with task = \"segmentation\" alone"),
        ("regression", "", "kind = \"npy\", member = \"l\", queries = 2", "goes with task = \"retrieval\" alone"),
        ("retrieval", "", "kind = \"npy\", member = \"l\", queries = 3", "fewer than there are examples"),
        ("retrieval", "", "kind = \"lines\", member = \"l\", column = \"x\"", "does not go with kind = \"lines\""),
    ] {
        let text = told(task, classes, labels);
        assert!(text.contains(said), "{task}: {text}");
    }
    let text = faults(
        "name = \"d\"\ntask = \"text\"\nexamples = 3\ninputs = [{ name = \"x\", kind = \"npy\", member = \"x.npy\" }]\n",
    );
    assert!(text.contains("a text dataset needs `[labels]`") && text.contains("kind = \"lines\" or \"csv\""), "{text}");
}

#[test]
fn a_member_is_named_once_however_often_it_is_used() {
    let text = "name = \"d\"\ntask = \"golden\"\nexamples = 2\n\
        inputs = [{ name = \"x\", kind = \"npz\", member = \"all.npz\", array = \"x\" }]\n\
        goldens = [{ name = \"y\", kind = \"npz\", member = \"all.npz\", array = \"y\" }]";
    assert_eq!(PackageManifest::parse(text, "d").unwrap().members(), ["all.npz"]);
}

#[test]
fn patterns_number_the_examples_from_zero() {
    let name = |pattern: &str, index| Pattern::parse(pattern).map(|pattern| pattern.name(index));
    assert_eq!(name("photo-{index:04}.jpg", 7), Ok("photo-0007.jpg".to_owned()));
    assert_eq!(name("{index}", 12345), Ok("12345".to_owned()));
    assert_eq!(name("p{index:02}", 123), Ok("p123".to_owned()));
    for wrong in [
        "photo.jpg",
        "{index}{index}",
        "{idx}",
        "{index:4}",
        "{index:0}",
        "{index:099}",
        "}{index}",
        "{index:0-1}",
        "{index",
    ] {
        assert!(Pattern::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_members_name_is_never_a_path() {
    for name in ["", ".", "..", "/etc/passwd", "a/b", "..\\a", "a\0b", "a\nb", "dataset.toml"] {
        assert!(check_member_name(name).is_err(), "{name:?}");
    }
    assert!(check_member_name(&"x".repeat(256)).is_err());
    for name in ["images.npy", "照片 1.jpg", "..a", "-x"] {
        assert_eq!(check_member_name(name), Ok(()), "{name:?}");
    }
}

#[test]
fn what_a_task_needs_and_what_it_does_not_have_is_told() {
    insta::assert_snapshot!(faults(
        "name = \"d\"\ntask = \"classification\"\nexamples = 3\ninputs = [{ name = \"x\", kind = \"npy\", member = \"x.npy\" }]\n"
    ));
    insta::assert_snapshot!(faults(
        "name = \"d\"\ntask = \"golden\"\nexamples = 3\nclasses = [\"a\", \"b\"]\n\
         inputs = [{ name = \"x\", kind = \"npy\", member = \"x.npy\" }]\n[labels]\nkind = \"npy\"\nmember = \"l.npy\"\n"
    ));
}

#[test]
fn faults_of_every_kind_are_told_at_once() {
    insta::assert_snapshot!(faults(
        "name = \"my data\"\n\
         task = \"classification\"\n\
         examples = 3\n\
         classes = [\"cat\", \"dog\", \"cat\"]\n\
         \n\
         [[inputs]]\n\
         name = \"x\"\n\
         kind = \"npy\"\n\
         member = \"../x.npy\"\n\
         dtype = \"f32\"\n\
         \n\
         [[inputs]]\n\
         name = \"x\"\n\
         kind = \"raw\"\n\
         member = \"x.bin\"\n\
         \n\
         [[inputs]]\n\
         name = \"y\"\n\
         kind = \"raw\"\n\
         member = \"y.bin\"\n\
         dtype = \"f32\"\n\
         shape = [4000000000, 4000000000]\n\
         \n\
         [[inputs]]\n\
         name = \"z\"\n\
         kind = \"image\"\n\
         members = [\"a.png\", \"/b.png\"]\n\
         \n\
         [labels]\n\
         kind = \"csv\"\n\
         member = \"labels.csv\"\n\
         \n\
         [[goldens]]\n\
         name = \"g\"\n\
         kind = \"image\"\n\
         pattern = \"{index}.png\"\n"
    ));
}

#[test]
fn unknown_keys_and_wrong_types_are_told_as_in_a_suite() {
    insta::assert_snapshot!(faults(
        "name = \"d\"\ntask = \"clasification\"\nexamples = \"many\"\nlicence = \"MIT\"\n\
         [[inputs]]\nname = \"x\"\nkind = \"npy\"\nmembr = \"x.npy\"\n"
    ));
}

/// A manifest with this scorer, each key in a line of its own from line 6 on.
fn custom(scorer: &str) -> String {
    format!(
        "name = \"d\"\ntask = \"custom\"\nexamples = 3\n\
         inputs = [{{ name = \"x\", kind = \"npy\", member = \"x.npy\" }}]\n\
         labels = {{ kind = \"file\", member = \"truth.json\" }}\n{scorer}"
    )
}

const SCORER: &str = "[scorer]\nprogram = \"score.py\"\nfiles = [\"seatrial_runner.py\", \"helper.py\"]\n";
const METRIC: &str = "[[scorer.metrics]]\nname = \"ece\"\nbetter = \"lower\"\n";

#[test]
fn a_custom_dataset_names_its_scorer_with_what_that_is_made_of() {
    let manifest = PackageManifest::parse(&custom(&format!("{SCORER}{METRIC}")), "d").unwrap();
    let scorer = manifest.scorer.as_ref().unwrap();
    assert_eq!((scorer.interpreter.as_str(), scorer.metrics[0].unit.as_str()), ("python3", "1"), "as nothing is said");
    assert_eq!(manifest.members(), ["x.npy", "truth.json", "score.py", "seatrial_runner.py", "helper.py"]);
    assert_eq!(manifest.golden_members(), Vec::<String>::new());
    let without =
        custom(&format!("{SCORER}{METRIC}")).replace("labels = { kind = \"file\", member = \"truth.json\" }", "");
    assert_eq!(
        PackageManifest::parse(&without, "d").unwrap().labels,
        None,
        "a scorer may know what is right by itself"
    );
    assert_eq!(super::super::truth::read(&manifest, b"anything"), Ok(None), "nobody else reads its labels");
}

#[test]
fn every_fault_of_a_scorer_is_told_with_its_line() {
    let many = (0..17).map(|number| METRIC.replace("ece", &format!("m{number}"))).collect::<String>();
    let beside: Vec<String> = (0..33).map(|number| format!("\"f{number}.py\"")).collect();
    let with = |from: &str, to: &str| format!("{SCORER}{METRIC}").replace(from, to);
    for (scorer, line, said) in [
        (String::new(), 1, "a custom dataset needs `[scorer]`"),
        (SCORER.to_owned(), 6, "`scorer`: key `metrics` is missing"),
        (format!("{SCORER}metrics = []\n"), 9, "`scorer.metrics`: expected 1 to 16 metrics, not 0"),
        (format!("{SCORER}{many}"), 9, "expected 1 to 16 metrics, not 17"),
        (with("[scorer]\n", "[scorer]\ninterpreter = \"/usr/bin/python\"\n"), 7, "`scorer.interpreter`: "),
        (with("\"score.py\"", "\"../score.py\""), 7, "`scorer.program`: \"../score.py\" is not a member's name"),
        (with("\"helper.py\"", "\".hidden.py\""), 8, "`scorer.files[1]`: \".hidden.py\" is not a member's name"),
        (with("\"helper.py\"", "\"score.py\""), 8, "`scorer.files[1]`: \"score.py\" is there twice"),
        (with("\"helper.py\"", &beside.join(", ")), 8, "`scorer.files`: 34 files, at most 32 are laid beside it"),
        (with("\"helper.py\"", "\"truth.json\""), 5, "`labels.member`: that is a file of the scorer"),
        (with("\"ece\"", "\"E.C.E\""), 10, "`scorer.metrics[0].name`: \"E.C.E\": expected 1 to 40 lower-case letters"),
        (format!("{SCORER}{METRIC}{METRIC}"), 13, "`scorer.metrics[1].name`: \"ece\" is there twice"),
        (with("\"lower\"", "\"smaller\""), 11, "`scorer.metrics[0].better`"),
        (format!("{SCORER}{METRIC}unit = \"a b\"\n"), 12, "`scorer.metrics[0].unit`: \"a b\" is not a unit"),
        (format!("{SCORER}{METRIC}meaning = \"\"\n"), 12, "`scorer.metrics[0].meaning`: expected one line"),
        (format!("{SCORER}{METRIC}units = \"ms\"\n"), 12, "`scorer.metrics[0]`: unknown key `units`"),
    ] {
        let text = faults(&custom(&scorer));
        let told = text.lines().any(|told| told.contains(&format!("dataset.toml:{line}:")) && told.contains(said));
        assert!(told, "line {line}: {said}\n{text}");
    }
    let golden = custom(&format!("{SCORER}{METRIC}")).replace("\"custom\"", "\"regression\"");
    let text = faults(&golden);
    assert!(text.contains("`scorer`: a regression dataset has no scorer"), "{text}");
    assert!(text.contains("`labels.kind`: a regression dataset reads kind = "), "{text}");
    let hidden = custom(&format!("{SCORER}{METRIC}")).replace("truth.json", "a truth.json");
    assert!(faults(&hidden).contains("`labels.member`: \"a truth.json\" is laid beside the scorer"));
}

#[test]
fn the_number_of_members_is_bounded() {
    let package = |more: &str| {
        format!(
            "name = \"d\"\ntask = \"golden\"\nexamples = {MAX_EXAMPLES}\n\
             inputs = [{{ name = \"x\", kind = \"image\", pattern = \"{{index}}.png\" }}{more}]\n\
             goldens = [{{ name = \"y\", kind = \"npy\", member = \"y.npy\" }}]"
        )
    };
    let largest = PackageManifest::parse(&package(""), "dataset.toml").unwrap();
    assert_eq!(largest.members().len(), MAX_EXAMPLES as usize + 1, "an image an example, and the references");
    let text = package(", { name = \"z\", kind = \"image\", pattern = \"z{index}.png\" }");
    assert!(faults(&text).contains("the package has 200001 members, and at most 101000 are read"), "{}", faults(&text));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in any::<String>(),
        kind in "npy|npz|raw|image",
        member in ".{0,8}",
        examples in any::<u32>(),
        shape in prop::collection::vec(any::<u32>(), 0..9),
    ) {
        let _ = PackageManifest::parse(&text, "dataset.toml");
        let _ = Pattern::parse(&text);
        let manifest = format!(
            "name = \"d\"\ntask = \"golden\"\nexamples = {examples}\n[[inputs]]\nname = \"x\"\nkind = \"{kind}\"\nmember = {member:?}\n\
             dtype = \"f64\"\nshape = {shape:?}\n[[goldens]]\nname = \"g\"\nkind = \"raw\"\nmember = {member:?}\ndtype = \"f64\"\nshape = {shape:?}\n"
        );
        let _ = PackageManifest::parse(&manifest, "dataset.toml");
    }
}
