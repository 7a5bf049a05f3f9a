//! Documents as YAML: block style, every text in double quotes, so no value is ever read as something else.

use std::io::{self, Write};

use super::document::{self, Document};
use super::escape::is_hostile;

/// Writes one document, beginning with `---`.
pub(crate) fn write(document: &Document<'_>, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "---")?;
    behind_key(document, 0, out)
}

/// What stands behind a key's colon: on the same line, or below it at `indent`.
fn behind_key(value: &Document<'_>, indent: usize, out: &mut dyn Write) -> io::Result<()> {
    match value {
        Document::Object(fields) if !fields.is_empty() => {
            writeln!(out)?;
            for (key, value) in fields {
                write!(out, "{:indent$}", "")?;
                field(key, value, indent, out)?;
            }
            Ok(())
        }
        Document::List(items) if !items.is_empty() => {
            writeln!(out)?;
            items.iter().try_for_each(|item| item_of_list(item, indent, out))
        }
        Document::Posts(posts) if !posts.is_empty() => {
            writeln!(out)?;
            posts.iter().try_for_each(|post| item_of_list(&document::post(post), indent, out))
        }
        scalar => {
            write!(out, " ")?;
            write_scalar(scalar, out)?;
            writeln!(out)
        }
    }
}

fn item_of_list(item: &Document<'_>, indent: usize, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{:indent$}-", "")?;
    behind_dash(item, indent + 2, out)
}

/// An item of a list: an object's first field stands on the line of the dash.
fn behind_dash(value: &Document<'_>, indent: usize, out: &mut dyn Write) -> io::Result<()> {
    let Document::Object(fields) = value else { return behind_key(value, indent, out) };
    let Some(((key, value), rest)) = fields.split_first() else { return behind_key(value, indent, out) };
    write!(out, " ")?;
    field(key, value, indent, out)?;
    for (key, value) in rest {
        write!(out, "{:indent$}", "")?;
        field(key, value, indent, out)?;
    }
    Ok(())
}

fn field(key: &str, value: &Document<'_>, indent: usize, out: &mut dyn Write) -> io::Result<()> {
    // Keys are ours, but for the names of counters.
    if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !key.is_empty() {
        write!(out, "{key}:")?;
    } else {
        quote(key, out)?;
        write!(out, ":")?;
    }
    behind_key(value, indent + 2, out)
}

fn write_scalar(value: &Document<'_>, out: &mut dyn Write) -> io::Result<()> {
    match value {
        Document::Null => write!(out, "null"),
        Document::Bool(value) => write!(out, "{value}"),
        Document::Number(value) => write!(out, "{value}"),
        Document::Count(value) => write!(out, "{value}"),
        Document::Text(text) => quote(text, out),
        // Only empty ones come here.
        Document::List(_) | Document::Posts(_) => write!(out, "[]"),
        Document::Object(_) => write!(out, "{{}}"),
    }
}

fn quote(text: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(out, "\\{character}")?,
            '\n' => write!(out, "\\n")?,
            '\t' => write!(out, "\\t")?,
            // YAML refuses the two at the end of the basic plane.
            _ if is_hostile(character) || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                write!(out, "\\U{:08X}", u32::from(character))?;
            }
            _ => write!(out, "{character}")?,
        }
    }
    write!(out, "\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::document::Fields;
    use super::*;

    #[test]
    fn every_shape_has_its_place() {
        let inner = Fields::new().add("a", "no").add("b", Document::List(vec![])).done();
        let document = Fields::document("test")
            .add("text", "1: \"x\"\\\n\x1b\u{202e}")
            .add("number", -3i64)
            .add("none", Document::Null)
            .add("list", Document::List(vec![inner, "x".into(), Document::Object(vec![])]))
            .add("object", Fields::new().add("odd key", true).done())
            .done();
        let mut out = Vec::new();
        write(&document, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        ---
        v: 1
        type: "test"
        text: "1: \"x\"\\\n\U0000001B\U0000202E"
        number: -3
        none: null
        list:
          - a: "no"
            b: []
          - "x"
          - {}
        object:
          "odd key": true
        "#);
    }
}
