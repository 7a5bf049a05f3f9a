//! The real store on the disk that holds the build: from the question to its answer.

use divan::Bencher;
use divan::counter::ItemsCount;
use p2p_mesh::effect::{Append, Delivery};
use p2p_mesh::id::Offset;
use p2p_mesh::input::{Input, Ticket};
use p2pd::config::Durability;
use p2pd::store::{self, Job, Opened, StoreEvent};
use tempfile::TempDir;

use crate::author::{Author, FULL, LONE, Shape, id};

#[divan::bench(args = ANSWERS, sample_count = 50, sample_size = 1)]
fn one_post(bencher: Bencher<'_, '_>, answer: Answer) {
    run(bencher, 1, LONE, answer);
}

#[divan::bench(args = ANSWERS, sample_count = 20, sample_size = 1)]
fn full_envelopes(bencher: Bencher<'_, '_>, answer: Answer) {
    run(bencher, 64, FULL, answer);
}

/// When the store answers.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// A crash of the process loses nothing any more. What others said is stored so.
    Written,
    /// Nor does a power cut. What our own user says is stored so.
    Flushed,
}

/// So many envelopes in one transaction.
fn run(bencher: Bencher<'_, '_>, envelopes: usize, shape: Shape, answer: Answer) {
    let mut disk = Disk::open();
    let mut author = Author::new(1);
    let mut next = disk.opened.next_offset;
    let mut deliveries = || -> Vec<Delivery> {
        let said = (0..envelopes).map(|_| author.say(shape));
        let placed = said.map(|envelope| {
            let offset = next;
            next = Offset(next.0 + shape.posts as u64);
            Delivery { offset, envelope, own: true, late: false, forked: false }
        });
        placed.collect()
    };
    let bencher = bencher.counter(ItemsCount::new(envelopes * shape.posts));
    bencher.with_inputs(&mut deliveries).bench_local_values(|deliveries| disk.append(answer, deliveries));
    disk.close();
}

/// A store in a folder that goes away with it.
struct Disk {
    opened: Opened,
    appends: u64,
    dir: TempDir,
}

impl Disk {
    fn open() -> Self {
        // Not in memory, where other folders for temporary files may be: a flush would cost nothing there.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder of the build");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let opened = runtime.block_on(store::open(dir.path(), &id(1), Durability::Batch)).expect("an empty store");
        Self { opened, appends: 0, dir }
    }

    fn append(&mut self, answer: Answer, envelopes: Vec<Delivery>) {
        self.appends += 1;
        let append =
            Append { ticket: Ticket(self.appends), generation: 1, flush: matches!(answer, Answer::Flushed), envelopes };
        self.opened.jobs.blocking_send(Job::Append(append)).expect("the store takes jobs");
        match self.opened.events.blocking_recv() {
            Some(StoreEvent::Input(Input::Appended(ticket))) if ticket.0 == self.appends => (),
            other => panic!("{other:?} instead of an answer"),
        }
    }

    fn close(self) {
        drop(self.opened.jobs);
        self.opened.thread.join().expect("the store ends in order");
        drop(self.dir);
    }
}

const ANSWERS: [Answer; 2] = [Answer::Written, Answer::Flushed];
