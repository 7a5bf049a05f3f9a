//! Whether images can be built and run here.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use p2p_tests::program::{Output, Running};

/// Sees that there is an engine, a compose command and the images that the Dockerfile begins with. What is missing may come
/// from a script that `P2P_STAND_IN_IMAGES` names; it needs root.
pub(crate) fn ready() -> Result<(), String> {
    if !is_complete() {
        stand_in()?;
    }
    need("no Docker engine answers", docker(&["info"]))?;
    if docker(&["compose", "version"]).code != Some(0) {
        need("no compose command", run(Command::new("docker-compose").arg("version"), MOMENT))?;
    }
    for image in BASE_IMAGES {
        if docker(&["image", "inspect", image]).code != Some(0) {
            need(&format!("no image {image}"), run(Command::new("docker").args(["pull", "-q", image]), FETCH))?;
        }
    }
    Ok(())
}

/// Runs `docker`, for what takes a moment.
pub(crate) fn docker(args: &[&str]) -> Output {
    run(Command::new("docker").args(args), MOMENT)
}

/// Runs a program to its end; one that is not there fails like any other.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Output {
    let is_there = Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null"])
        .arg(command.get_program())
        .status()
        .is_ok_and(|status| status.success());
    if !is_there {
        let stderr = format!("{} is not installed", command.get_program().to_string_lossy());
        return Output { code: None, stdout: String::new(), stderr };
    }
    Running::start(command, Vec::new()).wait(limit)
}

fn is_complete() -> bool {
    docker(&["info"]).code == Some(0)
        && BASE_IMAGES.iter().all(|image| docker(&["image", "inspect", image]).code == Some(0))
}

/// Has the script supply engine and images, where there is one and we may run it.
fn stand_in() -> Result<(), String> {
    let path = std::env::var_os("P2P_STAND_IN_IMAGES").map_or_else(|| PathBuf::from(STAND_IN), PathBuf::from);
    if !path.is_file() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    need(&path.display().to_string(), run(&mut Command::new(&path), FETCH))
}

fn need(what: &str, output: Output) -> Result<(), String> {
    if output.code == Some(0) {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{what}: {}", said.trim().lines().last().unwrap_or("it says nothing")))
}

/// What the image is made on, as in the Dockerfile.
pub(crate) const RUNTIME_IMAGE: &str = "debian:bookworm-slim";
const BASE_IMAGES: [&str; 2] = ["rust:1-slim-bookworm", RUNTIME_IMAGE];
/// Beside the repository, where nothing else is said.
const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/docker/stand-in-images");
const MOMENT: Duration = Duration::from_secs(60);
const FETCH: Duration = Duration::from_secs(1200);
