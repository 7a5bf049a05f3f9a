//! People who talk at a daemon that may die at any moment, and a book of what was answered to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use p2p_mesh::id::{Epoch, Instance, Offset, PeerId, PostId, Seq};
use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;

use crate::checker::{self, Begins, History, Operation, Outcome, Shown, Violation};
use crate::daemon::TestPeer;
use crate::program::{PATIENCE, eventually};
use crate::sim::dice::Dice;

/// What was said at one daemon over all its runs, and what came of it.
#[derive(Debug)]
pub struct Ledger {
    author: PeerId,
    dice: Dice,
    operations: Vec<Operation>,
    /// Acknowledged since the last look.
    fresh: BTreeSet<PostId>,
    /// Seen so far.
    shown: BTreeSet<PostId>,
    sessions: u64,
    refused: Vec<Error>,
}

/// People at work. They end by themselves when their daemon is gone.
#[derive(Debug)]
pub struct People {
    signs: Arc<Signs>,
    thread: thread::JoinHandle<Said>,
}

/// What people and whoever started them tell each other while they talk.
#[derive(Debug, Default)]
struct Signs {
    stop: AtomicBool,
    answers: AtomicU64,
    are_gone: AtomicBool,
}

/// What one person did, in order.
#[derive(Debug, Default)]
struct Said {
    operations: Vec<Operation>,
    refused: Vec<Error>,
}

impl Ledger {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// The peer has no proper id.
    #[must_use]
    #[track_caller]
    pub fn new(peer: &TestPeer, seed: u64) -> Self {
        let author = peer.id().parse().expect("a peer id");
        let (fresh, shown) = (BTreeSet::new(), BTreeSet::new());
        Self { author, dice: Dice::new(seed), operations: Vec::new(), fresh, shown, sessions: 0, refused: Vec::new() }
    }

    /// With other numbers of sessions, and so other keys and texts, than those of another daemon with this identity.
    #[must_use]
    pub fn with_sessions_from(self, first: u64) -> Self {
        Self { sessions: first, ..self }
    }

    /// Lets some people talk at a daemon, each waiting for every answer. They begin with the keyed posts that nobody
    /// answered so far; half of them give keys, and one post in ten is long.
    #[must_use]
    pub fn start(&mut self, peer: &TestPeer, people: u64) -> People {
        self.start_some(peer, people, 0.1)
    }

    /// The same with long texts only.
    #[must_use]
    pub fn start_with_long_texts(&mut self, peer: &TestPeer, people: u64) -> People {
        self.start_some(peer, people, 1.0)
    }

    fn start_some(&mut self, peer: &TestPeer, people: u64, long: f64) -> People {
        let is_open = |operation: &mut Operation| operation.outcome == Outcome::Unknown && operation.key.is_some();
        let mut again: Vec<Operation> = self.operations.extract_if(.., is_open).collect();
        let signs = Arc::new(Signs::default());
        let persons: Vec<Person> = (0..people)
            .map(|number| Person {
                author: self.author,
                session: self.sessions + number,
                gives_keys: number % 2 == 0,
                long,
                dice: Dice::new(self.dice.between(0, u64::MAX)),
                again: if number == 0 { std::mem::take(&mut again) } else { Vec::new() },
                said: Said::default(),
            })
            .collect();
        self.sessions += people;
        let (socket, theirs) = (peer.socket(), signs.clone());
        let thread = thread::spawn(move || {
            let said = talk(socket, persons, &theirs);
            theirs.are_gone.store(true, Ordering::Relaxed);
            said
        });
        People { signs, thread }
    }

    /// Takes down what came of it, once their daemon is gone or they were told to stop.
    ///
    /// # Panics
    ///
    /// One of them did.
    #[track_caller]
    pub fn finish(&mut self, people: People) {
        let said = people.thread.join().expect("people do not panic");
        self.fresh.extend(said.operations.iter().filter_map(|operation| match operation.outcome {
            Outcome::Ok(id) => Some(id),
            Outcome::Fail | Outcome::Unknown => None,
        }));
        self.operations.extend(said.operations);
        self.refused.extend(said.refused);
    }

