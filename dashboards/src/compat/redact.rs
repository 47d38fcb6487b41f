//! What others need not see: which device of ours it was, and whose run.

use std::collections::BTreeMap;

use seatrial_core::ids::DeviceId;
use seatrial_core::reading::Reading;
use seatrial_core::store::DeviceRow;

use super::Compat;

/// What stands in place of what was taken out.
const REMOVED: &str = "[removed]";
/// A shorter name is found in words that mean something else.
const SHORTEST: usize = 4;

/// Takes out of all texts what names our devices and our project, and gives devices the names under which they are sold
/// with numbers of this file. Ids of jobs go.
pub(crate) fn redact(mut compat: Compat, fleet: &[DeviceRow], project: &[&str]) -> Compat {
    let names = names(&compat, fleet);
    let mut words: Vec<(String, &str)> = Vec::new();
    for row in fleet {
        let name = names.get(&row.id).map_or(REMOVED, String::as_str);
        let evidence = &row.evidence;
        let told = [&evidence.agent_id, &evidence.hardware_serial, &evidence.machine_id, &evidence.usb_path];
        let told = told.into_iter().flatten().cloned();
        let host = row.profile.hostname.present().cloned();
        let own = [row.id.to_string(), row.id.short(), row.name.clone()].into_iter().chain(told).chain(host);
        words.extend(own.chain(row.labels.values().cloned()).map(|word| (word, name)));
    }
    words.extend(project.iter().map(|word| ((*word).to_owned(), REMOVED)));
    words.retain(|(word, _)| word.len() >= SHORTEST);
    // The longest first: one may be a part of another.
    words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    let clean = |text: &mut String| {
        for (word, name) in &words {
            if text.contains(word.as_str()) {
                *text = text.replace(word.as_str(), name);
            }
        }
    };
    for device in &mut compat.devices {
        if let Some(name) = names.get(&device.id) {
            device.name.clone_from(name);
        }
    }
    for entry in &mut compat.entries {
        entry.job = None;
        entry.message.iter_mut().for_each(clean);
        if let Some(seen) = entry.failure.as_mut().and_then(|failure| failure.seen.as_mut()) {
            clean(&mut seen.line);
        }
        for reason in entry.invalid.iter_mut().chain(&mut entry.misfit) {
            let mut text = reason.text().to_owned();
            clean(&mut text);
            if text != reason.text() {
                *reason = text.into();
            }
        }
    }
    compat
}

/// `Xiaomi 15`, `Xiaomi 15 №2`: as devices are sold, by their order in the file.
fn names(compat: &Compat, fleet: &[DeviceRow]) -> BTreeMap<DeviceId, String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for device in &compat.devices {
        let row = fleet.iter().find(|row| row.id == device.id);
        let sold = row.and_then(|row| {
            let findings = row.profile.findings.as_ref();
            let marketing = findings.and_then(|findings| findings.naming.marketing_name.present());
            let product = || match &row.profile.product {
                Reading::Present(product) => Some(product.clone()),
                Reading::Absent(_) => None,
            };
            marketing.map(|found| found.value.clone()).or_else(product)
        });
        let sold = sold.unwrap_or_else(|| "device".to_owned());
        let count = counts.entry(sold.clone()).or_default();
        *count += 1;
        names.insert(device.id, if *count == 1 { sold } else { format!("{sold} №{count}") });
    }
    names
}
