//! The log: events with fields on stderr, as text for people or JSON for programs.

mod ceiling;

use std::fmt::{self, Write};
use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::{MakeExt, RecordFields};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields, MakeWriter};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

use ceiling::{Ceiling, Under};

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Changes what is logged while it goes on.
#[derive(Clone, Debug)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    ceiling: Ceiling,
}

/// A log that cannot be had as asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// A part of the filter is no level.
    #[error("{0:?} is not a level: error, warn, info, debug, trace or off")]
    Level(String),
    /// A part of the filter names no part of a program.
    #[error("{0:?} is not the name of a part of the program, such as p2pd::link")]
    Target(String),
    /// Somebody in this process logs already.
    #[error("the log of this process is in use already")]
    InUse,
    /// The log has ended.
    #[error("the log has ended")]
    Ended,
}

/// Starts the log of this process on stderr.
///
/// # Errors
///
/// The filter is wrong, or this process has a log.
pub fn init(filter: &str, format: LogFormat) -> Result<LogHandle, LogError> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let ansi = std::io::stderr().is_terminal() && !no_color && !dumb;
    let (subscriber, handle) = subscriber(filter, format, ansi, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::InUse)?;
    Ok(handle)
}

/// What to log: a level for everything, and levels for parts by name, with commas between. What is not named is logged
/// from `info` on.
///
/// # Errors
///
/// A part of it is neither.
pub fn parse_filter(text: &str) -> Result<Targets, LogError> {
    let mut default = LevelFilter::INFO;
    let mut named: Vec<(String, LevelFilter)> = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.split_once('=') {
            None => default = level(part)?,
            Some((target, _)) if !is_target(target.trim()) => return Err(LogError::Target(target.into())),
            Some((target, name)) => named.push((target.trim().into(), level(name.trim())?)),
        }
    }
    // At `debug`, h2 alone writes a line for every frame of every call.
    let chatty = CHATTY.iter().filter(|name| !named.iter().any(|(target, _)| target.starts_with(**name)));
    let chatty: Vec<_> = chatty.map(|name| ((*name).to_owned(), default.min(LevelFilter::INFO))).collect();
    Ok(Targets::new().with_default(default).with_targets(chatty).with_targets(named))
}

impl LogHandle {
    /// Logs by another filter from now on.
    ///
    /// # Errors
    ///
    /// It is wrong; then nothing changes.
    pub fn set_filter(&self, text: &str) -> Result<(), LogError> {
        self.filter.reload(parse_filter(text)?).map_err(|_| LogError::Ended)
    }

    /// Waits until lines were left out, because there were too many of their kind, and their minute is over.
    pub async fn is_suppressed(&self) {
        self.ceiling.is_due().await;
    }

    /// Says how many lines of each kind were left out since this was last said.
    pub fn tell_suppressed(&self) {
        for (event, suppressed) in self.ceiling.take() {
            tracing::warn!(?event, suppressed, "log_lines_suppressed");
        }
    }
}

fn level(text: &str) -> Result<LevelFilter, LogError> {
    // Numbers are levels too for tracing, but nobody knows which.
    let number = text.bytes().all(|byte| byte.is_ascii_digit());
    let level = if number { None } else { text.parse().ok() };
    level.ok_or_else(|| LogError::Level(text.to_owned()))
}

fn is_target(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;

fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    ansi: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync, LogHandle), LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse_filter(filter)?);
    let ceiling = Ceiling::default();
    // A log that cannot be written is not worth a word on the same stderr, which would panic.
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi).log_internal_errors(false);
    let layer: Box<dyn Layer<Filtered> + Send + Sync> = match format {
        LogFormat::Text => Box::new(layer.fmt_fields(Fields).event_format(Line)),
        LogFormat::Json => Box::new(layer.json().flatten_event(true).with_span_list(false)),
    };
    let layer = Under { ceiling: ceiling.clone(), layer };
    Ok((tracing_subscriber::registry().with(filter).with(layer), LogHandle { filter: handle, ceiling }))
}

/// `2026-11-22T14:00:00.123456Z  INFO link_up peer=k5x3 addr=10.0.0.7:51234`, then what the spans around it say.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        write_level(&mut writer, *event.metadata().level())?;
        let target = event.metadata().target();
        if !OWN_TARGETS.iter().any(|own| target.split("::").next() == Some(own)) {
            write!(writer, "{target}: ")?;
        }
        ctx.field_format().format_fields(writer.by_ref(), event)?;
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(writer, " {fields}")?;
            }
        }
        writeln!(writer)
    }
}

fn write_level(writer: &mut Writer<'_>, level: Level) -> fmt::Result {
    if !writer.has_ansi_escapes() {
        return write!(writer, " {level:>5} ");
    }
    let color = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    write!(writer, " \x1b[{color}m{level:>5}\x1b[0m ")
}

/// `message name=value name=value`, on one line whatever the values are.
struct Fields;

impl<'a> FormatFields<'a> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'a>, fields: R) -> fmt::Result {
        let one = debug_fn(|writer, field, value| {
            let mut escaped = Escaped(writer);
            match field.name() {
                "message" => write!(escaped, "{value:?}"),
                name => write!(escaped, "{name}={value:?}"),
            }
        });
        one.delimited(" ").format_fields(writer, fields)
    }
}

/// Foreign texts are logged through Debug, which escapes them. This is the second wall, for the one that is forgotten.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_safe(self.0, text)
    }
}

/// Writes a text without anything in it that ends a line, moves a cursor or reorders what is read.
pub(crate) fn write_safe(out: &mut impl Write, text: &str) -> fmt::Result {
    text.chars().try_for_each(|character| match character {
        character if character.is_control() => write!(out, "{}", character.escape_default()),
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => write!(out, "{}", character.escape_unicode()),
        character => out.write_char(character),
    })
}

