//! What each command asks the daemon. Rendering is in `output`.

mod bench;
mod complete;
mod daemon;
mod delivery;
mod doctor;
mod exec;
mod graph;
mod health;
mod history;
mod invite;
mod items;
mod join;
pub(crate) mod live;
mod local;
mod network;
mod peers;
mod ping;
mod receipts;
mod search;
mod send;
mod send_many;
mod status;
mod sync;
mod wait;
mod watch;
pub(crate) mod who;

use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

use p2p_proto::client::Client;
use p2p_proto::v1::{RoomsRequest, StatusRequest, StatusResponse};
use tonic::{Response, Status, Streaming};

use crate::args::{Color, Command, Global};
use crate::connect::{DEFAULT_TIMEOUT, Search};
use crate::exit::{Outcome, Problem, Stop, UNIMPLEMENTED};
use crate::output::{self, Format, Style, escape};
use crate::{Env, Io, Screen, Terminals};

/// One run of the program: where it reads and writes, and the daemon it talks to.
pub(crate) struct Session {
    pub(crate) io: Io,
    pub(crate) style: Style,
    pub(crate) search: Search,
    /// Longest wait for one answer.
    pub(crate) timeout: Duration,
    /// Bars and moving cursors are welcome.
    pub(crate) fancy: bool,
    /// The terminal, by its variables, shows more than ASCII.
    pub(crate) is_utf8: bool,
    quiet: bool,
    verbose: bool,
    client: Option<Client>,
}

/// What options and variables say, read and checked.
pub(crate) struct Choices {
    format: Format,
    color: bool,
    search: Search,
    timeout: Duration,
    fancy: bool,
    is_utf8: bool,
    quiet: bool,
    verbose: bool,
}

impl Choices {
    /// # Errors
    ///
    /// A variable holds what its option would not take.
    pub(crate) fn read(global: &Global, env: &Env, terminals: Terminals) -> Result<Self, Problem> {
        let timeout = timeout(global, env)?;
        let given = global.socket.as_deref().or(env.socket.as_deref());
        let search = Search::new(given, env.runtime_dir.as_deref(), env.data_dir.as_deref())?;
        let color = match global.color {
            Color::Auto => terminals.stdout && !env.no_color && !env.dumb_terminal,
            Color::Always => true,
            Color::Never => false,
        };
        Ok(Self {
            format: format(global, env)?,
            color,
            search: search.with_token_file(global.token_file.clone()).within(timeout, global.connect_wait),
            timeout,
            fancy: !env.dumb_terminal,
            is_utf8: env.is_utf8(),
            quiet: global.quiet,
            verbose: global.verbose,
        })
    }
}

impl Session {
    /// Connects nowhere yet.
    pub(crate) fn new(choices: Choices, io: Io) -> Self {
        let Choices { format, color, search, timeout, fancy, is_utf8, quiet, verbose } = choices;
        let columns = (io.screen)().map(|screen| screen.columns);
        let style = Style { format, zone: io.zone.clone(), now: (io.now)(), columns, color };
        Self { style, search, timeout, fancy, is_utf8, quiet, verbose, client: None, io }
    }

