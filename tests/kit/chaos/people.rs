//! People who say things at every peer, each in a way of its own, and write down what they were told.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use p2p_mesh::id::{Epoch, Instance, PeerId, PostId, Seq};
use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1::send_result::Result as Sent;
use p2p_proto::v1::{self, Outgoing, SendRequest, SendStreamRequest, SendStreamResponse};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::checker::{Operation, Outcome};
use crate::sim::dice::Dice;

/// One peer as its users see it.
#[derive(Clone, Debug)]
pub struct Home {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub author: PeerId,
    /// Its API.
    pub socket: PathBuf,
}

impl Home {
    /// The API, if somebody answers there.
    pub(super) async fn connect(&self) -> Option<Client> {
        Client::connect(&Endpoint::Unix(self.socket.clone()), None, ANSWER_WITHIN).await.ok()
    }
}

/// Something said, and when.
#[derive(Clone, Debug)]
pub struct Said {
    /// Since the beginning of the run.
    pub at: Duration,
    /// Until it was answered, or no answer was waited for any more.
    pub took: Duration,
    /// What, and what became of it.
    pub operation: Operation,
}

/// Everybody who talks in one run.
#[derive(Debug)]
pub struct People {
    ledger: Arc<Ledger>,
    stop: watch::Sender<bool>,
    sessions: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Ledger {
    start: Instant,
    said: Mutex<Vec<Said>>,
}

/// How one session talks.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// One call a post.
    Unary,
    /// One call a post, with a key, again and again until it is answered.
    Keyed,
    /// A stream with a few posts a request.
    Stream,
    /// A stream with a lot at once, with keys, and then silence.
    Burst,
}

struct Session {
    home: Home,
    number: u64,
    habit: Habit,
    dice: Dice,
    said: u64,
    ledger: Arc<Ledger>,
    stop: watch::Receiver<bool>,
}

impl People {
    /// Some begin to talk at each peer.
    #[must_use]
    pub fn start(homes: &[Home], dice: &mut Dice) -> Self {
        let ledger = Arc::new(Ledger { start: Instant::now(), said: Mutex::default() });
        let stop = watch::Sender::new(false);
        let mut sessions = Vec::new();
        for home in homes {
            for habit in [Habit::Unary, Habit::Keyed, Habit::Stream, Habit::Burst] {
                let session = Session {
                    home: home.clone(),
                    number: sessions.len() as u64,
                    habit,
                    dice: Dice::new(dice.seed()),
                    said: 0,
                    ledger: ledger.clone(),
                    stop: stop.subscribe(),
                };
                sessions.push(tokio::spawn(session.run()));
            }
        }
        Self { ledger, stop, sessions }
    }

    /// Says some posts at a peer, one after the other, and comes back when they are answered.
    pub async fn say_now(&self, home: &Home, number: u64, count: usize) {
        let mut session = Session {
            home: home.clone(),
            number: number + NOW_SESSIONS_FROM,
            habit: Habit::Unary,
            dice: Dice::new(number),
            said: 0,
            ledger: self.ledger.clone(),
            stop: self.stop.subscribe(),
        };
        let Some(client) = home.connect().await else { return };
        for _ in 0..count {
            let post = session.next_post("cut off and");
            if session.say(&client, post).await == Outcome::Unknown {
                return;
            }
        }
    }

    /// Nobody begins to say anything any more; comes back when the last was answered or gave up.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        for session in self.sessions.drain(..) {
            session.await.expect("a session does not panic");
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn said(&self) -> Vec<Said> {
        self.ledger.said.lock().expect("nobody panics with it").clone()
    }
}

impl Session {
    async fn run(mut self) {
        let mut stop = self.stop.clone();
        while !*self.stop.borrow() {
            let Some(client) = self.home.connect().await else {
                sleep(TRY_EVERY).await;
                continue;
            };
            let broken = self.talk(&client).await;
            // So that what is gone is not asked in a loop.
            let pause = if broken.is_none() { TRY_EVERY } else { Duration::ZERO };
            tokio::select! {
                () = sleep(pause) => (),
                _ = stop.wait_for(|stop| *stop) => (),
            }
        }
    }

