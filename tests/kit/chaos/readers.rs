//! Readers at every peer, who write down all they are shown: prompt ones, a slow one, and one that stops reading.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2p_mesh::id::Offset;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{Post, WatchRequest, WatchResponse};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tonic::Streaming;

use super::people::{Home, post_id};
use crate::checker::{History, Seen, Shown};

/// How one reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    Prompt,
    /// A pause behind every batch.
    Slow,
    /// Opens the stream, and reads when all others have finished talking.
    Stalled,
}

/// Everybody who reads in one run.
#[derive(Debug)]
pub struct Readers {
    readers: Vec<Reader>,
    go_on: watch::Sender<bool>,
}

#[derive(Debug)]
struct Reader {
    place: usize,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Readers {
    /// Some begin to read at each peer, from its beginning.
    #[must_use]
    pub fn start(homes: &[Home]) -> Self {
        let go_on = watch::Sender::new(false);
        let mut readers = Vec::new();
        for (place, home) in homes.iter().enumerate() {
            for manner in [Manner::Prompt, Manner::Prompt, Manner::Slow, Manner::Stalled] {
                let peer = format!("a {manner:?} reader of {}", home.name);
                let stream = History { peer, ..History::default() };
                let seen = Arc::new(Mutex::new(Seen { stream, gaps: Vec::new(), until: Offset(0) }));
                let task = tokio::spawn(read(home.clone(), manner, seen.clone(), go_on.subscribe()));
                readers.push(Reader { place, seen, task });
            }
        }
        Self { readers, go_on }
    }

    /// Who did not read gets up and reads, and who was slow hurries.
    pub fn hurry(&self) {
        self.go_on.send_replace(true);
    }

    /// Readers that have not been shown everything up to the end of their peer's history.
    #[must_use]
    pub fn behind(&self, ends: &[u64]) -> Vec<String> {
        let seen = self.readers.iter().map(|reader| (reader.place, reader.seen.lock().expect("nobody panics with it")));
        let behind = seen.filter(|(place, seen)| seen.until.0 < ends[*place]);
        behind.map(|(place, seen)| format!("{} is at {} of {}", seen.stream.peer, seen.until.0, ends[place])).collect()
    }

    /// What each was shown, with the place of its peer.
    #[must_use]
    pub fn stop(self) -> Vec<(usize, Seen)> {
        let readers = self.readers.into_iter();
        readers
            .map(|reader| {
                reader.task.abort();
                (reader.place, reader.seen.lock().expect("nobody panics with it").clone())
            })
            .collect()
    }
}

async fn read(home: Home, manner: Manner, seen: Arc<Mutex<Seen>>, mut go_on: watch::Receiver<bool>) {
    loop {
        let stream = open(&home, &seen).await;
        if manner == Manner::Stalled && go_on.wait_for(|go_on| *go_on).await.is_err() {
            // Nobody will ever say it: the run is over.
            return;
        }
        if let Some(mut stream) = stream {
            while let Ok(Some(response)) = stream.message().await {
                note(&seen, response);
                if manner == Manner::Slow && !*go_on.borrow() {
                    sleep(SLOW_PAUSE).await;
                }
            }
        }
        sleep(TRY_EVERY).await;
    }
}

/// A stream from where the last one ended.
async fn open(home: &Home, seen: &Mutex<Seen>) -> Option<Streaming<WatchResponse>> {
    let after = seen.lock().expect("nobody panics with it").until.0;
    let request = WatchRequest { start: Some(Start::After(after)), ..WatchRequest::default() };
    Some(home.connect().await?.chat().watch(request).await.ok()?.into_inner())
}

fn note(seen: &Mutex<Seen>, response: WatchResponse) {
    let mut seen = seen.lock().expect("nobody panics with it");
    match response.item {
        Some(Item::Batch(batch)) => seen.stream.posts.extend(batch.posts.iter().filter_map(shown)),
        Some(Item::Gap(gap)) => seen.gaps.push((Offset(gap.from), Offset(gap.to))),
        Some(Item::CaughtUp(_) | Item::Heartbeat(_)) | None => (),
    }
    seen.until = seen.until.max(Offset(response.offset));
}

/// The API's post as the judge wants it; none if its name is none.
#[must_use]
pub fn shown(post: &Post) -> Option<Shown> {
    Some(Shown {
        offset: Offset(post.offset),
        id: post_id(post.id.as_ref()?)?,
        key: Some(post.key.clone()).filter(|key| !key.is_empty()),
        room: post.room.clone(),
        text: post.text.clone(),
        was: post.was.as_ref().and_then(post_id),
        forked: post.forked,
        late: post.late,
    })
}

const SLOW_PAUSE: Duration = Duration::from_millis(200);
const TRY_EVERY: Duration = Duration::from_millis(100);
