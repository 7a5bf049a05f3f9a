//! What one world is like: everything that is drawn before it begins.

use std::time::Duration;

use p2p_mesh::limits::NEWEST_FIRST_POSTS;

use super::bug::Bug;
use super::dice::Dice;
use super::network::NetworkPlan;

/// One world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything else is drawn from it.
    pub seed: u64,
    /// Honest peers.
    pub peers: usize,
    /// Neighbours that do what they like.
    pub hostile: usize,
    /// Those never read and say just enough to be taken for alive.
    pub hostile_clings: bool,
    /// Neighbours that follow the protocol, but pass on nothing that others said.
    pub censors: usize,
    /// Who knows whom at the start.
    pub topology: Topology,
    /// The ways between machines.
    pub network: NetworkPlan,
    /// The shortest and the longest flush.
    pub flush: (Duration, Duration),
    /// Silence after which a link is asked whether it lives.
    pub heartbeat_interval: Duration,
    /// How long the answer may take.
    pub heartbeat_timeout: Duration,
    /// Links at a time.
    pub max_connections: usize,
    /// Posts that a feed may be behind and is still fetched in order.
    pub newest_first_posts: u64,
    /// Users at each peer.
    pub sessions: usize,
    /// The mean time a user thinks between answer and next send.
    pub think: Duration,
    /// The most posts of one send.
    pub batch_max: u64,
    /// Of all sends, how many carry idempotency keys.
    pub keyed: f64,
    /// How long users talk while faults happen.
    pub trouble: Duration,
    /// The mean time between faults.
    pub fault_gap: Duration,
    /// How often each kind of fault is drawn.
    pub weights: Vec<(FaultKind, f64)>,
    /// When all is settled, everybody talks on, and copies are counted.
    pub talks_after: bool,
    /// After that one peer is gone for a while, and the others are looked at.
    pub misses_after: bool,
    /// The bug put in on purpose.
    pub bug: Option<Bug>,
}

/// Who knows whom at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// Everybody knows the first.
    Star,
    /// Everybody knows the one before.
    Line,
    /// The same, and the first knows the last.
    Ring,
    /// Everybody knows two before, one of them by name.
    Chords,
}

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// All links between two machines are reset.
    Reset,
    /// A link is cut in the middle of what it sends.
    CutAtByte,
    /// One way is silent.
    OneWay,
    /// Two machines do not hear each other.
    TwoWay,
    /// One machine hears nobody and is heard by nobody.
    Isolate,
    /// Two groups.
    Halves,
    /// Two groups that share one machine.
    Bridge,
    /// Everybody reaches two neighbours only.
    RingOnly,
    /// One group hears the other, which does not hear it.
    HalfDeaf,
    /// A process ends at any moment.
    Crash,
    /// The power of one machine goes.
    PowerCut,
    /// A daemon is stopped in order.
    Leave,
    /// A machine is cut off, its users say something, and then it dies.
    IsolateSendKill,
    /// A machine gets its disk of a while ago.
    OldDisk,
    /// A machine with the same disk and identity appears.
    Clone,
    /// A machine is resumed a second time from the memory it has now.
    ResumedTwice,
    /// A wall clock jumps by up to an hour.
    ClockJump,
    /// A process stands still.
    Stall,
    /// A process reads nothing from its links.
    StuckReader,
    /// A process reads slowly.
    SlowReader,
    /// No append succeeds.
    DiskFull,
    /// Flushes take long.
    SlowDisk,
    /// All links are reset, and all dial at once.
    DialTogether,
    /// One user says very much while somebody else is cut off.
    Flood,
    /// A machine is off for so long that others dial it in vain at their slowest.
    LongAbsence,
    /// Every two machines in turn do not hear each other.
    EveryPair,
    /// Links stop one after the other, and come back in another order.
    Swizzle,
    /// A way between two machines comes and goes.
    Flap,
    /// One machine hangs on a line of 64 kbit a second.
    SlowLine,
    /// A machine comes back at another address, or two change places.
    Move,
    /// A process reads nothing while somebody says very much.
    StuckInFlood,
}

