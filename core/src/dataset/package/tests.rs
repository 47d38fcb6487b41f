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
    assert_eq!(blocks.len(), 9);
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
