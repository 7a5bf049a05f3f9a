//! What happens when: faults of a seed, alone and in pairs, each as steps on a clock.

use std::time::Duration;

use super::ways::{NAMES, PEERS, Way, Ways, pairs};
use crate::sim::dice::Dice;

/// What is done at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A fault makes its ways like this, whatever it made before.
    Cut {
        /// The fault's number.
        fault: usize,
        /// Its ways.
        ways: Ways,
    },
    /// `kill -9`.
    Kill(usize),
    /// `SIGTERM`, and wait.
    Stop(usize),
    /// Start what does not run.
    Start(usize),
    /// Start what does not run, with a clock that is so many seconds off.
    StartAskew(usize, i64),
    /// `SIGSTOP`.
    Pause(usize),
    /// `SIGCONT`.
    Resume(usize),
    /// `SIGHUP`.
    Hangup(usize),
    /// Reset what is between two peers, so many bytes later.
    Reset(usize, usize, u64),
    /// So many bits a second for a peer; none for no limit.
    Slow(usize, Option<u32>),
    /// Fill the small disk.
    Fill,
    /// Make room on it again.
    Free,
    /// Say this many posts at a peer, and wait for the answers.
    Say(usize, usize),
}

/// What is wrong for a while.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
#[expect(missing_docs, reason = "the names say it, and `steps` says how")]
pub enum Kind {
    IsolateSendKill,
    KillNine,
    Pause,
    RollingRestart,
    Halves,
    Bridge,
    Ring,
    OneWay,
    Single,
    EveryPair,
    Flapping,
    ResetAnyByte,
    SwizzleClog,
    SlowLink,
    ClockJump,
    FullDisk,
    HangupStorm,
    LongCut,
}

/// One fault, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What is wrong.
    pub kind: Kind,
    /// Since when.
    pub at: Duration,
    /// How long.
    pub length: Duration,
    /// To whom, and how.
    pub what: String,
}

/// What happens in one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// By time.
    pub faults: Vec<Fault>,
    /// By time.
    pub steps: Vec<(Duration, Step)>,
}

impl Plan {
    /// The faults of a seed for so long. The same seed and time give the same plan.
    #[must_use]
    pub fn of_seed(seed: u64, time: Duration) -> Self {
        let mut dice = Dice::new(seed);
        let mut plan = Self::default();
        let mut deck = Deck { cards: Vec::new() };
        let mut at = FIRST_AT;
        // The one that finds most comes always, and early enough to have an end.
        let mut next = vec![Kind::IsolateSendKill];
        while at + LENGTH_MIN < time || !next.is_empty() {
            let length = dice.span(LENGTH_MIN, (time / 3).clamp(LENGTH_MIN, LENGTH_MAX));
            if next.is_empty() {
                next.push(deck.draw(&mut dice));
            }
            if dice.chance(PAIR_CHANCE) {
                next.push(deck.draw(&mut dice));
            }
            for kind in next.drain(..) {
                plan.add(kind, at, length, &mut dice);
            }
            at += length + dice.span(PAUSE_MIN, PAUSE_MAX);
        }
        if time >= LONG_FROM {
            plan.add(Kind::LongCut, at, LONG_CUT, &mut dice);
        }
        plan.steps.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Nothing but these kinds, one after the other, each for so long.
    #[must_use]
    pub fn of_kinds(seed: u64, kinds: &[Kind], length: Duration) -> Self {
        let mut dice = Dice::new(seed);
        let mut plan = Self::default();
        for (place, kind) in (0u32..).zip(kinds) {
            plan.add(*kind, FIRST_AT + (length + PAUSE_MIN) * place, length, &mut dice);
        }
        plan.steps.sort_by_key(|(at, _)| *at);
        plan
    }

    fn add(&mut self, kind: Kind, at: Duration, length: Duration, dice: &mut Dice) {
        let mut draft = Draft { fault: self.faults.len(), length, steps: Vec::new() };
        let what = draft.of_kind(kind, dice);
        self.faults.push(Fault { kind, at, length, what });
        self.steps.extend(draft.steps.into_iter().map(|(after, step)| (at + after, step)));
    }
}

/// Every kind once, shuffled, then again: short runs see different ones.
struct Deck {
    cards: Vec<Kind>,
}

impl Deck {
    fn draw(&mut self, dice: &mut Dice) -> Kind {
        if self.cards.is_empty() {
            self.cards = DRAWN.to_vec();
        }
        let at = dice.below(self.cards.len());
        self.cards.swap_remove(at)
    }
}

/// The steps of one fault, in time from its beginning.
struct Draft {
    fault: usize,
    length: Duration,
    steps: Vec<(Duration, Step)>,
}

impl Draft {
    fn of_kind(&mut self, kind: Kind, dice: &mut Dice) -> String {
        let way = dice.pick(&[Way::Hole, Way::Hole, Way::Refuse]);
        let peer = dice.below(PEERS);
        match kind {
            Kind::IsolateSendKill => self.isolate_send_kill(peer, dice),
            Kind::KillNine => self.kill(peer, dice),
            Kind::Pause => self.pause(peer),
            Kind::RollingRestart => self.rolling_restart(),
            Kind::Halves => self.halves(way, dice),
            Kind::Bridge => self.bridge(way, dice),
            Kind::Ring => self.ring(way),
            Kind::OneWay => self.one_way(peer, way, dice),
            Kind::Single => self.cut_whole(Ways::alone(peer, way), format!("{} alone, {way:?}", NAMES[peer])),
            Kind::EveryPair => self.every_pair(way),
            Kind::Flapping => self.flapping(peer, way, dice),
            Kind::ResetAnyByte => self.reset_any_byte(dice),
            Kind::SwizzleClog => self.swizzle_clog(dice),
            Kind::SlowLink => self.slow_link(peer),
            Kind::ClockJump => self.clock_jump(peer, dice),
            Kind::FullDisk => self.full_disk(),
            Kind::HangupStorm => self.hangup_storm(),
            Kind::LongCut => self.halves(Way::Hole, dice),
        }
    }

