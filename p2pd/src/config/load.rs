//! Lays the layers over each other and collects everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use p2p_mesh::limits::ADDRS_PER_RECORD_MAX;
use p2p_mesh::membership::record::Addr;

use super::file::{self, Entry, Raw};
use super::keys::{ENV_PREFIX, KEYS, Key, Read, Shown};
use super::{Config, show};
use crate::args::ConfigArgs;
use crate::exit;
use crate::paths::Surroundings;

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Each key with its value and where that comes from, in the order of `example-config.yaml`.
    pub values: Vec<Effective>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// A key's value in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effective {
    /// The key.
    pub key: &'static str,
    /// As it would be written in YAML; `(hidden)` for a secret, `null` for none.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The file, with a line counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

/// Everything that is wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(Vec<String>);

impl ConfigErrors {
    /// At least one mistake, a sentence each.
    pub(crate) fn new(mistakes: Vec<String>) -> Self {
        Self(mistakes)
    }

    /// The mistakes, one sentence each.
    #[must_use]
    pub fn mistakes(&self) -> &[String] {
        &self.0
    }

    /// What p2pd exits with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        exit::BAD_CONFIG
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Reads the configuration: flags, environment, file, defaults.
///
/// # Errors
///
/// All mistakes of all layers, also of values that a higher layer replaces.
pub fn load(args: &ConfigArgs, env: impl Iterator<Item = (OsString, OsString)>) -> Result<Loaded, ConfigErrors> {
    load_in(args, &Surroundings::here(env))
}

/// The same in given surroundings.
///
/// # Errors
///
/// As above.
pub fn load_in(args: &ConfigArgs, surroundings: &Surroundings) -> Result<Loaded, ConfigErrors> {
    let mut layers = Layers::new(surroundings);
    let file = file_to_read(args, surroundings);
    if let Some(path) = &file {
        layers.lay_file(path);
    }
    layers.lay_environment(surroundings);
    for (name, flag, values) in args.given() {
        layers.lay(name, &Source::Flag(flag), values.iter().map(|value| (Source::Flag(flag), value.as_str())));
    }
    layers.settle(surroundings);
    layers.finish(file)
}

/// The file that was named, or the first that is found.
pub(super) fn file_to_read(args: &ConfigArgs, surroundings: &Surroundings) -> Option<PathBuf> {
    let named = args.config.clone().or_else(|| surroundings.variable(CONFIG_VARIABLE).map(PathBuf::from));
    named.or_else(|| surroundings.config_file())
}

/// The configuration while it is put together.
struct Layers {
    config: Config,
    sources: BTreeMap<&'static str, Source>,
    mistakes: Vec<String>,
    /// Keys whose values are not what was written, because of a mistake.
    broken: BTreeSet<&'static str>,
    warnings: Vec<String>,
}

impl Layers {
    fn new(surroundings: &Surroundings) -> Self {
        let config = Config::default_in(surroundings);
        Self { config, sources: BTreeMap::new(), mistakes: Vec::new(), broken: BTreeSet::new(), warnings: Vec::new() }
    }

    fn lay_file(&mut self, path: &Path) {
        let shown = path.display();
        let opened = match file::open(path) {
            Ok(opened) => opened,
            Err(error) => return self.mistakes.push(file_mistake(path, &error)),
        };
        if opened.world_writable {
            self.warnings.push(format!("{shown} can be changed by everybody: chmod o-w {shown}"));
        }
        let entries = match file::parse(path, &opened.text) {
            Ok(entries) => entries,
            Err(error) => return self.mistakes.push(file_mistake(path, &error)),
        };
        let is_secret = |entry: &&Entry| SECRET_KEYS.contains(&entry.key.as_str()) && entry.value != Raw::Null;
        let secret = entries.iter().find(is_secret);
        if let (Some(entry), true) = (secret, opened.readable_by_others) {
            let Entry { key, line, .. } = entry;
            self.mistakes
                .push(format!("{shown}: {key} (line {line}): the file can be read by others: chmod 600 {shown}"));
        }
        self.lay_entries(path, &entries);
    }

