//! Times and spans, for people and for programs.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// RFC 3339 in UTC with microseconds.
pub(crate) fn rfc3339(time_us: i64) -> String {
    format!("{:.6}", timestamp(time_us))
}

/// The day of a time where the user is.
pub(crate) fn date(time_us: i64, zone: &TimeZone) -> Date {
    zone.to_datetime(timestamp(time_us)).date()
}

/// `14:03:22`
pub(crate) fn clock(time_us: i64, zone: &TimeZone) -> String {
    let time = zone.to_datetime(timestamp(time_us)).time();
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// `2026-11-22 14:03:22`
pub(crate) fn date_and_clock(time_us: i64, zone: &TimeZone) -> String {
    format!("{} {}", date(time_us, zone), clock(time_us, zone))
}

/// How long ago, in one unit: `4m`. A time in the future is `0s`, for two clocks never agree.
pub(crate) fn ago(time_us: i64, now: Timestamp) -> String {
    if time_us == 0 {
        return "-".to_owned();
    }
    let us = now.as_microsecond().saturating_sub(time_us).max(0);
    span_ms(us.unsigned_abs() / 1_000)
}

/// A span in its largest unit: `850ms`, `12s`, `4m`, `3h`, `2d`.
pub(crate) fn span_ms(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}s", ms / 1_000),
        60_000..3_600_000 => format!("{}m", ms / 60_000),
        3_600_000..86_400_000 => format!("{}h", ms / 3_600_000),
        _ => format!("{}d", ms / 86_400_000),
    }
}

/// A round-trip time with three digits: `420us`, `1.23ms`, `1.20s`; `-` for 0, which stands for "not known".
pub(crate) fn rtt(us: u32) -> String {
    let value = f64::from(us);
    match us {
        0 => "-".to_owned(),
        1..1_000 => format!("{us}us"),
        1_000..10_000 => format!("{:.2}ms", value / 1e3),
        10_000..100_000 => format!("{:.1}ms", value / 1e3),
        100_000..1_000_000 => format!("{:.0}ms", value / 1e3),
        _ => format!("{:.2}s", value / 1e6),
    }
}

/// Bytes in powers of 1024: `17 B`, `3.4 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A clock that is beyond what a calendar holds is shown at the calendar's end.
fn timestamp(time_us: i64) -> Timestamp {
    let end = if time_us < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(time_us).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_US: i64 = 1_763_792_485_123_456;

    #[test]
    fn times_are_local_for_people_and_utc_for_programs() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(rfc3339(TIME_US), "2025-11-22T06:21:25.123456Z");
        assert_eq!(rfc3339(TIME_US - 123_456), "2025-11-22T06:21:25.000000Z");
        assert_eq!(date_and_clock(TIME_US, &zone), "2025-11-22 08:21:25");
    }

    #[test]
    fn k_06_no_clock_is_too_strange_to_show() {
        for time_us in [i64::MIN, -1, 0, 1, 4_294_967_296_000_000, i64::MAX] {
            assert!(rfc3339(time_us).ends_with('Z'));
            assert!(!date_and_clock(time_us, &TimeZone::fixed(jiff::tz::offset(14))).is_empty());
        }
        assert_eq!(ago(i64::MIN, Timestamp::MAX), ago(i64::MIN, Timestamp::MAX));
        assert_eq!(ago(i64::MAX, Timestamp::UNIX_EPOCH), "0s");
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(
            [0, 850, 12_000, 240_000, 10_800_000, 172_800_000].map(span_ms),
            ["0s", "850ms", "12s", "4m", "3h", "2d"]
        );
        assert_eq!(
            [0, 420, 1_234, 12_340, 420_000, 1_200_000].map(rtt),
            ["-", "420us", "1.23ms", "12.3ms", "420ms", "1.20s"]
        );
        assert_eq!([17, 3_500, 5 << 30].map(bytes), ["17 B", "3.4 KiB", "5.0 GiB"]);
    }
}
