//! `status`: the daemon's state, once or as it changes.

use p2p_proto::client::Client;
use p2p_proto::v1::StatusRequest;

use super::{Session, fetch_status, live};
use crate::args::Watching;
use crate::exit::Outcome;
use crate::output::status::render_status;

pub(crate) async fn run(args: &Watching, session: &mut Session) -> Outcome {
    if !args.watch {
        let status = fetch_status("status", session).await?;
        return session.show(|style, out| render_status(&status, style, out));
    }
    let open = async |client: Client| client.mesh().watch_status(StatusRequest {}).await;
    live::follow("status", session, open, |status, session| {
        session.redraw(0, |style, out| render_status(&status, style, out))
    })
    .await
}
