//! The driver: the only loop that owns the mesh. It takes one input, carries out every effect, takes the next.

mod execute;
mod report;
mod retention;
mod tell;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::time::{Duration, Instant};

use p2p_mesh::effect::{Delivery, Refusal, Sent};
use p2p_mesh::id::LinkId;
use p2p_mesh::input::{Command, Input};
use p2p_mesh::mesh::Mesh;
use p2p_mesh::time::{Mono, Now};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::api::{Alarms, Batch, Request, Subscribers};
use crate::clock;
use crate::invite::{self, InviteChange, InviteError};
use crate::lan::Sighting;
use crate::link::{LinkEvent, Links};
use crate::notify::Notifier;
use crate::rotation::Ear;
use crate::store::{Job, StoreError, StoreEvent};

pub use retention::Retention;

/// What happens in one turn of the loop.
enum Turn {
    /// It is time to say goodbye.
    Leave,
    Store(StoreEvent),
    /// The store's thread has ended, though nobody told it to.
    StoreGone,
    /// The store's channel has room again.
    JobsFit,
    Request(Request),
    Timeout,
    /// The store has to be looked at for what is too old or too much.
    Retain,
    /// The service manager has to hear what changed.
    Tell,
    Link(LinkEvent),
    /// Somebody was heard on the local network.
    Sighting(Sighting),
}

/// The two clocks that the mesh is told.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

/// Everything the driver brings together.
pub struct Rooms {
    /// Bytes in and out.
    pub links: Links,
    /// What they tell.
    pub link_events: mpsc::Receiver<LinkEvent>,
    /// Who was heard on the local network.
    pub sightings: mpsc::Receiver<Sighting>,
    /// To the store.
    pub jobs: mpsc::Sender<Job>,
    /// What it tells.
    pub store_events: mpsc::Receiver<StoreEvent>,
    /// What our own users ask.
    pub requests: mpsc::Receiver<Request>,
    /// Who reads our stream.
    pub subscribers: Subscribers,
    /// Who wants to hear of the network's secret.
    pub ear: Ear,
    /// What is to be kept.
    pub retention: Retention,
    /// What is wrong at the moment.
    pub alarms: Alarms,
    /// The service manager.
    pub notifier: Notifier,
    /// Cancelled when a user asks the daemon to stop.
    pub stop_asked: CancellationToken,
    /// Cancelled when it is time to say goodbye: the API is closed by then.
    pub leave: CancellationToken,
}

/// The loop's state.
pub struct Driver {
    mesh: Mesh,
    clock: Clock,
    rooms: Rooms,
    /// Jobs that the store's channel had no room for. What the mesh has in flight is bounded, and so is this.
    waiting_jobs: VecDeque<Job>,
    /// Stored in this turn: subscribers get it as one batch.
    delivered: Vec<Delivery>,
    /// Of the bodies that were delivered since the last rest.
    burst_bytes: usize,
    next_token: u64,
    publishing: BTreeMap<u64, oneshot::Sender<Vec<Result<Sent, Refusal>>>>,
    pinging: BTreeMap<u64, oneshot::Sender<Option<u64>>>,
    open_links: BTreeSet<LinkId>,
    logs: report::Logs,
    /// When the service manager is told how we are.
    tell_due: Option<tokio::time::Instant>,
}

impl Clock {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        // The mesh only orders by it.
        let unix_ms = clock::unix_ms().min(UNIX_MS_MAX);
        Now { mono: Mono(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)), unix_ms }
    }

    fn instant(&self, at: Mono) -> tokio::time::Instant {
        (self.start + Duration::from_micros(at.0).min(FAR)).into()
    }
}

impl Driver {
    /// Brings the rooms together around a mesh that has begun.
    #[must_use]
    pub fn new(mesh: Mesh, clock: Clock, rooms: Rooms) -> Self {
        let names = rooms.subscribers.names();
        // On a first start our own name is ours, whoever else has it.
        let own = mesh.record();
        let called = std::iter::once((own.id, own.name.as_str())).chain(mesh.names());
        let waiting_jobs = called.filter_map(|(peer, name)| names.set(peer, name)).map(Job::SaveName).collect();
        Self {
            mesh,
            clock,
            rooms,
            waiting_jobs,
            delivered: Vec::new(),
            burst_bytes: 0,
            next_token: 1,
            publishing: BTreeMap::new(),
            pinging: BTreeMap::new(),
            open_links: BTreeSet::new(),
            logs: report::Logs::default(),
            tell_due: None,
        }
    }

