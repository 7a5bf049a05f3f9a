//! From what is found at a start to whoever keeps the network's secrets.

use std::collections::BTreeMap;

use p2p_mesh::id::Offset;
use tokio::sync::mpsc;

use super::{Ask, Files, Mail, Rotator};
use crate::api::{Alarms, Request, Subscribers};
use crate::clock::unix_ms;
use crate::config::Config;
use crate::daemon::door::Place;
use crate::daemon::{Ground, ORDERS_WAITING_MAX};
use crate::identity::DataDir;
use crate::keyfile::{self, KeyFileError};
use crate::letters::Letters;
use crate::network::{self, KeyName, NetworkKey};
use crate::paths::ROTATED_FILE;
use crate::rotation::{Ear, Hatches, KEPT_FILE, Rotations};

/// The ways to whoever keeps the network's secrets.
pub(in crate::daemon) struct Rotating {
    pub(in crate::daemon) asks: mpsc::Sender<Ask>,
    pub(in crate::daemon) hatches: Hatches,
    pub(in crate::daemon) ear: Ear,
}

/// The network's keys as they are found at a start.
pub(in crate::daemon) struct Keys {
    pub(in crate::daemon) rotations: Rotations,
    /// The first one of the configuration.
    pub(in crate::daemon) configured: KeyName,
    /// Those that a file of ours holds.
    pub(in crate::daemon) written: Vec<KeyName>,
}

/// Those of the configuration, and what came of them by rotation.
pub(in crate::daemon) fn keys(config: &Config, dir: &DataDir, letters: &Letters) -> Result<Keys, KeyFileError> {
    let configured = config.networks()?;
    for file in [KEPT_FILE, ROTATED_FILE] {
        keyfile::remove_leftovers(&dir.path().join(file));
    }
    if let Place::File(file) = Place::of(config) {
        keyfile::remove_leftovers(&file);
    }
    let rotated = match network::load(&dir.path().join(ROTATED_FILE)) {
        Ok(keys) => keys,
        Err(KeyFileError::Missing(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let (rotations, error) =
        Rotations::load(letters.clone(), &dir.path().join(KEPT_FILE), (&configured, &rotated), unix_ms());
    if let Some(error) = error {
        tracing::warn!(why = ?error.to_string(), "rotations_forgotten");
    }
    let written = match Place::of(config) {
        Place::Configured(_) if !rotated.is_empty() => &rotated,
        Place::Configured(_) | Place::File(_) | Place::Open => &configured,
    };
    let written = written.iter().map(NetworkKey::name).collect();
    Ok(Keys { rotations, configured: configured[0].name(), written })
}

/// The ways, before anybody goes them.
pub(in crate::daemon) fn rotating(letters: &Letters) -> (Rotating, Mail) {
    let (asks, asked) = mpsc::channel(ORDERS_WAITING_MAX);
    let (give, given) = mpsc::channel(ORDERS_WAITING_MAX);
    let (ear, heard) = Ear::new();
    (Rotating { asks, hatches: Hatches::new(letters.clone(), give), ear }, Mail { asked, heard, given })
}

/// Who keeps the secrets. Whoever is shut out is kept away from now on.
pub(in crate::daemon) fn rotator(
    config: &Config,
    ground: &Ground,
    rotating: &Rotating,
    (requests, subscribers, alarms): (&mpsc::Sender<Request>, &Subscribers, &Alarms),
) -> Rotator {
    let names = subscribers.names().clone();
    names.set_shut_out(ground.rotations.out());
    let rotator = Rotator {
        rotations: ground.rotations.clone(),
        letters: ground.letters.clone(),
        networks: ground.networks.clone(),
        names,
        hatches: rotating.hatches.clone(),
        alarms: alarms.clone(),
        ear: rotating.ear.clone(),
        requests: requests.clone(),
        place: Place::of(config),
        configured: ground.configured,
        files: Files { kept: ground.dir.path().join(KEPT_FILE), rotated: ground.dir.path().join(ROTATED_FILE) },
        read_to: Offset(0),
        written: ground.written.clone(),
        unsaved: None,
        is_pausing: false,
        given_at: BTreeMap::new(),
    };
    // Whoever looks at the status in the first moment sees it too.
    rotator.set_alarms();
    rotator
}
