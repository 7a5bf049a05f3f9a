//! Letting others into the network, and getting into one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ed25519_dalek::SigningKey;
use p2p_mesh::id::{PeerId, base32};
use p2p_mesh::limits::ADDRS_PER_RECORD_MAX;
use p2p_mesh::membership::record::Addr;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::rotator::Ask;
use crate::api::{Alarms, DoorError, InviteWish, Invited, Joined, OPEN_INVITES_MAX, Request};
use crate::clock;
use crate::config::Config;
use crate::invite::{AdmissionError, Invite, InviteChange, InviteError, InviteId, Invites, Pass, Ticket, Ties};
use crate::keyfile::Secret;
use crate::network::{self, NetworkKey, Ring};
use crate::rotation::Standing;

/// Shared by everybody who asks for something here.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) key: SigningKey,
    pub(super) networks: Ring,
    pub(super) invites: Invites,
    pub(super) place: Place,
    pub(super) port: u16,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) alarms: Alarms,
    /// Who keeps the keys while the daemon runs.
    pub(super) rotator: mpsc::Sender<Ask>,
    /// Held by whoever joins: two at once would each change the key below the other.
    pub(super) joining: Arc<Mutex<()>>,
}

/// Where the network's key is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In a file of ours, which may be replaced.
    File(PathBuf),
    /// Where this key of the configuration says.
    Configured(&'static str),
    /// Nowhere: there is none.
    Open,
}

impl Place {
    pub(super) fn of(config: &Config) -> Self {
        if config.open_network {
            Self::Open
        } else if config.network_secret.is_some() {
            Self::Configured("network_secret")
        } else if config.network_secret_file.is_some() {
            Self::Configured("network_secret_file")
        } else {
            Self::File(config.network_file())
        }
    }
}

impl Door {
    /// Makes a ticket.
    pub(super) async fn invite(&self, wish: InviteWish, addrs: Vec<Addr>) -> Result<Invited, DoorError> {
        if self.place == Place::Open {
            return Err(DoorError::Open);
        }
        let addrs = if addrs.is_empty() { self.own_addrs().await? } else { addrs };
        let first = self.networks.now()[0].clone();
        let (pass, id, expires_s) = match wish {
            InviteWish::Offline => (Pass::Bearer(first.secret.clone()), None, None),
            InviteWish::Invite { time, uses_max } => {
                let invite = self.keep(time, uses_max).await?;
                let pass = Pass::Invite { id: invite.id, key: invite.key, expires_s: invite.expires_s };
                (pass, Some(invite.id), Some(invite.expires_s))
            }
        };
        let issuer = PeerId(self.key.verifying_key().to_bytes());
        let ticket = Ticket { network: first.id, issuer, addrs: addrs.clone(), pass };
        tracing::info!(id = id.map(tracing::field::debug), ?addrs, expires_s, "invited");
        Ok(Invited { ticket: Secret::new(&ticket.to_text(&self.key)), id, expires_s, addrs })
    }

    /// A new invite, on disk before anybody hears of it.
    async fn keep(&self, time: Duration, uses_max: u32) -> Result<Invite, DoorError> {
        let made_s = clock::unix().as_secs();
        let open = self.ask_store(Request::Invites).await?.iter().filter(|old| old.check(made_s).is_ok()).count();
        if open >= OPEN_INVITES_MAX {
            return Err(DoorError::TooMany(open));
        }
        let invite = Invite {
            id: InviteId::generate(),
            key: Zeroizing::new(rand::random()),
            made_s,
            expires_s: made_s.saturating_add(time.as_secs()),
            uses_max,
            uses: 0,
            is_revoked: false,
        };
        self.change(InviteChange::Add(invite.clone())).await?;
        Ok(invite)
    }

    /// Takes an invite back.
    pub(super) async fn revoke(&self, id: InviteId) -> Result<(), DoorError> {
        self.change(InviteChange::Revoke(id)).await?;
        tracing::info!(?id, "invite_revoked");
        Ok(())
    }

