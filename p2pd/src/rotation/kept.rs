//! What a daemon remembers of rotations, as a file. It holds no secret in the clear.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use p2p_mesh::id::{Epoch, IdError, Instance, Offset, PeerId, PostId, Seq, base32, from_base32};
use serde::{Deserialize, Serialize};

use super::Rotation;
use crate::keyfile::{self, KeyFileError};
use crate::network::KeyName;

/// Everything that has to survive a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Kept {
    pub(super) network: [u8; 16],
    /// The key that rotations are followed from.
    pub(super) base: KeyName,
    /// Keys that were replaced before that, the newest last.
    pub(super) past: Vec<KeyName>,
    /// What others gave us at their hatches, and when.
    pub(super) given: Vec<(KeyName, u64)>,
    pub(super) rotations: Vec<Rotation>,
    /// When the rotation that holds was taken here, milliseconds since 1970.
    pub(super) taken_ms: u64,
    /// All up to here in the log was looked at.
    pub(super) seen: Offset,
}

/// A file that cannot be used. What it held is found in the log again.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The system refuses.
    #[error("{path:?} cannot be read: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{0:?} is damaged")]
    Damaged(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct File {
    v: u32,
    network: String,
    base: String,
    past: Vec<String>,
    given: Vec<(String, u64)>,
    rotations: Vec<Row>,
    taken_ms: u64,
    seen: u64,
}

#[derive(Serialize, Deserialize)]
struct Row {
    author: String,
    at_ms: u64,
    old: String,
    new: String,
    until_ms: u64,
    shuts: Vec<String>,
    out: Vec<String>,
    members: Vec<String>,
    posts: Vec<(String, u64, u64)>,
    part: Option<String>,
    heard_ms: u64,
}

impl Kept {
    /// Reads the file; none where there is none.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, KeptError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeptError::Io { path: path.to_owned(), source }),
        };
        let damaged = || KeptError::Damaged(path.to_owned());
        let file: File = serde_json::from_str(&text).map_err(|_| damaged())?;
        file.try_into().map(Some).map_err(|_: IdError| damaged())
    }

    /// Writes the file: whole and flushed, or not at all.
    pub(super) fn save(&self, path: &Path) -> Result<(), KeyFileError> {
        let text = serde_json::to_string(&File::of(self)).expect("texts and integers are always JSON");
        keyfile::replace(path, &text)
    }
}

impl TryFrom<File> for Kept {
    type Error = IdError;

    fn try_from(file: File) -> Result<Self, IdError> {
        let given = file.given.into_iter().map(|(name, at)| Ok((name.parse()?, at)));
        Ok(Self {
            network: from_base32(&file.network)?,
            base: file.base.parse()?,
            past: file.past.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
            given: given.collect::<Result<_, IdError>>()?,
            rotations: file.rotations.into_iter().map(Rotation::try_from).collect::<Result<_, _>>()?,
            taken_ms: file.taken_ms,
            seen: Offset(file.seen),
        })
    }
}

impl TryFrom<Row> for Rotation {
    type Error = IdError;

    fn try_from(row: Row) -> Result<Self, IdError> {
        let ids = |ids: &[String]| ids.iter().map(|id| id.parse()).collect::<Result<BTreeSet<PeerId>, IdError>>();
        let post = |(id, epoch, seq): (String, u64, u64)| {
            Ok(PostId { feed: Instance { id: id.parse()?, epoch: Epoch(epoch) }, seq: Seq(seq) })
        };
        Ok(Self {
            author: row.author.parse()?,
            at_ms: row.at_ms,
            old: row.old.parse()?,
            new: row.new.parse()?,
            until_ms: row.until_ms,
            shuts: ids(&row.shuts)?,
            out: ids(&row.out)?,
            members: ids(&row.members)?,
            posts: row.posts.into_iter().map(post).collect::<Result<_, IdError>>()?,
            part: row.part,
            heard_ms: row.heard_ms,
        })
    }
}

impl File {
    fn of(kept: &Kept) -> Self {
        Self {
            v: 1,
            network: base32(&kept.network),
            base: kept.base.to_string(),
            past: kept.past.iter().map(KeyName::to_string).collect(),
            given: kept.given.iter().map(|(name, at)| (name.to_string(), *at)).collect(),
            rotations: kept.rotations.iter().map(Row::of).collect(),
            taken_ms: kept.taken_ms,
            seen: kept.seen.0,
        }
    }
}

impl Row {
    fn of(rotation: &Rotation) -> Self {
        let ids = |ids: &BTreeSet<PeerId>| ids.iter().map(PeerId::to_string).collect();
        let post = |post: &PostId| (post.feed.id.to_string(), post.feed.epoch.0, post.seq.0);
        Self {
            author: rotation.author.to_string(),
            at_ms: rotation.at_ms,
            old: rotation.old.to_string(),
            new: rotation.new.to_string(),
            until_ms: rotation.until_ms,
            shuts: ids(&rotation.shuts),
            out: ids(&rotation.out),
            members: ids(&rotation.members),
            posts: rotation.posts.iter().map(post).collect(),
            part: rotation.part.clone(),
            heard_ms: rotation.heard_ms,
        }
    }
}

/// Its name in the data directory.
pub const KEPT_FILE: &str = "rotation.json";
