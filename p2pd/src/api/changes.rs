//! Streams of a state: now, and again whenever it changed.

use std::time::{Duration, Instant};

use futures_util::Stream;
use p2p_proto::error::Error;
use tonic::Status;

use super::ask::{Asker, stopping};

/// One stream of a state.
struct Changes<T, F> {
    asker: Asker,
    /// Between two looks.
    pause: Duration,
    fetch: F,
    /// What of a state makes it another one.
    timeless: fn(&T) -> T,
    /// What was last told.
    shown: Option<T>,
    /// How long the last look took.
    took: Duration,
    has_ended: bool,
}

/// The state now, then again whenever it differs in what `timeless` leaves of it. Looks only while it is read.
pub(super) fn changes<T, F, A>(
    asker: Asker,
    pause: Duration,
    fetch: F,
    timeless: fn(&T) -> T,
) -> impl Stream<Item = Result<T, Status>> + Send
where
    T: PartialEq + Send + 'static,
    F: FnMut() -> A + Send + 'static,
    A: Future<Output = Result<T, Error>> + Send,
{
    let took = Duration::ZERO;
    let changes = Changes { asker, pause, fetch, timeless, shown: None, took, has_ended: false };
    futures_util::stream::unfold(changes, async |mut changes| {
        if changes.has_ended {
            return None;
        }
        let state = changes.next().await;
        changes.has_ended = state.is_err();
        Some((state.map_err(Status::from), changes))
    })
}

impl<T, F, A> Changes<T, F>
where
    T: PartialEq,
    F: FnMut() -> A,
    A: Future<Output = Result<T, Error>>,
{
    async fn next(&mut self) -> Result<T, Error> {
        loop {
            if self.shown.is_some() {
                tokio::select! {
                    biased;
                    () = self.asker.stop().cancelled() => return Err(stopping()),
                    () = tokio::time::sleep(self.pause.max(self.took * LOOKS_SHARE)) => (),
                }
            }
            let began = Instant::now();
            let state = (self.fetch)().await?;
            self.took = began.elapsed();
            let kept = (self.timeless)(&state);
            if self.shown.as_ref() != Some(&kept) {
                self.shown = Some(kept);
                return Ok(state);
            }
        }
    }
}

/// However much there is to look at, looking takes no more than one part in so many of the time.
const LOOKS_SHARE: u32 = 10;
