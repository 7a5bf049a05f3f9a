//! What the system knows of this process.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, getrlimit};

/// Where the system does not tell, there is none.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Process {
    /// In user and system mode together.
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    /// Since 1970.
    pub(super) start_seconds: Option<f64>,
}

/// `began` is when this process began: it must not seem to begin anew when the clock is set.
pub(super) fn read(began: SystemTime) -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let start = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Process {
        // The listing itself holds one open.
        open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1)),
        max_fds: getrlimit(Resource::Nofile).current,
        start_seconds: Some(start.as_secs_f64()),
        ..of_stat(&stat, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
    }
}

/// See proc(5). The name of the program, in parentheses, may hold anything.
fn of_stat(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Process {
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    // The manual counts from 1, and the first two are the number and the name.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
    Process {
        cpu_seconds: ticks.map(|ticks| ticks as f64 / ticks_per_second as f64),
        threads: field(20),
        virtual_bytes: field(23),
        resident_bytes: field(24).map(|pages| pages * page_bytes),
        ..Process::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_line_is_read_whatever_the_program_is_called() {
        let stat = "42 (p2p) d (x) S 1 42 42 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 3 0 777 9000000 2000 184467 1 1 0";
        let process = of_stat(stat, 100, 4_096);
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!((process.threads, process.virtual_bytes), (Some(3), Some(9_000_000)));
        assert_eq!(process.resident_bytes, Some(2_000 * 4_096));
        assert_eq!(of_stat("", 100, 4_096), Process::default());
    }

    #[test]
    fn this_process_is_found() {
        let process = read(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(process.start_seconds, Some(1.5));
        assert!(process.open_fds.is_some_and(|open| open >= 3 && Some(open) < process.max_fds), "{process:?}");
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.threads.is_some_and(|threads| threads > 0), "{process:?}");
    }
}
