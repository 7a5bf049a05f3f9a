//! `history`: what was said, page by page.

use std::io::Write;

use p2p_proto::v1::{HistoryRequest, HistoryResponse, Post};

use super::{Session, watch, who};
use crate::args;
use crate::exit::Outcome;
use crate::output::posts;
use crate::parse;

pub(crate) async fn run(args: args::History, session: &mut Session) -> Outcome {
    let request = request(&args, session).await?;
    let all = args.all || args.last == 0;
    let posts = fetch(request, if all { u64::MAX } else { args.last }, session).await?;
    if args.null {
        let out = &mut session.io.stdout;
        posts.iter().try_for_each(|post| watch::write_raw(post, out))?;
        return Ok(out.flush()?);
    }
    let history = HistoryResponse { posts, ..HistoryResponse::default() };
    session.show(|style, out| posts::render_history(&history, style, out))?;
    if history.posts.is_empty() {
        session.note("nothing was said there");
    }
    Ok(())
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
async fn fetch(mut request: HistoryRequest, wanted: u64, session: &mut Session) -> Outcome<Vec<Post>> {
    let client = session.client().await?;
    let mut pages: Vec<Vec<Post>> = Vec::new();
    let mut missing = wanted;
    while missing > 0 {
        request.limit = u32::try_from(missing.min(PAGE_POSTS)).expect("a page is small");
        let page = session.answer("history", client.chat().history(request.clone())).await?;
        missing = missing.saturating_sub(page.posts.len() as u64);
        pages.push(page.posts);
        // A daemon that leads in a circle must not hold us.
        if page.next.is_empty() || page.next == request.page {
            break;
        }
        request.page = page.next;
    }
    Ok(pages.into_iter().rev().flatten().collect())
}

/// Posts a page: most texts are short, so a page is far below the limit of a message.
const PAGE_POSTS: u64 = 1_000;
