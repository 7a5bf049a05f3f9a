//! Saying things.

use p2p_mesh::limits::OUTBOX_BYTES_MAX;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use p2p_proto::v1::send_result::Result as Sent;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::kit::{Daemon, OWN, guarded, id, say};

async fn send(daemon: &Daemon, post: v1::Outgoing) -> Result<v1::SendResponse, Error> {
    let request = v1::SendRequest { post: Some(post) };
    Ok(daemon.client().await.chat().send(request).await?.into_inner())
}

/// A stream of posts, and its answers.
async fn open(daemon: &Daemon) -> (mpsc::Sender<v1::SendStreamRequest>, Streaming<v1::SendStreamResponse>) {
    let (requests, receiver) = mpsc::channel(64);
    let answers = daemon.client().await.chat().send_stream(ReceiverStream::new(receiver)).await.unwrap();
    (requests, answers.into_inner())
}

fn request(texts: &[&str]) -> v1::SendStreamRequest {
    v1::SendStreamRequest { posts: texts.iter().map(|text| say(text)).collect() }
}

/// Every result until the end: a sequence number, or the code of a failure.
async fn results(answers: &mut Streaming<v1::SendStreamResponse>) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    while let Some(answer) = guarded(answers.message()).await? {
        all.extend(answer.results.into_iter().map(|result| name(result.result.unwrap())));
    }
    Ok(all)
}

fn name(result: Sent) -> String {
    match result {
        Sent::Sent(sent) => sent.id.unwrap().seq.to_string(),
        Sent::Failed(failure) => failure.code,
    }
}

#[tokio::test]
async fn a_post_without_a_room_goes_to_the_default_room() {
    let daemon = Daemon::start().await;
    let re = v1::PostId { author: id(2).to_string(), epoch: 3, seq: 4 };
    let sent = send(&daemon, v1::Outgoing { re: Some(re.clone()), ..say("hello") }).await.unwrap();
    let id = v1::PostId { author: id(OWN).to_string(), epoch: 7, seq: 1 };
    assert_eq!((sent.id, sent.offset, sent.repeated), (Some(id), 1, false));
    let post = daemon.world.lock().posts(daemon.subscribers.names()).remove(0);
    assert_eq!((post.room.as_str(), post.text.as_str(), post.re), ("lobby", "hello", Some(re)));
    assert_eq!(post.time_us, sent.time_us);
}

#[tokio::test]
async fn g_06_the_same_key_with_the_same_content_is_one_message() {
    let daemon = Daemon::start().await;
    let post = v1::Outgoing { key: "k".into(), ..say("once") };
    let first = send(&daemon, post.clone()).await.unwrap();
    let again = send(&daemon, post).await.unwrap();
    assert_eq!(again, v1::SendResponse { repeated: true, ..first });
    assert_eq!(daemon.world.lock().entries.len(), 1);
}

#[tokio::test]
async fn g_07_the_same_key_with_other_content_already_exists() {
    let daemon = Daemon::start().await;
    send(&daemon, v1::Outgoing { key: "k".into(), ..say("once") }).await.unwrap();
    let request = v1::SendRequest { post: Some(v1::Outgoing { key: "k".into(), ..say("twice") }) };
    let status = daemon.client().await.chat().send(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::AlreadyExists);
    let error = Error::from(status);
    let used = format!("{}-7-1", id(OWN).short());
    assert_eq!(
        (error.code, error.message),
        (Code::KeyReused, format!("the key \"k\" was used for another message, {used}"))
    );
    assert!(!error.hint.is_empty());
}

#[tokio::test]
async fn g_01_a_text_over_the_limit_is_refused_with_both_numbers() {
    let daemon = Daemon::start().await;
    let request = v1::SendRequest { post: Some(say(&"x".repeat(16_385))) };
    let status = daemon.client().await.chat().send(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let error = Error::from(status);
    assert_eq!(error.message, "the text has 16385 bytes, the limit is 16384");
    assert_eq!(error.hint, "send it in parts of at most 16384 bytes");
}

#[tokio::test]
async fn g_01_a_request_over_the_limit_is_refused_with_both_numbers() {
    let daemon = Daemon::start().await;
    let huge = say(&"x".repeat(5 << 20));
    let expected = "the request has 5242890 bytes, the limit is 4194304";
    let request = v1::SendRequest { post: Some(huge.clone()) };
    let status = daemon.client().await.chat().send(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::ResourceExhausted, expected));
    assert_eq!(Error::from(status).code, Code::TooLarge);

    let (requests, mut answers) = open(&daemon).await;
    requests.send(request_of(vec![say("fine")])).await.unwrap();
    requests.send(request_of(vec![huge])).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.results.len(), 1, "what came before is answered");
    let error = Error::from(answers.message().await.unwrap_err());
    assert_eq!((error.code, error.message.as_str()), (Code::TooLarge, expected));
}

