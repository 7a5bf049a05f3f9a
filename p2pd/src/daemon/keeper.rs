//! What operators ask of a daemon that runs, by signal or over the API: read the configuration again, log more, tell
//! how it is.

use std::net::SocketAddr;

use p2p_mesh::status::{PeerState, PeerStatus, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::door::Door;
use super::log_level::LogLevel;
use super::rotator::Ask;
use super::signals::{Signal, Signals};
use super::{choices, mesh_config};
use crate::api::{Live, LogFilter, LogWish, Order, Reload, Request};
use crate::args::ConfigArgs;
use crate::config::{self, Change, ConfigErrors, Loaded, Reloaded};
use crate::lan::Lan;
use crate::notify::Notifier;

/// Serves the operator until a signal ends the daemon.
pub(super) struct Keeper {
    /// The flags, which a reload reads again with everything else.
    pub(super) args: ConfigArgs,
    /// What is in force.
    pub(super) loaded: Loaded,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) live: Live,
    pub(super) log: LogLevel,
    pub(super) notifier: Notifier,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) door: Door,
    pub(super) lan: Lan,
}

impl Keeper {
    /// The signal that ends the daemon.
    pub(super) async fn run(&mut self, signals: &mut Signals) -> Signal {
        self.switch_lan().await;
        loop {
            let due = self.log.due();
            tokio::select! {
                signal = signals.recv() => match signal {
                    Signal::Term | Signal::Int => return signal,
                    Signal::Hangup => drop(self.reload("HUP").await),
                    Signal::Status => self.log_status().await,
                },
                () = self.log.is_suppressed() => self.log.tell_suppressed(),
                Some(order) = self.orders.recv() => self.on_order(order).await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.log.go_back();
                    let filter = self.log.present(Instant::now()).filter;
                    tracing::info!(?filter, "log_filter_is_back");
                }
            }
        }
    }

    async fn on_order(&mut self, order: Order) {
        // Whoever asked may be gone.
        match order {
            Order::Reload(reply) => drop(reply.send(self.reload("a user").await)),
            Order::Compare(reply) => {
                let found = config::reload(&self.args, std::env::vars_os(), &self.loaded);
                let _ = reply.send(found.map(|found| found.changes));
            }
            Order::Log { wish, reply } => drop(reply.send(self.set_log(wish))),
            Order::Invite { wish, addrs, reply } => {
                let door = self.door.clone();
                tokio::spawn(async move { drop(reply.send(door.invite(wish, addrs).await)) });
            }
            Order::RevokeInvite(id, reply) => {
                let door = self.door.clone();
                tokio::spawn(async move { drop(reply.send(door.revoke(id).await)) });
            }
            // Whoever keeps the secrets may have left before us; then nobody answers, and that is told as stopping.
            Order::Rotate(wish, reply) => drop(self.door.rotator.send(Ask::Rotate(wish, reply)).await),
            Order::Network(reply) => drop(self.door.rotator.send(Ask::Network(reply)).await),
            // It dials, so it may take its time.
            Order::Join(ticket, reply) => {
                let door = self.door.clone();
                tokio::spawn(async move { drop(reply.send(door.join(&ticket).await)) });
            }
        }
    }

    fn set_log(&mut self, wish: Option<LogWish>) -> Result<LogFilter, String> {
        let now = Instant::now();
        if let Some(wish) = wish {
            let LogWish { filter, time } = wish.clone();
            self.log.set(wish, now).map_err(|error| error.to_string())?;
            let for_ms = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            tracing::info!(?filter, for_ms, "log_filter_set");
        }
        Ok(self.log.present(now))
    }

    /// Takes over what changed and can be taken over, and dials at once.
    async fn reload(&mut self, by: &'static str) -> Result<Reload, ConfigErrors> {
        self.notifier.reloading();
        let result = self.try_reload(by).await;
        if let Err(errors) = &result {
            for mistake in errors.mistakes() {
                tracing::error!(by, ?mistake, "reload_refused");
            }
        }
        self.notifier.ready();
        if result.is_err() {
            self.notifier.status("The configuration has mistakes and was not read again: p2pd check");
        }
        result
    }

    async fn try_reload(&mut self, by: &'static str) -> Result<Reload, ConfigErrors> {
        let Reloaded { loaded, changes } = config::reload(&self.args, std::env::vars_os(), &self.loaded)?;
        self.loaded = loaded;
        let config = &self.loaded.config;
        if changes.iter().any(|change| change.key == "log_level") {
            // It was parsed with the rest.
            let _ = self.log.set(LogWish { filter: config.log_level.clone(), time: None }, Instant::now());
        }
        self.live.set(choices(&self.loaded));
        let (reply, answer) = oneshot::channel();
        let request = Request::Configure {
            config: Box::new(mesh_config(config, &self.listen)),
            retention_age: config.retention_age,
            retention_bytes: config.retention_bytes,
            reply,
        };
        let is_taken = self.requests.send(request).await.is_ok();
        let dials = if is_taken { answer.await.unwrap_or_default() } else { 0 };
        self.switch_lan().await;
        let warnings = self.loaded.warnings.clone();
        say(by, &changes, &warnings, dials);
        Ok(Reload { changes, warnings, dials })
    }

    async fn switch_lan(&mut self) {
        if self.loaded.config.lan_discovery {
            self.lan.start();
        } else {
            self.lan.stop().await;
        }
    }

    /// One line for the daemon and one for each peer.
    async fn log_status(&self) {
        let (status_reply, status) = oneshot::channel();
        let (peers_reply, peers) = oneshot::channel();
        let _ = self.requests.send(Request::Status(status_reply)).await;
        let _ = self.requests.send(Request::Peers(peers_reply)).await;
        let (Ok(status), Ok(peers)) = (status.await, peers.await) else { return };
        log_daemon(&status);
        // Whoever is linked or wanted goes first: a book may be full of others.
        let (near, far): (Vec<_>, Vec<_>) =
            peers.iter().partition(|peer| peer.configured || peer.state != PeerState::Down);
        near.into_iter().chain(far).take(PEERS_LOGGED_MAX).for_each(log_peer);
        let more = peers.len().saturating_sub(PEERS_LOGGED_MAX);
        if more > 0 {
            tracing::info!(more, "status_of_more_peers_left_out");
        }
    }
}

