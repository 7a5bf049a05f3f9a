//! `sync`: what is held of each author, once, as it changes, or after everybody was compared with.

use p2p_proto::client::Client;
use p2p_proto::v1::{StatusResponse, SyncRequest, SyncStateRequest, SyncStateResponse};
use tokio::time::Instant;

use super::{Session, fetch_status, live, span};
use crate::args;
use crate::exit::{Outcome, Problem};
use crate::output::sync::{render_sync, what_is_missing};
use crate::parse;
use crate::progress::Missing;

pub(crate) async fn run(args: &args::Sync, session: &mut Session) -> Outcome {
    let room = args.room.as_deref().map(parse::room).transpose()?.unwrap_or_default();
    let request = SyncStateRequest { room };
    if args.watch {
        let open = async |client: Client| client.mesh().watch_sync_state(request.clone()).await;
        return live::follow("sync", session, open, |state, session| {
            session.redraw(0, |style, out| render_sync(&state, style, out))
        })
        .await;
    }
    let state = if args.now {
        sync_now(request, session).await?
    } else {
        let mut mesh = session.client().await?.mesh();
        session.answer("sync", mesh.sync_state(request)).await?
    };
    session.show(|style, out| render_sync(&state, style, out))?;
    if state.feeds.is_empty() && args.room.is_some() {
        session.note("nothing was said there");
    }
    Ok(())
}

/// Compares with everybody, and waits for what that shows to be missing.
async fn sync_now(request: SyncStateRequest, session: &mut Session) -> Outcome<SyncStateResponse> {
    let end = Instant::now() + session.timeout;
    let mut mesh = session.client().await?.mesh();
    session.answer("sync", mesh.sync(SyncRequest {})).await?;
    let is_alone = is_alone(&fetch_status("sync", session).await?);
    let bar = Missing::new(session.is_bar_welcome());
    let mut missing = "the daemon did not say what is missing".to_owned();
    let open = async |client: Client| client.mesh().watch_sync_state(request.clone()).await;
    let following = live::until("sync", session, open, |state| {
        let state = match state {
            Ok(state) => state,
            Err(why) => {
                missing = why;
                return None;
            }
        };
        missing = what_is_missing(&state, is_alone).join(", ");
        bar.show(state.missing_posts, &missing);
        missing.is_empty().then_some(state)
    });
    let outcome = tokio::time::timeout_at(end, following).await;
    bar.finish();
    outcome.unwrap_or_else(|_| {
        let problem = Problem::timeout(format!("sync: after {}: {missing}", span(session.timeout)));
        Err(problem.with_hint("give it more time with --timeout").into())
    })
}

/// Ready with nobody linked: nobody is configured.
pub(crate) fn is_alone(status: &StatusResponse) -> bool {
    status.ready && status.peers_up == 0
}
