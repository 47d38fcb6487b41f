//! Which devices Vulkan has here: asked before an engine is, since some engines end the process where there is none, and
//! none of them says whether a device is a program that draws on the CPU.
#![expect(unsafe_code, reason = "Vulkan is a C library that is loaded at run time")]

use ash::{Entry, Instance, vk};
use seatrial_core::actual::ComputeDevice;
use seatrial_core::backend::Accelerator;
use seatrial_core::outcome::Claim;
use seatrial_core::reading::Reading;
use seatrial_core::reason::{Code, Reason};

use super::RuntimeError;

/// A physical device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub name: String,
    /// It computes on the CPU.
    pub software: bool,
    /// Its driver has what WebGPU cannot do without: `shaderUniformBufferArrayDynamicIndexing` and
    /// `shaderSampledImageArrayDynamicIndexing`. Mesa 22.3's software driver lacks the second, and ONNX Runtime dies of it.
    pub serves_webgpu: bool,
}

/// The devices, at least one of which can do WebGPU; an engine that computes by it has no backend without. Where one of
/// them is real, programs that compute on the CPU are hidden: an engine does not say which it takes.
pub(super) fn devices(engine: &str) -> Result<Vec<Device>, RuntimeError> {
    let mut found = every();
    if found.as_ref().is_ok_and(|devices| is_mixed(devices)) {
        hide_software();
        found = every();
    }
    let message = match found {
        Ok(devices) if devices.iter().any(|device| device.serves_webgpu) => return Ok(devices),
        Ok(devices) if devices.is_empty() => no_driver(engine, "its loader finds no device"),
        Ok(devices) => {
            let found = told(&devices);
            format!("{engine} computes by WebGPU, for which the Vulkan driver here is too old: {found}")
        }
        Err(why) => no_driver(engine, &why),
    };
    Err(RuntimeError::new(Claim::UnsupportedBackend, message))
}

fn no_driver(engine: &str, why: &str) -> String {
    format!("{engine} needs a Vulkan driver for the GPU, and there is none here: {why}")
}

#[expect(clippy::disallowed_methods, reason = "the engine asks Vulkan's loader, and no argument of it goes there")]
fn hide_software() {
    // SAFETY: this process is a child that does one thing, and the loader reads it when it is asked next.
    unsafe { std::env::set_var("VK_LOADER_DRIVERS_DISABLE", SOFTWARE_DRIVERS) };
}

/// Manifests of Mesa's lavapipe and of SwiftShader.
const SOFTWARE_DRIVERS: &str = "*lvp*,*swiftshader*";

fn is_mixed(devices: &[Device]) -> bool {
    let is_real = |device: &Device| device.serves_webgpu && !device.software;
    devices.iter().any(is_real) && devices.iter().any(|device| device.software)
}

fn every() -> Result<Vec<Device>, String> {
    // SAFETY: the system's own loader; this process is a child that holds nothing but one attempt.
    let entry = unsafe { Entry::load() }.map_err(|error| error.to_string())?;
    let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_1);
    let wanted = vk::InstanceCreateInfo::default().application_info(&application);
    // SAFETY: what is wanted lives until the call returns.
    let instance = unsafe { entry.create_instance(&wanted, None) }.map_err(|error| error.to_string())?;
    let devices = list(&instance);
    // SAFETY: made above, and nothing of it is left.
    unsafe { instance.destroy_instance(None) };
    devices.map_err(|error| error.to_string())
}

fn list(instance: &Instance) -> Result<Vec<Device>, vk::Result> {
    // SAFETY: the instance is alive.
    let found = unsafe { instance.enumerate_physical_devices() }?;
    let device = |physical| {
        // SAFETY: the instance is alive and has just named the device.
        let properties = unsafe { instance.get_physical_device_properties(physical) };
        // SAFETY: as above.
        let features = unsafe { instance.get_physical_device_features(physical) };
        let name = properties.device_name_as_c_str().map(|name| name.to_string_lossy().into_owned());
        Device {
            name: name.unwrap_or_else(|_| "a device without a name".to_owned()),
            software: properties.device_type == vk::PhysicalDeviceType::CPU,
            serves_webgpu: features.shader_uniform_buffer_array_dynamic_indexing == vk::TRUE
                && features.shader_sampled_image_array_dynamic_indexing == vk::TRUE,
        }
    };
    Ok(found.into_iter().map(device).collect())
}

/// What WebGPU computes on here. Of several it may be any: where one of them is a program, it may be that.
fn chosen(devices: &[Device]) -> ComputeDevice {
    let can: Vec<Device> = devices.iter().filter(|device| device.serves_webgpu).cloned().collect();
    ComputeDevice { name: told(&can), software: can.iter().any(|device| device.software) }
}

/// The same for the record of what ran, of an engine that asks Vulkan for its GPU and no other accelerator.
pub(super) fn computed_on(engine: &str, accelerator: Accelerator, devices: &[Device]) -> Reading<ComputeDevice> {
    match (accelerator, devices) {
        (Accelerator::Cpu, _) => Reading::absent(Code::CpuAlone.template()),
        (Accelerator::Gpu | Accelerator::Npu, []) => {
            Reading::absent(Reason::new(Code::NotTold, &[("program", &engine)]).text())
        }
        (Accelerator::Gpu | Accelerator::Npu, devices) => Reading::Present(chosen(devices)),
    }
}

/// For the facts of a job; nothing where Vulkan was not asked.
pub(super) fn facts(devices: &[Device]) -> Vec<(&'static str, String)> {
    if devices.is_empty() { Vec::new() } else { vec![("gpu", told(devices))] }
}

/// For the record of a job: `llvmpipe (LLVM 15.0.6, 256 bits), software`.
fn told(devices: &[Device]) -> String {
    let one =
        |Device { name, software, .. }: &Device| if *software { format!("{name}, software") } else { name.clone() };
    devices.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_a_program_is_said_to_be_one() {
        let real = Device { name: "Mali-G720".to_owned(), software: false, serves_webgpu: true };
        let program = Device { name: "llvmpipe".to_owned(), software: true, serves_webgpu: true };
        assert_eq!(told(&[real.clone(), program.clone()]), "Mali-G720; llvmpipe, software");
        let software = |devices: &[Device]| chosen(devices).software;
        assert_eq!(chosen(std::slice::from_ref(&program)).name, "llvmpipe, software");
        assert!(software(std::slice::from_ref(&program)));
        assert!(!software(std::slice::from_ref(&real)), "the control: a real one");
        let both = [program.clone(), real.clone()];
        assert!(is_mixed(&both) && software(&both), "it may be either, if the program could not be hidden");
        let old = Device { serves_webgpu: false, ..real.clone() };
        assert!(software(&[old.clone(), program.clone()]), "one that WebGPU cannot use is none");
        assert!(!is_mixed(&[old, program]) && !is_mixed(&[real]));
    }
}
