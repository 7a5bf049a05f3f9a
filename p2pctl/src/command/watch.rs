//! `watch`: posts as they come, over restarts of the daemon.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use jiff::tz::TimeZone;
use p2p_proto::client::Client;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{Gap, Post, RoomsRequest, WatchRequest, WatchResponse};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::bench::Measurements;
use super::exec::Exec;
use super::live::{self, BACKOFF_MIN, is_gone, why_gone};
use super::{Session, span, who};
use crate::args;
use crate::exit::{Outcome, Problem};
use crate::output::Format;
use crate::output::document::{self, Document};
use crate::output::names::Names;
use crate::output::posts::{PostWriter, Scene};
use crate::output::template::Template;
use crate::output::words::{are, counted};
use crate::parse;

pub(crate) async fn run(args: args::Watch, session: &mut Session) -> Outcome {
    let mut request = request(&args, session).await?;
    let measurements = measurements(&args, &request, session);
    let last = match (measurements, request.start) {
        (Measurements::LeftOut, Some(Start::Last(posts))) => find_last(posts, &mut request, session).await?,
        (Measurements::LeftOut | Measurements::Shown, _) => None,
    };
    let scene = if request.rooms.len() == 1 || !request.with.is_empty() { Scene::OneRoom } else { Scene::ManyRooms };
    let writer = match (args.exec, args.format) {
        (Some(command), _) => Writer::Exec(Box::new(Exec::new(command))),
        (None, format) => Writer::new(args.null, format, scene, session),
    };
    let until = args.time.map(|time| Instant::now() + time);
    let (count, idle, until_caught_up) = (args.count, args.idle, args.until_caught_up);
    let mut watch = Watch { count, idle, until_caught_up, last, measurements, ..Watch::new(request, writer) };
    let end = match until {
        None => watch.follow(session).await?,
        Some(until) => match tokio::time::timeout_at(until, watch.follow(session)).await {
            Ok(end) => end?,
            Err(_) => End::Time,
        },
    };
    watch.finish(end)
}

async fn request(args: &args::Watch, session: &mut Session) -> Outcome<WatchRequest> {
    let rooms = args.rooms.iter().map(|room| parse::room(room)).collect::<Result<_, _>>()?;
    let start = match &args.start {
        args::WatchStart { last: Some(posts), .. } => Start::Last(*posts),
        args::WatchStart { after: Some(offset), .. } => Start::After(*offset),
        args::WatchStart { since: Some(since), .. } => {
            Start::SinceUs(parse::time(since, session.style.now, &session.style.zone)?)
        }
        args::WatchStart { all: true, .. } => Start::After(0),
        args::WatchStart { all: false, .. } => Start::Live(true),
    };
    let authors = who::resolve_all(&args.from, session).await?;
    let with = who::resolve_optional(args.to.as_deref(), session).await?;
    Ok(WatchRequest { rooms, authors, no_own: args.no_own, blocked: args.blocked, with, start: Some(start) })
}

/// Programs get what they ask for.
fn measurements(args: &args::Watch, request: &WatchRequest, session: &Session) -> Measurements {
    let is_raw = args.null || args.format.is_some() || args.exec.is_some();
    if is_raw || !session.is_for_people() {
        return Measurements::Shown;
    }
    let is_everything = args.start.all || args.start.after.is_some();
    Measurements::in_rooms(request.rooms.is_empty() && request.with.is_empty(), is_everything)
}

/// The last posts may all be measurements, so as many more are asked for: those that are to be shown of them.
async fn find_last(posts: u32, request: &mut WatchRequest, session: &mut Session) -> Outcome<Option<Last>> {
    let client = session.client().await?;
    let rooms = session.answer("watch", client.chat().rooms(RoomsRequest {})).await?.rooms;
    let Some(room) = rooms.iter().find(|room| room.name == args::BENCH_ROOM) else { return Ok(None) };
    let more = u32::try_from(room.posts).unwrap_or(LAST_MAX);
    request.start = Some(Start::Last(posts.saturating_add(more).min(LAST_MAX)));
    Ok(Some(Last { wanted: posts as usize, posts: VecDeque::new() }))
}

/// Goes on behind what was shown of the past, until Ctrl-C: posts behind `request`'s start, from a moment on.
pub(crate) async fn go_on(
    request: WatchRequest,
    since_us: i64,
    measurements: Measurements,
    writer: Writer,
    session: &mut Session,
) -> Outcome {
    // It answered a moment ago.
    let mut watch = Watch { since_us, measurements, linked: true, ..Watch::new(request, writer) };
    let end = watch.follow(session).await?;
    watch.finish(end)
}

