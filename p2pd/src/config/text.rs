//! One value from its text. The errors are what is wrong, with the value in it and what to write instead.

use std::fmt::Display;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use p2p_mesh::limits::{NAME_LEN_MAX, ROOM_LEN_MAX};
use p2p_mesh::membership::record::Addr;
use p2p_proto::endpoint::{Endpoint, EndpointError};

use super::{Durability, LogFormat};
use crate::group::Group;

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("{other:?} is not true or false")),
    }
}

pub(super) fn count(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is not a whole number"));
    }
    let value: Option<usize> = text.parse().ok();
    let (min, max) = (range.start(), range.end());
    value.filter(|value| range.contains(value)).ok_or_else(|| format!("{text} is not between {min} and {max}"))
}

pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    use humantime::DurationError;
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative"));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} needs a unit, such as {text}s"));
    }
    let value = humantime::parse_duration(text).map_err(|error| match error {
        DurationError::NumberOverflow => format!("{text:?} is too large or too fine for a duration"),
        DurationError::UnknownUnit { unit, .. } if unit.is_empty() => format!("{text:?} needs a unit, such as {text}s"),
        DurationError::UnknownUnit { unit, .. } => {
            format!("{text:?} has the unknown unit {unit:?}: ms, s, m, h and d are known")
        }
        DurationError::InvalidCharacter(_) | DurationError::NumberExpected(_) | DurationError::Empty => {
            format!("{text:?} is not a duration such as 500ms, 10s or 1m30s")
        }
    })?;
    let (min, max) = (show_duration(*range.start()), show_duration(*range.end()));
    if range.contains(&value) { Ok(value) } else { Err(format!("{text} is not between {min} and {max}")) }
}

/// Whole days as days: months and years have no length that everybody agrees on.
pub(super) fn show_duration(value: Duration) -> String {
    if value >= DAY && value.as_nanos().is_multiple_of(DAY.as_nanos()) {
        return format!("{}d", value.as_secs() / DAY.as_secs());
    }
    humantime::format_duration(value).to_string().replace(' ', "")
}

/// A duration, or `none`.
pub(super) fn age(text: &str, range: RangeInclusive<Duration>) -> Result<Option<Duration>, String> {
    if text == NONE { Ok(None) } else { duration(text, range).map(Some) }
}

pub(super) fn show_age(value: Option<Duration>) -> String {
    value.map_or_else(|| NONE.to_owned(), show_duration)
}

/// A number of bytes, or `none`.
pub(super) fn size(text: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, String> {
    if text == NONE {
        return Ok(None);
    }
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative"));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    if number.is_empty() || !unit.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(format!("{text:?} is not a size such as 500MB, 1GiB or none"));
    }
    if unit.is_empty() {
        return Err(format!("{text:?} needs a unit, such as {text}MB"));
    }
    let known = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let (_, factor) = known.ok_or_else(|| {
        format!("{text:?} has the unknown unit {unit:?}: B, kB, MB, GB, TB and KiB, MiB, GiB, TiB are known")
    })?;
    let value = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    let value = value.filter(|value| range.contains(value));
    value.map(Some).ok_or_else(|| {
        format!("{text} is not between {} and {}", show_size(Some(*range.start())), show_size(Some(*range.end())))
    })
}

/// In the largest unit that says it exactly.
pub(super) fn show_size(value: Option<u64>) -> String {
    let Some(bytes) = value else { return NONE.to_owned() };
    let exact = SIZE_UNITS.iter().filter(|(_, factor)| bytes.is_multiple_of(*factor)).max_by_key(|(_, factor)| *factor);
    let (unit, factor) = exact.expect("every number is a multiple of one byte");
    format!("{}{unit}", bytes / factor)
}

/// An address that can be dialed.
pub(super) fn addr(text: &str) -> Result<Addr, String> {
    let addr: Addr = text.parse().map_err(|error: p2p_mesh::membership::record::AddrError| addr_error(text, &error))?;
    if addr.is_unroutable() {
        return Err(format!("nobody can be dialed at {text:?}: it does not name one machine"));
    }
    Ok(addr)
}

/// An address to listen at: as above, but any machine address will do, and port 0 lets the system choose.
pub(super) fn listen_addr(text: &str) -> Result<String, String> {
    let checked = text.strip_suffix(":0").map_or_else(|| text.to_owned(), |host| format!("{host}:1"));
    match checked.parse::<Addr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(addr_error(text, &error)),
    }
}

/// An address to listen at, or `off`.
pub(super) fn metrics_addr(text: &str) -> Result<Option<String>, String> {
    if text == OFF { Ok(None) } else { listen_addr(text).map(Some) }
}

