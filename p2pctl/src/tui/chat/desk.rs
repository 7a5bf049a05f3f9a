//! Carries out what a chat wants: the terminal, the daemon and the signals meet it here.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use p2p_proto::client::Client;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::{
    Outgoing, PeersRequest, PostId, ReceiptsRequest, RoomsRequest, SearchRequest, SendRequest, StatusRequest,
    WatchRequest,
};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::draw::draw;
use super::state::{Chat, Effect};
use crate::command::{Session, live};
use crate::exit::{Exit, Outcome, Stop};
use crate::tui::stage::Stage;

/// A chat, and whom it needs.
pub(super) struct Desk<'a> {
    pub(super) chat: RefCell<Chat>,
    pub(super) session: &'a Session,
    /// The connection of calls; streams have their own.
    pub(super) link: RefCell<Option<Client>>,
    /// Something happened.
    wake: Notify,
    /// When the stream of posts gave something last.
    heard: Cell<Instant>,
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What the user does, and who else has a say in when it ends.
struct Ends {
    keys: EventStream,
    terminated: Signals,
    hung_up: Signals,
    continued: Signals,
}

impl<'a> Desk<'a> {
    pub(super) fn new(chat: Chat, session: &'a Session) -> Self {
        Self {
            chat: RefCell::new(chat),
            session,
            link: RefCell::default(),
            wake: Notify::new(),
            heard: Cell::new(Instant::now()),
        }
    }

    /// Until the user leaves. Gives what was typed and is not known to be stored: the room and the text.
    pub(super) async fn run(self) -> (Outcome, Vec<(String, String)>) {
        // All but the first end only with an error.
        let outcome = tokio::select! {
            shown = self.show() => shown,
            ended = self.follow_posts() => ended.map(|never| match never {}),
            ended = self.follow_status() => ended.map(|never| match never {}),
            ended = self.follow_peers() => ended.map(|never| match never {}),
        };
        let chat = self.chat.into_inner();
        (outcome, chat.unsent())
    }

    /// Lets the chat know of something, and has it drawn.
    pub(super) fn tell(&self, handle: impl FnOnce(&mut Chat)) {
        let mut chat = self.chat.borrow_mut();
        chat.now = (self.session.io.now)();
        handle(&mut chat);
        self.wake.notify_one();
    }

    async fn follow_posts(&self) -> Outcome<Infallible> {
        let open = async |client: Client| {
            let start = Some(Start::After(self.chat.borrow().offset));
            client.chat().watch(WatchRequest { start, ..WatchRequest::default() }).await
        };
        let judge = |watched| {
            self.heard.set(Instant::now());
            self.tell(|chat| chat.handle_watched(watched));
            None
        };
        live::until("chat", self.session, open, judge).await
    }

    async fn follow_status(&self) -> Outcome<Infallible> {
        let open = async |client: Client| client.mesh().watch_status(StatusRequest {}).await;
        let judge = |status| {
            self.tell(|chat| chat.handle_status(status));
            None
        };
        live::until("chat", self.session, open, judge).await
    }

    async fn follow_peers(&self) -> Outcome<Infallible> {
        let open = async |client: Client| client.mesh().watch_peers(PeersRequest {}).await;
        let judge = |peers| {
            self.tell(|chat| chat.handle_peers(peers));
            None
        };
        live::until("chat", self.session, open, judge).await
    }

    async fn show(&self) -> Outcome {
        let mut stage = Stage::open()?;
        let mut ends = Ends::listen()?;
        let mut tasks = FuturesUnordered::new();
        let mut receipts: Task<'_> = Box::pin(std::future::pending());
        self.chat.borrow_mut().push(Effect::Rooms);
        loop {
            while let Some(effect) = self.next_effect() {
                match effect {
                    Effect::Leave(Exit::Ok) => return Ok(()),
                    Effect::Leave(exit) => return Err(Stop::Said(exit)),
                    Effect::Redraw => stage.clear()?,
                    Effect::Suspend => {
                        drop(stage);
                        ends.suspend().await?;
                        stage = Stage::open()?;
                    }
                    Effect::Receipts(ids) => receipts = Box::pin(self.follow_receipts(ids)),
                    effect => tasks.push(self.task(effect)),
                }
            }
            self.draw(&mut stage)?;
            tokio::select! {
                biased;
                _ = ends.terminated.recv() => return Err(Stop::Said(Exit::Interrupted)),
                _ = ends.hung_up.recv() => return Err(Stop::Said(Exit::Interrupted)),
                // Whoever stopped us from outside has used the terminal meanwhile.
                _ = ends.continued.recv() => {
                    drop(stage);
                    stage = Stage::open()?;
                }
                event = ends.keys.next() => {
                    let Some(event) = event else { return Err(Stop::Said(Exit::Interrupted)) };
                    self.on_event(event?);
                    self.take_more(&mut ends.keys).await?;
                }
                Some(()) = tasks.next(), if !tasks.is_empty() => (),
                () = &mut receipts => receipts = Box::pin(std::future::pending()),
                () = self.wake.notified() => (),
                () = tokio::time::sleep_until(self.heard.get() + SILENCE_MAX) => {
                    self.heard.set(Instant::now());
                    self.tell(Chat::handle_silence);
                }
            }
        }
    }

