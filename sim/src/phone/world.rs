//! The world of a phone: its files in a folder, and the namespaces in which that folder is `/`.
//!
//! ```text
//! root/       what the phone sees as /
//! proc/       files that stand for those of the same name in the phone's /proc
//! partly/     files on their way to root/
//! world.log   what the making of the world and the daemon said
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fs_err as fs;
use tokio::process::{Child, Command};

use super::description::Description;
use super::{PhoneError, base};

const SCRIPT: &str = include_str!("world.sh");

/// Scripts in /system/bin that stand for Android's own programs; the second name is their file.
const OURS: &[(&str, &[&str])] = &[
    (include_str!("tools/getprop"), &["getprop"]),
    (include_str!("tools/settings"), &["settings"]),
    (include_str!("tools/logcat"), &["logcat"]),
    (include_str!("tools/svc"), &["svc"]),
    (include_str!("tools/input"), &["input"]),
    (
        include_str!("tools/answer"),
        &["dumpsys", "cmd", "service", "pm", "am", "wm", "lshal", "getenforce", "device_config", "dmesg"],
    ),
];

/// What a phone's toybox offers, as far as this machine has a program of that name.
const TOYBOX: &str = "awk base64 basename bc cat chgrp chmod chown cksum clear cmp comm cp cut date dd df diff dirname du \
    echo egrep env expr false fgrep file find flock fold free getconf grep groups gunzip gzip head hostname hwclock id \
    install ionice kill killall ln ls lsof md5sum mkdir mkfifo mknod mktemp more mount mountpoint mv nc nice nl nohup nproc \
    nsenter od paste patch pgrep pidof pkill pmap printenv printf prlimit ps pwd readlink realpath renice rev rm rmdir sed \
    seq setsid sh sha1sum sha224sum sha256sum sha384sum sha512sum sleep sort split stat strings stty sync tac tail tar \
    taskset tee test time timeout top touch tr true truncate tty ulimit umount uname uniq unlink unshare uptime uudecode \
    vmstat watch wc which whoami xargs xxd yes zcat";

/// Environment of everything that adbd starts.
const ENVIRONMENT: &[(&str, &str)] = &[
    // The script that makes the world has this machine's own path, and gives this one to the daemon.
    ("PHONE_PATH", "/product/bin:/apex/com.android.runtime/bin:/system/bin:/system/xbin:/odm/bin:/vendor/bin"),
    ("TMPDIR", "/data/local/tmp"),
    ("HOME", "/"),
    ("USER", "shell"),
    ("LOGNAME", "shell"),
    ("SHELL", "/system/bin/sh"),
    ("HOSTNAME", "localhost"),
    ("ANDROID_ROOT", "/system"),
    ("ANDROID_DATA", "/data"),
    ("EXTERNAL_STORAGE", "/sdcard"),
];

/// Names the file whose lock is the right to measure, inside of the phone.
pub const TURN_VARIABLE: &str = "SEATRIAL_TURN";
/// By which an agent knows that its phone is simulated, inside of the phone.
pub const SIMULATED_VARIABLE: &str = "SEATRIAL_SIMULATED";

/// The files of one phone.
#[derive(Debug)]
pub struct World {
    folder: PathBuf,
    /// What denied nodes were before.
    allowed: BTreeMap<PathBuf, u32>,
}

