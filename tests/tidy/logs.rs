//! What reaches the log. `Display` lets control characters of strangers through, `Debug` escapes them.

use crate::source::{Source, bracket_end, places};

/// Complaints about one file.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let code = &source.code_shipped;
    let mut complaints = Vec::new();
    for name in MACROS {
        for at in places(code, name) {
            let open = at + name.len() + 1;
            if code[at + name.len()..].starts_with("!(") {
                let fields = display_fields(code, open);
                complaints.extend(fields.into_iter().map(|(at, field)| {
                    source.complain(at, format!("%{field} in a log: `?` for everything that is not ours (X-08)"))
                }));
            }
        }
    }
    complaints
}

/// The fields of a macro that are logged with `Display` and are not on the list.
fn display_fields(code: &str, open: usize) -> Vec<(usize, &str)> {
    let end = bracket_end(code, open);
    let mut found = Vec::new();
    for (offset, _) in code[open..end].match_indices('%') {
        let at = open + offset;
        let before = code[open..at].trim_end().chars().next_back();
        let field = code[at + 1..end].split([',', ')', ';']).next().unwrap_or_default().trim();
        let name = field.rsplit('.').next().unwrap_or_default();
        if matches!(before, Some('(' | ',' | '=')) && !OUR_FIELDS.contains(&name) {
            found.push((at, field));
        }
    }
    found
}

const MACROS: &[&str] = &[
    "trace",
    "debug",
    "info",
    "warn",
    "error",
    "event",
    "span",
    "trace_span",
    "debug_span",
    "info_span",
    "warn_span",
    "error_span",
];

/// Names that our code gives to values of its own types only, whose `Display` is plain ASCII: ids, numbers, addresses
/// that were parsed, and our own enums. Errors quote what they were given with `{:?}`.
const OUR_FIELDS: &[&str] = &[
    "addr", "author", "code", "dial", "endpoint", "epoch", "error", "feed", "id", "level", "link", "local", "offset",
    "peer", "post", "remote", "seq",
];

#[test]
fn x_08_display_of_foreign_text_in_a_log_is_found() {
    let good = "info!(%peer, link = %self.link, ?text, error = ?why, rest = a % b, \"x\"); let x = a % name;";
    assert!(check(&Source::rust("p2pd/src/x.rs", good)).is_empty());
    let bad = "tracing::warn!(%peer,\n name = %hello.name, \"hello\");";
    let complaint = "p2pd/src/x.rs:2: %hello.name in a log: `?` for everything that is not ours (X-08)";
    assert_eq!(check(&Source::rust("p2pd/src/x.rs", bad)), [complaint]);
}
