//! Operating system or ROM, maker, and system on chip.

use seatrial_core::reading::Reading;

use super::files::{Files, first};

/// Files of properties on Android, most specific last.
const PROPERTIES: [&str; 4] =
    ["system/build.prop", "product/etc/build.prop", "vendor/build.prop", "odm/etc/build.prop"];

pub(super) fn brand(files: &Files) -> Reading<String> {
    let android = property(files, &["ro.product.brand", "ro.product.system.brand", "ro.product.vendor.brand"]);
    first([android, known(files.text("sys/class/dmi/id/sys_vendor"))], "")
}

pub(super) fn product(files: &Files) -> Reading<String> {
    let android = property(files, &["ro.product.model", "ro.product.system.model", "ro.product.vendor.model"]);
    let board = files.text("proc/device-tree/model");
    first([android, board, known(files.text("sys/class/dmi/id/product_name"))], "")
}

pub(super) fn name(files: &Files) -> Reading<String> {
    let android = property(files, &["ro.mi.os.version.name", "ro.build.display.id", "ro.system.build.id"]);
    let release = property(files, &["ro.build.version.release", "ro.system.build.version.release"]);
    let android = match (android, release) {
        (Reading::Present(name), Reading::Present(release)) => Reading::Present(format!("{name} (Android {release})")),
        (Reading::Absent(_), Reading::Present(release)) => Reading::Present(format!("Android {release}")),
        (name, Reading::Absent(_)) => name,
    };
    let linux = files.text("etc/os-release").map(|text| {
        let pretty = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        pretty.unwrap_or("unknown Linux").trim_matches('"').to_owned()
    });
    first([android, linux], "")
}

pub(super) fn kernel(files: &Files) -> Reading<String> {
    files.text("proc/sys/kernel/osrelease")
}

pub(super) fn hostname(files: &Files) -> Reading<String> {
    files.text("proc/sys/kernel/hostname")
}

pub(super) fn soc(files: &Files) -> Reading<String> {
    let android = property(files, &["ro.soc.model", "ro.board.platform"]);
    let machine = files.text("sys/devices/soc0/machine");
    let tree = match files.text("proc/device-tree/compatible") {
        Reading::Present(text) => {
            let last = text.split('\0').rfind(|name| !name.is_empty()).map(str::to_owned);
            Reading::from_option(last, "the device tree names nothing")
        }
        Reading::Absent(reason) => Reading::Absent(reason),
    };
    first([android, machine, tree], "")
}

pub(super) fn android_api(files: &Files) -> Reading<u32> {
    match property(files, &["ro.build.version.sdk", "ro.system.build.version.sdk"]) {
        Reading::Present(text) => Reading::from_option(text.parse().ok(), format!("the API level is {text:?}")),
        Reading::Absent(_) => Reading::absent("not an Android device, or its properties cannot be read"),
    }
}

/// `aarch64-linux-musl` and the like: what a runtime package must match.
pub(crate) fn abi() -> String {
    let environment = if cfg!(target_env = "musl") {
        "musl"
    } else if cfg!(target_os = "android") {
        "android"
    } else {
        "gnu"
    };
    let convention = if cfg!(target_abi = "eabihf") {
        "eabihf"
    } else if cfg!(target_abi = "eabi") {
        "eabi"
    } else {
        ""
    };
    format!("{}-linux-{environment}{convention}", std::env::consts::ARCH)
}

fn property(files: &Files, names: &[&str]) -> Reading<String> {
    let texts: Vec<String> = PROPERTIES.iter().filter_map(|path| files.text(path).into_present()).collect();
    let find = |name: &str| {
        texts.iter().rev().flat_map(|text| text.lines()).find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('=')?.trim();
            (!value.is_empty()).then(|| value.to_owned())
        })
    };
    Reading::from_option(names.iter().find_map(|name| find(name)), format!("no property {}", names.join(" or ")))
}

/// Firmware that was never filled in is no name.
fn known(reading: Reading<String>) -> Reading<String> {
    match reading {
        Reading::Present(text) if matches!(text.as_str(), "" | "To Be Filled By O.E.M." | "System manufacturer") => {
            Reading::absent("the firmware holds no name")
        }
        reading @ (Reading::Present(_) | Reading::Absent(_)) => reading,
    }
}
