//! The daemon: everything is in the library.

fn main() -> std::process::ExitCode {
    p2pd::main_with(p2pd::daemon::run)
}
