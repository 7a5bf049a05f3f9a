//! `graph`: who is linked to whom.

use p2p_proto::v1::GraphRequest;

use super::Session;
use crate::args::Graph;
use crate::exit::Outcome;
use crate::output::graph::render_graph;

pub(crate) async fn run(args: &Graph, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    let graph = session.answer("graph", client.mesh().graph(GraphRequest {})).await?;
    session.show(|style, out| render_graph(&graph, args.format, style, out))
}
