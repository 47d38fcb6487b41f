//! A phone, a variant and a model for the tests of placement, selection and expansion.

use std::collections::BTreeMap;

use crate::backend::{Accelerator, Affinity, Backend};
use crate::dataset::Task;
use crate::device::{Cpu, CpuCluster, DeviceState, Evidence, Profile, RuntimeOffer};
use crate::digest::Digest;
use crate::ids::{DatasetId, DatasetVersionId, DeviceId, ModelId, ModelVersionId, VariantId};
use crate::model::{Axis, Format, Manifest, ManifestEntry, Precision, Signature, SignatureStanding, TensorSpec};
use crate::reading::Reading;
use crate::store::{AliasRow, DatasetDetail, DatasetVersionRow, DeviceRow, ModelDetail, VariantRow, VersionRow};
use crate::tensor::DType;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

fn entropy(number: u8) -> [u8; 10] {
    [number; 10]
}

/// Eight cores in three clusters, 8 GiB, tract on the CPU and LiteRT on CPU and GPU.
pub(crate) fn phone(number: u8) -> DeviceRow {
    let cluster = |cpus: &[u16], khz| CpuCluster { cpus: cpus.to_vec(), max_frequency_khz: Reading::Present(khz) };
    let offer = |name: &str, version: &str, formats: &[Format], accelerators: &[Accelerator]| RuntimeOffer {
        name: name.to_owned(),
        version: version.to_owned(),
        formats: formats.to_vec(),
        accelerators: accelerators.to_vec(),
        absent: BTreeMap::new(),
    };
    DeviceRow {
        id: DeviceId::new(NOW, entropy(number)),
        name: format!("Xiaomi 15 №{number}"),
        state: DeviceState::Ready,
        state_reason: String::new(),
        evidence: Evidence::default(),
        profile: Profile {
            brand: Reading::Present("Xiaomi".to_owned()),
            product: Reading::Present("Xiaomi 15".to_owned()),
            os: Reading::Present("HyperOS 2.0.112".to_owned()),
            kernel: Reading::Present("6.6.30".to_owned()),
            hostname: Reading::absent("not told"),
            soc: Reading::Present("SM8750".to_owned()),
            cpu: Cpu {
                model: Reading::absent("the kernel names none"),
                architecture: "aarch64".to_owned(),
                count: Reading::Present(8),
                clusters: vec![
                    cluster(&[0, 1, 2, 3], 2_000_000),
                    cluster(&[4, 5, 6], 3_000_000),
                    cluster(&[7], 4_300_000),
                ],
                features: Reading::Present(vec!["asimddp".to_owned(), "i8mm".to_owned()]),
            },
            gpu: Reading::Present("Adreno 830".to_owned()),
            gpu_driver: Reading::absent("denied by the kernel"),
            memory_bytes: Reading::Present(8 << 30),
            abi: "arm64-v8a".to_owned(),
            android_api: Reading::Present(35),
            sensors: vec!["battery".to_owned()],
            absent_sensors: BTreeMap::new(),
            runtimes: vec![
                offer("tract", "0.23.9", &[Format::Onnx, Format::Nnef], &[Accelerator::Cpu]),
                offer("litert", "1.4.0", &[Format::Tflite], &[Accelerator::Cpu, Accelerator::Gpu]),
            ],
            engines: Vec::new(),
            packages: Vec::new(),
            interpreters: BTreeMap::new(),
            findings: None,
            battery: None,
            simulated: false,
        },
        labels: [("shelf".to_owned(), "A3".to_owned())].into(),
        agent_version: "0.1.0".to_owned(),
        created_at: NOW,
        last_seen_at: NOW,
    }
}

/// A host without GPU, Android or labels; two CPUs of one kind.
pub(crate) fn host() -> DeviceRow {
    let mut host = phone(200);
    host.name = "build-host".to_owned();
    host.labels.clear();
    let absent = || Reading::absent("not an Android device");
    host.profile.brand = Reading::absent("no such reading on this board");
    host.profile.gpu = Reading::absent("no GPU found");
    host.profile.android_api = Reading::absent("not an Android device");
    host.profile.soc = absent();
    host.profile.abi = "x86_64".to_owned();
    host.profile.cpu.count = Reading::Present(2);
    host.profile.cpu.clusters.truncate(1);
    host.profile.cpu.clusters[0].cpus = vec![0, 1];
    host.profile.runtimes.truncate(1);
    host
}

pub(crate) fn backend(runtime: &str) -> Backend {
    Backend {
        runtime: runtime.to_owned(),
        track: None,
        accelerator: Accelerator::Cpu,
        provider: None,
        threads: 1,
        affinity: Affinity::Any,
        precision: None,
    }
}

pub(crate) fn variant(number: u8, name: &str, format: Format, precision: Precision) -> VariantRow {
    let tensor = |name: &str, shape: Vec<Axis>| TensorSpec { name: name.to_owned(), dtype: DType::F32, shape };
    let file_name = format!("model.{}", format.as_str());
    VariantRow {
        id: VariantId::new(NOW, entropy(number)),
        name: name.to_owned(),
        format,
        precision,
        manifest: Manifest {
            entries: vec![ManifestEntry {
                role: "model".to_owned(),
                digest: Digest::of(name.as_bytes()),
                size: 1 << 20,
                file_name,
            }],
        },
        signature: Signature {
            inputs: vec![tensor("image", vec![Axis::Named("batch".to_owned()), Axis::Fixed(64)])],
            outputs: vec![tensor("logits", vec![Axis::Named("batch".to_owned()), Axis::Fixed(10)])],
            precision_from: None,
        },
        standing: SignatureStanding::Claimed,
    }
}

/// Two versions, each with an ONNX variant in fp32 and in int8; `prod` is the first.
pub(crate) fn model(number: u8, name: &str) -> ModelDetail {
    let version = |version: u32| VersionRow {
        id: ModelVersionId::new(NOW, entropy(number * 10 + version as u8)),
        number: version,
        parent: None,
        commit: None,
        build_address: None,
        labels: BTreeMap::new(),
        origin: None,
        license: None,
        created_at: NOW,
        created_by: "qa".to_owned(),
        variants: vec![
            variant(number * 10 + version as u8, "fp32", Format::Onnx, Precision::Fp32),
            variant(number * 10 + version as u8 + 5, "int8", Format::Onnx, Precision::Int8),
        ],
        bindings: vec![],
    };
    let alias =
        |alias: &str, version| AliasRow { alias: alias.to_owned(), version, moved_at: NOW, moved_by: "qa".to_owned() };
    ModelDetail {
        id: ModelId::new(NOW, entropy(number)),
        name: name.to_owned(),
        versions: vec![version(2), version(1)],
        aliases: vec![alias("latest", 2), alias("prod", 1)],
    }
}

pub(crate) fn dataset(number: u8, name: &str) -> DatasetDetail {
    let version = |version: u32| DatasetVersionRow {
        id: DatasetVersionId::new(NOW, entropy(number * 10 + version as u8)),
        number: version,
        digest: Digest::of(name.as_bytes()),
        size: 1000,
        task: Task::Classification,
        examples: 360,
        classes: vec!["0".to_owned(), "1".to_owned()],
        scorer: None,
        origin: None,
        license: None,
        created_at: NOW,
        created_by: "qa".to_owned(),
    };
    DatasetDetail {
        id: DatasetId::new(NOW, entropy(number)),
        name: name.to_owned(),
        versions: vec![version(2), version(1)],
    }
}