    fn at(&mut self, after: Duration, step: Step) {
        self.steps.push((after, step));
    }

    /// From the beginning to the end.
    fn cut_whole(&mut self, ways: Ways, what: String) -> String {
        self.cut(Duration::ZERO, ways);
        self.cut(self.length, Ways::default());
        what
    }

    fn cut(&mut self, after: Duration, ways: Ways) {
        let fault = self.fault;
        self.at(after, Step::Cut { fault, ways });
    }

    fn isolate_send_kill(&mut self, peer: usize, dice: &mut Dice) -> String {
        let count = dice.between(5, 60) as usize;
        let sure_to_be_cut = Duration::from_millis(dice.between(0, 300));
        self.cut(Duration::ZERO, Ways::alone(peer, dice.pick(&[Way::Hole, Way::Refuse])));
        self.at(sure_to_be_cut, Step::Say(peer, count));
        self.at(sure_to_be_cut, Step::Kill(peer));
        let down = dice.span(Duration::ZERO, self.length / 2);
        self.at(sure_to_be_cut + down, Step::Start(peer));
        self.cut(self.length.max(sure_to_be_cut + down), Ways::default());
        format!("{} is cut off, told {count} posts and killed", NAMES[peer])
    }

    fn kill(&mut self, peer: usize, dice: &mut Dice) -> String {
        let times = dice.between(1, 3) as u32;
        for time in 0..times {
            let at = self.length * time / times;
            self.at(at, Step::Kill(peer));
            self.at(at + dice.span(Duration::ZERO, self.length / times), Step::Start(peer));
        }
        format!("{} dies {times} times", NAMES[peer])
    }

    fn pause(&mut self, peer: usize) -> String {
        self.at(Duration::ZERO, Step::Pause(peer));
        self.at(self.length, Step::Resume(peer));
        format!("{} stands still", NAMES[peer])
    }

    fn rolling_restart(&mut self) -> String {
        for peer in 0..PEERS {
            let at = self.length * peer as u32 / PEERS as u32;
            self.at(at, Step::Stop(peer));
            self.at(at, Step::Start(peer));
        }
        "all, one after the other".to_owned()
    }

    fn halves(&mut self, way: Way, dice: &mut Dice) -> String {
        let side = shuffled(dice);
        let ways = Ways::default().parted(way, |one, two| (side[one] < PEERS / 2) != (side[two] < PEERS / 2));
        self.cut_whole(ways, format!("{way:?} between {}", sides(&side)))
    }

