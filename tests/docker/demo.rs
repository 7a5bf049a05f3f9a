//! The demo under test: the Makefile's own targets, beside whatever else runs on this machine.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::process::Command;
use std::time::Duration;

use p2p_tests::program::Output;
use serde_json::Value;

use crate::engine::{docker, run};

/// The six, in the order of the README.
pub(crate) const PEERS: [&str; 6] = ["bootstrap", "peer1", "peer2", "peer3", "peer4", "peer5"];

/// Six containers of a project and an image of this clone's tests. They are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Demo {
    project: String,
    /// One run of this clone at a time.
    _lock: File,
}

impl Demo {
    /// Removes what an earlier run left behind that was killed; nothing is started yet.
    #[track_caller]
    pub(crate) fn open() -> Self {
        let mut hasher = DefaultHasher::new();
        env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
        let project = format!("p2pd-test-{:08x}", hasher.finish() as u32);
        // Not among what is built: the same clone may be built in several places, and has one project.
        let lock = File::create(std::env::temp_dir().join(&project)).unwrap();
        lock.lock().unwrap();
        let demo = Self { project, _lock: lock };
        drop(demo.make("demo-clean").ok());
        demo
    }

    /// What the names of all its things begin with.
    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    /// `make ARGUMENTS…`
    #[track_caller]
    pub(crate) fn make(&self, args: &str) -> Output {
        let mut command = Command::new("make");
        command.args(args.split(' ')).args(["PROFILE=demo", &format!("IMAGE={}", self.project)]);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).env_clear();
        // Neither what a make above this one is about nor what somebody has set in his shell.
        let kept = |name: &str| ["PATH", "HOME", "COMPOSE"].contains(&name) || name.starts_with("DOCKER_");
        command.envs(std::env::vars().filter(|(name, _)| kept(name)));
        command.env("COMPOSE_PROJECT_NAME", &self.project).env("P2PD_KEEP_LAYERS", "1");
        run(&mut command, LONGEST)
    }

    /// What an engine's list shows of this project.
    #[track_caller]
    pub(crate) fn listed(&self, list: &[&str]) -> String {
        let filter = format!("name={}", self.project);
        docker(&[list, &["-q", "--filter", &filter]].concat()).ok()
    }

    /// `docker exec PEER p2pctl ARGUMENTS…`
    #[track_caller]
    pub(crate) fn p2pctl(&self, peer: &str, args: &[&str]) -> Output {
        docker(&[&["exec", &self.container(peer), "p2pctl"], args].concat())
    }

    /// What the engine knows of a peer's container.
    #[track_caller]
    pub(crate) fn inspect(&self, peer: &str) -> Value {
        let found = docker(&["inspect", &self.container(peer)]).ok();
        serde_json::from_str::<Value>(&found).unwrap()[0].take()
    }

    /// What the engine knows of the image; none where there is none.
    pub(crate) fn image(&self) -> Option<Value> {
        let found = docker(&["image", "inspect", &self.project]);
        (found.code == Some(0)).then(|| serde_json::from_str::<Value>(&found.stdout).unwrap()[0].take())
    }

    #[track_caller]
    pub(crate) fn container(&self, peer: &str) -> String {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let service = format!("label=com.docker.compose.service={peer}");
        let found = docker(&["ps", "-aq", "--filter", &project, "--filter", &service]).ok();
        assert_eq!(found.lines().count(), 1, "one container is {peer}: {found}");
        found.trim().to_owned()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.make("demo-status").stdout);
        }
        let cleaned = self.make("demo-clean");
        if cleaned.code != Some(0) {
            eprintln!("make demo-clean failed: {}", cleaned.stderr);
        }
    }
}

/// The first build fetches and compiles all dependencies.
const LONGEST: Duration = Duration::from_secs(2400);