    /// Posts that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.operations.iter().filter(|operation| matches!(operation.outcome, Outcome::Ok(_))).count()
    }

    /// Posts that nobody answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.operations.iter().filter(|operation| operation.outcome == Outcome::Unknown).count()
    }

    /// Why posts were refused.
    #[must_use]
    pub fn refused(&self) -> &[Error] {
        &self.refused
    }

    /// Checks everything that peers hold in the end: each acknowledged post is there once, in order, as it was said,
    /// and nothing that nobody said.
    ///
    /// # Panics
    ///
    /// A promise is broken.
    #[track_caller]
    pub fn check(&self, peers: &[&TestPeer]) {
        check_end(&self.operations, peers);
    }

    /// The same where people talked at another daemon too.
    ///
    /// # Panics
    ///
    /// A promise is broken.
    #[track_caller]
    pub fn check_with(&self, other: &Self, peers: &[&TestPeer]) {
        check_end(&[&self.operations[..], &other.operations].concat(), peers);
    }

    /// Checks what a peer shows while posts may be missing: nothing is altered, and nothing was never said.
    ///
    /// # Panics
    ///
    /// A promise is broken.
    #[track_caller]
    pub fn check_shown(&self, peer: &TestPeer) {
        self.check_shown_but(peer, "");
    }

    /// The same, leaving out what somebody else said.
    ///
    /// # Panics
    ///
    /// A promise is broken.
    #[track_caller]
    pub fn check_shown_but(&self, peer: &TestPeer, text: &str) {
        let mut posts = peer.posts();
        posts.retain(|post| post.text != text);
        self.check_posts(&posts);
    }

    /// The same with posts that were read already.
    ///
    /// # Panics
    ///
    /// A promise is broken.
    #[track_caller]
    pub fn check_posts(&self, posts: &[v1::Post]) {
        panic_on(&checker::check_content(&self.operations, &history("it", posts)));
    }

    /// Checks that what was acknowledged since the last look is among these posts, or was seen before.
    ///
    /// # Panics
    ///
    /// One is not.
    #[track_caller]
    pub fn check_kept(&mut self, posts: &[v1::Post]) {
        self.shown.extend(posts.iter().map(|post| post_id(post.id.as_ref())));
        let fresh = std::mem::take(&mut self.fresh);
        let lost: Vec<String> = fresh.difference(&self.shown).map(ToString::to_string).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {}", lost.join(", "));
    }
}

#[track_caller]
fn check_end(operations: &[Operation], peers: &[&TestPeer]) {
    let histories: Vec<History> = peers.iter().map(|peer| history(peer.id(), &peer.posts())).collect();
    let mut violations = checker::check_acks(operations);
    violations.extend(check_sessions(operations));
    violations.extend(checker::check_end(operations, &histories));
    for history in &histories {
        violations.extend(checker::check_stream(history));
        violations.extend(checker::check_whole(history, Begins::AtTheFirst));
        violations.extend(checker::check_content(operations, history));
    }
    panic_on(&violations);
}

impl People {
    /// Asks them to stop, and lets them finish.
    pub fn stop(&self) {
        self.signs.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until they had this many answers, or are gone.
    ///
    /// # Panics
    ///
    /// They get none.
    #[track_caller]
    pub fn wait_for_answers(&self, count: u64) {
        eventually(PATIENCE, "the people are answered", || {
            self.signs.answers.load(Ordering::Relaxed) >= count || self.signs.are_gone.load(Ordering::Relaxed)
        });
    }
}

/// A peer's posts as the judge takes them.
///
/// # Panics
///
/// A post has no proper id.
#[must_use]
#[track_caller]
pub fn history(peer: &str, posts: &[v1::Post]) -> History {
    let shown = posts.iter().map(|post| Shown {
        offset: Offset(post.offset),
        id: post_id(post.id.as_ref()),
        key: Some(post.key.clone()).filter(|key| !key.is_empty()),
        room: post.room.clone(),
        text: post.text.clone(),
        was: post.was.as_ref().map(|was| post_id(Some(was))),
        forked: post.forked,
        late: post.late,
    });
    History { peer: peer.chars().take(8).collect(), posts: shown.collect(), gaps: Vec::new() }
}

#[track_caller]
fn post_id(id: Option<&v1::PostId>) -> PostId {
    let id = id.expect("every post has an id");
    let author = id.author.parse().expect("an author's id");
    PostId { feed: Instance { id: author, epoch: Epoch(id.epoch) }, seq: Seq(id.seq) }
}

/// Also with keys a person's posts stand in the order in which they were said: what is new gets a higher number.
fn check_sessions(operations: &[Operation]) -> Vec<Violation> {
    let mut newest: BTreeMap<(PeerId, u64), PostId> = BTreeMap::new();
    let mut violations = Vec::new();
    for operation in operations {
        let Outcome::Ok(id) = operation.outcome else { continue };
        if newest.insert((operation.author, operation.session), id).is_some_and(|before| before >= id) {
            violations.push(Violation::AckOrder { id });
        }
    }
    violations
}

#[track_caller]
fn panic_on(violations: &[Violation]) {
    let shown: Vec<String> = violations.iter().take(VIOLATIONS_SHOWN).map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} promises are broken:\n{}", violations.len(), shown.join("\n"));
}

