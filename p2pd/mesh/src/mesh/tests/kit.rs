//! One real mesh in the hands of a test: its store answers, its sockets take what is sent, and its clock stands still
//! until the test moves it. Whatever the mesh does is checked against the rules that hold always.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::disk::{Mood, Question, Store};
use crate::config::{Config, Setup};
use crate::effect::{Append, Delivery, Effect, Event, Refusal, Sent};
use crate::envelope::{Body, Envelope, Post, Stamp, VerifiedEnvelope};
use crate::feed::IntervalSet;
use crate::id::{DialId, Epoch, FeedId, Hash, Instance, LinkId, Offset, PeerId, Seq};
use crate::input::{CloseReason, Command, DialFailure, Draft, Input, LinkOpened};
use crate::limits::{FRAME_LEN_MAX, NEWEST_FIRST_POSTS};
use crate::membership::record::{Addr, Record};
use crate::mesh::Mesh;
use crate::status::Count;
use crate::time::{Mono, Now};
use crate::wire::frame::PREFIX_LEN;
use crate::wire::message::{Digest, Envelopes, Head, Heads, Hello, Message, Ping, Pong, Role};

/// One mesh, and everything outside of it but the other peers.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) mesh: Mesh,
    pub(super) store: Store,
    /// Bytes not yet written, of links whose socket takes nothing: the other side does not read, or the cable is out.
    stuck: BTreeMap<LinkId, usize>,
    pub(super) now: Now,
    /// What was done and not yet taken by the test.
    pub(super) effects: Vec<Effect>,
    next_link: u64,
    /// Which peer it is, and how many epochs it drew.
    number: u8,
    epochs: u64,
    /// The numbers delivered of each feed.
    delivered: BTreeMap<FeedId, IntervalSet>,
}

pub(super) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(super) fn id(n: u8) -> PeerId {
    PeerId(key(n).verifying_key().to_bytes())
}

/// The only run of peer `n`.
pub(super) fn run(n: u8) -> Instance {
    Instance { id: id(n), epoch: EPOCH }
}

pub(super) fn addr(n: u8) -> Addr {
    format!("10.0.0.{n}:8080").parse().unwrap()
}

pub(super) fn record(n: u8) -> Record {
    Record::sign(&key(n), 5, &[addr(n)], &format!("peer{n}"), EPOCH)
}

pub(super) fn hello(n: u8) -> Hello {
    Hello {
        proto: (1, 1),
        epoch: EPOCH,
        agent: "test/1".into(),
        observed: "10.0.0.1:1".into(),
        caps: Vec::new(),
        dial: 1,
        role: Role::Peer,
        time: at(0).unix_ms,
        record: record(n),
    }
}

/// The moment `ms` after the tests' beginning of time.
pub(super) fn at(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000), unix_ms: UNIX_MS + ms }
}

pub(super) fn stamp(ms: u64) -> Stamp {
    Stamp { ms: at(ms).unix_ms, counter: 0 }
}

pub(super) fn config(n: u8) -> Config {
    Config {
        name: format!("peer{n}"),
        agent: "test/1".into(),
        listen_port: 8080,
        listens_on_loopback: false,
        advertise: vec![addr(n)],
        peers: Vec::new(),
        max_connections: 50,
        heartbeat_interval: Duration::from_secs(30),
        heartbeat_timeout: Duration::from_secs(5),
        full_mesh_max: 32,
        reorder_posts_max: 256,
        newest_first_posts: NEWEST_FIRST_POSTS,
        allow: BTreeSet::new(),
        block: BTreeSet::new(),
    }
}

pub(super) fn draft(text: &str) -> Draft {
    Draft { room: "general".into(), text: text.into(), re: None, key: None, direct: None, is_network: false }
}

pub(super) fn keyed(text: &str, key: &str) -> Draft {
    Draft { key: Some(key.into()), ..draft(text) }
}

