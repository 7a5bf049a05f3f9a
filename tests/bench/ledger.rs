//! What was said in one run and who has it: the judge of losslessness, and the clock of deliveries.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use p2p_proto::v1::Post;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::text::Tag;

/// Shared by all senders and subscribers of this process.
#[derive(Debug)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    changed: Notify,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Posts that were said.
    pub(crate) posts: u64,
    /// What arrived at others than the sender.
    pub(crate) deliveries: u64,
    /// From the first post handed over to the last arrival.
    pub(crate) time: Duration,
    /// Microseconds from handing over to arrival at another, one a delivery.
    pub(crate) latencies_us: Vec<u32>,
}

#[derive(Debug)]
struct State {
    run: u32,
    text_bytes: usize,
    /// Peer ids, by place.
    authors: Vec<String>,
    /// By sender: when each of its posts was handed over.
    sent: Vec<Vec<Instant>>,
    /// By subscriber and sender.
    arrived: Vec<Vec<Arrived>>,
    /// Posts that came behind newer ones of their sender, and were marked so.
    late: u64,
    latencies_us: Vec<u32>,
    last_arrival: Instant,
    failure: Option<Failure>,
}

/// What a subscriber has of a sender.
#[derive(Clone, Debug, Default)]
struct Arrived {
    /// The number behind the newest.
    end: usize,
    /// Numbers before that which are still to come, as late ones: who is far behind gets the newest first.
    skipped: BTreeSet<usize>,
}

