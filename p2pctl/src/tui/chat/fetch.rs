//! Parts of a room's history, over restarts of the daemon.

use p2p_proto::client::Client;
use p2p_proto::v1::{HistoryRequest, HistoryResponse, Post, PostId};

use super::desk::Desk;
use super::state::{Page, Wanted};
use super::talk;
use crate::command::live;
use crate::exit::Problem;

impl Desk<'_> {
    pub(super) async fn fetch(&self, room: &str, what: &Wanted) -> Result<Page, Problem> {
        match what {
            Wanted::Newest => Ok(self.history(bounds(room, 0, 0)).await?.into()),
            Wanted::Older { time_us, held } => self.older(room, *time_us, held).await,
            Wanted::Newer { time_us } => self.newer(room, *time_us).await,
            Wanted::Around { time_us } => {
                let older = self.older(room, *time_us, &[]).await?;
                let newer = self.newer(room, *time_us).await?;
                Ok(Page { posts: [older.posts, newer.posts].concat(), newest: newer.newest, ..older })
            }
        }
    }

    /// Posts up to a time, and at least one that is not held.
    async fn older(&self, room: &str, time_us: i64, held: &[PostId]) -> Result<Page, Problem> {
        let mut request = bounds(room, 0, time_us.saturating_add(MILLISECOND_US).max(1));
        let is_new = |post: &Post| post.id.as_ref().is_none_or(|id| !held.contains(id));
        loop {
            let answer = self.history(request.clone()).await?;
            // A daemon that leads in a circle must not hold us.
            if answer.posts.iter().any(is_new) || answer.next.is_empty() || answer.next == request.page {
                return Ok(answer.into());
            }
            request.page = answer.next;
        }
    }

    /// The next posts from a time on. The API gives the newest of a span of time, so a span is looked for that has some
    /// posts and not too many.
    async fn newer(&self, room: &str, time_us: i64) -> Result<Page, Problem> {
        let mut posts = Vec::new();
        let (mut since_us, mut span_us, mut is_narrowed) = (time_us, SPAN_US, false);
        loop {
            let until_us = since_us.saturating_add(span_us);
            let is_bounded = is_narrowed || until_us < (self.session.io.now)().as_microsecond();
            let answer = self.history(bounds(room, since_us, if is_bounded { until_us } else { 0 })).await?;
            if !answer.next.is_empty() && span_us > MILLISECOND_US {
                (span_us, is_narrowed) = ((span_us / 16).max(MILLISECOND_US), true);
                continue;
            }
            posts.extend(answer.posts);
            if !is_bounded || posts.iter().any(|post| post.time_us > time_us) {
                let newest = (!is_bounded).then_some(answer.offset);
                return Ok(Page { posts, is_more: true, expired: 0, newest });
            }
            (since_us, span_us, is_narrowed) = (until_us, span_us.saturating_mul(16), false);
        }
    }

    async fn history(&self, request: HistoryRequest) -> Result<HistoryResponse, Problem> {
        let call = async |client: Client| client.chat().history(request.clone()).await;
        live::ask("history", self.session, &self.link, call, drop).await
    }
}

impl From<HistoryResponse> for Page {
    fn from(answer: HistoryResponse) -> Self {
        let HistoryResponse { posts, next, offset, expired, .. } = answer;
        Self { posts, is_more: !next.is_empty(), expired, newest: Some(offset) }
    }
}

/// Posts of a room, or of us and a member; 0 is no bound.
fn bounds(room: &str, since_us: i64, until_us: i64) -> HistoryRequest {
    let (room, with) = talk::peer_of(room).map_or((room, ""), |id| ("", id));
    let (room, with) = (room.to_owned(), with.to_owned());
    HistoryRequest { room, with, limit: PAGE_POSTS, since_us, until_us, ..HistoryRequest::default() }
}

/// A few screens.
const PAGE_POSTS: u32 = 200;
/// The clocks of posts have milliseconds.
const MILLISECOND_US: i64 = 1_000;
/// Guess: an hour of a room is seldom more than a page.
const SPAN_US: i64 = 3_600_000_000;
