//! A PostgreSQL of our own, in a scratch folder, on a free port.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::command::{command, output, run};

/// A running server; it ends and its folder goes when this is dropped.
pub struct Postgres {
    folder: TempDir,
    bin: PathBuf,
    port: u16,
    as_root: bool,
}

/// Folder of the newest installed server programs.
pub fn bin_folder() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?;
    versions
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max()
        .context("PostgreSQL's server programs are not installed")
}

impl Postgres {
    pub fn start() -> anyhow::Result<Self> {
        let bin = bin_folder()?;
        let folder = tempfile::tempdir().context("cannot make a scratch folder")?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let as_root = output(command("id").arg("-u"))?.trim() == "0";
        let server = Self { folder, bin, port, as_root };
        let data = server.data();
        run(server
            .program("initdb")
            .args(["--auth=trust", "--username=seatrial", "--encoding=UTF8", "--no-sync"])
            .arg("-D")
            .arg(&data)
            .stdout(std::process::Stdio::null()))?;
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={}",
            server.folder.path().display()
        );
        let log = server.folder.path().join("log");
        let started = run(server
            .program("pg_ctl")
            .args(["start", "--wait", "--silent", "-o", &options])
            .arg("-D")
            .arg(&data)
            .arg("-l")
            .arg(&log));
        if started.is_err() {
            bail!("PostgreSQL did not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        run(server.program("createdb").args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-U",
            "seatrial",
            "seatrial",
        ]))?;
        Ok(server)
    }

    /// Address of its database.
    pub fn url(&self) -> String {
        format!("postgres://seatrial@127.0.0.1:{}/seatrial", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of the server; as `postgres` when we are root, which the server refuses to be.
    fn program(&self, name: &str) -> Command {
        let path: &Path = &self.bin.join(name);
        let mut command = if self.as_root { command("runuser") } else { command(path) };
        if self.as_root {
            command.args(["-u", "postgres", "--"]).arg(path);
        }
        command.current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.data();
        if let Err(error) =
            run(self.program("pg_ctl").args(["stop", "--mode=immediate", "--silent"]).arg("-D").arg(&data))
        {
            eprintln!("xtask: {error:#}");
        }
    }
}
