//! The client of p2pd.

fn main() -> std::process::ExitCode {
    p2pctl::main()
}
