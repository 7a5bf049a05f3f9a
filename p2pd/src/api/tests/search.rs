//! Looking for words.

use p2p_proto::error::{Code, Error};
use p2p_proto::v1;

use super::kit::Daemon;

async fn search(daemon: &Daemon, request: v1::SearchRequest) -> Result<v1::SearchResponse, Error> {
    Ok(daemon.client().await.chat().search(request).await?.into_inner())
}

fn ask(query: &str, limit: u32) -> v1::SearchRequest {
    v1::SearchRequest { query: query.into(), limit, ..v1::SearchRequest::default() }
}

fn texts(response: &v1::SearchResponse) -> Vec<&str> {
    response.posts.iter().map(|post| post.text.as_str()).collect()
}

#[tokio::test]
async fn posts_that_hold_all_words_come_oldest_first_and_in_pages() {
    let daemon = Daemon::start().await;
    for text in ["Tea at five", "coffee", "more TEA at six", "five teas", "at last"] {
        daemon.arrive(2, "general", &[text]);
    }
    daemon.arrive(2, "kitchen", &["tea at night"]);
    let all = search(&daemon, ask(" AT\ttea ", 0)).await.unwrap();
    assert_eq!(texts(&all), ["Tea at five", "more TEA at six", "tea at night"]);
    assert_eq!((all.next.as_str(), all.searched_us), ("", 0));
    let request = v1::SearchRequest { room: "general".into(), ..ask("tea", 2) };
    let newest = search(&daemon, request.clone()).await.unwrap();
    assert_eq!(texts(&newest), ["more TEA at six", "five teas"]);
    assert_eq!(newest.searched_us, newest.posts[0].time_us);
    let rest = search(&daemon, v1::SearchRequest { page: newest.next, ..request }).await.unwrap();
    assert_eq!((texts(&rest), rest.next.as_str()), (vec!["Tea at five"], ""));
    assert_eq!(search(&daemon, ask("milk", 0)).await.unwrap(), v1::SearchResponse::default());
}

#[tokio::test]
async fn an_answer_ends_behind_a_megabyte_and_says_so() {
    let daemon = Daemon::start().await;
    for _ in 0..200 {
        daemon.arrive(2, "general", &[&"tea ".repeat(4_000)]);
    }
    let mut request = ask("tea", 1_000);
    let (mut found, mut calls) = (0, 0);
    loop {
        let answer = search(&daemon, request.clone()).await.unwrap();
        found += answer.posts.len();
        calls += 1;
        if answer.next.is_empty() {
            break;
        }
        request.page = answer.next;
    }
    assert_eq!((found, calls), (200, 4));
}

#[tokio::test]
async fn searches_that_make_no_sense_are_refused_with_their_numbers() {
    let daemon = Daemon::start().await;
    daemon.arrive(2, "general", &["tea"]);
    daemon.arrive(2, "general", &["tea"]);
    let page = search(&daemon, ask("tea", 1)).await.unwrap().next;
    let cut = page[1..].to_owned();
    let with = |query: &str, page: &str| v1::SearchRequest { page: page.into(), ..ask(query, 1) };
    assert_eq!(search(&daemon, with("TEA", &page)).await.unwrap().posts.len(), 1, "the same search");
    for (request, why) in [
        (ask("", 1), "the query holds no word"),
        (ask(" \n", 1), "the query holds no word"),
        (ask(&"x".repeat(257), 1), "a query of 257 bytes is over the limit of 256"),
        (ask("x", 1_001), "1001 posts were asked for, the limit is 1000"),
        (with("tea", "%%"), "the page is not one that was given out: 2 characters where 86 are needed"),
        (with("tea", &cut), "the page is not one that was given out: 85 characters where 86 are needed"),
        (with("milk", &page), "the page is not one that was given out: it belongs to another search"),
        (with("tea", &page.replace('A', "B")), "the page is not one that was given out"),
    ] {
        let error = search(&daemon, request).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        assert!(error.message.starts_with(why), "{}", error.message);
    }
}
