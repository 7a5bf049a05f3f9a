//! How the daemon is doing, in one word and in all numbers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use p2p_mesh::id::base32;
use p2p_mesh::status::Status;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::error::Error;
use p2p_proto::v1::{self, StatusResponse};

use super::ask::Asker;
use super::convert::count;
use super::sync::hex;
use super::{Facts, Request};
use crate::health::Health;
use crate::names::Names;

/// What is wrong at the moment. Shared: whoever notices something raises it, and clears it when it is over.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<Mutex<BTreeMap<&'static str, Alarm>>>);

/// One thing that is wrong, or worth to be known.
#[derive(Debug)]
struct Alarm {
    sentence: String,
    /// The daemon does not do all that it should.
    is_grave: bool,
}

impl Alarms {
    /// Says what is wrong, in one sentence. `what` names the alarm, so that it can be cleared.
    pub fn raise(&self, what: &'static str, sentence: String) {
        self.put(what, Alarm { sentence, is_grave: true });
    }

    /// Says something that its user should do one day; until then all works.
    pub fn mention(&self, what: &'static str, sentence: String) {
        self.put(what, Alarm { sentence, is_grave: false });
    }

    fn put(&self, what: &'static str, alarm: Alarm) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what, alarm);
    }

    /// It is over.
    pub fn clear(&self, what: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(what);
    }

    /// Something is wrong.
    #[must_use]
    pub fn are_raised(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().any(|alarm| alarm.is_grave)
    }

    /// The sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(|alarm| alarm.sentence.clone()).collect()
    }
}

/// Asks the driver and adds what is known without it. Before there is a driver, that is all.
pub(super) async fn fetch(
    asker: &Asker,
    facts: &Facts,
    api: &[Endpoint],
    names: &Names,
) -> Result<StatusResponse, Error> {
    if let Some(health) = facts.progress.health() {
        return Ok(StatusResponse { health: v1_health(health).into(), ..of_facts(facts, api) });
    }
    let status = asker.ask(Request::Status).await?;
    let stored = asker.ask(Request::StoreSummary).await?;
    let health = present_health(asker, facts, &status);
    Ok(StatusResponse {
        epoch: status.instance.unwrap_or(facts.instance).epoch.0,
        health: v1_health(health).into(),
        ready: is_ready(health, &status),
        problems: problems(facts.alarms.sentences(), &status, names),
        advertise: status.advertise.iter().map(ToString::to_string).collect(),
        peers_up: count(status.peers_up),
        peers_known: count(status.peers_known),
        posts: status.posts,
        bytes: stored.bytes,
        expired_posts: stored.expired_posts,
        offset: status.offset.0,
        digest: hex(&status.digest.fingerprint),
        feeds: count(status.digest.feeds),
        missing_posts: status.missing_posts,
        counters: status.counters.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect(),
        unacked_own_posts: status.unacked_own_posts,
        unavailable_posts: status.unavailable_posts,
        ..of_facts(facts, api)
    })
}