    /// Changes what is kept, and lets handshakes know.
    async fn change(&self, change: InviteChange) -> Result<(), DoorError> {
        let name = match &change {
            InviteChange::Revoke(id) | InviteChange::Use { id, .. } => id.to_string(),
            InviteChange::Add(_) | InviteChange::RevokeAll => String::new(),
        };
        let changed = self.ask(|reply| Request::ChangeInvites { change, reply }).await?;
        changed.map_err(|error| match error {
            InviteError::Refused(_) => DoorError::Unknown(name),
            InviteError::NotKept(why) => DoorError::NotKept(why),
        })?;
        let kept = self.ask_store(Request::Invites).await?;
        self.invites.set(kept);
        Ok(())
    }

    /// Gets into the network of a ticket. In the same network again it only dials.
    pub(super) async fn join(&self, text: &Secret) -> Result<Joined, DoorError> {
        let ticket = Ticket::parse(text.reveal())?;
        let _alone = self.joining.lock().await;
        let (network, is_offline) = (ticket.network_text(), ticket.network_key().is_some());
        let joined = |is_repeated| Joined { network, issuer: ticket.issuer, is_repeated, is_offline };
        if self.networks.now().iter().any(|key| key.id == ticket.network) {
            self.come_back(&ticket).await?;
            self.dial(&ticket).await?;
            return Ok(joined(true));
        }
        check_time(&ticket)?;
        let Place::File(file) = &self.place else { return Err(self.is_fixed()) };
        self.check_ties(&ticket).await?;
        let ask = |reply| Request::Enter { ticket: Box::new(ticket.clone()), reply };
        let keys = self.ask(ask).await??;
        // Others may have come while the issuer was asked.
        self.check_ties(&ticket).await?;
        self.take(file.clone(), keys).await?;
        // They were for the network that this daemon left, so they let nobody in anyway.
        if let Err(error) = self.change(InviteChange::RevokeAll).await {
            tracing::warn!(why = ?error.to_string(), "old_invites_not_revoked");
        }
        tracing::info!(network = ticket.network_text(), issuer = ?ticket.issuer, "network_joined");
        self.dial(&ticket).await?;
        Ok(joined(false))
    }

    /// A member of the ticket's network already; it may have missed a change of the secret.
    async fn come_back(&self, ticket: &Ticket) -> Result<(), DoorError> {
        let (reply, state) = oneshot::channel();
        self.rotator.send(Ask::Network(reply)).await.map_err(|_| DoorError::Stopping)?;
        if state.await.map_err(|_| DoorError::Stopping)?.standing == Standing::In {
            return Ok(());
        }
        let ask = |reply| Request::Enter { ticket: Box::new(ticket.clone()), reply };
        let keys = self.ask(ask).await??;
        self.tell_rotator(|reply| Ask::LetIn(keys, reply)).await
    }

    async fn tell_rotator(&self, ask: impl FnOnce(oneshot::Sender<()>) -> Ask) -> Result<(), DoorError> {
        let (reply, done) = oneshot::channel();
        self.rotator.send(ask(reply)).await.map_err(|_| DoorError::Stopping)?;
        done.await.map_err(|_| DoorError::Stopping)
    }

    /// From now on these keys hold, also for the next start.
    async fn take(&self, file: PathBuf, keys: Vec<NetworkKey>) -> Result<(), DoorError> {
        let lines = keys.clone();
        let saved = tokio::task::spawn_blocking(move || network::save(&file, &lines)).await;
        saved.map_err(|_| DoorError::Stopping)?.map_err(|error| DoorError::NotKept(error.to_string()))?;
        self.networks.set(keys.clone());
        self.tell_rotator(|reply| Ask::Joined(keys, reply)).await
    }

    fn is_fixed(&self) -> DoorError {
        match &self.place {
            Place::Open => DoorError::Configured("open_network"),
            Place::Configured(key) => DoorError::Configured(key),
            Place::File(_) => unreachable!("a file of ours may be replaced"),
        }
    }

