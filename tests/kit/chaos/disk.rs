//! A small disk that can be full: a file system in memory, mounted where a peer keeps its data. Needs root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// It is unmounted when this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts an empty one; none where that is not allowed.
    ///
    /// # Panics
    ///
    /// There cannot even be a folder.
    #[must_use]
    pub(super) fn mount(path: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        fs::create_dir_all(path).expect("a folder for a disk");
        let size = format!("size={DISK_BYTES},mode=0700");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "p2pchaos"]).arg(path).status();
        status.is_ok_and(|status| status.success()).then(|| Self { path: path.to_owned() })
    }

    /// Leaves not a byte free.
    ///
    /// # Panics
    ///
    /// It is not there any more.
    pub(super) fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file on the small disk");
        let chunk = vec![0x55; 1 << 20];
        while file.write_all(&chunk).is_ok() {}
        while file.write_all(&chunk[..1]).is_ok() {}
    }

    /// Makes room again.
    pub(super) fn free(&self) {
        drop(fs::remove_file(self.filler()));
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The peer is gone by now; one that is not keeps its disk until it goes.
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

/// Far more than a run writes.
const DISK_BYTES: u64 = 128 << 20;
