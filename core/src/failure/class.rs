//! The classes, and who is to blame.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$about:meta])* $type:ident, $what:literal: $($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$doc])* $name,)* }

        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As rules, documents and catalogues spell it. Never changed once released.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().copied().find(|one| one.as_str() == text);
                found.ok_or_else(|| format!(concat!("{:?} is not ", $what), text))
            }
        }
    };
}

words! {
    /// Whose doing a failure is, as far as its evidence tells.
    Blame, "a party to blame (device, driver, binary, model, lab)":
    Device = "device",
    /// A driver of the GPU or NPU, with its compiler.
    Driver = "driver",
    /// The engine's libraries or program, or how they were built.
    Binary = "binary",
    /// The model, its dataset or the suite.
    Model = "model",
    /// Cables, hosts, the ROM's housekeeping, and ourselves.
    Lab = "lab",
}

words! {
    /// A class of failure.
    Class, "a class of failure":
    // Infrastructure.
    DeviceRebooted = "device_rebooted",
    LinkLost = "link_lost",
    AgentKilled = "agent_killed",
    TransferCorrupt = "transfer_corrupt",
    HarnessFault = "harness_fault",
    ThermalAbort = "thermal_abort",
    BatteryLow = "battery_low",
    InstallRefused = "install_refused",
    // How a process ended.
    Hang = "hang",
    KilledByRom = "killed_by_rom",
    /// By signal 9, and nothing says by whom.
    Killed = "killed",
    OutOfMemory = "out_of_memory",
    GpuLost = "gpu_lost",
    IllegalInstruction = "illegal_instruction",
    Segfault = "segfault",
    Abort = "abort",
    BusError = "bus_error",
    Seccomp = "seccomp",
    OtherSignal = "other_signal",
    SilentExit = "silent_exit",
    /// Nothing died, and what it says cannot be true.
    Protocol = "protocol",
    // What kept a program from starting.
    NoexecMount = "noexec_mount",
    SelinuxDenial = "selinux_denial",
    NotExecutable = "not_executable",
    NotFound = "not_found",
    UnfitExecutable = "unfit_executable",
    MissingLibrary = "missing_library",
    MissingSymbol = "missing_symbol",
    LinkerNamespace = "linker_namespace",
    PageSize = "page_size",
    DiskFull = "disk_full",
    // Accelerators.
    NoOpencl = "no_opencl",
    OpenclBuild = "opencl_build",
    NpuUnavailable = "npu_unavailable",
    BackendFallback = "backend_fallback",
    UnsupportedBackend = "unsupported_backend",
    // The model.
    WrongNumbers = "wrong_numbers",
    UnsupportedOperator = "unsupported_operator",
    LoadFailed = "load_failed",
    CompileFailed = "compile_failed",
    Misspecified = "misspecified",
    Unknown = "unknown",
}