    /// Two sides that know of each other through one peer only.
    fn bridge(&mut self, way: Way, dice: &mut Dice) -> String {
        let side = shuffled(dice);
        let is_bridge = |peer: usize| side[peer] == 0;
        let is_left = |peer: usize| side[peer] <= PEERS / 2;
        let ways =
            Ways::default().parted(way, |one, two| !is_bridge(one) && !is_bridge(two) && is_left(one) != is_left(two));
        let bridge = (0..PEERS).find(|peer| is_bridge(*peer)).map_or("", |peer| NAMES[peer]);
        self.cut_whole(ways, format!("{way:?} between two sides that both reach {bridge}"))
    }

    fn ring(&mut self, way: Way) -> String {
        let ways = Ways::default().parted(way, |one, two| two - one != 1 && two - one != PEERS - 1);
        self.cut_whole(ways, format!("{way:?} but between neighbours"))
    }

    fn one_way(&mut self, from: usize, way: Way, dice: &mut Dice) -> String {
        let others = shuffled(dice).into_iter().filter(|to| *to != from);
        let to: Vec<usize> = others.take(dice.between(1, 5) as usize).collect();
        let ways = to.iter().fold(Ways::default(), |ways, to| ways.one_way(from, *to, way));
        let names: Vec<&str> = to.iter().map(|to| NAMES[*to]).collect();
        self.cut_whole(ways, format!("{way:?} from {} to {}", NAMES[from], names.join(" ")))
    }

    fn every_pair(&mut self, way: Way) -> String {
        let count = pairs().count() as u32;
        for (place, (one, two)) in (0u32..).zip(pairs()) {
            self.cut(self.length * place / count, Ways::default().parted(way, |a, b| (a, b) == (one, two)));
        }
        self.cut(self.length, Ways::default());
        format!("{way:?}, one pair after the other")
    }

    fn flapping(&mut self, peer: usize, way: Way, dice: &mut Dice) -> String {
        let mut at = Duration::ZERO;
        while at < self.length {
            self.cut(at, Ways::alone(peer, way));
            at += dice.span(FLAP_MIN, FLAP_MAX);
            self.cut(at, Ways::default());
            at += dice.span(FLAP_MIN, FLAP_MAX);
        }
        format!("{} comes and goes, {way:?}", NAMES[peer])
    }

    fn reset_any_byte(&mut self, dice: &mut Dice) -> String {
        let count = dice.between(5, 20);
        for _ in 0..count {
            let (one, two) = (dice.below(PEERS), dice.below(PEERS));
            let (after, bytes) = (dice.span(Duration::ZERO, self.length), dice.between(0, 5_000));
            if one != two {
                self.at(after, Step::Reset(one, two, bytes));
            }
        }
        format!("{count} times")
    }

    /// Some peers clogged one after the other, and healed in another order.
    fn swizzle_clog(&mut self, dice: &mut Dice) -> String {
        let count = dice.between(2, PEERS as u64) as usize;
        let clogged: Vec<usize> = shuffled(dice).into_iter().take(count).collect();
        let healed: Vec<usize> = shuffled(dice).into_iter().filter(|peer| clogged.contains(peer)).collect();
        let half = self.length / 2;
        let alone = |peers: &[usize]| {
            Ways::default().parted(Way::Hole, |one, two| peers.contains(&one) || peers.contains(&two))
        };
        for place in 0..count {
            self.cut(half * place as u32 / count as u32, alone(&clogged[..=place]));
            self.cut(half + half * (place as u32 + 1) / count as u32, alone(&healed[place + 1..]));
        }
        let names = |peers: &[usize]| peers.iter().map(|peer| NAMES[*peer]).collect::<Vec<_>>().join(" ");
        format!("{} go, {} come", names(&clogged), names(&healed))
    }

    fn slow_link(&mut self, peer: usize) -> String {
        self.at(Duration::ZERO, Step::Slow(peer, Some(SLOW_BITS)));
        self.at(self.length, Step::Slow(peer, None));
        format!("{} has 64 kbit/s", NAMES[peer])
    }

