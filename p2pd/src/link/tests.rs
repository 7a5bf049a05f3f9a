//! Links over real sockets, through the door.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use p2p_mesh::id::base32;
use p2p_mesh::input::{CloseReason, DialFailure, LinkOpened};
use p2p_mesh::limits::{FRAME_LEN_MAX, HALF_OPEN_MAX, IN_FLIGHT_BYTES_MAX};
use p2p_mesh::wire::frame::FrameError;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::shared::Resolver;
use super::*;
use crate::letters::Letters;

mod entering;
mod handshake;
mod hatches;
mod names;

/// A daemon as far as links go.
struct Peer {
    links: Links,
    events: mpsc::Receiver<LinkEvent>,
    id: PeerId,
    addr: SocketAddr,
    dials: u64,
    waiting: VecDeque<LinkEvent>,
}

fn network(seed: u8) -> NetworkKey {
    NetworkKey { id: [seed; 16], secret: Zeroizing::new([seed; 32]) }
}

fn config(seed: u8, networks: &[u8]) -> LinkConfig {
    let key = SigningKey::from_bytes(&[seed; 32]);
    LinkConfig {
        hatches: Hatches::new(Letters::new(&key), mpsc::channel(1).0),
        key,
        networks: Ring::new(networks.iter().map(|seed| network(*seed)).collect()),
        invites: Invites::default(),
        connect_timeout: Duration::from_secs(10),
        user_timeout: Duration::from_secs(60),
    }
}

impl Peer {
    async fn start(seed: u8) -> Self {
        Self::start_with(config(seed, &[7]), |_| ()).await
    }

    async fn start_with(config: LinkConfig, change: impl FnOnce(&mut Shared)) -> Self {
        let id = PeerId(config.key.verifying_key().to_bytes());
        let listeners = bind("127.0.0.1:0").await.unwrap();
        let (events_in, events) = mpsc::channel(64);
        let mut shared = Shared::new(config, events_in, CancellationToken::new());
        change(&mut shared);
        let links = Links::run(shared, listeners);
        let addr = links.listen_addrs()[0];
        Self { links, events, id, addr, dials: 0, waiting: VecDeque::new() }
    }

    fn dial(&mut self, addr: SocketAddr, expected: Option<PeerId>) -> DialId {
        self.dial_name(&addr.to_string(), expected)
    }

    fn dial_name(&mut self, addr: &str, expected: Option<PeerId>) -> DialId {
        self.dials += 1;
        self.links.dial(DialId(self.dials), addr.parse().unwrap(), expected);
        DialId(self.dials)
    }

    async fn next(&mut self) -> LinkEvent {
        if let Some(event) = self.waiting.pop_front() {
            return event;
        }
        // Only so that a broken test ends.
        timeout(Duration::from_secs(60), self.events.recv()).await.expect("something happens").expect("links run")
    }

    async fn next_input(&mut self) -> Input {
        match self.next().await {
            LinkEvent::Input(input) => input,
            LinkEvent::Frames { .. } => panic!("frames where none are expected"),
            LinkEvent::Entry { .. } => panic!("somebody with an invite where none is expected"),
        }
    }