/// The envelope of one post, signed by peer `n` in its run `epoch`.
pub(super) fn envelope(n: u8, epoch: u64, first: u64, prev: Option<Hash>, text: &str) -> VerifiedEnvelope {
    sealed(n, epoch, first, prev, &[text])
}

pub(super) fn sealed(n: u8, epoch: u64, first: u64, prev: Option<Hash>, texts: &[&str]) -> VerifiedEnvelope {
    let feed = Instance { id: id(n), epoch: Epoch(epoch) };
    let posts = texts.iter().map(|text| Post::chat("general", text)).collect();
    Body { feed, first: Seq(first), prev, at: stamp(first), posts }.sign(&key(n))
}

/// A feed of `count` envelopes with `texts` in each.
pub(super) fn chain(n: u8, epoch: u64, count: u64, texts: &[&str]) -> Vec<VerifiedEnvelope> {
    let mut chain: Vec<VerifiedEnvelope> = Vec::new();
    for place in 0..count {
        let prev = chain.last().map(|last| last.hash());
        chain.push(sealed(n, epoch, place * texts.len() as u64 + 1, prev, texts));
    }
    chain
}

pub(super) fn pushed(envelopes: &[VerifiedEnvelope]) -> Message {
    carried(envelopes, true)
}

pub(super) fn repaired(envelopes: &[VerifiedEnvelope]) -> Message {
    carried(envelopes, false)
}

fn carried(envelopes: &[VerifiedEnvelope], live: bool) -> Message {
    let items = envelopes.iter().map(|envelope| Envelope::clone(envelope)).collect();
    Message::Envelopes(Envelopes { items, hop: 0, live, more: false })
}

/// All heads of a peer that holds exactly these feeds.
pub(super) fn heads(feeds: &[Vec<VerifiedEnvelope>]) -> Message {
    let head = |feed: &Vec<VerifiedEnvelope>| {
        let last = feed.last().expect("a feed that is held is not empty");
        Head { feed: last.feed(), floor: Seq(1), head: last.last(), hash: last.hash().0[..8].try_into().unwrap() }
    };
    Message::Heads(Heads { part: 0, of: 1, heads: feeds.iter().map(head).collect() })
}

/// The answer of a peer that holds something else.
pub(super) fn other_digest(ping: &Ping) -> Message {
    Message::Pong(Pong { n: ping.n, t: ping.t, r: ping.t, digest: Digest { fingerprint: [9; 16], feeds: 1, holes: 0 } })
}

/// What a peer says that is there, holds the same, and wants nothing.
pub(super) fn content(message: &Message) -> Vec<Message> {
    let Message::Ping(ping) = message else { return Vec::new() };
    vec![Message::Pong(Pong { n: ping.n, t: ping.t, r: ping.t, digest: ping.digest })]
}

/// The texts of some deliveries, in order.
pub(super) fn texts(deliveries: &[Delivery]) -> Vec<String> {
    let posts = deliveries.iter().flat_map(|delivery| &delivery.envelope.body().posts);
    posts.map(|post| post.text.to_string()).collect()
}

/// The texts of the envelopes among some messages, in order.
pub(super) fn texts_said(messages: &[Message]) -> Vec<String> {
    let envelopes = messages.iter().filter_map(|message| match message {
        Message::Envelopes(envelopes) => Some(&envelopes.items),
        _ => None,
    });
    envelopes.flatten().flat_map(|item| &item.body().posts).map(|post| post.text.to_string()).collect()
}

impl Peer {
    /// Peer `n` with nothing configured and nothing stored.
    pub(super) fn new(n: u8) -> Self {
        Self::with(n, |_| ())
    }

    pub(super) fn with(n: u8, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(n);
        change(&mut config);
        Self::start(n, config, &[], Vec::new())
    }