/// One of the people.
struct Person {
    author: PeerId,
    session: u64,
    gives_keys: bool,
    /// How likely a text is long: so the log of the database is moved into its file now and then.
    long: f64,
    dice: Dice,
    again: Vec<Operation>,
    said: Said,
}

fn talk(socket: PathBuf, persons: Vec<Person>, signs: &Signs) -> Said {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let endpoint = Endpoint::Unix(socket);
        let client = match Client::connect(&endpoint, None, PATIENCE).await {
            Ok(client) => client,
            // The daemon is gone already: what waited for an answer still does.
            Err(_) => return merge(persons.into_iter().map(Person::give_up)),
        };
        merge(futures_util::future::join_all(persons.into_iter().map(|person| person.talk(&client, signs))).await)
    })
}

fn merge(all: impl IntoIterator<Item = Said>) -> Said {
    all.into_iter().fold(Said::default(), |mut merged, said| {
        merged.operations.extend(said.operations);
        merged.refused.extend(said.refused);
        merged
    })
}

impl Person {
    fn give_up(mut self) -> Said {
        self.said.operations.append(&mut self.again);
        self.said
    }

    /// Says one thing after the other until nobody answers.
    async fn talk(mut self, client: &Client, signs: &Signs) -> Said {
        let mut number = 0;
        while !signs.stop.load(Ordering::Relaxed) {
            number += 1;
            let mut operation = if self.again.is_empty() { self.next(number) } else { self.again.remove(0) };
            let sent = client.chat().send(request(&operation)).await;
            operation.outcome = match sent {
                Ok(sent) => Outcome::Ok(post_id(sent.into_inner().id.as_ref())),
                Err(status) => self.refused(status.into()),
            };
            signs.answers.fetch_add(1, Ordering::Relaxed);
            let is_over = operation.outcome == Outcome::Unknown;
            self.said.operations.push(operation);
            if is_over {
                break;
            }
        }
        self.give_up()
    }

    /// What nothing is known of may have been stored; what is refused was not.
    fn refused(&mut self, error: Error) -> Outcome {
        match error.code {
            Code::StoreFailed => {
                self.said.refused.push(error);
                Outcome::Fail
            }
            _ => Outcome::Unknown,
        }
    }

    fn next(&mut self, number: u64) -> Operation {
        let name = format!("{}.{number}", self.session);
        let len = if self.dice.chance(self.long) { self.dice.between(1, 16_000) } else { 0 };
        let text = format!("{name} {}", "x".repeat(usize::try_from(len).unwrap_or(0)));
        let key = self.gives_keys.then(|| name.clone());
        let (author, session, room) = (self.author, self.session, "general".to_owned());
        Operation { author, session, key, room, text, outcome: Outcome::Unknown }
    }
}

fn request(operation: &Operation) -> v1::SendRequest {
    let (room, text) = (operation.room.clone(), operation.text.clone());
    let key = operation.key.clone().unwrap_or_default();
    v1::SendRequest { post: Some(v1::Outgoing { room, text, key, ..v1::Outgoing::default() }) }
}

const VIOLATIONS_SHOWN: usize = 10;
