//! `bench`: how fast this daemon stores, and how long what others send takes to come here.

use std::collections::VecDeque;
use std::time::Duration;

use p2p_proto::error::Error;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{Outgoing, Post, SendRequest, SendResult, SendStreamRequest, WatchRequest, send_result};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::Session;
use crate::args::{BENCH_ROOM, Bench, BenchSend, BenchWatch};
use crate::exit::{Exit, Outcome, Problem};
use crate::output::bench::{Measured, render_bench};
use crate::parse::{self, TEXT_BYTES_MAX};
use crate::progress::Bar;

pub(crate) async fn run(command: &Bench, session: &mut Session) -> Outcome {
    let measured = match command {
        Bench::Send(args) => {
            warn(args, session)?;
            send(args, session).await?
        }
        Bench::Latency(args) => {
            warn(args, session)?;
            latency(args, session).await?
        }
        Bench::Watch(args) => watch(args, session).await?,
    };
    session.show(|style, out| render_bench(&measured, style, out))
}

/// Nobody shall find out afterwards what a benchmark leaves behind.
fn warn(args: &BenchSend, session: &mut Session) -> Outcome {
    let room = parse::room(&args.room)?;
    if !(SIZE_MIN..=TEXT_BYTES_MAX).contains(&args.size) {
        let why = format!("bench: --size is {SIZE_MIN} to {TEXT_BYTES_MAX} bytes");
        return Err(Problem::usage(why).into());
    }
    let (count, size) = (args.count, args.size);
    session.warn(&format!("{count} posts of {size} bytes are kept in the room {room} by everybody, as all posts are"));
    Ok(())
}

/// Many on their way at the same time, as `send -l` does.
async fn send(args: &BenchSend, session: &mut Session) -> Outcome<Measured> {
    let mut chat = session.client().await?.chat();
    let (posts, requests) = mpsc::channel(1);
    let mut answers = session.answer("bench", chat.send_stream(ReceiverStream::new(requests))).await?;
    let bar = Bar::new(session.is_bar_welcome(), args.count);
    let mut measured = Measured::new("send", args.size);
    let (begin, mut said, mut open) = (Instant::now(), 0, VecDeque::new());
    while measured.count() < args.count {
        let has_room = said < args.count && open.len() < OPEN_MAX;
        tokio::select! {
            permit = posts.reserve(), if has_room && is_due(begin, said, args.rate) => {
                let Ok(permit) = permit else { return Err(broken()) };
                let wanted = if args.rate.is_some() { 1 } else { BATCH.min(args.count - said) };
                let now_us = (session.io.now)().as_microsecond();
                let texts = (0..wanted).map(|_| outgoing(args, now_us)).collect();
                permit.send(SendStreamRequest { posts: texts });
                (0..wanted).for_each(|_| open.push_back(Instant::now()));
                said += wanted;
            }
            () = tokio::time::sleep_until(due(begin, said, args.rate)), if has_room && !is_due(begin, said, args.rate) => (),
            answer = answers.message() => {
                let answer = answer.map_err(|status| Problem::of_status("bench", status))?.ok_or_else(broken)?;
                for result in answer.results {
                    let sent_at = open.pop_front().ok_or_else(broken)?;
                    take(result)?;
                    measured.add(sent_at.elapsed());
                }
                bar.set(measured.count());
            }
            () = tokio::time::sleep(session.timeout), if !open.is_empty() => {
                return Err(Problem::timeout("bench: the daemon does not answer").into());
            }
        }
    }
    measured.elapsed = begin.elapsed();
    Ok(measured)
}

fn take(result: SendResult) -> Result<(), Problem> {
    match result.result {
        Some(send_result::Result::Sent(_)) => Ok(()),
        Some(send_result::Result::Failed(failure)) => Err(Problem::of("bench", failure.into())),
        None => Err(Problem::of("bench", Error::new(p2p_proto::error::Code::Failed, "an empty answer"))),
    }
}

fn broken() -> crate::exit::Stop {
    Problem::new(Exit::Failed, "FAILED", "bench: the daemon ended the stream".to_owned()).into()
}

/// One after the other.
async fn latency(args: &BenchSend, session: &mut Session) -> Outcome<Measured> {
    let mut chat = session.client().await?.chat();
    let bar = Bar::new(session.is_bar_welcome(), args.count);
    let mut measured = Measured::new("latency", args.size);
    let begin = Instant::now();
    for said in 0..args.count {
        tokio::time::sleep_until(due(begin, said, args.rate.or(Some(LATENCY_RATE)))).await;
        let post = Some(outgoing(args, (session.io.now)().as_microsecond()));
        let sent_at = Instant::now();
        session.answer("bench", chat.send(SendRequest { post })).await?;
        measured.add(sent_at.elapsed());
        bar.set(measured.count());
    }
    measured.elapsed = begin.elapsed();
    Ok(measured)
}