    fn lay_entries(&mut self, path: &Path, entries: &[Entry]) {
        let mut seen = BTreeMap::new();
        for Entry { key, line, value } in entries {
            let at = |line: usize| Source::File(path.to_owned(), line);
            let Some(known) = KEYS.iter().find(|known| known.name == *key) else {
                let hint = suggestion(key, KEYS.iter().map(|key| key.name.to_owned()));
                self.mistakes.push(format!("{}: unknown key {key:?} (line {line}){hint}", path.display()));
                continue;
            };
            if let Some(first) = seen.insert(known.name, *line) {
                self.complain(&at(*line), known.name, &format!("the key stands on line {first} already"));
                continue;
            }
            match (value, known.read) {
                (Raw::Null, _) => (),
                (Raw::One(text), _) => self.lay(known.name, &at(*line), [(at(*line), text.as_str())].into_iter()),
                (Raw::Many(texts), Read::Many(..)) => {
                    let texts = texts.iter().map(|(line, text)| (at(*line), text.as_str()));
                    self.lay(known.name, &at(*line), texts);
                }
                (Raw::Many(_), Read::One(_)) => {
                    self.complain(&at(*line), known.name, "one value is needed, not a list")
                }
                (Raw::Nested, Read::Many(..)) => {
                    self.complain(&at(*line), known.name, "a list of plain values is needed")
                }
                (Raw::Nested, Read::One(_)) => self.complain(&at(*line), known.name, "one plain value is needed"),
            }
        }
    }

    fn lay_environment(&mut self, surroundings: &Surroundings) {
        for (name, value) in &surroundings.env {
            let name = name.to_string_lossy();
            if !name.starts_with(ENV_PREFIX) || name == CONFIG_VARIABLE || value.is_empty() {
                continue;
            }
            let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
                let names = KEYS.iter().map(Key::variable).chain([CONFIG_VARIABLE.to_owned()]);
                self.mistakes.push(format!("unknown variable {name:?}{}", suggestion(&name, names)));
                continue;
            };
            let source = Source::Variable(name.into_owned());
            let Some(text) = value.to_str() else {
                self.complain(&source, key.name, "the value is not UTF-8");
                continue;
            };
            match key.read {
                Read::One(_) => self.lay(key.name, &source, [(source.clone(), text)].into_iter()),
                Read::Many(..) => {
                    let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                    self.lay(key.name, &source, texts.map(|text| (source.clone(), text)));
                }
            }
        }
    }

    /// Sets a key. What a lower layer said of it is gone, also where it is a list.
    fn lay<'a>(&mut self, name: &'static str, source: &Source, texts: impl Iterator<Item = (Source, &'a str)>) {
        let key = KEYS.iter().find(|key| key.name == name).expect("only names of the table come here");
        let put = match key.read {
            Read::One(put) => put,
            Read::Many(clear, put) => {
                clear(&mut self.config);
                put
            }
        };
        self.sources.insert(key.name, source.clone());
        for (source, text) in texts {
            if let Err(message) = put(&mut self.config, text) {
                self.complain(&source, key.name, &message);
            }
        }
    }

    /// What follows from several keys together.
    fn settle(&mut self, surroundings: &Surroundings) {
        if !self.sources.contains_key("api_addr") {
            self.config.api_addr = vec![surroundings.socket(&self.config.data_dir)];
        }
        self.check_secrets();
        self.check_peers();
        let config = &self.config;
        if config.api_addr.is_empty() && !self.broken.contains("api_addr") {
            self.complain_of("api_addr", "the list is empty, so nothing could control the daemon");
        } else if config.advertise_addr.len() > ADDRS_PER_RECORD_MAX {
            let count = config.advertise_addr.len();
            self.complain_of(
                "advertise_addr",
                &format!("{count} addresses are over the limit of {ADDRS_PER_RECORD_MAX}"),
            );
        }
        let both = self.config.allow.iter().find(|id| self.config.block.contains(id)).copied();
        if let Some(id) = both {
            self.complain_of("block", &format!("{id} is in `allow` too"));
        }
        if self.config.max_connections < self.config.full_mesh_max && self.sources.contains_key("full_mesh_max") {
            let (links, mesh) = (self.config.max_connections, self.config.full_mesh_max);
            self.warnings.push(format!("full_mesh_max {mesh} is never reached with max_connections {links}"));
        }
    }

