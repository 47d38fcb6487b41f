//! Which builds of the agent a phone or board can run, from what its shell tells of it.

use crate::agents::Executable;
use crate::runtimes::{Abi, Libc, Machine};

/// What a device's shell tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Android's `ro.product.cpu.abilist`, its own choice first; empty elsewhere.
    pub abi_list: Vec<String>,
    /// `uname -m`.
    pub machine: String,
    /// Dynamic linkers that are there, by path.
    pub loaders: Vec<String>,
}

/// ABIs of agents that would run, best first: those that load the device's own libraries before those that are linked
/// statically. A phone with a 64-bit kernel and a 32-bit userland lists no 64-bit ABI, and gets none. One that lists ABIs
/// and has another system's loader in the place of Android's is a simulated one: what that loads is what it runs.
#[must_use]
pub fn agents_for(told: &Told) -> Vec<Abi> {
    let machines: Vec<Machine> = if told.abi_list.is_empty() {
        machine_of_uname(&told.machine).into_iter().collect()
    } else {
        told.abi_list.iter().filter_map(|word| machine_of_android(word)).collect()
    };
    let mut abis = Vec::new();
    for machine in machines {
        let abi = |path: &String| Executable { machine: Ok(machine), interpreter: Some(path.clone()) }.abi().ok();
        let loaded: Vec<Abi> = told.loaders.iter().filter_map(abi).collect();
        let is_android = !told.abi_list.is_empty();
        if is_android && (loaded.is_empty() || loaded.iter().any(|abi| abi.libc == Libc::Bionic)) {
            abis.push(Abi { machine, libc: Libc::Bionic });
        } else {
            abis.extend(loaded);
        }
        abis.push(Abi { machine, libc: Libc::Musl });
    }
    let mut seen = Vec::new();
    abis.retain(|abi| {
        !seen.contains(abi) && {
            seen.push(*abi);
            true
        }
    });
    abis
}

/// `armeabi` alone is ARMv5, for which there are no agents.
fn machine_of_android(word: &str) -> Option<Machine> {
    match word {
        "arm64-v8a" => Some(Machine::Aarch64),
        "armeabi-v7a" => Some(Machine::Arm),
        "x86_64" => Some(Machine::X86_64),
        "x86" => Some(Machine::X86),
        _ => None,
    }
}

fn machine_of_uname(machine: &str) -> Option<Machine> {
    match machine {
        "aarch64" => Some(Machine::Aarch64),
        "armv7l" | "armv8l" => Some(Machine::Arm),
        "x86_64" => Some(Machine::X86_64),
        "i386" | "i486" | "i586" | "i686" => Some(Machine::X86),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(abi_list: &str, machine: &str, loaders: &[&str]) -> Vec<String> {
        let words = abi_list.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let loaders = loaders.iter().map(|&path| path.to_owned()).collect();
        let told = Told { abi_list: words, machine: machine.to_owned(), loaders };
        agents_for(&told).iter().map(Abi::to_string).collect()
    }

    #[test]
    fn a_phone_gets_the_agent_of_its_own_c_library_first() {
        let both = of("arm64-v8a,armeabi-v7a,armeabi", "aarch64", &["/system/bin/linker64"]);
        assert_eq!(
            both,
            ["aarch64-linux-android", "aarch64-linux-musl", "arm-linux-androideabi", "arm-linux-musleabihf"]
        );
    }

    #[test]
    fn a_32_bit_userland_on_a_64_bit_kernel_gets_no_64_bit_agent() {
        assert_eq!(of("armeabi-v7a,armeabi", "aarch64", &[])[0], "arm-linux-androideabi");
        assert!(!of("armeabi-v7a,armeabi", "aarch64", &[]).iter().any(|abi| abi.starts_with("aarch64")));
    }

    #[test]
    fn a_board_gets_the_one_whose_loader_is_there_and_a_static_one_else() {
        let board = of("", "aarch64", &["/lib/ld-linux-aarch64.so.1"]);
        assert_eq!(board, ["aarch64-linux-gnu", "aarch64-linux-musl"]);
        assert_eq!(of("", "armv7l", &[]), ["arm-linux-musleabihf"]);
        assert_eq!(of("", "x86_64", &["/lib/ld-musl-x86_64.so.1"]), ["x86_64-linux-musl"]);
    }

    #[test]
    fn a_phone_that_has_no_loader_of_androids_gets_what_its_own_loads() {
        assert_eq!(of("x86_64", "x86_64", &["/lib64/ld-linux-x86-64.so.2"]), ["x86_64-linux-gnu", "x86_64-linux-musl"]);
        let emulator = of("x86_64", "x86_64", &["/system/bin/linker64"]);
        assert_eq!(emulator, ["x86_64-linux-android", "x86_64-linux-musl"], "the control");
        assert_eq!(of("arm64-v8a", "aarch64", &[])[0], "aarch64-linux-android", "its loaders may not be told");
    }

    #[test]
    fn what_nobody_builds_agents_for_gets_none() {
        assert!(of("mips,armeabi", "mips", &[]).is_empty());
        assert!(of("", "riscv64", &["/lib/ld-linux-riscv64-lp64d.so.1"]).is_empty());
        assert!(of("", "", &[]).is_empty());
    }
}
