#![allow(clippy::unwrap_used)]

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("p2pctl").chain(line.split_whitespace()))
}

#[test]
fn the_help_of_every_command_is_as_written_down() {
    fn visit(command: &clap::Command, path: &str, all: &mut String) {
        let help = command.clone().bin_name(path).term_width(100).render_help();
        *all += &format!("$ {path} --help\n{help}\n");
        for inner in command.get_subcommands() {
            visit(inner, &format!("{path} {}", inner.get_name()), all);
        }
    }
    let mut all = String::new();
    // Building would add the global options to each; they are shown once, with the program's own help.
    visit(&Cli::command(), "p2pctl", &mut all);
    insta::assert_snapshot!(all);
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn options_may_stand_before_and_behind_the_command() {
    for line in ["-o json --timeout 2s rooms", "rooms -o json --timeout 2s"] {
        let cli = parse(line).unwrap();
        assert_eq!(cli.global.output, Some(Format::Json));
        assert_eq!(cli.global.timeout, Some(Duration::from_secs(2)));
    }
}

#[test]
fn k_05_a_span_of_any_length_ends_at_a_moment_that_clocks_have() {
    let cli = parse("--timeout 500000000000years --connect-wait 18446744073709551615s status").unwrap();
    for span in [cli.global.timeout.unwrap(), cli.global.connect_wait] {
        assert!(std::time::Instant::now().checked_add(span).is_some());
    }
}

#[test]
fn c_02_a_text_may_begin_with_a_dash() {
    let Command::Send(send) = parse("send -r general -- -x --key").unwrap().command else { panic!("not send") };
    assert_eq!(send.text, ["-x", "--key"]);
    assert_eq!(parse("send -x").unwrap_err().kind(), ErrorKind::UnknownArgument);
}

#[test]
fn what_excludes_each_other_is_refused() {
    for line in [
        "send -l text",
        "send -0 text",
        "send -l -0",
        "watch -n 5 --all",
        "watch --after 3 --since 10m",
        "history -n 5 --all",
        "history -f --until 14:30",
        "sync --now --watch",
        "ping alice --all",
        "peers -a show alice",
        "rooms -q -v",
    ] {
        assert_eq!(parse(line).unwrap_err().kind(), ErrorKind::ArgumentConflict, "{line}");
    }
}

#[test]
fn what_is_missing_or_no_number_is_refused() {
    for line in ["ping", "search", "receipts", "send --wait-timeout 1s x"] {
        assert_eq!(parse(line).unwrap_err().kind(), ErrorKind::MissingRequiredArgument, "{line}");
    }
    assert_eq!(parse("ping alice -n 0").unwrap_err().kind(), ErrorKind::ValueValidation);
    assert_eq!(parse("watch -n 10001").unwrap_err().kind(), ErrorKind::ValueValidation);
    assert_eq!(parse("history -n x").unwrap_err().kind(), ErrorKind::ValueValidation);
    assert_eq!(parse("rooms --timeout 10").unwrap_err().kind(), ErrorKind::ValueValidation);
    assert_eq!(parse("rooms -o xml").unwrap_err().kind(), ErrorKind::InvalidValue);
}

#[test]
fn a_completion_asks_the_daemon_that_the_typed_words_name() {
    let of = |line: &str| parse(line).unwrap().meant().global.socket;
    assert_eq!(of("complete 3 -- p2pctl -s /a ping"), Some("/a".to_owned()));
    assert_eq!(of("complete 2 -- p2pctl ping --socket=/b"), Some("/b".to_owned()));
    assert_eq!(of("-s /c complete 1 -- p2pctl"), Some("/c".to_owned()));
    assert_eq!(of("complete 1 -- p2pctl -s"), None);
}

#[test]
fn the_help_of_a_command_says_more_than_the_list_of_all() {
    for (command, part) in
        [("send", "on disk"), ("watch", "Gaps"), ("peers", "BEHIND counts"), ("search", "all the words")]
    {
        let help = Cli::try_parse_from(["p2pctl", command, "--help"]).unwrap_err().to_string();
        assert!(help.contains(part), "{part} is not in {help}");
    }
}

/// What pages call an option.
fn option_names(command: &clap::Command) -> Vec<String> {
    let longs = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long());
    longs.map(|long| format!("\\-\\-{}", long.replace('-', "\\-"))).collect()
}

#[test]
fn the_manual_has_a_page_for_every_command_with_every_option_in_it() {
    fn visit(command: &clap::Command, name: &str, dir: &std::path::Path, pages: &mut usize) {
        let page =
            std::fs::read_to_string(dir.join(format!("{name}.1"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        for option in option_names(command) {
            assert!(page.contains(&option), "{option} is not in {name}.1");
        }
        *pages += 1;
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set()) {
            visit(inner, &format!("{name}-{}", inner.get_name()), dir, pages);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command().bin_name("p2pctl"), dir.path()).unwrap();
    let (mut command, mut pages) = (Cli::command(), 0);
    command.build();
    visit(&command, "p2pctl", dir.path(), &mut pages);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), pages, "there is no page too many");
}