fn request_of(posts: Vec<v1::Outgoing>) -> v1::SendStreamRequest {
    v1::SendStreamRequest { posts }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let daemon = Daemon::start().await;
    let error = daemon.client().await.chat().send(v1::SendRequest::default()).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (tonic::Code::InvalidArgument, "the request holds no post"));
    let re = v1::PostId { author: "x".into(), ..v1::PostId::default() };
    let error = send(&daemon, v1::Outgoing { re: Some(re), ..say("hi") }).await.unwrap_err();
    assert_eq!(error.message, "\"x\" is no peer id: 1 characters where 52 are needed");
    let re = v1::PostId { author: id(2).to_string(), epoch: 1 << 53, seq: 1 };
    let error = send(&daemon, v1::Outgoing { re: Some(re), ..say("hi") }).await.unwrap_err();
    assert_eq!(error.message, "epoch 9007199254740992 of the answered post is over the limit of 2^53 - 1");
    assert!(daemon.world.lock().entries.is_empty());
}

#[tokio::test]
async fn a_stream_answers_each_item_in_order_and_outlives_failures() {
    let daemon = Daemon::start().await;
    let (requests, mut answers) = open(&daemon).await;
    let re = v1::PostId { author: "nobody".into(), ..v1::PostId::default() };
    let odd = v1::Outgoing { re: Some(re), ..say("b") };
    let lost = v1::Outgoing { room: "no room".into(), ..say("c") };
    requests.send(request_of(vec![say("a"), odd, lost, say("")])).await.unwrap();
    requests.send(request(&[])).await.unwrap();
    requests.send(request(&["d", "e"])).await.unwrap();
    drop(requests);
    let results = results(&mut answers).await.unwrap();
    assert_eq!(results, ["1", "INVALID_ARGUMENT", "ROOM_INVALID", "TEXT_EMPTY", "2", "3"]);
}

#[tokio::test]
async fn a_stream_hands_requests_on_before_earlier_ones_are_answered() {
    let daemon = Daemon::start().await;
    daemon.world.lock().holds = true;
    let (requests, mut answers) = open(&daemon).await;
    for text in ["a", "b", "c"] {
        requests.send(request(&[text])).await.unwrap();
    }
    drop(requests);
    let read = tokio::spawn(async move { results(&mut answers).await });
    daemon.world.until(|world| world.held.len() == 3).await;
    {
        let mut world = daemon.world.lock();
        let held = std::mem::take(&mut world.held);
        let (drafts, replies): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        let results: Vec<_> = drafts.into_iter().map(|drafts| world.publish(drafts).1).collect();
        // Answered from the last to the first: the client's order stays what it was.
        for (results, reply) in results.into_iter().zip(replies).rev() {
            reply.send(results).unwrap();
        }
    }
    assert_eq!(read.await.unwrap().unwrap(), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_request_with_too_many_items_fails_item_by_item_and_the_stream_goes_on() {
    let daemon = Daemon::start().await;
    let (requests, mut answers) = open(&daemon).await;
    requests.send(request(&["x"; 4_097])).await.unwrap();
    requests.send(request(&["fine"])).await.unwrap();
    drop(requests);
    let results = results(&mut answers).await.unwrap();
    assert_eq!(results.len(), 4_098);
    assert!(results[..4_097].iter().all(|result| result == "TOO_LARGE"));
    assert_eq!(results[4_097], "1");
}

#[tokio::test]
async fn senders_together_wait_for_room_instead_of_being_refused() {
    let daemon = Daemon::start().await;
    daemon.world.lock().holds = true;
    let long = "x".repeat(16_000);
    let reads = (0..3).map(async |_| {
        let (requests, mut answers) = open(&daemon).await;
        for _ in 0..4 {
            requests.send(request(&[long.as_str(); 60])).await.unwrap();
        }
        drop(requests);
        results(&mut answers).await
    });
    let reads = futures_util::future::join_all(reads);
    let answer_all = async {
        let mut peak = 0;
        for _ in 0..12 {
            daemon.world.until(|world| !world.held.is_empty()).await;
            let mut world = daemon.world.lock();
            let held: usize = world.held.iter().flat_map(|(drafts, _)| drafts).map(|draft| draft.text.len()).sum();
            peak = peak.max(held);
            let (drafts, reply) = world.held.remove(0);
            let results = world.publish(drafts).1;
            reply.send(results).unwrap();
        }
        peak
    };
    let (reads, peak) = tokio::join!(reads, answer_all);
    assert!(peak <= OUTBOX_BYTES_MAX / 2, "{peak} bytes waited at the driver");
    for read in reads {
        let read = read.unwrap();
        assert_eq!(read.len(), 240);
        assert!(read.iter().all(|result| result.parse::<u64>().is_ok()));
    }
}
