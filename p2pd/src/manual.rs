//! The manual: p2pd(8) with a page for each command, made from the command line, and p2pd.yaml(5) from the
//! configuration.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;

use crate::args::Args;
use crate::config;

/// Writes every page into a folder.
pub(crate) fn write(dir: &Path) -> io::Result<()> {
    let mut program = Args::command().bin_name("p2pd").disable_help_subcommand(true);
    program.build();
    fs::write(dir.join("p2pd.8"), render(&program)?)?;
    for command in program.get_subcommands() {
        fs::write(dir.join(format!("p2pd-{}.8", command.get_name())), render(command)?)?;
    }
    fs::write(dir.join("p2pd.yaml.5"), config_page(&config::example()))
}

/// The first page.
pub(crate) fn first() -> io::Result<String> {
    let mut program = Args::command().bin_name("p2pd").disable_help_subcommand(true);
    program.build();
    render(&program)
}

fn render(command: &clap::Command) -> io::Result<String> {
    let man = clap_mangen::Man::new(command.clone()).section("8");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
        page.extend_from_slice(RUNNING.as_bytes());
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// The example with everything in it says it best.
fn config_page(example: &str) -> String {
    let mut page = format!(
        ".TH p2pd.yaml 5 \"\" \"p2pd {}\"\n.SH NAME\np2pd.yaml \\- the configuration of p2pd\n.SH DESCRIPTION\n.nf\n",
        env!("CARGO_PKG_VERSION")
    );
    for line in example.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // A line that begins with a dot or a quote would be a request.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        page.extend([guard, &line, "\n"]);
    }
    page.push_str(".fi\n.SH SEE ALSO\np2pd(8), p2pctl(1)\n");
    page
}

/// What the command line does not say.
const RUNNING: &str = r"
.SH SIGNALS
.TP
TERM, INT
Stop cleanly: say goodbye, finish, flush, remove the socket. A second one ends the daemon at once.
.TP
HUP
Read the configuration again, take over what can change while the daemon runs, and dial at once.
The log says what was applied and what needs a restart. A mistake changes nothing.
.TP
USR1
Write the status to the log: one line for the daemon, one for each peer.
.SH ENVIRONMENT
.TP
P2P_KEY
Every key of the configuration, in capitals: P2P_LISTEN_ADDR, P2P_PEERS. A flag goes before it, and it before the file.
.TP
STATE_DIRECTORY, RUNTIME_DIRECTORY
Where a service keeps its data and its socket. systemd sets them.
.TP
NOTIFY_SOCKET, WATCHDOG_USEC
The service manager is told READY, RELOADING, STOPPING and how the daemon is, and in half of that time that it is alive.
.SH EXIT STATUS
0 a clean stop, 1 failed, 2 wrong usage, 69 cannot bind, 74 the store is damaged or the disk full, 75 the data directory
is in use, 77 a key file can be read by others, 78 bad configuration.
.SH FILES
.TP
/etc/p2pd/config.yaml
The configuration of the machine's daemon; see p2pd.yaml(5).
.TP
/var/lib/p2pd
The data directory of a service. A user's is in \(ti/.local/share/p2p.
.TP
/run/p2pd/p2pd.sock
The API's socket of a service.
.SH SEE ALSO
p2pd.yaml(5), p2pctl(1)
";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_command_option_and_key_is_in_the_manual() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let page = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let check = |command: &clap::Command, page: &str| {
            let longs = command.get_arguments().filter_map(|arg| arg.get_long());
            for option in longs.map(|long| format!("\\-\\-{}", long.replace('-', "\\-"))) {
                assert!(page.contains(&option), "{option} of {} is missing", command.get_name());
            }
        };
        let program = Args::command();
        check(&program, &page("p2pd.8"));
        for command in program.get_subcommands() {
            check(command, &page(&format!("p2pd-{}.8", command.get_name())));
            assert!(page("p2pd.8").contains(&format!("p2pd\\-{}", command.get_name())), "{}", page("p2pd.8"));
        }
        assert_eq!(first().unwrap(), page("p2pd.8"));
        let example = page("p2pd.yaml.5").replace("\\-", "-");
        assert!(config::example().lines().all(|line| example.contains(line)), "{example}");
    }
}
