//! No line comes so often that it fills a disk, whoever causes it.
//!
//! Rooms that know who causes a line allow each of them a few a minute. This is the wall behind that: of each line in
//! the program, so many a minute are written, and then it is said how many were not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of each kind in the present minute. Shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Ceiling(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    window: Mutex<Window>,
    /// The first line of a window was left out.
    reached: Notify,
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    /// By the place in the program: how many were written, and how many were not. Places are few.
    lines: BTreeMap<(&'static str, u32), Count>,
}

#[derive(Debug, Default)]
struct Count {
    written: u32,
    left_out: u64,
    /// What the line is called.
    event: String,
}

impl Window {
    fn has_left_out(&self) -> bool {
        self.lines.values().any(|count| count.left_out > 0)
    }

    /// When it ends, where something was left out.
    fn over(&self) -> Option<Instant> {
        self.since.filter(|_| self.has_left_out()).map(|since| since + SPAN)
    }
}

impl Ceiling {
    /// When the present minute is over and something of it was left out.
    pub(super) async fn is_due(&self) {
        // Whoever waits may give up and come again, so what was reached is looked up and not remembered.
        loop {
            let reached = self.0.reached.notified();
            // Looked up in a statement of its own: whoever logs must not wait for whoever waits here.
            let over = self.window().over();
            match over {
                Some(over) => return tokio::time::sleep_until(over).await,
                None => reached.await,
            }
        }
    }

    /// What was left out since this was last asked: names and numbers.
    pub(super) fn take(&self) -> Vec<(String, u64)> {
        let window = std::mem::take(&mut *self.window());
        let left_out = window.lines.into_values().filter(|count| count.left_out > 0);
        left_out.map(|count| (count.event, count.left_out)).collect()
    }

    /// Whether one more line of this kind is written.
    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        // Whoever asked for debug lines wants them all.
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut window = self.window();
        let is_over = window.since.is_none_or(|since| now.saturating_duration_since(since) >= SPAN);
        // What was left out is told first, by whoever waits for it.
        if is_over && !window.has_left_out() {
            *window = Window { since: Some(now), lines: BTreeMap::new() };
        }
        let place = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        let count = window.lines.entry(place).or_default();
        if count.written < LINES_MAX {
            count.written += 1;
            return true;
        }
        if count.left_out == 0 {
            count.event = name_of(event);
            self.0.reached.notify_one();
        }
        count.left_out += 1;
        false
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A layer that gets no more than the ceiling lets through.
pub(super) struct Under<L> {
    pub(super) ceiling: Ceiling,
    pub(super) layer: L,
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Under<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.ceiling.admits(event, Instant::now()) {
            self.layer.on_event(event, context);
        }
    }

    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::Id, context: Context<'_, S>) {
        self.layer.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &tracing::Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        self.layer.on_record(id, values, context);
    }
}

/// What a line is called: its message.
fn name_of(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

const SPAN: Duration = Duration::from_secs(60);
/// Lines of one kind in one span. Guess: three a second can be read, and are 40 MB a day at most.
const LINES_MAX: u32 = 200;
