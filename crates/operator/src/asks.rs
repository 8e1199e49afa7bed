//! Asks the server about leases. One request at a time, in the order of asking; what is asked for
//! while one is on its way goes with the next, so that a thousand instances cost few requests and
//! nobody waits for a request to fill.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    sync::Arc,
};

use tidewire_client::{Client, Error, LeaseAnswer, LeaseEnd, LeaseEnded, NewLease};
use tokio::sync::{mpsc, oneshot};

/// The server takes no more at once.
const MOST: usize = 500;

pub(crate) type Answer<T> = Result<T, Arc<Error>>;

enum Ask {
    Hold(NewLease, oneshot::Sender<Answer<LeaseAnswer>>),
    End(LeaseEnd, oneshot::Sender<Answer<LeaseEnded>>),
}

impl Ask {
    fn worker(&self) -> &str {
        match self {
            Ask::Hold(lease, _) => &lease.worker,
            Ask::End(end, _) => &end.worker,
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Asks {
    queue: mpsc::UnboundedSender<Ask>,
}

/// What carries them to the server.
pub(crate) struct Courier {
    client: Client,
    queue: mpsc::UnboundedReceiver<Ask>,
}

pub(crate) fn open(client: Client) -> (Asks, Courier) {
    let (sender, queue) = mpsc::unbounded_channel();
    (Asks { queue: sender }, Courier { client, queue })
}

impl Asks {
    pub async fn hold(&self, lease: NewLease) -> Answer<LeaseAnswer> {
        let (sender, answer) = oneshot::channel();
        self.ask(Ask::Hold(lease, sender), answer).await
    }

    pub async fn end(&self, end: LeaseEnd) -> Answer<LeaseEnded> {
        let (sender, answer) = oneshot::channel();
        self.ask(Ask::End(end, sender), answer).await
    }

    async fn ask<T>(&self, ask: Ask, answer: oneshot::Receiver<Answer<T>>) -> Answer<T> {
        // Without the courier nobody is asked any more.
        let _ = self.queue.send(ask);
        answer.await.unwrap_or_else(|_| Err(unasked()))
    }
}

fn unasked() -> Arc<Error> {
    Arc::new(Error::Request(
        "the operator stops and asks for nothing more".to_owned(),
    ))
}

impl Courier {
    pub async fn run(mut self) {
        let mut waiting = VecDeque::new();
        let mut taken = Vec::new();
        loop {
            if waiting.is_empty() && self.queue.recv_many(&mut taken, MOST).await == 0 {
                return;
            }
            while let Ok(ask) = self.queue.try_recv() {
                taken.push(ask);
            }
            waiting.extend(taken.drain(..));
            let (holds, ends) = next_round(&mut waiting);
            carry(&self.client, holds).await;
            carry(&self.client, ends).await;
        }
    }
}

type Asked<A, B> = Vec<(A, oneshot::Sender<Answer<B>>)>;

/// As many as go together: of each instance what was asked first.
fn next_round(
    waiting: &mut VecDeque<Ask>,
) -> (Asked<NewLease, LeaseAnswer>, Asked<LeaseEnd, LeaseEnded>) {
    let (mut holds, mut ends) = (Vec::new(), Vec::new());
    let mut names = HashSet::new();
    let mut later = VecDeque::new();
    for ask in waiting.drain(..) {
        let is_full = holds.len() == MOST || ends.len() == MOST;
        // Names that were left for later keep their order too.
        if !names.insert(ask.worker().to_owned()) || is_full {
            later.push_back(ask);
            continue;
        }
        match ask {
            Ask::Hold(lease, answer) => holds.push((lease, answer)),
            Ask::End(end, answer) => ends.push((end, answer)),
        }
    }
    *waiting = later;
    (holds, ends)
}

/// What is asked of instances.
trait Question: Sized + Send + Sync {
    type Answer: Send;

    fn put(
        client: &Client,
        all: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Error>> + Send;

    fn worker(&self) -> &str;

    fn worker_of(answer: &Self::Answer) -> &str;
}

impl Question for NewLease {
    type Answer = LeaseAnswer;

    async fn put(client: &Client, all: &[Self]) -> Result<Vec<LeaseAnswer>, Error> {
        client.leases().hold(all).await
    }

    fn worker(&self) -> &str {
        &self.worker
    }

    fn worker_of(answer: &LeaseAnswer) -> &str {
        &answer.worker
    }
}

impl Question for LeaseEnd {
    type Answer = LeaseEnded;

    async fn put(client: &Client, all: &[Self]) -> Result<Vec<LeaseEnded>, Error> {
        client.leases().release(all).await
    }

    fn worker(&self) -> &str {
        &self.worker
    }

    fn worker_of(answer: &LeaseEnded) -> &str {
        &answer.worker
    }
}

/// Asks for all at once, and gives everybody their answer. If the server does not take the request, each is
/// asked for by itself: one that makes no sense must not keep the others from theirs.
async fn carry<Q: Question>(client: &Client, asked: Asked<Q, Q::Answer>) {
    if asked.is_empty() {
        return;
    }
    let (asked, waiting): (Vec<Q>, Vec<_>) = asked.into_iter().unzip();
    let answer = Q::put(client, &asked).await;
    let is_refused = |error: &Error| matches!(error.status(), Some(400 | 413 | 422));
    if asked.len() > 1 && answer.as_ref().is_err_and(is_refused) {
        for (one, waiting) in asked.chunks(1).zip(waiting) {
            let answer = Q::put(client, one).await;
            tell(one, vec![waiting], answer);
        }
        return;
    }
    tell(&asked, waiting, answer);
}

/// Gives everybody their answer, by name.
fn tell<Q: Question>(
    asked: &[Q],
    waiting: Vec<oneshot::Sender<Answer<Q::Answer>>>,
    answer: Result<Vec<Q::Answer>, Error>,
) {
    let mut answers = answer.map_err(Arc::new);
    for (one, waiting) in asked.iter().zip(waiting) {
        let name = one.worker();
        let own = match &mut answers {
            Ok(answers) => {
                let at = answers.iter().position(|it| Q::worker_of(it) == name);
                at.map(|at| answers.swap_remove(at))
                    .ok_or_else(|| Arc::new(untold(name)))
            }
            Err(error) => Err(Arc::clone(error)),
        };
        // Whoever asked may have gone.
        let _ = waiting.send(own);
    }
}

fn untold(name: &str) -> Error {
    Error::Request(format!("the server's answer says nothing of `{name}`"))
}
