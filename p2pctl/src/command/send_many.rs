//! `send -l` and `send -0`: many messages, on their way at the same time, answered in order.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use p2p_proto::error::{Code, Error};
use p2p_proto::v1::{Outgoing, PostId, SendResponse, SendResult, SendStreamRequest, SendStreamResponse, send_result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::items::{Cutter, Item};
use super::{Session, span};
use crate::Terminals;
use crate::exit::{Exit, Outcome, Problem, Stop};
use crate::output::{Format, rest};
use crate::progress::Progress;

/// What stands between two messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    Line,
    Null,
}

impl Cut {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Line => b'\n',
            Self::Null => b'\0',
        }
    }

    /// What one piece is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Null => "item",
        }
    }
}

/// What the reader of stdin tells the one who waits for answers, before the posts themselves leave.
enum Told {
    /// These numbers were sent, in order.
    Sent(Vec<u64>),
    /// One that cannot be sent.
    Bad(Box<Problem>),
    /// So many bytes of stdin are done with.
    Read(usize),
    /// Nothing to send at this number.
    Empty,
}

/// Sends every item of stdin like `model`, whose key is the start of each item's key. Gives the first and the last post
/// of each feed that was written.
pub(crate) async fn run(model: Outgoing, cut: Cut, session: &mut Session) -> Outcome<Vec<PostId>> {
    let mut client = session.client().await?.chat();
    let (posts, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
    let (tell, told) = mpsc::channel(TOLD_WAITING_MAX);
    let stdin = mem::replace(&mut session.io.stdin, Box::new(tokio::io::empty()));
    let reader = Reader { model, cutter: Cutter::new(cut), batch: Batch::default(), posts, tell };
    // On its own, so that reading goes on while answers are written.
    let reading = tokio::spawn(reader.read(stdin));
    let call = client.send_stream(ReceiverStream::new(requests));
    let report = Report::of(session);
    let mut answers = Answers::new(cut, report, Progress::new(report != Report::Ids, session.io.stdin_bytes));
    let outcome = async {
        let mut stream = session.answer("send", call).await?;
        answers.take(&mut stream, told, session).await
    };
    let outcome = outcome.await;
    reading.abort();
    answers.progress.finish();
    outcome?;
    answers.sum_up(session)?;
    Ok(answers.ends())
}

/// What is shown while posts are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Report {
    /// Each id, for a program or for somebody who types.
    Ids,
    /// Each id for a program, and a bar for a person.
    IdsAndBar,
    /// A bar only: ids would run over the screen faster than anybody reads.
    Bar,
}

impl Report {
    fn of(session: &Session) -> Self {
        let Terminals { stdin, stdout, .. } = session.io.terminals;
        match (session.is_bar_welcome(), stdout) {
            (true, false) => Self::IdsAndBar,
            (true, true) if !stdin && session.style.format == Format::Text => Self::Bar,
            (true | false, true) | (false, false) => Self::Ids,
        }
    }
}

struct Reader {
    model: Outgoing,
    cutter: Cutter,
    batch: Batch,
    posts: mpsc::Sender<SendStreamRequest>,
    tell: mpsc::Sender<Told>,
}

#[derive(Default)]
struct Batch {
    posts: Vec<Outgoing>,
    numbers: Vec<u64>,
    bytes: usize,
}

impl Reader {
    /// Reads to the end. Ends early where nobody takes the posts any more: the answers then say why.
    async fn read(mut self, mut stdin: Box<dyn AsyncRead + Send + Unpin>) -> Result<(), Problem> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let len = match stdin.read(&mut buffer).await {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) => {
                    let message = format!("send: reading stdin: {error}");
                    let problem = Problem::new(Exit::Failed, Code::Failed.name(), message);
                    let _ = self.tell.send(Told::Bad(Box::new(problem))).await;
                    break;
                }
            };
            let mut items = Vec::new();
            self.cutter.push(&buffer[..len], |number, item| items.push((number, item)));
            for (number, item) in items {
                self.take(number, item).await;
            }
            // Whoever types, or pipes slowly, wants each line to go at once.
            self.flush().await;
            let _ = self.tell.send(Told::Read(len)).await;
        }
        if let Some((number, item)) = self.cutter.finish() {
            self.take(number, item).await;
        }
        self.flush().await;
        Ok(())
    }

    async fn take(&mut self, number: u64, item: Item) {
        let text = match item {
            Item::Text(text) => text,
            Item::Empty => {
                let _ = self.tell.send(Told::Empty).await;
                return;
            }
            Item::Bad(problem) => {
                let _ = self.tell.send(Told::Bad(problem)).await;
                return;
            }
        };
        if self.batch.posts.len() == BATCH_POSTS_MAX || self.batch.bytes + text.len() > BATCH_BYTES_MAX {
            self.flush().await;
        }
        let key = if self.model.key.is_empty() { String::new() } else { format!("{}/{number}", self.model.key) };
        self.batch.bytes += text.len();
        self.batch.numbers.push(number);
        self.batch.posts.push(Outgoing { text, key, ..self.model.clone() });
    }

    async fn flush(&mut self) {
        if self.batch.posts.is_empty() {
            return;
        }
        let batch = mem::take(&mut self.batch);
        // Told first: an answer never comes for a number that is not known.
        let _ = self.tell.send(Told::Sent(batch.numbers)).await;
        let _ = self.posts.send(SendStreamRequest { posts: batch.posts }).await;
    }
}

