//! The GPU and its driver, as far as files tell.

use seatrial_core::reading::Reading;

use super::files::{Files, first};

pub(super) fn model(files: &Files) -> Reading<String> {
    let adreno = files.text("sys/class/kgsl/kgsl-3d0/gpu_model");
    let mali = files.text("sys/class/misc/mali0/device/gpuinfo");
    let card = uevent(files, "OF_COMPATIBLE_0").map(|name| name.rsplit(',').next().unwrap_or_default().to_owned());
    match first([adreno, mali, card], "") {
        Reading::Present(name) => Reading::Present(name),
        Reading::Absent(_) => Reading::absent("no GPU is known to this kernel, or it may not be asked"),
    }
}

pub(super) fn driver(files: &Files) -> Reading<String> {
    let kernel = uevent(files, "DRIVER");
    match kernel {
        Reading::Present(name) => Reading::Present(name),
        Reading::Absent(_) if files.exists("sys/class/kgsl/kgsl-3d0") => Reading::Present("kgsl".to_owned()),
        Reading::Absent(_) if files.exists("sys/class/misc/mali0") => Reading::Present("mali".to_owned()),
        Reading::Absent(_) => Reading::absent("no GPU driver is loaded"),
    }
}

fn uevent(files: &Files, key: &str) -> Reading<String> {
    match files.text("sys/class/drm/card0/device/uevent") {
        Reading::Present(text) => {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            Reading::from_option(found.map(str::to_owned), format!("the first graphics card has no {key}"))
        }
        Reading::Absent(reason) => Reading::Absent(reason),
    }
}
