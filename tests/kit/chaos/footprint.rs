//! What a process takes from the machine, as `/proc` tells it.

use std::fs;
use std::path::Path;

/// The most of everything that was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// Resident memory, in KiB, at its highest.
    pub memory_kib: u64,
    /// Open files and sockets.
    pub open_files: usize,
    /// Files in the data directory.
    pub data_files: usize,
}

impl Footprint {
    /// Of a process and its folder, now. What cannot be read counts nothing.
    #[must_use]
    pub fn of(pid: u32, data_dir: &Path) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let memory_kib = peak.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        let count = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
        let open_files = count(Path::new(&format!("/proc/{pid}/fd")));
        Self { memory_kib, open_files, data_files: count(data_dir) }
    }

    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            memory_kib: self.memory_kib.max(other.memory_kib),
            open_files: self.open_files.max(other.open_files),
            data_files: self.data_files.max(other.data_files),
        }
    }

    /// What is over its limit.
    #[must_use]
    pub fn excess(&self) -> Option<String> {
        let limits = [
            ("KiB of memory", self.memory_kib, MEMORY_KIB_MAX),
            ("open files", self.open_files as u64, OPEN_FILES_MAX),
            ("files in its data directory", self.data_files as u64, DATA_FILES_MAX),
        ];
        let over = limits.into_iter().find(|(_, have, limit)| have > limit);
        over.map(|(what, have, limit)| format!("{have} {what}, the limit is {limit}"))
    }
}

/// Processes whose command line names a folder.
#[must_use]
pub fn processes_in(dir: &Path) -> Vec<u32> {
    let Some(dir) = dir.to_str() else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(dir)
    })
    .collect()
}

/// Measured: 40 to 60 MiB in a debug build after twenty thousand posts. The core's own limits add up to this.
const MEMORY_KIB_MAX: u64 = 192 << 10;
/// Five links, the readers and talkers of the run, the store, and half-open links.
const OPEN_FILES_MAX: u64 = 128;
/// Keys, lock, and the store with its side files, and what fills the small disk.
const DATA_FILES_MAX: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_a_limit_is_named() {
        let small = Footprint { memory_kib: 1, open_files: 1, data_files: 1 };
        assert_eq!(small.excess(), None);
        let large = small.max(Footprint { open_files: 129, ..Footprint::default() });
        assert_eq!(large.excess(), Some("129 open files, the limit is 128".to_owned()));
    }

    #[test]
    fn this_process_has_a_footprint() {
        let here = Footprint::of(std::process::id(), Path::new("/proc/self/task"));
        assert!(here.memory_kib > 0 && here.open_files > 2 && here.data_files > 0, "{here:?}");
    }
}