/// How much longer a slow disk takes for everything.
pub const SLOW_DISK_FACTOR: u32 = 100;

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::Reset,
        Self::CutAtByte,
        Self::OneWay,
        Self::TwoWay,
        Self::Isolate,
        Self::Halves,
        Self::Bridge,
        Self::RingOnly,
        Self::HalfDeaf,
        Self::Crash,
        Self::PowerCut,
        Self::Leave,
        Self::IsolateSendKill,
        Self::OldDisk,
        Self::Clone,
        Self::ResumedTwice,
        Self::ClockJump,
        Self::Stall,
        Self::StuckReader,
        Self::SlowReader,
        Self::DiskFull,
        Self::SlowDisk,
        Self::DialTogether,
        Self::Flood,
        Self::LongAbsence,
        Self::EveryPair,
        Self::Swizzle,
        Self::Flap,
        Self::SlowLine,
        Self::Move,
        Self::StuckInFlood,
    ];

    /// Whether what was asked of one over its line may be asked of others too, before the answer comes.
    #[must_use]
    pub fn is_slow(self) -> bool {
        matches!(self, Self::SlowLine | Self::SlowReader | Self::StuckInFlood | Self::StuckReader)
    }

    /// How often it is drawn, against the others.
    fn usual_weight(self) -> f64 {
        match self {
            Self::IsolateSendKill => 3.0,
            Self::Crash | Self::PowerCut => 1.5,
            Self::OldDisk | Self::Clone | Self::ResumedTwice | Self::Leave => 0.4,
            Self::Flood | Self::LongAbsence | Self::StuckInFlood => 0.15,
            Self::Move => 0.5,
            Self::Reset
            | Self::CutAtByte
            | Self::OneWay
            | Self::TwoWay
            | Self::Isolate
            | Self::Halves
            | Self::Bridge
            | Self::RingOnly
            | Self::HalfDeaf
            | Self::ClockJump
            | Self::Stall
            | Self::StuckReader
            | Self::SlowReader
            | Self::DiskFull
            | Self::SlowDisk
            | Self::EveryPair
            | Self::Swizzle
            | Self::Flap
            | Self::SlowLine
            | Self::DialTogether => 1.0,
        }
    }
}

impl Plan {
    /// A world without faults: what the gates of the protocol are measured in.
    #[must_use]
    pub fn calm(seed: u64, peers: usize) -> Self {
        Self {
            seed,
            peers,
            hostile: 0,
            hostile_clings: false,
            censors: 0,
            topology: Topology::Star,
            network: NetworkPlan {
                latency_min: Duration::from_millis(10),
                latency_max: Duration::from_millis(50),
                socket_bytes: 65_536,
                bandwidth: None,
                user_timeout: Duration::from_secs(5),
            },
            flush: (Duration::from_micros(100), Duration::from_micros(700)),
            heartbeat_interval: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(5),
            max_connections: 50,
            newest_first_posts: NEWEST_FIRST_POSTS,
            sessions: 0,
            think: Duration::from_secs(1),
            batch_max: 1,
            keyed: 0.0,
            trouble: Duration::ZERO,
            fault_gap: Duration::MAX,
            weights: Vec::new(),
            talks_after: false,
            misses_after: false,
            bug: None,
        }
    }

