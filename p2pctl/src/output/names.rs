//! How a peer is called: its own name and the first characters of its key, since the name alone proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use p2p_proto::v1::{Conversation, NetworkMember, Peer, Post};

use super::escape;

/// The peers in view. Those that call themselves the same and whose keys begin the same get more of the key shown.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By escaped name: everybody who uses it.
    ids: BTreeMap<String, BTreeSet<String>>,
    /// How this user calls them, by id.
    petnames: BTreeMap<String, String>,
    /// Those who use a name that somebody else had first.
    late: BTreeSet<String>,
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

    /// The same with all that the daemon tells of a peer.
    pub(crate) fn add_peer(&mut self, peer: &Peer) {
        self.add_called(&peer.id, &peer.name, &peer.petname, &peer.name_owner);
    }

    /// The same with the other end of a conversation.
    pub(crate) fn add_partner(&mut self, talk: &Conversation) {
        self.add_called(&talk.peer, &talk.name, &talk.petname, &talk.name_owner);
    }

    /// The same with a member.
    pub(crate) fn add_member(&mut self, member: &NetworkMember) {
        self.add_called(&member.id, &member.name, &member.petname, &member.name_owner);
    }

    fn add_called(&mut self, id: &str, name: &str, petname: &str, owner: &str) {
        self.add(name, id);
        self.call(id, petname);
        self.owe(name, id, owner);
    }

    /// The same with all that a post tells of its author, and of whom it is for.
    pub(crate) fn add_author(&mut self, post: &Post) {
        let Some(id) = &post.id else { return };
        self.add_called(&id.author, &post.author_name, &post.author_petname, &post.author_name_owner);
        if post.direct {
            self.add(&post.to_name, &post.to);
            self.call(&post.to, &post.to_petname);
        }
    }

    /// How this user calls a peer in view; nothing where it is empty.
    pub(crate) fn call(&mut self, id: &str, petname: &str) {
        if petname.is_empty() {
            self.petnames.remove(id);
        } else if self.petnames.get(id).is_none_or(|known| known != petname) {
            self.petnames.insert(id.to_owned(), petname.to_owned());
        }
    }

    /// A peer in view uses a name that its owner had first: he is in view too, so that they are told apart.
    fn owe(&mut self, name: &str, id: &str, owner: &str) {
        if owner.is_empty() {
            self.late.remove(id);
            return;
        }
        self.add(name, owner);
        if !self.late.contains(id) {
            self.late.insert(id.to_owned());
        }
    }

    /// The petname; else `alice~k5x3`, with more of the key for whoever was not the first with that name; or the first eight characters of the key where it gave itself no name.
    pub(crate) fn show(&self, name: &str, id: &str) -> String {
        if let Some(petname) = self.petnames.get(id) {
            return escape::name(petname);
        }
        let name = escape::name(name);
        let shortest = if name.is_empty() || self.late.contains(id) { SHORT_LEN } else { TAG_LEN };
        let others = self.ids.get(&name).into_iter().flatten().filter(|other| *other != id);
        let len = others.map(|other| common(other, id) + 1).max().unwrap_or(0).max(shortest);
        let tag = |len: usize| escape::line(id).chars().take(len).collect::<String>();
        if !name.is_empty() {
            return format!("{name}~{}", tag(len));
        }
        // A key alone must not look like a petname either.
        let is_petname = |tag: &String| self.petnames.values().any(|petname| petname == tag);
        (len..id.len()).map(tag).find(|tag| !is_petname(tag)).unwrap_or_else(|| id.to_owned())
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

/// Names that people read as the same, as the daemon compares them.
pub(crate) fn fold(name: &str) -> String {
    let seen = name.chars().filter(|character| !character.is_whitespace() && !escape::is_hostile(*character));
    seen.flat_map(char::to_lowercase).collect()
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
    fn x_06_a_petname_stands_alone_and_nothing_else_looks_like_one() {
        let peer = |id: &str, name: &str, petname: &str| Peer {
            id: id.to_owned(),
            name: name.to_owned(),
            petname: petname.to_owned(),
            ..Peer::default()
        };
        let mut names = Names::default();
        names.add_peer(&peer("k5x3abcdefgh", "alice", "caroline"));
        names.add_peer(&peer("7qfdabcdefgh", "caroline", ""));
        names.add_peer(&peer("carolineabcd", "", ""));
        assert_eq!(names.show("alice", "k5x3abcdefgh"), "caroline");
        assert_eq!(names.show("caroline", "7qfdabcdefgh"), "caroline~7qfd");
        assert_eq!(names.show("", "carolineabcd"), "carolinea");
        names.add_peer(&peer("k5x3abcdefgh", "alice", ""));
        assert_eq!(names.show("alice", "k5x3abcdefgh"), "alice~k5x3");
    }

    #[test]
    fn x_06_who_was_not_the_first_with_a_name_shows_more_of_his_key_also_where_the_first_is_not_in_view() {
        let imitator = Peer {
            id: "k5x3zzzzzzzz".to_owned(),
            name: "Alice".to_owned(),
            name_owner: "k5x3abcdefgh".to_owned(),
            ..Peer::default()
        };
        let mut names = Names::default();
        names.add_peer(&imitator);
        assert_eq!(names.show("Alice", &imitator.id), "Alice~k5x3zzzz");
        names.add_peer(&Peer { name: "alice".to_owned(), name_owner: "k5x3zzzzzyyy".to_owned(), ..imitator.clone() });
        assert_eq!(names.show("alice", &imitator.id), "alice~k5x3zzzzzz");
        names.add_peer(&Peer { name: "bob".to_owned(), name_owner: String::new(), ..imitator.clone() });
        assert_eq!(names.show("bob", &imitator.id), "bob~k5x3");
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
