//! `history`: what was said, page by page.

use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::{HistoryRequest, HistoryResponse, Post, WatchRequest};

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
    let history = fetch(request.clone(), if all { u64::MAX } else { args.last }, session).await?;
    if args.follow {
        let mut writer = if args.null { Writer::Raw } else { Writer::posts(session, Scene::Past) };
        if is_told(&request, &history) {
            writer.tell(&document::expired(&history), session)?;
        }
        writer.write_all(&history.posts, session)?;
        tell_expired(&args, &request, &history, session);
        return go_on(request, &history, writer, session).await;
    }
    if args.null {
        Writer::Raw.write_all(&history.posts, session)?;
    } else {
        session.show(|style, out| posts::render_history(&history, style, out))?;
    }
    if history.posts.is_empty() {
        session.note("nothing was said there");
    }
    tell_expired(&args, &request, &history, session);
    Ok(())
}

/// Shows what is said behind what was shown, as far as it was asked for.
async fn go_on(request: HistoryRequest, history: &HistoryResponse, writer: Writer, session: &mut Session) -> Outcome {
    let rooms = if request.room.is_empty() { Vec::new() } else { vec![request.room] };
    // What was shown is never shown again, whatever the daemon says of its offset.
    let shown = history.posts.iter().map(|post| post.offset).max().unwrap_or(0);
    let start = Some(Start::After(history.offset.max(shown)));
    let watched = WatchRequest { rooms, authors: request.authors, no_own: false, start };
    watch::go_on(watched, request.since_us, writer, session).await
}

/// Some of what was asked for is gone: the answer goes back to the first that is held, and they are in its time.
fn is_told(request: &HistoryRequest, history: &HistoryResponse) -> bool {
    let is_in_time = request.since_us == 0 || history.expired_newest_us >= request.since_us;
    history.expired > 0 && history.next.is_empty() && is_in_time
}

/// What was dropped is no part of the answer. Nobody who asked for all may miss that; a program reads it in the document.
fn tell_expired(args: &args::History, request: &HistoryRequest, history: &HistoryResponse, session: &mut Session) {
    let is_document = !args.null && matches!(session.style.format, Format::Json | Format::Yaml);
    if !is_told(request, history) || is_document {
        return;
    }
    // They are counted for all rooms and authors together.
    let of = if request.room.is_empty() && request.authors.is_empty() { "" } else { " of all rooms" };
    let (count, are) = (counted(history.expired, "older post"), are(history.expired));
    let text = format!("{count}{of} {are} no longer held (retention)");
    if args.all || args.last == 0 { session.warn(&text) } else { session.note(&text) }
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
    Ok(HistoryRequest { room, limit: 0, since_us, until_us, authors, page: String::new() })
}

/// The newest `wanted` posts, oldest first. Pages come newest first.
async fn fetch(mut request: HistoryRequest, wanted: u64, session: &mut Session) -> Outcome<HistoryResponse> {
    let client = session.client().await?;
    let mut offset = None;
    let mut answer = HistoryResponse::default();
    let mut pages: Vec<Vec<Post>> = Vec::new();
    let mut missing = wanted;
    let spinner = Spinner::new(session.is_bar_welcome() && wanted > PAGE_POSTS);
    while missing > 0 {
        request.limit = u32::try_from(missing.min(PAGE_POSTS)).expect("a page is small");
        let mut page = session.answer("history", client.chat().history(request.clone())).await?;
        // What arrives while pages are fetched is no part of this answer: whoever goes on behind it gets it there.
        let end = *offset.get_or_insert(page.offset);
        if end > 0 {
            page.posts.retain(|post| post.offset <= end);
        }
        missing = missing.saturating_sub(page.posts.len() as u64);
        spinner.say(&format!("{} read", counted(wanted - missing, "post")));
        pages.push(std::mem::take(&mut page.posts));
        answer = page;
        // A daemon that leads in a circle must not hold us.
        if answer.next.is_empty() || answer.next == request.page {
            break;
        }
        request.page.clone_from(&answer.next);
    }
    let posts = pages.into_iter().rev().flatten().collect();
    Ok(HistoryResponse { posts, offset: offset.unwrap_or(0), ..answer })
}

/// Posts a page: most texts are short, so a page is far below the limit of a message.
const PAGE_POSTS: u64 = 1_000;
