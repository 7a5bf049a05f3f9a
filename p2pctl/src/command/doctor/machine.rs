//! The daemon, its machine, and this terminal.

use jiff::tz::TimeZone;
use p2p_proto::v1::Health;

use super::facts::{Facts, listed};
use crate::output::doctor::Check;
use crate::output::status::health_name;
use crate::output::words::{are, counted, grouped};

pub(super) fn daemon(facts: &Facts) -> Check {
    let status = &facts.status;
    let state = health_name(status.health());
    match status.health() {
        Health::Unspecified | Health::Starting | Health::Recovering => Check::warn(
            "daemon",
            format!("it is {state}: nothing else can be seen yet"),
            "p2pctl wait --ready --timeout 1m",
        ),
        Health::Stopping => Check::fail("daemon", "it is stopping", "start it again with: p2pd"),
        Health::Isolated | Health::Syncing | Health::Ready | Health::Degraded => {
            Check::ok("daemon", format!("it answers, and is {state} (pid {})", status.pid))
        }
    }
}

pub(super) fn version(facts: &Facts) -> Check {
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), facts.status.version.as_str());
    if ours == theirs {
        return Check::ok("version", format!("p2pctl and p2pd are {ours}"));
    }
    Check::warn("version", format!("p2pctl is {ours}, p2pd is {theirs}"), "install the same version of both")
}

pub(super) fn config(facts: &Facts) -> Check {
    let config = &facts.config;
    if !config.mistakes.is_empty() {
        let finding = format!("a reload or restart would refuse the configuration: {}", config.mistakes);
        return Check::fail("config", finding, "see all mistakes with: p2pd check");
    }
    let keys = |is_applied: bool| {
        let changes = config.changes.iter().filter(move |change| change.applied == is_applied);
        changes.map(|change| change.key.as_str()).collect::<Vec<_>>()
    };
    match (keys(false), keys(true)) {
        (waiting, _) if !waiting.is_empty() => {
            let finding = format!("what the configuration says now of {} needs a restart", listed(waiting));
            Check::warn("config", finding, "systemctl restart p2pd, or: p2pctl daemon stop, and: p2pd")
        }
        (_, changed) if !changed.is_empty() => {
            let finding = format!("what the configuration says now of {} is not in force", listed(changed));
            Check::warn("config", finding, "p2pctl daemon reload")
        }
        _ => Check::ok("config", "what it says is in force"),
    }
}

pub(super) fn alarms(facts: &Facts) -> Check {
    let problems: Vec<&str> =
        facts.status.problems.iter().map(String::as_str).filter(|text| !text.contains(SECOND_RUN)).collect();
    let Some(first) = problems.first() else { return Check::ok("alarms", "nothing is wrong by the daemon's own word") };
    let hint = match () {
        () if first.contains("damage") => {
            "the rest can be read; to fetch it anew from the others: stop p2pd, move history.db away, start it"
        }
        () if first.contains("disk") || first.contains("history") => {
            "make room or repair the disk of the data directory; it goes on by itself"
        }
        () if first.contains("files") => "raise the limit: ulimit -n 4096, or LimitNOFILE= of the service",
        () if first.contains(REPLACED) => "put what is in that file where the configuration says, before it is needed",
        () if first.contains("network") => "see who changed its secret, and who has the new one: p2pctl network",
        () => "see them all: p2pctl status",
    };
    if problems.iter().all(|text| text.contains(REPLACED)) {
        return Check::warn("alarms", problems.join("; "), hint);
    }
    Check::fail("alarms", problems.join("; "), hint)
}

pub(super) fn identity(facts: &Facts) -> Check {
    match facts.figure("p2p_other_instances") {
        Some(others) if others > 0.0 => Check::fail(
            "identity",
            "another running daemon has the same identity.key: was the data directory copied?",
            "stop one of them, and give it an identity of its own: p2pd --data-dir DIR",
        ),
        Some(_) | None => Check::ok("identity", "nobody else runs with it"),
    }
}

