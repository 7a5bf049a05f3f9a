//! From the mesh's types to the messages of the API, and back.

use p2p_mesh::effect::{Delivery, Refusal, Sent};
use p2p_mesh::envelope::{CHAT, NETWORK, Post};
use p2p_mesh::id::{Epoch, INTEGER_END, Instance, Offset, PeerId, PostId, Seq};
use p2p_mesh::input::Draft;
use p2p_mesh::status::{GraphPeer, PeerState, PeerStatus};
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;

use super::ask::{stopping, store_failed};
use crate::letters::{Letters, Opened};
use crate::names::{Names, NoteError};
use crate::query::{RoomSummary, StoredPost};

/// With whose eyes our user sees posts: what he calls peers, and which letters he can open.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) names: Names,
    pub(super) letters: Letters,
}

pub(super) fn graph_peer(peer: GraphPeer, names: &Names) -> v1::GraphPeer {
    let called = names.called(&peer.id);
    v1::GraphPeer {
        id: peer.id.to_string(),
        name: called.name,
        petname: called.petname,
        told: peer.neighbors.is_some(),
        neighbors: peer.neighbors.unwrap_or_default().iter().map(ToString::to_string).collect(),
        strangers: count(peer.strangers),
    }
}

/// None where our user must not see it: daemons tell it each other, or others say it to each other alone.
pub(super) fn stored_post(stored: &StoredPost, view: &View) -> Option<v1::Post> {
    let author = &stored.id.feed.id;
    let marks = Marks { at_ms: stored.at.ms, own: stored.own, late: stored.late, forked: stored.forked };
    let mut post = of_author(author, marks, &view.names);
    (post.id, post.offset) = (Some(post_id(stored.id)), stored.offset.0);
    say(&mut post, &stored.post, author, view).then_some(post)
}

/// What is told of a post beside what was said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) at_ms: u64,
    pub(super) own: bool,
    pub(super) late: bool,
    pub(super) forked: bool,
}

/// What all posts of an envelope have in common.
pub(super) fn of_author(author: &PeerId, marks: Marks, names: &Names) -> v1::Post {
    let called = names.called(author);
    v1::Post {
        author_name: called.name,
        author_petname: called.petname,
        author_name_owner: called.owner.map(|owner| owner.to_string()).unwrap_or_default(),
        time_us: time_us(marks.at_ms),
        own: marks.own,
        late: marks.late,
        forked: marks.forked,
        ..v1::Post::default()
    }
}

/// Puts what was said into a message, in the place of what was said in it before. False where others say it to each other
/// alone, or daemons do; then it is as it was.
pub(super) fn say(message: &mut v1::Post, post: &Post, author: &PeerId, view: &View) -> bool {
    if post.kind == NETWORK {
        return false;
    }
    let opened = post.direct.as_ref().map(|letter| (letter, view.letters.open(author, letter)));
    if let Some((_, Opened::NotOurs)) = opened {
        return false;
    }
    put(&mut message.kind, &post.kind);
    put(&mut message.room, &post.room);
    put(&mut message.text, &post.text);
    put(&mut message.key, post.key.as_deref().unwrap_or_default());
    let id_of = |id: &Option<Box<PostId>>| id.as_deref().copied().map(post_id);
    (message.re, message.was) = (id_of(&post.re), id_of(&post.was));
    message.unsupported = post.kind != CHAT;
    let was_direct = std::mem::replace(&mut message.direct, opened.is_some());
    if was_direct || message.direct {
        let called = opened.as_ref().map(|(letter, _)| (letter.to.to_string(), view.names.called(&letter.to)));
        let (to, called) = called.unwrap_or_default();
        (message.to, message.to_name, message.to_petname) = (to, called.name, called.petname);
        message.unreadable = matches!(opened, Some((_, Opened::Unreadable)));
    }
    if let Some((_, opened)) = opened {
        message.room.clear();
        message.unsupported = false;
        message.text = if let Opened::Text(text) = opened { text } else { String::new() };
    }
    true
}

/// Without giving back the memory that is there already.
fn put(field: &mut String, text: &str) {
    field.clear();
    field.push_str(text);
}

pub(super) fn post_id(id: PostId) -> v1::PostId {
    v1::PostId { author: id.feed.id.to_string(), epoch: id.feed.epoch.0, seq: id.seq.0 }
}