impl World {
    /// Lays the files of a description out in a folder of its own.
    pub fn build(folder: &Path, description: &Description) -> Result<Self, PhoneError> {
        fs::create_dir_all(folder)?;
        let world = Self { folder: folder.canonicalize()?, allowed: BTreeMap::new() };
        let root = world.root();
        for part in ["proc", "root", "partly"] {
            fs::create_dir_all(world.folder.join(part))?;
        }
        for part in
            ["proc", "dev", "data/local/tmp", "data/system/settings", "sdcard", "system/bin", "vendor", "etc", "sys"]
        {
            fs::create_dir_all(root.join(part))?;
        }
        fs::set_permissions(root.join("data/local/tmp"), std::fs::Permissions::from_mode(0o771))?;
        let (proc, other): (Vec<_>, Vec<_>) =
            description.evidence.files.iter().cloned().partition(|(path, _)| path.starts_with("proc/"));
        write_all(&world.folder, &proc)?;
        write_all(&root, &other)?;
        let described = description.folder.as_ref().map(|folder| folder.join("root"));
        if let Some(described) = described.filter(|described| described.is_dir()) {
            for entry in fs::read_dir(&described)? {
                let entry = entry?;
                let is_proc = entry.file_name() == "proc";
                let target = if is_proc { world.folder.join("proc") } else { root.join(entry.file_name()) };
                copy(&entry.path(), &target)?;
            }
        }
        if !root.join("sys/class/power_supply").is_dir() {
            write_all(&root, base::SUPPLY)?;
        }
        write_all(&root.join("data/system/settings"), base::SETTINGS)?;
        write_all(&root.join("data/system/settings"), &description.evidence.settings)?;
        copy_if_there(description, "settings", &root.join("data/system/settings"))?;
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/:/system/bin/sh\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\nshell:x:2000:\n")?;
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
        // Where this machine keeps libraries in places of its own.
        if Path::new("/etc/ld.so.cache").exists() {
            fs::copy("/etc/ld.so.cache", root.join("etc/ld.so.cache"))?;
        }
        tools(&root.join("system/bin"))?;
        fs::write(world.folder.join("world.sh"), SCRIPT)?;
        Ok(world)
    }