impl Ledger {
    pub(crate) fn new(authors: Vec<String>) -> Self {
        let count = authors.len();
        let state = State {
            run: 0,
            text_bytes: 0,
            authors,
            sent: vec![Vec::new(); count],
            arrived: vec![vec![Arrived::default(); count]; count],
            late: 0,
            latencies_us: Vec::new(),
            last_arrival: Instant::now(),
            failure: None,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Begins the next run. What still arrives of earlier ones is a mistake from here on.
    pub(crate) fn begin(&self, text_bytes: usize) {
        let mut state = self.lock();
        state.run += 1;
        state.text_bytes = text_bytes;
        state.sent.iter_mut().for_each(Vec::clear);
        state.arrived.iter_mut().for_each(|arrived| arrived.fill(Arrived::default()));
        state.latencies_us.clear();
        state.last_arrival = Instant::now();
    }

    /// The text of the sender's next post, which counts as handed over at `at`.
    pub(crate) fn say(&self, sender: usize, at: Instant) -> String {
        let mut state = self.lock();
        let tag = Tag { run: state.run, sender, number: state.sent[sender].len() };
        state.sent[sender].push(at);
        tag.encode(state.text_bytes)
    }

    /// Posts came to a subscriber, in this order.
    pub(crate) fn on_arrived(&self, subscriber: usize, posts: &[Post]) {
        let now = Instant::now();
        let mut state = self.lock();
        for post in posts {
            if let Err(failure) = state.take(subscriber, post, now) {
                state.failure.get_or_insert(failure);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// A stream ended or broke.
    pub(crate) fn on_failed(&self, failure: Failure) {
        self.lock().failure.get_or_insert(failure);
        self.changed.notify_one();
    }

    /// Waits until every subscriber has every post.
    ///
    /// # Errors
    ///
    /// One came twice, out of order without being marked late, or changed; or nothing comes any more and somebody lacks some.
    pub(crate) async fn wait_complete(&self) -> Result<Tally, Failure> {
        loop {
            {
                let mut state = self.lock();
                if let Some(failure) = &state.failure {
                    return Err(failure.clone());
                }
                if state.is_complete() {
                    return Ok(state.tally());
                }
            }
            if timeout(SILENCE_MAX, self.changed.notified()).await.is_err() {
                return Err(self.lock().lacking());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("who holds the ledger does not panic")
    }
}

impl State {
    fn take(&mut self, subscriber: usize, post: &Post, now: Instant) -> Result<(), Failure> {
        let wrong = |why: String| Failure::new(format!("subscriber {subscriber} got {why}: {:?}", post.id));
        let tag = Tag::decode(&post.text, self.text_bytes).ok_or_else(|| wrong("a text that nobody said".into()))?;
        let Tag { run, sender, number } = tag;
        if run != self.run {
            return Err(wrong(format!("a post of run {run} in run {}", self.run)));
        }
        let author = post.id.as_ref().map_or("", |id| &id.author);
        if self.authors.get(sender).is_none_or(|id| id != author) {
            return Err(wrong(format!("a post of sender {sender} under another name")));
        }
        let Some(sent) = self.sent[sender].get(number) else {
            return Err(wrong(format!("post {number} of sender {sender} before it was said")));
        };
        let arrived = &mut self.arrived[subscriber][sender];
        if !arrived.take(number, post.late) {
            let end = arrived.end;
            return Err(wrong(format!(
                "post {number} of sender {sender} again, or behind {end} and not as a late one"
            )));
        }
        self.late += u64::from(number + 1 < arrived.end);
        if subscriber != sender {
            let us = now.saturating_duration_since(*sent).as_micros();
            self.latencies_us.push(u32::try_from(us).unwrap_or(u32::MAX));
            self.last_arrival = now;
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.arrived.iter().all(|arrived| arrived.iter().zip(&self.sent).all(|(has, sent)| has.count() == sent.len()))
    }

    fn lacking(&self) -> Failure {
        let mut lines = vec![format!("nothing came for {SILENCE_MAX:?} and posts are missing")];
        for (subscriber, arrived) in self.arrived.iter().enumerate() {
            for (sender, (arrived, sent)) in arrived.iter().zip(&self.sent).enumerate() {
                let has = arrived.count();
                if has < sent.len() {
                    lines.push(format!("subscriber {subscriber} has {has} of {} of sender {sender}", sent.len()));
                }
            }
        }
        Failure::new(lines.join("\n  "))
    }

    fn tally(&mut self) -> Tally {
        let first = self.sent.iter().filter_map(|sent| sent.first()).min().copied().unwrap_or(self.last_arrival);
        let latencies_us = std::mem::take(&mut self.latencies_us);
        match std::mem::take(&mut self.late) {
            0 => (),
            late => eprintln!("{late} posts came behind newer ones of their sender, marked late"),
        }
        Tally {
            posts: self.sent.iter().map(|sent| sent.len() as u64).sum(),
            deliveries: latencies_us.len() as u64,
            time: self.last_arrival.saturating_duration_since(first),
            latencies_us,
        }
    }
}

impl Arrived {
    /// Whether this one may come now.
    fn take(&mut self, number: usize, is_late: bool) -> bool {
        if number < self.end {
            return is_late && self.skipped.remove(&number);
        }
        self.skipped.extend(self.end..number);
        self.end = number + 1;
        true
    }

    fn count(&self) -> usize {
        self.end - self.skipped.len()
    }
}

/// Silence after which nothing more is hoped for. A repair of the mesh takes a few heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use p2p_proto::v1::PostId;

    use super::*;

    fn post(author: &str, text: &str) -> Post {
        let id = PostId { author: author.into(), epoch: 1, seq: 1 };
        Post { id: Some(id), text: text.into(), ..Post::default() }
    }

    fn two() -> Ledger {
        let ledger = Ledger::new(vec!["a".into(), "b".into()]);
        ledger.begin(64);
        ledger
    }

    fn outcome(ledger: &Ledger) -> Option<Result<Tally, Failure>> {
        use futures_util::FutureExt;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { ledger.wait_complete().now_or_never() })
    }

    #[test]
    fn a_run_is_complete_when_everybody_has_everything() {
        let ledger = two();
        let texts = [ledger.say(0, Instant::now()), ledger.say(0, Instant::now())];
        ledger.on_arrived(0, &texts.each_ref().map(|text| post("a", text)));
        ledger.on_arrived(1, &[post("a", &texts[0])]);
        assert!(outcome(&ledger).is_none());
        ledger.on_arrived(1, &[post("a", &texts[1])]);
        let tally = outcome(&ledger).unwrap().unwrap();
        assert_eq!((tally.posts, tally.deliveries), (2, 2));
        assert_eq!(tally.latencies_us.len(), 2);
    }

    #[test]
    fn who_is_far_behind_may_get_the_newest_first_and_the_others_as_late_ones() {
        let ledger = two();
        let texts: Vec<String> = (0..3).map(|_| ledger.say(0, Instant::now())).collect();
        ledger.on_arrived(0, &texts.iter().map(|text| post("a", text)).collect::<Vec<_>>());
        let late = |text| Post { late: true, ..post("a", text) };
        ledger.on_arrived(1, &[post("a", &texts[2]), late(&texts[0])]);
        assert!(outcome(&ledger).is_none());
        ledger.on_arrived(1, &[late(&texts[1])]);
        assert!(outcome(&ledger).unwrap().is_ok());
    }

    #[track_caller]
    fn check_refused(arrivals: impl FnOnce(&[String]) -> Vec<Post>) {
        let ledger = two();
        let texts: Vec<String> = (0..3).map(|_| ledger.say(0, Instant::now())).collect();
        ledger.on_arrived(0, &texts.iter().map(|text| post("a", text)).collect::<Vec<_>>());
        ledger.on_arrived(1, &arrivals(&texts));
        assert!(outcome(&ledger).unwrap().is_err());
    }

    #[test]
    fn twice_out_of_order_changed_or_under_a_wrong_name_is_a_mistake() {
        check_refused(|texts| [0, 1, 1, 2].map(|at| post("a", &texts[at])).into());
        check_refused(|texts| [0, 2, 1].map(|at| post("a", &texts[at])).into());
        check_refused(|texts| vec![post("b", &texts[0])]);
        check_refused(|texts| vec![post("a", &texts[0].replace("xxx", "xyx"))]);
        check_refused(|_| vec![post("a", &Tag { run: 1, sender: 1, number: 0 }.encode(64))]);
    }

    #[test]
    fn what_comes_of_an_earlier_run_came_too_often() {
        let ledger = two();
        let text = ledger.say(0, Instant::now());
        ledger.begin(64);
        ledger.on_arrived(1, &[post("a", &text)]);
        assert!(outcome(&ledger).unwrap().is_err());
    }

    #[test]
    fn who_lacks_what_is_told() {
        let ledger = two();
        drop(ledger.say(1, Instant::now()));
        let text = ledger.lock().lacking().to_string();
        assert!(text.contains("subscriber 0 has 0 of 1 of sender 1"), "{text}");
    }
}
