//! The command line. Values stay text here: the configuration reads them, so that all mistakes are told at once.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// The command line as it was written.
#[derive(Parser, Debug)]
#[command(name = "p2pd", version, about = "A daemon for group chat without a server")]
#[command(after_help = "Every key of the configuration is in example-config.yaml and can be given as P2P_KEY too.")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the daemon, as plain `p2pd` does
    Run(RunArgs),
    /// Check the configuration and print it, with the source of each value
    Check(ConfigArgs),
    /// Print every path that the daemon would use
    Paths(ConfigArgs),
    /// Make a network key: whoever holds it may join
    Keygen(KeygenArgs),
    /// Write the manual: all its pages into DIR, or the first one to stdout
    Man {
        /// A folder that is there
        dir: Option<PathBuf>,
    },
    /// Write a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// What is to be done.
#[derive(PartialEq, Eq, Debug)]
pub enum Action {
    /// Run the daemon.
    Run(RunArgs),
    /// Check the configuration and print it.
    Check(ConfigArgs),
    /// Print every path.
    Paths(ConfigArgs),
    /// Make a network key.
    Keygen(KeygenArgs),
    /// Write the manual.
    Man(Option<PathBuf>),
    /// Write a completion script.
    Completions(Shell),
}

/// What `run` takes.
#[derive(clap::Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct RunArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Write the bound addresses to FILE as JSON, once everything is ready
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// The flags of the configuration. They go before `P2P_*` variables, and those before the file.
#[derive(clap::Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigArgs {
    /// The configuration file, YAML or JSON by its ending
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where identity, history and keys are kept
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where to listen for peers
    #[arg(short, long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Tell others this address; can be repeated
    #[arg(long, value_name = "ADDR")]
    pub advertise: Vec<String>,
    /// A peer to stay linked to; can be repeated
    #[arg(short, long, value_name = "ADDR")]
    pub peer: Vec<String>,
    /// How others see this peer
    #[arg(long, value_name = "NICK")]
    pub name: Option<String>,
    /// Where to serve p2pctl: unix:PATH or 127.0.0.1:PORT; can be repeated
    #[arg(long, value_name = "ENDPOINT")]
    pub api: Vec<String>,
    /// Where to serve /metrics, /livez and /readyz over HTTP: HOST:PORT, or off
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// Get into the network of this ticket; better given as P2P_JOIN, because others see flags
    #[arg(long, value_name = "TICKET")]
    pub join: Option<String>,
    /// What to log, such as `info` or `info,p2pd::link=debug`
    #[arg(long, value_name = "FILTER")]
    pub log_level: Option<String>,
    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// What `keygen` takes.
#[derive(clap::Args, Clone, PartialEq, Eq, Debug)]
pub struct KeygenArgs {
    /// Leave a file that is already there as it is
    #[arg(long)]
    pub if_missing: bool,
    /// The file to make
    pub file: PathBuf,
}

impl Args {
    /// What is to be done. Options may stand before the command or behind it; those behind it win.
    ///
    /// # Errors
    ///
    /// An option stands before a command that has no use for it.
    pub fn into_action(self) -> Result<Action, clap::Error> {
        let outer = self.run;
        let unused = |what: &str| {
            let message = format!("options of the daemon mean nothing to `p2pd {what}`");
            Err(Self::command().error(ErrorKind::ArgumentConflict, message))
        };
        match self.command {
            None => Ok(Action::Run(outer)),
            Some(Command::Run(args)) => Ok(Action::Run(args.over(outer))),
            Some(Command::Check(_)) if outer.ready_file.is_some() => unused("check"),
            Some(Command::Check(args)) => Ok(Action::Check(args.over(outer.config))),
            Some(Command::Paths(_)) if outer.ready_file.is_some() => unused("paths"),
            Some(Command::Paths(args)) => Ok(Action::Paths(args.over(outer.config))),
            Some(Command::Keygen(_)) if outer != RunArgs::default() => unused("keygen"),
            Some(Command::Keygen(args)) => Ok(Action::Keygen(args)),
            Some(Command::Man { .. }) if outer != RunArgs::default() => unused("man"),
            Some(Command::Man { dir }) => Ok(Action::Man(dir)),
            Some(Command::Completions { .. }) if outer != RunArgs::default() => unused("completions"),
            Some(Command::Completions { shell }) => Ok(Action::Completions(shell)),
        }
    }
}