    /// Runs until it is told to leave and has said goodbye.
    ///
    /// # Errors
    ///
    /// The store failed in a way after which nothing may be promised any more.
    pub async fn run(mut self) -> Result<(), StoreError> {
        let timer = tokio::time::sleep_until(self.clock.instant(Mono(0)));
        tokio::pin!(timer);
        let mut leaving: Option<tokio::time::Instant> = None;
        loop {
            let due = self.clock.instant(self.mesh.poll_timeout().unwrap_or(Mono(u64::MAX)));
            let due = leaving.map_or(due, |deadline| due.min(deadline));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            match self.next(timer.as_mut(), leaving.is_some()).await {
                Turn::Leave => {
                    leaving = Some(tokio::time::Instant::now() + LEAVE_TIMEOUT);
                    self.handle(Input::Command(Command::Leave));
                }
                Turn::Store(event) => self.on_store_events(event)?,
                Turn::StoreGone => return Err(StoreError::Failed("the thread of the store has ended".to_owned())),
                Turn::JobsFit => self.send_waiting_jobs(),
                Turn::Request(request) => {
                    self.on_requests(request);
                    // However much our own user says, the network has its turn too.
                    if self.has_room()
                        && let Ok(event) = self.rooms.link_events.try_recv()
                    {
                        self.on_link_event(event);
                    }
                }
                Turn::Timeout => self.on_timeout(),
                Turn::Retain => self.retain(),
                Turn::Tell => self.tell_service(),
                Turn::Link(event) => self.on_link_events(event),
                Turn::Sighting(Sighting { peer, addrs }) => {
                    self.handle(Input::Command(Command::Hint { peer, addrs }));
                }
            }
            self.publish();
            let is_late = leaving.is_some_and(|deadline| tokio::time::Instant::now() >= deadline);
            if is_late || (leaving.is_some() && self.open_links.is_empty() && self.waiting_jobs.is_empty()) {
                return Ok(());
            }
        }
    }

    /// What happens next. What holds others up goes first: the store's answers, then our own user, so that a flood
    /// from the network delays no send.
    async fn next(&mut self, timer: Pin<&mut Sleep>, is_leaving: bool) -> Turn {
        let has_room = self.has_room();
        let (retention_due, tell_due) = (self.rooms.retention.due(), self.tell_due);
        let Rooms { store_events, jobs, requests, link_events, sightings, leave, .. } = &mut self.rooms;
        tokio::select! {
            biased;
            () = leave.cancelled(), if !is_leaving => Turn::Leave,
            event = store_events.recv() => event.map_or(Turn::StoreGone, Turn::Store),
            Ok(_) = jobs.reserve(), if !self.waiting_jobs.is_empty() => Turn::JobsFit,
            () = timer => Turn::Timeout,
            () = sleep_until(retention_due) => Turn::Retain,
            () = sleep_until(tell_due) => Turn::Tell,
            Some(request) = requests.recv() => Turn::Request(request),
            // Few a minute, so a flood from peers is not held up by them, and they not by it.
            Some(sighting) = sightings.recv(), if has_room => Turn::Sighting(sighting),
            Some(event) = link_events.recv(), if has_room => Turn::Link(event),
        }
    }

    fn send_waiting_jobs(&mut self) {
        while let Some(job) = self.waiting_jobs.pop_front() {
            if let Err(error) = self.rooms.jobs.try_send(job) {
                self.waiting_jobs.push_front(error.into_inner());
                return;
            }
        }
    }

    /// Reading from links stops while the store is behind: TCP then holds the peers back.
    fn has_room(&self) -> bool {
        !self.mesh.is_saturated() && self.waiting_jobs.len() < WAITING_JOBS_MAX
    }

    fn on_timeout(&mut self) {
        self.mesh.handle_timeout(self.clock.now());
        self.execute();
    }

    fn handle(&mut self, input: Input) {
        self.mesh.handle(input, self.clock.now());
        self.execute();
    }

