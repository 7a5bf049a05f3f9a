//! `search`: what was said with some words in it, page by page.

use p2p_proto::v1::{Post, SearchRequest, SearchResponse};

use super::Session;
use super::history::tell_blocked;
use super::watch::Writer;
use crate::args;
use crate::exit::{Outcome, Problem};
use crate::output::{posts, time};
use crate::parse;
use crate::progress::Spinner;

pub(crate) async fn run(args: args::Search, session: &mut Session) -> Outcome {
    let query = args.query.join(" ");
    if query.trim().is_empty() {
        let problem = Problem::usage("search: the query is empty");
        return Err(problem.with_hint("as in: p2pctl search coffee machine").into());
    }
    let room = args.room.as_deref().map(parse::room).transpose()?.unwrap_or_default();
    let request = SearchRequest { query, room, limit: 0, page: String::new(), blocked: args.blocked };
    let found = fetch(request, if args.last == 0 { u64::MAX } else { args.last }, session).await?;
    if args.null {
        Writer::Raw.write_all(&found.posts, session).await?;
    } else {
        session.show(|style, out| posts::render_search(&found, style, out))?;
    }
    tell_blocked(found.blocked, session);
    if found.posts.is_empty() {
        session.note("no match");
    } else if !found.next.is_empty() {
        session.note("older ones were not looked at: ask for more with -n");
    }
    Ok(())
}

/// The newest `wanted` matches, oldest first. Pages come newest first, and one may be empty: each call of the daemon
/// searches for a limited time.
async fn fetch(mut request: SearchRequest, wanted: u64, session: &mut Session) -> Outcome<SearchResponse> {
    let client = session.client().await?;
    let spinner = Spinner::new(session.is_bar_welcome());
    let mut pages: Vec<Vec<Post>> = Vec::new();
    let (mut found, mut blocked) = (0, 0);
    loop {
        request.limit = u32::try_from((wanted - found).min(PAGE_POSTS)).expect("a page is small");
        let page = session.answer("search", client.chat().search(request.clone())).await?;
        found += page.posts.len() as u64;
        blocked += page.blocked;
        pages.push(page.posts);
        let back_to = time::date_and_clock(page.searched_us, &session.style.zone);
        spinner.say(&format!("{found} found, searched back to {back_to}"));
        // A daemon that leads in a circle must not hold us.
        let is_last = page.next.is_empty() || page.next == request.page || found >= wanted;
        if is_last {
            let posts = pages.into_iter().rev().flatten().collect();
            return Ok(SearchResponse { posts, next: page.next, searched_us: page.searched_us, blocked });
        }
        request.page = page.next;
    }
}

/// The API gives no more in one answer.
const PAGE_POSTS: u64 = 1_000;
