//! File systems of a test's own, that can be full, read-only, or without power.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

/// A mounted file system. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Volume {
    at: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Memory,
    Image { device: String, file: NamedTempFile },
}

/// What of the journal reaches the disk before the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// What was not flushed is gone, the file system's own notes too.
    Journal,
    /// The file system's notes are there, the data may not be.
    Data,
}

impl Volume {
    /// A file system in memory, mounted at `at` with options as in `size=4m`.
    ///
    /// # Errors
    ///
    /// Why this machine cannot do that.
    pub fn memory(at: &Path, options: &str) -> Result<Self, String> {
        prepare(at)?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("mode=0700,{options}"))
            .arg("tmpfs")
            .arg(at))?;
        Ok(Self { at: at.to_owned(), kind: Kind::Memory })
    }

    /// An ext4 file system in a file, mounted at `at`. The file is in memory where that can be, so that flushes are quick.
    ///
    /// # Errors
    ///
    /// Why this machine cannot do that.
    pub fn ext4(at: &Path, mib: u64) -> Result<Self, String> {
        prepare(at)?;
        let file = image()?;
        file.as_file().set_len(mib << 20).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-b", "4096"]).arg(file.path()))?;
        let volume = Self { at: at.to_owned(), kind: attach(file)? };
        volume.mount("errors=remount-ro")?;
        let closed = fs::set_permissions(at, Permissions::from_mode(0o700)).and_then(|()| File::open(at)?.sync_all());
        closed.map_err(|error| format!("{}: {error}", at.display()))?;
        Ok(volume)
    }

    /// Brings the power back after a cut: the file system is mounted anew, with what reached the disk.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn restore_power(&mut self) -> Result<(), String> {
        self.unmount()?;
        self.mount("defaults")?;
        if self.is_alive() {
            return Ok(());
        }
        // Somebody who took a copy of all mounts (`unshare`, `ip netns exec`) keeps the dead one in use. A copy of the
        // disk is another disk.
        let Kind::Image { file: dead, .. } = &self.kind else { return Err("it takes no files".into()) };
        let file = image()?;
        run(Command::new("cp").arg("--sparse=always").args([dead.path(), file.path()]))?;
        self.detach();
        self.kind = attach(file)?;
        self.mount("defaults")?;
        if self.is_alive() { Ok(()) } else { Err("it takes no files".into()) }
    }

    fn is_alive(&self) -> bool {
        let path = self.at.join("alive");
        File::create(&path).and_then(|_| fs::remove_file(&path)).is_ok()
    }

    fn detach(&self) {
        // Lazily, so that not even a process that hangs leaves it behind.
        drop(run(Command::new("umount").arg("-l").arg(&self.at)));
        if let Kind::Image { device, .. } = &self.kind {
            drop(run(Command::new("losetup").args(["-d", device])));
        }
    }

    /// Mounts the image once more, with options as in `ro`.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn mount(&self, options: &str) -> Result<(), String> {
        let Kind::Image { device, .. } = &self.kind else { return Err("what is in memory is mounted once".into()) };
        run(Command::new("mount").args(["-t", "ext4", "-o", options, device]).arg(&self.at))
    }

    /// Unmounts it. Nobody may use it any more.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn unmount(&self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.at))
    }

    /// Mounts it with other options while it is used.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn remount(&self, options: &str) -> Result<(), String> {
        run(Command::new("mount").arg("-o").arg(format!("remount,{options}")).arg(&self.at))
    }

    /// From now on nothing reaches the disk, as if the power was cut: what is not there yet never will be.
    ///
    /// # Errors
    ///
    /// The system refuses, or has no perl.
    pub fn cut_power(&self, cut: Cut) -> Result<(), String> {
        let flags = match cut {
            Cut::Journal => "2",
            Cut::Data => "1",
        };
        // EXT4_IOC_SHUTDOWN. An ioctl is unsafe in Rust, and nothing in this workspace is.
        let script =
            "open(F, '<', $ARGV[0]) or die $!; my $f = pack('L', $ARGV[1]); ioctl(F, 0x8004587d, $f) or die $!";
        run(Command::new("perl").args(["-e", script]).arg(&self.at).arg(flags))
    }

    /// Makes the kernel find an error in it, upon which it takes no more writes.
    ///
    /// # Errors
    ///
    /// This kernel cannot be asked for that.
    pub fn break_down(&self) -> Result<(), String> {
        let Kind::Image { device, .. } = &self.kind else { return Err("what is in memory has no errors".into()) };
        let name = device.trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{name}/trigger_fs_error");
        fs::write(&trigger, "a test asked for it").map_err(|error| format!("{trigger}: {error}"))
    }

    /// Writes a file that leaves no room for anything else, and says where it is.
    ///
    /// # Panics
    ///
    /// It cannot even be begun.
    #[must_use]
    #[track_caller]
    pub fn fill(&self) -> PathBuf {
        let path = self.at.join("ballast");
        let mut file = File::create(&path).expect("a file on the volume");
        for len in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![b'b'; len]).and_then(|()| file.sync_data()).is_ok() {}
        }
        path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.detach();
    }
}

/// An empty file, in memory where that can be.
fn image() -> Result<NamedTempFile, String> {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    NamedTempFile::new_in(&dir).map_err(|error| format!("a file in {}: {error}", dir.display()))
}

/// One device for the whole time: those that mount finds by itself are mixed up when two volumes come and go.
fn attach(file: NamedTempFile) -> Result<Kind, String> {
    let device = output(Command::new("losetup").args(["--find", "--show"]).arg(file.path()))?.trim().to_owned();
    Ok(Kind::Image { device, file })
}

fn prepare(at: &Path) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can mount".into());
    }
    fs::create_dir_all(at).map_err(|error| format!("{}: {error}", at.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
