//! A rotation as the text of posts, which come from strangers.
//!
//! ```json
//! {"old":"…","new":"…","until_ms":0,"shuts":["…"],"out":["…"],"parts":[["ID","SEALED"]]}
//! ```

use std::collections::BTreeSet;

use p2p_mesh::id::PeerId;
use p2p_mesh::limits::TEXT_LEN_MAX;
use serde::{Deserialize, Serialize};

use crate::network::KeyName;

/// What one post says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Notice {
    pub(super) old: KeyName,
    pub(super) new: KeyName,
    pub(super) until_ms: u64,
    pub(super) shuts: BTreeSet<PeerId>,
    pub(super) out: BTreeSet<PeerId>,
    pub(super) parts: Vec<(PeerId, String)>,
}

#[derive(Serialize, Deserialize)]
struct Text {
    old: String,
    new: String,
    until_ms: u64,
    #[serde(default)]
    shuts: Vec<String>,
    #[serde(default)]
    out: Vec<String>,
    parts: Vec<(String, String)>,
}

impl Notice {
    /// Reads the text of a post; none where it is no rotation.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let Text { old, new, until_ms, shuts, out, parts } = serde_json::from_str(text).ok()?;
        let ids = |ids: Vec<String>| ids.iter().map(|id| id.parse().ok()).collect::<Option<BTreeSet<PeerId>>>();
        let (shuts, mut out) = (ids(shuts)?, ids(out)?);
        out.extend(&shuts);
        let part = |(id, sealed): (String, String)| {
            // What is longer is no key, and would be kept.
            (sealed.len() <= SEALED_LEN_MAX).then_some((id.parse().ok()?, sealed))
        };
        let parts: Option<Vec<(PeerId, String)>> = parts.into_iter().map(part).collect();
        let notice = Self { old: old.parse().ok()?, new: new.parse().ok()?, until_ms, shuts, out, parts: parts? };
        (notice.out.len() <= OUT_MAX && notice.old != notice.new).then_some(notice)
    }

    /// The texts of posts that say it: as few as hold all of its parts.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut rest = self.parts.as_slice();
        loop {
            let head = self.text(&[]);
            let mut len = head.len();
            let fits = |part: &&(PeerId, String)| {
                len += PART_OVERHEAD + part.1.len();
                len <= TEXT_LEN_MAX
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let (parts, more) = rest.split_at(count);
            texts.push(self.text(parts));
            if more.is_empty() {
                return texts;
            }
            rest = more;
        }
    }

    fn text(&self, parts: &[(PeerId, String)]) -> String {
        let ids = |ids: &BTreeSet<PeerId>| ids.iter().map(PeerId::to_string).collect();
        let text = Text {
            old: self.old.to_string(),
            new: self.new.to_string(),
            until_ms: self.until_ms,
            shuts: ids(&self.shuts),
            out: ids(&self.out),
            parts: parts.iter().map(|(id, sealed)| (id.to_string(), sealed.clone())).collect(),
        };
        serde_json::to_string(&text).expect("texts and integers are always JSON")
    }
}

/// Who may be shut out at a time: their ids are in each post of a rotation, and leave room for parts in it.
pub const OUT_MAX: usize = 64;
/// A sealed key has some 130 characters.
const SEALED_LEN_MAX: usize = 256;
/// Of a part beside its seal: an id, quotes, brackets and commas.
const PART_OVERHEAD: usize = 60;
