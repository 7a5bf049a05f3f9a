//! One mesh from its first daemon to its last idle second.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use p2p_tests::process;

use crate::daemons::{Daemon, Network};
use crate::failure::Failure;
use crate::figures::{Figures, Round, Spread, parts};
use crate::reader::{Reader, Said, say};

/// Everything about one number of peers.
///
/// # Errors
///
/// Something did not come about, or a daemon holds something else than was said.
pub(crate) async fn run(bin: &Path, peers: usize, idle: Duration) -> Result<Figures, Failure> {
    let network = Network::new(bin)?;
    eprintln!("{peers} peers: forming");
    let (begin, busy_before) = (Instant::now(), process::machine_time().busy);
    let mut daemons = start(&network, peers).await?;
    wait_formed(&daemons).await?;
    let formed = begin.elapsed();

    eprintln!("{peers} peers: everybody says something, and something more");
    let mut readers = try_join_all(daemons.iter().map(|daemon| Reader::open(daemon.client()))).await?;
    let mut said = Said::new();
    let first = everybody_speaks(&daemons, &mut readers, &mut said).await?;
    tokio::time::sleep(VIEWS_TIME).await;
    let second = everybody_speaks(&daemons, &mut readers, &mut said).await?;
    drop(readers);
    let others = others_share(&daemons, begin, busy_before);

    eprintln!("{peers} peers: a fifth is killed and comes back");
    let healed = kill_and_heal(&network, &mut daemons, &mut said).await?;
    check_histories(&daemons, &said).await?;
    wait_formed(&daemons).await?;

    eprintln!("{peers} peers: nobody does anything");
    tokio::time::sleep(SETTLE_TIME.min(idle)).await;
    let idling = Idling::measure(&daemons, idle).await?;
    Ok(Figures {
        formed,
        first,
        second,
        healed,
        others,
        links: links(&daemons).await?,
        resident_kib: Spread::of(daemons.iter().map(|daemon| process::resident_kib(daemon.pid()))),
        processor_share: idling.processor_time.as_secs_f64() / idling.time.as_secs_f64() / peers as f64,
        bytes_a_second: idling.bytes as f64 / idling.time.as_secs_f64() / peers as f64,
    })
}

/// Two that everybody is told of, as one alone may be down when it is needed, and then all others at once.
async fn start(network: &Network, peers: usize) -> Result<Vec<Daemon>, Failure> {
    let first = network.start(0, &[]).await?;
    let second = network.start(1, &[first.addr()]).await?;
    let dials = [first.addr(), second.addr()];
    let others = try_join_all((2..peers).map(|place| network.start(place, &dials))).await?;
    Ok([first, second].into_iter().chain(others).collect())
}

/// Everybody has as many links as it wants, and there is a way from everybody to everybody.
async fn wait_formed(daemons: &[Daemon]) -> Result<(), Failure> {
    let wanted = (daemons.len() - 1).min(FULL_MESH_MAX);
    let waits = daemons
        .iter()
        .map(|daemon| daemon.wait_until("a daemon has its links", move |status| status.peers_up as usize >= wanted));
    try_join_all(waits).await?;
    match parts(&neighbours(daemons).await?) {
        1 => Ok(()),
        parts => Err(Failure::Wrong(format!("the mesh is in {parts} parts"))),
    }
}

/// By place: the places of all that a daemon is linked to.
async fn neighbours(daemons: &[Daemon]) -> Result<Vec<Vec<usize>>, Failure> {
    let places: BTreeMap<&str, usize> = daemons.iter().enumerate().map(|(at, daemon)| (daemon.id(), at)).collect();
    let linked = try_join_all(daemons.iter().map(Daemon::linked)).await?;
    let places_of = |ids: Vec<String>| ids.iter().filter_map(|id| places.get(id.as_str()).copied()).collect();
    Ok(linked.into_iter().map(places_of).collect())
}

async fn links(daemons: &[Daemon]) -> Result<Spread, Failure> {
    Ok(Spread::of(neighbours(daemons).await?.iter().map(|linked| linked.len() as u64)))
}

/// Everybody says one thing at once, and a reader at everybody gets all of it once.
async fn everybody_speaks(daemons: &[Daemon], readers: &mut [Reader], said: &mut Said) -> Result<Round, Failure> {
    let peers = daemons.len();
    let count_wanted = said.len() + peers;
    let duplicates_before = count(daemons, "posts_duplicate_total").await?;
    let begin = Instant::now();
    let sending = speak(daemons.iter().collect());
    let reading = try_join_all(readers.iter_mut().map(|reader| reader.read(count_wanted)));
    let (sent, read) = try_join(sending, reading).await?;
    let everywhere = begin.elapsed();
    said.extend(sent);
    check_read(&read, said)?;
    let duplicates = count(daemons, "posts_duplicate_total").await? - duplicates_before;
    Ok(Round { everywhere, copies: 1.0 + duplicates as f64 / (peers * (peers - 1)) as f64 })
}