struct Watch {
    /// What to ask for; its start moves on with what was shown.
    request: WatchRequest,
    /// Posts of an earlier time are left out, in microseconds since 1970.
    since_us: i64,
    writer: Writer,
    shown: u64,
    count: Option<u64>,
    idle: Option<Duration>,
    until_caught_up: bool,
    measurements: Measurements,
    /// The last posts of the past, until it is known which they are.
    last: Option<Last>,
    /// It was said that posts are left out.
    said_blocked: bool,
    /// It was said that measurements are.
    said_measured: bool,
    last_post: Instant,
    /// The daemon answered at least once, so it is worth waiting for it to come back.
    linked: bool,
}

/// Posts of the past that come before it is known whether they are among the last ones.
struct Last {
    wanted: usize,
    posts: VecDeque<Post>,
}

/// How posts are written.
pub(crate) enum Writer {
    Posts(Box<PostWriter>),
    /// Texts as they are, each followed by a NUL.
    Raw,
    /// As the user wrote it down.
    Template(Box<Template>, Names),
    /// A command runs for each.
    Exec(Box<Exec>),
}

/// Why it ended as it was asked to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Count,
    CaughtUp,
    Idle,
    Time,
}

/// How one stream ended.
enum Stream {
    Ended(End),
    /// The daemon is gone, for this reason.
    Lost(String),
}

impl Watch {
    /// Everything, for ever.
    fn new(request: WatchRequest, writer: Writer) -> Self {
        Self {
            request,
            since_us: i64::MIN,
            writer,
            shown: 0,
            count: None,
            idle: None,
            until_caught_up: false,
            said_blocked: false,
            measurements: Measurements::Shown,
            last: None,
            said_measured: false,
            last_post: Instant::now(),
            linked: false,
        }
    }

    /// Follows the daemon from run to run.
    async fn follow(&mut self, session: &mut Session) -> Outcome<End> {
        if self.count == Some(0) {
            return Ok(End::Count);
        }
        let mut client = session.client().await?;
        let mut backoff = BACKOFF_MIN;
        loop {
            let offset = self.request.start;
            match self.read(&client, session).await? {
                Stream::Ended(end) => return Ok(end),
                Stream::Lost(why) => live::say_gone(&why, session),
            }
            if self.request.start != offset {
                backoff = BACKOFF_MIN;
            }
            client = live::find_again(&mut backoff, session).await?;
        }
    }

    async fn read(&mut self, client: &Client, session: &mut Session) -> Outcome<Stream> {
        let mut chat = client.chat();
        let call = chat.watch(self.request.clone());
        let mut stream = match tokio::time::timeout(session.timeout, call).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return self.lost(status),
            Err(_) if self.linked => return Ok(Stream::Lost(format!("no answer in {}", span(session.timeout)))),
            Err(_) => return Err(Problem::timeout(format!("watch: no answer in {}", span(session.timeout))).into()),
        };
        self.linked = true;
        loop {
            let item = match self.next(&mut stream).await {
                Some(Ok(Some(item))) => item,
                Some(Ok(None)) => return Ok(Stream::Lost("it ended the stream".to_owned())),
                Some(Err(status)) => return self.lost(status),
                None if self.is_idle() => return Ok(Stream::Ended(End::Idle)),
                None => return Ok(Stream::Lost("it is silent".to_owned())),
            };
            if let Some(end) = self.on_item(item, session).await? {
                return Ok(Stream::Ended(end));
            }
        }
    }

    /// The next item; none when too much time passed without one.
    async fn next(&self, stream: &mut Streaming<WatchResponse>) -> Option<Result<Option<WatchResponse>, Status>> {
        let silent = Instant::now() + SILENCE_MAX;
        let deadline = self.idle.map_or(silent, |idle| silent.min(self.last_post + idle));
        tokio::time::timeout_at(deadline, stream.message()).await.ok()
    }

    fn is_idle(&self) -> bool {
        self.idle.is_some_and(|idle| self.last_post.elapsed() >= idle)
    }

    async fn on_item(&mut self, response: WatchResponse, session: &mut Session) -> Outcome<Option<End>> {
        let mut end = None;
        match response.item {
            Some(Item::Batch(batch)) => {
                let mut posts = batch.posts;
                posts.retain(|post| post.time_us >= self.since_us);
                let left_out = self.measurements.leave_out(&mut posts);
                if left_out > 0 && !std::mem::replace(&mut self.said_measured, true) {
                    session.note(MEASURED);
                }
                match &mut self.last {
                    Some(last) => last.take(posts),
                    None => self.show(&posts, session).await?,
                }
                end = self.count.filter(|count| self.shown >= *count).map(|_| End::Count);
            }
            Some(Item::CaughtUp(_)) => {
                if let Some(last) = self.last.take() {
                    self.show(&Vec::from(last.posts), session).await?;
                    end = self.count.filter(|count| self.shown >= *count).map(|_| End::Count);
                }
                self.writer.tell(&document::caught_up(response.offset), session)?;
                session.note("caught up");
                end = end.or(self.until_caught_up.then_some(End::CaughtUp));
            }
            Some(Item::Gap(gap)) => {
                self.writer.tell(&document::gap(&gap), session)?;
                tell_gap(&gap, session);
            }
            Some(Item::Heartbeat(_)) | None => (),
        }
        if response.blocked > 0 && !std::mem::replace(&mut self.said_blocked, true) {
            session.note(LEFT_OUT);
        }
        // Only now: what was not written is asked for again.
        self.request.start = Some(Start::After(response.offset));
        Ok(end)
    }

    async fn show(&mut self, posts: &[Post], session: &mut Session) -> Outcome {
        let left = self.count.map_or(usize::MAX, |count| usize::try_from(count - self.shown).unwrap_or(usize::MAX));
        let posts = &posts[..posts.len().min(left)];
        self.writer.write_all(posts, session).await?;
        self.shown += posts.len() as u64;
        if !posts.is_empty() {
            self.last_post = Instant::now();
        }
        Ok(())
    }

    fn lost(&self, status: Status) -> Outcome<Stream> {
        if self.linked && is_gone(&status) {
            return Ok(Stream::Lost(why_gone(&status)));
        }
        Err(Problem::of_status("watch", status).into())
    }

    fn finish(&self, end: End) -> Outcome {
        let Some(count) = self.count.filter(|count| self.shown < *count) else { return Ok(()) };
        match end {
            End::Count => Ok(()),
            End::CaughtUp | End::Idle | End::Time => {
                Err(Problem::timeout(format!("watch: {} of {count} posts came", self.shown)).into())
            }
        }
    }
}

