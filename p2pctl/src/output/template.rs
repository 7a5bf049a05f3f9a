//! Posts in a form that the user wrote down: a line each, with fields in braces.

use std::io::{self, Write};

use jiff::tz::TimeZone;
use p2p_proto::v1::Post;

use super::names::Names;
use super::{document, escape, posts, time};

/// What is written of each post.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Author,
    Id,
    Name,
    Offset,
    Re,
    Room,
    Short,
    Text,
    Time,
    To,
    Utc,
}

impl Template {
    /// Reads `{time} {name}: {text}`. A brace is written twice; `\t`, `\n` and `\\` are a tab, a new line and a backslash.
    ///
    /// # Errors
    ///
    /// A field that no post has, named with those that there are, or a brace without its other.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                '{' if rest.as_str().starts_with('{') => plain.extend(rest.next()),
                '}' if rest.as_str().starts_with('}') => plain.extend(rest.next()),
                '{' => {
                    let Some((name, behind)) = rest.as_str().split_once('}') else {
                        return Err("a '{' has no '}': write {{ for a brace".to_owned());
                    };
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Field(field(name)?));
                    rest = behind.chars();
                }
                '}' => return Err("a '}' has no '{': write }} for a brace".to_owned()),
                '\\' => plain.push(match rest.next() {
                    Some('t') => '\t',
                    Some('n') => '\n',
                    Some('\\') => '\\',
                    Some(_) | None => return Err("a '\\' that is no \\t, \\n or \\\\".to_owned()),
                }),
                character => plain.push(character),
            }
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// Writes one post and ends the line. What came from others is escaped, so a post is always one line.
    pub(crate) fn write(&self, post: &Post, names: &Names, zone: &TimeZone, out: &mut dyn Write) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text.as_bytes())?,
                Part::Field(field) => out.write_all(value(*field, post, names, zone).as_bytes())?,
            }
        }
        writeln!(out)
    }
}

fn value(field: Field, post: &Post, names: &Names, zone: &TimeZone) -> String {
    let author = post.id.as_ref().map_or("", |id| id.author.as_str());
    match field {
        Field::Author => escape::line(author).into_owned(),
        Field::Id => document::post_id_text(post.id.as_ref()),
        Field::Name => names.show(&post.author_name, author),
        Field::Offset => post.offset.to_string(),
        Field::Re => document::post_id_text(post.re.as_ref()),
        Field::Room => escape::line(&post.room).into_owned(),
        Field::Short => posts::short_id(post.id.as_ref()),
        Field::Text => escape::line(&post.text).into_owned(),
        Field::Time => time::date_and_clock(post.time_us, zone),
        Field::To if post.direct => names.show(&post.to_name, &post.to),
        Field::To => String::new(),
        Field::Utc => time::rfc3339(post.time_us),
    }
}

fn field(name: &str) -> Result<Field, String> {
    FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field).ok_or_else(|| {
        let known: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
        format!("no field {:?}; there are {}", format!("{{{name}}}"), known.join(", "))
    })
}

const FIELDS: [(&str, Field); 11] = [
    ("author", Field::Author),
    ("id", Field::Id),
    ("name", Field::Name),
    ("offset", Field::Offset),
    ("re", Field::Re),
    ("room", Field::Room),
    ("short", Field::Short),
    ("text", Field::Text),
    ("time", Field::Time),
    ("to", Field::To),
    ("utc", Field::Utc),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2p_proto::v1::PostId;

    use super::*;

    fn written(template: &str, post: &Post) -> String {
        let mut names = Names::default();
        names.add_author(post);
        let mut out = Vec::new();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        Template::parse(template).unwrap().write(post, &names, &zone, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn post() -> Post {
        Post {
            id: Some(PostId { author: "k5x3abcdefgh".to_owned(), epoch: 7, seq: 3 }),
            author_name: "alice\x1b[2J".to_owned(),
            offset: 42,
            time_us: 1_795_348_800_000_000,
            room: "general".to_owned(),
            text: "one\ntwo {text} \u{202e}x\x07".to_owned(),
            ..Post::default()
        }
    }

    #[test]
    fn every_field_is_filled_in_and_nothing_of_others_reaches_the_terminal() {
        let all = "{time}|{utc}|{room}|{name}|{text}|{id}|{short}|{author}|{offset}|{re}|";
        insta::assert_snapshot!(written(all, &post()), @"2026-11-22 13:00:00|2026-11-22T12:00:00.000000Z|general|alice^[[2J~k5x3|one^Jtwo {text} <U+202E>x^G|k5x3abcdefgh-7-3|k5x3abcd-7-3|k5x3abcdefgh|42||");
    }

    #[test]
    fn braces_tabs_and_lines_can_be_written() {
        assert_eq!(written("{{{offset}}}\\t\\\\\\n{{}}", &post()), "{42}\t\\\n{}\n");
        assert_eq!(written("", &post()), "\n");
    }

    #[test]
    fn a_field_that_no_post_has_is_named_with_those_there_are() {
        let why = |text: &str| Template::parse(text).unwrap_err();
        assert_eq!(
            why("{nick}: {text}"),
            "no field \"{nick}\"; there are author, id, name, offset, re, room, short, text, time, to, utc"
        );
        assert!(why("{text").contains("{{"));
        assert!(why("text}").contains("}}"));
        assert!(why("\\x").contains("\\t"));
    }
}
