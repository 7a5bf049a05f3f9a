//! The configuration file: YAML or JSON, as keys with texts and the lines they stand on.
//!
//! Values stay text, so `name: no` is a name and `0755` keeps its zero. What a text means is the key's matter.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError};

/// A key with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// As it is written.
    pub(super) key: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// What it is set to.
    pub(super) value: Raw,
}

/// A value, not yet understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Raw {
    /// Left empty, or `null`: as if the key were not there.
    Null,
    /// One text.
    One(String),
    /// A list of texts with their lines.
    Many(Vec<(usize, String)>),
    /// A mapping, or a list of something else than texts.
    Nested,
}

/// Why a file cannot be used at all.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct FileError {
    /// Where, if that is known.
    pub(super) line: Option<usize>,
    /// What is wrong.
    pub(super) message: String,
}

/// A file's text, and who else can get at it.
#[derive(Debug)]
pub(super) struct Opened {
    /// What is in it.
    pub(super) text: String,
    /// Anybody may change it.
    pub(super) world_writable: bool,
    /// Somebody besides its owner may read it.
    pub(super) readable_by_others: bool,
}

/// Reads a file that is not over the limit.
pub(super) fn open(path: &Path) -> Result<Opened, FileError> {
    let unreadable = |error: std::io::Error| whole(format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode();
    let mut bytes = Vec::new();
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(whole(format!("the file is over the limit of {} KiB", FILE_LEN_MAX / 1_024)));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = line_at(error.as_bytes(), error.utf8_error().valid_up_to());
        FileError { line: Some(line), message: "the file is not UTF-8".into() }
    })?;
    Ok(Opened { text, world_writable: metadata.is_file() && mode & 0o002 != 0, readable_by_others: mode & 0o077 != 0 })
}

/// Reads the keys: JSON where the file's name ends so, YAML for `.yaml`, `.yml` and no ending.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, FileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => parse_json(text),
        Some("yaml" | "yml") | None => parse_yaml(text),
        Some(other) => Err(whole(format!("the ending {other:?} is none of .yaml, .yml and .json"))),
    }
}

fn parse_yaml(text: &str) -> Result<Vec<Entry>, FileError> {
    let mut reader = YamlReader::new(text);
    match reader.next()? {
        None => return Ok(Vec::new()),
        Some((_, Event::MappingStart(..))) => (),
        Some((_, Event::Scalar(value, ScalarStyle::Plain, ..))) if is_null(&value) => return Ok(Vec::new()),
        Some((line, _)) => return Err(FileError { line: Some(line), message: NO_MAPPING.into() }),
    }
    let mut entries = Vec::new();
    while let Some((line, event)) = reader.next()? {
        match event {
            Event::MappingEnd => break,
            Event::Scalar(key, ..) => entries.push(Entry { key: key.into_owned(), line, value: reader.value()? }),
            _ => return Err(FileError { line: Some(line), message: "a key must be a plain word".into() }),
        }
    }
    match reader.next()? {
        None => Ok(entries),
        Some((line, _)) => Err(FileError { line: Some(line), message: "there is more than one document".into() }),
    }
}

/// The parser's events without those that mean nothing here.
struct YamlReader<'a> {
    parser: Parser<'a, serde_yaml::granit_parser::StrInput<'a>>,
}

impl<'a> YamlReader<'a> {
    fn new(text: &'a str) -> Self {
        let mut options = Options::default();
        options.flow_nesting_limit = NESTING_MAX;
        options.block_nesting_limit = NESTING_MAX;
        Self { parser: Parser::new_from_str_with_options(text, options) }
    }

