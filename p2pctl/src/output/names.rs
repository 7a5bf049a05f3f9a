//! How a peer is called: its own name and the first characters of its key, since the name alone proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::escape;

/// The peers in view. Those that call themselves the same and whose keys begin the same get more of the key shown.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By escaped name: everybody who uses it.
    ids: BTreeMap<String, BTreeSet<String>>,
    /// Ids in all of them.
    len: usize,
}

impl Names {
    /// Brings a peer into view.
    pub(crate) fn add(&mut self, name: &str, id: &str) {
        let name = escape::name(name);
        // Nearly always known: a stream has few authors and many posts.
        if self.ids.get(&name).is_some_and(|ids| ids.contains(id)) {
            return;
        }
        // A stream may run for years, and a member may rename itself at will.
        if self.len >= NAMES_MAX {
            *self = Self::default();
        }
        self.ids.entry(name).or_default().insert(id.to_owned());
        self.len += 1;
    }

    /// `alice~k5x3`, or the first eight characters of the key where it gave itself no name.
    pub(crate) fn show(&self, name: &str, id: &str) -> String {
        let name = escape::name(name);
        let shortest = if name.is_empty() { SHORT_LEN } else { TAG_LEN };
        let others = self.ids.get(&name).into_iter().flatten().filter(|other| *other != id);
        let len = others.map(|other| common(other, id) + 1).max().unwrap_or(0).max(shortest);
        let tag: String = escape::line(id).chars().take(len).collect();
        if name.is_empty() { tag } else { format!("{name}~{tag}") }
    }

    /// Both in one.
    pub(crate) fn add_and_show(&mut self, name: &str, id: &str) -> String {
        self.add(name, id);
        self.show(name, id)
    }
}

/// The first eight characters of an id.
pub(crate) fn short(id: &str) -> String {
    escape::line(id).chars().take(SHORT_LEN).collect()
}

fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

/// A daemon knows 2,000 peers; an id and its place take some 150 bytes.
const NAMES_MAX: usize = 20_000;
const TAG_LEN: usize = 4;
const SHORT_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_stands_without_its_key() {
        let mut names = Names::default();
        assert_eq!(names.add_and_show("alice", "k5x3abcdefgh"), "alice~k5x3");
        assert_eq!(names.add_and_show("you", "7qfdabcdefgh"), "you~7qfd");
        assert_eq!(names.add_and_show("system", "7qfdabcdefgh"), "system~7qfd");
        assert_eq!(names.add_and_show("", "k5x3abcdefgh"), "k5x3abcd");
    }

    #[test]
    fn x_06_an_imitator_with_a_similar_key_is_told_apart() {
        let mut names = Names::default();
        names.add("alice", "k5x3abcdefgh");
        names.add("alice", "k5x3abxxxxxx");
        assert_eq!(names.show("alice", "k5x3abcdefgh"), "alice~k5x3abc");
        assert_eq!(names.show("alice", "k5x3abxxxxxx"), "alice~k5x3abx");
        assert_eq!(names.add_and_show("alice\u{200d}", "k5x3zzzzzzzz"), "alice<U+200D>~k5x3");
        assert_eq!(names.add_and_show("bob", "k5x3abcdefgh"), "bob~k5x3");
    }

    #[test]
    fn somebody_with_ever_new_names_costs_no_more_memory() {
        let mut names = Names::default();
        for n in 0..NAMES_MAX + 10 {
            names.add(&n.to_string(), "k5x3abcdefgh");
        }
        assert_eq!((names.len, names.ids.len()), (10, 10));
    }
}
