#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::link::secure::tests::pair;
use crate::link::secure::{MESSAGE_PREFIX_LEN, Opener, split_message};

/// The far end of a link that is being written.
struct Far {
    socket: DuplexStream,
    opener: Opener,
    frames: mpsc::Sender<Bytes>,
    events: mpsc::Receiver<LinkEvent>,
}

async fn parts(socket_bytes: usize) -> (Writer<DuplexStream>, Far) {
    let (dialing, accepting) = pair().await;
    let (near, socket) = duplex(socket_bytes);
    let (events_in, events) = mpsc::channel(1_024);
    let (frames_in, frames) = mpsc::channel(8_192);
    let writer = Writer::new(LinkId(1), near, dialing.sealer, frames, events_in);
    (writer, Far { socket, opener: accepting.opener, frames: frames_in, events })
}

async fn start(socket_bytes: usize) -> (JoinHandle<Result<(), WriteError>>, Far) {
    let (writer, far) = parts(socket_bytes).await;
    (tokio::spawn(writer.run()), far)
}

impl Far {
    fn send(&self, len: usize) {
        self.frames.try_send(vec![7; len].into()).unwrap();
    }

    /// Everything until the end: the bytes in it, the Noise messages it took, and the reports.
    async fn end(mut self) -> (usize, usize, Vec<usize>) {
        drop(self.frames);
        let mut sealed = Vec::new();
        self.socket.read_to_end(&mut sealed).await.unwrap();
        let (mut rest, mut plain, mut messages) = (&sealed[..], BytesMut::new(), 0);
        while let Some(message) = split_message(rest) {
            self.opener.open(message, &mut plain).unwrap();
            rest = &rest[MESSAGE_PREFIX_LEN + message.len()..];
            messages += 1;
        }
        assert!(rest.is_empty());
        assert!(plain.iter().all(|byte| *byte == 7));
        let mut written = Vec::new();
        while let Some(event) = self.events.recv().await {
            match event {
                LinkEvent::Input(Input::Written { link: LinkId(1), bytes }) => written.push(bytes),
                other => panic!("{other:?}"),
            }
        }
        (plain.len(), messages, written)
    }
}

#[tokio::test]
async fn all_that_waits_goes_out_at_once_and_is_reported_at_once() {
    let (writer, far) = parts(1 << 20).await;
    for _ in 0..1_000 {
        far.send(60);
    }
    let writer = tokio::spawn(writer.run());
    assert_eq!(far.end().await, (60_000, 1, vec![60_000]));
    writer.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_larger_than_a_message_is_cut_and_every_byte_is_reported_once() {
    let (writer, far) = parts(1 << 20).await;
    for len in [131_076, 1, 65_519, 65_520, 3] {
        far.send(len);
    }
    let writer = tokio::spawn(writer.run());
    let (bytes, messages, written) = far.end().await;
    assert_eq!(bytes, 131_076 + 1 + 65_519 + 65_520 + 3);
    assert_eq!(messages, bytes.div_ceil(PLAIN_LEN_MAX));
    assert_eq!(written.iter().sum::<usize>(), bytes);
    writer.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_that_takes_no_byte_is_given_up_after_thirty_seconds() {
    let (writer, far) = start(1_000).await;
    far.send(10_000);
    let begun = Instant::now();
    assert!(matches!(writer.await.unwrap(), Err(WriteError::Stalled)));
    assert_eq!(begun.elapsed().as_secs(), WRITE_STALL_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_link_that_takes_a_little_now_and_then_is_kept() {
    let (writer, mut far) = start(1_000).await;
    far.send(10_000);
    for _ in 0..9 {
        sleep(WRITE_STALL_TIMEOUT - Duration::from_secs(1)).await;
        assert!(!writer.is_finished());
        far.socket.read_exact(&mut [0; 1_000]).await.unwrap();
    }
    far.socket.read_exact(&mut [0; 1_018]).await.unwrap();
    drop(far.frames);
    writer.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broken_socket_is_told() {
    let (writer, far) = start(1_000).await;
    drop(far.socket);
    far.frames.try_send(Bytes::from_static(b"frame")).unwrap();
    assert!(matches!(writer.await.unwrap(), Err(WriteError::Socket(_))));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_link_gives_its_buffers_back() {
    let (mut writer, far) = parts(1 << 20).await;
    far.send(100_000);
    assert_eq!(writer.gather().await, 1);
    writer.quiet = false;
    for mut frame in std::mem::take(&mut writer.batch) {
        writer.append(&mut frame).await.unwrap();
    }
    writer.flush().await.unwrap();
    assert!(writer.sealed.capacity() > 60_000);
    assert!(timeout(Duration::from_secs(2), writer.gather()).await.is_err());
    assert_eq!(writer.batch.capacity() + writer.plain.capacity() + writer.sealed.capacity(), 0);
}