pub(super) fn sent(sent: &Sent) -> v1::SendResponse {
    v1::SendResponse {
        id: Some(post_id(sent.id)),
        offset: sent.offset.0,
        time_us: time_us(sent.at.ms),
        repeated: sent.repeated,
    }
}

/// What shall be said. Whether it may be said is for the mesh to decide.
pub(super) fn draft(post: v1::Outgoing, default_room: &str) -> Result<Draft, Error> {
    let room = if post.room.is_empty() { default_room.to_owned() } else { post.room };
    let re = post.re.map(|re| parse_post_id(re, "the answered post")).transpose()?;
    let key = Some(post.key).filter(|key| !key.is_empty());
    Ok(Draft { room, text: post.text, re, key, direct: None, is_network: false })
}

/// The peer whose letters are asked for; none where it is empty.
pub(super) fn parse_with(with: &str, is_in_room: bool) -> Result<Option<PeerId>, Error> {
    if !with.is_empty() && is_in_room {
        return Err(invalid("direct messages are in no room").with_hint("ask for a room, or for a peer"));
    }
    if with.is_empty() { Ok(None) } else { parse_peer_id(with).map(Some) }
}

/// `which` says in an error which post is meant.
pub(super) fn parse_post_id(id: v1::PostId, which: &str) -> Result<PostId, Error> {
    let author = parse_peer_id(&id.author)?;
    for (what, number) in [("epoch", id.epoch), ("seq", id.seq)] {
        if number >= INTEGER_END {
            return Err(invalid(format!("{what} {number} of {which} is over the limit of 2^53 - 1")));
        }
    }
    Ok(PostId { feed: Instance { id: author, epoch: Epoch(id.epoch) }, seq: Seq(id.seq) })
}

pub(super) fn parse_peer_id(text: &str) -> Result<PeerId, Error> {
    text.parse().map_err(|why| {
        let shown: String = text.chars().take(64).collect();
        invalid(format!("{shown:?} is no peer id: {why}"))
            .with_hint("a peer id is the 52 characters of: p2pctl peers -o wide")
    })
}

pub(super) fn refusal(refusal: &Refusal) -> Error {
    let why = refusal.to_string();
    match refusal {
        Refusal::Empty => Error::new(Code::TextEmpty, why).with_hint("say something: p2pctl send hello"),
        Refusal::TooLong { limit, .. } => {
            Error::new(Code::TextTooLong, why).with_hint(format!("send it in parts of at most {limit} bytes"))
        }
        Refusal::Nul => Error::new(Code::TextInvalid, why).with_hint("p2pctl send -0 splits at U+0000"),
        Refusal::Reply => Error::new(Code::InvalidArgument, why).with_hint("copy the id that p2pctl history shows"),
        Refusal::Room(_) => Error::new(Code::RoomInvalid, why).with_hint("see which rooms there are: p2pctl rooms"),
        Refusal::KeyTooLong { .. } => Error::new(Code::KeyTooLong, why).with_hint("use a hash of it as the key"),
        Refusal::KeyReused { .. } => {
            Error::new(Code::KeyReused, why).with_hint("a new message needs a new key; the old one stays as it was")
        }
        Refusal::Busy { .. } => Error::new(Code::Busy, why).with_hint("send it again in a moment"),
        Refusal::Store(_) => store_failed(why),
        Refusal::Stopping => stopping(),
    }
}

pub(super) fn failed(error: Error) -> v1::SendResult {
    v1::SendResult { result: Some(v1::send_result::Result::Failed(error.into())) }
}

pub(super) fn result(result: &Result<Sent, Refusal>) -> v1::SendResult {
    match result {
        Ok(done) => v1::SendResult { result: Some(v1::send_result::Result::Sent(sent(done))) },
        Err(why) => failed(refusal(why)),
    }
}

pub(super) fn rooms(summaries: Vec<RoomSummary>, names: &Names) -> v1::RoomsResponse {
    let mut answer = v1::RoomsResponse::default();
    for summary in summaries {
        match summary.with {
            Some(peer) if names.is_blocked(&peer) => (),
            Some(peer) => answer.conversations.push(conversation(&peer, &summary, names)),
            None => answer.rooms.push(v1::Room {
                name: summary.name,
                posts: summary.posts,
                newest_us: time_us(summary.newest_ms),
            }),
        }
    }
    answer
}

