use std::{fs, path::Path};

use tempfile::TempDir;
use tidewire_testkit::eventually;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn settings(command: &str) -> LocalSettings {
    LocalSettings {
        agents: vec![LocalAgent {
            agent: Some("a".into()),
            command: command.to_owned(),
        }],
        gateway: "http://127.0.0.1:8080".to_owned(),
        idle_timeout: LONG,
        warm: 0,
        drain: LONG,
        installation: format!("test of {}", std::process::id()),
        private: vec!["HOME".to_owned()],
    }
}

fn local(command: &str) -> Local {
    Local::new(settings(command), Clock::system())
}

fn start(name: &str) -> Start {
    Start {
        name: name.into(),
        tenant: "t".into(),
        agent: Some("a".into()),
        thread: Some("one".into()),
        api_key: "hunter2".to_owned(),
    }
}

async fn phase(local: &Local) -> Option<Phase> {
    let instances = local.instances().await.unwrap();
    instances.into_iter().next().map(|it| it.phase)
}

async fn gone(local: &Local) {
    eventually("it is gone", async || {
        phase(local).await.is_none().then_some(())
    })
    .await;
}

async fn written(file: &Path) -> String {
    eventually("the file is written", async || {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.ends_with('\n').then_some(text)
    })
    .await
}

/// Whether nobody has this id any more, or nobody who could be asked after.
fn is_dead(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn an_instance_finds_its_key_and_its_thread_and_nothing_private() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("env");
    let local = local(&format!(
        "env > {0}.all; echo >> {0}.all; mv {0}.all {0}; exec sleep 60",
        file.display()
    ));
    local.start(start("i-1")).await.unwrap();
    let text = written(&file).await;
    let has = |line: &str| text.lines().any(|it| it == line);
    for line in [
        "TIDEWIRE_API_KEY=hunter2",
        "TIDEWIRE_AGENT=a",
        "TIDEWIRE_THREAD=one",
        "TIDEWIRE_INSTANCE=i-1",
        "TIDEWIRE_GATEWAY=http://127.0.0.1:8080",
        "EVENT_GATEWAY_URL=http://127.0.0.1:8080",
    ] {
        assert!(has(line), "{line}: {text}");
    }
    let names = |name: &str| text.lines().any(|it| it.split('=').next() == Some(name));
    assert!(names("PATH") && !names("HOME") && !names("TIDEWIRE_TENANT"));
}

#[tokio::test]
async fn one_that_is_told_to_stop_stops_with_all_that_it_has_started() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ids");
    let local = local(&format!(
        "sleep 60 & echo $! > {0}.all; mv {0}.all {0}; wait",
        file.display()
    ));
    local.start(start("i-1")).await.unwrap();
    let child = written(&file).await;
    assert_eq!(phase(&local).await, Some(Phase::Ready));
    // A second start of the same one is none.
    local.start(start("i-1")).await.unwrap();
    local.stop("i-1", StopHow::Within(LONG)).await.unwrap();
    gone(&local).await;
    eventually("its child is dead", async || is_dead(&child).then_some(())).await;
    local.stop("i-1", StopHow::Within(LONG)).await.unwrap();
}

#[tokio::test]
async fn one_that_does_not_stop_is_killed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ready");
    let shell = format!(
        "trap '' TERM; echo > {}; while :; do sleep 1; done",
        file.display()
    );
    let local = local(&shell);
    local.start(start("i-1")).await.unwrap();
    written(&file).await;
    let short = Duration::from_millis(50);
    local.stop("i-1", StopHow::Within(short)).await.unwrap();
    assert_eq!(phase(&local).await, Some(Phase::Stopping));
    gone(&local).await;
    local.start(start("i-2")).await.unwrap();
    local.stop("i-2", StopHow::AtOnce).await.unwrap();
    gone(&local).await;
}

#[tokio::test]
async fn one_that_ends_by_itself_has_failed_and_says_why() {
    for (shell, why) in [
        ("echo no model >&2; exit 3", "ended with status 3: no model"),
        ("exit 0", "ended with status 0"),
        ("kill -9 $$", "killed by signal 9"),
    ] {
        let local = local(shell);
        local.start(start("i-1")).await.unwrap();
        let failed = eventually("it has ended", async || match phase(&local).await {
            Some(Phase::Failed(why)) => Some(why),
            _ => None,
        })
        .await;
        assert_eq!(failed, why);
        local.stop("i-1", StopHow::AtOnce).await.unwrap();
        assert_eq!(phase(&local).await, None);
    }
}

#[tokio::test]
async fn an_agent_without_a_command_is_refused() {
    let other = Start {
        agent: None,
        ..start("i-1")
    };
    let refused = local("true").start(other).await.unwrap_err();
    assert!(matches!(refused, DriverError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn what_another_process_left_behind_shows_as_failed_and_is_cleared_away() {
    let local = local("exec sleep 60");
    // As one of a process that was killed: its mark is of a time at which there was none.
    let mut orphan = local.command(&start("i-old"), "sleep 60 & wait");
    let mark = local.inner.mark.of("t");
    let mut parts: Vec<_> = mark.split(':').collect();
    parts[2] = "1";
    let mut orphan = orphan
        .env(leftovers::MARK, parts.join(":"))
        .spawn()
        .unwrap();
    let now = Clock::system().now();
    eventually("it is found", async || {
        let found = leftovers::find(&local.inner.mark, now);
        (!found.is_empty()).then_some(())
    })
    .await;
    // One that runs has its own, and leaves them alone.
    local.start(start("i-1")).await.unwrap();
    let next = Local::new(settings("true"), Clock::system());
    let found = next.instances().await.unwrap();
    let [left] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&*left.name, &*left.tenant), ("i-old", "t"));
    assert_eq!(left.thread.as_deref(), Some("one"));
    assert!(matches!(left.phase, Phase::Failed(_)));
    next.stop("i-old", StopHow::AtOnce).await.unwrap();
    assert_eq!(next.instances().await.unwrap(), []);
    let ended = timeout(LONG, orphan.wait()).await.unwrap().unwrap();
    assert!(!ended.success());
    assert_eq!(phase(&local).await, Some(Phase::Ready));
}

#[tokio::test]
async fn instances_go_with_their_driver() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("id");
    let local = local(&format!(
        "echo $$ > {0}.all; mv {0}.all {0}; exec sleep 60",
        file.display()
    ));
    local.start(start("i-1")).await.unwrap();
    let id = written(&file).await;
    drop(local);
    eventually("it is dead", async || is_dead(&id).then_some(())).await;
}