    fn next(&mut self) -> Result<Option<(usize, Event<'a>)>, FileError> {
        loop {
            let Some(next) = self.parser.next_event() else { return Ok(None) };
            let (event, span) = next.map_err(|error| yaml_error(&error))?;
            let line = span.start.line();
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => (),
                Event::StreamEnd => return Ok(None),
                // Anchors would let a small file stand for a large one.
                Event::Alias(_) | Event::UnresolvedAlias(_) => {
                    return Err(FileError { line: Some(line), message: "aliases (*name) are not used here".into() });
                }
                event => return Ok(Some((line, event))),
            }
        }
    }

    fn value(&mut self) -> Result<Raw, FileError> {
        match self.next()? {
            Some((_, Event::Scalar(value, ScalarStyle::Plain, ..))) if is_null(&value) => Ok(Raw::Null),
            Some((_, Event::Scalar(value, ..))) => Ok(Raw::One(value.into_owned())),
            Some((_, Event::SequenceStart(..))) => self.list(),
            Some((_, Event::MappingStart(..))) => self.skip(),
            Some((line, _)) => Err(FileError { line: Some(line), message: "a value is missing".into() }),
            None => Err(whole("the file ends in the middle of a value".into())),
        }
    }

    fn list(&mut self) -> Result<Raw, FileError> {
        let mut values = Vec::new();
        loop {
            match self.next()? {
                Some((line, Event::Scalar(value, ..))) => values.push((line, value.into_owned())),
                Some((_, Event::SequenceEnd)) => return Ok(Raw::Many(values)),
                Some((_, Event::SequenceStart(..) | Event::MappingStart(..))) => {
                    // The inner one ends first, then the list.
                    self.skip()?;
                    return self.skip();
                }
                Some(_) | None => return Err(whole("the file ends in the middle of a list".into())),
            }
        }
    }

    /// Goes behind the end of the collection that just began.
    fn skip(&mut self) -> Result<Raw, FileError> {
        let mut open = 1;
        while open > 0 {
            match self.next()? {
                Some((_, Event::SequenceStart(..) | Event::MappingStart(..))) => open += 1,
                Some((_, Event::SequenceEnd | Event::MappingEnd)) => open -= 1,
                Some(_) => (),
                None => return Err(whole("the file ends in the middle of a value".into())),
            }
        }
        Ok(Raw::Nested)
    }
}

fn yaml_error(error: &ScanError) -> FileError {
    FileError { line: Some(error.marker().line()), message: format!("this is not YAML: {}", error.kind()) }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn parse_json(text: &str) -> Result<Vec<Entry>, FileError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let json_error = |error: serde_json::Error| {
        let message = if error.is_data() { NO_MAPPING.into() } else { format!("this is not JSON: {error}") };
        FileError { line: Some(error.line()), message }
    };
    let members = reader.deserialize_map(Members).map_err(json_error)?;
    reader.end().map_err(json_error)?;
    Ok(members
        .into_iter()
        .map(|(key, raw)| Entry { key, line: line_of(text, raw), value: json_value(text, raw) })
        .collect())
}

fn json_value(text: &str, raw: &RawValue) -> Raw {
    if let Some(value) = json_text(raw) {
        return value.map_or(Raw::Null, |value| Raw::One(value.into_owned()));
    }
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else { return Raw::Nested };
    let items = items.into_iter().map(|item| Some((line_of(text, item), json_text(item)??.into_owned())));
    items.collect::<Option<_>>().map_or(Raw::Nested, Raw::Many)
}

/// The text of a value that is no collection; within, none for `null`.
fn json_text(raw: &RawValue) -> Option<Option<Cow<'_, str>>> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{' | b'[') | None => None,
        Some(b'"') => serde_json::from_str(text).ok().map(|text: String| Some(text.into())),
        Some(_) if text == "null" => Some(None),
        Some(_) => Some(Some(text.into())),
    }
}

/// Keeps members as they stand in the text, double ones too.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// The line of a value that is borrowed from `text`.
fn line_of(text: &str, raw: &RawValue) -> usize {
    line_at(text.as_bytes(), (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize))
}

fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

fn whole(message: String) -> FileError {
    FileError { line: None, message }
}

/// Every key with a list of a hundred values fits many times.
const FILE_LEN_MAX: u64 = 65_536;
/// Two levels are used. Some parsers take quadratic time for nested brackets.
const NESTING_MAX: usize = 16;
const NO_MAPPING: &str = "keys with values are needed, such as `listen_addr: localhost:8080`";
