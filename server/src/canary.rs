//! The health check: a small model with its inputs and reference outputs, built into the server, as the specification of
//! an attempt. Agents take it like a job, and fetch it like any artifact; no store knows of it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use seatrial_core::backend::{Accelerator, Affinity, Backend};
use seatrial_core::dataset::{Binding, InputBinding, Task};
use seatrial_core::device::{DeviceState, Profile};
use seatrial_core::digest::Digest;
use seatrial_core::ids::DeviceId;
use seatrial_core::job::{DatasetRef, JobSpec, Limits, ModelRef, SPEC_SCHEMA};
use seatrial_core::lab::canary::{
    Ended, Found, Health, Judgement, KEPT, Known, LABEL, Last, RUNTIME, fingerprint, judge,
};
use seatrial_core::model::{Format, Manifest, ManifestEntry, Precision, Signature};
use seatrial_core::profile::{MeasurementProfile, ProfileKind, StopRule, WarmupRule};
use seatrial_core::stage::Stage;
use seatrial_core::store::{CanaryRow, DeviceRow, Read, Result};

use crate::fleet::Spec;

const MODEL: &[u8] = include_bytes!("../../fixtures/demo/models/digits-cnn.fp32.onnx");
const DATA: &[u8] = include_bytes!("../../fixtures/canary/data.zip");
/// Inputs in the data.
const EXAMPLES: u32 = 16;
/// Of model and data together; a check with others is another check.
const VERSION: u32 = 1;

static MODEL_DIGEST: LazyLock<Digest> = LazyLock::new(|| digest(MODEL));
static DATA_DIGEST: LazyLock<Digest> = LazyLock::new(|| digest(DATA));

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// The bytes of the check that have this digest.
pub(crate) fn bytes(digest: &Digest) -> Option<&'static [u8]> {
    [(&*MODEL_DIGEST, MODEL), (&*DATA_DIGEST, DATA)].into_iter().find(|(known, _)| *known == digest).map(|(_, it)| it)
}

/// What a device is asked to do: a few seconds at most where nothing is wrong.
fn specification() -> JobSpec {
    let size = |bytes: &[u8]| bytes.len() as u64;
    let model = ManifestEntry {
        role: Format::Onnx.main_role().to_owned(),
        digest: *MODEL_DIGEST,
        size: size(MODEL),
        file_name: "canary.onnx".to_owned(),
    };
    let seconds = [
        (Stage::Fetch, 60),
        (Stage::Prepare, 15),
        (Stage::Load, 20),
        (Stage::FirstInference, 20),
        (Stage::Warmup, 15),
        (Stage::Measure, 20),
        (Stage::Accuracy, 20),
        (Stage::Teardown, 10),
    ];
    JobSpec {
        schema: SPEC_SCHEMA,
        model: ModelRef {
            model: "canary".to_owned(),
            version: VERSION,
            variant: "fp32".to_owned(),
            format: Format::Onnx,
            precision: Precision::Fp32,
            manifest: Manifest { entries: vec![model] },
            signature: Signature::default(),
        },
        // As fixtures/demo/binding.toml has it.
        binding: Binding {
            inputs: vec![InputBinding {
                std: Some(vec![255.0]),
                shape: Some(vec![1, 1, 28, 28]),
                ..InputBinding::plain("image")
            }],
            ..Binding::default()
        },
        dataset: Some(DatasetRef {
            dataset: "canary".to_owned(),
            version: VERSION,
            digest: *DATA_DIGEST,
            size: size(DATA),
            task: Task::Golden,
            examples: EXAMPLES,
            scorer: None,
        }),
        backend: Backend {
            runtime: RUNTIME.to_owned(),
            track: None,
            accelerator: Accelerator::Cpu,
            provider: None,
            threads: 1,
            affinity: Affinity::Any,
            precision: None,
        },
        package: None,
        profile: MeasurementProfile {
            warmup: WarmupRule {
                min_iterations: 3,
                min_time: Duration::from_millis(200),
                max_time: Duration::from_secs(2),
                ..WarmupRule::default()
            },
            stop: StopRule {
                min_samples: 20,
                min_time: Duration::from_millis(500),
                max_samples: 20_000,
                max_time: Duration::from_secs(5),
            },
            ..MeasurementProfile::of(ProfileKind::Quick)
        },
        limits: Limits {
            memory_bytes: 1 << 30,
            deadlines: seconds
                .into_iter()
                .map(|(stage, s)| (stage, Duration::from_secs(s)))
                .collect::<BTreeMap<Stage, Duration>>(),
            ..Limits::default()
        },
        seed: 1,
    }
}

