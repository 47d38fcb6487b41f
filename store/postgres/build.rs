//! A new migration is a reason to build again; the macro that embeds the folder notices only changed files.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/postgres");
}
