//! Source files as the rules see them: text, and code without comments, literals and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Comments and literals are blanks; every byte and line is where it was.
    pub(crate) code: String,
    /// The same, and tests are blanks too.
    pub(crate) code_shipped: String,
}

/// A piece of code that means something: an identifier, `::`, or one other character.
#[derive(Clone, Copy)]
pub(crate) struct Token<'a> {
    /// As written.
    pub(crate) text: &'a str,
    /// Where it begins.
    pub(crate) at: usize,
}

impl Source {
    /// A Rust file. Files named `tests.rs` and everything below the folder `tests` are tests as a whole.
    pub(crate) fn rust(path: &str, text: &str) -> Self {
        let code = blank_literals(text);
        let is_test = path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
        let code_shipped = if is_test { blank(&code, 0, code.len()) } else { blank_tests(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, code_shipped }
    }

    /// The line, from 1, in which byte `at` stands.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// `PATH:LINE: TEXT`
    pub(crate) fn complain(&self, at: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{}: {what}", self.path, self.line(at))
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package tests lies in the repository").to_owned()
}

/// Every file below `folder` of the repository whose name ends like that, in order, paths from the root.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root(), folder, endings, &mut found);
    found.sort();
    found
}

/// The text of a file, by its path from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust sources of the repository.
pub(crate) fn rust_sources() -> Vec<Source> {
    ["proto", "p2pd", "p2pctl", "tests"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs"]))
        .map(|path| Source::rust(&path, &read(&path)))
        .collect()
}

/// Cuts code into tokens; blanks fall out.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            byte if is_word(byte) => {
                bytes[at..].iter().position(|byte| !is_word(*byte)).map_or(bytes.len(), |n| at + n)
            }
            b':' if bytes.get(at + 1) == Some(&b':') => at + 2,
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            _ => at + code[at..].chars().next().map_or(1, char::len_utf8),
        };
        found.push(Token { text: &code[at..end], at });
        at = end;
    }
    found
}

/// Where `word` stands as a whole word.
pub(crate) fn places(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let is_whole = |at: &usize| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(at + word.len());
        !before.is_some_and(|byte| is_word(*byte)) && !after.is_some_and(|byte| is_word(*byte))
    };
    code.match_indices(word).map(|(at, _)| at).filter(is_whole).collect()
}

/// The end of the bracket that opens at `at`: behind its partner, or the end of the code.
pub(crate) fn bracket_end(code: &str, at: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code.as_bytes()[at..].iter().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => (),
        }
        if depth == 0 {
            return at + offset + 1;
        }
    }
    code.len()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn walk(root: &Path, folder: &str, endings: &[&str], found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if entry.path().is_dir() {
            if name != "target" && name != ".git" && name != ".p2p" {
                walk(root, &path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

fn blank(code: &str, from: usize, to: usize) -> String {
    let keep_lines = |byte: u8| if byte == b'\n' { '\n' } else { ' ' };
    let mut out = code[..from].to_owned();
    out.extend(code.as_bytes()[from..to].iter().map(|byte| keep_lines(*byte)));
    out.push_str(&code[to..]);
    out
}

/// Items marked `#[cfg(test)]` become blanks.
fn blank_tests(code: &str) -> String {
    let mut code = code.to_owned();
    while let Some(start) = code.find(TEST_MARK) {
        let item = start + TEST_MARK.len();
        let end = match code[item..].find(['{', ';']) {
            Some(at) if code.as_bytes()[item + at] == b'{' => bracket_end(&code, item + at),
            Some(at) => item + at + 1,
            None => code.len(),
        };
        code = blank(&code, start, end);
    }
    code
}

fn blank_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            // A multi-byte character outside of literals and comments can only be an identifier: any letter stands for it.
            out.push(if bytes[at] < 0x80 { char::from(bytes[at]) } else { 'x' });
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// The end of the comment or literal that begins at `at`; `at` itself where none begins.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let begins_word = at == 0 || !is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n),
        [b'/', b'*', ..] => comment_end(bytes, at),
        [b'"', ..] => string_end(bytes, at),
        [b'r', b'"' | b'#', ..] if begins_word => raw_string_end(bytes, at, at + 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if begins_word => raw_string_end(bytes, at, at + 2),
        [b'\'', ..] => char_end(bytes, at),
        _ => at,
    }
}

fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], start: usize, hashes_from: usize) -> usize {
    let hashes = bytes[hashes_from..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(hashes_from + hashes) != Some(&b'"') {
        return start;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = hashes_from + hashes + 1;
    let found = bytes[body..].windows(close.len()).position(|window| window == close);
    found.map_or(bytes.len(), |n| body + n + close.len())
}

/// A character's end; a lifetime is none, and so it ends where it begins.
fn char_end(bytes: &[u8], at: usize) -> usize {
    match &bytes[at + 1..] {
        [b'\\', _, rest @ ..] => rest.iter().position(|byte| *byte == b'\'').map_or(bytes.len(), |n| at + n + 4),
        [byte, b'\'', ..] if *byte < 0x80 => at + 3,
        [byte, rest @ ..] if *byte >= 0x80 => {
            rest.iter().take(4).position(|byte| *byte == b'\'').map_or(at, |n| at + n + 3)
        }
        _ => at,
    }
}

const TEST_MARK: &str = "#[cfg(test)]";

#[test]
fn comments_literals_and_tests_are_no_code() {
    let text = "let a = \"use x\\\"\"; // use y\n/* a /* b */ use z */ 'x' '\\'' 'ä' &'a str r#\"use \"w\"# end\n";
    let source = Source::rust("p2pd/src/x.rs", text);
    assert_eq!(source.code.len(), text.len());
    assert_eq!(source.code.split_whitespace().collect::<Vec<_>>(), ["let", "a", "=", ";", "&'a", "str", "end"]);

    let source = Source::rust("p2pd/src/x.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}");
    assert_eq!(source.code_shipped.split_whitespace().collect::<String>(), "fna(){}fnc(){}");
    assert_eq!(source.line(source.code_shipped.find("fn c").unwrap()), 6);
}
