//! What the system tells of a process: its time on a processor, and its memory.

use std::fs;
use std::time::Duration;

/// Time on a processor of the threads that live now, in nanoseconds; nothing of a process that is gone.
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let times = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    });
    times.sum()
}

/// Resident memory in KiB; nothing of a process that is gone.
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

/// Time of all processors together in which they did something; nothing where the system does not say.
#[must_use]
pub fn machine_busy_time() -> Duration {
    fs::read_to_string("/proc/stat").ok().and_then(|text| parse_busy(&text)).unwrap_or_default()
}

fn parse_busy(text: &str) -> Option<Duration> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).take(8).collect();
    // user nice system idle iowait irq softirq steal
    let [user, nice, system, _, _, rest @ ..] = &ticks[..] else { return None };
    Some(Duration::from_millis((user + nice + system + rest.iter().sum::<u64>()) * TICK_MS))
}

/// `USER_HZ` is 100 wherever Linux runs on a machine we know.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_its_figures_and_one_that_is_gone_has_none() {
        let me = std::process::id();
        assert!(processor_time(me) > Duration::ZERO);
        assert!(resident_kib(me) > 100);
        assert_eq!((processor_time(u32::MAX), resident_kib(u32::MAX)), (Duration::ZERO, 0));
    }

    #[test]
    fn a_machine_is_busy_when_it_neither_idles_nor_waits() {
        let text = "cpu  100 20 30 400 50 1 2 3 9 9\ncpu0 1 1 1 1\n";
        assert_eq!(parse_busy(text), Some(Duration::from_millis(1_560)));
        assert_eq!(parse_busy("cpu 1 2\n"), None);
        assert!(machine_busy_time() > Duration::ZERO);
    }
}
