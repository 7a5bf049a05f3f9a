//! Who listens on the path learns nothing but who talks to whom, and how much.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use p2p_tests::program::{PATIENCE, eventually};

use super::Field;

/// Everything that goes by where a peer lives.
struct Sniffer {
    tcpdump: Child,
    file: PathBuf,
}

impl Sniffer {
    /// None where there is no tcpdump.
    fn start(field: &Field, place: usize) -> Option<Self> {
        let file = field.network.dir().join(format!("sniffed-{place}"));
        let under = field.netns.under(place);
        let mut command = Command::new(&under[0]);
        command.args(&under[1..]).args(["tcpdump", "-i", "eth0", "-s0", "-U", "-Zroot", "-w"]).arg(&file);
        let tcpdump = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let mut sniffer = Self { tcpdump, file };
        // Its header is there before the first packet is.
        eventually(PATIENCE, "tcpdump listens, or is not there", || !sniffer.bytes().is_empty() || sniffer.is_over());
        (!sniffer.is_over()).then_some(sniffer)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap_or_default()
    }

    fn is_over(&mut self) -> bool {
        self.tcpdump.try_wait().unwrap().is_some()
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        drop(self.tcpdump.kill());
        drop(self.tcpdump.wait());
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn n_15_a_listener_on_the_path_reads_no_text_no_name_and_no_id() {
    let Some(mut field) = Field::open() else { return };
    let Some(sniffer) = Sniffer::start(&field, 0) else {
        eprintln!("skipped, because there is no tcpdump here");
        return;
    };
    field.add(vec![], "0.0.0.0:8080", &[]);
    field.add(vec!["10.77.0.1:8080".into()], "0.0.0.0:8080", &[]);
    field.wait_for_links();
    let text = "attack at dawn, and bring biscuits";
    field.say(0, text);
    field.say(1, text);
    field.check_equal(2);
    // This one is in the clear, so the listener does hear.
    let control = "heard in the clear";
    let send = || std::net::UdpSocket::bind("0.0.0.0:0")?.send_to(control.as_bytes(), "10.77.0.2:9");
    field.netns.within(0, send).unwrap().unwrap();
    eventually(PATIENCE, "the control was heard", || contains(&sniffer.bytes(), control.as_bytes()));

    let bytes = sniffer.bytes();
    let status = field.peers[0].status();
    let ids = [field.peers[0].id().to_owned(), field.peers[1].id().to_owned(), status.network];
    let names = ["peer-0".to_owned(), "peer-1".to_owned(), "general".to_owned(), "\"type\"".to_owned()];
    for secret in ids.iter().flat_map(|id| [id.clone(), id[..12].to_owned()]).chain(names).chain([text.to_owned()]) {
        assert!(!contains(&bytes, secret.as_bytes()), "{secret:?} was on the wire");
    }
    for id in &ids[..2] {
        let id: p2p_mesh::id::PeerId = id.parse().unwrap();
        assert!(!contains(&bytes, &id.0[..8]), "the bytes of an id were on the wire");
    }
}
