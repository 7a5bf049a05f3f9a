//! `history`: what was said, page by page.

use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::{HistoryRequest, HistoryResponse, Post, WatchRequest};

use super::bench::Measurements;
use super::watch::{self, Writer};
use super::{Session, who};
use crate::args;
use crate::exit::Outcome;
use crate::output::Format;
use crate::output::document;
use crate::output::posts::{self, Scene};
use crate::output::words::{are, counted};
use crate::parse;
use crate::progress::Spinner;

pub(crate) async fn run(args: args::History, session: &mut Session) -> Outcome {
    let request = request(&args, session).await?;
    let all = args.all || args.last == 0;
    let is_raw = args.null || args.format.is_some();
    let is_document = !is_raw && !args.follow && !session.is_for_people();
    let keep = if all && !is_document { PAGES_KEPT_MAX } else { usize::MAX };
    let measurements = if is_raw || !session.is_for_people() {
        Measurements::Shown
    } else {
        Measurements::in_rooms(request.room.is_empty() && request.with.is_empty(), all)
    };
    let wanted = Wanted { posts: if all { u64::MAX } else { args.last }, measurements };
    let fetched = fetch(request.clone(), wanted, keep, session).await?;
    let history = &fetched.history;
    if is_document {
        return session.show(|style, out| posts::render_history(history, style, out));
    }
    let mut writer = Writer::new(args.null, args.format.clone(), Scene::Past, session);
    if args.follow && is_told(&request, history) {
        writer.tell(&document::expired(history), session)?;
    }
    show_older(&request, &fetched, &mut writer, session).await?;
    writer.write_all(&history.posts, session).await?;
    tell_expired(&args, &request, history, session);
    tell_blocked(history.blocked, session);
    if fetched.measured > 0 {
        session.note(watch::MEASURED);
    }
    if args.follow {
        return go_on(request, history, measurements, writer, session).await;
    }
    if history.posts.is_empty() && fetched.measured == 0 && fetched.older_us.is_empty() {
        session.note("nothing was said there");
    }
    Ok(())
}

/// Shows what is too much to be held at once: it was seen before, and is fetched again span by span of time.
async fn show_older(
    request: &HistoryRequest,
    fetched: &Fetched,
    writer: &mut Writer,
    session: &mut Session,
) -> Outcome {
    for span in fetched.older_us.windows(2).rev() {
        let request = HistoryRequest { since_us: span[1], until_us: span[0], ..request.clone() };
        let all = Wanted { posts: u64::MAX, measurements: Measurements::Shown };
        let mut span = fetch(request, all, usize::MAX, session).await?.history;
        span.posts.retain(|post| fetched.is_part(post));
        writer.write_all(&span.posts, session).await?;
    }
    Ok(())
}

/// Shows what is said behind what was shown, as far as it was asked for.
async fn go_on(
    request: HistoryRequest,
    history: &HistoryResponse,
    measurements: Measurements,
    writer: Writer,
    session: &mut Session,
) -> Outcome {
    let rooms = if request.room.is_empty() { Vec::new() } else { vec![request.room] };
    // What was shown is never shown again, whatever the daemon says of its offset.
    let shown = history.posts.iter().map(|post| post.offset).max().unwrap_or(0);
    let start = Some(Start::After(history.offset.max(shown)));
    let HistoryRequest { authors, blocked, with, .. } = request;
    let watched = WatchRequest { rooms, authors, no_own: false, blocked, with, start };
    watch::go_on(watched, request.since_us, measurements, writer, session).await
}

/// Some of what was asked for is gone: the answer goes back to the first that is held, and they are in its time.
fn is_told(request: &HistoryRequest, history: &HistoryResponse) -> bool {
    let is_in_time = request.since_us == 0 || history.expired_newest_us >= request.since_us;
    history.expired > 0 && history.next.is_empty() && is_in_time
}

/// What was dropped is no part of the answer. Nobody who asked for all may miss that.
fn tell_expired(args: &args::History, request: &HistoryRequest, history: &HistoryResponse, session: &mut Session) {
    // Programs were told in a document.
    let is_document =
        !args.null && args.format.is_none() && matches!(session.style.format, Format::Json | Format::Yaml);
    if is_document || !is_told(request, history) {
        return;
    }
    // They are counted for all rooms and authors together.
    let of = if request.room.is_empty() && request.authors.is_empty() && request.with.is_empty() {
        ""
    } else {
        " of all rooms"
    };
    let (count, are) = (counted(history.expired, "older post"), are(history.expired));
    let text = format!("{count}{of} {are} no longer held (retention)");
    if args.all || args.last == 0 { session.warn(&text) } else { session.note(&text) }
}

/// Posts that were left out, because their authors are blocked.
pub(crate) fn tell_blocked(posts: u64, session: &mut Session) {
    if posts > 0 {
        let (count, are) = (counted(posts, "post"), are(posts));
        session.note(&format!("{count} of blocked peers {are} left out: --blocked shows them"));
    }
}

