//! Requests become commands, effects become deeds.

use p2p_mesh::effect::Effect;
use p2p_mesh::id::PeerId;
use p2p_mesh::input::{Command, Input};
use p2p_mesh::status::Status;
use tokio::sync::oneshot;

use super::{Driver, LINKS_ALARM};
use crate::api::Request;
use crate::invite::Ties;
use crate::names::{NoteChange, NoteError};
use crate::store::Job;
use crate::{epoch, panics};

impl Driver {
    pub(super) fn on_request(&mut self, request: Request) {
        match request {
            Request::Publish { drafts, reply } => {
                let token = self.token();
                self.publishing.insert(token, reply);
                self.command(Command::Publish { token, posts: drafts });
            }
            Request::Ping(peer, reply) => {
                let token = self.token();
                self.pinging.insert(token, reply);
                self.command(Command::Ping { token, peer });
            }
            Request::AddPeer(addr, reply) => {
                self.command(Command::AddPeer(addr));
                answer(reply, ());
            }
            Request::ForgetPeer(id, reply) => self.on_forget_peer(id, reply),
            Request::ForgetAddr(addr, reply) => {
                let is_known = self.mesh.is_configured_addr(&addr);
                self.command(Command::ForgetAddr(addr));
                answer(reply, is_known);
            }
            Request::UpdatePeer { peer, change, reply } => self.on_update_peer(peer, change, reply),
            Request::Reconnect(peer, reply) => {
                let dials = self.mesh.reconnects(peer, self.clock.now());
                self.command(Command::Reconnect(peer));
                answer(reply, dials);
            }
            Request::Status(reply) => answer(reply, self.status()),
            Request::Peers(reply) => answer(reply, self.mesh.peers(self.clock.now())),
            Request::ReadLog { after, posts_max, bytes_max, reply } => {
                self.job(Job::ReadLog { after, posts_max, bytes_max, reply });
            }
            Request::FindLast { rooms, with, authors, posts, reply } => {
                self.job(Job::FindLast { rooms, with, authors, posts, reply });
            }
            Request::History { query, reply } => self.job(Job::History { query, reply }),
            Request::Receipts(posts, reply) => answer(reply, self.mesh.receipts(&posts, self.clock.now())),
            Request::SyncState(reply) => answer(reply, self.mesh.sync_state()),
            Request::Graph(reply) => answer(reply, self.mesh.graph()),
            Request::Sync(reply) => {
                let peers = self.mesh.linked_len();
                self.command(Command::Sync);
                answer(reply, peers);
            }
            Request::RoomFeeds { room, after, reply } => self.job(Job::RoomFeeds { room, after, reply }),
            Request::Rooms(reply) => self.job(Job::Rooms { reply }),
            Request::Search { query, reply } => self.job(Job::Search { query, reply }),
            Request::StoreSummary(reply) => self.job(Job::Summary { reply }),
            Request::Configure { mut config, retention_age, retention_bytes, reply } => {
                self.rooms.retention.configure(retention_age, retention_bytes);
                self.note_name(self.mesh.record().id, &config.name.clone());
                self.rooms.subscribers.names().configure(config.block.iter().copied());
                config.block = self.rooms.subscribers.names().kept_away();
                self.command(Command::Configure(config));
                let dials = self.mesh.reconnects(None, self.clock.now());
                self.command(Command::Reconnect(None));
                // What was said of the reload before may be out of date.
                self.tell_service_soon();
                answer(reply, dials);
            }
            Request::KeepAway => self.keep_away(),
            Request::ChangeInvites { change, reply } => self.job(Job::ChangeInvites { change, reply }),
            Request::Invites(reply) => self.job(Job::Invites { reply }),
            Request::Ties(reply) => answer(reply, self.ties()),
            Request::Enter { ticket, reply } => self.rooms.links.enter(ticket, reply),
            Request::Stop => self.rooms.stop_asked.cancel(),
        }
    }