fn conversation(peer: &PeerId, summary: &RoomSummary, names: &Names) -> v1::Conversation {
    let called = names.called(peer);
    v1::Conversation {
        peer: peer.to_string(),
        name: called.name,
        petname: called.petname,
        name_owner: called.owner.map(|owner| owner.to_string()).unwrap_or_default(),
        posts: summary.posts,
        newest_us: time_us(summary.newest_ms),
    }
}

/// Somebody of whom nothing is known but what our user noted.
pub(super) fn noted_peer(id: PeerId, names: &Names) -> v1::Peer {
    peer(PeerStatus { id: Some(id), outbound: false, ..PeerStatus::unknown(PeerState::Down) }, names)
}

/// Why nothing is noted of a peer. `shown` is how it is called here.
pub(super) fn note_error(error: &NoteError, names: &Names) -> Error {
    let why = error.to_string();
    match error {
        NoteError::Petname { .. } => {
            Error::new(Code::NameInvalid, why).with_hint("choose 1 to 32 characters that can be seen")
        }
        NoteError::Taken { owner, .. } => Error::new(Code::NameTaken, why)
            .with_hint(format!("choose another, or take it away: p2pctl peers name {owner} --remove")),
        NoteError::Configured(peer) => {
            Error::new(Code::InvalidArgument, format!("{} is blocked by the configuration", names.shown(peer)))
                .with_hint(format!("take {peer} out of `block`, and: p2pctl daemon reload"))
        }
        NoteError::Full => Error::new(Code::Busy, why).with_hint("take some away: p2pctl peers -a"),
        NoteError::NotKept(_) => store_failed(why),
    }
}

pub(super) fn peer(peer: PeerStatus, names: &Names) -> v1::Peer {
    let called = peer.id.map(|id| names.called(&id)).unwrap_or_default();
    v1::Peer {
        petname: called.petname,
        blocked: called.is_blocked,
        shut_out: called.is_shut_out,
        name_owner: called.owner.map(|owner| owner.to_string()).unwrap_or_default(),
        id: peer.id.map(|id| id.to_string()).unwrap_or_default(),
        name: peer.name,
        state: peer_state(peer.state).into(),
        rtt_us: peer.rtt_us.map_or(0, count),
        behind: peer.behind,
        address: peer.address,
        addresses: peer.addresses.iter().map(ToString::to_string).collect(),
        since_us: time_us(peer.since_ms),
        outbound: peer.outbound,
        bytes_sent: peer.bytes_sent,
        bytes_received: peer.bytes_received,
        posts_received: peer.posts_received,
        posts_duplicate: peer.posts_duplicate,
        queue_bytes: peer.queue_bytes,
        tries: peer.tries,
        next_dial_ms: peer.next_dial_ms.map_or(0, count),
        last_error: peer.last_error,
        agent: peer.agent,
        clock_offset_us: peer.clock_offset_us,
        epoch: peer.epoch.map_or(0, |epoch| epoch.0),
        configured: peer.configured,
        instances: count(peer.instances),
        forks: count(peer.forks),
        last_seen_us: time_us(peer.last_seen_ms),
    }
}

fn peer_state(state: PeerState) -> v1::PeerState {
    match state {
        PeerState::Up => v1::PeerState::Up,
        PeerState::Suspect => v1::PeerState::Suspect,
        PeerState::Dialing => v1::PeerState::Dialing,
        PeerState::Waiting => v1::PeerState::Waiting,
        PeerState::Down => v1::PeerState::Down,
    }
}

pub(super) fn invalid(why: impl Into<String>) -> Error {
    Error::new(Code::InvalidArgument, why)
}

/// Microseconds since 1970 from milliseconds; far-off clocks end at the end of time.
pub(super) fn time_us(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// The first whole millisecond that is not before `us`; the API's 0 stands for "no bound", as does all before 1970.
pub(super) fn bound_ms(us: i64) -> Option<u64> {
    u64::try_from(us).ok().filter(|us| *us > 0).map(|us| us.div_ceil(1_000))
}

/// A number that the API carries in 32 bits, because no real one needs more.
pub(super) fn count<N: TryInto<u32>>(number: N) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// The offset of an entry's last post.
pub(super) fn last_offset(entry: &Delivery) -> Offset {
    Offset(entry.offset.0.saturating_add(entry.envelope.body().posts.len() as u64 - 1))
}
