//! The golden frames, mangled in a few thousand ways, on links of members.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use p2p_mesh::id::base64url;
use p2p_mesh::membership::record::Record;
use p2p_mesh::wire::frame::PREFIX_LEN;
use p2p_mesh::wire::message::{Bye, ByeCode, Envelopes, Message};
use p2p_tests::member::Member;
use p2p_tests::sim::dice::Dice;

use super::attacked::Attacked;

/// Every frame that a version of this protocol ever said. Their peer lives on this machine here: a daemon that believes
/// a record dials what is in it.
fn golden_frames() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../p2pd/mesh/src/wire/golden");
    let paths: BTreeSet<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap().trim().to_owned()).collect();
    let golden = texts.iter().find_map(|text| match decode(text) {
        Some(Message::Hello(hello)) => Some(hello.record),
        _ => None,
    });
    let golden = golden.expect("there is a golden hello");
    let key = SigningKey::from_bytes(&[7; 32]);
    let local = Record::sign(&key, golden.rev, &["127.0.0.1:1".parse().unwrap()], &golden.name, golden.epoch);
    assert_eq!(local.id, golden.id, "the golden frames are made with this key");
    texts.iter().map(|text| text.replace(&record_text(&golden), &record_text(&local)).into_bytes()).collect()
}

fn decode(text: &str) -> Option<Message> {
    Message::decode(&Bytes::copy_from_slice(text.as_bytes())).ok()
}