    /// Until there is no answer, or enough was said; none if there was no answer.
    async fn talk(&mut self, client: &Client) -> Option<()> {
        match self.habit {
            Habit::Unary => {
                while self.go_on(UNARY_GAP).await {
                    let post = if self.dice.chance(NONSENSE) { self.nonsense() } else { self.next_post("says") };
                    known(self.say(client, post).await)?;
                }
            }
            Habit::Keyed => {
                while self.go_on(UNARY_GAP).await {
                    let post = self.next_keyed_post();
                    self.say_until_known(post).await;
                }
            }
            Habit::Stream => self.stream(client, STREAM_GAP, STREAM_POSTS_MAX).await?,
            Habit::Burst => self.stream(client, BURST_GAP, BURST_POSTS_MAX).await?,
        }
        Some(())
    }

    /// Waits a little; false when it is time to stop.
    async fn go_on(&mut self, gap: Duration) -> bool {
        let gap = self.dice.gap(gap);
        tokio::select! {
            () = sleep(gap) => true,
            _ = self.stop.wait_for(|stop| *stop) => false,
        }
    }

    async fn say(&mut self, client: &Client, post: Outgoing) -> Outcome {
        let begun = Instant::now();
        let request = SendRequest { post: Some(post.clone()) };
        let outcome = match timeout(ANSWER_WITHIN, client.chat().send(request)).await {
            Ok(Ok(response)) => acknowledged(response.into_inner().id),
            Ok(Err(status)) => refused(&Error::from(status)),
            Err(_) => Outcome::Unknown,
        };
        self.note(begun, post, outcome);
        outcome
    }

    /// With its key it may be said as often as is needed, and sometimes once more.
    async fn say_until_known(&mut self, post: Outgoing) {
        let again = usize::from(self.dice.chance(AGAIN));
        let mut answers = 0;
        while answers <= again && !*self.stop.borrow() {
            match self.home.connect().await {
                Some(client) if self.say(&client, post.clone()).await != Outcome::Unknown => answers += 1,
                Some(_) | None => sleep(TRY_EVERY).await,
            }
        }
    }

