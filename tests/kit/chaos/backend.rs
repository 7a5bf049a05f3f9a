//! The two networks in which six peers can be tormented, behind one door.

use super::netns::Netns;
use super::proxy::Proxy;
use super::ways::{DIALS, PEERS, Ways};
use crate::daemon::{Options, TestPeer};

/// Which network is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Choice {
    /// Namespaces where they can be made, else the proxy.
    #[default]
    Auto,
    /// Namespaces of the kernel; needs root.
    Netns,
    /// A fault proxy on loopback.
    Proxy,
}

/// The network of one run.
#[derive(Debug)]
pub enum Backend {
    /// Namespaces of the kernel.
    Netns(Netns),
    /// A fault proxy on loopback.
    Proxy(Proxy),
}

impl Backend {
    /// Makes the network, and says why it is not the better one.
    ///
    /// # Errors
    ///
    /// This machine cannot do what is wanted.
    pub fn open(choice: Choice) -> Result<(Self, Option<String>), String> {
        match choice {
            Choice::Netns => Netns::open().map(|netns| (Self::Netns(netns), None)),
            Choice::Proxy => Proxy::open().map(|proxy| (Self::Proxy(proxy), None)),
            Choice::Auto => match Netns::open() {
                Ok(netns) => Ok((Self::Netns(netns), None)),
                Err(why) => Proxy::open().map(|proxy| (Self::Proxy(proxy), Some(why))),
            },
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Netns(_) => "netns",
            Self::Proxy(_) => "proxy",
        }
    }

    /// What the names begin with that the system knows of it, if any.
    #[must_use]
    pub fn prefix(&self) -> Option<String> {
        match self {
            Self::Netns(netns) => Some(netns.prefix()),
            Self::Proxy(_) => None,
        }
    }

    /// How a peer is started there, and whom it dials.
    #[must_use]
    pub fn place(&self, peer: usize, options: Options) -> Options {
        match self {
            Self::Netns(netns) => {
                let dials = DIALS[peer].iter().map(|other| Netns::addr(*other)).collect();
                Options { dials, under: netns.under(peer), listen: Some(Netns::addr(peer)), ..options }
            }
            Self::Proxy(proxy) => {
                let others = (0..PEERS).filter(|other| *other != peer);
                let dials = others.map(|other| proxy.addr(peer, other)).collect();
                let flags = ["--advertise", NOWHERE].map(str::to_owned).into();
                Options { dials, flags, ..options }
            }
        }
    }

    /// A peer runs.
    ///
    /// # Panics
    ///
    /// It says no address where it listens.
    #[track_caller]
    pub fn on_started(&self, place: usize, peer: &TestPeer) {
        match self {
            Self::Netns(_) => (),
            Self::Proxy(proxy) => {
                proxy.on_started(place, peer.addr().parse().expect("a ready peer listens at an address"));
            }
        }
    }

    /// Makes the ways as they should be.
    ///
    /// # Panics
    ///
    /// The rules that could be set before cannot be set now.
    #[track_caller]
    pub fn apply(&mut self, ways: &Ways) {
        match self {
            Self::Netns(netns) => netns.apply(ways).unwrap_or_else(|why| panic!("{why}")),
            Self::Proxy(proxy) => proxy.apply(ways),
        }
    }

    /// So many bits a second for a peer; none for no limit.
    ///
    /// # Panics
    ///
    /// The kernel has no such limit.
    #[track_caller]
    pub fn slow(&self, peer: usize, bits: Option<u32>) {
        match self {
            Self::Netns(netns) => netns.slow(peer, bits).unwrap_or_else(|why| panic!("{why}")),
            Self::Proxy(proxy) => proxy.slow(peer, bits),
        }
    }

    /// Resets what is between two peers; the proxy does it `bytes` bytes later, the kernel wherever it is.
    ///
    /// # Panics
    ///
    /// The kernel cannot do it.
    #[track_caller]
    pub fn reset(&self, one: usize, two: usize, bytes: u64) {
        match self {
            Self::Netns(netns) => netns.reset(one, two).unwrap_or_else(|why| panic!("{why}")),
            Self::Proxy(proxy) => proxy.reset(one, two, bytes),
        }
    }
}

/// Nobody listens there: every link goes through the proxy.
const NOWHERE: &str = "127.0.0.1:1";
