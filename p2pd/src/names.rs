//! How peers are called here: by the names they give themselves, with who used each of them first, and by what our own
//! user noted of them.
//!
//! A name proves nothing, because everybody may give himself every name. So a name belongs to the first key that used
//! it, and whoever uses it later is told apart. A petname is our user's own word: nobody else can choose one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use p2p_mesh::id::PeerId;
use p2p_mesh::limits::BOOK_LEN_MAX;

/// All names. Shared: the driver writes, the API reads. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<RwLock<Book>>);

#[derive(Debug, Default)]
struct Book {
    /// What peers call themselves.
    given: BTreeMap<PeerId, String>,
    /// Who used a name first, by the name as `fold` makes it.
    first: BTreeMap<String, PeerId>,
    notes: BTreeMap<PeerId, Note>,
    /// Blocked by the configuration.
    configured: BTreeSet<PeerId>,
    /// Shut out of the network, by whoever.
    shut_out: BTreeSet<PeerId>,
}

/// What our user noted of a peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Note {
    /// How our user calls it; empty for none.
    pub petname: String,
    /// Our user wants nothing of it.
    pub is_blocked: bool,
}

/// What shall be noted otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NoteChange {
    /// Another petname; an empty one takes it away.
    pub petname: Option<String>,
    /// Whether to block the peer.
    pub is_blocked: Option<bool>,
}

/// A name and the first who used it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirstUse {
    /// As `Names` compares names.
    pub name: String,
    /// Who.
    pub peer: PeerId,
}

/// What a start finds on disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Noted {
    /// By peer.
    pub notes: Vec<(PeerId, Note)>,
    /// Each name once.
    pub first: Vec<FirstUse>,
}

/// How one peer is called.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Called {
    /// By itself; empty where that is not known.
    pub name: String,
    /// By our user; empty for none.
    pub petname: String,
    /// Who used its name before it.
    pub owner: Option<PeerId>,
    /// Nothing of it is wanted.
    pub is_blocked: bool,
    /// It is no member of the network any more.
    pub is_shut_out: bool,
}

/// Why something is not noted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoteError {
    /// This can be no petname.
    #[error("petname {petname:?} {why}")]
    Petname {
        /// The beginning of it.
        petname: String,
        /// What it must not be.
        why: &'static str,
    },
    /// Another peer is called so.
    #[error("petname {petname:?} is that of the peer {owner}")]
    Taken {
        /// Which one.
        petname: String,
        /// Whose it is.
        owner: PeerId,
    },
    /// It would be undone by the next reload.
    #[error("peer {0} is blocked by the configuration")]
    Configured(PeerId),
    /// So much was noted already.
    #[error("{NOTES_MAX} peers have a petname or are blocked: that is the limit")]
    Full,
    /// It holds for this run only.
    #[error("it holds until the daemon stops, and is not kept: {0}")]
    NotKept(String),
}

impl Names {
    /// Takes over what is on disk.
    pub fn load(&self, noted: Noted) {
        let mut book = self.write();
        book.notes = noted.notes.into_iter().collect();
        book.first = noted.first.into_iter().map(|first| (first.name, first.peer)).collect();
    }

    /// The configuration blocks these, and no others.
    pub fn configure(&self, blocked: impl IntoIterator<Item = PeerId>) {
        self.write().configured = blocked.into_iter().collect();
    }

    /// These are members no more, and no others.
    pub fn set_shut_out(&self, peers: BTreeSet<PeerId>) {
        self.write().shut_out = peers;
    }

    /// All with whom there shall be no link: what they said stays, unless our user blocks them.
    #[must_use]
    pub fn kept_away(&self) -> BTreeSet<PeerId> {
        let mut peers = self.blocked();
        peers.extend(&self.read().shut_out);
        peers
    }

    /// The peer calls itself so from now on; an empty name forgets it. Returns what has to be kept: that it is the first
    /// who does.
    pub fn set(&self, peer: PeerId, name: &str) -> Option<FirstUse> {
        let mut book = self.write();
        if name.is_empty() {
            book.given.remove(&peer);
            return None;
        }
        if book.given.get(&peer).is_some_and(|known| known == name) {
            return None;
        }
        book.given.insert(peer, name.to_owned());
        book.bind(peer, name)
    }

    /// Our user forgot the peer: its names are free again, and it has no petname. Whom he blocked stays blocked.
    pub fn forget(&self, peer: &PeerId) {
        let mut book = self.write();
        book.given.remove(peer);
        book.first.retain(|_, owner| owner != peer);
        if let Some(note) = book.notes.remove(peer).filter(|note| note.is_blocked) {
            book.notes.insert(*peer, Note { petname: String::new(), ..note });
        }
    }