    /// The connection to the daemon, made when it is first needed.
    pub(crate) async fn client(&mut self) -> Outcome<Client> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = self.search.connect().await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Waits for an answer, but not for ever. `what` is what was asked, for the error.
    pub(crate) async fn answer<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Outcome<T> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Problem::of_status(what, status).into()),
            Err(_) => {
                let problem = Problem::timeout(format!("{what}: no answer in {}", span(self.timeout)));
                Err(problem.with_hint("give it more time with --timeout").into())
            }
        }
    }

    /// Opens a stream and waits for its first item.
    pub(crate) async fn first<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
    ) -> Outcome<T> {
        let first = async {
            let item = call.await?.into_inner().message().await?;
            item.map(Response::new).ok_or_else(|| Status::internal("the daemon ended the stream"))
        };
        self.answer(what, first).await
    }

    /// Somebody looks, at a terminal that can redraw a line.
    pub(crate) fn is_bar_welcome(&self) -> bool {
        self.fancy && self.io.terminals.stderr && !self.quiet
    }

    /// Nothing is wanted but results.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Renders to stdout and lets the reader have it.
    pub(crate) fn show(&mut self, render: impl FnOnce(&Style, &mut dyn Write) -> io::Result<()>) -> Outcome {
        self.style.now = (self.io.now)();
        self.style.columns = (self.io.screen)().map(|screen| screen.columns);
        render(&self.style, &mut self.io.stdout)?;
        self.io.stdout.flush()?;
        Ok(())
    }

    /// Renders a picture that the next one replaces: on a terminal in its place, else below it, under the time.
    /// `rows_below` are kept free for what is said under it.
    pub(crate) fn redraw(
        &mut self,
        rows_below: usize,
        render: impl FnOnce(&Style, &mut dyn Write) -> io::Result<()>,
    ) -> Outcome {
        match self.style.format {
            Format::Json | Format::Yaml => return self.show(render),
            Format::Text | Format::Wide => (),
        }
        if let Some(screen) = (self.io.screen)().filter(|_| self.fancy) {
            return self.show(|style, out| {
                let mut picture = Vec::new();
                render(style, &mut picture)?;
                output::screen::write(&picture, Screen { rows: screen.rows.saturating_sub(rows_below), ..screen }, out)
            });
        }
        let time = output::time::date_and_clock((self.io.now)().as_microsecond(), &self.style.zone);
        writeln!(self.io.stdout, "-- {time} --")?;
        self.show(render)
    }

    /// What is written is for eyes.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self.style.format, Format::Text | Format::Wide)
    }

    /// Says something on stderr that only a person wants to know.
    pub(crate) fn note(&mut self, text: &str) {
        if self.verbose || (self.io.terminals.stderr && !self.quiet) {
            self.say(text);
        }
    }

    /// Says something on stderr that nobody may miss.
    pub(crate) fn warn(&mut self, text: &str) {
        self.say(&format!("warning: {text}"));
    }

    /// Shows an error now; the command goes on.
    pub(crate) fn complain(&mut self, problem: &Problem) {
        // Where even stderr is gone, the exit code still tells.
        let _ = problem.render(self.style.format, &mut self.io.stderr);
    }

    fn say(&mut self, text: &str) {
        let _ = writeln!(self.io.stderr, "p2pctl: {}", escape::line(text));
        let _ = self.io.stderr.flush();
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: Command, session: &mut Session) -> Outcome {
    let outcome = match command {
        Command::Send(args) => send::run(args, session).await,
        Command::Watch(args) => watch::run(args, session).await,
        #[cfg(feature = "tui")]
        Command::Chat(args) => crate::tui::chat::run(args, session).await,
        Command::History(args) => history::run(args, session).await,
        Command::Search(args) => search::run(args, session).await,
        Command::Receipts(args) => receipts::run(&args, session).await,
        Command::Rooms => rooms(session).await,
        Command::Peers(args) => peers::run(args, session).await,
        Command::Invite(args) => invite::run(args, session).await,
        Command::Join { ticket } => join::run(ticket, session).await,
        Command::Network(args) => network::run(args, session).await,
        Command::Status(args) => status::run(&args, session).await,
        Command::Sync(args) => sync::run(&args, session).await,
        Command::Ping(args) => ping::run(args, session).await,
        Command::Graph(args) => graph::run(&args, session).await,
        #[cfg(feature = "tui")]
        Command::Top => crate::tui::run(session).await,
        Command::Wait(args) => wait::run(&args, session).await,
        Command::Health(args) => health::run(&args, session).await,
        Command::Bench { command } => bench::run(&command, session).await,
        Command::Doctor => doctor::run(session).await,
        Command::Daemon { command } => daemon::run(&command, session).await,
        Command::Schema { kind } => local::schema(kind.as_deref(), session),
        Command::Complete { at, words } => complete::run(at, &words, session).await,
        Command::Completions { shell } => local::completions(shell, session),
        Command::Man { dir } => local::man(dir.as_deref(), session),
        Command::Version => local::version(session).await,
    };
    match outcome {
        Err(Stop::Problem(problem)) if problem.code == UNIMPLEMENTED => Err(name_versions(*problem, session).await),
        outcome => outcome,
    }
}

async fn rooms(session: &mut Session) -> Outcome {
    let client = session.client().await?;
    let rooms = session.answer("rooms", client.chat().rooms(RoomsRequest {})).await?;
    session.show(|style, out| output::rest::render_rooms(&rooms, style, out))
}

/// What the daemon says about itself.
pub(crate) async fn fetch_status(what: &str, session: &mut Session) -> Outcome<StatusResponse> {
    let client = session.client().await?;
    session.answer(what, client.mesh().status(StatusRequest {})).await
}

/// A daemon that does not know a request is of another version: says of which.
async fn name_versions(problem: Problem, session: &mut Session) -> Stop {
    let version = match fetch_status("status", session).await {
        Ok(status) => status.version,
        Err(_) => "of an unknown version".to_owned(),
    };
    let message = format!("{}: p2pctl is {}, p2pd is {version}", problem.message, env!("CARGO_PKG_VERSION"));
    Problem { message, ..problem }.with_hint("install the same version of both").into()
}

/// `10s`, as the user would write it.
pub(crate) fn span(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

fn format(global: &Global, env: &Env) -> Result<Format, Problem> {
    let Some(text) = env.output.as_deref().filter(|_| global.output.is_none()) else {
        return Ok(global.output.unwrap_or_default());
    };
    clap::ValueEnum::from_str(text, false).map_err(|_| {
        Problem::usage(format!("P2PCTL_OUTPUT={text:?}: no such format")).with_hint("text, wide, json or yaml")
    })
}

fn timeout(global: &Global, env: &Env) -> Result<Duration, Problem> {
    let Some(text) = env.timeout.as_deref().filter(|_| global.timeout.is_none()) else {
        return Ok(global.timeout.unwrap_or(DEFAULT_TIMEOUT));
    };
    crate::args::span(text).map_err(|why| Problem::usage(format!("P2PCTL_TIMEOUT={text:?}: {why}")))
}