fn say(by: &'static str, changes: &[Change], warnings: &[String], dials: u32) {
    for warning in warnings {
        tracing::warn!(?warning, "configuration");
    }
    for Change { key, old, new, is_applied } in changes {
        if *is_applied {
            tracing::info!(key, ?old, ?new, "configuration_changed");
        } else {
            tracing::warn!(key, ?old, ?new, "configuration_needs_restart");
        }
    }
    let applied = changes.iter().filter(|change| change.is_applied).count();
    tracing::info!(by, applied, need_restart = changes.len() - applied, dials, "reloaded");
}

fn log_daemon(status: &Status) {
    tracing::info!(
        peers_up = status.peers_up,
        peers_known = status.peers_known,
        posts = status.posts,
        offset = status.offset.0,
        feeds = status.digest.feeds,
        missing_posts = status.missing_posts,
        unacked_own_posts = status.unacked_own_posts,
        "status"
    );
}

fn log_peer(peer: &PeerStatus) {
    tracing::info!(
        peer = peer.id.map(|id| id.short()),
        name = ?peer.name,
        state = ?peer.state,
        address = ?peer.address,
        rtt_us = peer.rtt_us,
        behind = peer.behind,
        queue_bytes = peer.queue_bytes,
        bytes_sent = peer.bytes_sent,
        bytes_received = peer.bytes_received,
        tries = peer.tries,
        next_dial_ms = peer.next_dial_ms,
        last_error = ?peer.last_error,
        "status_of_peer"
    );
}

/// Peers in one look: below what the log writes of one kind in a minute.
const PEERS_LOGGED_MAX: usize = 100;
