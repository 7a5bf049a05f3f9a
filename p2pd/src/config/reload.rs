//! Reading the configuration again while the daemon runs: what changed, and what of it can be taken over.

use std::ffi::OsString;
use std::fs;

use super::Config;
use super::keys::KEYS;
use super::load::{ConfigErrors, Effective, Loaded, file_to_read, load_in};
use crate::args::ConfigArgs;
use crate::paths::Surroundings;

/// One key that says something else than what is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    /// What was in force, as it would be written in YAML; `(hidden)` for a secret.
    pub old: String,
    /// What is configured now.
    pub new: String,
    /// It was taken over; else it needs a restart.
    pub is_applied: bool,
}

/// A configuration that was read again.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// What is to be in force from now on: keys that need a restart are as they were.
    pub loaded: Loaded,
    /// In the order of `example-config.yaml`.
    pub changes: Vec<Change>,
}

/// Reads the configuration again, with the same flags and the environment of this process.
///
/// # Errors
///
/// All mistakes; then what was in force stays so.
pub fn reload(
    args: &ConfigArgs,
    env: impl Iterator<Item = (OsString, OsString)>,
    old: &Loaded,
) -> Result<Reloaded, ConfigErrors> {
    reload_in(args, &Surroundings::here(env), old)
}

/// The same in given surroundings.
///
/// # Errors
///
/// As above.
pub fn reload_in(args: &ConfigArgs, surroundings: &Surroundings, old: &Loaded) -> Result<Reloaded, ConfigErrors> {
    check_file(args, surroundings, old)?;
    let new = load_in(args, surroundings)?;
    let mut config = old.config.clone();
    let mut changes = Vec::new();
    let mut values = Vec::new();
    for (key, (was, is)) in KEYS.iter().zip(old.values.iter().zip(&new.values)) {
        if let Some(take) = key.take {
            take(&mut config, &new.config);
        }
        if is_same(was, is, &old.config, &new.config) {
            values.push(is.clone());
            continue;
        }
        let is_applied = key.take.is_some();
        values.push(if is_applied { is.clone() } else { was.clone() });
        changes.push(Change { key: key.name, old: was.value.clone(), new: is.value.clone(), is_applied });
    }
    Ok(Reloaded { loaded: Loaded { config, values, warnings: new.warnings, file: new.file }, changes })
}

/// A file that went away would put all defaults in force, and a pipe can be read only once.
fn check_file(args: &ConfigArgs, surroundings: &Surroundings, old: &Loaded) -> Result<(), ConfigErrors> {
    let named = file_to_read(args, surroundings);
    match (&named, &old.file) {
        (Some(path), _) if fs::metadata(path).is_ok_and(|file| !file.is_file()) => {
            Err(ConfigErrors::new(vec![format!("{}: it is not a file, so it cannot be read again", path.display())]))
        }
        (None, Some(path)) => Err(ConfigErrors::new(vec![format!(
            "{}: it was read at the start and is gone: leave an empty one there for all defaults",
            path.display()
        )])),
        (Some(_) | None, _) => Ok(()),
    }
}

/// Secrets are not shown, so they are compared themselves.
fn is_same(was: &Effective, is: &Effective, old: &Config, new: &Config) -> bool {
    let secret_of = |config: &Config| match was.key {
        "network_secret" => config.network_secret.clone(),
        "join" => config.join.clone(),
        _ => None,
    };
    was.value == is.value && secret_of(old) == secret_of(new)
}
