//! What `doctor` found.

use std::io::{self, Write};

use super::document::{Document, Fields};
use super::words::counted;
use super::{Shape, Style, escape};

/// How one thing is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Check {
    /// A word that stays.
    pub(crate) id: &'static str,
    pub(crate) verdict: Verdict,
    /// In one line.
    pub(crate) finding: String,
    /// What to type, or to do; may be empty.
    pub(crate) hint: String,
}

impl Check {
    pub(crate) fn ok(id: &'static str, finding: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Ok, finding: finding.into(), hint: String::new() }
    }

    pub(crate) fn warn(id: &'static str, finding: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, hint: hint.into(), ..Self::ok(id, finding) }
    }

    pub(crate) fn fail(id: &'static str, finding: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, hint: hint.into(), ..Self::ok(id, finding) }
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One line, or as many as it takes on a terminal of so many columns: what goes on stands below its beginning, and words
/// stay whole where they fit.
fn write_wrapped(head: &str, text: &str, columns: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(head.len()).max(WORDS_COLUMNS_MIN));
    write!(out, "{head}")?;
    let mut used = 0;
    for word in text.split(' ') {
        let width = escape::width(word);
        if used > 0 && used + 1 + width > room {
            write!(out, "\n{}{word}", " ".repeat(head.len()))?;
            used = width;
        } else {
            let space = if used > 0 { " " } else { "" };
            write!(out, "{space}{word}")?;
            used += space.len() + width;
        }
    }
    writeln!(out)
}

/// Writes all that was looked at, and how much of it is not well.
pub(crate) fn render_doctor(checks: &[Check], style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count() as u64;
    let (warnings, failures) = (count(Verdict::Warn), count(Verdict::Fail));
    let document = || {
        let checks = checks.iter().map(|check| {
            let fields = Fields::new().add("id", check.id).add("verdict", check.verdict.name());
            fields.add("finding", check.finding.as_str()).add("hint", Document::filled(&check.hint)).done()
        });
        let fields = Fields::document("doctor").add("checks", Document::List(checks.collect()));
        fields.add("warnings", warnings).add("failures", failures).done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            for check in checks {
                let head = format!("{:<4}  {:<12}  ", check.verdict.name(), check.id);
                write_wrapped(&head, &escape::line(&check.finding), style.columns, out)?;
                if !check.hint.is_empty() {
                    let hint = format!("hint: {}", escape::line(&check.hint));
                    write_wrapped(&" ".repeat(head.len()), &hint, style.columns, out)?;
                }
            }
            let of = |count, what: &str| if count == 0 { String::new() } else { format!(", {}", counted(count, what)) };
            let all = counted(checks.len() as u64, "check");
            writeln!(out, "{all}{}{}", of(failures, "failure"), of(warnings, "warning"))
        }
    }
}

/// Narrower than this, the terminal may break lines as it likes.
const WORDS_COLUMNS_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, columns: Option<usize>) -> String {
        let mut out = Vec::new();
        write_wrapped("OK    id  ", text, columns, &mut out).expect("memory takes it");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn on_a_narrow_terminal_what_was_found_breaks_between_words_and_stays_in_its_column() {
        let text = "a peer that refuses, and an_address_that_is_long";
        assert_eq!(wrapped(text, None), format!("OK    id  {text}\n"));
        assert_eq!(wrapped(text, Some(80)), format!("OK    id  {text}\n"));
        assert_eq!(
            wrapped(text, Some(24)),
            "OK    id  a peer that\n          refuses, and\n          an_address_that_is_long\n"
        );
        assert_eq!(wrapped("one two three", Some(3)), "OK    id  one two\n          three\n");
    }
}
