//! The Docker demo as its users have it: the Makefile's targets, a real engine, a real image. Where no engine can run, the
//! test says so and does nothing.

#![allow(clippy::unwrap_used)]

mod demo;
mod engine;

use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::skip::or_skip;
use serde_json::json;

use demo::{Demo, PEERS};
use engine::docker;

#[test]
fn six_containers_talk_part_heal_survive_a_kill_and_leave_nothing_behind() {
    let Some(()) = or_skip(engine::ready()) else { return };
    let demo = Demo::open();
    let started = demo.make("demo").ok();
    assert!(started.contains("All six are linked to each other and in sync."), "{started}");
    check_image(&demo);
    check_volumes(&demo);
    for peer in PEERS {
        check_confined(&demo, peer);
        eventually(PATIENCE, "the probe finds it healthy", || {
            demo.inspect(peer)["State"]["Health"]["Status"] == "healthy"
        });
    }

    everybody_talks(&demo);
    check_equal(&demo, 6);
    parts_and_heals(&demo);
    check_equal(&demo, 8);
    survives_a_kill(&demo);
    check_equal(&demo, 9);
    stops_and_starts(&demo);
    check_equal(&demo, 9);

    drop(demo.make("demo-clean").ok());
    for list in [["ps", "-a"], ["volume", "ls"], ["network", "ls"]] {
        assert_eq!(demo.listed(&list), "", "docker {list:?}");
    }
    assert_eq!(demo.image(), None);
}

/// Small, without a key, for nobody in particular.
#[track_caller]
fn check_image(demo: &Demo) {
    let image = demo.image().unwrap();
    let base: u64 =
        docker(&["image", "inspect", "-f", "{{.Size}}", engine::RUNTIME_IMAGE]).ok().trim().parse().unwrap();
    let ours = image["Size"].as_u64().unwrap() - base;
    assert!(ours < IMAGE_BYTES_MAX, "{ours} bytes beside the base image");
    assert_eq!(image["Config"]["User"], "10001:10001");
    assert_eq!(image["Config"]["Entrypoint"], json!(["p2pd"]));
    let name = image["Id"].as_str().unwrap();
    let list =
        ["run", "--rm", "--entrypoint", "find", name, "/etc/p2pd", "/run/p2pd", "/var/lib/p2pd", "-mindepth", "1"];
    assert_eq!(docker(&list).ok(), "", "nothing is in its folders");
}

/// What a peer may not do, as the kernel sees it, and what it may use, as the engine was told.
#[track_caller]
fn check_confined(demo: &Demo, peer: &str) {
    let status = docker(&["exec", &demo.container(peer), "cat", "/proc/1/status"]).ok();
    for line in [
        "Name:\tp2pd",
        "Uid:\t10001\t10001\t10001\t10001",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.lines().any(|found| found == line), "{peer}: {line:?} is not in\n{status}");
    }
    let touched = docker(&["exec", "-u", "0", &demo.container(peer), "touch", "/usr/local/bin/new"]);
    assert!(touched.stderr.contains("Read-only file system"), "{touched:?}");
    let host = &demo.inspect(peer)["HostConfig"];
    assert_eq!(host["Memory"], 256 << 20);
    assert_eq!(host["PidsLimit"], 64);
    assert_eq!(host["NanoCpus"], 1_000_000_000);
}

/// A volume without a name would stay behind.
#[track_caller]
fn check_volumes(demo: &Demo) {
    for peer in ["keymaker"].iter().chain(&PEERS) {
        let mounts = demo.inspect(peer)["Mounts"].take();
        for mount in mounts.as_array().unwrap().iter().filter(|mount| mount["Type"] == "volume") {
            let name = mount["Name"].as_str().unwrap();
            assert!(name.starts_with(demo.project()), "{peer} has the volume {name}");
        }
    }
}

/// A line is said at each, and all hear all of them, without a flag.
#[track_caller]
fn everybody_talks(demo: &Demo) {
    for peer in PEERS {
        let said = format!("hello from {peer}");
        drop(demo.p2pctl(peer, &["send", "-w", "everyone", &said]).ok());
    }
    for peer in PEERS {
        let heard = demo.p2pctl(peer, &["watch", "--all", "--count", "6", "--for", "20s"]).ok();
        for other in PEERS {
            assert!(heard.contains(&format!(": hello from {other}\n")), "{peer} heard:\n{heard}");
        }
        assert_eq!(demo.p2pctl(peer, &["peers"]).ok().matches(" up ").count(), 5);
    }
}

#[track_caller]
fn check_equal(demo: &Demo, posts: usize) {
    let verified = demo.make("demo-verify").ok();
    assert!(
        verified.contains(&format!("All six hold the same {posts} messages in the same order: digest ")),
        "{verified}"
    );
}

/// Both sides go on without the other; joined again, all have everything.
#[track_caller]
fn parts_and_heals(demo: &Demo) {
    drop(demo.make("demo-partition").ok());
    drop(demo.make("demo-send PEER=peer1 TEXT=near").ok());
    drop(demo.make("demo-send PEER=peer4 TEXT=far").ok());
    for (peers, heard, unheard) in [(&PEERS[..3], "near", "far"), (&PEERS[3..], "far", "near")] {
        for peer in peers {
            let has = |text: &str| demo.p2pctl(peer, &["history"]).ok().contains(&format!(": {text}\n"));
            eventually(PATIENCE, "it hears its own side", || has(heard));
            assert!(!has(unheard), "{peer} hears the other side");
        }
    }
    let verified = demo.make("demo-verify");
    assert_ne!(verified.code, Some(0), "{}", verified.stdout);
    assert!(verified.stderr.contains("peer3: 7 messages, 1 that others hold are missing"), "{}", verified.stderr);
    assert!(verified.stderr.contains("the six histories are not the same"), "{}", verified.stderr);
    drop(demo.make("demo-heal").ok());
}

#[track_caller]
fn survives_a_kill(demo: &Demo) {
    drop(demo.p2pctl("peer3", &["send", "acknowledged"]).ok());
    let before = demo.inspect("peer3")["State"]["StartedAt"].clone();
    let killed = demo.make("demo-kill PEER=peer3").ok();
    assert!(killed.contains("peer3 was killed"), "{killed}");
    assert_ne!(demo.inspect("peer3")["State"]["StartedAt"], before);
}

/// What was said outlives the containers, and a daemon that is asked to stop does.
#[track_caller]
fn stops_and_starts(demo: &Demo) {
    let container = demo.container("peer5");
    drop(docker(&["stop", &container]).ok());
    assert_eq!(demo.inspect("peer5")["State"]["ExitCode"], 0);
    drop(demo.make("demo-stop").ok());
    assert_eq!(demo.listed(&["ps", "-a"]), "");
    drop(demo.make("demo").ok());
    let shown = demo.make("demo-status").ok();
    assert_eq!(shown.matches(" READY ").count(), 6, "{shown}");
}

/// Both programs, built for speed of building.
const IMAGE_BYTES_MAX: u64 = 40_000_000;