    fn next_effect(&self) -> Option<Effect> {
        self.chat.borrow_mut().poll_effect()
    }

    fn draw(&self, stage: &mut Stage) -> Outcome {
        let size = stage.size()?;
        let mut chat = self.chat.borrow_mut();
        if chat.screen != (size.width, size.height) {
            chat.handle_resize(size.width, size.height);
        }
        stage.draw(|frame| draw(&chat, frame))?;
        Ok(())
    }

    fn on_event(&self, event: Event) {
        self.tell(|chat| match event {
            Event::Key(key) => chat.handle_key(key),
            Event::Paste(text) => chat.handle_paste(&text),
            Event::Resize(columns, rows) => chat.handle_resize(columns, rows),
            Event::FocusGained | Event::FocusLost | Event::Mouse(_) => (),
        });
    }

    /// What was typed faster than it is drawn is drawn at once.
    async fn take_more(&self, keys: &mut EventStream) -> Outcome {
        for _ in 0..KEYS_MAX {
            // With our own waker: the stream remembers only the first one that it was asked with.
            let Poll::Ready(Some(event)) = poll_fn(|context| Poll::Ready(keys.poll_next_unpin(context))).await else {
                break;
            };
            self.on_event(event?);
        }
        Ok(())
    }

    fn task(&self, effect: Effect) -> Task<'_> {
        match effect {
            Effect::Load { load, room, what } => Box::pin(async move {
                let page = self.fetch(&room, &what).await;
                self.tell(|chat| chat.handle_page(load, &what, page.map_err(|problem| problem.message)));
            }),
            Effect::Rooms => Box::pin(self.list_rooms()),
            Effect::Search { query, room, page } => Box::pin(self.search(query, room, page)),
            Effect::Send(post) => Box::pin(self.send(post)),
            Effect::Receipts(_) | Effect::Redraw | Effect::Suspend | Effect::Leave(_) => {
                Box::pin(std::future::ready(()))
            }
        }
    }

    async fn list_rooms(&self) {
        let call = async |client: Client| client.chat().rooms(RoomsRequest {}).await;
        match live::ask("rooms", self.session, &self.link, call, drop).await {
            Ok(rooms) => self.tell(|chat| chat.handle_rooms(&rooms)),
            Err(problem) => self.tell(|chat| chat.complain(problem.message)),
        }
    }

    async fn search(&self, query: String, room: String, page: String) {
        let request = SearchRequest { query: query.clone(), room, limit: 0, page, blocked: false };
        let call = async |client: Client| client.chat().search(request.clone()).await;
        let found = live::ask("search", self.session, &self.link, call, drop).await;
        self.tell(|chat| chat.handle_found(&query, found.map_err(|problem| problem.message)));
    }

    /// Until it is stored, or refused: always with the same key, so it is stored once.
    async fn send(&self, post: Outgoing) {
        let key = post.key.clone();
        let request = SendRequest { post: Some(post) };
        let call = async |client: Client| client.chat().send(request.clone()).await;
        let delayed = |why| self.tell(|chat| chat.handle_delayed(&key, why));
        match live::ask("send", self.session, &self.link, call, delayed).await {
            Ok(sent) => self.tell(|chat| chat.handle_sent(&key, sent)),
            Err(problem) => self.tell(|chat| chat.handle_refused(&key, problem.message)),
        }
    }

    async fn follow_receipts(&self, ids: Vec<PostId>) {
        if ids.is_empty() {
            return;
        }
        let request = ReceiptsRequest { ids, follow: true };
        let open = async |client: Client| client.chat().receipts(request.clone()).await;
        let judge = |answer: Result<p2p_proto::v1::ReceiptsResponse, String>| {
            if let Ok(answer) = answer {
                self.tell(|chat| chat.handle_receipts(&answer.receipts));
            }
            None::<Infallible>
        };
        // Marks are no reason to end a conversation.
        drop(live::until("receipts", self.session, open, judge).await);
    }
}

impl Ends {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            keys: EventStream::new(),
            terminated: signal(SignalKind::terminate())?,
            hung_up: signal(SignalKind::hangup())?,
            continued: signal(SignalKind::from_raw(Signal::CONT.as_raw()))?,
        })
    }

    /// Stops this process, as Ctrl-Z does where no program has the terminal. Nobody is stopped who has no shell that
    /// could let him go on, as in a container; the chat is back at once then.
    async fn suspend(&mut self) -> Outcome {
        kill_process(getpid(), Signal::TSTP).map_err(std::io::Error::from)?;
        drop(tokio::time::timeout(STOPPED_WITHIN, self.continued.recv()).await);
        Ok(())
    }
}

/// The daemon says something every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Keys between two pictures.
const KEYS_MAX: usize = 256;
/// A signal to oneself takes microseconds.
const STOPPED_WITHIN: Duration = Duration::from_millis(200);
