//! Who gets in, and what a stranger meets.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use p2p_proto::v1::daemon_client::DaemonClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http;
use tonic::transport::Channel;

use super::kit::Daemon;
use crate::api::serve::listen_on_loopback;
use crate::api::{ApiConfig, ApiError, Subscribers, serve};

async fn call(endpoint: &Endpoint, token: Option<&str>) -> Result<(), Error> {
    let client = Client::connect(endpoint, token, Duration::from_secs(10)).await?;
    client.daemon().config(v1::ConfigRequest::default()).await?;
    Ok(())
}

#[tokio::test]
async fn g_11_over_tcp_every_wrong_token_gets_the_same_answer() {
    let daemon = Daemon::start().await;
    let token = daemon.token();
    assert_eq!(call(daemon.tcp(), Some(&token)).await, Ok(()));
    let file = daemon.dir.path().join("api.token");
    let expected = format!("calls over TCP need the token of {}", file.display());
    for wrong in [None, Some(""), Some("wrong"), Some(&token[1..]), Some(&token[..token.len() - 1])] {
        let error = call(daemon.tcp(), wrong).await.unwrap_err();
        assert_eq!((error.code, &error.message), (Code::Unauthenticated, &expected));
    }
    assert_eq!(call(&daemon.endpoints[0], None).await, Ok(()), "the socket needs none");
}

/// A channel that says it calls `origin`.
async fn channel(daemon: &Daemon, origin: Option<&'static str>) -> Channel {
    let mut endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", daemon.tcp())).unwrap();
    if let Some(origin) = origin {
        endpoint = endpoint.origin(http::Uri::from_static(origin));
    }
    endpoint.connect().await.unwrap()
}

async fn call_with(channel: Channel, headers: &[(&'static str, String)]) -> Result<(), tonic::Status> {
    let mut request = tonic::Request::new(v1::ConfigRequest::default());
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    DaemonClient::new(channel).config(request).await.map(|_| ())
}

#[tokio::test]
async fn g_12_calls_under_another_name_and_from_web_pages_are_refused() {
    let daemon = Daemon::start().await;
    let token = ("authorization", format!("Bearer {}", daemon.token()));
    call_with(channel(&daemon, Some("http://localhost:1")).await, std::slice::from_ref(&token)).await.unwrap();

    let evil = channel(&daemon, Some("http://evil.example")).await;
    let status = call_with(evil, std::slice::from_ref(&token)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert_eq!(status.message(), "the call is for \"evil.example\", which is not this machine's loopback");

    let page = [token, ("origin", "http://localhost:3000".to_owned())];
    let status = call_with(channel(&daemon, None).await, &page).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::PermissionDenied, "calls from web pages are refused"));
}

#[tokio::test]
async fn g_03_content_of_other_kinds_is_answered_with_415() {
    let daemon = Daemon::start().await;
    let mut channel = channel(&daemon, None).await;
    for kind in ["application/grpc-web", "text/html"] {
        let request = http::Request::post("/p2p.v1.Daemon/Config").header("content-type", kind);
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let response = channel.call(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
}

#[tokio::test]
async fn g_03_what_does_not_begin_as_http2_is_hung_up_on_and_harms_nobody() {
    let daemon = Daemon::start().await;
    let Endpoint::Tcp(addr) = daemon.tcp() else { panic!("the second endpoint is TCP") };
    for garbage in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0x16; 64], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"]
    {
        let mut unix = UnixStream::connect(daemon.dir.path().join("s")).await.unwrap();
        unix.write_all(garbage).await.unwrap();
        drain(&mut unix).await;
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        drain(&mut tcp).await;
    }
    assert_eq!(call(&daemon.endpoints[0], None).await, Ok(()));
}

/// Until the other side closes.
async fn drain(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes).await {
        Ok(_) => (),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

#[tokio::test]
async fn g_13_an_address_that_others_can_reach_is_refused() {
    for addr in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let error = listen_on_loopback(addr.parse().unwrap()).await.unwrap_err();
        let why = format!("the API has no encryption, so it is served on loopback only, and {addr} is not loopback");
        assert_eq!(error.to_string(), why);
    }
}

#[tokio::test]
async fn h_10_a_second_daemon_at_the_same_socket_is_refused_and_the_first_goes_on() {
    let daemon = Daemon::start().await;
    let path = daemon.dir.path().join("s");
    let other = daemon.dir.path().join("other");
    let endpoints = vec![Endpoint::Unix(other.clone()), Endpoint::Unix(path.clone())];
    let config =
        ApiConfig { endpoints, group: None, token_file: daemon.dir.path().join("t"), orders: mpsc::channel(1).0 };
    let (requests, _receiver) = mpsc::channel(1);
    let facts = super::kit::facts();
    let stop = CancellationToken::new();
    let error = serve(config, requests, Subscribers::new(1), facts, stop).await.unwrap_err();
    assert!(matches!(&error, ApiError::InUse(Endpoint::Unix(named)) if *named == path), "{error}");
    assert!(!other.exists(), "what was opened before the failure is closed again");
    assert!(!daemon.dir.path().join("t").exists(), "no token without TCP");
    assert_eq!(call(&daemon.endpoints[0], None).await, Ok(()));
}

#[tokio::test]
async fn the_ports_that_the_system_chose_are_told() {
    let daemon = Daemon::start().await;
    let Endpoint::Tcp(addr) = daemon.tcp() else { panic!("the second endpoint is TCP") };
    assert_ne!(addr.port(), 0);
    let status = daemon.client().await.mesh().status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.api[1], addr.to_string());
}

/// Run under each umask by the test below.
#[tokio::test]
async fn modes_are_as_promised_under_this_umask() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = dir.path().join("run/p2pd.sock");
    let tcp = Endpoint::Tcp(([127, 0, 0, 1], 0).into());
    let token_file = dir.path().join("api.token");
    let endpoints = vec![Endpoint::Unix(path.clone()), tcp];
    let config = ApiConfig { endpoints, group: None, token_file: token_file.clone(), orders: mpsc::channel(1).0 };
    let (requests, _receiver) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let served = serve(config, requests, Subscribers::new(1), super::kit::facts(), stop.clone()).await.unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.path().join("run")), 0o700);
    assert_eq!(mode(path), 0o600);
    assert_eq!(mode(token_file), 0o600);
    stop.cancel();
    served.task.await.unwrap();
}

#[test]
fn p_11_modes_are_as_promised_whatever_the_umask() {
    // The umask belongs to the whole process, so each one gets a process of its own.
    let this = std::env::current_exe().unwrap();
    for umask in ["000", "022", "077", "177"] {
        let script =
            format!("umask {umask}; exec \"$0\" --exact api::tests::access::modes_are_as_promised_under_this_umask");
        let output = Command::new("sh").arg("-c").arg(script).arg(&this).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "umask {umask}: {text}");
    }
}

#[tokio::test]
async fn reflection_tells_every_service() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

    let daemon = Daemon::start().await;
    let uri = format!("unix://{}", daemon.dir.path().join("s").display());
    let channel = tonic::transport::Endpoint::from_shared(uri).unwrap().connect().await.unwrap();
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([request]);
    let mut answers = ServerReflectionClient::new(channel).server_reflection_info(requests).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("a list was asked for") };
    let mut names: Vec<_> = list.service.into_iter().map(|ServiceResponse { name }| name).collect();
    names.sort();
    for name in ["grpc.health.v1.Health", "p2p.v1.Chat", "p2p.v1.Daemon", "p2p.v1.Mesh"] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
}
