//! The history by the order of the clocks, in pages.

use std::collections::BTreeSet;

use p2p_mesh::envelope::Stamp;
// A page's name has as many bytes as a signature, so it is read the same way.
use p2p_mesh::id::{Epoch, Instance, PeerId, Seq, base64url, from_base64url};
use p2p_proto::error::Error;
use p2p_proto::v1;

use super::Request;
use super::ask::Asker;
use super::convert::{self, View, bound_ms, invalid};
use crate::query::{HistoryQuery, Place, StoredPost};

/// Answers `History`: the newest posts that match and fit into one answer.
///
/// # Errors
///
/// A request that makes no sense, or a store that failed.
pub(super) async fn read(
    asker: &Asker,
    view: &View,
    request: v1::HistoryRequest,
) -> Result<v1::HistoryResponse, Error> {
    let limit = parse_limit(request.limit)?;
    // Who is asked for by name is shown.
    let hidden = if request.blocked || !request.authors.is_empty() { BTreeSet::new() } else { view.names.blocked() };
    let query = parse(request)?;
    // Before anything is read: what comes meanwhile is behind this offset, and may be in the answer too.
    let offset = asker.ask(Request::Status).await?.offset.0;
    let Found { newest_first, blocked, next } = collect(asker, query, limit, &hidden).await?;
    let stored = asker.ask(Request::StoreSummary).await?;
    let posts = newest_first.iter().rev().filter_map(|post| convert::stored_post(post, view)).collect();
    Ok(v1::HistoryResponse {
        posts,
        next: next.map(|place| encode_page(&place)).unwrap_or_default(),
        offset,
        expired: stored.expired_posts,
        expired_newest_us: convert::time_us(stored.expired_newest_ms),
        blocked,
    })
}

/// What one answer has.
#[derive(Default)]
struct Found {
    newest_first: Vec<StoredPost>,
    /// Posts that were left out.
    blocked: u64,
    /// The last place that was looked at, where there are more before it.
    next: Option<Place>,
}

/// The newest posts that match, without those of hidden authors.
async fn collect(
    asker: &Asker,
    mut query: HistoryQuery,
    limit: usize,
    hidden: &BTreeSet<PeerId>,
) -> Result<Found, Error> {
    let mut answer = Found::default();
    let found = &mut answer.newest_first;
    let mut bytes = 0;
    let mut is_more = true;
    while is_more && found.len() < limit && answer.blocked < BLOCKED_ENOUGH {
        // One more than wanted tells whether there is more. Where some are left out, nobody knows how many are wanted.
        let wanted = if hidden.is_empty() { PAGE_POSTS.min(limit - found.len()) } else { PAGE_POSTS };
        query.limit = wanted + 1;
        let step = query.clone();
        let mut page = asker.ask_store(|reply| Request::History { query: step, reply }).await?;
        is_more = page.len() >= query.limit;
        page.reverse();
        page.truncate(query.limit - 1);
        for post in page {
            if found.len() == limit {
                answer.next = query.before;
                return Ok(answer);
            }
            if hidden.contains(&post.id.feed.id) {
                answer.blocked += 1;
                query.before = Some(place(&post));
                continue;
            }
            let sealed = post.post.direct.as_ref().map_or(0, |letter| letter.sealed.len());
            bytes += post.post.text.len() + sealed + POST_BYTES;
            if bytes > BYTES_MAX && !found.is_empty() {
                answer.next = query.before;
                return Ok(answer);
            }
            query.before = Some(place(&post));
            found.push(post);
        }
    }
    answer.next = query.before.filter(|_| is_more);
    Ok(answer)
}

