//! A turn: started, answered by the reference agent, followed word by word, and read again.

use serde::Deserialize;
use tidewire_client::{NewTurn, ThreadEvent, ThreadEventQuery, TurnStatus};

use super::{
    show::Show,
    stage::Stage,
    tally::{Flaw, holds, same},
};
use crate::cli::turns::answer::{Answer, Said, end};

const QUESTION: &str = "what is 6 * 7?";

pub(super) async fn run(stage: &Stage, show: Show) -> Result<String, Flaw> {
    let threads = stage.client.threads();
    let thread = format!("chat-{}", stage.run);
    let turn = NewTurn::new(QUESTION)?.thread(&thread).id("turn-1");
    let accepted = stage.client.turns().start(&turn, None).await?;
    let mut stream = threads.follow(&thread, 0, Some(&accepted.turn_id));
    show.aside(&format!("asking: {QUESTION}"));
    let (mut heard, mut answer, mut ended) = (Vec::new(), Answer::default(), None);
    let mut is_fresh = true;
    while let Some(event) = stream.next().await {
        let event = event?;
        for said in answer.hear(&event) {
            match said {
                Said::Text(text) => {
                    let margin = if is_fresh { "    " } else { "" };
                    is_fresh = text.ends_with('\n');
                    show.piece(&format!("{margin}{text}"));
                }
                Said::Aside(text) => show.aside(&text),
            }
        }
        ended = ended.or(end(&event));
        heard.push(event);
    }

    match ended {
        Some(Ok(())) => {}
        Some(Err(why)) => return Err(Flaw::new("a turn that is completed", why)),
        None => return Err(Flaw::new("the turn's end", "the stream's")),
    }
    let numbers: Vec<u64> = heard.iter().map(|event| event.seq).collect();
    same(
        "the numbers of its events",
        (1..=heard.len() as u64).collect(),
        numbers,
    )?;
    let (pieces, whole) = message(&heard);
    same("the pieces together", &whole, &pieces)?;
    holds(
        whole.ends_with(" 6 * 7 = 42."),
        "an answer that ends with 42",
        &whole,
    )?;
    let called = heard
        .iter()
        .any(|event| event.event_type == "tool.call.completed");
    holds(called, "a call of a tool", "none")?;

    let read = threads
        .events(&thread, &ThreadEventQuery::default())
        .await?;
    let ids = |events: &[ThreadEvent]| -> Vec<String> {
        events.iter().map(|event| event.event_id.clone()).collect()
    };
    same("what is read afterwards", ids(&heard), ids(&read))?;
    let turns = threads.turns(&thread, None, None).await?.items;
    let states: Vec<TurnStatus> = turns.iter().map(|turn| turn.status).collect();
    same("its turns", vec![TurnStatus::Completed], states)?;
    Ok(format!(
        "{} events of the thread {thread}, each once and in its order, as they are read afterwards",
        heard.len()
    ))
}

/// A message as it came piece by piece, and as it was in the end.
fn message(events: &[ThreadEvent]) -> (String, String) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Payload {
        delta: String,
        text: String,
    }
    let (mut pieces, mut whole) = (String::new(), String::new());
    for event in events {
        let payload: Payload = serde_json::from_str(event.payload.get()).unwrap_or_default();
        match event.event_type.as_str() {
            "message.delta" => pieces.push_str(&payload.delta),
            "message.completed" => whole = payload.text,
            _ => {}
        }
    }
    (pieces, whole)
}
