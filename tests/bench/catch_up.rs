//! A daemon with a long history: its start, and a newcomer that fetches all of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::daemons::Network;
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::load::Enough;
use crate::sender::Sender;
use crate::subscriber::{read_all, subscribe};

/// One daemon alone with many posts, and then a newcomer that knows its address.
#[derive(Debug)]
pub(crate) struct CatchUp {
    /// The first, started again with all the posts in its store: until it was ready.
    pub(crate) restart: Duration,
    /// The newcomer, from its process on until a program at it had read all posts.
    pub(crate) newcomer: Duration,
}

/// `round` keeps the folders of several rounds apart.
pub(crate) async fn measure(network: &Network, round: usize, count: u64) -> Result<CatchUp, Failure> {
    let name = format!("first{round}");
    let first = network.start(&name, &[]).await?;
    let client = first.connect().await?;
    let ledger = Arc::new(Ledger::new(vec![first.id().to_owned()]));
    ledger.begin(64);
    subscribe(&client, Arc::clone(&ledger), 0).await?;
    let enough = Enough { time: Duration::from_secs(120), posts: count };
    Sender { client, ledger: Arc::clone(&ledger), place: 0 }.flood(64, enough).await?;
    let posts = ledger.wait_complete().await?.posts;
    if posts != count {
        return Err(Failure::new(format!("{posts} of {count} posts were stored in {:?}", enough.time)));
    }
    first.stop().await?;
    let first = network.start(&name, &[]).await?;
    let start = Instant::now();
    let newcomer = network.start(&format!("newcomer{round}"), &[&first]).await?;
    read_all(&newcomer.connect().await?, count).await?;
    Ok(CatchUp { restart: first.start_time, newcomer: start.elapsed() })
}