    /// Peer `n` as it starts with envelopes on its disk and records in its book.
    pub(super) fn start(n: u8, config: Config, disk: &[VerifiedEnvelope], book: Vec<(Record, u64)>) -> Self {
        let store = Store::holding(disk);
        let next_offset =
            Offset(store.stored.iter().map(|held| held.envelope.body().posts.len() as u64).sum::<u64>() + 1);
        let setup = Setup {
            key: key(n),
            epoch: EPOCH,
            config,
            feeds: store.feeds(),
            forks: Vec::new(),
            next_offset,
            book,
            forgotten: Vec::new(),
            seed: u64::from(n),
        };
        let mut peer = Self {
            mesh: Mesh::new(setup, at(0)),
            delivered: store.feeds().iter().map(|feed| (feed.feed.feed_id(), feed.runs.held())).collect(),
            store,
            stuck: BTreeMap::new(),
            now: at(0),
            effects: Vec::new(),
            next_link: 1,
            number: n,
            epochs: 0,
        };
        peer.settle();
        peer
    }

    /// Peer `n` as it starts with envelopes on its disk that it said itself.
    pub(super) fn start_having_said(n: u8, config: Config, disk: &[VerifiedEnvelope]) -> Self {
        let mut peer = Self::start(n, config, disk, Vec::new());
        peer.store.say_all();
        peer
    }

    /// The same machine after a restart.
    pub(super) fn restarted(&self, epoch: u64) -> Self {
        let n = self.number;
        let next = self.store.stored.last().map_or(1, |held| held.offset.0 + held.envelope.body().posts.len() as u64);
        let setup = Setup {
            key: key(n),
            epoch: Epoch(epoch),
            config: config(n),
            feeds: self.store.feeds(),
            forks: self.store.forks.values().cloned().collect(),
            next_offset: Offset(next),
            book: Vec::new(),
            forgotten: Vec::new(),
            seed: 2,
        };
        let mut peer =
            Self { mesh: Mesh::new(setup, self.now), effects: Vec::new(), stuck: BTreeMap::new(), ..self.clone() };
        peer.settle();
        peer
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now.mono.0 / 1_000
    }

    /// One input, and everything that follows from it at once.
    pub(super) fn handle(&mut self, input: Input) {
        self.mesh.handle(input, self.now);
        self.settle();
    }

    pub(super) fn command(&mut self, command: Command) {
        self.handle(Input::Command(command));
    }

    /// Says some posts in one command.
    pub(super) fn publish(&mut self, token: u64, posts: Vec<Draft>) {
        self.command(Command::Publish { token, posts });
    }

    /// Says one post.
    pub(super) fn say(&mut self, text: &str) {
        self.publish(0, vec![draft(text)]);
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.now_ms() + ms;
        let mut steps_here = 0;
        while let Some(due) = self.mesh.poll_timeout().filter(|due| due.0.div_ceil(1_000) <= end) {
            let ms = due.0.div_ceil(1_000).max(self.now_ms());
            steps_here = if ms == self.now_ms() { steps_here + 1 } else { 0 };
            assert!(steps_here < 1_000, "the timers of one moment never end");
            self.timeout_at(at(ms));
        }
        self.now = at(end);
    }

    /// Lets time pass until something happens by itself, at the latest until the moment `end_ms`.
    pub(super) fn run_to_timer(&mut self, end_ms: u64) {
        let due = self.mesh.poll_timeout().map_or(end_ms, |due| due.0.div_ceil(1_000));
        self.run_for(due.min(end_ms).saturating_sub(self.now_ms()));
    }

    pub(super) fn timeout_at(&mut self, now: Now) {
        self.now = now;
        self.mesh.handle_timeout(now);
        self.settle();
    }

    /// Lets time pass while the other sides of the links answer what `script` gives, `ROUND_TRIP_MS` later.
    pub(super) fn converse(&mut self, ms: u64, mut script: impl FnMut(LinkId, &Message) -> Vec<Message>) {
        let end = self.now_ms() + ms;
        while self.now_ms() < end {
            let said = self.take_all_said();
            let answers: Vec<(LinkId, Message)> = said
                .iter()
                .flat_map(|(link, message)| script(*link, message).into_iter().map(|answer| (*link, answer)))
                .collect();
            if answers.is_empty() {
                self.run_to_timer(end);
                continue;
            }
            self.run_for(ROUND_TRIP_MS);
            for (link, answer) in answers {
                self.hear(link, &answer);
            }
        }
    }

