//! What will happen, in the order in which it will.

use std::collections::BTreeMap;

use p2p_mesh::time::Mono;

/// Events by time; events of the same microsecond come in the order in which they were put in.
#[derive(Clone, Debug)]
pub struct Agenda<E> {
    events: BTreeMap<(Mono, u64), E>,
    counter: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), counter: 0 }
    }
}

impl<E> Agenda<E> {
    /// Something will happen at `at`.
    pub fn push(&mut self, at: Mono, event: E) {
        self.counter += 1;
        self.events.insert((at, self.counter), event);
    }

    /// When the next event is.
    #[must_use]
    pub fn next_at(&self) -> Option<Mono> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Mono, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_moment_keep_their_order() {
        let mut agenda = Agenda::default();
        for (at, event) in [(7, 'c'), (3, 'a'), (7, 'd'), (3, 'b')] {
            agenda.push(Mono(at), event);
        }
        let order: String = std::iter::from_fn(|| agenda.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, "abcd");
    }
}
