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
                writeln!(out, "{:<4}  {:<12}  {}", check.verdict.name(), check.id, escape::line(&check.finding))?;
                if !check.hint.is_empty() {
                    writeln!(out, "{:20}hint: {}", "", escape::line(&check.hint))?;
                }
            }
            let of = |count, what: &str| if count == 0 { String::new() } else { format!(", {}", counted(count, what)) };
            let all = counted(checks.len() as u64, "check");
            writeln!(out, "{all}{}{}", of(failures, "failure"), of(warnings, "warning"))
        }
    }
}