    async fn stream(&mut self, client: &Client, gap: Duration, posts_max: u64) -> Option<()> {
        let (requests, receiver) = mpsc::channel(1);
        let mut chat = client.chat();
        let opened = timeout(ANSWER_WITHIN, chat.send_stream(ReceiverStream::new(receiver))).await;
        let mut answers = opened.ok()?.ok()?.into_inner();
        while self.go_on(gap).await {
            let count = self.dice.between(1, posts_max);
            let posts: Vec<Outgoing> = (0..count)
                .map(|_| if self.dice.chance(NONSENSE) { self.nonsense() } else { self.next_of_stream() })
                .collect();
            let begun = Instant::now();
            let sent = timeout(ANSWER_WITHIN, requests.send(SendStreamRequest { posts: posts.clone() })).await;
            let outcomes = match sent {
                Ok(Ok(())) => read_answers(&mut answers, posts.len()).await,
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            let is_broken = outcomes.len() < posts.len();
            let outcomes = outcomes.into_iter().chain(std::iter::repeat(Outcome::Unknown));
            for (post, outcome) in posts.into_iter().zip(outcomes) {
                self.note(begun, post, outcome);
            }
            if is_broken {
                return None;
            }
        }
        Some(())
    }

    fn next_of_stream(&mut self) -> Outgoing {
        match self.habit {
            Habit::Burst => self.next_keyed_post(),
            Habit::Stream | Habit::Unary | Habit::Keyed => self.next_post("streams"),
        }
    }

    /// A text that nobody says twice.
    fn next_post(&mut self, verb: &str) -> Outgoing {
        self.said += 1;
        let spice = self.dice.pick(SPICE);
        let padding = if self.dice.chance(LONG) { self.dice.between(200, 4_000) } else { self.dice.between(0, 60) };
        let text = format!(
            "{} {verb} {} of {} {spice}{}",
            self.home.name,
            self.said,
            self.number,
            ".".repeat(padding as usize)
        );
        let room = self.dice.pick(&["", "ops", "kitchen"]).to_owned();
        Outgoing { room, text, ..Outgoing::default() }
    }

    fn next_keyed_post(&mut self) -> Outgoing {
        let post = self.next_post("insists on");
        Outgoing { key: format!("{}-{}", self.number, self.said), ..post }
    }

    /// What must be refused.
    fn nonsense(&mut self) -> Outgoing {
        self.said += 1;
        let text = self.dice.pick(&[0, TEXT_BYTES_MAX + 1]);
        Outgoing { text: "x".repeat(text), ..Outgoing::default() }
    }

    fn note(&self, begun: Instant, post: Outgoing, outcome: Outcome) {
        let operation = Operation {
            author: self.home.author,
            session: self.number,
            key: Some(post.key).filter(|key| !key.is_empty()),
            room: if post.room.is_empty() { DEFAULT_ROOM.to_owned() } else { post.room },
            text: post.text,
            outcome,
        };
        let at = begun.duration_since(self.ledger.start);
        let said = Said { at, took: begun.elapsed(), operation };
        self.ledger.said.lock().expect("nobody panics with it").push(said);
    }
}

/// As many as come; fewer when the stream breaks.
async fn read_answers(answers: &mut Streaming<SendStreamResponse>, count: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while outcomes.len() < count {
        let Ok(Ok(Some(answer))) = timeout(ANSWER_WITHIN, answers.message()).await else { break };
        outcomes.extend(answer.results.into_iter().map(|result| match result.result {
            Some(Sent::Sent(sent)) => acknowledged(sent.id),
            Some(Sent::Failed(failure)) => refused(&Error::from(failure)),
            None => Outcome::Unknown,
        }));
    }
    outcomes
}

fn known(outcome: Outcome) -> Option<()> {
    match outcome {
        Outcome::Ok(_) | Outcome::Fail => Some(()),
        Outcome::Unknown => None,
    }
}

fn acknowledged(id: Option<v1::PostId>) -> Outcome {
    id.and_then(|id| post_id(&id)).map_or(Outcome::Unknown, Outcome::Ok)
}

/// Errors that say that nothing was stored; after all others it may be.
fn refused(error: &Error) -> Outcome {
    match error.code {
        Code::TextEmpty
        | Code::TextTooLong
        | Code::TextInvalid
        | Code::RoomInvalid
        | Code::KeyTooLong
        | Code::KeyReused
        | Code::InvalidArgument
        | Code::TooLarge
        | Code::Busy
        | Code::StoreFailed => Outcome::Fail,
        Code::Failed
        | Code::Unreachable
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::NotFound
        | Code::Stopping
        | Code::Timeout
        | Code::Partial
        | Code::NameInvalid
        | Code::NameTaken
        | Code::TicketInvalid
        | Code::TicketRefused
        | Code::Untrusted
        | Code::PeerOffline => Outcome::Unknown,
    }
}

/// The API's name of a post as the core's; none if it is none.
#[must_use]
pub fn post_id(id: &v1::PostId) -> Option<PostId> {
    let author = id.author.parse().ok()?;
    Some(PostId { feed: Instance { id: author, epoch: Epoch(id.epoch) }, seq: Seq(id.seq) })
}

/// What a session waits for an answer: a peer that stands still gives none.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const TRY_EVERY: Duration = Duration::from_millis(100);
const UNARY_GAP: Duration = Duration::from_millis(150);
const STREAM_GAP: Duration = Duration::from_millis(300);
const STREAM_POSTS_MAX: u64 = 12;
const BURST_GAP: Duration = Duration::from_secs(3);
const BURST_POSTS_MAX: u64 = 300;
const NONSENSE: f64 = 0.01;
const AGAIN: f64 = 0.1;
const LONG: f64 = 0.05;
const SPICE: &[&str] = &["", "", "\u{1f980}", "\n[12:00] b: I owe you", "\u{1b}[2J", "e\u{301}", "\"\\"];
const TEXT_BYTES_MAX: usize = 16_384;
const DEFAULT_ROOM: &str = "general";
/// Numbers of sessions that last for one step.
const NOW_SESSIONS_FROM: u64 = 1_000;