async fn request(args: &args::History, session: &mut Session) -> Outcome<HistoryRequest> {
    let time = |text: &Option<String>| {
        let read = text.as_ref().map(|text| parse::time(text, session.style.now, &session.style.zone));
        // 0 means no bound to the daemon, so the first moment of 1970 is asked for as the second.
        read.transpose().map(|time| time.map_or(0, |time| if time == 0 { 1 } else { time }))
    };
    let (since_us, until_us) = (time(&args.since)?, time(&args.until)?);
    let room = args.room.as_deref().map(parse::room).transpose()?.unwrap_or_default();
    let authors = who::resolve_all(&args.from, session).await?;
    let (with, page) = (who::resolve_optional(args.to.as_deref(), session).await?, String::new());
    Ok(HistoryRequest { room, limit: 0, since_us, until_us, authors, page, blocked: args.blocked, with })
}

/// What is to be fetched.
#[derive(Clone, Copy)]
struct Wanted {
    /// The newest this many.
    posts: u64,
    measurements: Measurements,
}

/// What was fetched.
struct Fetched {
    /// The newest posts, oldest first.
    history: HistoryResponse,
    /// Where there are older ones that are not kept: times that part them into spans, newest first. A span begins with its
    /// older end and goes up to, and not with, its newer one.
    older_us: Vec<i64>,
    /// Measurements that were left out.
    measured: u64,
}

impl Fetched {
    /// What arrived while pages were fetched is no part of the answer: whoever goes on behind it gets it there.
    fn is_part(&self, post: &Post) -> bool {
        self.history.offset == 0 || post.offset <= self.history.offset
    }

    /// Parts what was not kept into spans that begin with these times, newest first. Pages end anywhere in a millisecond,
    /// spans do not.
    fn with_older(mut self, mut pages_us: Vec<i64>, since_us: i64) -> Self {
        // The oldest page has nothing before it.
        if pages_us.pop().is_none() {
            return self;
        }
        let kept = self.history.posts.first().map_or(i64::MAX, |oldest| oldest.time_us.saturating_add(MILLISECOND_US));
        self.history.posts.retain(|post| post.time_us >= kept);
        // 0 means no bound to the daemon.
        pages_us.retain(|time_us| *time_us > 0 && *time_us < kept);
        pages_us.dedup();
        self.older_us = [vec![kept], pages_us, vec![since_us]].concat();
        self
    }
}

/// The newest `wanted` posts; of very many the newest `keep` pages. Pages come newest first.
async fn fetch(mut request: HistoryRequest, wanted: Wanted, keep: usize, session: &mut Session) -> Outcome<Fetched> {
    let mut chat = session.client().await?.chat();
    let mut fetched = Fetched { history: HistoryResponse::default(), older_us: Vec::new(), measured: 0 };
    let mut pages: Vec<Vec<Post>> = Vec::new();
    let mut older_us = Vec::new();
    let mut missing = wanted.posts;
    let spinner = Spinner::new(session.is_bar_welcome() && wanted.posts > PAGE_POSTS);
    while missing > 0 && fetched.measured < MEASURED_ENOUGH {
        // Where measurements lie between, nobody knows how many are wanted.
        let limit = if fetched.measured > 0 { PAGE_POSTS } else { missing.min(PAGE_POSTS) };
        request.limit = u32::try_from(limit).expect("a page is small");
        let mut page = session.answer("history", chat.history(request.clone())).await?;
        if pages.is_empty() {
            fetched.history.offset = page.offset;
        }
        let offset = fetched.history.offset;
        page.posts.retain(|post| fetched.is_part(post));
        fetched.measured += wanted.measurements.leave_out(&mut page.posts);
        leave_newest(&mut page, missing);
        missing = missing.saturating_sub(page.posts.len() as u64);
        spinner.say(&format!("{} read", counted(wanted.posts - missing, "post")));
        if pages.len() < keep {
            pages.push(page.posts);
        } else {
            older_us.extend(page.posts.first().map(|oldest| oldest.time_us));
        }
        let blocked = fetched.history.blocked + page.blocked;
        fetched.history = HistoryResponse { posts: Vec::new(), offset, blocked, ..page };
        // A daemon that leads in a circle must not hold us.
        if fetched.history.next.is_empty() || fetched.history.next == request.page {
            break;
        }
        request.page.clone_from(&fetched.history.next);
    }
    fetched.history.posts = pages.into_iter().rev().flatten().collect();
    Ok(fetched.with_older(older_us, request.since_us))
}

/// Only so many of a page, from its end. What is left out is before the answer, as further pages are.
fn leave_newest(page: &mut HistoryResponse, posts: u64) {
    let extra = page.posts.len().saturating_sub(usize::try_from(posts).unwrap_or(usize::MAX));
    page.posts.drain(..extra);
    if extra > 0 && page.next.is_empty() {
        page.next = "more".to_owned();
    }
}

/// Measurements left out, behind which the answer ends: nobody shall wait for a flood of them.
const MEASURED_ENOUGH: u64 = 100_000;
/// Posts a page: most texts are short, so a page is far below the limit of a message.
const PAGE_POSTS: u64 = 1_000;
/// Pages held at once; one has at most 3 MiB.
const PAGES_KEPT_MAX: usize = 16;
/// The clocks of posts have milliseconds.
const MILLISECOND_US: i64 = 1_000;
