//! One batch on its way: sent, and taken apart where the server does not take it whole.

use std::collections::{BTreeMap, VecDeque};

use tidewire_client::{Client, Error};

use super::batches::{Bad, Batch};

pub(super) struct Sender {
    pub client: Client,
    pub keep_going: bool,
}

/// What became of a batch's lines: each is in one of the first four.
#[derive(Default)]
pub(super) struct Sent {
    pub stored: u64,
    pub duplicates: u64,
    pub bad: Vec<Bad>,
    /// Lines whose fate is not known, or that were not sent because of those.
    pub unsettled: u64,
    pub read_to: u64,
    pub trouble: Option<Trouble>,
}

/// Why an import does not go on.
pub(super) enum Trouble {
    /// A line is not taken; it is told with the bad ones.
    BadLine,
    Failed(String),
}

impl Sender {
    pub async fn send(&self, batch: Batch) -> Sent {
        let mut sent = Sent {
            read_to: batch.read_to,
            ..Sent::default()
        };
        // An append is stored whole or not at all, so what a server refuses is sent again in parts.
        let mut parts = VecDeque::from([(0..batch.lines.len()).collect::<Vec<_>>()]);
        let mut refused_at = None;
        while let Some(lines) = parts.pop_front() {
            let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
                continue;
            };
            let answer = self
                .client
                .events()
                .append_json(batch.array(&lines), batch.is_keyed(&lines))
                .await;
            let error = match answer {
                Ok(stored) => {
                    let duplicates = stored.iter().filter(|event| event.duplicated).count() as u64;
                    sent.duplicates += duplicates;
                    sent.stored += lines.len() as u64 - duplicates.min(lines.len() as u64);
                    continue;
                }
                Err(error) => error,
            };
            if error.status() == Some(413) && lines.len() > 1 {
                // Something on the way takes less than the server does.
                let (front, back) = lines.split_at(lines.len() / 2);
                parts.push_front(back.to_vec());
                parts.push_front(front.to_vec());
                continue;
            }
            let refused = refused(&error, lines.len());
            if let Some((at, reason)) = refused.first_key_value() {
                if self.keep_going {
                    let good = |at: &usize| !refused.contains_key(at);
                    parts.push_front((0..lines.len()).filter(good).map(|at| lines[at]).collect());
                    for (at, reason) in refused {
                        sent.bad.push(Bad {
                            number: batch.lines[lines[at]].number,
                            reason,
                        });
                    }
                } else {
                    // What comes before is sent, what comes after is left.
                    refused_at = Some(Bad {
                        number: batch.lines[lines[*at]].number,
                        reason: reason.clone(),
                    });
                    parts.clear();
                    parts.push_front(lines[..*at].to_vec());
                }
                continue;
            }
            let [from, to] = [first, last].map(|index| batch.lines[*index].number);
            let fate = if error.is_refused_for_now() || matches!(error.status(), Some(400..=499)) {
                "are not stored"
            } else {
                "may or may not be stored"
            };
            sent.unsettled = (lines.len() + parts.iter().map(Vec::len).sum::<usize>()) as u64;
            sent.trouble = Some(Trouble::Failed(format!(
                "lines {from} to {to} {fate}: {error}"
            )));
            break;
        }
        if sent.trouble.is_none() {
            self.end(batch, refused_at, &mut sent);
        }
        sent
    }

    /// Adds what the reader met behind the lines.
    fn end(&self, batch: Batch, refused_at: Option<Bad>, sent: &mut Sent) {
        if let Some(bad) = refused_at {
            sent.bad.push(bad);
        } else {
            sent.bad.extend(batch.bad);
            sent.bad.sort_by_key(|bad| bad.number);
        }
        if !self.keep_going && !sent.bad.is_empty() {
            sent.trouble = Some(Trouble::BadLine);
        } else if let Some(text) = batch.broken {
            sent.trouble = Some(Trouble::Failed(text));
        }
    }
}

/// The lines (by their place in the request) that a refusal names, with the reasons.
fn refused(error: &Error, count: usize) -> BTreeMap<usize, String> {
    let mut found: BTreeMap<usize, String> = BTreeMap::new();
    let Some(problem) = error
        .problem()
        .filter(|problem| matches!(problem.status, 400 | 409 | 413))
    else {
        return found;
    };
    for place in &problem.errors {
        let Some(rest) = place.pointer.strip_prefix('/') else {
            continue;
        };
        let (index, within) = rest
            .split_once('/')
            .map_or((rest, ""), |(index, within)| (index, within));
        let Some(index) = index.parse().ok().filter(|index| *index < count) else {
            continue;
        };
        let reason = match within {
            "" => place.detail.clone(),
            within => format!("/{within}: {}", place.detail),
        };
        let all = found.entry(index).or_default();
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.push_str(&reason);
    }
    // A refusal of one line needs not say which.
    if found.is_empty() && count == 1 {
        found.insert(0, problem.detail.clone());
    }
    found
}
