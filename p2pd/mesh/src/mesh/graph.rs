//! Who is linked to whom, as far as linked peers tell.

use std::collections::{BTreeMap, BTreeSet};

use super::Mesh;
use super::hello::view_id;
use crate::id::PeerId;
use crate::status::{Graph, GraphPeer};

impl Mesh {
    /// This peer, everybody it knows, and what those say whom it is linked to.
    #[must_use]
    pub fn graph(&self) -> Graph {
        let linked: BTreeSet<PeerId> = self.up_links().map(|link| link.peer).filter(|id| *id != self.me.id).collect();
        let known: BTreeSet<PeerId> = linked.iter().copied().chain(self.book.ids()).collect();
        // Peers name each other by beginnings of ids.
        let everybody = known.iter().chain([&self.me.id]);
        let by_start: BTreeMap<String, PeerId> = everybody.map(|id| (view_id(*id), *id)).collect();
        let me = GraphPeer { id: self.me.id, neighbors: Some(linked), strangers: 0 };
        let others = known.into_iter().filter(|id| *id != self.me.id).map(|id| self.graph_peer(id, &by_start));
        Graph { peers: std::iter::once(me).chain(others).collect() }
    }

    fn graph_peer(&self, id: PeerId, by_start: &BTreeMap<String, PeerId>) -> GraphPeer {
        let Some(up) = self.link_to(id).and_then(|link| link.up()) else {
            return GraphPeer { id, neighbors: None, strangers: 0 };
        };
        let neighbors: BTreeSet<PeerId> = up.view.iter().filter_map(|start| by_start.get(start).copied()).collect();
        let strangers = up.view.iter().filter(|start| !by_start.contains_key(*start)).count();
        GraphPeer { id, neighbors: Some(neighbors), strangers }
    }
}
