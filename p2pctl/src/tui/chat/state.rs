//! Everything that a chat is, apart from the terminal and the daemon: what happens goes in, what is to be done comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use p2p_proto::v1::{Outgoing, Peer, PeersResponse, Post, PostId, RoomsResponse, StatusResponse};

use super::editor::Editor;
use super::outbox::Outbox;
use super::panel::Panel;
use super::talk;
use super::timeline::{Older, Place, Timeline};
use crate::exit::Exit;
use crate::output::names::Names;

/// To be done for the chat, by whoever has the terminal and the daemon.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Effect {
    /// Fetch posts of a room. The answer carries this number; one to an older number is of no use any more.
    Load {
        load: u64,
        room: String,
        what: Wanted,
    },
    /// List the rooms.
    Rooms,
    /// Find posts of a room with these words, before the page of an earlier answer.
    Search {
        query: String,
        room: String,
        page: String,
    },
    /// Follow who holds these posts, and no others any more.
    Receipts(Vec<PostId>),
    /// Store this, however long it takes.
    Send(Outgoing),
    /// Clear the terminal and draw anew.
    Redraw,
    /// Give the terminal back until the user wants to go on.
    Suspend,
    Leave(Exit),
}

/// Which part of a room's history.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Wanted {
    Newest,
    /// Before a time, and those of that time that are not held.
    Older {
        time_us: i64,
        held: Vec<PostId>,
    },
    /// From a time on.
    Newer {
        time_us: i64,
    },
    /// On both sides of a time.
    Around {
        time_us: i64,
    },
}

/// Some posts of a room's history, oldest first.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Page {
    pub(super) posts: Vec<Post>,
    /// There are older ones.
    pub(super) is_more: bool,
    /// Posts of all rooms that are no longer held.
    pub(super) expired: u64,
    /// Everything up to this offset was looked at, as far as it is newer; none where there is more.
    pub(super) newest: Option<u64>,
}

/// What the user does.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Mode {
    Typing,
    /// Chooses the post to be answered.
    Choosing(Place),
    Looking(Panel),
}

/// Which line of which entry stands at the lower edge.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum View {
    /// The last line of all, also when more come.
    Newest,
    /// This entry, without so many of its last lines.
    At { place: Place, hidden: usize },
}

/// How the daemon is doing.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Reach {
    /// What was said meanwhile is still coming.
    CatchingUp,
    /// The same, after it was gone.
    Back,
    Live,
    /// It is linked to us and says nothing.
    Silent,
    /// It cannot be reached, for this reason.
    Gone(String),
}

/// What is known of one room.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) unread: u64,
    /// Everything up to this offset was read.
    pub(super) read: u64,
    /// What was typed there and not sent.
    draft: String,
    re: Option<Post>,
    /// The end of it, as far as it was seen and is not shown; for when the daemon is away.
    pub(super) kept: Timeline,
}

impl Room {
    /// Somebody spoke, and it is not shown.
    pub(super) fn keep(&mut self, post: Post) {
        self.kept.insert(post);
        self.kept.trim_to_end();
    }
}

/// Told in place of the status until the next key.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Notice {
    Told(String),
    Wrong(String),
}

/// How many others hold a post, and how many there are.
pub(super) type Holders = (usize, usize);

/// The whole chat.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) zone: TimeZone,
    pub(super) color: bool,
    /// The time of what happened last.
    pub(super) now: Timestamp,
    /// Columns and rows.
    pub(super) screen: (u16, u16),
    pub(super) me: String,
    pub(super) status: StatusResponse,
    pub(super) reach: Reach,
    /// Where `offset` was when the chat began.
    pub(super) began: u64,
    /// Everything up to here was seen.
    pub(super) offset: u64,
    pub(super) room: String,
    pub(super) rooms: BTreeMap<String, Room>,
    pub(super) peers: Vec<Peer>,
    pub(super) names: Names,
    /// Names as they are shown, of everybody who was seen; for completion.
    pub(super) people: BTreeSet<String>,
    pub(super) timeline: Timeline,
    pub(super) view: View,
    /// The first post that was not read yet.
    pub(super) unread: Option<Place>,
    /// The post that was jumped to, until the next key.
    pub(super) found: Option<Place>,
    /// Posts that came below the view.
    pub(super) below: u64,
    pub(super) editor: Editor,
    /// The post that is answered.
    pub(super) re: Option<Post>,
    pub(super) outbox: Outbox,
    pub(super) mode: Mode,
    pub(super) notice: Option<Notice>,
    /// What Tab goes through: the bytes it put before the cursor, and what else may stand there.
    pub(super) completion: Option<(usize, Vec<String>)>,
    /// By epoch and number of own posts.
    pub(super) holders: BTreeMap<(u64, u64), Holders>,
    followed: Vec<PostId>,
    /// The load whose answer is waited for.
    load: u64,
    pub(super) is_loading: bool,
    /// The user was told what he would lose, and may leave now.
    pub(super) is_warned: bool,
    effects: VecDeque<Effect>,
}

