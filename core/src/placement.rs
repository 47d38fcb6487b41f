//! Whether a variant can run with a backend on a device. A combination that cannot is a misfit with its reason.

use crate::backend::{Affinity, Backend};
use crate::device::{Cpu, DeviceState, RuntimeOffer};
use crate::model::{Format, SignatureStanding};
use crate::reading::Reading;
use crate::store::{DeviceRow, VariantRow};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    Fit,
    /// Why it cannot run, for the cell of the matrix.
    Misfit(String),
}

/// Judges one combination on what was probed of the device. What is not known is no reason against it: then the
/// attempt will tell.
#[must_use]
pub fn can_run(variant: &VariantRow, backend: &Backend, device: &DeviceRow) -> Fit {
    let checks = [
        is_in_service(device),
        signature_holds(variant),
        runtime_serves(variant.format, backend, device),
        threads_fit(backend, device),
        memory_suffices(variant, device),
    ];
    match checks.into_iter().find_map(Result::err) {
        Some(reason) => Fit::Misfit(reason),
        None => Fit::Fit,
    }
}

fn is_in_service(device: &DeviceRow) -> Result<(), String> {
    let why = match device.state {
        DeviceState::Quarantined => "the device is quarantined",
        DeviceState::Maintenance => "the device is in maintenance",
        DeviceState::Retired => "the device is retired",
        DeviceState::Unauthorized => "the device does not allow debugging yet",
        DeviceState::Discovered => "the device has no agent yet",
        DeviceState::Ready
        | DeviceState::Reserved
        | DeviceState::Preparing
        | DeviceState::Running
        | DeviceState::Dark
        | DeviceState::Cooling
        | DeviceState::Charging
        | DeviceState::Recovering => return Ok(()),
    };
    Err(if device.state_reason.is_empty() { why.to_owned() } else { format!("{why}: {}", device.state_reason) })
}

fn signature_holds(variant: &VariantRow) -> Result<(), String> {
    match variant.standing {
        SignatureStanding::Refused => {
            Err("a device loaded the variant and found other inputs or outputs than were claimed; add the model again"
                .to_owned())
        }
        SignatureStanding::Claimed | SignatureStanding::Confirmed => Ok(()),
    }
}

fn runtime_serves(format: Format, backend: &Backend, device: &DeviceRow) -> Result<(), String> {
    let offers: Vec<&RuntimeOffer> =
        device.profile.runtimes.iter().filter(|offer| offer.name == backend.runtime).collect();
    let reasons: Result<Vec<String>, ()> =
        offers.iter().map(|offer| offer_serves(offer, format, backend).map_or_else(Ok, |()| Err(()))).collect();
    match reasons {
        Err(()) => Ok(()),
        Ok(reasons) if reasons.is_empty() => {
            let names: Vec<&str> = device.profile.runtimes.iter().map(|offer| offer.name.as_str()).collect();
            let offered = if names.is_empty() { "no runtime".to_owned() } else { names.join(", ") };
            Err(format!("the device does not offer {}; it offers {offered}", backend.runtime))
        }
        Ok(reasons) => Err(reasons.join("; ")),
    }
}

fn offer_serves(offer: &RuntimeOffer, format: Format, backend: &Backend) -> Result<(), String> {
    let RuntimeOffer { name, version, formats, accelerators } = offer;
    if let Some(track) = backend.track.as_deref().filter(|track| !is_of_track(version, track)) {
        return Err(format!("the device offers {name} {version}, which is not of track {track}"));
    }
    if !formats.contains(&format) {
        return Err(format!("{name} {version} does not read {}", format.as_str()));
    }
    if !accelerators.contains(&backend.accelerator) {
        return Err(format!("{name} {version} has no {} on this device", backend.accelerator.as_str()));
    }
    Ok(())
}

/// Whether a version is of a track that is named by the beginning of a version: `1.30` holds `1.30.2`.
fn is_of_track(version: &str, track: &str) -> bool {
    version.strip_prefix(track).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn threads_fit(backend: &Backend, device: &DeviceRow) -> Result<(), String> {
    let cpu = &device.profile.cpu;
    let available = cpus_of(&backend.affinity, cpu)?.map_or(usize::from(cpu.count), |cpus| cpus.len());
    if usize::from(backend.threads) > available {
        let cores = if available == 1 { "1 CPU".to_owned() } else { format!("{available} CPUs") };
        let which = if backend.affinity == Affinity::Any { String::new() } else { format!(" ({})", backend.affinity) };
        return Err(format!("{} threads are asked for, and the device has {cores}{which}", backend.threads));
    }
    Ok(())
}

/// The CPUs that an affinity means on this processor; `None` for any. The text says why it means nothing here.
///
/// Clusters are ordered by their maximum frequency; on a processor with one cluster there is no little and no big.
pub fn cpus_of(affinity: &Affinity, cpu: &Cpu) -> Result<Option<Vec<u16>>, String> {
    let clusters = match affinity {
        Affinity::Any => return Ok(None),
        Affinity::Cpus(cpus) => {
            let known: Vec<u16> = cpu.clusters.iter().flat_map(|cluster| cluster.cpus.iter().copied()).collect();
            let exists =
                |cpu_number: &u16| if known.is_empty() { *cpu_number < cpu.count } else { known.contains(cpu_number) };
            return match cpus.iter().find(|cpu_number| !exists(cpu_number)) {
                Some(missing) => Err(format!("the device has no CPU {missing}")),
                None => Ok(Some(cpus.clone())),
            };
        }
        Affinity::Little | Affinity::Mid | Affinity::Big | Affinity::Prime => &cpu.clusters,
    };
    if clusters.len() < 2 {
        return Err(format!("the device's CPUs are all alike, so it has no {affinity} cores"));
    }
    if let Some(Reading::Absent(why)) =
        clusters.iter().map(|cluster| &cluster.max_frequency_khz).find(|khz| khz.present().is_none())
    {
        return Err(format!("which cores are {affinity} is not known: the maximum frequency cannot be read ({why})"));
    }
    let last = clusters.len() - 1;
    let chosen = match affinity {
        Affinity::Little => &clusters[..1],
        Affinity::Mid => &clusters[1..last],
        Affinity::Big => &clusters[1..],
        Affinity::Prime => &clusters[last..],
        Affinity::Any | Affinity::Cpus(_) => &clusters[..],
    };
    if chosen.is_empty() {
        return Err("the device has two kinds of cores, so it has no mid cores".to_owned());
    }
    Ok(Some(chosen.iter().flat_map(|cluster| cluster.cpus.iter().copied()).collect()))
}

fn memory_suffices(variant: &VariantRow, device: &DeviceRow) -> Result<(), String> {
    let size = variant.manifest.size();
    match device.profile.memory_bytes.present() {
        Some(&memory) if size > memory => {
            Err(format!("the variant has {} MiB, and the device has {} MiB of memory", size >> 20, memory >> 20))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