    /// Peer `n` dialed, and both hellos are done.
    pub(super) fn accept(&mut self, n: u8) -> LinkId {
        self.accept_hello(n, hello(n))
    }

    pub(super) fn accept_hello(&mut self, n: u8, hello: Hello) -> LinkId {
        let link = self.open(n, None);
        self.hear(link, &Message::Hello(Box::new(hello)));
        link
    }

    /// A dial found peer `n`, and both hellos are done.
    pub(super) fn answer(&mut self, dial: DialId, n: u8) -> LinkId {
        let link = self.open(n, Some(dial));
        self.hear(link, &Message::Hello(Box::new(Hello { dial: 0, ..hello(n) })));
        link
    }

    /// A link is open, and the other side said nothing yet.
    pub(super) fn open(&mut self, n: u8, dial: Option<DialId>) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let remote = format!("10.0.0.{n}:50000").parse().unwrap();
        let local = "10.0.0.99".parse().unwrap();
        self.handle(Input::LinkOpened(LinkOpened { link, dial, peer: id(n), remote, local }));
        link
    }

    pub(super) fn close(&mut self, link: LinkId) {
        self.handle(Input::LinkClosed { link, reason: CloseReason::Closed });
    }

    pub(super) fn fail_dial(&mut self, dial: DialId, reason: DialFailure) {
        self.handle(Input::DialFailed { dial, reason, detail: format!("{reason:?}") });
    }

    /// A message arrives.
    pub(super) fn hear(&mut self, link: LinkId, message: &Message) {
        self.hear_bytes(link, message.encode().slice(PREFIX_LEN..));
    }

    /// A frame arrives, whatever is in it.
    pub(super) fn hear_bytes(&mut self, link: LinkId, frame: Bytes) {
        self.handle(Input::Frame { link, frame });
    }

    /// From now on a link's socket takes nothing.
    pub(super) fn block(&mut self, link: LinkId) {
        self.stuck.insert(link, 0);
    }

    /// A link's socket takes everything again.
    pub(super) fn unblock(&mut self, link: LinkId) {
        if let Some(bytes) = self.stuck.remove(&link) {
            self.handle(Input::Written { link, bytes });
        }
    }

    /// Bytes that a blocked link's socket did not take.
    pub(super) fn unwritten(&self, link: LinkId) -> usize {
        self.stuck.get(&link).copied().unwrap_or(0)
    }

    /// Takes what was said on a link.
    pub(super) fn said(&mut self, link: LinkId) -> Vec<Message> {
        self.take(|effect| match effect {
            Effect::Send { link: to, bytes } if *to == link => Some(read_frame(bytes)),
            _ => None,
        })
    }

    pub(super) fn take_all_said(&mut self) -> Vec<(LinkId, Message)> {
        self.take(|effect| match effect {
            Effect::Send { link, bytes } => Some((*link, read_frame(bytes))),
            _ => None,
        })
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        self.take(|effect| if let Effect::Event(event) = effect { Some(event.clone()) } else { None })
    }

    /// How often it said that a burst is over.
    pub(super) fn rests(&mut self) -> usize {
        self.take(|effect| matches!(effect, Effect::Rest).then_some(())).len()
    }

    /// Why links that were up went down, and links that came never were.
    pub(super) fn ends(&mut self) -> Vec<String> {
        let ends = self.events().into_iter().filter_map(|event| match event {
            Event::LinkDown { reason, .. } | Event::LinkRefused { reason, .. } => Some(reason),
            _ => None,
        });
        ends.collect()
    }

    /// What peers were found to do wrong.
    pub(super) fn offences(&mut self) -> Vec<String> {
        let what = self.events().into_iter().filter_map(|event| match event {
            Event::Misbehaved { what, .. } => Some(what),
            _ => None,
        });
        what.collect()
    }

    pub(super) fn dials(&mut self) -> Vec<(DialId, Addr, Option<PeerId>)> {
        self.take(|effect| match effect {
            Effect::Dial { dial, addr, expected } => Some((*dial, addr.clone(), *expected)),
            _ => None,
        })
    }

    /// The one dial that is under way.
    #[track_caller]
    pub(super) fn dial(&mut self) -> DialId {
        let dials = self.dials();
        assert_eq!(dials.len(), 1, "{dials:?}");
        dials[0].0
    }

    pub(super) fn published(&mut self) -> Vec<(u64, Vec<Result<Sent, Refusal>>)> {
        self.take(|effect| match effect {
            Effect::Published { token, results } => Some((*token, results.clone())),
            _ => None,
        })
    }

    pub(super) fn delivered(&mut self) -> Vec<Delivery> {
        self.take(|effect| if let Effect::Deliver(delivery) = effect { Some(delivery.clone()) } else { None })
    }

    pub(super) fn appends(&mut self) -> Vec<Append> {
        self.take(|effect| if let Effect::Append(append) = effect { Some(append.clone()) } else { None })
    }

    pub(super) fn ponged(&mut self) -> Vec<(u64, Option<u64>)> {
        self.take(|effect| match effect {
            Effect::Ponged { token, rtt_us } => Some((*token, *rtt_us)),
            _ => None,
        })
    }

    pub(super) fn hung_up(&mut self) -> Vec<LinkId> {
        self.take(|effect| if let Effect::Hangup(link) = effect { Some(*link) } else { None })
    }

    pub(super) fn count(&self, counter: &str) -> u64 {
        self.mesh.status().counters.get(counter).copied().unwrap_or(0)
    }

    /// Everything on the disk, in the order of arrival.
    pub(super) fn history(&self) -> Vec<String> {
        texts(&self.store.stored)
    }

    /// The same without what was set aside, and only that.
    pub(super) fn histories(&self) -> (Vec<String>, Vec<String>) {
        let (forked, kept): (Vec<Delivery>, _) = self.store.stored.iter().cloned().partition(|held| held.forked);
        (texts(&kept), texts(&forked))
    }

    /// A stranger comes, says something and goes.
    pub(super) fn visit(&mut self, n: u8, messages: &[Message]) {
        // Far from the numbers of other links.
        self.next_link = self.next_link.max(1 << 40);
        let link = self.accept(n);
        messages.iter().for_each(|message| self.hear(link, message));
        self.close(link);
    }

    /// The same machine again, from the same memory, without its links.
    pub(super) fn resumed_as(&self, number: u8) -> Self {
        let mut twin = Self { number, ..self.clone() };
        let links: Vec<LinkId> = twin.mesh.links.keys().copied().collect();
        links.into_iter().for_each(|link| twin.close(link));
        twin
    }

    /// The store answers the oldest question that waits, in the mood it is in now.
    #[track_caller]
    pub(super) fn store_answers(&mut self, mood: Mood) {
        let before = std::mem::replace(&mut self.store.mood, mood);
        let question = self.store.held.pop_front().expect("something waits for the store");
        let answer = self.store.answer(question).expect("the store is in no mood to wait");
        self.store.mood = before;
        self.handle(answer);
    }

    /// Takes some of the effects that nobody looked at yet.
    fn take<T>(&mut self, pick: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
        let mut taken = Vec::new();
        self.effects.retain(|effect| match pick(effect) {
            Some(picked) => {
                taken.push(picked);
                false
            }
            None => true,
        });
        taken
    }

    /// Carries out all effects, and those of their answers.
    fn settle(&mut self) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(effect) = self.mesh.poll_effect() {
                self.check(&effect);
                answers.extend(self.execute(&effect));
                self.effects.push(effect);
            }
            let Some(answer) = answers.pop_front() else { return self.check_bounds() };
            self.mesh.handle(answer, self.now);
        }
    }

    /// Every queue and map is within its limit.
    fn check_bounds(&self) {
        let over: Vec<Count> = self.mesh.census().into_iter().filter(Count::is_over).collect();
        assert!(over.is_empty(), "{over:?}");
    }

    fn execute(&mut self, effect: &Effect) -> Option<Input> {
        match effect {
            Effect::Send { link, bytes } => {
                let Some(waiting) = self.stuck.get_mut(link) else {
                    return Some(Input::Written { link: *link, bytes: bytes.len() });
                };
                *waiting += bytes.len();
                None
            }
            Effect::Append(append) => self.store.answer(Question::Append(append.clone())),
            Effect::Read { ticket, from } => {
                Some(Input::ReadDone { ticket: *ticket, envelopes: self.store.read(from) })
            }
            Effect::FindKeys { ticket, keys } => self.store.answer(Question::Find(*ticket, keys.clone())),
            Effect::Settle(settle) => {
                let answer = self.store.answer(Question::Settle(settle.clone()));
                if let Some(Input::Settled { settled, .. }) = &answer {
                    // What was set aside is no part of the order any more.
                    // What was given to the store just before is delivered behind this.
                    let delivered = self.delivered.entry(settled.left.feed.feed_id()).or_default();
                    let mut left = IntervalSet::default();
                    let held = settled.left.runs.iter().flat_map(|run| run.first.0..=run.tip.head.0).map(Seq);
                    held.filter(|seq| delivered.intersects(*seq, *seq)).for_each(|seq| left.insert(seq, seq));
                    *delivered = left;
                }
                answer
            }
            Effect::FindLost { ticket, after } => self.store.answer(Question::FindLost(*ticket, *after)),
            Effect::DrawEpoch => {
                // Whatever happens, two runs never draw the same one.
                self.epochs += 1;
                Some(Input::EpochDrawn(Some(Epoch(EPOCH.0 + u64::from(self.number) * 1_000 + self.epochs))))
            }
            Effect::RaiseFrameLimit(_)
            | Effect::Dial { .. }
            | Effect::Hangup(_)
            | Effect::SaveRecord { .. }
            | Effect::ForgetRecord(_)
            | Effect::Deliver(_)
            | Effect::Published { .. }
            | Effect::Ponged { .. }
            | Effect::Rest
            | Effect::Event(_) => None,
        }
    }

    /// What holds always: others can read what is sent; what is delivered is stored, in order and once.
    fn check(&mut self, effect: &Effect) {
        match effect {
            Effect::Send { bytes, .. } => {
                read_frame(bytes);
            }
            Effect::Deliver(delivery) => {
                let envelope = &delivery.envelope;
                let delivered = self.delivered.entry(envelope.feed_id()).or_default();
                assert!(!delivered.intersects(envelope.first(), envelope.last()), "delivered twice");
                let is_older = delivered.last().is_some_and(|last| last > envelope.last());
                assert!(delivery.late || !is_older, "delivered out of order and not said to be late");
                delivered.insert(envelope.first(), envelope.last());
                assert!(self.store.holds(envelope), "delivered before it was stored");
            }
            _ => (),
        }
    }
}

#[track_caller]
pub(super) fn read_frame(bytes: &Bytes) -> Message {
    let frame = bytes.slice(PREFIX_LEN..);
    assert!(frame.len() <= FRAME_LEN_MAX, "a frame of {} bytes", frame.len());
    let message = Message::decode(&frame);
    message.unwrap_or_else(|error| panic!("sent what nobody can read: {error}"))
}

pub(super) const EPOCH: Epoch = Epoch(1_000);
/// Between what is said and its answer, in a scripted conversation.
pub(super) const ROUND_TRIP_MS: u64 = 20;
const UNIX_MS: u64 = 1_800_000_000_000;
