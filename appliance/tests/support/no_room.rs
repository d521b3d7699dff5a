//! Ways to take all room away from a program under test, and to give it back.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tells the child of [`limited_in_a_child`] where to work.
const ROOT: &str = "NO_ROOM_ROOT";

/// A file system of a few megabytes, gone with the value.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Only the superuser may mount one.
    pub(crate) fn mount(at: PathBuf, mebibytes: u32) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all room that is left.
    pub(crate) fn fill(&self) {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        while ballast.write_all(&[0; 512]).is_ok() {}
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Lets no file of this process grow over so many bytes; everybody may do that.
pub(crate) fn limit_files(bytes: Option<u64>) {
    let maximum = rustix::process::getrlimit(rustix::process::Resource::Fsize).maximum;
    let limit = rustix::process::Rlimit { current: bytes, maximum };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
}

/// Runs an ignored test of this program as a process that may call [`limit_files`] and live on, in a folder of `dir`.
pub(crate) fn limited_in_a_child(test: &str, dir: &Path) {
    let root = dir.join("limited");
    fs::create_dir(&root).unwrap();
    // Programs begin with the signals that their parent ignores ignored.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\" --ignored --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(ROOT, root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Where the child is to work.
pub(crate) fn root_of_child() -> PathBuf {
    PathBuf::from(std::env::var_os(ROOT).expect("started by another test"))
}
