//! What the kernel keeps of files in memory.

use std::io;
use std::path::Path;

use fs_err as fs;
use rustix::fs::{Advice, fadvise};

/// The fact under which it is told what became of a model's pages before the cold load.
pub(crate) const FACT: &str = "page_cache";

/// The next read of the file comes from the disk.
pub(crate) fn forget(path: &Path) -> io::Result<()> {
    let file = fs::File::open(path)?;
    // Pages that have not been written yet cannot be forgotten.
    file.sync_data()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}
