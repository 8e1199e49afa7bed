//! Asks the server about leases. One request at a time, in the order of asking; what is asked for
//! while one is on its way goes with the next, so that a thousand instances cost few requests and
//! nobody waits for a request to fill.

use std::{
    collections::{HashSet, VecDeque},
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
            let leases = self.client.leases();
            if !holds.is_empty() {
                let (asked, answers): (Vec<_>, Vec<_>) = holds.into_iter().unzip();
                let said = each_if_refused(&asked, async |all| leases.hold(all).await).await;
                tell(asked.iter().map(|it| &*it.worker), answers, said, |it| {
                    &it.worker
                });
            }
            if !ends.is_empty() {
                let (asked, answers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
                let said = each_if_refused(&asked, async |all| leases.release(all).await).await;
                tell(asked.iter().map(|it| &*it.worker), answers, said, |it| {
                    &it.worker
                });
            }
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

/// Asks for all at once, and if the server does not take the request, for each by itself: one that makes no
/// sense must not keep the others from theirs.
async fn each_if_refused<A, B>(
    asked: &[A],
    ask: impl AsyncFn(&[A]) -> Result<Vec<B>, Error>,
) -> Vec<Answer<Vec<B>>> {
    match ask(asked).await {
        Err(error) if asked.len() > 1 && matches!(error.status(), Some(400 | 413 | 422)) => {
            let mut answers = Vec::new();
            for one in asked.chunks(1) {
                answers.push(ask(one).await.map_err(Arc::new));
            }
            answers
        }
        answer => vec![answer.map_err(Arc::new)],
    }
}

/// Gives everybody their answer, by name.
fn tell<'a, B>(
    names: impl Iterator<Item = &'a str>,
    waiting: Vec<oneshot::Sender<Answer<B>>>,
    said: Vec<Answer<Vec<B>>>,
    name_of: impl Fn(&B) -> &str,
) {
    let is_each = said.len() > 1;
    let mut errors: VecDeque<_> = said.iter().map(|it| it.as_ref().err().cloned()).collect();
    let mut answers: Vec<B> = said.into_iter().flatten().flatten().collect();
    for (name, waiting) in names.zip(waiting) {
        let error = match is_each {
            true => errors.pop_front().flatten(),
            false => errors.front().cloned().flatten(),
        };
        let answer = match answers.iter().position(|it| name_of(it) == name) {
            Some(at) => Ok(answers.swap_remove(at)),
            None => Err(error.unwrap_or_else(|| {
                Arc::new(Error::Request(format!(
                    "the server's answer says nothing of `{name}`"
                )))
            })),
        };
        // Whoever asked may have gone.
        let _ = waiting.send(answer);
    }
}
