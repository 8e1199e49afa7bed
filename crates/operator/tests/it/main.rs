//! The loop over a server and a driver that do as they are told: what fails, hangs, is lost or is found.

mod server;
mod stage;

use std::{sync::Arc, time::Duration};

use tidewire_core::Clock;
use tidewire_operator::{Operator, Settings, Template};
use tidewire_testkit::eventually;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use server::Server;
use stage::Stage;

const PATIENCE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(600);

/// An operator that runs. It is dropped where it stands, as if it were killed, when this is.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(server: &Server, stage: &Arc<Stage>) -> Self {
        let settings = Settings {
            // Renewed each tenth of a second.
            lease: Duration::from_millis(300),
            grace: Duration::from_secs(1),
            drain: LONG,
            ..Settings::default()
        };
        let operator = Operator::new(
            server.client(),
            Arc::clone(stage),
            settings,
            Clock::system(),
        );
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { operator.run(stopped).await });
        Running { stop, task }
    }

    async fn ended(mut self) {
        self.stop.cancel();
        let ended = timeout(PATIENCE, &mut self.task).await;
        ended.expect("it ends").expect("it does not panic");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn template() -> Template {
    Template {
        agent: None,
        tenant: None,
        idle_timeout: LONG,
        warm: 0,
        most: None,
        drain: LONG,
    }
}

async fn has_instance(stage: &Stage, thread: &str) -> String {
    eventually(&format!("an instance of {thread}"), async || {
        stage.instance_of(thread)
    })
    .await
}

#[tokio::test]
async fn a_start_that_fails_gives_its_lease_back_and_is_tried_again() {
    let server = Server::start().await;
    let stage = Stage::new(template());
    stage.fail_starts(1);
    let _operator = Running::start(&server, &stage);
    server.turn("one");
    let name = has_instance(&stage, "one").await;
    assert_eq!(server.holders(), [name]);
    assert_eq!(server.made(), 2);
}

#[tokio::test]
async fn a_call_that_hangs_holds_up_its_own_thread_alone() {
    let server = Server::start().await;
    let stage = Stage::new(template());
    stage.hang_on("stuck");
    let _operator = Running::start(&server, &stage);
    server.turn("stuck");
    eventually("it is being started", async || {
        (stage.starts() == 1).then_some(())
    })
    .await;
    for thread in ["one", "two"] {
        server.turn(thread);
        has_instance(&stage, thread).await;
    }
    let before = server.renewals();
    eventually("leases are renewed", async || {
        // That of the one that hangs too.
        (server.renewals() > before + 9).then_some(())
    })
    .await;
    assert_eq!(server.made(), 3);
}

#[tokio::test]
async fn while_the_server_is_away_everything_stays_as_it_is() {
    let server = Server::start().await;
    let stage = Stage::new(Template {
        idle_timeout: Duration::from_millis(200),
        ..template()
    });
    let _operator = Running::start(&server, &stage);
    server.turn("one");
    let name = has_instance(&stage, "one").await;
    server.leave();
    server.end("one");
    eventually("it was asked in vain for a while", async || {
        (server.refused() > 4).then_some(())
    })
    .await;
    assert_eq!(stage.instance_of("one"), Some(name));
    server.come_back();
    eventually("the idle one goes", async || {
        stage.instance_of("one").is_none().then_some(())
    })
    .await;
    assert_eq!(server.holders(), Vec::<String>::new());
}

#[tokio::test]
async fn what_another_operator_started_is_found_and_kept() {
    let server = Server::start().await;
    let stage = Stage::new(Template {
        warm: 1,
        ..template()
    });
    let first = Running::start(&server, &stage);
    server.turn("one");
    server.turn("two");
    let (one, two) = (
        has_instance(&stage, "one").await,
        has_instance(&stage, "two").await,
    );
    eventually("one is warm", async || stage.warm()).await;
    first.ended().await;
    assert!(
        stage.instance_of("one").is_some(),
        "it outlives its operator"
    );

    // While nobody looks, the lease of one is lost, and the warm one is half bound.
    server.forget(&one);
    let warm = stage.warm().expect("it is still there");
    server.turn("three");
    server.bind(&warm, "three");
    let starts = stage.starts();
    let _second = Running::start(&server, &stage);
    assert_eq!(has_instance(&stage, "three").await, warm);
    eventually("the one without a lease is replaced", async || {
        let now = stage.instance_of("one")?;
        (now != one).then_some(())
    })
    .await;
    assert_eq!(stage.instance_of("two"), Some(two));
    // For the thread that lost its own, and for the pool.
    eventually("two are started", async || {
        (stage.starts() == starts + 2).then_some(())
    })
    .await;
    eventually("each has its lease", async || {
        (server.holders() == stage.names()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_threads_cost_few_requests() {
    let server = Server::start().await;
    let stage = Stage::new(template());
    for n in 0..300 {
        server.turn(&format!("thread-{n}"));
    }
    let _operator = Running::start(&server, &stage);
    eventually("all have instances", async || {
        (stage.names().len() == 300).then_some(())
    })
    .await;
    assert!(server.requests() < 30, "{}", server.requests());
    assert_eq!(server.made(), 300);
}

#[tokio::test]
async fn one_that_is_refused_keeps_no_other_from_its_lease() {
    let server = Server::start().await;
    let stage = Stage::new(template());
    for thread in ["one", "bad", "two"] {
        server.turn(thread);
    }
    let _operator = Running::start(&server, &stage);
    for thread in ["one", "two"] {
        has_instance(&stage, thread).await;
    }
    assert_eq!(stage.instance_of("bad"), None);
}

#[tokio::test]
async fn instances_that_do_not_outlive_their_operator_go_with_it_when_their_turns_are_over() {
    let server = Server::start().await;
    let stage = Stage::new(template());
    stage.goes_with_its_operator();
    let operator = Running::start(&server, &stage);
    for thread in ["one", "two"] {
        server.turn(thread);
        has_instance(&stage, thread).await;
    }
    server.end("one");
    let stop = operator.stop.clone();
    stop.cancel();
    eventually("the idle one goes", async || {
        stage.instance_of("one").is_none().then_some(())
    })
    .await;
    assert!(stage.instance_of("two").is_some(), "it has a turn");
    server.end("two");
    operator.ended().await;
    assert_eq!(stage.names(), Vec::<String>::new());
    assert_eq!(server.holders(), Vec::<String>::new());
}
