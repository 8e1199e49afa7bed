//! A proxy in the environment would dial for us, behind the policy's back.

use std::process::Command;

use crate::house::*;

const NAME: &str = "proxies::as_a_child_with_proxies_around";
const URL: &str = "OUTBOUND_TEST_URL";

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let sink = Sink::always(with_length("200 OK", "direct")).await;
    let proxy = Sink::always(with_length("200 OK", "by proxy")).await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", NAME, "--ignored"])
        .env(URL, sink.url("/"));
    for variable in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        child.env(variable, proxy.url(""));
    }
    child
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env_remove("REQUEST_METHOD");
    let output = tokio::task::spawn_blocking(move || child.output())
        .await
        .unwrap()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((sink.connections(), proxy.connections()), (1, 0));
}

#[tokio::test]
#[ignore = "a part of the test above, which runs it in a process of its own"]
async fn as_a_child_with_proxies_around() {
    let url = std::env::var(URL).unwrap();
    let answer = fetch(&local_client(), &url).await.unwrap();
    assert_eq!(answer.body, "direct");
}
