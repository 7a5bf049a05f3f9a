#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::link::secure::tests::pair;
use crate::link::secure::{PLAIN_LEN_MAX, Sealer};

/// The far end of a link that is being read.
struct Far {
    socket: DuplexStream,
    sealer: Sealer,
    events: mpsc::Receiver<LinkEvent>,
    limit: watch::Sender<usize>,
    reader: JoinHandle<ReadEnd>,
}

async fn start(events_max: usize) -> Far {
    let (near, far, events, limit) = parts(events_max).await;
    Far { socket: far.0, sealer: far.1, events, limit, reader: tokio::spawn(near.run()) }
}

type Parts = (Reader<DuplexStream>, (DuplexStream, Sealer), mpsc::Receiver<LinkEvent>, watch::Sender<usize>);

async fn parts(events_max: usize) -> Parts {
    let (dialing, accepting) = pair().await;
    let (near, far) = duplex(1 << 20);
    let (events_in, events) = mpsc::channel(events_max);
    let (limit_in, limit) = watch::channel(FRAME_LEN_MAX_BEFORE_HELLO);
    let reader = Reader::new(LinkId(1), near, accepting.opener, events_in, limit);
    (reader, (far, dialing.sealer), events, limit_in)
}

impl Far {
    fn sealed(&mut self, plain: &[u8]) -> BytesMut {
        let mut sealed = BytesMut::new();
        for chunk in plain.chunks(PLAIN_LEN_MAX) {
            self.sealer.seal(chunk, &mut sealed);
        }
        sealed
    }

    async fn say(&mut self, plain: &[u8]) {
        let sealed = self.sealed(plain);
        self.socket.write_all(&sealed).await.unwrap();
    }

    async fn next_batch(&mut self) -> Vec<Bytes> {
        match self.events.recv().await.unwrap() {
            LinkEvent::Frames { link, frames } => {
                assert_eq!(link, LinkId(1));
                frames
            }
            other @ (LinkEvent::Input(_) | LinkEvent::Entry { .. }) => {
                panic!("a reader tells only frames, not {other:?}")
            }
        }
    }