/// What comes, from the moment it was said by the clock of whoever said it.
async fn watch(args: &BenchWatch, session: &mut Session) -> Outcome<Measured> {
    let mut chat = session.client().await?.chat();
    let rooms = vec![parse::room(&args.room)?];
    let request = WatchRequest { rooms, no_own: true, start: Some(Start::Live(true)), ..WatchRequest::default() };
    let mut stream = session.answer("bench", chat.watch(request)).await?;
    let bar = Bar::new(session.is_bar_welcome(), args.count.unwrap_or(0));
    session.note("waiting for: p2pctl bench send, at another peer");
    let mut measured = Measured::new("watch", 0);
    let end = Instant::now() + args.time;
    let mut first_us = None;
    while args.count.is_none_or(|count| measured.count() < count) {
        let Ok(item) = tokio::time::timeout_at(end, stream.message()).await else { break };
        let item = item.map_err(|status| Problem::of_status("bench", status))?.ok_or_else(broken)?;
        let Some(Item::Batch(batch)) = item.item else { continue };
        let now_us = (session.io.now)().as_microsecond();
        let left = args.count.map_or(u64::MAX, |count| count - measured.count());
        let said = batch.posts.iter().filter_map(|post| Some((post, said_us(post)?)));
        for (post, said_us) in said.take(usize::try_from(left).unwrap_or(usize::MAX)) {
            first_us.get_or_insert(said_us);
            measured.bytes += post.text.len() as u64;
            // Clocks that differ can make it come before it was said.
            measured.add(Duration::from_micros(u64::try_from(now_us.saturating_sub(said_us)).unwrap_or(0)));
        }
        bar.set(measured.count());
        // From when the first was said: all may come at the same moment.
        let elapsed_us = first_us.map_or(0, |first_us| now_us.saturating_sub(first_us));
        measured.elapsed = Duration::from_micros(u64::try_from(elapsed_us).unwrap_or(0));
    }
    if measured.count() == 0 {
        let problem = Problem::timeout(format!("bench: nothing came in {}", super::span(args.time)));
        return Err(problem.with_hint("say something at another peer: p2pctl bench send").into());
    }
    Ok(measured)
}

/// A text that says when it was said, and nothing else.
fn outgoing(args: &BenchSend, now_us: i64) -> Outgoing {
    let head = format!("{WORD} {now_us} ");
    let text = format!("{head}{}", "x".repeat(args.size.saturating_sub(head.len())));
    Outgoing { room: args.room.clone(), text, ..Outgoing::default() }
}

/// What becomes of measurements where people read: there may be thousands of them between two things that were said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measurements {
    Shown,
    LeftOut,
}

impl Measurements {
    /// They are left out where all rooms are asked for, and not everything.
    pub(crate) fn in_rooms(is_every_room: bool, is_everything: bool) -> Self {
        if is_every_room && !is_everything { Self::LeftOut } else { Self::Shown }
    }

    /// Leaves them out of these posts where they are not shown; how many.
    pub(crate) fn leave_out(self, posts: &mut Vec<Post>) -> u64 {
        let before = posts.len();
        match self {
            Self::Shown => (),
            // What somebody says in that room is shown.
            Self::LeftOut => posts.retain(|post| post.room != BENCH_ROOM || said_us(post).is_none()),
        }
        (before - posts.len()) as u64
    }
}

fn said_us(post: &Post) -> Option<i64> {
    let mut words = post.text.split(' ');
    if words.next() == Some(WORD) { words.next()?.parse().ok() } else { None }
}

/// When the next one is to be said, behind so many.
fn due(begin: Instant, said: u64, rate: Option<u32>) -> Instant {
    rate.map_or(begin, |rate| begin + Duration::from_secs_f64(said as f64 / f64::from(rate)))
}

fn is_due(begin: Instant, said: u64, rate: Option<u32>) -> bool {
    due(begin, said, rate) <= Instant::now()
}

const WORD: &str = "bench";
/// The word and the time.
const SIZE_MIN: usize = 24;
/// On their way at the same time.
const OPEN_MAX: usize = 4_096;
const BATCH: u64 = 64;
/// Messages a second where nothing is said: far from what a disk can do.
const LATENCY_RATE: u32 = 50;