    /// What does not outlive a reboot: properties, answers, logs, sockets, the boot id.
    pub fn renew<'p>(
        &self,
        description: &'p Description,
        own: impl Iterator<Item = (&'p str, &'p str)>,
        boot_id: &str,
    ) -> Result<(), PhoneError> {
        let dev = self.root().join("dev");
        fs::remove_dir_all(&dev)?;
        for part in ["__properties__", "socket", "log"] {
            fs::create_dir_all(dev.join(part))?;
        }
        for link in ["fd", "stdin", "stdout", "stderr"] {
            let number = ["stdin", "stdout", "stderr"].iter().position(|name| *name == link);
            symlink(
                number.map_or("/proc/self/fd".to_owned(), |number| format!("/proc/self/fd/{number}")),
                dev.join(link),
            )?;
        }
        let mut properties: BTreeMap<&str, &str> =
            description.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        properties.extend(own);
        let mut dump = String::new();
        for (name, value) in properties {
            fs::write(dev.join("__properties__").join(name), format!("{value}\n"))?;
            dump.extend(["[", name, "]: [", value, "]\n"]);
        }
        fs::write(dev.join("properties"), dump)?;
        for buffer in ["main", "system", "crash", "kernel", "events", "radio"] {
            fs::write(dev.join("log").join(buffer), "")?;
        }
        copy_if_there(description, "log", &dev.join("log"))?;
        let answers = self.answers();
        if answers.exists() {
            fs::remove_dir_all(&answers)?;
        }
        write_all(&answers, base::ANSWERS)?;
        write_all(&answers, &description.evidence.answers)?;
        copy_if_there(description, "answers", &answers)?;
        let place = self.folder.join("proc/sys/kernel/random");
        fs::create_dir_all(&place)?;
        fs::write(place.join("boot_id"), format!("{boot_id}\n"))?;
        Ok(())
    }

    /// Starts the daemon in the world. It says on standard output when it listens, and hears on standard input.
    pub fn boot(&self, program: &[OsString], turn: Option<&Path>) -> Result<Child, PhoneError> {
        let log = fs::File::create(self.folder.join("world.log"))?;
        let mut command = Command::new("unshare");
        command.args("--user --map-root-user --mount --net --pid --fork --kill-child --propagation private".split(' '));
        command.arg("/bin/sh").arg(self.folder.join("world.sh"));
        command.arg(self.root()).arg(self.folder.join("proc")).arg(turn.unwrap_or(Path::new(""))).args(program);
        // The script's own tools; not every user's path has them all.
        command.env_clear().envs(ENVIRONMENT.iter().copied()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env(SIMULATED_VARIABLE, "true");
        if turn.is_some() {
            command.env(TURN_VARIABLE, "/dev/seatrial-turn");
        }
        // What is typed at its owner's terminal is not for it.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.into_parts().0)
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().map_err(|error| PhoneError::Boot { why: format!("unshare: {error}") })
    }

    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub fn answers(&self) -> PathBuf {
        self.root().join("data/system/answers")
    }

    /// What was said while the world was made, for the person who must make it possible.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("world.log")).unwrap_or_default();
        let from = text.len().saturating_sub(2000);
        text.get(from..).unwrap_or(&text).trim().replace('\n', "; ")
    }

    /// Puts a new text in the place of an old one, whole; who may read it stays as it was.
    pub fn write(&self, path: &Path, text: &str) -> std::io::Result<()> {
        if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        let partly = tempfile::NamedTempFile::new_in(self.folder.join("partly"))?;
        fs::write(partly.path(), text)?;
        fs::set_permissions(partly.path(), fs::metadata(path)?.permissions())?;
        partly.persist(path)?;
        Ok(())
    }

    /// Puts a document beside the phone's files, where nobody on the phone sees it, whole.
    pub fn tell(&self, name: &str, document: &impl serde::Serialize) -> std::io::Result<()> {
        let partly = tempfile::NamedTempFile::new_in(self.folder.join("partly"))?;
        serde_json::to_writer(&partly, document)?;
        partly.persist(self.folder.join(name))?;
        Ok(())
    }

    /// Nobody on the phone may read a path any more.
    pub fn deny(&mut self, path: &str) -> Result<(), PhoneError> {
        let inner = path.trim_start_matches('/');
        let place = if inner.starts_with("proc/") { self.folder.join(inner) } else { self.root().join(inner) };
        let refused = |_| PhoneError::NoSuchNode { path: path.to_owned() };
        let mode = fs::symlink_metadata(&place).map_err(refused)?.permissions().mode();
        fs::set_permissions(&place, std::fs::Permissions::from_mode(0o000))?;
        self.allowed.entry(place).or_insert(mode);
        Ok(())
    }

    /// Everything may be read again.
    pub fn allow(&mut self) -> std::io::Result<()> {
        for (place, mode) in std::mem::take(&mut self.allowed) {
            fs::set_permissions(place, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

fn tools(folder: &Path) -> std::io::Result<()> {
    for name in TOYBOX.split_whitespace() {
        let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|place| Path::new(place).join(name));
        if let Some(place) = places.iter().find(|place| place.exists()) {
            // Its own place: what links lie between may not be in the world.
            link(&place.canonicalize()?, &folder.join(name))?;
        }
    }
    for (script, names) in OURS {
        for name in *names {
            let place = folder.join(name);
            fs::write(&place, script)?;
            fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

fn link(target: &Path, place: &Path) -> std::io::Result<()> {
    match symlink(target, place) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_all<T: AsRef<str>>(folder: &Path, files: &[(T, T)]) -> std::io::Result<()> {
    for (name, text) in files {
        let place = folder.join(name.as_ref());
        fs::create_dir_all(place.parent().unwrap_or(folder))?;
        fs::write(place, text.as_ref())?;
    }
    Ok(())
}

/// A part of a description that is a folder.
fn copy_if_there(description: &Description, part: &str, to: &Path) -> std::io::Result<()> {
    let from = description.folder.as_ref().map(|folder| folder.join(part)).filter(|from| from.is_dir());
    from.map_or(Ok(()), |from| copy(&from, to))
}

/// A folder with all that is in it, over what is there.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_symlink() {
        link(&fs::read_link(from)?, to)?;
    } else {
        fs::copy(from, to)?;
    }
    Ok(())
}
