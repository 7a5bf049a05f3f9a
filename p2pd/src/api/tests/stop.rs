//! The end of a daemon.

use futures_util::future::join_all;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use p2p_proto::v1::send_result::Result as Sent;
use tokio_stream::wrappers::ReceiverStream;

use super::kit::{Daemon, say};

#[tokio::test]
async fn g_15_at_a_stop_sends_are_stored_or_refused_and_watches_end_with_a_status() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let mut watches = Vec::new();
    for _ in 0..50 {
        watches.push(client.chat().watch(v1::WatchRequest::default()).await.unwrap().into_inner());
    }
    let mut statuses = client.mesh().watch_status(v1::StatusRequest {}).await.unwrap().into_inner();
    let sends = (0..100).map(|n| {
        let mut chat = client.chat();
        tokio::spawn(async move { chat.send(v1::SendRequest { post: Some(say(&n.to_string())) }).await })
    });
    let sends: Vec<_> = sends.collect();
    daemon.world.until(|world| world.entries.len() >= 10).await;
    daemon.stop.cancel();
    daemon.end_driver();

    let mut stored = 0;
    for sent in join_all(sends).await {
        match sent.unwrap() {
            Ok(_) => stored += 1,
            Err(status) => {
                // A call that found the connection on its way out has the library's word for it.
                let code = Error::from(status).code;
                assert!(matches!(code, Code::Stopping | Code::Unreachable), "{code}");
            }
        }
    }
    assert!(stored <= daemon.world.lock().entries.len(), "what was acknowledged is in the log");
    for mut watch in watches {
        let error = loop {
            match watch.message().await {
                Ok(Some(_)) => (),
                Ok(None) => panic!("a watch ended without a status"),
                Err(status) => break Error::from(status),
            }
        };
        assert_eq!((error.code, error.message.as_str()), (Code::Stopping, "the daemon is stopping"));
    }
    while let Ok(Some(_)) = statuses.message().await {}
}

#[tokio::test]
async fn g_15_items_that_were_not_acknowledged_are_told_that_the_daemon_stops() {
    let daemon = Daemon::start().await;
    daemon.world.lock().holds = true;
    let (requests, receiver) = tokio::sync::mpsc::channel(8);
    let answers = daemon.client().await.chat().send_stream(ReceiverStream::new(receiver)).await.unwrap();
    let mut answers = answers.into_inner();
    let request = v1::SendStreamRequest { posts: vec![say("a"), say("b")] };
    requests.send(request).await.unwrap();
    let read = tokio::spawn(async move {
        let answer = answers.message().await.unwrap().unwrap();
        (answer, answers.message().await.unwrap_err())
    });
    daemon.world.until(|world| world.held.len() == 1).await;
    daemon.stop.cancel();
    daemon.end_driver();
    let (answer, end) = read.await.unwrap();
    assert_eq!(answer.results.len(), 2);
    for result in answer.results {
        let Some(Sent::Failed(failure)) = result.result else { panic!("nothing was acknowledged") };
        assert_eq!((failure.code.as_str(), failure.retryable), ("STOPPING", true));
    }
    assert_eq!(Error::from(end).code, Code::Stopping);
}

#[tokio::test]
async fn the_task_ends_and_the_socket_is_gone() {
    let mut daemon = Daemon::start().await;
    let mut watch = daemon.client().await.chat().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    daemon.stop.cancel();
    while watch.message().await.is_ok() {}
    drop(watch);
    (&mut daemon.task).await.unwrap();
    assert!(!daemon.dir.path().join("s").exists());
}

#[tokio::test]
async fn stop_is_answered_before_the_daemon_goes() {
    let daemon = Daemon::start().await;
    daemon.client().await.daemon().stop(v1::StopRequest {}).await.unwrap();
    daemon.world.until(|world| world.stops == 1).await;
}