    /// Notes something of a peer; all that is noted of it then.
    ///
    /// # Errors
    ///
    /// It cannot be, and nothing is changed.
    pub fn note(&self, peer: PeerId, change: NoteChange) -> Result<Note, NoteError> {
        let mut book = self.write();
        let mut note = book.notes.get(&peer).cloned().unwrap_or_default();
        if let Some(petname) = change.petname {
            note.petname = book.check_petname(peer, &petname)?;
        }
        if let Some(is_blocked) = change.is_blocked {
            if !is_blocked && book.configured.contains(&peer) {
                return Err(NoteError::Configured(peer));
            }
            note.is_blocked = is_blocked;
        }
        if note == Note::default() {
            book.notes.remove(&peer);
        } else if book.notes.len() >= NOTES_MAX && !book.notes.contains_key(&peer) {
            return Err(NoteError::Full);
        } else {
            book.notes.insert(peer, note.clone());
        }
        Ok(note)
    }

    /// How a peer is called.
    #[must_use]
    pub fn called(&self, peer: &PeerId) -> Called {
        let book = self.read();
        let name = book.given.get(peer).cloned().unwrap_or_default();
        let owner = if name.is_empty() { None } else { book.first.get(&fold(&name)).copied() };
        Called {
            petname: book.notes.get(peer).map(|note| note.petname.clone()).unwrap_or_default(),
            owner: owner.filter(|owner| owner != peer),
            is_blocked: book.is_blocked(peer),
            is_shut_out: book.shut_out.contains(peer),
            name,
        }
    }

    /// Whether nothing of a peer is wanted.
    #[must_use]
    pub fn is_blocked(&self, peer: &PeerId) -> bool {
        self.read().is_blocked(peer)
    }

    /// All of whom nothing is wanted.
    #[must_use]
    pub fn blocked(&self) -> BTreeSet<PeerId> {
        let book = self.read();
        let noted = book.notes.iter().filter(|(_, note)| note.is_blocked).map(|(peer, _)| *peer);
        noted.chain(book.configured.iter().copied()).collect()
    }

    /// All of whom something is noted, or whom the configuration blocks.
    #[must_use]
    pub fn noted(&self) -> BTreeSet<PeerId> {
        let book = self.read();
        book.notes.keys().chain(&book.configured).copied().collect()
    }

    /// A peer as people are told of it: its petname, or its name and the beginning of its id.
    #[must_use]
    pub fn shown(&self, peer: &PeerId) -> String {
        let called = self.called(peer);
        if !called.petname.is_empty() {
            return called.petname;
        }
        let mut id = peer.short();
        id.truncate(ID_CHARS_SHOWN);
        format!("{}~{id}", called.name)
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        // Each step leaves the book whole, so a panic elsewhere cannot have left half of one.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn is_blocked(&self, peer: &PeerId) -> bool {
        self.configured.contains(peer) || self.notes.get(peer).is_some_and(|note| note.is_blocked)
    }

    /// Remembers who used a name first. A peer may take ever new names, so it can be the first with a few only.
    fn bind(&mut self, peer: PeerId, name: &str) -> Option<FirstUse> {
        let name = fold(name);
        let is_free = !name.is_empty() && !self.first.contains_key(&name) && self.first.len() < FIRST_MAX;
        if !is_free || self.first.values().filter(|owner| **owner == peer).count() >= FIRST_PER_PEER_MAX {
            return None;
        }
        self.first.insert(name.clone(), peer);
        Some(FirstUse { name, peer })
    }

    /// A petname as it is kept: nobody else is called so, and it looks like no name with its key and like no address.
    fn check_petname(&self, peer: PeerId, petname: &str) -> Result<String, NoteError> {
        let wrong = |why| NoteError::Petname { petname: petname.chars().take(PETNAME_CHARS_MAX).collect(), why };
        if !petname.is_empty() && petname.trim().is_empty() {
            return Err(wrong("has nothing but spaces"));
        }
        let petname = petname.trim();
        if petname.chars().count() > PETNAME_CHARS_MAX {
            return Err(wrong("has more than 32 characters"));
        }
        if petname.contains(['~', ':']) {
            return Err(wrong("has a '~' or ':', which stand in names with their key and in addresses"));
        }
        if petname.chars().any(is_invisible) {
            return Err(wrong("has a character that cannot be seen"));
        }
        if petname.parse::<PeerId>().is_ok() {
            return Err(wrong("is a peer id"));
        }
        let folded = fold(petname);
        let owner = self.notes.iter().find(|(other, note)| **other != peer && fold(&note.petname) == folded);
        match owner.filter(|_| !folded.is_empty()) {
            Some((owner, _)) => Err(NoteError::Taken { petname: petname.to_owned(), owner: *owner }),
            None => Ok(petname.to_owned()),
        }
    }
}

/// Names that people read as the same: without what cannot be seen, spaces, and the difference of upper and lower case.
fn fold(name: &str) -> String {
    let seen = name.chars().filter(|character| !character.is_whitespace() && !is_invisible(*character));
    seen.flat_map(char::to_lowercase).collect()
}