    fn check_secrets(&mut self) {
        let given = |key: &&&'static str| self.sources.contains_key(**key);
        let mut given: Vec<&'static str> = ["network_secret_file", SECRET_KEY].iter().filter(given).copied().collect();
        if self.config.open_network {
            given.push("open_network");
        }
        if let [first, .., last] = given[..] {
            let source = self.source_of(first);
            self.complain_of(last, &format!("{first} ({source}) is set too, and only one of them can be"));
        }
    }

    /// Peers that cannot help, but do no harm either.
    fn check_peers(&mut self) {
        let mut seen = BTreeSet::new();
        let (kept, doubled): (Vec<Addr>, Vec<Addr>) =
            std::mem::take(&mut self.config.peers).into_iter().partition(|addr| seen.insert(addr.clone()));
        self.config.peers = kept;
        let place = self.source_of("peers");
        for addr in doubled {
            self.warnings.push(format!("peers ({place}): {addr} is there twice"));
        }
        let own = &self.config.listen_addr;
        for addr in self.config.peers.iter().filter(|addr| is_own(addr, own)) {
            self.warnings.push(format!("peers ({place}): {addr} is this daemon's own address"));
        }
    }

    fn source_of(&self, name: &str) -> Source {
        self.sources.get(name).cloned().unwrap_or(Source::Default)
    }

    fn complain_of(&mut self, name: &'static str, message: &str) {
        self.complain(&self.source_of(name), name, message);
    }

    fn complain(&mut self, source: &Source, name: &'static str, message: &str) {
        self.broken.insert(name);
        self.mistakes.push(match source {
            Source::Default => format!("{name}: {message}"),
            Source::File(path, line) => format!("{}: {name} (line {line}): {message}", path.display()),
            Source::Variable(variable) => format!("{variable}: {message}"),
            Source::Flag(flag) => format!("{flag}: {message}"),
        });
    }

    fn finish(self, file: Option<PathBuf>) -> Result<Loaded, ConfigErrors> {
        if !self.mistakes.is_empty() {
            return Err(ConfigErrors(self.mistakes));
        }
        let effective = |key: &Key| {
            let value = match (key.show)(&self.config) {
                Shown::Hidden => "(hidden)".into(),
                shown => show::yaml(&shown),
            };
            Effective { key: key.name, value, source: self.source_of(key.name) }
        };
        let values = KEYS.iter().map(effective).collect();
        Ok(Loaded { values, config: self.config, warnings: self.warnings, file })
    }
}

fn file_mistake(path: &Path, error: &file::FileError) -> String {
    let line = error.line.map_or_else(String::new, |line| format!(" line {line}:"));
    format!("{}:{line} {}", path.display(), error.message)
}

/// The same port on the same machine name, or on loopback both.
fn is_own(addr: &Addr, listen_addr: &str) -> bool {
    let Ok(own) = listen_addr.parse::<Addr>() else { return false };
    let loopback = addr.is_loopback() && (own.is_loopback() || own.is_unroutable());
    addr.port() == own.port() && (addr.host() == own.host() || loopback)
}

/// `. Did you mean …?`, where a known word is near enough, or goes on as this one does.
fn suggestion(word: &str, known: impl Iterator<Item = String>) -> String {
    let near = known.map(|known| (distance(word, &known), known));
    let goes_on = |known: &str| word.len() > "P2P_".len() && known.starts_with(word);
    let near = near.filter(|(distance, known)| *distance <= 2.max(known.len() / 4) || goes_on(known)).min();
    near.map_or_else(String::new, |(_, known)| format!(". Did you mean {known:?}?"))
}

/// Letters to insert, remove or replace to make one word of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    // Nothing known is near a longer word, and a file may hold a very long one.
    for (done, letter) in from.chars().take(DISTANCE_LEN_MAX).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], done + 1);
        for (at, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

const CONFIG_VARIABLE: &str = "P2P_CONFIG";
const SECRET_KEY: &str = "network_secret";
/// What nobody else may read.
const SECRET_KEYS: [&str; 2] = [SECRET_KEY, "join"];
const DISTANCE_LEN_MAX: usize = 64;