/// What is known from the start on.
fn of_facts(facts: &Facts, api: &[Endpoint]) -> StatusResponse {
    let choices = facts.live.now();
    StatusResponse {
        id: facts.instance.id.to_string(),
        name: choices.name.clone(),
        epoch: facts.instance.epoch.0,
        version: facts.version.clone(),
        network: base32(&facts.networks.id()),
        open_network: facts.open_network,
        listen: facts.listen.iter().map(ToString::to_string).collect(),
        api: api.iter().map(ToString::to_string).collect(),
        data_dir: facts.data_dir.display().to_string(),
        uptime_ms: u64::try_from(facts.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        pid: facts.pid,
        default_room: choices.default_room.clone(),
        ..StatusResponse::default()
    }
}

fn v1_health(health: Health) -> v1::Health {
    match health {
        Health::Starting => v1::Health::Starting,
        Health::Recovering => v1::Health::Recovering,
        Health::Isolated => v1::Health::Isolated,
        Health::Syncing => v1::Health::Syncing,
        Health::Ready => v1::Health::Ready,
        Health::Degraded => v1::Health::Degraded,
        Health::Stopping => v1::Health::Stopping,
    }
}

/// How a daemon with a driver is doing now.
pub(super) fn present_health(asker: &Asker, facts: &Facts, status: &Status) -> Health {
    health(status, facts.alarms.are_raised(), asker.stop().is_cancelled())
}

/// The worst that is true.
fn health(status: &Status, alarmed: bool, stopping: bool) -> Health {
    if stopping {
        Health::Stopping
    } else if alarmed {
        Health::Degraded
    } else if status.peers_up == 0 && (status.peers_known > 0 || status.addrs_configured > 0) {
        Health::Isolated
    } else if status.missing_posts > 0 {
        Health::Syncing
    } else {
        Health::Ready
    }
}

pub(super) fn is_ready(health: Health, status: &Status) -> bool {
    // Who has nobody to dial is not to blame for being alone: the first of a mesh must come up before the others can.
    let is_alone_by_choice = status.peers_up == 0 && status.addrs_configured == 0;
    health == Health::Ready || (health == Health::Isolated && is_alone_by_choice)
}

pub(super) fn problems(mut alarms: Vec<String>, status: &Status, names: &Names) -> Vec<String> {
    if status.other_instances > 0 {
        let others = status.other_instances;
        alarms.push(format!("{others} other running daemon(s) use this identity: was the data directory copied?"));
    }
    for (feed, seq) in &status.forks {
        let (author, epoch, seq) = (names.shown(&feed.id), feed.epoch.0, seq.0);
        alarms.push(format!("{author} signed two histories (epoch {epoch}, number {seq}): one was set aside"));
    }
    let more = status.feeds_forked.saturating_sub(status.forks.len());
    if more > 0 {
        alarms.push(format!("{more} more feeds have two histories"));
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peers: (usize, usize, usize), missing_posts: u64, alarmed: bool, expected: (Health, bool)) {
        let (peers_up, peers_known, addrs_configured) = peers;
        let status = Status { peers_up, peers_known, addrs_configured, missing_posts, ..Status::default() };
        let health = health(&status, alarmed, false);
        assert_eq!((health, is_ready(health, &status)), expected);
    }

    #[test]
    fn health_is_the_worst_that_is_true() {
        check((0, 0, 0), 0, false, (Health::Ready, true));
        check((2, 3, 1), 0, false, (Health::Ready, true));
        check((0, 0, 1), 0, false, (Health::Isolated, false));
        check((0, 3, 1), 9, false, (Health::Isolated, false));
        check((0, 3, 0), 0, false, (Health::Isolated, true));
        check((2, 3, 1), 9, false, (Health::Syncing, false));
        check((2, 3, 1), 9, true, (Health::Degraded, false));
        check((0, 0, 0), 0, true, (Health::Degraded, false));
    }

    #[test]
    fn a_daemon_on_its_way_out_is_not_ready() {
        let status = Status::default();
        assert_eq!(health(&status, true, true), Health::Stopping);
        assert!(!is_ready(Health::Stopping, &status));
    }

    #[test]
    fn h_09_another_daemon_with_our_identity_is_told_and_does_not_make_us_unready() {
        let status = Status { other_instances: 1, ..Status::default() };
        assert_eq!(problems(Vec::new(), &status, &Names::default()).len(), 1);
        assert_eq!(health(&status, false, false), Health::Ready);
    }

    #[test]
    fn an_alarm_stands_until_it_is_cleared() {
        let alarms = Alarms::default();
        alarms.raise("store", "disk full".into());
        alarms.raise("store", "disk still full".into());
        assert_eq!(alarms.sentences(), ["disk still full"]);
        alarms.clear("store");
        assert!(alarms.sentences().is_empty());
    }

    #[test]
    fn what_is_only_mentioned_makes_nobody_unready() {
        let alarms = Alarms::default();
        alarms.mention("rotation", "update the configuration".into());
        assert_eq!((alarms.sentences().len(), alarms.are_raised()), (1, false));
        alarms.raise("store", "disk full".into());
        assert!(alarms.are_raised());
    }
}
