//! Compiles the protocol without protoc.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["common", "agent", "control", "runner"].map(|name| format!("seatrial/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Much larger than all other messages, and the first of a session only.
    let hello = ".seatrial.v1.AgentMessage.message.hello";
    tonic_prost_build::configure().bytes(".").boxed(hello).compile_fds(descriptors)?;
    Ok(())
}
