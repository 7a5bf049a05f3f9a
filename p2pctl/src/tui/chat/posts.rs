//! What the daemon tells of posts: new ones, older ones, and what became of those that were typed here.

use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{Gap, HolderState, Post, Receipt, SearchResponse, SendResponse, WatchResponse};

use super::lines::gap_words;
use super::outbox::{Progress, Unsent};
use super::panel::Panel;
use super::state::{Chat, Effect, Mode, Page, Reach, View, Wanted};
use super::talk;
use super::timeline::{Older, Place, Side};

impl Chat {
    /// An item of the stream of all posts, or why it broke.
    pub(super) fn handle_watched(&mut self, watched: Result<WatchResponse, String>) {
        let response = match watched {
            Ok(response) => response,
            Err(why) => return self.handle_gone(why),
        };
        match self.reach {
            Reach::CatchingUp | Reach::Back | Reach::Live => (),
            Reach::Silent => self.reach = Reach::Live,
            Reach::Gone(_) => {
                self.reach = Reach::Back;
                self.push(Effect::Rooms);
            }
        }
        match response.item {
            Some(Item::Batch(batch)) => batch.posts.into_iter().for_each(|post| self.on_post(post)),
            Some(Item::CaughtUp(_)) => self.on_caught_up(),
            Some(Item::Gap(gap)) => self.on_gap(&gap),
            Some(Item::Heartbeat(_)) | None => (),
        }
        self.offset = self.offset.max(response.offset);
    }

    /// Told beside the posts too: it is in the history of all rooms, and this one may show an older part of its own.
    fn on_gap(&mut self, gap: &Gap) {
        self.complain(format!("{} of all rooms (see p2pctl status)", gap_words(gap.posts)));
        if self.timeline.is_live() {
            self.timeline.insert_gap(gap);
        }
        for room in self.rooms.values_mut().filter(|room| room.kept.len() > 0) {
            room.kept.insert_gap(gap);
            room.kept.trim_to_end();
        }
    }

    fn on_caught_up(&mut self) {
        if self.reach == Reach::Back && self.notice.is_none() {
            self.tell("the daemon is back: caught up");
        }
        self.reach = Reach::Live;
    }

    fn on_post(&mut self, post: Post) {
        self.know_author(&post);
        let Some(talk) = talk::of(&post) else { return };
        self.know_room(&talk);
        if post.own && !post.key.is_empty() {
            self.outbox.see(&post.key);
        }
        if talk == self.room {
            self.on_post_here(post);
        } else if let Some(room) = self.rooms.get_mut(&talk) {
            room.unread += u64::from(!post.own);
            room.keep(post);
        }
    }

    fn on_post_here(&mut self, post: Post) {
        let (place, is_own, offset) = (Place::of(&post), post.own, post.offset);
        if !self.timeline.is_live() {
            self.timeline.skip(offset);
            self.below += 1;
            if let Some(room) = self.rooms.get_mut(&self.room) {
                room.keep(post);
            }
            return;
        }
        let is_late = (post.late && self.view == View::Newest).then(|| self.late_words(&post));
        let Some(at) = self.timeline.insert(post) else { return };
        let is_last = at + 1 == self.timeline.len();
        match &self.view {
            View::Newest => self.timeline.trim(Side::Oldest),
            View::At { place: shown, .. } => {
                if place > *shown {
                    self.on_post_below(place);
                }
                self.timeline.trim(Side::Newest);
            }
        }
        if let Some(words) = is_late.filter(|_| !is_last && !is_own && !self.visible().contains(&at)) {
            self.tell(words);
        }
    }

    fn on_post_below(&mut self, place: Place) {
        if self.below == 0 {
            self.unread = Some(place);
        }
        self.below += 1;
    }

    fn late_words(&self, post: &Post) -> String {
        let name = self.name(&post.author_name, author(post));
        let clock = crate::output::time::clock(post.time_us, &self.zone);
        format!("late, above: {name} at {clock}")
    }

    /// Posts that were asked for, or why there are none.
    pub(super) fn handle_page(&mut self, load: u64, what: &Wanted, page: Result<Page, String>) {
        if !self.is_wanted(load) {
            return;
        }
        self.is_loading = false;
        let page = match page {
            Ok(page) => page,
            Err(why) => {
                self.timeline.older = Older::More;
                return self.complain(why);
            }
        };
        self.keep(what, &page);
        page.posts.iter().for_each(|post| self.know_author(post));
        for post in page.posts {
            self.timeline.insert(post);
        }
        self.timeline.trim(if let Wanted::Older { .. } = what { Side::Newest } else { Side::Oldest });
        match what {
            Wanted::Newest => {
                self.forget_kept();
                self.mark_unread();
            }
            Wanted::Older { .. } => (),
            Wanted::Newer { time_us } => self.on_newer(*time_us, page.newest),
            Wanted::Around { time_us } => {
                self.on_newer(*time_us, page.newest);
                // Below a hit stands what came of it.
                self.scroll_down(self.page() / 2);
            }
        }
    }

    /// What the answer says of what it does not hold.
    fn keep(&mut self, what: &Wanted, page: &Page) {
        match what {
            Wanted::Newest | Wanted::Older { .. } | Wanted::Around { .. } => {
                self.timeline.older = if page.is_more { Older::More } else { Older::End { expired: page.expired } };
            }
            Wanted::Newer { .. } => {
                if self.timeline.older == Older::Loading {
                    self.timeline.older = Older::More;
                }
            }
        }
    }