pub(super) fn disk_space(facts: &Facts) -> Check {
    let (Some(free), size) = (facts.figure("p2p_disk_free_bytes"), facts.figure("p2p_disk_size_bytes")) else {
        return Check::ok("disk-space", "the system does not tell how much is free");
    };
    let finding = format!("{} MiB are free in {}", grouped((free / MIB) as u64), facts.status.data_dir);
    let hint = "make room there, or keep less: retention_bytes in the configuration, and: p2pctl daemon reload";
    if free < FREE_FAIL {
        return Check::fail("disk-space", finding, hint);
    }
    let is_low = free < FREE_WARN || size.is_some_and(|size| free < size * FREE_SHARE_WARN && free < 10.0 * FREE_WARN);
    if is_low { Check::warn("disk-space", finding, hint) } else { Check::ok("disk-space", finding) }
}

pub(super) fn disk_speed(facts: &Facts) -> Check {
    let figures = facts.figure("p2p_flush_seconds_sum").zip(facts.figure("p2p_flush_seconds_count"));
    let Some((sum, count)) = figures.filter(|(_, count)| *count >= FLUSHES_MIN) else {
        return Check::ok("disk-speed", "too little was written to say");
    };
    let mean_ms = sum / count * 1_000.0;
    let finding = format!("a flush takes {mean_ms:.1} ms on average");
    if mean_ms > FLUSH_MS_WARN {
        let hint =
            "each send waits for that: use another disk for --data-dir, or see what keeps this one busy: iostat -x";
        return Check::warn("disk-speed", finding, hint);
    }
    Check::ok("disk-speed", finding)
}

pub(super) fn descriptors(facts: &Facts) -> Check {
    let Some((open, max)) = facts.figure("process_open_fds").zip(facts.figure("process_max_fds")) else {
        return Check::ok("descriptors", "the system does not tell");
    };
    let finding = format!("{open} of {max} files and sockets are open");
    let hint = "raise the limit: ulimit -n 4096 before p2pd, or LimitNOFILE=4096 in its unit";
    match open / max {
        share if share > FDS_SHARE_FAIL => Check::fail("descriptors", finding, hint),
        share if share > FDS_SHARE_WARN || max < FDS_MIN => Check::warn("descriptors", finding, hint),
        _ => Check::ok("descriptors", finding),
    }
}

pub(super) fn retention(facts: &Facts) -> Check {
    let expired = facts.status.expired_posts;
    if expired == 0 {
        return Check::ok("retention", "nothing was dropped");
    }
    let finding = format!("{} {} dropped for their age or size", counted(expired, "post"), are(expired));
    Check::warn("retention", finding, "to keep more: retention_age and retention_bytes, and: p2pctl daemon reload")
}

/// What others wrote, and names, are not all ASCII.
pub(super) fn terminal(is_utf8: bool) -> Check {
    if is_utf8 {
        return Check::ok("terminal", "it has UTF-8");
    }
    let finding = "LANG, LC_CTYPE and LC_ALL name no UTF-8: other letters than ASCII may look broken";
    Check::warn("terminal", finding, "export LANG=C.UTF-8")
}

pub(super) fn time_zone(zone: &TimeZone) -> Check {
    if zone.is_unknown() {
        let finding = "it is not known, so times are shown in UTC";
        return Check::warn(
            "time-zone",
            finding,
            "export TZ=Europe/Berlin, or: timedatectl set-timezone Europe/Berlin",
        );
    }
    Check::ok("time-zone", zone.iana_name().unwrap_or("the system's").to_owned())
}

/// In the sentence that the daemon has for it: there is a check of its own.
const SECOND_RUN: &str = "use this identity";
/// In the sentence about a configuration that names an old secret: all works until its data directory is lost.
const REPLACED: &str = "a network secret that was replaced";
const MIB: f64 = 1_048_576.0;
/// A day of chat is less.
const FREE_FAIL: f64 = 16.0 * MIB;
const FREE_WARN: f64 = 256.0 * MIB;
const FREE_SHARE_WARN: f64 = 0.05;
/// Fewer are no average.
const FLUSHES_MIN: f64 = 10.0;
/// A spinning disk takes 10 to 30.
const FLUSH_MS_WARN: f64 = 100.0;
/// What most systems give.
const FDS_MIN: f64 = 256.0;
const FDS_SHARE_WARN: f64 = 0.8;
const FDS_SHARE_FAIL: f64 = 0.95;
