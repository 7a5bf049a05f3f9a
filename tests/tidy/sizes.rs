//! How long files and functions may be. Tests do not count.

use crate::source::{Source, bracket_end, places};

/// Complaints about one file.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = file_lines(source);
    if lines > FILE_LINES_MAX {
        complaints.push(format!("{}: {lines} lines, the wall is {FILE_LINES_MAX}", source.path));
    }
    for at in places(&source.code_shipped, "fn") {
        let lines = function_lines(&source.code_shipped, at);
        if lines > FUNCTION_LINES_MAX {
            let name: String = source.code_shipped[at + 2..]
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            complaints.push(source.complain(at, format!("{name} has {lines} lines, the wall is {FUNCTION_LINES_MAX}")));
        }
    }
    complaints
}

/// Lines outside of tests, comments and blank lines included.
fn file_lines(source: &Source) -> usize {
    if source.code_shipped.trim().is_empty() {
        return 0;
    }
    let tests = source.code.lines().zip(source.code_shipped.lines());
    source.text.lines().count() - tests.filter(|(all, shipped)| all.trim() != shipped.trim()).count()
}

/// From `fn` to the closing brace; a type or a declaration has none.
fn function_lines(code: &str, at: usize) -> usize {
    let Some(open) = code[at..].find(['{', ';']).map(|offset| at + offset) else { return 0 };
    if code.as_bytes()[open] == b';' {
        return 0;
    }
    code[at..bracket_end(code, open)].lines().count()
}

/// The wall of a file.
const FILE_LINES_MAX: usize = 600;
/// The wall of a function.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn long_files_and_functions_are_found_and_tests_are_free() {
    let long = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(69));
    let complaint = "p2pd/src/x.rs:1: a has 71 lines, the wall is 70";
    assert_eq!(check(&Source::rust("p2pd/src/x.rs", &long)), [complaint]);
    assert!(check(&Source::rust("p2pd/src/x.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}"))).is_empty());
    assert!(check(&Source::rust("p2pd/src/x/tests.rs", &long)).is_empty());

    let file = "const A: u8 = 0;\n".repeat(601);
    assert_eq!(check(&Source::rust("p2pd/src/x.rs", &file)), ["p2pd/src/x.rs: 601 lines, the wall is 600"]);
    let half = format!("{}#[cfg(test)]\nmod tests {{\n{}}}", "a!();\n".repeat(300), "b!();\n".repeat(600));
    assert!(check(&Source::rust("p2pd/src/x.rs", &half)).is_empty());
}