    /// What came since the newest was read is still to be fetched; then posts are shown as they come.
    fn on_newer(&mut self, asked_us: i64, newest: Option<u64>) {
        let Some(newest) = newest else { return };
        if self.timeline.reach(newest) {
            return self.forget_kept();
        }
        let time_us = self.timeline.newest_us().unwrap_or(asked_us);
        self.load(Wanted::Newer { time_us });
    }

    fn mark_unread(&mut self) {
        let Some(room) = self.rooms.get(&self.room) else { return };
        let read = room.read;
        let is_unread = |post: &&Post| post.offset > read && !post.own && !post.late;
        if self.unread.is_none() {
            self.unread = self.timeline.posts().find(is_unread).map(Place::of);
        }
    }

    /// More is wanted above.
    pub(super) fn want_older(&mut self) {
        if self.timeline.older != Older::More {
            return;
        }
        self.timeline.older = Older::Loading;
        let what = self.timeline.oldest().map(|(time_us, held)| Wanted::Older { time_us, held });
        self.load(what.unwrap_or(Wanted::Newest));
    }

    /// More is wanted below, where the window does not end with the newest post.
    pub(super) fn want_newer(&mut self) {
        if self.is_loading || self.timeline.is_live() {
            return;
        }
        if let Some(time_us) = self.timeline.newest_us() {
            self.load(Wanted::Newer { time_us });
        }
    }

    /// Shows a post that was found, and what stands around it.
    pub(super) fn jump(&mut self, post: &Post) {
        let place = Place::of(post);
        self.mode = Mode::Typing;
        self.found = Some(place.clone());
        self.view = View::At { place: place.clone(), hidden: 0 };
        if self.timeline.find(&place).is_ok() {
            return self.scroll_down(self.page() / 2);
        }
        let seen = std::mem::take(&mut self.timeline);
        self.keep_end(&self.room.clone(), seen);
        self.timeline.skip(self.offset.max(1));
        self.timeline.insert(post.clone());
        self.load(Wanted::Around { time_us: post.time_us });
    }

    /// A message is on disk.
    pub(super) fn handle_sent(&mut self, key: &str, sent: SendResponse) {
        let message = self.outbox.take(key);
        if let Some(message) = message.filter(|message| talk::of_unsent(&message.post) == self.room && !message.seen) {
            self.on_post_here(self.post_of(message, sent));
        }
        // The user was warned of what is no longer so.
        if self.is_warned && self.outbox.is_empty() {
            (self.is_warned, self.notice) = (false, None);
        }
        self.send_next();
    }

    fn post_of(&self, message: Unsent, sent: SendResponse) -> Post {
        let post = message.post;
        Post {
            id: sent.id,
            author_name: self.status.name.clone(),
            offset: sent.offset,
            time_us: sent.time_us,
            kind: if post.to.is_empty() { "chat" } else { "direct" }.to_owned(),
            direct: !post.to.is_empty(),
            to: post.to,
            room: post.room,
            text: post.text,
            re: post.re,
            key: post.key,
            own: true,
            ..Post::default()
        }
    }

    /// It did not work yet, and is tried again.
    pub(super) fn handle_delayed(&mut self, key: &str, why: String) {
        self.outbox.set(key, Progress::Delayed(why));
    }

    /// The daemon does not want a message.
    pub(super) fn handle_refused(&mut self, key: &str, why: String) {
        self.complain(format!("{why}: /retry or /drop it"));
        self.outbox.set(key, Progress::Refused(why));
        self.send_next();
    }

    pub(super) fn send_next(&mut self) {
        if let Some(post) = self.outbox.next() {
            self.push(Effect::Send(post));
        }
    }

    /// Who holds the posts that are followed.
    pub(super) fn handle_receipts(&mut self, receipts: &[Receipt]) {
        if self.holders.len() > HOLDERS_MAX {
            self.holders.clear();
        }
        for receipt in receipts {
            let Some(id) = &receipt.id else { continue };
            // Of what is for one member alone, only that one counts.
            let to = self.timeline.named(id).filter(|post| post.direct).map_or("", |post| &post.to);
            let readers = || receipt.holders.iter().filter(|holder| to.is_empty() || holder.peer == to);
            let holders = readers().filter(|holder| holder.state() == HolderState::Holds).count();
            self.holders.insert((id.epoch, id.seq), (holders, readers().count()));
        }
    }

    /// Posts that were found, or why there are none.
    pub(super) fn handle_found(&mut self, query: &str, found: Result<SearchResponse, String>) {
        if let Mode::Looking(Panel::Search(search)) = &mut self.mode
            && search.query == query
        {
            let authors: Vec<Post> = found.as_ref().map(|found| found.posts.clone()).unwrap_or_default();
            let next = search.take(found);
            let room = search.room.clone();
            authors.iter().for_each(|post| self.know_author(post));
            if let Some(page) = next {
                self.push(Effect::Search { query: query.to_owned(), room, page });
            }
        }
    }

    fn know_author(&mut self, post: &Post) {
        self.names.add_author(post);
        self.know(&post.author_name, author(post));
    }
}

/// The id of who said it.
pub(super) fn author(post: &Post) -> &str {
    post.id.as_ref().map_or("", |id| &id.author)
}

/// Own posts whose holders are remembered.
const HOLDERS_MAX: usize = 10_000;
