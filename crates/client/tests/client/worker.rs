//! The worker against a small server that speaks the jobs' protocol: what it reports when a
//! processor panics, is cancelled, takes too long, or the worker stops.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::Response,
    routing,
};
use serde_json::{Value, json};
use tidewire_client::{Failure, JobContext, Output, Processor, Worker, worker};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::support::{self, Server, problem};

/// Far longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Board {
    pending: Arc<Mutex<VecDeque<Value>>>,
    due: Arc<Notify>,
    said: mpsc::UnboundedSender<Said>,
    lease_is_lost: Arc<Mutex<bool>>,
}

/// What a worker said of a job.
type Said = (String, String, Value);

impl Board {
    fn new() -> (Self, mpsc::UnboundedReceiver<Said>) {
        let (said, heard) = mpsc::unbounded_channel();
        let board = Board {
            pending: Arc::default(),
            due: Arc::default(),
            said,
            lease_is_lost: Arc::default(),
        };
        (board, heard)
    }

    fn enqueue(&self, id: &str, job_type: &str, more: Value) {
        let mut job = json!({
            "id": id, "type": job_type, "queue": "default", "status": "running", "payload": {"n": 1},
            "attempts": 1, "max_attempts": 3, "lease_token": format!("token of {id}"),
            "locked_at": "2026-01-01T00:00:00Z", "lease_expires_at": "2026-01-01T00:00:01Z",
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            job[name] = value.clone();
        }
        self.pending.lock().unwrap().push_back(job);
        self.due.notify_one();
    }

    async fn serve(&self) -> Server {
        let routes = Router::new()
            .route("/v1/jobs/claim", routing::post(claim))
            .route("/v1/jobs/{id}/{action}", routing::post(act))
            .with_state(self.clone());
        Server::start(routes).await
    }
}

async fn claim(State(board): State<Board>, Json(request): Json<Value>) -> Response {
    let limit = usize::try_from(request["limit"].as_u64().unwrap()).unwrap();
    loop {
        let due = board.due.notified();
        let jobs: Vec<_> = {
            let mut pending = board.pending.lock().unwrap();
            let most = pending.len().min(limit);
            pending.drain(..most).collect()
        };
        if !jobs.is_empty() {
            return support::json(json!({ "jobs": jobs }));
        }
        due.await;
    }
}

async fn act(
    State(board): State<Board>,
    Path((id, action)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    assert_eq!(body["lease_token"], format!("token of {id}"));
    board
        .said
        .send((id.clone(), action.clone(), body.clone()))
        .unwrap();
    if *board.lease_is_lost.lock().unwrap() {
        return problem(409, "the lease is lost");
    }
    if body["output"] == "too large" {
        return problem(413, "the output is too large");
    }
    support::json(json!({"id": id, "type": "t", "status": "done"}))
}

struct Running {
    heard: mpsc::UnboundedReceiver<Said>,
    stop: oneshot::Sender<()>,
    worker: JoinHandle<tidewire_client::Result<worker::Report>>,
    _server: Server,
}

impl Running {
    async fn start(
        board: &Board,
        heard: mpsc::UnboundedReceiver<Said>,
        with: impl FnOnce(worker::Builder) -> worker::Builder,
    ) -> Self {
        let server = board.serve().await;
        let builder = Worker::builder(server.client())
            .name("w")
            .lease(Duration::from_secs(1));
        let (stop, stopped) = oneshot::channel();
        let worker = with(builder).build().run(async { drop(stopped.await) });
        Running {
            heard,
            stop,
            worker: tokio::spawn(worker),
            _server: server,
        }
    }

    /// The next thing said that is no heartbeat.
    async fn said(&mut self) -> Said {
        loop {
            let said = timeout(HANG, self.heard.recv())
                .await
                .expect("the worker says nothing")
                .unwrap();
            if said.1 != "heartbeat" {
                return said;
            }
        }
    }

    async fn stop(self) -> (worker::Report, mpsc::UnboundedReceiver<Said>) {
        drop(self.stop);
        let report = timeout(HANG, self.worker)
            .await
            .expect("the worker does not stop")
            .unwrap()
            .unwrap();
        (report, self.heard)
    }
}

struct Doubler;

impl Processor for Doubler {
    async fn process(&self, job: JobContext) -> Result<Output, Failure> {
        #[derive(serde::Deserialize)]
        struct Number {
            n: u64,
        }
        let Number { n } = job.payload()?;
        Output::json(&json!({ "double": 2 * n }))
    }
}

#[tokio::test]
async fn results_failures_and_panics_are_told() {
    let (board, heard) = Board::new();
    let mut running = Running::start(&board, heard, |worker| {
        worker
            .concurrency(1)
            .processor("double", Doubler)
            .register("panic", |job| async move {
                if job.attempt() == 1 {
                    panic!("boom {}", job.id());
                }
                Ok(())
            })
            .register("later", |_| async {
                Err::<(), _>(Failure::retry_in(Duration::from_millis(1500), "busy"))
            })
            .register("io", |_| async {
                Err(std::io::Error::other("no disk"))?;
                Ok(())
            })
            .register("misfit", |job| async move {
                Ok(serde_json::Value::from(job.payload::<Vec<u8>>()?))
            })
            .register("large", |_| async { Ok(json!("too large")) })
    })
    .await;
    // One slot: each job waits for the one before, so a panic must not take the slot with it.
    for job_type in ["panic", "double", "later", "io", "misfit", "large"] {
        board.enqueue(job_type, job_type, json!({}));
    }
    let mut told = Vec::new();
    for _ in 0..7 {
        let (id, action, mut body) = running.said().await;
        body.as_object_mut().unwrap().remove("lease_token");
        told.push(format!("{id} {action} {body}"));
    }
    assert_eq!(
        told,
        [
            r#"panic fail {"error":"panicked: boom panic"}"#,
            r#"double complete {"output":{"double":2}}"#,
            r#"later fail {"error":"busy","retry_in_seconds":2}"#,
            r#"io fail {"error":"no disk"}"#,
            "misfit fail {\"error\":\"the payload does not fit: invalid type: map, expected a sequence at line 1 \
             column 0\",\"permanent\":true}",
            r#"large complete {"output":"too large"}"#,
            "large fail {\"error\":\"the output was refused: a title (status 413): the output is too large \
             (request id r-1)\",\"permanent\":true}",
        ]
    );
    let (report, _) = running.stop().await;
    assert_eq!((report.done, report.failed, report.lost), (1, 5, 0));
}

#[tokio::test]
async fn what_a_job_says_of_its_progress_goes_out_with_a_heartbeat() {
    let (board, heard) = Board::new();
    let mut running = Running::start(&board, heard, |worker| {
        // Not of itself.
        worker.lease(HANG).register("long", |job| async move {
            for page in 1..=3 {
                job.progress(&json!({"page": page}));
            }
            job.cancelled().await;
            Ok(())
        })
    })
    .await;
    board.enqueue(
        "j",
        "long",
        json!({"lease_expires_at": "2026-01-01T01:00:00Z"}),
    );
    let (id, action, body) = timeout(HANG / 6, running.heard.recv())
        .await
        .expect("nothing is said before the lease is a third over")
        .unwrap();
    assert_eq!((id.as_str(), action.as_str()), ("j", "heartbeat"));
    assert_eq!(body["progress"], json!({"page": 3}), "the newest word");
}

#[tokio::test]
async fn a_lost_lease_cancels_the_job_and_its_result_is_not_sent() {
    let (board, heard) = Board::new();
    let (noticed, was_noticed) = oneshot::channel();
    let noticed = Arc::new(Mutex::new(Some(noticed)));
    let mut running = Running::start(&board, heard, |worker| {
        worker.register("long", move |job: JobContext| {
            let noticed = Arc::clone(&noticed);
            async move {
                job.cancelled().await;
                noticed.lock().unwrap().take().unwrap().send(()).unwrap();
                Ok(())
            }
        })
    })
    .await;
    board.enqueue("1", "long", json!({}));
    // It is held by heartbeats until the server says that the lease is gone.
    for _ in 0..2 {
        assert_eq!(
            timeout(HANG, running.heard.recv())
                .await
                .unwrap()
                .unwrap()
                .1,
            "heartbeat"
        );
    }
    *board.lease_is_lost.lock().unwrap() = true;
    timeout(HANG, was_noticed)
        .await
        .expect("the processor is not told")
        .unwrap();
    let (report, mut heard) = running.stop().await;
    assert_eq!((report.lost, report.done), (1, 0));
    while let Ok((_, action, _)) = heard.try_recv() {
        assert_eq!(action, "heartbeat");
    }
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_failed_though_it_ignores_it() {
    let (board, heard) = Board::new();
    let mut running = Running::start(&board, heard, |worker| {
        worker.register("endless", |_| std::future::pending::<Result<(), Failure>>())
    })
    .await;
    board.enqueue("1", "endless", json!({"timeout_seconds": 1}));
    let (_, action, body) = running.said().await;
    assert_eq!(
        (action.as_str(), &body["error"]),
        ("fail", &json!("timed out after 1s"))
    );
    assert_eq!(running.stop().await.0.failed, 1);
}

#[tokio::test]
async fn a_stopping_worker_finishes_what_it_can_and_gives_back_the_rest() {
    let (board, heard) = Board::new();
    let started = Arc::new(Notify::new());
    let finish = Arc::new(Notify::new());
    let (is_started, may_finish) = (Arc::clone(&started), Arc::clone(&finish));
    let running = Running::start(&board, heard, |worker| {
        worker
            .drain(Duration::from_millis(300))
            .register("short", move |_| {
                let (started, finish) = (Arc::clone(&started), Arc::clone(&finish));
                async move {
                    started.notify_one();
                    finish.notified().await;
                    Ok(json!("finished"))
                }
            })
            .register("endless", |_| std::future::pending::<Result<(), Failure>>())
    })
    .await;
    board.enqueue("e", "endless", json!({}));
    board.enqueue("s", "short", json!({}));
    timeout(HANG, is_started.notified()).await.unwrap();
    let Running {
        mut heard,
        stop,
        worker,
        _server,
    } = running;
    drop(stop);
    may_finish.notify_one();
    let report = timeout(HANG, worker)
        .await
        .expect("the worker does not stop")
        .unwrap()
        .unwrap();
    assert_eq!((report.done, report.released, report.failed), (1, 1, 0));
    let mut ends = Vec::new();
    while let Ok((id, action, _)) = heard.try_recv() {
        if action != "heartbeat" {
            ends.push((id, action));
        }
    }
    assert_eq!(
        ends,
        [
            ("s".into(), "complete".into()),
            ("e".into(), "release".into())
        ]
    );
    // What comes after the signal is left to others.
    board.enqueue("late", "short", json!({}));
    assert_eq!(board.pending.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_claim_ends_the_worker_with_the_reason() {
    let routes = Router::new().route(
        "/v1/jobs/claim",
        routing::post(|| async { problem(403, "needs worker") }),
    );
    let server = Server::start(routes).await;
    let worker = Worker::builder(server.client())
        .register("t", |_| async { Ok(()) })
        .build();
    let error = timeout(HANG, worker.run(std::future::pending()))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.status(), Some(403));
}
