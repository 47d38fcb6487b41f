//! SHA-256 of a local file: it is the digest that a phone can compute too.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use ring::digest::{Context, SHA256};

/// A file's size in bytes and its digest in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub size: u64,
    pub sha256: String,
}

pub(crate) async fn contents(path: &Path) -> io::Result<Contents> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || read(&path)).await.map_err(io::Error::other)?
}

fn read(path: &Path) -> io::Result<Contents> {
    let mut file = File::open(path)?;
    let (mut context, mut buffer, mut size) = (Context::new(&SHA256), vec![0; 256 << 10], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Contents { size, sha256: hex::encode(context.finish()) }),
            read => {
                context.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}
