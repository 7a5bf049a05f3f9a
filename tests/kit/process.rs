//! What the system tells of processes: time on a processor, memory, and how busy the machine is with others.

use std::fs;
use std::time::Duration;

/// Processor time so far, of one process or of the machine, in the steps that its source has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MachineTime {
    /// All processors together, idle or not.
    pub total: Duration,
    /// The part in which they did something.
    pub busy: Duration,
}

/// Time of a process in its own code and in the system, of all its threads, in steps of 10 ms.
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    read(&format!("/proc/{pid}/stat")).and_then(|text| parse_stat(&text)).unwrap_or_default()
}

/// The same of the threads that live now, in nanoseconds: for spans that are short of work.
#[must_use]
pub fn processor_time_fine(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let times = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        parse_schedstat(&text)
    });
    times.sum()
}

/// Resident memory in KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    let text = read(&format!("/proc/{pid}/status")).unwrap_or_default();
    parse_status_kib(&text, "VmRSS").unwrap_or_default()
}

/// Of the whole machine; nothing where the system does not say.
#[must_use]
pub fn machine_time() -> MachineTime {
    read("/proc/stat").and_then(|text| parse_machine(&text)).unwrap_or_default()
}

/// `5.37 5.22 4.27`.
#[must_use]
pub fn load_average() -> String {
    let text = read("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The name of the program may hold spaces and brackets, so the fields are counted from the last bracket on.
fn parse_stat(text: &str) -> Option<Duration> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(STAT_FIELDS_BEFORE_UTIME);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(of_ticks(ticks()? + ticks()?))
}

fn parse_schedstat(text: &str) -> Option<Duration> {
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn parse_status_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn parse_machine(text: &str) -> Option<MachineTime> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).take(8).collect();
    // user nice system idle iowait irq softirq steal
    let [_, _, _, idle, waiting, ..] = ticks[..] else { return None };
    let total: u64 = ticks.iter().sum();
    Some(MachineTime { total: of_ticks(total), busy: of_ticks(total - idle - waiting) })
}

fn of_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * TICK_MS)
}

/// `USER_HZ` is 100 wherever Linux runs on a machine we know.
const TICK_MS: u64 = 10;
/// `man 5 proc_pid_stat`: utime is field 14, and the first behind the bracket is field 3.
const STAT_FIELDS_BEFORE_UTIME: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_code_and_in_the_system_is_added() {
        let text = "42 (a) b) (c) S 1 42 42 0 -1 4194304 900 0 3 0 250 50 7 8 20 0 4 0 12345 1000 200";
        assert_eq!(parse_stat(text), Some(Duration::from_secs(3)));
        assert_eq!(parse_stat("42 (a S 1"), None);
        assert_eq!(parse_stat("42 (a) S 1 42"), None);
    }

    #[test]
    fn this_process_has_its_figures() {
        let me = std::process::id();
        assert!(processor_time_fine(me) > Duration::ZERO);
        assert!(resident_kib(me) > 0);
        assert!(machine_time().total >= machine_time().busy);
        assert_eq!(load_average().split(' ').count(), 3);
    }

    #[test]
    fn a_process_that_is_gone_used_nothing() {
        assert_eq!(processor_time(u32::MAX), Duration::ZERO);
        assert_eq!(resident_kib(u32::MAX), 0);
    }

    #[test]
    fn memory_is_found_by_its_whole_name() {
        let text = "Name:\tp2pd\nVmRSSx:\t1 kB\nVmHWM:\t   11200 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!(parse_status_kib(text, "VmRSS"), Some(10_240));
        assert_eq!(parse_status_kib(text, "VmHWM"), Some(11_200));
        assert_eq!(parse_status_kib(text, "VmSwap"), None);
    }

    #[test]
    fn a_machine_is_busy_when_it_neither_idles_nor_waits() {
        let text = "cpu  100 20 30 400 50 1 2 3 9 9\ncpu0 1 1 1 1\n";
        let expected = MachineTime { total: Duration::from_millis(6_060), busy: Duration::from_millis(1_560) };
        assert_eq!(parse_machine(text), Some(expected));
    }
}