/// The part of this machine that neither the daemons nor this program used since `begin`, when the first of them began.
fn others_share(daemons: &[Daemon], begin: Instant, busy_before: Duration) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = process::machine_time().busy.saturating_sub(busy_before);
    let pids = daemons.iter().map(Daemon::pid).chain([std::process::id()]);
    let ours = pids.map(process::processor_time_fine).sum();
    busy.saturating_sub(ours).as_secs_f64() / (begin.elapsed().as_secs_f64() * cores as f64)
}

async fn speak(daemons: Vec<&Daemon>) -> Result<Said, Failure> {
    let words = daemons.iter().map(|daemon| say(daemon.client(), format!("hello from {}", daemon.id())));
    Ok(try_join_all(words).await?.into_iter().collect())
}

/// The others speak while the killed are away. How long it takes from the first restart until all hold all again.
async fn kill_and_heal(network: &Network, daemons: &mut [Daemon], said: &mut Said) -> Result<Duration, Failure> {
    let (victims, others): (Vec<usize>, Vec<usize>) = (0..daemons.len()).partition(|place| is_victim(*place));
    victims.iter().for_each(|place| daemons[*place].kill_9());
    said.extend(speak(others.iter().map(|place| &daemons[*place]).collect()).await?);
    let dials = [daemons[0].addr(), daemons[1].addr()];
    let begin = Instant::now();
    let restarted = try_join_all(victims.iter().map(|place| network.start(*place, &dials))).await?;
    for (place, daemon) in victims.into_iter().zip(restarted) {
        daemons[place] = daemon;
    }
    let count = said.len() as u64;
    let waits =
        daemons.iter().map(|daemon| daemon.wait_until("a daemon holds all", move |status| status.posts >= count));
    try_join_all(waits).await?;
    Ok(begin.elapsed())
}

/// Every fifth, and neither of the two that everybody knows.
fn is_victim(place: usize) -> bool {
    place % 5 == 2
}

/// All digests are equal, and all readers get exactly what was said.
async fn check_histories(daemons: &[Daemon], said: &Said) -> Result<(), Failure> {
    let statuses = try_join_all(daemons.iter().map(Daemon::status)).await?;
    for status in &statuses {
        if status.posts != said.len() as u64 || status.digest != statuses[0].digest {
            let (id, posts, digest) = (&status.id, status.posts, &status.digest);
            return Err(Failure::Wrong(format!("{id} holds {posts} of {} posts, digest {digest}", said.len())));
        }
    }
    let mut readers = try_join_all(daemons.iter().map(|daemon| Reader::open(daemon.client()))).await?;
    let read = try_join_all(readers.iter_mut().map(|reader| reader.read(said.len()))).await?;
    check_read(&read, said)
}

fn check_read(read: &[&Said], said: &Said) -> Result<(), Failure> {
    match read.iter().find(|read| **read != said) {
        None => Ok(()),
        Some(read) => {
            let (missing, more) = (said.difference(read).count(), read.difference(said).count());
            Err(Failure::Wrong(format!("a reader misses {missing} posts and has {more} that nobody said")))
        }
    }
}

async fn count(daemons: &[Daemon], counter: &str) -> Result<u64, Failure> {
    let statuses = try_join_all(daemons.iter().map(Daemon::status)).await?;
    Ok(statuses.iter().filter_map(|status| status.counters.get(counter)).sum())
}

/// What a mesh costs that does nothing, all daemons together.
struct Idling {
    time: Duration,
    processor_time: Duration,
    bytes: u64,
}

impl Idling {
    async fn measure(daemons: &[Daemon], time: Duration) -> Result<Self, Failure> {
        let used = || daemons.iter().map(|daemon| process::processor_time_fine(daemon.pid())).sum::<Duration>();
        let bytes_before = count(daemons, "bytes_sent_total").await?;
        // Answering us is no idling.
        let (begin, used_before) = (Instant::now(), used());
        tokio::time::sleep(time).await;
        let (time, used_after) = (begin.elapsed(), used());
        let bytes = count(daemons, "bytes_sent_total").await? - bytes_before;
        Ok(Self { time, processor_time: used_after.saturating_sub(used_before), bytes })
    }
}

/// The default of `full_mesh_max`: who has that many links looks for no more, but takes those who come.
const FULL_MESH_MAX: usize = 32;
/// Peers tell each other once a second who their neighbours are, which says who needs no copy.
const VIEWS_TIME: Duration = Duration::from_secs(3);
/// Links are fresh: what they tell each other at the start is no idling. No longer than what is looked at, though.
const SETTLE_TIME: Duration = Duration::from_secs(10);