    /// The length that is not allowed.
    async fn refused(&mut self) -> FrameError {
        match self.events.recv().await.unwrap() {
            LinkEvent::Input(Input::BadFrame { link: LinkId(1), error }) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Why reading ended, and all frames until then.
    async fn end(mut self) -> (ReadEnd, Vec<Bytes>) {
        let mut all = Vec::new();
        while let Some(LinkEvent::Frames { frames, .. }) = self.events.recv().await {
            all.extend(frames);
        }
        (self.reader.await.unwrap(), all)
    }
}

fn frame(len: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(len).unwrap().to_be_bytes().to_vec();
    bytes.extend((0..len).map(|at| (at % 251) as u8));
    bytes
}

#[tokio::test]
async fn frames_that_arrive_together_are_told_together() {
    let mut far = start(1).await;
    far.say(&[frame(2), frame(300), frame(4_096)].concat()).await;
    let lengths: Vec<usize> = far.next_batch().await.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [2, 300, 4_096]);
    drop(far.socket.shutdown().await);
    assert!(matches!(far.end().await, (ReadEnd::Closed, rest) if rest.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn w_01_lengths_outside_the_limits_end_the_link_before_their_frame_is_there() {
    for len in [0, 1, 4_097, 131_072, 131_073, 1 << 31, u32::MAX] {
        let mut far = start(1).await;
        far.say(&len.to_be_bytes()).await;
        // Nothing is closed here and no time passes: the length alone must do.
        let begun = Instant::now();
        let error = far.refused().await;
        assert!(error.to_string().contains(&format!(" {len} ")), "{error}");
        assert!(begun.elapsed().is_zero());
        // What more it says is read, so that it can be told why, and forgotten.
        far.say(&vec![b'x'; 3 << 20]).await;
        drop(std::mem::replace(&mut far.socket, duplex(1).0));
        let (end, frames) = far.end().await;
        assert_eq!(CloseReason::from(end), CloseReason::BadFrame(error));
        assert!(frames.is_empty());
    }
}

#[tokio::test]
async fn w_01_the_longest_frame_is_taken_after_the_hello_and_no_longer_one() {
    let mut far = start(4).await;
    far.limit.send_replace(FRAME_LEN_MAX);
    far.say(&frame(FRAME_LEN_MAX)).await;
    assert_eq!(far.next_batch().await[0].len(), FRAME_LEN_MAX);
    far.say(&frame(FRAME_LEN_MAX + 1)[..8]).await;
    let error = far.refused().await;
    assert_eq!(error.to_string(), "a frame of 131073 bytes is over the limit of 131072");
}

#[tokio::test]
async fn w_02_a_link_cut_at_any_byte_gives_what_was_whole_and_says_where_it_ended() {
    let (first, second) = (frame(5), frame(7));
    let both = [&first[..], &second].concat();
    for cut in 0..=both.len() {
        let mut far = start(4).await;
        if cut > 0 {
            far.say(&both[..cut]).await;
        }
        far.socket.shutdown().await.unwrap();
        let (end, frames) = far.end().await;
        let whole = usize::from(cut >= first.len()) + usize::from(cut >= both.len());
        assert_eq!(frames.len(), whole, "cut at {cut}");
        let at_boundary = [0, first.len(), both.len()].contains(&cut);
        assert!(matches!(end, ReadEnd::Closed) == at_boundary, "cut at {cut}: {end}");
        assert!(matches!(end, ReadEnd::EofInFrame) != at_boundary, "cut at {cut}: {end}");
    }
}

#[tokio::test]
async fn w_02_a_cut_within_a_sealed_message_gives_nothing_of_it() {
    let len = start(1).await.sealed(&frame(5)).len();
    for cut in 1..len {
        let mut far = start(4).await;
        let sealed = far.sealed(&frame(5));
        far.socket.write_all(&sealed[..cut]).await.unwrap();
        far.socket.shutdown().await.unwrap();
        let (end, frames) = far.end().await;
        assert!(matches!(end, ReadEnd::EofInFrame), "cut at {cut}: {end}");
        assert!(frames.is_empty());
    }
}

/// Sends one frame a byte at a time and says how long the link lived.
async fn drip(pause: Duration) -> (Duration, ReadEnd) {
    let mut far = start(4).await;
    far.say(&frame(2)).await;
    far.next_batch().await;
    let begun = Instant::now();
    for byte in far.sealed(&frame(4_000)) {
        if far.reader.is_finished() {
            break;
        }
        let _ = far.socket.write_all(&[byte]).await;
        sleep(pause).await;
    }
    (begun.elapsed(), far.reader.await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn w_03_a_frame_that_comes_byte_by_byte_is_given_ten_seconds() {
    let (lived, end) = drip(Duration::from_millis(100)).await;
    assert!(matches!(end, ReadEnd::FrameTimeout), "{end}");
    assert!(lived >= FRAME_TIMEOUT && lived < FRAME_TIMEOUT + Duration::from_secs(1), "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn n_09_a_byte_in_ten_seconds_is_too_slow() {
    let (_, end) = drip(Duration::from_secs(10)).await;
    assert!(matches!(end, ReadEnd::FrameTimeout), "{end}");
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_on_a_slow_line_comes_through_and_the_driver_hears_that_it_is_coming() {
    let mut far = start(64).await;
    far.say(&frame(2)).await;
    assert_eq!(far.next_batch().await.len(), 1);
    far.limit.send_replace(FRAME_LEN_MAX);
    // A third of 64 kbit/s.
    let (begun, large) = (Instant::now(), frame(FRAME_LEN_MAX));
    for part in large.chunks(667) {
        sleep(Duration::from_millis(250)).await;
        far.say(part).await;
    }
    assert!(begun.elapsed() > 4 * FRAME_TIMEOUT);
    let mut told = 0;
    let frames = loop {
        match far.events.recv().await.unwrap() {
            LinkEvent::Input(Input::Receiving(LinkId(1))) => told += 1,
            LinkEvent::Frames { frames, .. } => break frames,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(frames[0].len(), FRAME_LEN_MAX);
    assert!((40..=50).contains(&told), "told {told} times in {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn w_03_each_frame_has_its_own_ten_seconds_and_silence_between_frames_is_free() {
    let mut far = start(4).await;
    far.say(&frame(100)[..50]).await;
    for _ in 0..5 {
        sleep(Duration::from_secs(9)).await;
        // The next frame begins in the moment in which this one is complete.
        far.say(&[&frame(100)[50..], &frame(100)[..50]].concat()).await;
        assert_eq!(far.next_batch().await.len(), 1);
    }
    far.say(&frame(100)[50..]).await;
    assert_eq!(far.next_batch().await.len(), 1);
    sleep(Duration::from_secs(3_600)).await;
    far.say(&frame(100)).await;
    assert_eq!(far.next_batch().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn w_03_time_in_which_the_driver_is_busy_is_not_counted() {
    let mut far = start(1).await;
    far.say(&frame(2)).await;
    // The first batch fills the channel, so the reader waits with the second one.
    sleep(Duration::from_millis(1)).await;
    far.say(&[frame(2), frame(100)[..50].to_vec()].concat()).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(far.next_batch().await.len(), 1);
    assert_eq!(far.next_batch().await.len(), 1);
    sleep(Duration::from_secs(9)).await;
    far.say(&frame(100)[50..]).await;
    assert_eq!(far.next_batch().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_right_behind_the_hello_waits_until_it_is_allowed() {
    let mut far = start(4).await;
    far.say(&[frame(100), frame(100_000)].concat()).await;
    assert_eq!(far.next_batch().await.len(), 1);
    sleep(Duration::from_secs(4)).await;
    far.limit.send_replace(FRAME_LEN_MAX);
    assert_eq!(far.next_batch().await[0].len(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_is_refused_where_the_hello_is_never_done() {
    let mut far = start(4).await;
    far.say(&[frame(100), frame(100_000)].concat()).await;
    let (end, frames) = far.end().await;
    assert_eq!(frames.len(), 1);
    assert_eq!(end.to_string(), "a frame of 100000 bytes is over the limit of 4096");
}

#[tokio::test(start_paused = true)]
async fn w_22_a_flood_of_small_frames_is_slowed_down_and_nothing_of_it_is_lost() {
    let mut far = start(64).await;
    let flood: Vec<u8> = (0..25_000).flat_map(|_| frame(2)).collect();
    far.say(&flood).await;
    let (begun, mut count) = (Instant::now(), 0);
    while count < 25_000 {
        count += far.next_batch().await.len();
    }
    // A second's worth is free, and the last part is given before its pause.
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    far.say(&frame(3)).await;
    assert_eq!(far.next_batch().await[0].len(), 3);
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn w_22_empty_messages_are_not_free() {
    let mut far = start(64).await;
    let mut sealed = BytesMut::new();
    for _ in 0..10_000 {
        far.sealer.seal(b"", &mut sealed);
    }
    far.sealer.seal(&frame(2), &mut sealed);
    let begun = Instant::now();
    far.socket.write_all(&sealed).await.unwrap();
    assert_eq!(far.next_batch().await.len(), 1);
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn bytes_that_the_peer_did_not_seal_end_the_link_and_what_came_before_counts() {
    let mut far = start(4).await;
    let mut sealed = far.sealed(&frame(5));
    let mut damaged = far.sealed(&frame(6));
    *damaged.last_mut().unwrap() ^= 1;
    sealed.extend_from_slice(&damaged);
    far.socket.write_all(&sealed).await.unwrap();
    let (end, frames) = far.end().await;
    assert_eq!(frames.len(), 1);
    assert!(matches!(CloseReason::from(end), CloseReason::Failed(why) if why.starts_with("not_sealed_by_peer")));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_link_gives_its_buffers_back() {
    let (mut reader, (socket, sealer), events, limit) = parts(64).await;
    limit.send_replace(FRAME_LEN_MAX);
    let mut far = Far { socket, sealer, events, limit, reader: tokio::spawn(async { ReadEnd::Closed }) };
    far.say(&vec![frame(60_000); 6].concat()).await;
    let quiet = tokio::time::timeout(Duration::from_secs(2), async { while reader.step().await.is_ok() {} });
    assert!(quiet.await.is_err());
    assert_eq!(far.next_batch().await.len(), 1);
    let held = reader.sealed.capacity() + reader.plain.capacity() + reader.batch.capacity();
    assert!(held <= 2 * READ_LEN_IDLE, "{held}");
    far.say(&frame(60_000)).await;
    reader.step().await.unwrap();
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![4 => 2..600usize, 1 => 2..FRAME_LEN_MAX], 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn frames_come_out_as_they_went_in_however_they_were_cut(
        lengths in lengths(), seals in prop::collection::vec(1..PLAIN_LEN_MAX, 1..8), writes in prop::collection::vec(1..20_000usize, 1..8)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut far = start(2).await;
            far.limit.send_replace(FRAME_LEN_MAX);
            let plain = lengths.iter().flat_map(|len| frame(*len)).collect::<Vec<u8>>();
            let mut sealed = BytesMut::new();
            let mut rest = &plain[..];
            for len in seals.iter().cycle() {
                let (chunk, behind) = rest.split_at((*len).min(rest.len()));
                far.sealer.seal(chunk, &mut sealed);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            let mut socket = std::mem::replace(&mut far.socket, duplex(1).0);
            let write = tokio::spawn(async move {
                for len in writes.iter().cycle() {
                    let len = (*len).min(sealed.len());
                    socket.write_all(&sealed.split_to(len)).await.unwrap();
                    tokio::task::yield_now().await;
                    if sealed.is_empty() {
                        break;
                    }
                }
            });
            let (end, frames) = far.end().await;
            write.await.unwrap();
            assert!(matches!(end, ReadEnd::Closed), "{end}");
            assert_eq!(frames.iter().map(Bytes::len).collect::<Vec<_>>(), lengths);
            for got in frames {
                assert_eq!(got, frame(got.len())[PREFIX_LEN..]);
            }
        });
    }
}
