//! `receipts`: who holds a post, now or as it gets around.

use p2p_proto::client::Client;
use p2p_proto::error::Code;
use p2p_proto::v1::{HolderState, Receipt, ReceiptsRequest, ReceiptsResponse};

use super::{Session, live, who};
use crate::args;
use crate::exit::{Exit, Outcome, Problem};
use crate::output::posts::short_id;
use crate::output::receipts::render_receipt;

pub(crate) async fn run(args: &args::Receipts, session: &mut Session) -> Outcome {
    let id = who::resolve_post(&args.id, session).await?;
    let request = ReceiptsRequest { ids: vec![id], follow: args.follow };
    if args.follow {
        let open = async |client: Client| client.chat().receipts(request.clone()).await;
        return live::follow("receipts", session, open, |answer, session| {
            let receipt = known(answer)?;
            session.redraw(0, |style, out| render_receipt(&receipt, style, out))
        })
        .await;
    }
    let mut chat = session.client().await?.chat();
    let receipt = known(session.first("receipts", chat.receipts(request)).await?)?;
    session.show(|style, out| render_receipt(&receipt, style, out))
}

/// The one receipt that was asked for, of a post that anybody holds.
fn known(answer: ReceiptsResponse) -> Result<Receipt, Problem> {
    let Some(receipt) = answer.receipts.into_iter().next() else {
        return Err(Problem::new(Exit::Failed, Code::Failed.name(), "receipts: the daemon gave an empty answer"));
    };
    if receipt.held || receipt.holders.iter().any(|holder| holder.state() == HolderState::Holds) {
        return Ok(receipt);
    }
    let message = format!("receipts: nobody is known to hold {}", short_id(receipt.id.as_ref()));
    Err(Problem::new(Exit::NotFound, Code::NotFound.name(), message)
        .with_hint("see what is here: p2pctl history -o wide"))
}