    pub(super) fn execute(&mut self) {
        while let Some(effect) = self.mesh.poll_effect() {
            match effect {
                Effect::Send { link, bytes } => self.rooms.links.send(link, bytes),
                Effect::RaiseFrameLimit(link) => self.rooms.links.raise_frame_limit(link),
                Effect::Dial { dial, addr, expected } => self.rooms.links.dial(dial, addr, expected),
                Effect::Hangup(link) => self.rooms.links.hangup(link),
                Effect::Append(append) => {
                    self.note_append(&append);
                    self.job(Job::Append(append));
                }
                Effect::Read { ticket, from } => self.job(Job::Read { ticket, from }),
                Effect::Settle(settle) => self.job(Job::Settle(settle)),
                Effect::DrawEpoch => self.job(Job::RenewEpoch(epoch::draw(Some(self.mesh.newest_own_epoch())))),
                Effect::FindLost { ticket, after } => self.job(Job::FindLost { ticket, after }),
                Effect::FindKeys { ticket, keys } => self.job(Job::FindKeys { ticket, keys }),
                Effect::SaveRecord { record, seen_ms } => {
                    self.note_name(record.id, &record.name);
                    self.job(Job::SaveRecord { record, seen_ms });
                }
                Effect::ForgetRecord(id) => {
                    self.rooms.subscribers.names().forget(&id);
                    self.job(Job::ForgetRecord(id));
                }
                Effect::Deliver(delivery) => self.delivered.push(delivery),
                Effect::Published { token, results } => {
                    if let Some(reply) = self.publishing.remove(&token) {
                        answer(reply, results);
                    }
                }
                Effect::Ponged { token, rtt_us } => {
                    if let Some(reply) = self.pinging.remove(&token) {
                        answer(reply, rtt_us);
                    }
                }
                Effect::Rest => self.rest(),
                Effect::Event(event) => self.on_event(event),
            }
        }
    }

    /// What a burst needed is free by now, and a quiet daemon is small.
    fn rest(&mut self) {
        if std::mem::take(&mut self.burst_bytes) >= BURST_BYTES_MIN {
            p2p_heap::trim();
        }
    }

    fn on_forget_peer(&mut self, id: PeerId, reply: oneshot::Sender<bool>) {
        let is_noted = self.rooms.subscribers.names().noted().contains(&id);
        let is_known = is_noted || self.mesh.record_of(&id).is_some();
        self.command(Command::ForgetPeer(id));
        answer(reply, is_known);
    }

    /// A peer says how it is called. Who is the first with a name is kept.
    fn note_name(&mut self, peer: PeerId, name: &str) {
        if let Some(first) = self.rooms.subscribers.names().set(peer, name) {
            self.job(Job::SaveName(first));
        }
    }

    /// Holds from now on, and is on disk when the user is answered.
    fn on_update_peer(&mut self, peer: PeerId, change: NoteChange, reply: oneshot::Sender<Result<(), NoteError>>) {
        let names = self.rooms.subscribers.names();
        let was_blocked = names.is_blocked(&peer);
        let note = match names.note(peer, change) {
            Ok(note) => note,
            Err(error) => return answer(reply, Err(error)),
        };
        let is_blocked = names.is_blocked(&peer);
        if is_blocked != was_blocked {
            tracing::info!(?peer, is_blocked, "peer_block_changed");
            self.keep_away();
            self.command(Command::Reconnect(Some(peer)));
        }
        self.job(Job::SaveNote { peer, note, reply });
    }

    /// With whom there shall be no link, by our user's word or by that of the network.
    fn keep_away(&mut self) {
        let kept_away = self.rooms.subscribers.names().kept_away();
        self.command(Command::Block(kept_away));
    }

    /// What binds this daemon to the network that it is in.
    fn ties(&self) -> Ties {
        let me = self.mesh.record().id;
        let peers = self.mesh.peers(self.clock.now());
        let feeds = self.mesh.sync_state().feeds;
        Ties {
            peers: peers.iter().filter(|peer| peer.id.is_some_and(|id| id != me)).count(),
            posts: feeds.iter().filter(|feed| feed.feed.id != me).map(|feed| feed.have).sum(),
        }
    }

    /// What the mesh tells of itself, and what only the rooms around it count.
    fn status(&self) -> Status {
        self.look_at_links();
        let mut status = self.mesh.status();
        status.counters.insert("links_refused_total", self.rooms.links.refused_count());
        status.counters.insert("panics_total", panics::total());
        status.counters.insert("network_rotations_total", self.rooms.ear.rotations());
        status.counters.insert("network_keys_given_total", self.rooms.links.keys_given_count());
        status
    }

    fn look_at_links(&self) {
        match self.rooms.links.problem() {
            Some(problem) => self.rooms.alarms.raise(LINKS_ALARM, problem),
            None => self.rooms.alarms.clear(LINKS_ALARM),
        }
    }

    fn command(&mut self, command: Command) {
        self.handle(Input::Command(command));
    }

    /// Hands a job to the store, behind those that wait.
    pub(super) fn job(&mut self, job: Job) {
        if self.waiting_jobs.is_empty() {
            match self.rooms.jobs.try_send(job) {
                Ok(()) => (),
                Err(error) => self.waiting_jobs.push_back(error.into_inner()),
            }
        } else {
            self.waiting_jobs.push_back(job);
        }
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }
}

/// Bodies of a burst that leaves more memory behind than is worth a look. Guess: less than a megabyte of it.
const BURST_BYTES_MIN: usize = 256 << 10;

/// Whoever asked may be gone; then nobody misses the answer.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}
