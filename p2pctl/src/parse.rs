//! What people write for rooms, times and posts.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use p2p_proto::error::Code;

use crate::exit::{Exit, Problem};

/// Bytes of one text, as the mesh has it.
pub(crate) const TEXT_BYTES_MAX: usize = 16_384;
const ROOM_LEN_MAX: usize = 64;

/// A room's name is refused here already, with an example.
pub(crate) fn room(text: &str) -> Result<String, Problem> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let other = |c: char| first(c) || matches!(c, '.' | '_' | '-');
    if text.starts_with(first) && text.chars().all(other) && text.len() <= ROOM_LEN_MAX {
        return Ok(text.to_owned());
    }
    let message =
        format!("room {text:?}: a name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit");
    Err(Problem::new(Exit::Rejected, Code::RoomInvalid.name(), message).with_hint("as in: general"))
}

/// A time in microseconds since 1970: RFC 3339, a date, a date and time, a time (the last time it was that late), or
/// a span ago.
pub(crate) fn time(text: &str, now: Timestamp, zone: &TimeZone) -> Result<i64, Problem> {
    let written = text.trim();
    let in_zone = |at: DateTime| zone.to_timestamp(at).ok();
    let found = written
        .parse::<Timestamp>()
        .ok()
        .or_else(|| {
            written
                .parse::<Date>()
                .ok()
                .filter(|_| !written.contains([':', 'T', ' ']))
                .and_then(|date| in_zone(date.at(0, 0, 0, 0)))
        })
        .or_else(|| written.parse::<DateTime>().ok().and_then(in_zone))
        .or_else(|| time_of_day(written, now, zone))
        .or_else(|| span_ago(written, now));
    found.map(Timestamp::as_microsecond).ok_or_else(|| {
        Problem::usage(format!("time {text:?} cannot be understood"))
            .with_hint("as in: 2026-11-22, 14:30, 10m, 2026-11-22T14:30:00Z")
    })
}

fn time_of_day(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let time: Time = text.contains(':').then(|| text.parse().ok())??;
    let today = zone.to_datetime(now).date();
    let at = zone.to_timestamp(today.to_datetime(time)).ok()?;
    if at <= now {
        return Some(at);
    }
    zone.to_timestamp(today.yesterday().ok()?.to_datetime(time)).ok()
}

fn span_ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let span = humantime::parse_duration(text.trim_end_matches("ago").trim_end()).ok()?;
    now.checked_sub(SignedDuration::try_from(span).ok()?).ok()
}

/// The three parts of a post's id, `AUTHOR-EPOCH-SEQ`; the author as it was written, short or whole.
pub(crate) fn post_id(text: &str) -> Result<(String, u64, u64), Problem> {
    let mut parts = text.rsplitn(3, '-');
    let seq = parts.next().and_then(|seq| seq.parse().ok()).filter(|seq| *seq > 0);
    let epoch = parts.next().and_then(|epoch| epoch.parse().ok());
    let author = parts.next().filter(|author| author.len() >= PREFIX_LEN_MIN && author.bytes().all(is_base32));
    match (author, epoch, seq) {
        (Some(author), Some(epoch), Some(seq)) => Ok((author.to_owned(), epoch, seq)),
        _ => Err(Problem::usage(format!("{text:?} is not the id of a post"))
            .with_hint("as in: k5x3abcd-1863514283475123-42, which `p2pctl send` and `watch -o wide` print")),
    }
}

/// A letter of a peer id.
pub(crate) fn is_base32(byte: u8) -> bool {
    byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)
}

/// Fewer characters of an id name nobody.
pub(crate) const PREFIX_LEN_MIN: usize = 6;
/// Characters of a whole id.
pub(crate) const ID_LEN: usize = 52;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rooms_are_small_letters() {
        for good in ["general", "0", "a.b_c-d", &"x".repeat(64)] {
            assert_eq!(room(good).unwrap(), good);
        }
        for bad in ["", "#general", "General", "-x", ".x", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(room(bad).unwrap_err().exit, Exit::Rejected, "{bad}");
        }
    }

    #[test]
    fn times_are_written_in_many_ways() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let read = |text: &str| time(text, now, &zone).map(|us| Timestamp::from_microsecond(us).unwrap().to_string());
        for (text, expected) in [
            ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            ("2026-11-22T10:00:00+02:00", "2026-11-22T08:00:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("2026-11-20 14:30", "2026-11-20T13:30:00Z"),
            ("2026-11-20T14:30:05", "2026-11-20T13:30:05Z"),
            ("12:30", "2026-11-22T11:30:00Z"),
            ("14:30", "2026-11-21T13:30:00Z"),
            ("10m", "2026-11-22T11:50:00Z"),
            ("1h 30m ago", "2026-11-22T10:30:00Z"),
            ("1d", "2026-11-21T12:00:00Z"),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "yesterday", "25:00", "10", "2026-13-01", "99999999999d", "NaN"] {
            assert_eq!(read(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn posts_are_named_by_author_epoch_and_number() {
        assert_eq!(post_id("k5x3abcd-1863-42").unwrap(), ("k5x3abcd".to_owned(), 1863, 42));
        for bad in ["", "42", "k5x3-1-2", "k5x3abcd-1", "k5x3abcd-1-0", "K5X3ABCD-1-1", "k5x3abcd-x-1"] {
            assert_eq!(post_id(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }
}
