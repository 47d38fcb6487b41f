//! Agents and command lines of yesterday talk to the server of today: nothing on the wire is ever removed, renumbered
//! or retyped.
//!
//! `proto/baseline/seatrial.v1.bin` is the protocol as it was last released. After a release, or to add what is new:
//! `SEATRIAL_WRITE_BASELINE=1 cargo test -p seatrial-proto --test compatibility`, which writes only what is compatible.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Everything that a peer may depend on, by full name.
fn surface(set: &FileDescriptorSet) -> BTreeMap<String, String> {
    let mut surface = BTreeMap::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("seatrial.")) {
        let package = file.package();
        for message in &file.message_type {
            add_message(&mut surface, package, message);
        }
        for kind in &file.enum_type {
            add_enum(&mut surface, package, kind);
        }
        for service in &file.service {
            for method in &service.method {
                let shape = format!(
                    "{}{} -> {}{}",
                    if method.client_streaming() { "stream " } else { "" },
                    method.input_type(),
                    if method.server_streaming() { "stream " } else { "" },
                    method.output_type(),
                );
                surface.insert(format!("{package}.{}/{}", service.name(), method.name()), shape);
            }
        }
    }
    surface
}

fn add_message(surface: &mut BTreeMap<String, String>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    surface.insert(name.clone(), "message".to_owned());
    for field in &message.field {
        // By number, since that is what the wire carries; the name is what the JSON of gRPC tools carries.
        surface.insert(format!("{name} field {}", field.number()), shape(message, field));
    }
    message.nested_type.iter().for_each(|nested| add_message(surface, &name, nested));
    message.enum_type.iter().for_each(|nested| add_enum(surface, &name, nested));
}

fn shape(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let group = match field.oneof_index {
        Some(index) if !field.proto3_optional() => message.oneof_decl[index as usize].name(),
        Some(_) => "optional",
        None => "",
    };
    format!("{} {:?} {:?} {} {group}", field.name(), field.label(), field.r#type(), field.type_name())
}

fn add_enum(surface: &mut BTreeMap<String, String>, scope: &str, kind: &EnumDescriptorProto) {
    let name = format!("{scope}.{}", kind.name());
    for value in &kind.value {
        surface.insert(format!("{name} value {}", value.number()), value.name().to_owned());
    }
}

/// What of the old surface is no longer there, or is something else.
fn broken(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (surface(old), surface(new));
    let changed = |(name, was): (&String, &String)| match new.get(name) {
        None => Some(format!("{name} was removed ({was})")),
        Some(is) if is != was => Some(format!("{name} was {was:?} and is {is:?}")),
        Some(_) => None,
    };
    old.iter().filter_map(changed).collect()
}

fn current() -> FileDescriptorSet {
    FileDescriptorSet::decode(seatrial_proto::DESCRIPTORS).expect("the build wrote a descriptor set")
}

fn baseline() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline/seatrial.v1.bin")
}

#[test]
fn nothing_on_the_wire_was_removed_renumbered_or_retyped_since_the_baseline() {
    let old = FileDescriptorSet::decode(&*std::fs::read(baseline()).unwrap()).unwrap();
    let broken = broken(&old, &current());
    assert_eq!(broken, Vec::<String>::new(), "add a new field or method instead");
    assert!(surface(&old).len() > 100, "the baseline holds the protocol");
    if std::env::var_os("SEATRIAL_WRITE_BASELINE").is_some() {
        let mut released = current();
        released.file.iter_mut().for_each(|file| file.source_code_info = None);
        std::fs::write(baseline(), released.encode_to_vec()).unwrap();
    }
}

fn hello(set: &mut FileDescriptorSet) -> &mut DescriptorProto {
    let messages = set.file.iter_mut().flat_map(|file| file.message_type.iter_mut());
    messages.into_iter().find(|message| message.name() == "Hello").unwrap()
}

#[test]
fn every_kind_of_break_is_noticed() {
    let change = |edit: &dyn Fn(&mut FileDescriptorSet)| {
        let mut new = current();
        edit(&mut new);
        broken(&current(), &new)
    };
    let removed = change(&|set| drop(hello(set).field.remove(0)));
    assert!(removed[0].contains("Hello field 1 was removed"), "{removed:?}");
    let renumbered = change(&|set| hello(set).field[0].number = Some(99));
    assert!(renumbered[0].contains("Hello field 1 was removed"), "{renumbered:?}");
    let retyped = change(&|set| hello(set).field[0].r#type = Some(9));
    assert!(retyped[0].contains("Hello field 1 was"), "{retyped:?}");
    let renamed = change(&|set| hello(set).field[0].name = Some("other".to_owned()));
    assert!(renamed[0].contains("other"), "{renamed:?}");
    let method = change(&|set| {
        let services = set.file.iter_mut().flat_map(|file| file.service.iter_mut());
        services.for_each(|service| drop(service.method.remove(0)));
    });
    assert!(method.iter().any(|line| line.contains("AgentService/Enrol was removed")), "{method:?}");
    let added = change(&|set| {
        let mut field = hello(set).field[0].clone();
        (field.name, field.number) = (Some("new".to_owned()), Some(200));
        hello(set).field.push(field);
    });
    assert_eq!(added, Vec::<String>::new(), "adding is always allowed");
}