/// Characters that take no place of their own, or that turn others round.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Peers of whom something is noted: as many as the address book holds.
pub const NOTES_MAX: usize = BOOK_LEN_MAX;
/// Names that one peer can be the first with.
const FIRST_PER_PEER_MAX: usize = 4;
/// Names whose first user is known: all that a full address book can have.
pub const FIRST_MAX: usize = BOOK_LEN_MAX * FIRST_PER_PEER_MAX;
/// As many as a name shows.
const PETNAME_CHARS_MAX: usize = 32;
/// Enough to tell two peers of one name apart.
const ID_CHARS_SHOWN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn petname(text: &str) -> NoteChange {
        NoteChange { petname: Some(text.to_owned()), is_blocked: None }
    }

    fn block(is_blocked: bool) -> NoteChange {
        NoteChange { petname: None, is_blocked: Some(is_blocked) }
    }

    #[test]
    fn x_06_a_name_belongs_to_the_first_key_that_used_it_also_when_it_looks_a_little_different() {
        let names = Names::default();
        assert_eq!(names.set(id(1), "Alice"), Some(FirstUse { name: "alice".into(), peer: id(1) }));
        for imitation in ["Alice", "alice", "ALICE ", "al\u{200d}ice", "a l i c e"] {
            assert_eq!(names.set(id(2), imitation), None);
            assert_eq!(names.called(&id(2)).owner, Some(id(1)), "{imitation:?}");
        }
        assert_eq!(names.called(&id(1)).owner, None);
        names.set(id(1), "bob");
        assert_eq!(names.called(&id(2)).owner, Some(id(1)), "a name stays its first user's when he has another");
    }

    #[test]
    fn who_is_the_first_with_a_name_is_so_after_a_restart() {
        let names = Names::default();
        names.load(Noted { first: vec![FirstUse { name: "alice".into(), peer: id(1) }], ..Noted::default() });
        assert_eq!(names.set(id(2), "alice"), None);
        assert_eq!(names.called(&id(2)).owner, Some(id(1)));
        names.forget(&id(1));
        assert_eq!(names.called(&id(2)).owner, None);
    }

    #[test]
    fn somebody_with_ever_new_names_takes_a_few_of_them() {
        let names = Names::default();
        let bound = (0..100).filter(|n| names.set(id(1), &format!("name{n}")).is_some()).count();
        assert_eq!(bound, FIRST_PER_PEER_MAX);
        assert!(names.set(id(2), "name99").is_some());
    }

    #[test]
    fn a_petname_is_kept_changed_and_taken_away() {
        let names = Names::default();
        assert_eq!(names.note(id(1), petname(" Ali ")).map(|note| note.petname), Ok("Ali".to_owned()));
        assert_eq!(names.shown(&id(1)), "Ali");
        let taken = NoteError::Taken { petname: "ALI".into(), owner: id(1) };
        assert_eq!(names.note(id(2), petname("ALI")), Err(taken));
        names.note(id(1), petname("Boss")).unwrap();
        names.note(id(2), petname("ali")).unwrap();
        names.note(id(1), petname("")).unwrap();
        assert_eq!(names.noted(), [id(2)].into());
    }

    #[test]
    fn a_petname_looks_like_nothing_else() {
        let names = Names::default();
        let whole_id = id(3).to_string();
        for odd in ["a~b", "host:80", "x\u{202e}y", "tab\ty", " \t", "é".repeat(33).as_str(), whole_id.as_str()] {
            assert!(matches!(names.note(id(1), petname(odd)), Err(NoteError::Petname { .. })), "{odd:?}");
        }
        assert!(names.noted().is_empty());
        assert!(names.note(id(1), petname(&"é".repeat(32))).is_ok());
    }

    #[test]
    fn whom_the_configuration_blocks_no_command_unblocks() {
        let names = Names::default();
        names.configure([id(1)]);
        names.note(id(2), block(true)).unwrap();
        assert_eq!(names.blocked(), [id(1), id(2)].into());
        assert_eq!(names.note(id(1), block(false)), Err(NoteError::Configured(id(1))));
        names.note(id(2), block(false)).unwrap();
        names.configure([]);
        assert!(names.blocked().is_empty());
    }

    #[test]
    fn whom_the_user_forgets_stays_blocked() {
        let names = Names::default();
        names.note(id(1), NoteChange { petname: Some("pest".into()), is_blocked: Some(true) }).unwrap();
        names.forget(&id(1));
        assert_eq!(names.called(&id(1)), Called { is_blocked: true, ..Called::default() });
    }

    #[test]
    fn who_is_shut_out_is_kept_away_and_is_not_blocked() {
        let names = Names::default();
        names.note(id(1), block(true)).unwrap();
        names.set_shut_out([id(2)].into());
        assert_eq!(names.kept_away(), [id(1), id(2)].into());
        assert_eq!(names.blocked(), [id(1)].into());
        assert!(names.called(&id(2)).is_shut_out && !names.called(&id(1)).is_shut_out);
        names.set_shut_out(BTreeSet::new());
        assert_eq!(names.kept_away(), [id(1)].into());
    }

    #[test]
    fn there_are_no_more_notes_than_peers_in_a_book() {
        let names = Names::default();
        let peer = |n: usize| PeerId(std::array::from_fn(|at| n.to_le_bytes().get(at).copied().unwrap_or(0)));
        (0..NOTES_MAX).for_each(|n| drop(names.note(peer(n), block(true)).unwrap()));
        assert_eq!(names.note(peer(NOTES_MAX), block(true)), Err(NoteError::Full));
        assert!(names.note(peer(1), petname("x")).is_ok());
    }
}