    async fn opened(&mut self) -> LinkOpened {
        match self.next_input().await {
            Input::LinkOpened(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> (LinkId, CloseReason) {
        loop {
            match self.next_input().await {
                Input::LinkClosed { link, reason } => return (link, reason),
                Input::Written { .. } => (),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn dial_failed(&mut self) -> (DialId, DialFailure, String) {
        match self.next_input().await {
            Input::DialFailed { dial, reason, detail } => (dial, reason, detail),
            other => panic!("{other:?}"),
        }
    }

    async fn written(&mut self) -> usize {
        match self.next_input().await {
            Input::Written { bytes, .. } => bytes,
            other => panic!("{other:?}"),
        }
    }

    /// The next frames; what else happens meanwhile is kept for later.
    async fn frames(&mut self) -> Vec<Bytes> {
        let mut others = VecDeque::new();
        loop {
            match self.next().await {
                LinkEvent::Frames { frames, .. } => {
                    others.append(&mut self.waiting);
                    self.waiting = others;
                    return frames;
                }
                other @ (LinkEvent::Input(_) | LinkEvent::Entry { .. }) => others.push_back(other),
            }
        }
    }
}

fn frame(content: &[u8]) -> Bytes {
    let mut bytes = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.into()
}

/// A link between two peers, as each of them sees it, with both hellos done.
async fn link(dialing: &mut Peer, accepting: &mut Peer) -> (LinkOpened, LinkOpened) {
    dialing.dial(accepting.addr, Some(accepting.id));
    let (near, far) = (dialing.opened().await, accepting.opened().await);
    dialing.links.raise_frame_limit(near.link);
    accepting.links.raise_frame_limit(far.link);
    (near, far)
}

async fn two() -> (Peer, Peer, LinkId, LinkId) {
    let (mut near, mut far) = (Peer::start(1).await, Peer::start(2).await);
    let (here, there) = link(&mut near, &mut far).await;
    (near, far, here.link, there.link)
}

#[tokio::test]
async fn two_peers_see_each_other_and_talk_both_ways() {
    let (mut near, mut far) = (Peer::start(1).await, Peer::start(2).await);
    let (here, there) = link(&mut near, &mut far).await;
    assert_eq!((here.peer, there.peer), (far.id, near.id));
    assert_eq!((here.dial, there.dial), (Some(DialId(1)), None));
    assert_eq!(here.remote, far.addr);
    assert_eq!((here.local, there.local), (far.addr.ip(), far.addr.ip()));

    near.links.send(here.link, frame(b"{\"type\":\"ping\"}"));
    far.links.send(there.link, frame(b"{\"type\":\"pong\"}"));
    assert_eq!(far.frames().await, [&b"{\"type\":\"ping\"}"[..]]);
    assert_eq!(near.frames().await, [&b"{\"type\":\"pong\"}"[..]]);
    assert_eq!((near.written().await, far.written().await), (19, 19));
}

/// Sends `frames` with as much in flight as the mesh allows, takes as many, and gives back what came.
async fn exchange(peer: &mut Peer, link: LinkId, frames: &[Bytes]) -> Vec<Bytes> {
    let (mut sent, mut in_flight, mut got) = (0, 0, Vec::new());
    while got.len() < frames.len() || sent < frames.len() || in_flight > 0 {
        while sent < frames.len() && in_flight < IN_FLIGHT_BYTES_MAX {
            in_flight += frames[sent].len();
            peer.links.send(link, frames[sent].clone());
            sent += 1;
        }
        match peer.next().await {
            LinkEvent::Frames { frames, .. } => got.extend(frames),
            LinkEvent::Input(Input::Written { link: on, bytes }) if on == link => in_flight -= bytes,
            LinkEvent::Input(Input::Written { .. }) => (),
            other @ (LinkEvent::Input(_) | LinkEvent::Entry { .. }) => panic!("{other:?}"),
        }
    }
    got
}

fn random_frames(seed: u64, count: usize) -> Vec<Bytes> {
    let mut random = SmallRng::seed_from_u64(seed);
    let lengths: Vec<usize> =
        (0..count)
            .map(|_| {
                if random.random_bool(0.1) {
                    random.random_range(2..=FRAME_LEN_MAX)
                } else {
                    random.random_range(2..900)
                }
            })
            .collect();
    lengths.into_iter().map(|len| frame(&(0..len).map(|_| random.random()).collect::<Vec<u8>>())).collect()
}

#[tokio::test]
async fn megabytes_of_frames_of_all_sizes_arrive_both_ways_byte_for_byte() {
    let (mut near, mut far, here, there) = two().await;
    let (ours, theirs) = (random_frames(1, 600), random_frames(2, 600));
    let (got_here, got_there) = tokio::join!(exchange(&mut near, here, &ours), exchange(&mut far, there, &theirs));
    let content = |frames: &[Bytes]| frames.iter().map(|frame| frame.slice(4..)).collect::<Vec<_>>();
    assert!(got_there == content(&ours), "what arrived is what was sent");
    assert!(got_here == content(&theirs), "what arrived is what was sent");
}

#[tokio::test]
async fn a_hang_up_lets_the_last_frame_through_and_both_sides_hear_of_it_once() {
    let (mut near, mut far, here, there) = two().await;
    // The other side is talking too, so bytes are on their way to a socket that is being closed.
    for _ in 0..100 {
        far.links.send(there, frame(&[b' '; 1_000]));
    }
    near.links.send(here, frame(b"{\"type\":\"bye\"}"));
    near.links.hangup(here);
    near.links.hangup(here);
    near.links.send(here, frame(b"behind the hang-up"));
    assert_eq!(far.frames().await, [&b"{\"type\":\"bye\"}"[..]]);
    assert_eq!(far.closed().await, (there, CloseReason::Closed));
    loop {
        match near.next().await {
            LinkEvent::Frames { .. } | LinkEvent::Input(Input::Written { .. }) => (),
            LinkEvent::Input(Input::LinkClosed { link, reason }) => {
                assert_eq!((link, reason), (here, CloseReason::HungUp));
                break;
            }
            other @ (LinkEvent::Input(_) | LinkEvent::Entry { .. }) => panic!("{other:?}"),
        }
    }
    // Orders for links that are gone are nothing: the next thing that happens is the next link.
    near.links.hangup(here);
    near.links.send(here, frame(b"{}"));
    near.links.raise_frame_limit(here);
    link(&mut near, &mut far).await;
}

#[tokio::test]
async fn after_a_hang_up_the_other_side_is_heard_until_it_closes_too() {
    let mut near = Peer::start(1).await;
    let mut far = TcpStream::connect(near.addr).await.unwrap();
    let config = config(2, &[7]);
    let identity = secure::Identity::new(config.key, config.networks, (config.invites, config.hatches));
    let mut secured = secure::initiate(&mut far, &identity, &network(7), Some(near.id)).await.unwrap();
    let here = near.opened().await.link;
    near.links.send(here, frame(b"bye"));
    near.links.hangup(here);
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.len(), 2 + 7 + 16);
    let mut sealed = bytes::BytesMut::new();
    secured.sealer.seal(&frame(b"said before the bye was heard"), &mut sealed);
    far.write_all(&sealed).await.unwrap();
    assert_eq!(near.written().await, 7);
    match near.next().await {
        LinkEvent::Frames { frames, .. } => assert_eq!(frames, [&b"said before the bye was heard"[..]]),
        other @ (LinkEvent::Input(_) | LinkEvent::Entry { .. }) => panic!("{other:?}"),
    }
    drop(far);
    assert_eq!(near.closed().await, (here, CloseReason::HungUp));
}

#[tokio::test]
async fn both_sides_may_hang_up_at_once() {
    for _ in 0..20 {
        let (mut near, mut far, here, there) = two().await;
        near.links.hangup(here);
        far.links.hangup(there);
        assert_eq!(near.closed().await.0, here);
        assert_eq!(far.closed().await.0, there);
        assert!(near.events.try_recv().is_err());
        assert!(far.events.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_peer_that_is_stopped_is_seen_at_once_and_says_nothing_more_itself() {
    let (mut near, far, here, _) = two().await;
    let Peer { links, mut events, .. } = far;
    drop(links);
    assert_eq!(near.closed().await.0, here);
    while let Some(event) = events.recv().await {
        assert!(!matches!(event, LinkEvent::Input(Input::LinkClosed { .. })));
    }
}

#[tokio::test]
async fn stopping_frees_the_port() {
    let (links, stop) = {
        let listeners = bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        (Links::start(config(1, &[7]), listeners, mpsc::channel(64).0, stop.clone()), stop)
    };
    let addr = links.listen_addrs()[0];
    stop.cancel();
    // The listener is closed by its task, soon.
    let rebound = async {
        while bind(&addr.to_string()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), rebound).await.unwrap();
}

#[tokio::test]
async fn w_01_a_frame_over_the_limit_closes_the_link_behind_a_goodbye_and_no_other() {
    let (mut near, mut far, here, there) = two().await;
    let (other_here, other_there) = link(&mut near, &mut far).await;
    near.links.send(here, Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]));
    // Bytes that nobody will read must not turn the goodbye into a reset.
    near.links.send(here, frame(&[b'x'; 60_000]));
    match far.next_input().await {
        Input::BadFrame { link, error: FrameError::TooLong { len: 0xffff_ffff, .. } } => assert_eq!(link, there),
        other => panic!("{other:?}"),
    }
    far.links.send(there, frame(b"bye"));
    far.links.hangup(there);
    assert_eq!(near.frames().await, [&b"bye"[..]]);
    assert_eq!(near.closed().await, (here, CloseReason::Closed));
    assert_eq!(far.closed().await, (there, CloseReason::HungUp));
    near.links.send(other_here.link, frame(b"{}"));
    match far.next().await {
        LinkEvent::Frames { link, frames } => assert_eq!((link, frames.len()), (other_there.link, 1)),
        other @ (LinkEvent::Input(_) | LinkEvent::Entry { .. }) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_peer_whose_driver_stands_still_holds_up_nobody_else() {
    let (mut near, mut stuck, to_stuck, _) = two().await;
    let mut lively = Peer::start(3).await;
    let (to_lively, from_near) = link(&mut near, &mut lively).await;
    // Until nothing more is taken: sockets are full, and so are the channels of the stuck one.
    let (mut in_flight, mut sent) = (0, 0);
    loop {
        while in_flight < IN_FLIGHT_BYTES_MAX {
            near.links.send(to_stuck, frame(&[b' '; 30_000]));
            in_flight += 30_004;
            sent += 1;
        }
        let mut progress = false;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
            while let Some(event) = near.events.recv().now_or_never().flatten() {
                let LinkEvent::Input(Input::Written { bytes, .. }) = event else { panic!("{event:?}") };
                in_flight -= bytes;
                progress = true;
            }
        }
        if !progress {
            break;
        }
    }
    let frames = random_frames(3, 50);
    let (got_here, got_there) =
        tokio::join!(exchange(&mut near, to_lively.link, &frames), exchange(&mut lively, from_near.link, &frames));
    assert_eq!((got_here.len(), got_there.len()), (50, 50));
    // The stuck one wakes up and has lost nothing.
    let mut received = 0;
    while received < sent {
        tokio::select! {
            event = near.events.recv() => match event.unwrap() {
                LinkEvent::Input(Input::Written { .. }) => (),
                other => panic!("{other:?}"),
            },
            event = stuck.events.recv() => match event.unwrap() {
                LinkEvent::Frames { frames, .. } => received += frames.len(),
                other @ (LinkEvent::Input(_) | LinkEvent::Entry { .. }) => panic!("{other:?}"),
            },
        }
    }
}

#[tokio::test]
async fn frames_beyond_all_bounds_close_the_link_instead_of_growing() {
    let (mut near, _far, here, _) = two().await;
    for _ in 0..=shared::SEND_FRAMES_MAX {
        near.links.send(here, frame(b"{}"));
    }
    let why = "slow: 8192 frames wait to be written".to_owned();
    assert_eq!(near.closed().await, (here, CloseReason::Failed(why)));
}

#[tokio::test]
async fn the_options_of_a_link_are_set() {
    let listener = bind("127.0.0.1:0").await.unwrap().remove(0);
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    socket::tune(&socket, Duration::from_millis(4_321));
    let options = socket2::SockRef::from(&socket);
    assert!(options.tcp_nodelay().unwrap());
    assert!(options.keepalive().unwrap());
    assert_eq!(options.tcp_keepalive_time().unwrap(), Duration::from_secs(10));
    assert_eq!(options.tcp_keepalive_interval().unwrap(), Duration::from_secs(3));
    assert_eq!(options.tcp_keepalive_retries().unwrap(), 2);
    assert_eq!(options.tcp_user_timeout().unwrap(), Some(Duration::from_millis(4_321)));
    assert_eq!(options.tcp_notsent_lowat().unwrap(), 32 * 1024);
}

/// A listener that fails a few times, each in another way, before it does its work.
struct Failing {
    listener: TcpListener,
    errors: Vec<i32>,
}

impl listener::Accept for Failing {
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        match self.errors.pop() {
            Some(code) => Poll::Ready(Err(io::Error::from_raw_os_error(code))),
            None => self.listener.poll_accept(context),
        }
    }
}

#[tokio::test]
async fn g_14_accepting_goes_on_after_every_error_and_what_is_linked_stays() {
    let (mut near, mut far, here, _) = two().await;
    let listener = bind("127.0.0.1:0").await.unwrap().remove(0);
    let addr = listener.local_addr().unwrap();
    // ECONNABORTED, EINTR, ENFILE, EMFILE.
    let failing = Failing { listener, errors: vec![103, 4, 23, 24] };
    tokio::spawn(listener::accept_all(failing, Arc::clone(&far.links.shared)));
    near.dial(addr, Some(far.id));
    near.links.send(here, frame(b"{}"));
    assert_eq!(far.frames().await, [&b"{}"[..]]);
    assert_eq!(far.opened().await.peer, near.id);
}