/// The check as it is sent; `None` when it cannot be written, which is a fault of ours.
pub(crate) fn spec() -> Option<Arc<Spec>> {
    let parsed = specification();
    match serde_json::to_string(&parsed) {
        Ok(json) => Some(Arc::new(Spec { json, parsed })),
        Err(error) => {
            tracing::error!(%error, "the health check cannot be written: no device is checked");
            None
        }
    }
}

/// A device as its check finds it.
#[derive(Debug, Clone)]
pub struct Subject {
    pub known: Known,
    /// Its system in words.
    pub rom: String,
}

/// Why a device has no checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchecked {
    /// The server makes none.
    Off,
    /// An operator has said so.
    Label,
    /// Its agent cannot run the model.
    NoEngine,
}

impl Unchecked {
    /// For an operator who wants one.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Off => "this server makes no health checks (`canary` in its configuration)".to_owned(),
            Self::Label => {
                let (key, value) = LABEL;
                format!("its label {key}={value} keeps it from health checks")
            }
            Self::NoEngine => format!("its agent has no {RUNTIME} built in, which runs the check"),
        }
    }
}

/// What is known of a device's checks as it attaches.
pub(crate) async fn subject(
    store: &(impl Read + ?Sized),
    row: &DeviceRow,
    boot_id: &str,
) -> Result<std::result::Result<Subject, Unchecked>> {
    let (key, value) = LABEL;
    if row.labels.get(key).is_some_and(|told| told == value) {
        return Ok(Err(Unchecked::Label));
    }
    let Profile { runtimes, os, .. } = &row.profile;
    let runs = |offer: &seatrial_core::device::RuntimeOffer| {
        offer.name == RUNTIME && offer.formats.contains(&Format::Onnx) && offer.accelerators.contains(&Accelerator::Cpu)
    };
    if !runtimes.iter().any(runs) {
        return Ok(Err(Unchecked::NoEngine));
    }
    let last = store.canaries(row.id, KEPT).await?.into_iter().find_map(|row| {
        let healthy = match row.judgement.health {
            Health::Healthy => true,
            Health::Sick => false,
            Health::Unknown => return None,
        };
        Some(Last { at: row.at, boot_id: row.boot_id, fingerprint: row.fingerprint, healthy })
    });
    let fingerprint = fingerprint(&row.profile, &row.agent_version);
    let known = Known { last, boot_id: boot_id.to_owned(), fingerprint };
    Ok(Ok(Subject { known, rom: os.present().cloned().unwrap_or_default() }))
}

/// The verdict by what the store has of the device.
pub(crate) fn judged(found: &Found, known: &Known, earlier: &[CanaryRow]) -> Judgement {
    let same = |row: &&CanaryRow| row.fingerprint == known.fingerprint && row.judgement.health == Health::Healthy;
    let latencies: Vec<f64> = earlier.iter().filter(same).filter_map(|row| row.found.latency_ms).collect();
    let crashed_before = earlier.first().is_some_and(|row| row.found.ended == Ended::Crashed);
    judge(found, &latencies, crashed_before)
}

/// Why an operator who wants a check cannot have one of a device in this state.
pub(crate) fn out_of_service(device: DeviceId, state: DeviceState) -> String {
    tracing::debug!(%device, %state, "not checked");
    format!("it is in state {state}: release it first, and it is checked before its next job where that is due")
}

#[cfg(test)]
mod tests {
    use seatrial_core::dataset::package::PackageManifest;

    use super::*;

    /// Of a member of a zip archive without compression.
    fn member(name: &str) -> &'static [u8] {
        let header = DATA.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
        let size = u32::from_le_bytes(DATA[header - 8..header - 4].try_into().unwrap()) as usize;
        let start = header + name.len();
        &DATA[start..start + size]
    }

    #[test]
    fn the_data_that_is_built_in_is_what_the_specification_says() {
        let text = std::str::from_utf8(member("dataset.toml")).unwrap();
        let manifest = PackageManifest::parse(text, "dataset.toml").unwrap();
        let spec = specification();
        let dataset = spec.dataset.as_ref().unwrap();
        assert_eq!((manifest.task, manifest.examples), (dataset.task, dataset.examples));
        assert_eq!(manifest.standard.max_abs, Some(1e-3), "what outputs may differ by");
        for (digest, size) in spec.artifacts() {
            assert_eq!(bytes(&digest).unwrap().len() as u64, size);
        }
        assert_eq!(bytes(&Digest::from_bytes([7; 32])), None);
    }

    #[test]
    fn a_check_ends_within_minutes_whatever_happens() {
        let limits = specification().limits;
        let longest: Duration = limits.deadlines.values().sum();
        assert!(longest <= Duration::from_mins(4), "{longest:?}");
    }
}