fn parse(request: v1::HistoryRequest) -> Result<HistoryQuery, Error> {
    Ok(HistoryQuery {
        with: convert::parse_with(&request.with, !request.room.is_empty())?,
        room: Some(request.room).filter(|room| !room.is_empty()),
        authors: request.authors.iter().map(|author| convert::parse_peer_id(author)).collect::<Result<_, _>>()?,
        since_ms: bound_ms(request.since_us),
        until_ms: parse_until(request.until_us)?,
        before: Some(request.page).filter(|page| !page.is_empty()).map(|page| parse_page(&page)).transpose()?,
        limit: 0,
    })
}

fn parse_limit(limit: u32) -> Result<usize, Error> {
    match limit {
        0 => Ok(POSTS_DEFAULT),
        1..=POSTS_MAX => Ok(limit as usize),
        _ => Err(invalid(format!("{limit} posts were asked for, the limit is {POSTS_MAX}"))
            .with_hint("ask for less, and for the page before it then")),
    }
}

fn parse_until(us: i64) -> Result<Option<u64>, Error> {
    if us < 0 {
        return Err(invalid(format!("until {us} µs is before 1970, and no post is older than that")));
    }
    Ok(bound_ms(us))
}

fn place(post: &StoredPost) -> Place {
    Place { at: post.at, feed: post.id.feed, seq: post.id.seq }
}

fn encode_page(place: &Place) -> String {
    let numbers = [place.at.ms, place.at.counter, place.feed.epoch.0, place.seq.0];
    let mut bytes = numbers.map(u64::to_be_bytes).concat();
    bytes.extend(place.feed.id.0);
    base64url(&bytes)
}

fn parse_page(page: &str) -> Result<Place, Error> {
    let bytes: [u8; 64] = from_base64url(page).map_err(|why| {
        invalid(format!("the page is not one that was given out: {why}")).with_hint("begin without a page")
    })?;
    let (numbers, id) = bytes.split_at(32);
    let mut numbers = numbers
        .chunks_exact(8)
        .map(|eight| u64::from_be_bytes(eight.try_into().expect("chunks of eight have eight bytes")));
    let mut next = || numbers.next().expect("32 bytes hold four numbers");
    let at = Stamp { ms: next(), counter: next() };
    let epoch = Epoch(next());
    let seq = Seq(next());
    let id = PeerId(id.try_into().expect("64 bytes less 32 are 32"));
    Ok(Place { at, feed: Instance { id, epoch }, seq })
}

/// Posts of one answer where the request names no number.
const POSTS_DEFAULT: usize = 50;
/// Posts of one answer.
const POSTS_MAX: u32 = 10_000;
/// Posts asked of the store at a time: at 16 KiB each they stay within 4 MiB.
const PAGE_POSTS: usize = 256;
/// Posts left out of one answer, behind which it ends: a call must not look through a whole flood.
const BLOCKED_ENOUGH: u64 = 10_000;
/// Bytes of one answer, well below what a message may have.
const BYTES_MAX: usize = 3 << 20;
/// Guess: the most that a post takes beside its text is a name of 64, a room of 64, a key of 128 and two post ids.
const POST_BYTES: usize = 448;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_names_its_place_and_garbage_names_none() {
        let feed = Instance { id: PeerId([7; 32]), epoch: Epoch(8) };
        let place = Place { at: Stamp { ms: 1 << 52, counter: 3 }, feed, seq: Seq(9) };
        assert_eq!(parse_page(&encode_page(&place)), Ok(place));
        for garbage in ["x", "%", &"A".repeat(85), &"é".repeat(86), &format!("{}B", "A".repeat(85))] {
            let error = parse_page(garbage).unwrap_err();
            assert_eq!(error.code, p2p_proto::error::Code::InvalidArgument, "{garbage}");
        }
    }

    #[test]
    fn a_limit_is_one_to_ten_thousand() {
        assert_eq!(parse_limit(0), Ok(50));
        assert_eq!(parse_limit(10_000), Ok(10_000));
        let error = parse_limit(10_001).unwrap_err();
        assert_eq!(error.message, "10001 posts were asked for, the limit is 10000");
    }
}
