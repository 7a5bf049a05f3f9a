//! On what was measured: figures of one machine say little about another.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::figures::median;

/// The machine and its state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Of the daemons' folders.
    pub(crate) file_system: String,
    /// 4 KiB appended there, until the disk has them.
    pub(crate) fdatasync_ms: f64,
}

impl Machine {
    /// Of this machine, and of the file system that holds `dir`.
    pub(crate) fn find(dir: &Path) -> Result<Self, Failure> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let dir = fs::canonicalize(dir)?;
        Ok(Self {
            cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&read("/proc/self/mounts"), &dir).unwrap_or("unknown").to_owned(),
            fdatasync_ms: time_fdatasync(&dir)?.as_micros() as f64 / 1_000.0,
        })
    }
}

/// The commit that lies in `repository`, marked where files differ from it; `unknown` where git does not say.
pub(crate) fn commit(repository: &Path) -> String {
    let mut command = Command::new("git");
    command.args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    let output = command.current_dir(repository).output().ok().filter(|output| output.status.success());
    output.map_or_else(|| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

/// Of the longest mount point above `dir`; of several there, the last one covers the others.
fn file_system<'a>(mounts: &'a str, dir: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        dir.starts_with(point).then_some((point.len(), kind))
    });
    mounts.max_by_key(|(len, _)| *len).map(|(_, kind)| kind)
}

fn time_fdatasync(dir: &Path) -> Result<Duration, Failure> {
    let path = dir.join("fdatasync");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..FDATASYNC_RUNS {
        let start = Instant::now();
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    fs::remove_file(path)?;
    Ok(median(times).unwrap_or_default())
}

const FDATASYNC_RUNS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::find(dir.path()).unwrap();
        assert!(machine.cores > 0 && !machine.kernel.is_empty() && machine.file_system != "unknown", "{machine:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
        assert_eq!(commit(dir.path()), "unknown");
    }

    #[test]
    fn a_folder_is_on_the_file_system_mounted_closest_above_it() {
        let mounts = "a / ext4 rw 0 0\nb /tmp tmpfs rw 0 0\nc /tmp xfs rw 0 0\nd /tmpx btrfs rw 0 0\nbroken\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), Some("xfs"));
        assert_eq!(file_system(mounts, Path::new("/home")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/home")), None);
    }

    #[test]
    fn a_processor_has_a_name() {
        assert_eq!(cpu_model("processor : 0\nmodel name\t: A B (C) \nmodel name\t: D"), Some("A B (C)"));
        assert_eq!(cpu_model(""), None);
    }
}
