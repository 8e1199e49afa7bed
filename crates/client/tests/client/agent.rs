//! The agent against a small gateway, over real connections.

mod gateway;

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tidewire_client::{Agent, Failure, NewThreadEvent, Sink, Turn, agent, worker};
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::support::Server;
use gateway::{Fault, Gateway, Kept};

/// Far longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(30);

struct Running {
    gateway: Gateway,
    stop: oneshot::Sender<()>,
    agent: JoinHandle<tidewire_client::Result<worker::Report>>,
    _server: Server,
}

impl Running {
    async fn start<F, Fut>(gateway: &Gateway, handle: F) -> Self
    where
        F: Fn(Turn, Sink) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        Self::start_with(gateway, |agent| agent, handle).await
    }

    async fn start_with<F, Fut>(
        gateway: &Gateway,
        with: impl FnOnce(agent::Builder) -> agent::Builder,
        handle: F,
    ) -> Self
    where
        F: Fn(Turn, Sink) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        let server = gateway.serve().await;
        let agent = with(Agent::builder(server.client()).name("a-0")).build(handle);
        let (stop, stopped) = oneshot::channel();
        Running {
            gateway: gateway.clone(),
            stop,
            agent: tokio::spawn(agent.run(async { drop(stopped.await) })),
            _server: server,
        }
    }

    /// Stops the agent once the turn's job has ended.
    async fn ended(self) -> (worker::Report, (String, Value)) {
        let end = self.gateway.end().await;
        (self.stop().await, end)
    }

    async fn stop(self) -> worker::Report {
        drop(self.stop);
        let report = timeout(HANG, self.agent).await;
        report.expect("the agent does not stop").unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_turn_is_answered_in_order_and_ends_with_its_output() {
    let gateway = Gateway::new();
    let running = Running::start(&gateway, |turn: Turn, sink: Sink| async move {
        assert_eq!((turn.thread_id(), turn.id(), turn.attempt()), ("t", "u", 2));
        assert_eq!(turn.text(), "hi");
        let call = sink.tool_call("count").await?;
        call.args("{}").await?;
        call.complete(&2).await?;
        let mut message = sink.message();
        message.delta("a ").await?;
        message.delta("b").await?;
        Ok(json!(message.complete().await?))
    })
    .await;
    gateway.turn(json!("hi"));
    let (report, (action, _)) = running.ended().await;
    assert_eq!((report.done, action.as_str()), (1, "complete"));
    assert_eq!(
        gateway.types(),
        [
            "tool.call.started",
            "tool.call.args.delta",
            "tool.call.completed",
            "message.delta",
            "message.delta",
            "message.completed",
            "turn.completed"
        ]
    );
    gateway.with(|kept| {
        assert!(kept.events.iter().all(|event| event["turn_id"] == "u"));
        assert_eq!(kept.events[5]["payload"]["text"], "a b");
        assert_eq!(kept.events[6]["payload"], json!({ "output": "a b" }));
        let claim = &kept.claims[0];
        assert_eq!(
            (&claim["worker"], &claim["types"], &claim["queues"]),
            (&json!("a-0"), &json!(["agent.turn"]), &json!(["default"]))
        );
    });
}

#[tokio::test]
async fn what_is_emitted_while_a_request_is_on_its_way_goes_with_the_next() {
    let gateway = Gateway {
        may_answer: Arc::new(Semaphore::new(0)),
        ..Gateway::new()
    };
    let held = gateway.clone();
    let running = Running::start(&gateway, move |_, sink: Sink| {
        let gateway = held.clone();
        async move {
            sink.say("custom", &0).await?;
            let asked = |kept: &Kept| (kept.requests.len() == 1).then_some(());
            gateway.until("the first request", asked).await;
            for n in 1..=100 {
                sink.say("custom", &n).await?;
            }
            gateway.may_answer.add_permits(1000);
            Ok(json!(null))
        }
    })
    .await;
    gateway.turn(json!(null));
    running.ended().await;
    gateway.with(|kept| {
        let numbers: Vec<_> = kept.events.iter().map(|event| &event["payload"]).collect();
        for (n, number) in numbers[..=100].iter().enumerate() {
            assert_eq!(**number, json!(n));
        }
        // The end may have been a moment later than the rest.
        assert!(kept.requests.len() <= 3, "{:?}", kept.requests);
        assert!(kept.requests[1].len() >= 100);
    });
}

#[tokio::test]
async fn a_request_whose_answer_got_lost_is_repeated_with_the_same_ids() {
    let gateway = Gateway::new();
    gateway.with(|kept| {
        kept.faults = [Fault::Lost, Fault::Refused(503), Fault::Lost].into();
    });
    let running = Running::start(&gateway, |_, sink: Sink| async move {
        sink.say("custom", &1).await?;
        sink.flush().await?;
        sink.say("custom", &2).await?;
        Ok(json!("done"))
    })
    .await;
    gateway.turn(json!(null));
    let (report, _) = running.ended().await;
    assert_eq!(report.done, 1);
    assert_eq!(gateway.types(), ["custom", "custom", "turn.completed"]);
    gateway.with(|kept| {
        let requests = &kept.requests;
        assert!(requests.len() >= 4, "{requests:?}");
        assert_eq!(requests[0], requests[1]);
        assert_eq!(requests[1], requests[2]);
    });
}

#[tokio::test]
async fn a_cancel_is_heard_with_the_next_answer() {
    let gateway = Gateway::new();
    let board = gateway.clone();
    // No heartbeat is sent for as long as this takes.
    let slow = |agent: agent::Builder| agent.heartbeat(HANG).lease(4 * HANG);
    let running = Running::start_with(&gateway, slow, move |turn: Turn, sink: Sink| {
        let gateway = board.clone();
        async move {
            gateway.with(|kept| kept.status = Some("cancelled"));
            sink.say("message.delta", &1).await?;
            turn.cancelled().await;
            let error = sink.say("message.delta", &2).await.unwrap_err();
            assert_eq!(error, agent::EmitError::Ended);
            Ok(json!("of no use"))
        }
    })
    .await;
    gateway.turn(json!(null));
    let (report, _) = running.ended().await;
    assert_eq!((report.lost, report.done, report.failed), (1, 0, 0));
    assert_eq!(gateway.types(), ["message.delta"]);
}

#[tokio::test]
async fn a_cancel_is_heard_by_who_says_nothing() {
    let gateway = Gateway::new();
    let board = gateway.clone();
    let often = |agent: agent::Builder| agent.heartbeat(Duration::from_millis(100));
    let (noticed, is_noticed) = oneshot::channel();
    let noticed = Mutex::new(Some(noticed));
    let running = Running::start_with(&gateway, often, move |turn: Turn, _| {
        board.with(|kept| kept.status = Some("cancelled"));
        let noticed = noticed.lock().unwrap().take().unwrap();
        async move {
            turn.cancelled().await;
            noticed.send(()).unwrap();
            Ok(json!(null))
        }
    })
    .await;
    gateway.turn(json!(null));
    timeout(HANG, is_noticed).await.unwrap().unwrap();
    assert_eq!(running.stop().await.lost, 1);
    assert!(gateway.types().is_empty());
}

#[tokio::test]
async fn an_agent_that_stops_tells_its_handlers_and_gives_its_turns_back() {
    let gateway = Gateway::new();
    let running = Running::start(&gateway, |turn: Turn, sink: Sink| async move {
        sink.say("message.delta", &1).await?;
        sink.flush().await?;
        turn.cancelled().await;
        // Too late to be said.
        let _ = sink.say("message.delta", &2).await;
        Ok(json!("half an answer"))
    })
    .await;
    gateway.turn(json!(null));
    let one = |kept: &Kept| (kept.events.len() == 1).then_some(());
    gateway.until("the first event", one).await;
    let report = running.stop().await;
    assert_eq!((report.released, report.done, report.failed), (1, 0, 0));
    assert_eq!(gateway.end().await.0, "release");
    assert_eq!(gateway.types(), ["message.delta"]);
}

#[tokio::test]
async fn a_handler_that_ignores_the_stop_is_dropped_and_its_turn_given_back() {
    let gateway = Gateway::new();
    let started = Arc::new(Notify::new());
    let is_started = Arc::clone(&started);
    let hasty = |agent: agent::Builder| agent.cancel_grace(Duration::from_millis(50));
    let running = Running::start_with(&gateway, hasty, move |_, _| {
        started.notify_one();
        pending()
    })
    .await;
    gateway.turn(json!(null));
    timeout(HANG, is_started.notified()).await.unwrap();
    assert_eq!(running.stop().await.released, 1);
    assert_eq!(gateway.end().await.0, "release");
}

#[tokio::test]
async fn a_turn_that_may_finish_before_the_agent_stops_does() {
    let gateway = Gateway::new();
    let started = Arc::new(Notify::new());
    let may_finish = Arc::new(Notify::new());
    let (is_started, finish) = (Arc::clone(&started), Arc::clone(&may_finish));
    let patient = |agent: agent::Builder| agent.drain(HANG);
    let running = Running::start_with(&gateway, patient, move |_, _| {
        let (started, may_finish) = (Arc::clone(&started), Arc::clone(&may_finish));
        async move {
            started.notify_one();
            may_finish.notified().await;
            Ok(json!("finished"))
        }
    })
    .await;
    gateway.turn(json!(null));
    timeout(HANG, is_started.notified()).await.unwrap();
    finish.notify_one();
    assert_eq!(running.stop().await.done, 1);
    assert_eq!(gateway.types(), ["turn.completed"]);
}

#[tokio::test]
async fn a_turn_ends_once_whoever_says_so() {
    let gateway = Gateway::new();
    let running = Running::start(&gateway, |_, sink: Sink| async move {
        sink.say("turn.completed", &json!({"output": "mine"}))
            .await?;
        for late in ["turn.failed", "message.delta"] {
            let error = sink.emit(NewThreadEvent::new(late)).await.unwrap_err();
            assert_eq!(error, agent::EmitError::Ended);
        }
        Ok(json!("not this one"))
    })
    .await;
    gateway.turn(json!(null));
    let (report, _) = running.ended().await;
    assert_eq!(report.done, 1);
    gateway.with(|kept| {
        assert_eq!(kept.events.len(), 1);
        assert_eq!(kept.events[0]["payload"]["output"], "mine");
    });
}

#[tokio::test]
async fn a_failure_is_told_after_what_was_said_and_a_refused_event_for_good() {
    let gateway = Gateway::new();
    let running = Running::start(&gateway, |_, sink: Sink| async move {
        sink.say("message.delta", &1).await?;
        Err(Failure::retry("the model is busy"))
    })
    .await;
    gateway.turn(json!(null));
    let (report, (action, body)) = running.ended().await;
    assert_eq!((report.failed, action.as_str()), (1, "fail"));
    assert_eq!(body["error"], "the model is busy");
    assert_eq!(
        (&body["permanent"], gateway.types().len()),
        (&json!(null), 1)
    );

    let gateway = Gateway::new();
    gateway.with(|kept| kept.faults.push_back(Fault::Refused(413)));
    let running = Running::start(&gateway, |_, sink: Sink| async move {
        sink.say("message.delta", &1).await?;
        Ok(json!(null))
    })
    .await;
    gateway.turn(json!(null));
    let (_, (action, body)) = running.ended().await;
    assert_eq!(
        (action.as_str(), &body["permanent"]),
        ("fail", &json!(true))
    );
    let error = body["error"].as_str().unwrap();
    assert!(error.contains("status 413"), "{error}");
}

#[tokio::test]
async fn a_heartbeat_that_meets_the_turns_own_end_is_no_loss() {
    let gateway = Gateway {
        may_answer: Arc::new(Semaphore::new(0)),
        ..Gateway::new()
    };
    let often = |agent: agent::Builder| agent.heartbeat(Duration::from_millis(100));
    let running = Running::start_with(&gateway, often, |_, _| async { Ok(json!("done")) }).await;
    gateway.turn(json!(null));
    let asked = |kept: &Kept| (kept.requests.len() == 1).then_some(());
    gateway.until("the end is on its way", asked).await;
    // The server has it, and says so to a heartbeat before it answers.
    let beats = gateway.with(|kept| {
        kept.status = Some("cancelled");
        kept.beats
    });
    let beaten = |kept: &Kept| (kept.beats > beats).then_some(());
    gateway.until("a heartbeat is refused", beaten).await;
    gateway.with(|kept| kept.status = Some("running"));
    gateway.may_answer.add_permits(1);
    let report = running.stop().await;
    assert_eq!((report.done, report.lost), (1, 0));
    assert_eq!(gateway.types(), ["turn.completed"]);
}
