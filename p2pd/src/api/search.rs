//! Looking for words in everything that is held, newest first, in pages.

use std::collections::BTreeSet;
use std::time::Duration;

// A page's name has as many bytes as a signature, so it is read the same way.
use p2p_mesh::id::{Hash, base64url, from_base64url};
use p2p_mesh::input::content_hash;
use p2p_proto::error::Error;
use p2p_proto::v1;
use tokio::time::Instant;

use super::Request;
use super::ask::Asker;
use super::convert::{self, View, invalid};
use crate::query::{SearchPlace, SearchQuery, StoredPost};

/// Answers `Search`: looks back until enough posts match, everything was looked at, or the time is over.
///
/// # Errors
///
/// A request that makes no sense, or a store that failed.
pub(super) async fn read(asker: &Asker, view: &View, request: v1::SearchRequest) -> Result<v1::SearchResponse, Error> {
    let end = Instant::now() + TIME_MAX;
    let limit = parse_limit(request.limit)?;
    let mut query = parse(&request)?;
    let mut found: Vec<StoredPost> = Vec::new();
    let mut bytes = 0;
    let mut blocked = 0;
    let hidden = if request.blocked { BTreeSet::new() } else { view.names.blocked() };
    loop {
        query.limit = limit - found.len();
        let look = query.clone();
        let page = asker.ask_store(|reply| Request::Search { query: look, reply }).await?;
        bytes += page.posts.iter().map(|post| post.post.text.len() + POST_BYTES).sum::<usize>();
        let (left_out, taken): (Vec<_>, Vec<_>) =
            page.posts.into_iter().partition(|post| hidden.contains(&post.id.feed.id));
        blocked += left_out.len() as u64;
        found.extend(taken);
        query.before = page.next;
        if page.next.is_none() || found.len() >= limit || bytes >= BYTES_ENOUGH || Instant::now() >= end {
            return Ok(v1::SearchResponse { blocked, ..answer(found, &query, view) });
        }
    }
}

fn answer(mut found: Vec<StoredPost>, query: &SearchQuery, view: &View) -> v1::SearchResponse {
    found.sort_by_key(|post| (post.at, post.id.feed, post.id.seq));
    v1::SearchResponse {
        posts: found.iter().filter_map(|post| convert::stored_post(post, view)).collect(),
        next: query.before.map(|place| encode_page(&place, query)).unwrap_or_default(),
        searched_us: query.before.map_or(0, |place| convert::time_us(place.ms)),
        blocked: 0,
    }
}

fn parse(request: &v1::SearchRequest) -> Result<SearchQuery, Error> {
    let len = request.query.len();
    if len > QUERY_LEN_MAX {
        return Err(invalid(format!("a query of {len} bytes is over the limit of {QUERY_LEN_MAX}"))
            .with_hint("ask for fewer words"));
    }
    let words: Vec<String> = request.query.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return Err(invalid("the query holds no word").with_hint("name a word that is in the text"));
    }
    let room = Some(request.room.clone()).filter(|room| !room.is_empty());
    let query = SearchQuery { words, room, before: None, limit: 0 };
    let before =
        Some(&request.page).filter(|page| !page.is_empty()).map(|page| parse_page(page, &query)).transpose()?;
    Ok(SearchQuery { before, ..query })
}

fn parse_limit(limit: u32) -> Result<usize, Error> {
    match limit {
        0 => Ok(POSTS_DEFAULT),
        1..=POSTS_MAX => Ok(limit as usize),
        _ => Err(invalid(format!("{limit} posts were asked for, the limit is {POSTS_MAX}"))
            .with_hint("ask for less, and for the page before it then")),
    }
}

/// A page says of which search it is, so that it goes on with no other.
fn encode_page(place: &SearchPlace, query: &SearchQuery) -> String {
    let numbers = [place.ms, place.feed, place.offset, 0];
    let mut bytes = numbers.map(u64::to_be_bytes).concat();
    bytes.extend(search_hash(query).0);
    base64url(&bytes)
}

fn parse_page(page: &str, query: &SearchQuery) -> Result<SearchPlace, Error> {
    let odd =
        |why: &str| invalid(format!("the page is not one that was given out: {why}")).with_hint("begin without a page");
    let bytes: [u8; 64] = from_base64url(page).map_err(|why| odd(&why.to_string()))?;
    let (numbers, hash) = bytes.split_at(32);
    let (numbers, _) = numbers.as_chunks::<8>();
    let [ms, feed, offset, 0] = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect::<Vec<_>>()[..] else {
        return Err(odd("it is damaged"));
    };
    if hash != search_hash(query).0 {
        return Err(odd("it belongs to another search"));
    }
    Ok(SearchPlace { ms, feed, offset })
}

fn search_hash(query: &SearchQuery) -> Hash {
    content_hash(query.room.as_deref().unwrap_or_default(), &query.words.join(" "), None)
}

/// Bytes of a query.
const QUERY_LEN_MAX: usize = 256;
/// Posts of one answer where the request names no number.
const POSTS_DEFAULT: usize = 50;
/// Posts of one answer.
const POSTS_MAX: u32 = 1_000;
/// Bytes of matching posts with which an answer ends. One look of the store adds at most a megabyte and an envelope to
/// them, so the answer stays well below what a message may have.
const BYTES_ENOUGH: usize = 1 << 20;
/// Guess: the most that a post takes beside its text is a name of 64, a room of 64, a key of 128 and two post ids.
const POST_BYTES: usize = 448;
/// A call that finds little ends behind this, and says how far it came.
const TIME_MAX: Duration = Duration::from_secs(2);
