//! Somebody's endpoint: takes what triggers deliver, and believes only what is signed.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::Value;
use standardwebhooks::Webhook;
use tidewire_core::clock;
use tidewire_http::Health;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;

use super::{stage::ANY_PORT, tally::Flaw};
use crate::cli::{Fault, listening::Listening};

/// What it says to who only looks.
pub(super) const GREETING: &str = "hello from the receiver\n";
/// Deliveries that are remembered: the demo may run for days.
const KEPT: usize = 100;

/// One that came.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub trigger: String,
    pub execution: String,
    pub body: Value,
    /// Why it is not believed, if it is not.
    pub verdict: Result<(), String>,
}

pub(super) struct Receiver {
    pub url: String,
    /// What deliveries are to be signed with.
    pub secret: String,
    came: watch::Receiver<VecDeque<Delivery>>,
}

#[derive(Clone)]
struct Desk {
    webhook: Arc<Webhook>,
    came: watch::Sender<VecDeque<Delivery>>,
}

impl Receiver {
    pub async fn open() -> Result<(Self, Listening), Fault> {
        // Hexadecimal digits are base64 too, here that of 48 bytes.
        let secret = format!("whsec_{}", hex::encode(clock::random_bytes::<32>()));
        let webhook = Arc::new(Webhook::new(&secret).map_err(Fault::failed)?);
        let (sender, came) = watch::channel(VecDeque::new());
        let desk = Desk {
            webhook,
            came: sender,
        };
        let routes = Router::new()
            .route("/hook", post(take))
            .route("/greeting", get(async || GREETING))
            .with_state(desk);
        let health = Health::new();
        health.set_ready(true);
        let service = Listening::on(ANY_PORT, (OpenApiRouter::from(routes), health), true).await?;
        let receiver = Receiver {
            url: format!("http://{}", service.address),
            secret,
            came,
        };
        Ok((receiver, service))
    }

    /// The first delivery of a trigger, when it has come; it must be one to be believed.
    pub async fn first_of(&self, trigger: &str) -> Result<Delivery, Flaw> {
        let is_its = |delivery: &&Delivery| delivery.trigger == trigger;
        let mut came = self.came.clone();
        let all = came
            .wait_for(|all| all.iter().any(|one| is_its(&one)))
            .await?;
        let Some(delivery) = all.iter().find(is_its).cloned() else {
            return Err(Flaw::new("a delivery", "none"));
        };
        match &delivery.verdict {
            Ok(()) => Ok(delivery),
            Err(why) => Err(Flaw::new("a signature that is good", why)),
        }
    }
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let delivery = Delivery {
        trigger: text("x-tidewire-trigger"),
        execution: text("webhook-id"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        verdict: judge(&desk.webhook, &headers, &body),
    };
    let answer = match delivery.verdict {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::UNAUTHORIZED,
    };
    desk.came.send_modify(|all| {
        all.truncate(KEPT - 1);
        all.push_front(delivery);
    });
    answer
}

/// As Standard Webhooks has it: the signature is of this id, this time and this body, and of no other.
fn judge(webhook: &Webhook, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    webhook
        .verify(body, headers)
        .map_err(|error| error.to_string())?;
    match webhook.verify(&[body, b" "].concat(), headers) {
        Err(_) => Ok(()),
        Ok(()) => Err("one that is good for another body too".to_owned()),
    }
}