    fn clock_jump(&mut self, peer: usize, dice: &mut Dice) -> String {
        let seconds = dice.pick(&[-86_400, -3_600, 3_600, 86_400]);
        self.at(Duration::ZERO, Step::Kill(peer));
        self.at(Duration::ZERO, Step::StartAskew(peer, seconds));
        self.at(self.length, Step::Kill(peer));
        self.at(self.length, Step::Start(peer));
        format!("{} lives {seconds} s off", NAMES[peer])
    }

    fn full_disk(&mut self) -> String {
        self.at(Duration::ZERO, Step::Fill);
        self.at(self.length, Step::Free);
        format!("of {}", NAMES[DISK_PEER])
    }

    fn hangup_storm(&mut self) -> String {
        for round in 0..HANGUPS {
            for peer in 0..PEERS {
                self.at(self.length * round / HANGUPS, Step::Hangup(peer));
            }
        }
        format!("{HANGUPS} at each peer")
    }
}

fn shuffled(dice: &mut Dice) -> Vec<usize> {
    let mut left: Vec<usize> = (0..PEERS).collect();
    (0..PEERS).map(|_| left.swap_remove(dice.below(left.len()))).collect()
}

fn sides(side: &[usize]) -> String {
    let names = |is_first: bool| {
        let peers = (0..PEERS).filter(|peer| (side[*peer] < PEERS / 2) == is_first);
        peers.map(|peer| NAMES[peer]).collect::<Vec<_>>().join(" ")
    };
    format!("{} and {}", names(true), names(false))
}

/// The peer whose disk is small.
pub const DISK_PEER: usize = 5;

const DRAWN: &[Kind] = &[
    Kind::IsolateSendKill,
    Kind::KillNine,
    Kind::Pause,
    Kind::RollingRestart,
    Kind::Halves,
    Kind::Bridge,
    Kind::Ring,
    Kind::OneWay,
    Kind::Single,
    Kind::EveryPair,
    Kind::Flapping,
    Kind::ResetAnyByte,
    Kind::SwizzleClog,
    Kind::SlowLink,
    Kind::ClockJump,
    Kind::FullDisk,
    Kind::HangupStorm,
];

const FIRST_AT: Duration = Duration::from_secs(1);
const LENGTH_MIN: Duration = Duration::from_secs(2);
const LENGTH_MAX: Duration = Duration::from_secs(9);
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(3);
const PAIR_CHANCE: f64 = 0.5;
const FLAP_MIN: Duration = Duration::from_millis(50);
const FLAP_MAX: Duration = Duration::from_millis(900);
const SLOW_BITS: u32 = 64_000;
const HANGUPS: u32 = 20;
/// What TCP buffers cannot bridge.
const LONG_CUT: Duration = Duration::from_secs(75);
/// Runs from this long on have a long cut too.
const LONG_FROM: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_cuts_a_peer_off_and_kills_it_and_ends_in_time() {
        let time = Duration::from_secs(20);
        for seed in 0..200 {
            let plan = Plan::of_seed(seed, time);
            assert!(plan.faults.iter().any(|fault| fault.kind == Kind::IsolateSendKill));
            assert_eq!(plan, Plan::of_seed(seed, time));
            assert!(plan.steps.is_sorted_by_key(|(at, _)| *at));
            let end = plan.steps.last().map_or(Duration::ZERO, |(at, _)| *at);
            assert!(end <= time + LENGTH_MAX, "{end:?} with seed {seed}");
        }
    }

    #[test]
    fn every_kind_is_drawn_by_some_seed() {
        let time = Duration::from_secs(20);
        let drawn: Vec<Kind> =
            (0..50).flat_map(|seed| Plan::of_seed(seed, time).faults).map(|fault| fault.kind).collect();
        for kind in DRAWN {
            assert!(drawn.contains(kind), "{kind:?}");
        }
        assert!(!drawn.contains(&Kind::LongCut));
        assert!(Plan::of_seed(1, LONG_FROM).faults.iter().any(|fault| fault.kind == Kind::LongCut));
    }

    #[test]
    fn every_cut_is_healed_by_its_own_fault() {
        for seed in 0..200 {
            let mut cuts = super::super::ways::Cuts::default();
            for (_, step) in Plan::of_seed(seed, Duration::from_secs(60)).steps {
                if let Step::Cut { fault, ways } = step {
                    cuts.set(fault, ways);
                }
            }
            assert_eq!(cuts.worst(), Ways::default(), "seed {seed}");
        }
    }
}