/// Crates that log far more than they tell.
const CHATTY: [&str; 4] = ["h2", "hyper", "tonic", "tower"];
/// Lines from these need no name: they are the program.
const OWN_TARGETS: [&str; 3] = ["p2pd", "p2p_mesh", "p2p_proto"];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat, act: impl FnOnce(&LogHandle)) -> String {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, handle) = subscriber(filter, format, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || act(&handle));
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_is_time_level_event_fields_and_what_its_span_says() {
        let text = logged("info", LogFormat::Text, |_| {
            let span = tracing::info_span!("link", link = 7);
            span.in_scope(|| tracing::info!(peer = "k5x3", rtt_ms = 12, "link_up"));
            tracing::warn!(target: "rusqlite", "slow");
        });
        let lines: Vec<&str> = text.lines().collect();
        let (time, rest) = lines[0].split_at("2026-11-22T14:00:00.123456Z".len());
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
        assert_eq!(rest, "  INFO link_up peer=\"k5x3\" rtt_ms=12 link=7");
        assert!(lines[1].ends_with("Z  WARN rusqlite: slow"), "{}", lines[1]);
    }

    #[test]
    fn a_json_line_is_one_object_with_the_fields_in_it() {
        let text = logged("info", LogFormat::Json, |_| tracing::info!(rtt_ms = 12, "link_up"));
        let value: serde_json::Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(
            (&value["message"], &value["rtt_ms"], &value["level"]),
            (&"link_up".into(), &12.into(), &"INFO".into())
        );
    }

    #[test]
    fn x_08_foreign_text_neither_ends_a_line_nor_moves_a_cursor() {
        let hostile = "\x1b[2J\nERROR all is lost\r\u{9b}31m\u{202e}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged("info", format, |_| tracing::info!(name = ?hostile, "hello"));
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
        }
        let forgotten = logged("info", LogFormat::Text, |_| tracing::info!(name = %hostile, "{hostile}"));
        assert_eq!(forgotten.lines().count(), 1, "{forgotten:?}");
        assert!(!forgotten.trim_end().chars().any(|it| it.is_control() || it == '\u{202e}'), "{forgotten:?}");
    }

    #[test]
    fn the_filter_changes_while_the_log_goes_on() {
        let text = logged("warn", LogFormat::Text, |handle| {
            tracing::info!("before");
            handle.set_filter("debug").unwrap();
            tracing::debug!("after");
            handle.set_filter("loud").unwrap_err();
            tracing::debug!("still");
        });
        assert!(!text.contains("before") && text.contains("after") && text.contains("still"), "{text}");
    }

    #[test]
    fn a_line_that_comes_too_often_is_left_out_and_counted_and_the_others_go_on() {
        let text = logged("debug", LogFormat::Text, |handle| {
            for peer in 0..1_000 {
                tracing::info!(peer, "link_refused");
                tracing::debug!(peer, "wanted");
            }
            tracing::warn!("something else");
            handle.tell_suppressed();
            handle.tell_suppressed();
            tracing::info!("afterwards");
        });
        let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert_eq!((count(" INFO link_refused"), count("wanted"), count("something else")), (200, 1_000, 1));
        assert_eq!(count("log_lines_suppressed event=\"link_refused\" suppressed=800"), 1);
        assert_eq!((count("log_lines_suppressed"), count("afterwards")), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_left_out_is_told_when_its_minute_is_over_and_not_before() {
        let writer = Page::default();
        let (subscriber, handle) = subscriber("info", LogFormat::Text, false, move || writer.clone()).unwrap();
        let _default = tracing::subscriber::set_default(subscriber);
        let flood = |lines: u32| (0..lines).for_each(|_| tracing::info!("knock"));
        // While somebody waits, others log.
        let waiting = handle.is_suppressed();
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(std::time::Duration::from_secs(1), &mut waiting).await.is_err());
        flood(200);
        let quiet = tokio::time::timeout(std::time::Duration::from_secs(3_600), handle.is_suppressed()).await;
        assert!(quiet.is_err(), "nothing was left out, so nobody wakes up");
        flood(201);
        // Somebody who looks at other things in between misses nothing.
        for _ in 0..3 {
            let early = tokio::time::timeout(std::time::Duration::from_secs(1), handle.is_suppressed()).await;
            assert!(early.is_err());
        }
        handle.is_suppressed().await;
        assert_eq!(handle.ceiling.take(), [("knock".to_owned(), 1)]);
    }

    #[test]
    fn chatty_crates_are_kept_quiet_unless_they_are_named() {
        let enabled = |filter: &str, target: &str| parse_filter(filter).unwrap().would_enable(target, &Level::DEBUG);
        assert!(enabled("debug", "p2pd::link") && !enabled("debug", "h2::codec"));
        assert!(enabled("debug,h2=debug", "h2::codec") && !enabled("debug,h2=debug", "hyper"));
        assert!(enabled("p2p_mesh=debug", "p2p_mesh::tree") && !enabled("p2p_mesh=debug", "p2pd"));
        assert!(parse_filter("p2p_mesh=debug").unwrap().would_enable("p2pd", &Level::INFO));
        assert!(!parse_filter("off").unwrap().would_enable("h2", &Level::ERROR));
    }

    #[test]
    fn a_filter_that_is_mistyped_is_refused_by_name() {
        for text in ["inof", "", "info,", "3", "p2pd=loud"] {
            let part = text.rsplit([',', '=']).next().unwrap();
            assert_eq!(parse_filter(text).unwrap_err(), LogError::Level(part.into()));
        }
        assert_eq!(parse_filter("a[b]=info").unwrap_err(), LogError::Target("a[b]".into()));
    }
}
