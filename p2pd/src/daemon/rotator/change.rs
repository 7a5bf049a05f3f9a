//! Changing the network's secret for our own user.

use std::collections::BTreeSet;

use p2p_mesh::id::PeerId;
use p2p_mesh::input::Draft;

use super::Rotator;
use crate::api::{MEMBERS_MAX, Request, RotateError, RotateWish, Rotated};
use crate::clock::unix_ms;
use crate::rotation::{Plan, Said, Standing};

impl Rotator {
    /// Says the change, flushed, and takes it as everybody does who hears of it.
    pub(super) async fn rotate(&mut self, wish: RotateWish) -> Result<Rotated, RotateError> {
        let plan = self.plan(wish).await?;
        let texts = self.rotations.plan(&plan, unix_ms())?;
        let drafts: Vec<Draft> = texts.iter().cloned().map(Draft::network).collect();
        let results = self.ask(|reply| Request::Publish { drafts, reply }).await.ok_or(RotateError::Stopping)?;
        let before = self.before();
        let mut refused = None;
        for (text, result) in texts.iter().zip(results) {
            match result {
                Ok(sent) => drop(self.rotations.hear(Said { post: sent.id, at_ms: sent.at.ms, text }, unix_ms())),
                Err(refusal) => refused = Some(refusal),
            }
        }
        // What was said holds, also where it is not all.
        self.apply(before).await;
        match refused {
            Some(refusal) => Err(RotateError::Unsaid(refusal)),
            None if self.unsaved.is_some() => {
                Err(RotateError::NotKept("it is said, and cannot be kept here yet".to_owned()))
            }
            None => Ok(self.rotated()),
        }
    }

    async fn plan(&self, wish: RotateWish) -> Result<Plan, RotateError> {
        let RotateWish { without, readmit, grace } = wish;
        let out = self.rotations.out();
        match self.rotations.standing() {
            Standing::In | Standing::LeftOut(_) => (),
            Standing::ShutOut(_) => return Err(RotateError::ShutOut),
        }
        let mut members = self.known().await.ok_or(RotateError::Stopping)?;
        self.check(&without, &readmit, &out, &members)?;
        members.retain(|peer| !without.contains(peer) && !out.contains(peer) && !self.names.is_blocked(peer));
        members.extend(&readmit);
        if members.len() > MEMBERS_MAX {
            return Err(RotateError::Crowd(members.len()));
        }
        Ok(Plan { members, shuts: without, readmits: readmit, grace })
    }

    fn check(
        &self,
        without: &BTreeSet<PeerId>,
        readmit: &BTreeSet<PeerId>,
        out: &BTreeSet<PeerId>,
        known: &BTreeSet<PeerId>,
    ) -> Result<(), RotateError> {
        if without.contains(&self.letters.me()) {
            return Err(RotateError::Oneself);
        }
        if let Some(both) = without.intersection(readmit).next() {
            return Err(RotateError::Both(*both));
        }
        let noted = self.names.noted();
        if let Some(unknown) = without.iter().find(|peer| !known.contains(peer) && !noted.contains(peer)) {
            return Err(RotateError::Unknown(*unknown));
        }
        match readmit.iter().find(|peer| !out.contains(peer)) {
            Some(peer) => Err(RotateError::NotOut(*peer)),
            None => Ok(()),
        }
    }

    fn rotated(&self) -> Rotated {
        let rotation = self.rotations.rotation();
        Rotated {
            key: self.rotations.current(),
            members: rotation.map(|one| one.members.clone()).unwrap_or_default(),
            out: self.rotations.out(),
            until_ms: rotation.map_or(0, |one| one.until_ms),
        }
    }
}
