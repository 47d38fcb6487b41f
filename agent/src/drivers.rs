//! Variables of the environment by which drivers of accelerators are chosen and found.

use std::ffi::OsStr;

/// Lists of files and folders.
pub(crate) const PATHS: [&str; 4] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "OCL_ICD_VENDORS"];

/// Whether a variable says which driver is used, or where one may look.
pub(crate) fn is_variable(name: &OsStr) -> bool {
    const FOLDERS: [&str; 2] = ["XDG_RUNTIME_DIR", "XDG_DATA_DIRS"];
    const BEGINNINGS: [&str; 8] =
        ["VK_", "MESA_", "GALLIUM_", "LIBGL_", "OCL_", "POCL_", "OPENCV_OPENCL_", "OPENCV_DNN_OPENCL_"];
    let begins = |name: &str| BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    name.to_str().is_some_and(|name| FOLDERS.contains(&name) || begins(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_drivers_is_told_from_secrets() {
        for name in PATHS.into_iter().chain(["XDG_RUNTIME_DIR", "MESA_LOADER_DRIVER_OVERRIDE", "OPENCV_OPENCL_DEVICE"])
        {
            assert!(is_variable(OsStr::new(name)), "{name}");
        }
        for name in ["SEATRIAL_TOKEN", "HOME", "XDG_CONFIG_HOME", "AWS_SECRET_ACCESS_KEY"] {
            assert!(!is_variable(OsStr::new(name)), "{name}");
        }
    }
}
