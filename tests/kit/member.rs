//! A member that may break every rule: it knows the network key and proves who it is, and then sends whatever it is
//! told to. It is written from the protocol alone and shares no code with the daemon's links, so it also shows that the
//! description is enough to speak to one.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use p2p_mesh::envelope::{Body, Envelope, Post, Stamp};
use p2p_mesh::id::{Epoch, Hash, Instance, PeerId, Seq};
use p2p_mesh::membership::record::Record;
use p2p_mesh::wire::frame::{PREFIX_LEN, split_frame};
use p2p_mesh::wire::message::{Bye, Digest, Envelopes, Hello, Message, Ping, Pong, Role};
use p2pd::network::NetworkKey;
use snow::{Builder, HandshakeState, TransportState};

use crate::program::PATIENCE;

/// One link of such a member.
pub struct Member {
    key: SigningKey,
    instance: Instance,
    stream: TcpStream,
    noise: TransportState,
    /// What came and is not a whole frame yet.
    plain: Vec<u8>,
    pings: u64,
    /// The other side takes or says nothing any more.
    is_over: bool,
}

impl Member {
    /// Dials and does the handshake, and says no hello yet.
    ///
    /// # Panics
    ///
    /// The daemon does not let it in.
    #[must_use]
    #[track_caller]
    pub fn knock(addr: &str, network: &NetworkKey, key: SigningKey) -> Self {
        Self::try_knock(addr, network, key).expect("a member passes the handshake")
    }

    /// The same, where the daemon may have no room.
    ///
    /// # Errors
    ///
    /// The connection ends before the handshake is done.
    pub fn try_knock(addr: &str, network: &NetworkKey, key: SigningKey) -> io::Result<Self> {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let noise = handshake(&mut stream, network, &key)?;
        let instance = Instance { id: PeerId(key.verifying_key().to_bytes()), epoch: Epoch(1 << 40) };
        Ok(Self { key, instance, stream, noise, plain: Vec::new(), pings: 0, is_over: false })
    }

    /// The same, with a key nobody has seen before, and both hellos.
    ///
    /// # Panics
    ///
    /// The daemon does not let it in.
    #[must_use]
    #[track_caller]
    pub fn join(addr: &str, network: &NetworkKey) -> Self {
        let mut member = Self::knock(addr, network, SigningKey::from_bytes(&rand::random()));
        member.send(&Message::Hello(Box::new(member.hello())));
        assert!(member.is_heard(), "a new member is welcome");
        member
    }