    fn on_link_events(&mut self, first: LinkEvent) {
        self.on_link_event(first);
        // Whatever else is there shares this turn's batch, within reason.
        for _ in 1..EVENTS_PER_TURN {
            if !self.has_room() {
                return;
            }
            let Ok(event) = self.rooms.link_events.try_recv() else { return };
            self.on_link_event(event);
        }
    }

    fn on_link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Input(input) => {
                self.note_link(&input);
                self.handle(input);
            }
            LinkEvent::Entry { peer, reply, .. } if self.rooms.subscribers.names().called(&peer).is_shut_out => {
                // Its ticket is from before; whoever is to let it in again says so.
                let _ = reply.send(Err(InviteError::Refused(invite::Refusal::Revoked)));
            }
            LinkEvent::Entry { invite: id, peer, reply } => {
                let now_s = self.clock.now().unix_ms / 1_000;
                self.job(Job::ChangeInvites { change: InviteChange::Use { id, peer, now_s }, reply });
            }
            LinkEvent::Frames { link, frames } => {
                for frame in frames {
                    self.handle(Input::Frame { link, frame });
                }
            }
        }
    }

    fn note_link(&mut self, input: &Input) {
        match input {
            Input::LinkOpened(opened) => {
                self.open_links.insert(opened.link);
            }
            Input::LinkClosed { link, .. } => {
                self.open_links.remove(link);
            }
            Input::DialFailed { .. }
            | Input::Frame { .. }
            | Input::Receiving(_)
            | Input::BadFrame { .. }
            | Input::Written { .. }
            | Input::Appended(_)
            | Input::AppendFailed { .. }
            | Input::ReadDone { .. }
            | Input::KeysFound { .. }
            | Input::Settled { .. }
            | Input::SettleFailed(_)
            | Input::EpochDrawn(_)
            | Input::LostFound { .. }
            | Input::Retained { .. }
            | Input::Command(_) => (),
        }
    }

    fn on_store_events(&mut self, first: StoreEvent) -> Result<(), StoreError> {
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                StoreEvent::Input(input) => {
                    if matches!(input, Input::Appended(_)) {
                        self.rooms.alarms.clear(STORE_ALARM);
                    }
                    self.handle(input);
                }
                StoreEvent::Damaged(why) => self.on_damage(why),
                StoreEvent::Recovered => {
                    tracing::info!("store_recovered");
                    self.rooms.alarms.clear(STORE_ALARM);
                    self.tell_service_soon();
                }
                StoreEvent::Retained(retained) => self.on_retained(retained),
                StoreEvent::Failed(error) => return Err(error),
            }
            next = self.rooms.store_events.try_recv().ok();
        }
        Ok(())
    }

    fn on_requests(&mut self, first: Request) {
        self.on_request(first);
        for _ in 1..EVENTS_PER_TURN {
            let Ok(request) = self.rooms.requests.try_recv() else { return };
            self.on_request(request);
        }
    }

    /// Hands this turn's deliveries to whoever reads.
    fn publish(&mut self) {
        if !self.delivered.is_empty() {
            let entries = std::mem::take(&mut self.delivered);
            for entry in &entries {
                self.rooms.ear.listen(entry);
                self.burst_bytes += entry.envelope.bytes().len();
            }
            self.rooms.subscribers.publish(Batch { entries });
        }
    }
}

/// Waits for ever where there is nothing to wait for.
async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Links get this long to carry the goodbye.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Events taken together before somebody else has a turn.
const EVENTS_PER_TURN: usize = 16;
/// Jobs that wait for the store's channel before links are left unread.
const WAITING_JOBS_MAX: usize = 4_096;
/// As good as never, and no clock overflows.
const FAR: Duration = Duration::from_secs(86_400 * 365);
/// Integers above this are not carried by every JSON reader.
const UNIX_MS_MAX: u64 = (1 << 53) - 1;
/// The links' entry among the alarms.
const LINKS_ALARM: &str = "links";
/// What was written and cannot be read, among the alarms: it stays until a start that does not find it.
const DAMAGE_ALARM: &str = "damage";
/// The store's entry among the alarms.
const STORE_ALARM: &str = "store";

#[cfg(test)]
mod tests;
