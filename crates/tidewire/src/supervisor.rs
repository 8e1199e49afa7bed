//! Starts roles in order, restarts one that fails, stops them in reverse.
//!
//! A role is a future that runs until its token is cancelled. If it ends before that, by an error
//! or a panic, it is started again after a pause that doubles; a role that keeps failing ends the
//! process, because a process manager can see a dead process and cannot see a dead role.

use std::{
    collections::VecDeque, future::Future, panic::AssertUnwindSafe, pin::Pin, time::Duration,
};

use futures_util::FutureExt as _;
use tidewire_core::{backoff::Backoff, clock};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const PAUSE: Backoff = Backoff {
    base: Duration::from_millis(500),
    cap: Duration::from_secs(30),
};
/// So many failures within the window, and the role is given up.
const FAILURES: usize = 6;
const WINDOW: Duration = Duration::from_secs(300);

type Run = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One thing that runs for as long as the process does.
pub struct Task {
    name: &'static str,
    run: Box<dyn Fn(CancellationToken) -> Run + Send>,
}

impl Task {
    /// `run` is called at each start; it ends soon after its token is cancelled.
    pub fn new<F, R>(name: &'static str, run: F) -> Self
    where
        F: Fn(CancellationToken) -> R + Send + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        Task {
            name,
            run: Box::new(move |stop| Box::pin(run(stop))),
        }
    }
}

/// The running tasks.
pub struct Supervisor {
    running: Vec<Running>,
    gave_up: mpsc::UnboundedReceiver<&'static str>,
}

struct Running {
    name: &'static str,
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

impl Supervisor {
    /// Starts all tasks, in order.
    #[must_use]
    pub fn start(tasks: Vec<Task>) -> Self {
        let (report, gave_up) = mpsc::unbounded_channel();
        let running = tasks
            .into_iter()
            .map(|task| {
                let (name, stop) = (task.name, CancellationToken::new());
                let handle = tokio::spawn(keep_running(task, stop.clone(), report.clone()));
                Running { name, stop, handle }
            })
            .collect();
        Supervisor { running, gave_up }
    }

    /// Waits until a role is given up; its name.
    pub async fn failed(&mut self) -> &'static str {
        match self.gave_up.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }

    /// Stops all tasks in reverse order, each only after those that were started behind it have
    /// ended; what has not ended by the deadline is dropped where it stands.
    pub async fn stop(self, within: Duration) {
        let deadline = Instant::now() + within;
        for mut task in self.running.into_iter().rev() {
            task.stop.cancel();
            let left = deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(100));
            if timeout(left, &mut task.handle).await.is_err() {
                tracing::warn!(role = task.name, "did not stop in time, it is cut off");
                task.handle.abort();
            }
        }
    }
}

async fn keep_running(
    task: Task,
    stop: CancellationToken,
    report: mpsc::UnboundedSender<&'static str>,
) {
    let mut failures = VecDeque::new();
    loop {
        let started = Instant::now();
        let ended = AssertUnwindSafe((task.run)(stop.clone()))
            .catch_unwind()
            .await;
        if stop.is_cancelled() {
            return;
        }
        let why = match ended {
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(error)) => error,
            Err(panic) => format!("it panicked: {}", panic_text(&*panic)),
        };
        failures.push_back(Instant::now());
        while failures
            .front()
            .is_some_and(|first| first.elapsed() > WINDOW)
        {
            failures.pop_front();
        }
        if failures.len() >= FAILURES {
            tracing::error!(
                role = task.name,
                why,
                "a role keeps failing, the process ends"
            );
            let _ = report.send(task.name);
            return;
        }
        let attempt = u32::try_from(failures.len()).unwrap_or(u32::MAX);
        let pause = PAUSE.delay(attempt, clock::random_fraction());
        tracing::error!(role = task.name, why, ran = ?started.elapsed(), again_in = ?pause, "a role failed");
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    type Diary = Arc<Mutex<Vec<String>>>;

    fn steady(name: &'static str, diary: &Diary) -> Task {
        let diary = Arc::clone(diary);
        Task::new(name, move |stop| {
            let diary = Arc::clone(&diary);
            async move {
                diary.lock().unwrap().push(format!("{name} starts"));
                stop.cancelled().await;
                diary.lock().unwrap().push(format!("{name} stops"));
                Ok(())
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn roles_stop_in_reverse_order() {
        let diary = Diary::default();
        let supervisor = Supervisor::start(vec![steady("a", &diary), steady("b", &diary)]);
        tokio::task::yield_now().await;
        supervisor.stop(Duration::from_secs(1)).await;
        assert_eq!(
            *diary.lock().unwrap(),
            ["a starts", "b starts", "b stops", "a stops"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_fails_is_started_again_and_given_up_at_last() {
        let diary = Diary::default();
        let entries = Arc::clone(&diary);
        let failing = Task::new("broken", move |_| {
            let mut diary = entries.lock().unwrap();
            diary.push("try".to_owned());
            let panics = diary.len() % 2 == 0;
            async move {
                assert!(!panics, "on purpose");
                Err("on purpose".to_owned())
            }
        });
        let mut supervisor = Supervisor::start(vec![steady("steady", &diary), failing]);
        assert_eq!(supervisor.failed().await, "broken");
        let tries = diary
            .lock()
            .unwrap()
            .iter()
            .filter(|entry| *entry == "try")
            .count();
        assert_eq!(tries, FAILURES);
        supervisor.stop(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_does_not_stop_is_cut_off() {
        let stuck = Task::new("stuck", |_| std::future::pending());
        let supervisor = Supervisor::start(vec![stuck]);
        timeout(
            Duration::from_secs(60),
            supervisor.stop(Duration::from_secs(5)),
        )
        .await
        .expect("it ends");
    }
}
