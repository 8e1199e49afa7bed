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
                Ok(stored) if stored.len() == lines.len() => {
                    let duplicates = stored.iter().filter(|event| event.duplicated).count() as u64;
                    sent.duplicates += duplicates;
                    sent.stored += lines.len() as u64 - duplicates;
                    continue;
                }
                Ok(stored) => Error::Answer {
                    url: self.client.server().to_owned(),
                    status: 200,
                    detail: format!(
                        "it tells of {} events, {} were sent",
                        stored.len(),
                        lines.len()
                    ),
                },
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

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use axum::{
        Json, Router,
        http::StatusCode,
        response::{IntoResponse, Response},
        routing,
    };
    use serde_json::{Value, json};
    use tidewire_client::Retry;
    use tokio::net::TcpListener;

    use super::{super::batches::Batches, *};

    /// Takes at most three events at once, none of type `refused`, and breaks at one of type
    /// `breaks`.
    async fn append(Json(events): Json<Vec<Value>>) -> Response {
        let problem = |status: u16, errors: Value| {
            let body = json!({"title": "t", "status": status, "detail": "d", "errors": errors});
            (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
        };
        if events.len() > 3 {
            return problem(413, json!([]));
        }
        if events.iter().any(|event| event["type"] == "breaks") {
            return problem(500, json!([]));
        }
        if let Some(at) = events.iter().position(|event| event["type"] == "refused") {
            let errors = json!([{"pointer": format!("/{at}/subject"), "detail": "is too long"}]);
            return problem(400, errors);
        }
        let stored = |event: &Value| {
            json!({
                "id": "x", "stream": "default", "seq": 1, "created_at": "2026-01-01T00:00:00Z",
                "duplicated": event["dedupe_key"] == "known",
            })
        };
        (
            StatusCode::CREATED,
            Json(events.iter().map(stored).collect::<Vec<_>>()),
        )
            .into_response()
    }

    async fn send(lines: &[&str], keep_going: bool) -> Sent {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/events", routing::post(append));
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let client = Client::builder(&server)
            .retry(Retry::none())
            .build()
            .unwrap();
        let input = BufReader::new(Cursor::new(lines.join("\n").into_bytes()));
        let batch = Batches::new(input, 1000, keep_going).next().unwrap();
        Sender { client, keep_going }.send(batch).await
    }

    const GOOD: &str = r#"{"type":"t"}"#;
    const KNOWN: &str = r#"{"type":"t","dedupe_key":"known"}"#;
    const REFUSED: &str = r#"{"type":"refused"}"#;
    const BREAKS: &str = r#"{"type":"breaks"}"#;

    fn numbers(sent: &Sent) -> Vec<u64> {
        sent.bad.iter().map(|bad| bad.number).collect()
    }

    #[tokio::test]
    async fn a_batch_too_large_for_the_way_goes_in_parts() {
        let sent = send(&[GOOD, KNOWN, GOOD, GOOD, GOOD, GOOD, KNOWN], false).await;
        assert_eq!((sent.stored, sent.duplicates, sent.unsettled), (5, 2, 0));
        assert!(sent.trouble.is_none());
    }

    #[tokio::test]
    async fn what_comes_before_a_refused_line_is_stored_and_the_rest_is_left() {
        let sent = send(&[GOOD, GOOD, REFUSED, GOOD, "no event"], false).await;
        assert_eq!((sent.stored, sent.unsettled), (2, 0));
        assert_eq!(numbers(&sent), [3]);
        assert_eq!(sent.bad[0].reason, "/subject: is too long");
        assert!(matches!(sent.trouble, Some(Trouble::BadLine)));
    }

    #[tokio::test]
    async fn refused_lines_are_skipped_if_it_is_to_keep_going() {
        let sent = send(&[REFUSED, GOOD, "no event", REFUSED, REFUSED, GOOD], true).await;
        assert_eq!((sent.stored, sent.unsettled), (2, 0));
        assert_eq!(numbers(&sent), [1, 3, 4, 5]);
        assert!(sent.trouble.is_none());
    }

    #[tokio::test]
    async fn lines_whose_fate_is_unknown_are_named() {
        let sent = send(&[GOOD, GOOD, BREAKS, GOOD, GOOD], false).await;
        assert_eq!((sent.stored, sent.duplicates, sent.unsettled), (2, 0, 3));
        let Some(Trouble::Failed(text)) = sent.trouble else {
            panic!("it went on")
        };
        assert!(
            text.starts_with("lines 3 to 5 may or may not be stored: "),
            "{text}"
        );
    }
}