    /// The world of a seed: most kinds of faults are absent from most worlds, so that each is seen alone too.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let dice = &mut Dice::new(seed ^ 0x0070_6c61_6e00);
        let peers = dice.between(2, 7) as usize;
        let latency_min = dice.pick(&[50, 1_000, 10_000]);
        let (heartbeat_interval, heartbeat_timeout) = dice.pick(&[(30, 5), (30, 5), (5, 2)]);
        let heartbeat_timeout = Duration::from_secs(heartbeat_timeout);
        let slow = dice.pick(&[1, 1, 10, 60]);
        let (hostile, censors) = (dice.pick(&[0, 0, 1]), dice.pick(&[0, 0, 0, 1]));
        let mut weights = draw_weights(dice);
        let is_stuck = weights.iter().any(|(kind, _)| *kind == FaultKind::StuckInFlood) && dice.chance(0.3);
        let hostile = if is_stuck { 1 } else { hostile };
        // Just enough links for everybody, and nobody more.
        let is_tight = dice.chance(0.2);
        let moves = weights.iter().any(|(kind, _)| *kind == FaultKind::Move);
        if is_tight || moves {
            weights.retain(|(kind, _)| !matches!(kind, FaultKind::Clone | FaultKind::ResumedTwice));
        }
        // Nobody can find a machine that moved if all that knows it is a copy of one that it knew, or forgot.
        if moves {
            weights.retain(|(kind, _)| *kind != FaultKind::OldDisk);
        }
        let trouble = if is_stuck { 60 } else { dice.pick(&[5, 15, 30]) };
        Self {
            hostile,
            hostile_clings: is_stuck,
            censors,
            max_connections: if is_tight { peers + hostile + censors - 1 } else { 50 },
            topology: dice.pick(&[Topology::Star, Topology::Line, Topology::Ring, Topology::Chords]),
            network: NetworkPlan {
                latency_min: Duration::from_micros(latency_min),
                latency_max: Duration::from_micros(latency_min * dice.between(1, 6)),
                socket_bytes: dice.pick(&[4_096, 65_536, 262_144]),
                bandwidth: dice.pick(&[None, None, Some(200_000)]),
                user_timeout: heartbeat_timeout,
            },
            flush: (Duration::from_micros(50 * slow), Duration::from_micros(1_000 * slow)),
            heartbeat_interval: Duration::from_secs(heartbeat_interval),
            heartbeat_timeout,
            // Small enough that most peers that come back fetch the newest first.
            newest_first_posts: Dice::new(seed ^ 0x006e_6577_6573).pick(&[2, 8, 64, NEWEST_FIRST_POSTS]),
            sessions: dice.between(1, 2) as usize,
            think: Duration::from_millis(dice.pick(&[200, 1_000, 3_000])),
            batch_max: dice.pick(&[1, 3, 20]),
            keyed: dice.pick(&[0.0, 0.5, 1.0]),
            trouble: Duration::from_secs(trouble),
            fault_gap: Duration::from_millis(dice.pick(&[400, 1_500, 5_000, 100_000])),
            weights,
            talks_after: dice.chance(0.2),
            misses_after: dice.chance(0.2),
            ..Self::calm(seed, peers)
        }
    }

    /// Everybody follows the protocol and passes on what others said.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.hostile == 0 && self.censors == 0
    }

    /// The world of a seed with a bug in it, and with what the bug needs to show.
    #[must_use]
    pub fn with_bug(seed: u64, bug: Bug) -> Self {
        let mut plan = Self { bug: Some(bug), ..Self::of_seed(seed) };
        let needs = match bug {
            Bug::AckBeforeFlush | Bug::ForgottenKeys => vec![(FaultKind::IsolateSendKill, 3.0)],
            Bug::ReusedNumber => {
                plan.think = Duration::from_millis(200);
                plan.weights.clear();
                vec![(FaultKind::OldDisk, 3.0), (FaultKind::Crash, 1.0)]
            }
            Bug::NoRepair => vec![(FaultKind::Isolate, 3.0), (FaultKind::Crash, 2.0)],
            Bug::FailureIgnored => vec![(FaultKind::DiskFull, 3.0)],
            Bug::LeakedLinks => vec![(FaultKind::Halves, 3.0), (FaultKind::Isolate, 2.0)],
            Bug::EagerRepair => {
                // Many envelopes are missing at many peers when the faults end.
                (plan.peers, plan.hostile, plan.censors, plan.max_connections) = (plan.peers.max(5), 0, 0, 50);
                (plan.think, plan.batch_max) = (Duration::from_millis(200), 1);
                plan.weights.retain(|(kind, _)| !kind.is_slow());
                vec![(FaultKind::Halves, 3.0), (FaultKind::Isolate, 2.0)]
            }
            Bug::DeadDial => vec![(FaultKind::Crash, 3.0), (FaultKind::PowerCut, 3.0)],
            Bug::ClockFollowed => vec![(FaultKind::ClockJump, 3.0)],
            Bug::ForwardBeforeStore => Vec::new(),
            Bug::NoVerify | Bug::RememberBeforeVerify | Bug::LossyDedup => {
                plan.hostile = 1;
                Vec::new()
            }
        };
        if bug == Bug::ForgottenKeys {
            plan.keyed = 1.0;
        }
        if !needs.is_empty() {
            plan.fault_gap = plan.fault_gap.min(Duration::from_millis(1_000));
        }
        plan.weights.extend(needs);
        plan
    }
}

fn draw_weights(dice: &mut Dice) -> Vec<(FaultKind, f64)> {
    let present = dice.pick(&[0.1, 0.3, 0.7]);
    let mut weights = Vec::new();
    for kind in FaultKind::ALL {
        if dice.chance(present) {
            weights.push((kind, kind.usual_weight()));
        }
    }
    weights
}