struct Answers {
    cut: Cut,
    report: Report,
    progress: Progress,
    /// Sent and not yet answered, in order.
    open: VecDeque<u64>,
    /// By author and epoch, the lowest and the highest number that was stored.
    stored: BTreeMap<(String, u64), (u64, u64)>,
    sent: u64,
    repeated: u64,
    empty: u64,
    failed: u64,
    /// The first failure decides the exit code.
    first: Option<(Exit, &'static str)>,
}

impl Answers {
    fn new(cut: Cut, report: Report, progress: Progress) -> Self {
        let (open, stored) = (VecDeque::new(), BTreeMap::new());
        Self { cut, report, progress, open, stored, sent: 0, repeated: 0, empty: 0, failed: 0, first: None }
    }

    async fn take(
        &mut self,
        stream: &mut Streaming<SendStreamResponse>,
        mut told: mpsc::Receiver<Told>,
        session: &mut Session,
    ) -> Outcome {
        let mut reading = true;
        loop {
            tokio::select! {
                biased;
                news = told.recv(), if reading => match news {
                    Some(news) => self.on_told(news, session),
                    None => reading = false,
                },
                answer = stream.message() => match answer {
                    Ok(Some(answer)) => self.on_answer(answer, session)?,
                    Ok(None) if !reading && self.open.is_empty() => return Ok(()),
                    Ok(None) => return Err(self.cut_off("the daemon ended the stream", Code::Stopping)),
                    Err(status) => {
                        let error = Error::from(status);
                        return Err(self.cut_off(&error.message, error.code));
                    }
                },
                () = tokio::time::sleep(session.timeout), if !self.open.is_empty() => {
                    let why = format!("no answer in {}", span(session.timeout));
                    return Err(self.cut_off(&why, Code::Timeout));
                }
            }
        }
    }

    fn on_told(&mut self, told: Told, session: &mut Session) {
        match told {
            Told::Sent(numbers) => self.open.extend(numbers),
            Told::Bad(problem) => self.on_failed(&problem, session),
            Told::Read(bytes) => self.progress.read(bytes),
            Told::Empty => self.empty += 1,
        }
    }

    fn on_answer(&mut self, answer: SendStreamResponse, session: &mut Session) -> Outcome {
        let mut sent = Vec::with_capacity(answer.results.len());
        for SendResult { result } in answer.results {
            let Some(number) = self.open.pop_front() else {
                return Err(self.cut_off("the daemon answered more than was sent", Code::Failed));
            };
            match result {
                Some(send_result::Result::Sent(response)) => sent.push(response),
                Some(send_result::Result::Failed(failure)) => {
                    let what = format!("{} {number}", self.cut.name());
                    self.on_failed(&Problem::of(&what, failure.into()), session);
                }
                None => return Err(self.cut_off("the daemon gave an empty answer", Code::Failed)),
            }
        }
        self.on_sent(&sent, session)
    }

    fn on_sent(&mut self, sent: &[SendResponse], session: &mut Session) -> Outcome {
        self.sent += sent.len() as u64;
        self.repeated += sent.iter().filter(|sent| sent.repeated).count() as u64;
        self.progress.sent(self.sent);
        sent.iter().filter_map(|sent| sent.id.as_ref()).for_each(|id| self.keep_end(id));
        if self.report == Report::Bar {
            return Ok(());
        }
        session.show(|style, out| sent.iter().try_for_each(|sent| rest::render_sent(sent, style, out)))
    }

    fn keep_end(&mut self, id: &PostId) {
        match self.stored.get_mut(&(id.author.clone(), id.epoch)) {
            Some((first, last)) => (*first, *last) = (id.seq.min(*first), id.seq.max(*last)),
            None => drop(self.stored.insert((id.author.clone(), id.epoch), (id.seq, id.seq))),
        }
    }

    /// The first and the last post of each feed.
    fn ends(self) -> Vec<PostId> {
        let ends = self.stored.into_iter().flat_map(|((author, epoch), (first, last))| {
            let post = move |seq| PostId { author: author.clone(), epoch, seq };
            if first == last { vec![post(first)] } else { vec![post(first), post(last)] }
        });
        ends.collect()
    }

    fn on_failed(&mut self, problem: &Problem, session: &mut Session) {
        self.failed += 1;
        self.first.get_or_insert((problem.exit, problem.code));
        if self.failed <= COMPLAINTS_MAX {
            self.progress.above(|| session.complain(problem));
        }
    }

    /// The stream broke: says what is sure and what is not.
    fn cut_off(&self, why: &str, code: Code) -> Stop {
        let message = format!("{why}; {} were stored, of {} it is not known", self.sent, self.open.len());
        let error =
            Error::new(code, message).with_hint("send all of it again with the same --key: nothing is repeated");
        Problem::of("send", error).into()
    }

    fn sum_up(&self, session: &mut Session) -> Outcome {
        if self.report == Report::Bar {
            session.note(&format!("{} messages are stored", self.sent));
        }
        if self.empty > 0 {
            session.note(&format!("{} empty ones were left out", self.empty));
        }
        if self.repeated > 0 {
            session.note(&format!("{} were sent before and not sent again", self.repeated));
        }
        let Some((exit, code)) = self.first else { return Ok(()) };
        let total = self.sent + self.failed;
        Err(Problem::new(exit, code, format!("send: {} of {total} messages were not sent", self.failed)).into())
    }
}

/// Requests read from stdin that the stream has not taken yet.
const REQUESTS_WAITING_MAX: usize = 2;
/// News for the one who writes answers; one or more belong to each request.
const TOLD_WAITING_MAX: usize = 16;
/// The API takes 4,096 and 1 MiB in one request; smaller ones keep all hands busy.
const BATCH_POSTS_MAX: usize = 1_024;
const BATCH_BYTES_MAX: usize = 256 << 10;
const READ_BYTES: usize = 128 << 10;
/// Failures shown one by one; the sum tells of all.
const COMPLAINTS_MAX: u64 = 10;
