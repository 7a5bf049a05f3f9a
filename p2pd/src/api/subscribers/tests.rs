#![allow(clippy::unwrap_used)]

use std::time::Duration;

use p2p_mesh::envelope::Post;

use super::*;
use crate::api::tests::World;

/// One that holds as many short posts as fit into this memory, and what it is given.
struct Stage {
    subscribers: Subscribers,
    world: World,
}

impl Stage {
    fn new(memory_bytes_max: usize) -> Self {
        Self { subscribers: Subscribers::with_memory(memory_bytes_max), world: World::new() }
    }

    fn say(&mut self, text: &str) {
        let entry = self.world.append(1, vec![Post::chat("general", text)]);
        self.subscribers.publish(Batch { entries: vec![entry] });
    }

    fn held(&self) -> usize {
        self.subscribers.shared.backlog().batches.len()
    }

    fn memory_bytes(&self) -> usize {
        self.subscribers.shared.backlog().memory_bytes
    }
}

fn text(published: &Published) -> String {
    published.batch.entries[0].envelope.body().posts[0].text.to_string()
}

fn next(subscription: &mut Subscription) -> Result<Option<String>, Lagged> {
    Ok(subscription.try_recv()?.map(|published| text(&published)))
}

const PLENTY: usize = 1 << 20;

#[test]
fn each_reader_gets_what_comes_after_it_in_order_and_once() {
    let mut stage = Stage::new(PLENTY);
    let mut early = stage.subscribers.subscribe();
    stage.say("one");
    let mut late = stage.subscribers.subscribe();
    stage.say("two");
    assert_eq!(next(&mut early), Ok(Some("one".into())));
    assert_eq!(next(&mut late), Ok(Some("two".into())));
    assert_eq!(next(&mut early), Ok(Some("two".into())));
    assert_eq!((next(&mut early), next(&mut late)), (Ok(None), Ok(None)));
}

#[test]
fn what_all_have_read_takes_no_memory() {
    let mut stage = Stage::new(PLENTY);
    stage.say("nobody hears this");
    assert_eq!((stage.held(), stage.memory_bytes()), (0, 0));
    let (mut quick, mut slow) = (stage.subscribers.subscribe(), stage.subscribers.subscribe());
    stage.say("one");
    stage.say("two");
    next(&mut quick).unwrap();
    next(&mut quick).unwrap();
    assert_eq!(stage.held(), 2, "the other one has read nothing");
    next(&mut slow).unwrap();
    assert_eq!(stage.held(), 1);
    drop(slow);
    assert_eq!((stage.held(), stage.memory_bytes()), (0, 0), "who left wants nothing");
}

#[test]
fn a_reader_that_stands_still_keeps_no_more_than_the_limit_and_is_told() {
    let mut stage = Stage::new(4 << 10);
    let (mut still, mut quick) = (stage.subscribers.subscribe(), stage.subscribers.subscribe());
    for number in 0..100 {
        stage.say(&number.to_string());
        assert!(stage.memory_bytes() <= 4 << 10);
        assert_eq!(next(&mut quick), Ok(Some(number.to_string())));
    }
    assert_eq!(stage.held(), 0, "who missed something keeps nothing");
    assert_eq!(next(&mut still), Err(Lagged));
    stage.say("new");
    assert_eq!(next(&mut still), Ok(Some("new".into())), "what comes from then on is there");
}

#[test]
fn a_batch_larger_than_the_limit_is_read_all_the_same() {
    let mut stage = Stage::new(1);
    let mut reader = stage.subscribers.subscribe();
    stage.say("large");
    assert_eq!(next(&mut reader), Ok(Some("large".into())));
}

#[test]
fn a_reader_that_skips_gets_only_what_comes_then() {
    let mut stage = Stage::new(PLENTY);
    let mut reader = stage.subscribers.subscribe();
    stage.say("old");
    reader.skip();
    assert_eq!(stage.held(), 0);
    stage.say("new");
    assert_eq!(next(&mut reader), Ok(Some("new".into())));
}

#[tokio::test]
async fn a_reader_that_waits_is_woken_and_one_that_gave_up_missed_nothing() {
    let mut stage = Stage::new(PLENTY);
    let mut reader = stage.subscribers.subscribe();
    assert!(tokio::time::timeout(Duration::ZERO, reader.recv()).await.is_err());
    let (read, ()) = tokio::join!(reader.recv(), async { stage.say("hello") });
    assert_eq!(text(&read.unwrap()), "hello");
    stage.say("again");
    assert_eq!(text(&reader.recv().await.unwrap()), "again");
}