impl Last {
    fn take(&mut self, posts: Vec<Post>) {
        self.posts.extend(posts);
        let extra = self.posts.len().saturating_sub(self.wanted);
        self.posts.drain(..extra);
    }
}

impl Writer {
    /// For texts only, for a template, or for posts as they are shown.
    pub(crate) fn new(is_raw: bool, format: Option<Template>, scene: Scene, session: &Session) -> Self {
        match format {
            _ if is_raw => Self::Raw,
            Some(template) => Self::Template(Box::new(template), Names::default()),
            None => Self::posts(session, scene),
        }
    }

    fn posts(session: &Session, scene: Scene) -> Self {
        Self::Posts(Box::new(PostWriter::new(session.style.clone(), scene)))
    }

    /// Writes posts that came together, and lets the reader have them.
    pub(crate) async fn write_all(&mut self, posts: &[Post], session: &mut Session) -> Outcome {
        match self {
            Self::Posts(writer) => {
                writer.view(posts);
                writer.resize((session.io.screen)().map(|screen| screen.columns));
            }
            Self::Template(_, names) => posts.iter().for_each(|post| names.add_author(post)),
            Self::Exec(exec) => return exec.run_all(posts, session).await,
            Self::Raw => (),
        }
        let out = &mut session.io.stdout;
        posts.iter().try_for_each(|post| self.write(post, &session.style.zone, out))?;
        Ok(out.flush()?)
    }

    /// Tells a program what happened between two posts. People are told on stderr.
    pub(crate) fn tell(&self, document: &Document<'_>, session: &mut Session) -> Outcome {
        let Self::Posts(_) = self else { return Ok(()) };
        if let Format::Json | Format::Yaml = session.style.format {
            session.show(|style, out| style.write_data(|| document.clone(), out).map(drop))?;
        }
        Ok(())
    }

    fn write(&mut self, post: &Post, zone: &TimeZone, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Posts(writer) => writer.write(post, out),
            Self::Raw => write_raw(post, out),
            Self::Template(template, names) => template.write(post, names, zone, out),
            // It writes nothing itself.
            Self::Exec(_) => Ok(()),
        }
    }
}

/// A text as it was sent, and a NUL.
fn write_raw(post: &Post, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(post.text.as_bytes())?;
    out.write_all(b"\0")
}

/// Never silent: posts are missing.
fn tell_gap(gap: &Gap, session: &mut Session) {
    match session.style.format {
        Format::Json => {
            // Where even stderr is gone, nobody can be told.
            let _ = document::gap(gap).write_json(&mut session.io.stderr);
        }
        Format::Text | Format::Wide | Format::Yaml => {
            let count = if gap.posts == 0 { "some posts".to_owned() } else { counted(gap.posts, "post") };
            let (from, to, are) = (gap.from, gap.to, are(gap.posts));
            session.warn(&format!("gap: {count} at offsets {from} to {to} {are} not held here: dropped by retention, or damaged (see p2pctl status)"));
        }
    }
}

/// Said once: there may be many of them.
const LEFT_OUT: &str = "what blocked peers say is left out: --blocked shows it";
/// The same for measurements.
pub(crate) const MEASURED: &str = "what p2pctl bench measured with is left out: name the room bench, or --all";
/// The daemon gives no more.
const LAST_MAX: u32 = 10_000;
/// The daemon says something every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
