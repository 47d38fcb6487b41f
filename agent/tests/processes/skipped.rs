//! Tests that take a right or a program which not every machine gives. Such a test never passes in silence: what it
//! could not have is noted for `cargo xtask test`, which lists it by name, and anywhere else it fails.

use std::io::Write as _;

/// File to which `cargo xtask test` wants one line for each test that could not run.
const LIST: &str = "SEATRIAL_TEST_SKIPPED";

/// What a test needs, or `None` after it was noted that there is none here, and why.
pub fn unless_missing<T>(test: &str, needed: Result<T, String>) -> Option<T> {
    let why = match needed {
        Ok(needed) => return Some(needed),
        Err(why) => why.replace('\n', " "),
    };
    let list = std::env::var_os(LIST)
        .unwrap_or_else(|| panic!("{test} cannot run here: {why}; `cargo xtask test` would list it as skipped"));
    let mut list = std::fs::File::options().append(true).open(list).unwrap();
    list.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    None
}