/// A group of this machine, or `off`.
pub(super) fn group(text: &str) -> Result<Option<Group>, String> {
    if text == OFF { Ok(None) } else { Group::find(text).map(Some) }
}

pub(super) fn show_group(value: Option<&Group>) -> String {
    value.map_or_else(|| OFF.to_owned(), ToString::to_string)
}

pub(super) fn show_metrics_addr(value: Option<&str>) -> String {
    value.unwrap_or(OFF).to_owned()
}

fn addr_error(text: &str, error: &dyn Display) -> String {
    let bare = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    if bare(text) {
        return format!("{text:?} has no port: write [{text}]:8080");
    }
    if let Some(port) = text.strip_prefix(':') {
        return format!(
            "{text:?} has no host: write localhost:{port} for this machine only, or 0.0.0.0:{port} for every network"
        );
    }
    match text.rsplit_once(':') {
        Some((host, port)) if bare(host) => format!("{text:?} needs brackets: write [{host}]:{port}"),
        None if text.parse::<u16>().is_ok() => format!(
            "{text:?} has no host: write localhost:{text} for this machine only, or 0.0.0.0:{text} for every network"
        ),
        None => format!("{text:?} has no port: write {text}:8080"),
        Some(_) if !text.is_ascii() => {
            format!("{text:?}: {error}; a name in other letters is written in its xn-- form")
        }
        Some(_) => format!("{text:?}: {error}"),
    }
}

pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let endpoint: Endpoint = text.parse().map_err(|error: EndpointError| match &error {
        EndpointError::Form(_) => error.to_string(),
        EndpointError::NotLoopback(addr) => {
            let port = addr.port();
            format!(
                "{error}. Write `api_addr: 127.0.0.1:{port}`, and from elsewhere use `ssh -L {port}:127.0.0.1:{port}`"
            )
        }
    })?;
    match endpoint {
        Endpoint::Unix(path) => {
            let path = self::path(&path.to_string_lossy())?;
            let len = path.as_os_str().len();
            if len > SOCKET_PATH_LEN_MAX {
                return Err(format!(
                    "a socket path of {len} bytes is over the system's limit of {SOCKET_PATH_LEN_MAX}"
                ));
            }
            Ok(Endpoint::Unix(path))
        }
        Endpoint::Tcp(addr) => Ok(Endpoint::Tcp(addr)),
    }
}

/// A path, made absolute so that messages about it are clear.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('~') {
        return Err(format!("{text:?}: `~` is not replaced here, write the whole path"));
    }
    if text.contains('\0') {
        return Err(format!("{text:?} is not a path"));
    }
    std::path::absolute(text).map_err(|error| format!("{text:?} is not a path: {error}"))
}

/// A name that others can read without being misled.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a name cannot be empty".into());
    }
    if text.len() > NAME_LEN_MAX {
        return Err(format!("a name of {} bytes is over the limit of {NAME_LEN_MAX}", text.len()));
    }
    if text.chars().any(is_invisible) {
        return Err(format!("{text:?} has control characters or characters that cannot be seen"));
    }
    if RESERVED_NAMES.iter().any(|reserved| text.trim().eq_ignore_ascii_case(reserved)) {
        return Err(format!("{text:?} is a name that programs use for something else"));
    }
    Ok(text.to_owned())
}

/// The start of a host name, or a word where there is none that can be shown.
pub(super) fn name_of_host(host: &str) -> String {
    let short = host.split('.').next().unwrap_or_default();
    name(&short[..short.floor_char_boundary(NAME_LEN_MAX)]).unwrap_or_else(|_| "peer".into())
}

/// Control characters, and those that change the order of others or have no width.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(character, '\u{e0000}'..='\u{e007f}')
}

pub(super) fn room(text: &str) -> Result<String, String> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-'));
    if first && rest && text.len() <= ROOM_LEN_MAX {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a room: 1 to {ROOM_LEN_MAX} of a-z, 0-9, `.`, `_`, `-`, with a letter or digit first"))
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("{other:?} is not text or json")),
    }
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "always" => Ok(Durability::Always),
        "batch" => Ok(Durability::Batch),
        "never" => Ok(Durability::Never),
        other => Err(format!("{other:?} is not always, batch or never")),
    }
}

pub(super) fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// How "no limit" is written.
const NONE: &str = "none";
/// What is not served.
const OFF: &str = "off";
const DAY: Duration = Duration::from_secs(86_400);
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
/// `sun_path` of `sockaddr_un`, without the byte that ends it.
const SOCKET_PATH_LEN_MAX: usize = 107;
/// Words that programs say of themselves or of the reader.
const RESERVED_NAMES: [&str; 2] = ["system", "you"];
