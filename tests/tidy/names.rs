//! Words: one a concept, nothing unfinished, test names that tell which case they cover.

use crate::source::{Source, Token, places, tokens};

/// Complaints about one file.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let mut complaints = check_unfinished(source);
    let tokens = tokens(&source.code);
    for pair in tokens.windows(2) {
        let [keyword, name] = pair else { continue };
        if keyword.text == "fn" {
            complaints.extend(check_case_id(source, *name));
        }
    }
    complaints.extend(check_words(source));
    complaints
}

fn check_unfinished(source: &Source) -> Vec<String> {
    let complain = |word: &&str| {
        let places = places(&source.code, word).into_iter();
        places.map(|at| source.complain(at, format!("{word} is not finished"))).collect::<Vec<_>>()
    };
    let mut complaints: Vec<String> = ["todo!", "unimplemented!", "dbg!"].iter().flat_map(complain).collect();
    // The marks are put together here, so that this file does not complain about itself.
    for mark in [["TO", "DO"].concat(), ["FIX", "ME"].concat()] {
        complaints.extend(places(&source.text, &mark).into_iter().map(|at| source.complain(at, format!("a {mark}"))));
    }
    complaints
}

/// A test that begins like a case must be one: `d_10_…` covers case D-10.
fn check_case_id(source: &Source, name: Token<'_>) -> Option<String> {
    let (letter, rest) = name.text.split_at_checked(1)?;
    let number = rest.strip_prefix('_')?.split('_').next()?;
    if !number.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let case = (letter, number.parse().unwrap_or(0));
    let is_known =
        number.len() == 2 && CASES.iter().any(|(letter, numbers)| *letter == case.0 && numbers.contains(&case.1));
    (!is_known).then(|| source.complain(name.at, format!("{} names no case of the list", name.text)))
}

/// Names that are declared here.
fn check_words(source: &Source) -> Vec<String> {
    let tokens = tokens(&source.code_shipped);
    let mut complaints = Vec::new();
    for pair in tokens.windows(2) {
        let [keyword, name] = pair else { continue };
        if !DECLARES.contains(&keyword.text) {
            continue;
        }
        if keyword.text == "fn" && name.text.starts_with("get_") && name.text != "get_mut" {
            complaints.push(source.complain(name.at, format!("{}: no get_", name.text)));
        }
        for word in words_of(name.text) {
            if let Some((_, better)) = WORDS.iter().find(|(bad, _)| *bad == word) {
                complaints.push(source.complain(name.at, format!("{}: say {better}", name.text)));
            }
        }
    }
    complaints
}

/// `LinkTable` and `link_table` are `link` and `table`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (at, letter) in name.chars().enumerate() {
        let is_camel = letter.is_uppercase() && at > 0 && name.contains(char::is_lowercase);
        if letter == '_' || is_camel {
            words.push(String::new());
        }
        if letter != '_' {
            words.last_mut().expect("it begins with one word").extend(letter.to_lowercase());
        }
    }
    words
}

const DECLARES: &[&str] = &["fn", "struct", "enum", "trait", "mod", "type", "const", "static"];

/// Words that have another word for what they mean. Those with a second, honest meaning are not here.
const WORDS: &[(&str, &str)] = &[
    ("node", "peer"),
    ("cluster", "mesh"),
    ("swarm", "mesh"),
    ("conn", "link"),
    ("packet", "frame or message"),
    ("lsn", "offset"),
    ("reconcile", "sync"),
    ("backfill", "sync"),
    ("roster", "book"),
    ("keepalives", "heartbeats"),
    ("journal", "store"),
    ("watcher", "subscriber"),
    ("fsync", "flush"),
    ("manager", "what it does"),
    ("helper", "what it does"),
    ("util", "what it does"),
    ("utils", "what it does"),
    ("worker", "driver, or what it does"),
];

/// The cases of bad inputs and faults that have a number.
const CASES: &[(&str, &[u8])] = &[
    ("w", &[1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 20, 21, 22, 24, 25]),
    ("h", &[1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14]),
    ("g", &[1, 3, 4, 6, 7, 10, 11, 12, 13, 14, 15, 16]),
    ("c", &[1, 2, 3, 4, 6, 7, 9, 10]),
    ("x", &[1, 2, 3, 4, 6, 8, 9]),
    ("f", &[1, 2, 4, 5, 6, 7, 8, 9, 11]),
    ("d", &[1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15]),
    ("k", &[1, 3, 5, 6]),
    ("p", &[1, 2, 3, 4, 5, 6, 7, 9, 11, 12]),
    ("n", &[1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 14, 15, 16]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn complaints(text: &str, expected: &[&str]) {
        assert_eq!(check(&Source::rust("p2pd/src/x.rs", text)), expected);
    }

    #[test]
    fn unfinished_code_is_found() {
        complaints("fn a() { todo!() }", &["p2pd/src/x.rs:1: todo! is not finished"]);
        let mark = ["TO", "DO"].concat();
        complaints(&format!("// {mark}: more"), &[&format!("p2pd/src/x.rs:1: a {mark}")]);
    }

    #[test]
    fn a_test_names_a_case_that_exists() {
        complaints(
            "fn d_10_a_full_disk() {}\nfn a_10() {}\nfn x_of_y() {}",
            &["p2pd/src/x.rs:2: a_10 names no case of the list"],
        );
        complaints("fn h_1_short() {}", &["p2pd/src/x.rs:1: h_1_short names no case of the list"]);
        complaints("fn h_03_gone() {}", &["p2pd/src/x.rs:1: h_03_gone names no case of the list"]);
    }

    #[test]
    fn a_concept_has_one_word() {
        complaints(
            "struct PeerNode;\nfn get_peer() {}\nfn nodes() {}",
            &["p2pd/src/x.rs:1: PeerNode: say peer", "p2pd/src/x.rs:2: get_peer: no get_"],
        );
        complaints("const CONN_MAX: u8 = 1;", &["p2pd/src/x.rs:1: CONN_MAX: say link"]);
    }
}
