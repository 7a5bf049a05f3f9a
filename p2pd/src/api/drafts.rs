//! From what a client wants said to what the mesh is asked to say. What is for one peer is sealed here: the mesh, the
//! store and everybody else get it closed.

use std::collections::BTreeSet;

use p2p_mesh::id::PeerId;
use p2p_mesh::input::Draft;
use p2p_mesh::mesh::check_text;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;

use super::ask::Asker;
use super::convert::{self, View, invalid};

/// Makes drafts for one client.
#[derive(Debug)]
pub(super) struct Drafts {
    asker: Asker,
    view: View,
    default_room: String,
    /// Peers that were found when an earlier post was for them: looking costs more than sealing.
    found: BTreeSet<PeerId>,
}

impl Drafts {
    pub(super) fn new(asker: Asker, view: View, default_room: String) -> Self {
        Self { asker, view, default_room, found: BTreeSet::new() }
    }

    /// What shall be said. Whether it may be said is for the mesh to decide, but for what it cannot read.
    ///
    /// # Errors
    ///
    /// Something in it is no id, or it is for somebody who cannot get it.
    pub(super) async fn draft(&mut self, post: v1::Outgoing) -> Result<Draft, Error> {
        if post.to.is_empty() {
            return convert::draft(post, &self.default_room);
        }
        if !post.room.is_empty() {
            return Err(invalid("a direct message is in no room").with_hint("name a room, or a peer"));
        }
        let to = convert::parse_peer_id(&post.to)?;
        check_text(&post.text).map_err(|refusal| convert::refusal(&refusal))?;
        self.check_recipient(to).await?;
        let key = Some(post.key.as_str()).filter(|key| !key.is_empty());
        let letter = self.view.letters.seal(to, &post.text, key);
        let letter =
            letter.map_err(|error| invalid(error.to_string()).with_hint("see who is there: p2pctl peers -a"))?;
        let open = convert::draft(v1::Outgoing { text: String::new(), ..post }, "")?;
        Ok(Draft { direct: Some(letter), ..open })
    }

    async fn check_recipient(&mut self, to: PeerId) -> Result<(), Error> {
        if to == self.view.letters.me() {
            return Err(invalid("a direct message is for somebody else, and this is our own id"));
        }
        if self.view.names.is_blocked(&to) {
            let why = format!("{} is blocked here, and would not be heard", self.view.names.shown(&to));
            return Err(Error::new(Code::Untrusted, why).with_hint(format!("let it in: p2pctl peers unblock {to}")));
        }
        if self.found.contains(&to) || self.view.names.noted().contains(&to) {
            return Ok(());
        }
        self.asker.peer(to).await?;
        if self.found.len() < FOUND_MAX {
            self.found.insert(to);
        }
        Ok(())
    }
}

/// Remembered of one client.
const FOUND_MAX: usize = 1_024;