fn record_text(record: &Record) -> String {
    format!(r#"{{"body":{},"sig":"{}"}}"#, record.body(), base64url(record.signature()))
}

/// What the golden frames really say: nothing else of them may ever be in a history.
fn golden_posts() -> BTreeSet<(String, String)> {
    let envelopes = golden_frames().into_iter().filter_map(|frame| match Message::decode(&Bytes::from(frame)) {
        Ok(Message::Envelopes(envelopes)) => Some(envelopes.items),
        _ => None,
    });
    let posts = envelopes.flatten().flat_map(|envelope| {
        let author = envelope.feed().id.to_string();
        let texts: Vec<String> = envelope.body().posts.iter().map(|post| post.text.to_string()).collect();
        texts.into_iter().map(move |text| (author.clone(), text))
    });
    posts.collect()
}

/// The two honest peers still chat, and beside their own words they hold at most what the golden frames say.
#[track_caller]
fn check(attacked: &mut Attacked) {
    attacked.check_unharmed();
    let golden = golden_posts();
    let held = attacked.foreign_posts();
    assert!(held.iter().all(|post| golden.contains(post)), "{held:?}");
    let held: Vec<(&str, &str)> = held.iter().map(|(author, text)| (author.as_str(), text.as_str())).collect();
    attacked.check_nothing_but(&held);
}

/// One golden frame with one to four things wrong in it.
fn mangle(frames: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut frame = dice.pick(frames);
    for _ in 0..dice.between(1, 4) {
        mangle_once(&mut frame, frames, dice);
    }
    frame.truncate(100_000);
    frame
}

fn mangle_once(frame: &mut Vec<u8>, frames: &[Vec<u8>], dice: &mut Dice) {
    if frame.is_empty() {
        return frame.push(dice.below(256) as u8);
    }
    let (a, b) = (dice.below(frame.len()), dice.below(frame.len()));
    let (from, to) = (a.min(b), a.max(b));
    match dice.below(9) {
        0 => frame[from] ^= 1 << dice.below(8),
        1 => drop(frame.drain(from..to)),
        2 => frame.truncate(from),
        // Something twice.
        3 => drop(frame.splice(from..from, frame[from..to].to_vec())),
        // A piece of another frame.
        4 => {
            let other = dice.pick(frames);
            let cut = dice.below(other.len());
            drop(frame.splice(from..to, other[cut..].to_vec()));
        }
        5 => frame.insert(from, dice.pick(b"{}[]\",:\\0919nt\xff\x00")),
        6 | 7 => replace_number(frame, from, dice),
        _ => {
            let deep = dice.between(1, 40) as usize;
            drop(frame.splice(from..from, b"[".repeat(deep)));
        }
    }
}

/// Puts a number from the end of some range in place of the next one behind `from`.
fn replace_number(frame: &mut Vec<u8>, from: usize, dice: &mut Dice) {
    let Some(start) = (from..frame.len()).find(|at| frame[*at].is_ascii_digit()) else { return };
    let end = (start..frame.len()).find(|at| !frame[*at].is_ascii_digit()).unwrap_or(frame.len());
    drop(frame.splice(start..end, dice.pick(&NUMBERS).bytes()));
}

#[test]
fn w_05_w_08_no_mangled_frame_harms_a_daemon() {
    let mut attacked = Attacked::new();
    let frames = golden_frames();
    assert!(frames.len() > 20, "only {} golden frames were found", frames.len());
    let mut member: Option<Member> = None;
    let mut links = 0;
    for seed in 0..FRAMES {
        let frame = mangle(&frames, &mut Dice::new(seed));
        // Shown only if this test fails.
        println!("seed={seed} {}", String::from_utf8_lossy(&frame));
        let current = member.get_or_insert_with(|| {
            links += 1;
            attacked.member()
        });
        current.send_frame(&frame);
        if !current.is_heard() {
            member = None;
        }
    }
    for seed in FRAMES..FRAMES + HELLOS {
        let mut stranger = attacked.silent_member();
        let hello = Message::Hello(Box::new(stranger.hello())).encode()[PREFIX_LEN..].to_vec();
        let frame = mangle(&[hello], &mut Dice::new(seed));
        println!("seed={seed} {}", String::from_utf8_lossy(&frame));
        stranger.send_frame(&frame);
        let _ = stranger.is_heard();
    }
    assert!(links > FRAMES / 10 && links < FRAMES, "of {FRAMES} frames {links} ended a link");
    check(&mut attacked);
}

#[test]
fn w_08_numbers_at_the_end_of_their_range_are_survived_in_every_frame() {
    let mut attacked = Attacked::new();
    for (at, golden) in golden_frames().iter().enumerate() {
        let places: Vec<usize> = number_places(golden);
        for number in NUMBERS {
            let mut member = attacked.member();
            for place in &places {
                let mut frame = golden.clone();
                let end = (*place..frame.len()).find(|at| !frame[*at].is_ascii_digit()).unwrap_or(frame.len());
                drop(frame.splice(*place..end, number.bytes()));
                println!("frame {at}, byte {place}: {number}");
                member.send_frame(&frame);
                if !member.is_heard() {
                    member = attacked.member();
                }
            }
        }
    }
    check(&mut attacked);
}

/// Where numbers begin.
fn number_places(frame: &[u8]) -> Vec<usize> {
    let begins = |at: &usize| frame[*at].is_ascii_digit() && b",[:".contains(&frame[*at - 1]);
    (1..frame.len()).filter(begins).collect()
}

#[test]
fn w_08_authors_at_the_end_of_all_numbers_keep_nobody_from_talking() {
    let mut attacked = Attacked::new();
    let last = (1u64 << 53) - 1;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let mut authors = Vec::new();
    // All of it is signed and valid: the last of all times, and a time of now with the last of all counters.
    for (ms, text) in [(last, "at the end of time"), (now, "at the end of counting")] {
        let mut member = attacked.member();
        let written = member.write(text, None);
        let body = String::from_utf8(written.bytes().to_vec()).unwrap();
        let (start, end) = (body.find("\"at\":[").unwrap(), body.find("],\"posts\"").unwrap());
        let body = format!("{}\"at\":[{ms},{}{}", &body[..start], last - 1, &body[end..]);
        let body = body.replace(&format!("\"epoch\":{}", written.feed().epoch.0), &format!("\"epoch\":{last}"));
        let items = vec![member.sign(body.as_bytes())];
        member.send(&Message::Envelopes(Envelopes { items, hop: last, live: true, more: false }));
        assert!(member.is_heard(), "it is valid for everybody");
        let why = String::new();
        member.send(&Message::Bye(Bye { code: ByeCode::Restart, why, retry_ms: Some(last), records: Vec::new() }));
        authors.push((member.instance().id.to_string(), text));
    }
    attacked.check_unharmed();
    let foreign: Vec<(&str, &str)> = authors.iter().map(|(author, text)| (author.as_str(), *text)).collect();
    attacked.check_nothing_but(&foreign);
}

/// As many as fit into a few seconds, most of which are handshakes.
const FRAMES: u64 = 3_000;
const HELLOS: u64 = 500;
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "255",
    "256",
    "65536",
    "4294967295",
    "4294967296",
    "9007199254740990",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775807",
    "18446744073709551616",
    "-1",
    "1e9",
];
