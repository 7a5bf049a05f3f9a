//! Rendering: messages of the daemon to text, JSON and YAML. Nothing here asks anybody anything.

pub(crate) mod bench;
pub(crate) mod doctor;
pub(crate) mod document;
pub(crate) mod escape;
pub(crate) mod graph;
pub(crate) mod invites;
pub(crate) mod joiner;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod operate;
pub(crate) mod peers;
pub(crate) mod posts;
pub(crate) mod receipts;
pub(crate) mod rest;
pub(crate) mod schema;
pub(crate) mod screen;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod time;
pub(crate) mod words;
pub(crate) mod yaml;

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use document::Document;

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For people, with everything there is.
    Wide,
    /// One object a line.
    Json,
    /// The same objects as YAML.
    Yaml,
}

/// Everything that rendering depends on beside the data.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// Where the user is.
    pub(crate) zone: TimeZone,
    pub(crate) now: Timestamp,
    /// Columns of the terminal; none where it is no terminal, and then nothing is wrapped.
    pub(crate) columns: Option<usize>,
    /// Names may be coloured.
    pub(crate) color: bool,
}

/// What a format leaves to be done.
pub(crate) enum Shape {
    Text,
    Wide,
    Data,
}

impl Style {
    /// Writes `document` where the format is one for programs; else says which text is wanted.
    pub(crate) fn write_data<'a>(
        &self,
        document: impl FnOnce() -> Document<'a>,
        out: &mut dyn Write,
    ) -> io::Result<Shape> {
        match self.format {
            Format::Text => return Ok(Shape::Text),
            Format::Wide => return Ok(Shape::Wide),
            Format::Json => document().write_json(out)?,
            Format::Yaml => yaml::write(&document(), out)?,
        }
        Ok(Shape::Data)
    }
}

#[cfg(test)]
mod tests;