    /// Who it is.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// What signs its posts.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A hello that nothing is wrong with.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            proto: (1, 1),
            epoch: self.instance.epoch,
            agent: "hostile".to_owned(),
            observed: "127.0.0.1:1".to_owned(),
            caps: Vec::new(),
            dial: 1,
            role: Role::Peer,
            time: NOW_MS,
            record: Record::sign(&self.key, 1, &[], "friendly", self.instance.epoch),
        }
    }

    /// Its next envelope, with one post; `previous` is the one before.
    #[must_use]
    pub fn write(&self, text: &str, previous: Option<&Envelope>) -> Envelope {
        let (first, prev) = previous.map_or((Seq(1), None), |last| (last.last().next(), Some(last.hash())));
        self.write_at(first, prev, text)
    }

    /// One post with any number and any past.
    #[must_use]
    pub fn write_at(&self, first: Seq, prev: Option<Hash>, text: &str) -> Envelope {
        self.write_run(first, prev, &[text])
    }

    /// Posts in one envelope, with any number and any past.
    #[must_use]
    pub fn write_run(&self, first: Seq, prev: Option<Hash>, texts: &[&str]) -> Envelope {
        // Low numbers that grow with the place in the feed, so that time never stands still in it.
        let at = Stamp { ms: NOW_MS, counter: first.0.min(1 << 40) };
        let posts = texts.iter().map(|text| Post::chat("general", text)).collect();
        Envelope::clone(&Body { feed: self.instance, first, prev, at, posts }.sign(&self.key))
    }

    /// An envelope of exactly these bytes, signed.
    ///
    /// # Panics
    ///
    /// The bytes are no body.
    #[must_use]
    #[track_caller]
    pub fn sign(&self, body: &[u8]) -> Envelope {
        let signed = [b"p2pd envelope v1\n", &blake3::hash(body).as_bytes()[..]].concat();
        let signature = self.key.sign(&signed).to_bytes();
        Envelope::parse(Bytes::copy_from_slice(body), signature).expect("the body is valid")
    }

    /// Sends what the protocol has a word for.
    pub fn send(&mut self, message: &Message) {
        self.send_plain(&message.encode());
    }

    /// Sends envelopes, as somebody who pushes them.
    pub fn send_envelopes(&mut self, items: Vec<Envelope>) {
        self.send(&Message::Envelopes(Envelopes { items, hop: 0, live: true, more: false }));
    }

    /// Sends one frame with this in it.
    pub fn send_frame(&mut self, content: &[u8]) {
        let len = u32::try_from(content.len()).expect("a test's frame is small");
        self.send_plain(&[&len.to_be_bytes(), content].concat());
    }

    /// Sends bytes, sealed, whether they are frames or not. Once the daemon has closed, nothing is sent any more.
    pub fn send_plain(&mut self, plain: &[u8]) {
        for chunk in plain.chunks(PLAIN_LEN_MAX) {
            let mut sealed = vec![0; 2 + chunk.len() + TAG_LEN];
            let len = self.noise.write_message(chunk, &mut sealed[2..]).expect("the buffer has room");
            sealed[..2].copy_from_slice(&u16::try_from(len).expect("a message is that small").to_be_bytes());
            if self.is_over || self.stream.write_all(&sealed).is_err() {
                self.is_over = true;
                return;
            }
        }
    }

    /// What comes next; none once the daemon has closed.
    ///
    /// # Panics
    ///
    /// Nothing comes for a long time, or it is nothing that a daemon says.
    #[track_caller]
    pub fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some(split) = split_frame(&self.plain, FRAME_LEN_MAX).expect("a daemon's frames have good lengths") {
                let frame = Bytes::copy_from_slice(split.frame);
                self.plain.drain(..PREFIX_LEN + frame.len());
                return Some(Message::decode(&frame).expect("a daemon says what can be understood"));
            }
            match self.fill() {
                Ok(()) => (),
                Err(error) if is_close(&error) => return None,
                Err(error) => panic!("the daemon neither speaks nor closes: {error}"),
            }
        }
    }

    /// Asks "are you there?" and waits for the answer; `false` if the daemon says goodbye or closes instead.
    #[track_caller]
    pub fn is_heard(&mut self) -> bool {
        self.pings += 1;
        let n = self.pings;
        self.send(&Message::Ping(Ping { n, t: NOW_MS, digest: Digest::default() }));
        while let Some(message) = self.receive() {
            match message {
                Message::Pong(pong) if pong.n == n => return true,
                Message::Bye(_) => return false,
                other => self.answer(&other),
            }
        }
        false
    }

    /// Reads to the end; the daemon's goodbye, where it said one.
    #[track_caller]
    pub fn last_words(&mut self) -> Option<Bye> {
        while let Some(message) = self.receive() {
            match message {
                Message::Bye(bye) => return Some(bye),
                other => self.answer(&other),
            }
        }
        None
    }

    /// Nobody shall think that the link is dead.
    fn answer(&mut self, message: &Message) {
        if let Message::Ping(ping) = message {
            self.send(&Message::Pong(Pong { n: ping.n, t: ping.t, r: NOW_MS, digest: ping.digest }));
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let sealed = read_message(&mut self.stream)?;
        let mut plain = vec![0; sealed.len()];
        let len = self.noise.read_message(&sealed, &mut plain).expect("a daemon seals what it says");
        self.plain.extend_from_slice(&plain[..len]);
        Ok(())
    }
}

/// The dialing side of the handshake.
fn handshake(stream: &mut TcpStream, network: &NetworkKey, key: &SigningKey) -> io::Result<TransportState> {
    let prologue = [&b"p2pd/1"[..], &network.id].concat();
    let static_key: [u8; 32] = rand::random();
    let psk = network.psk();
    let mut state = Builder::new(PATTERN.parse().expect("a pattern that snow knows"))
        .prologue(&prologue)
        .and_then(|builder| builder.psk(0, &psk))
        .and_then(|builder| builder.local_private_key(&static_key))
        .and_then(Builder::build_initiator)
        .expect("everything that the pattern needs is there");
    write_message(stream, &mut state, &[])?;
    let answer = read_message(stream)?;
    state.read_message(&answer, &mut vec![0; answer.len()]).map_err(io::Error::other)?;
    let signed = [&b"p2pd link v1\ni"[..], state.get_handshake_hash()].concat();
    let proof = [&key.verifying_key().to_bytes()[..], &key.sign(&signed).to_bytes()].concat();
    write_message(stream, &mut state, &proof)?;
    Ok(state.into_transport_mode().expect("all three messages went through"))
}

fn write_message(stream: &mut TcpStream, state: &mut HandshakeState, payload: &[u8]) -> io::Result<()> {
    let mut message = vec![0; 1_024];
    let len = state.write_message(payload, &mut message).expect("it is our turn and the buffer has room");
    let prefix = u16::try_from(len).expect("the buffer is small").to_be_bytes();
    stream.write_all(&[&prefix, &message[..len]].concat())
}

fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(prefix))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// It ended, in order or because bytes of ours were not read.
fn is_close(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";
/// Milliseconds since 1970, somewhere in 2025: no test depends on the clock.
const NOW_MS: u64 = 1_763_792_485_123;
const FRAME_LEN_MAX: usize = 131_072;
const TAG_LEN: usize = 16;
const PLAIN_LEN_MAX: usize = 65_535 - TAG_LEN;