    async fn check_ties(&self, ticket: &Ticket) -> Result<(), DoorError> {
        let ties = self.ask(Request::Ties).await?;
        if ties == Ties::default() {
            return Ok(());
        }
        let short = |id: &[u8; 16]| base32(id)[..8].to_owned();
        Err(DoorError::Elsewhere { ours: short(&self.networks.id()), theirs: short(&ticket.network), ties })
    }

    async fn dial(&self, ticket: &Ticket) -> Result<(), DoorError> {
        // The one who made it may be asked to join by it.
        if ticket.issuer.0 == self.key.verifying_key().to_bytes() {
            return Ok(());
        }
        for addr in &ticket.addrs {
            self.ask(|reply| Request::AddPeer(addr.clone(), reply)).await?;
        }
        Ok(())
    }

    /// Joins by the ticket of the configuration, where there is one.
    pub(super) fn start_joining(self, ticket: Option<Secret>, stop: &CancellationToken) {
        if let Some(ticket) = ticket {
            tokio::spawn(self.join_at_start(ticket, stop.clone()));
        }
    }

    /// Joins at the start, again and again while nobody answers. Says how it went, also in the status.
    async fn join_at_start(self, ticket: Secret, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.join(&ticket).await {
                Ok(_) => return self.alarms.clear(JOIN_ALARM),
                Err(DoorError::Stopping) => return,
                Err(error) => error,
            };
            self.alarms.raise(JOIN_ALARM, format!("join: {error}"));
            match error {
                DoorError::Admission(AdmissionError::Unreachable(why)) => tracing::warn!(?why, "not_joined_yet"),
                error => return tracing::error!(why = ?error.to_string(), "not_joined"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
            }
        }
    }

    /// What others are told; where nothing is, what leads out of this machine.
    async fn own_addrs(&self) -> Result<Vec<Addr>, DoorError> {
        let told = self.ask(Request::Status).await?.advertise;
        let mut addrs = if told.is_empty() { self.outward() } else { told };
        addrs.truncate(ADDRS_PER_RECORD_MAX);
        if addrs.is_empty() { Err(DoorError::NoAddress) } else { Ok(addrs) }
    }

    fn outward(&self) -> Vec<Addr> {
        let four = source_of(Ipv4Addr::UNSPECIFIED.into(), FAR_4.into());
        let six = source_of(Ipv6Addr::UNSPECIFIED.into(), FAR_6.into());
        four.into_iter().chain(six).map(|ip| Addr::of(ip, self.port)).collect()
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, DoorError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(question(reply)).await.map_err(|_| DoorError::Stopping)?;
        answer.await.map_err(|_| DoorError::Stopping)
    }

    async fn ask_store<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Request,
    ) -> Result<T, DoorError> {
        self.ask(question).await?.map_err(DoorError::NotKept)
    }
}

/// The address that this machine would send from. Nothing is sent.
fn source_of(any: IpAddr, far: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

/// Whoever is too late for certain is told without asking. Otherwise the issuer's clock decides.
fn check_time(ticket: &Ticket) -> Result<(), DoorError> {
    match ticket.pass {
        Pass::Invite { expires_s, .. }
            if clock::unix().as_secs() > expires_s.saturating_add(CLOCKS_APART.as_secs()) =>
        {
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expires_s));
            let at =
                at.map_or_else(|| "an unknown time".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string());
            Err(DoorError::Expired(at))
        }
        Pass::Invite { .. } | Pass::Bearer(_) => Ok(()),
    }
}

/// Addresses of documentation (RFC 5737, RFC 3849): every router would send them the default way.
const FAR_4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Clocks of two machines may be so far apart before a ticket is refused without asking its issuer.
const CLOCKS_APART: Duration = Duration::from_secs(10 * 60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);
const JOIN_ALARM: &str = "join";
