//! What a process took from the disk, and what it has in memory of the files of a folder.

use std::path::Path;

use seatrial_core::report::Opened;

use super::window;

/// Bytes that a process, or this one, has had the disk read, `read_bytes` of `/proc/self/io`.
pub(crate) fn disk_reads(process: Option<u32>) -> Option<u64> {
    window::field(&window::read(&window::of_process(process, "io"))?, "read_bytes:")
}

/// Of the files of a package in this folder, since that many bytes had been read. `None` where the kernel does not tell, or
/// the process has nothing of them.
pub(crate) fn of(process: Option<u32>, folder: &Path, before: u64) -> Option<Opened> {
    let read = disk_reads(process)?.saturating_sub(before);
    let folder = std::fs::canonicalize(folder).ok()?;
    let held = held(&window::read(&window::of_process(process, "smaps"))?, folder.to_str()?);
    (held > 0).then_some(Opened { held, read })
}

/// Resident bytes of the mappings of files in a folder, by a text of `/proc/PID/smaps`.
fn held(smaps: &str, folder: &str) -> u64 {
    let (mut inside, mut bytes) = (false, 0_u64);
    for line in smaps.lines() {
        if let Some(size) = line.strip_prefix("Rss:") {
            let kib: u64 = size.split_whitespace().next().and_then(|size| size.parse().ok()).unwrap_or(0);
            bytes = bytes.saturating_add(if inside { kib.saturating_mul(1024) } else { 0 });
        } else if line.split_whitespace().next().is_some_and(|first| first.contains('-')) {
            // 7f12a4000000-7f12a4021000 r-xp 00000000 fe:00 1234   /folder/libengine.so
            inside = line.split_once(folder).is_some_and(|(_, file)| file.starts_with('/'));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_of_a_folders_files_is_counted_and_nothing_else() {
        let smaps = "\
5581-5582 r--p 00000000 fe:00 12                         /usr/bin/agent\nSize: 9 kB\nRss:   8 kB\nPss: 4 kB\n\
7f12-7f13 r-xp 00000000 fe:00 34                         /job/runtime/libengine.so\nRss:  100 kB\nAnonymous: 0 kB\n\
7f13-7f14 rw-p 00001000 fe:00 34                         /job/runtime/libengine.so\nRss:   20 kB\nVmFlags: rd\n\
7f14-7f15 rw-p 00000000 00:00 0 \nRss:   50 kB\n\
7f15-7f16 r--p 00000000 fe:00 35                         /job/runtime-of-another/lib.so\nRss:   70 kB\n";
        assert_eq!(held(smaps, "/job/runtime"), 120 * 1024);
        assert_eq!(held(smaps, "/job/model"), 0);
    }

    #[test]
    fn a_process_has_its_own_program_in_memory() {
        let program = std::env::current_exe().unwrap();
        let opened = of(None, program.parent().unwrap(), 0).unwrap();
        assert!(opened.held > 0, "{opened:?}");
        assert_eq!(of(None, Path::new("/proc"), 0), None, "nothing is mapped from there");
    }
}
