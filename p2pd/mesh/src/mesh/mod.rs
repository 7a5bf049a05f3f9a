//! The mesh: inputs go in, effects come out.

use std::collections::VecDeque;

use crate::config::Setup;
use crate::effect::Effect;
use crate::input::Input;
use crate::status::{PeerStatus, Status};
use crate::time::{Mono, Now};

/// Everything this peer knows and decides. One input at a time; drain all effects before the next.
#[derive(Debug)]
pub struct Mesh {
    effects: VecDeque<Effect>,
}

impl Mesh {
    /// Begins.
    #[must_use]
    pub fn new(_setup: Setup, _now: Now) -> Self {
        Self { effects: VecDeque::new() }
    }

    /// Something happened outside.
    pub fn handle(&mut self, _input: Input, _now: Now) {}

    /// The moment of `poll_timeout` has come, or is past.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// What shall be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When `handle_timeout` wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    /// The mesh as a whole.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Every peer that is known.
    #[must_use]
    pub fn peers(&self, _now: Now) -> Vec<PeerStatus> {
        Vec::new()
    }
}
