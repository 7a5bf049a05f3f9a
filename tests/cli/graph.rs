//! Who is linked to whom, as a person sees it.

use p2p_tests::daemon::Network;
use p2p_tests::program::{PATIENCE, eventually};
use serde_json::Value;

#[test]
fn every_peer_shows_the_same_links() {
    let network = Network::new();
    let peers = network.start_three();
    for peer in &peers {
        let links = || {
            let graph: Value = serde_json::from_str(&peer.p2pctl(&["graph", "-ojson"]).ok()).unwrap();
            assert_eq!((&graph["v"], &graph["type"]), (&Value::from(1), &Value::from("graph")));
            assert_eq!(graph["peers"][0]["id"], peer.id(), "the daemon that is asked comes first");
            let told =
                graph["peers"].as_array().unwrap().iter().map(|peer| peer["neighbors"].as_array().unwrap().len());
            told.sum::<usize>()
        };
        eventually(PATIENCE, "all three tell of two links", || links() == 6);
        let text = peer.p2pctl(&["graph"]).ok();
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert!(rows.len() == 3 && rows.iter().all(|row| row.len() == 4 && row[1] == "2"), "{text}");
        let dot = peer.p2pctl(&["graph", "--format", "dot"]).ok();
        assert_eq!(dot.matches(" -- ").count(), 3, "{dot}");
        let svg = peer.p2pctl(&["graph", "--format", "svg"]).ok();
        assert_eq!((svg.matches("<path").count(), svg.matches("<circle").count()), (3, 3), "{svg}");
    }
}