impl Chat {
    /// In a room, of which nothing is known yet. `key` is the start of the keys of all messages of this run.
    pub(super) fn new(status: StatusResponse, room: String, key: String, offset: u64) -> Self {
        let mut chat = Self {
            zone: TimeZone::UTC,
            color: false,
            now: Timestamp::UNIX_EPOCH,
            screen: (80, 24),
            me: status.id.clone(),
            reach: Reach::CatchingUp,
            offset,
            began: offset,
            rooms: BTreeMap::new(),
            peers: Vec::new(),
            names: Names::default(),
            people: BTreeSet::new(),
            timeline: Timeline::default(),
            view: View::Newest,
            unread: None,
            found: None,
            below: 0,
            editor: Editor::default(),
            re: None,
            outbox: Outbox::new(key),
            mode: Mode::Typing,
            notice: None,
            completion: None,
            holders: BTreeMap::new(),
            followed: Vec::new(),
            load: 0,
            is_loading: false,
            is_warned: false,
            effects: VecDeque::new(),
            room: room.clone(),
            status,
        };
        chat.know(&chat.status.name.clone(), &chat.status.id.clone());
        chat.know_room(&room);
        chat.load(Wanted::Newest);
        chat
    }

    /// The next thing to be done.
    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.follow_receipts();
        self.effects.pop_front()
    }

    pub(super) fn handle_resize(&mut self, columns: u16, rows: u16) {
        self.screen = (columns, rows);
        self.completion = None;
    }

    pub(super) fn handle_status(&mut self, status: Result<StatusResponse, String>) {
        // Whether the daemon can be reached is told by the stream of posts alone: there it is known what was missed.
        let Ok(status) = status else { return };
        self.know(&status.name, &status.id);
        let changes = |status: &StatusResponse| status.counters.get(ROTATIONS).copied();
        if changes(&status) > changes(&self.status) && changes(&self.status).is_some() {
            self.tell("the network's secret was changed: p2pctl network");
        }
        self.status = status;
    }

    pub(super) fn handle_peers(&mut self, peers: Result<PeersResponse, String>) {
        let Ok(peers) = peers else { return };
        self.peers = peers.peers.into_iter().filter(|peer| !peer.id.is_empty()).collect();
        for peer in self.peers.clone() {
            self.names.add_peer(&peer);
            self.know(&peer.name, &peer.id);
        }
    }

    /// Nothing comes any more, for this reason.
    pub(super) fn handle_gone(&mut self, why: String) {
        // It stands where a notice does.
        if let (Reach::CatchingUp | Reach::Back | Reach::Live | Reach::Silent, Some(Notice::Told(_))) =
            (&self.reach, &self.notice)
        {
            self.notice = None;
        }
        self.reach = Reach::Gone(why);
        self.show_kept();
    }

    /// It says less than it does where nothing happens.
    pub(super) fn handle_silence(&mut self) {
        if self.reach == Reach::Live {
            self.reach = Reach::Silent;
            self.show_kept();
        }
    }

    /// Remembers the end of a room that is not shown any more. An older part would have a hole behind it.
    pub(super) fn keep_end(&mut self, room: &str, seen: Timeline) {
        if let Some(room) = self.rooms.get_mut(room).filter(|_| seen.is_live()) {
            room.kept = seen;
            room.kept.trim_to_end();
        }
    }

    /// What is shown here reaches to the newest post, so nothing beside it has to.
    pub(super) fn forget_kept(&mut self) {
        if let Some(room) = self.rooms.get_mut(&self.room) {
            room.kept = Timeline::default();
        }
    }

    /// Nobody answers who could tell what was said here: what was seen of it is better than nothing.
    fn show_kept(&mut self) {
        let is_awaited = self.timeline.older == Older::Loading && self.timeline.is_live();
        if let Some(room) = self.rooms.get_mut(&self.room).filter(|_| is_awaited) {
            self.timeline.merge(std::mem::take(&mut room.kept));
        }
    }

    pub(super) fn handle_rooms(&mut self, rooms: &RoomsResponse) {
        rooms.rooms.iter().filter(|room| talk::is_room(&room.name)).for_each(|room| self.know_room(&room.name));
        rooms.conversations.iter().for_each(|with| self.know_room(&talk::between(&with.peer)));
    }

    /// Goes to a room, and keeps what was typed in the one before.
    pub(super) fn join(&mut self, room: &str) {
        if room == self.room {
            return;
        }
        self.know_room(room);
        let offset = self.offset;
        let left = std::mem::replace(&mut self.room, room.to_owned());
        let (draft, re) = (self.editor.replace(String::new()), self.re.take());
        let seen = std::mem::take(&mut self.timeline);
        if let Some(left) = self.rooms.get_mut(&left) {
            (left.draft, left.re, left.read, left.unread) = (draft, re, offset, 0);
        }
        self.keep_end(&left, seen);
        self.enter();
    }

    fn enter(&mut self) {
        if let Some(room) = self.rooms.get_mut(&self.room) {
            self.editor.replace(std::mem::take(&mut room.draft));
            self.re = room.re.take();
            room.unread = 0;
        }
        (self.mode, self.unread) = (Mode::Typing, None);
        (self.view, self.below) = (View::Newest, 0);
        self.reload();
    }

    /// Nothing that is asked for now is answered soon.
    pub(super) fn is_away(&self) -> bool {
        match self.reach {
            Reach::Gone(_) | Reach::Silent => true,
            Reach::CatchingUp | Reach::Back | Reach::Live => false,
        }
    }

    /// Shows the newest posts, and follows them.
    pub(super) fn go_to_newest(&mut self) {
        (self.view, self.below) = (View::Newest, 0);
        if !self.timeline.is_live() {
            self.reload();
        }
    }

    fn reload(&mut self) {
        self.timeline = Timeline::default();
        self.load(Wanted::Newest);
        if self.is_away() {
            self.show_kept();
        }
    }

    /// Whoever asks again does not want the answer before any more.
    pub(super) fn load(&mut self, what: Wanted) {
        self.load += 1;
        self.is_loading = true;
        self.push(Effect::Load { load: self.load, room: self.room.clone(), what });
    }

    pub(super) fn is_wanted(&self, load: u64) -> bool {
        self.load == load
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(super) fn tell(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice::Told(text.into()));
    }

    pub(super) fn complain(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice::Wrong(text.into()));
    }

    /// The member's name as it is shown.
    pub(super) fn name(&self, name: &str, id: &str) -> String {
        self.names.show(name, id)
    }

    pub(super) fn know(&mut self, name: &str, id: &str) {
        let shown = self.names.add_and_show(name, id);
        if self.people.len() < PEOPLE_MAX {
            self.people.insert(shown);
        }
    }

    /// A room that nobody opened was read up to where this run began.
    pub(super) fn know_room(&mut self, room: &str) {
        if !self.rooms.contains_key(room) && self.rooms.len() < ROOMS_MAX {
            let read = self.offset;
            self.rooms.insert(room.to_owned(), Room { read, ..Room::default() });
        }
    }

    /// What was typed and is not known to be stored: rooms and texts.
    pub(super) fn unsent(&self) -> Vec<(String, String)> {
        let sent = self.outbox.iter().map(|message| (talk::of_unsent(&message.post), message.post.text.clone()));
        let drafts = self.rooms.iter().map(|(name, room)| (name.clone(), room.draft.clone()));
        let typed = (self.room.clone(), self.editor.text().to_owned());
        let all = sent.chain(drafts).chain(std::iter::once(typed));
        let typed = all.filter(|(_, text)| !text.trim().is_empty());
        typed.map(|(talk, text)| (self.title(&talk), text)).collect()
    }

    /// Asks who holds the own posts that are seen, as long as not everybody does.
    fn follow_receipts(&mut self) {
        let wanted = self.undelivered();
        if wanted.iter().all(|id| self.followed.contains(id)) && (!wanted.is_empty() || self.followed.is_empty()) {
            return;
        }
        self.followed.clone_from(&wanted);
        self.push(Effect::Receipts(wanted));
    }

    fn undelivered(&self) -> Vec<PostId> {
        let shown = self.visible();
        let own = shown.iter().rev().filter_map(|at| self.timeline.post(*at)).filter(|post| post.own);
        let ids = own.filter_map(|post| post.id.clone());
        ids.filter(|id| !self.is_everywhere(id)).take(FOLLOWED_MAX).collect()
    }

    fn is_everywhere(&self, id: &PostId) -> bool {
        self.holders.get(&(id.epoch, id.seq)).is_some_and(|(holders, known)| holders == known && *known > 0)
    }
}

/// Members for completion: more than a mesh has.
const PEOPLE_MAX: usize = 4_000;
/// Rooms in the list; a daemon may be told of more.
const ROOMS_MAX: usize = 1_000;
/// The API takes 256.
const FOLLOWED_MAX: usize = 64;
/// How often somebody changed the secret of the network, as the daemon counts it since its start.
const ROTATIONS: &str = "network_rotations_total";