impl RunArgs {
    fn over(self, outer: Self) -> Self {
        Self { config: self.config.over(outer.config), ready_file: self.ready_file.or(outer.ready_file) }
    }
}

impl ConfigArgs {
    fn over(self, outer: Self) -> Self {
        let list = |inner: Vec<String>, outer| if inner.is_empty() { outer } else { inner };
        Self {
            config: self.config.or(outer.config),
            data_dir: self.data_dir.or(outer.data_dir),
            listen: self.listen.or(outer.listen),
            advertise: list(self.advertise, outer.advertise),
            peer: list(self.peer, outer.peer),
            name: self.name.or(outer.name),
            api: list(self.api, outer.api),
            metrics: self.metrics.or(outer.metrics),
            join: self.join.or(outer.join),
            log_level: self.log_level.or(outer.log_level),
            log_format: self.log_format.or(outer.log_format),
        }
    }

    /// Each flag that was given: the key it sets, the flag's name, the values.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, Vec<String>)> + use<> {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let flags = [
            ("data_dir", "--data-dir", one(&self.data_dir)),
            ("listen_addr", "--listen", one(&self.listen)),
            ("advertise_addr", "--advertise", self.advertise.clone()),
            ("peers", "--peer", self.peer.clone()),
            ("name", "--name", one(&self.name)),
            ("api_addr", "--api", self.api.clone()),
            ("metrics_addr", "--metrics", one(&self.metrics)),
            ("join", "--join", one(&self.join)),
            ("log_level", "--log-level", one(&self.log_level)),
            ("log_format", "--log-format", one(&self.log_format)),
        ];
        flags.into_iter().filter(|(_, _, values)| !values.is_empty())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn action(line: &str) -> Result<Action, ErrorKind> {
        let words = ["p2pd"].into_iter().chain(line.split_whitespace());
        Args::try_parse_from(words).and_then(Args::into_action).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_mean_the_same_with_and_without_the_word_run() {
        let options = "-c f.yaml -l localhost:1 -p a:1 -p b:2 --api unix:/s --ready-file r --log-format json";
        let plain = action(options).unwrap();
        assert_eq!(action(&format!("run {options}")).unwrap(), plain);
        assert_eq!(action(&format!("{options} run")).unwrap(), plain);
        let Action::Run(args) = plain else { panic!("{plain:?}") };
        assert_eq!(args.config.peer, ["a:1", "b:2"]);
        assert_eq!(args.ready_file, Some("r".into()));
        assert_eq!(action("").unwrap(), Action::Run(RunArgs::default()));
    }

    #[test]
    fn what_stands_behind_the_command_wins() {
        let Ok(Action::Check(args)) = action("-c one --name a check -c two") else { panic!("no check") };
        assert_eq!((args.config, args.name), (Some("two".into()), Some("a".into())));
    }

    #[test]
    fn keygen_takes_a_file_and_nothing_of_the_daemon() {
        let keygen = KeygenArgs { if_missing: true, file: "k".into() };
        assert_eq!(action("keygen --if-missing k"), Ok(Action::Keygen(keygen)));
        assert_eq!(action("-l localhost:1 keygen k"), Err(ErrorKind::ArgumentConflict));
        assert_eq!(action("keygen"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(action("--ready-file r check"), Err(ErrorKind::ArgumentConflict));
    }

    #[test]
    fn manual_and_completions_need_nothing_of_the_daemon() {
        assert_eq!(action("man"), Ok(Action::Man(None)));
        assert_eq!(action("man d"), Ok(Action::Man(Some("d".into()))));
        assert_eq!(action("completions zsh"), Ok(Action::Completions(Shell::Zsh)));
        assert_eq!(action("-l localhost:1 man"), Err(ErrorKind::ArgumentConflict));
        assert_eq!(action("--name a completions bash"), Err(ErrorKind::ArgumentConflict));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert_eq!(action("--no-such-flag"), Err(ErrorKind::UnknownArgument));
        assert_eq!(action("--version"), Err(ErrorKind::DisplayVersion));
        assert_eq!(action("rum"), Err(ErrorKind::InvalidSubcommand));
    }
}
