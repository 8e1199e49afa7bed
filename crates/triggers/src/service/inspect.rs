//! What was sent, for people who look into a delivery: made again of the execution's config, its payload
//! and the times of its attempts, as none of it is kept twice.

use serde_json::value::RawValue;

use super::{Inner, Triggers};
use crate::{
    Action, Error,
    config::shown_header,
    dispatch::{has_body, of_config, of_firing},
    firing::Context,
    model::Execution,
    signature,
};

/// Characters of a signature that are shown: enough to compare, and too few to send it again.
const SHOWN: usize = 12;

/// The requests of an execution that delivers.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: String,
    pub url: String,
    /// Those that all attempts have in common. Credentials are masked.
    pub headers: Vec<(String, String)>,
    /// None where the method has no body.
    pub body: Option<Box<RawValue>>,
    /// One for each attempt, if deliveries are signed.
    pub signed: Vec<Signed>,
}

/// How one attempt was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub attempt: u32,
    /// `webhook-timestamp`.
    pub timestamp: i64,
    /// `webhook-signature`, of which each signature shows its beginning alone.
    pub signature: String,
}

impl Triggers {
    /// What an execution has sent; `None` if it makes a job, or its config or job is gone.
    pub async fn sent(&self, execution: &Execution) -> Result<Option<Sent>, Error> {
        let Inner {
            configs, db, fire, ..
        } = &*self.inner;
        let Some(job) = &execution.job_id else {
            return Ok(None);
        };
        let tenant = &*execution.tenant;
        let job = fire.jobs.find(tenant, &[job]).await?.pop().flatten();
        let context = job
            .and_then(|job| job.followed)
            .and_then(|followed| serde_json::from_str::<Context>(&followed.context).ok());
        let Some(context) = context else {
            return Ok(None);
        };
        let config = configs.one(&mut db.read(), tenant, &context.config).await?;
        let Some(config) = config else {
            return Ok(None);
        };
        let Action::Deliver(delivery) = &config.config.action else {
            return Ok(None);
        };
        let with_body = has_body(&delivery.method);
        let body = if with_body {
            execution.payload.get()
        } else {
            ""
        };
        let headers = of_config(delivery)
            .map(|(name, value)| (name.to_owned(), shown_header(name, value)))
            .chain(of_firing(&context).map(|(name, value)| (name.to_owned(), value.into_owned())));
        let signed = execution.attempts.iter().filter_map(|attempt| {
            let timestamp = signature::timestamp(attempt.started_at);
            let id = &context.execution;
            let whole = signature::sign(id, timestamp, body.as_bytes(), &delivery.secrets)?;
            Some(Signed {
                attempt: attempt.attempt,
                timestamp,
                signature: beginnings(&whole),
            })
        });
        Ok(Some(Sent {
            method: delivery.method.to_string(),
            url: delivery.endpoint.url().to_string(),
            headers: headers.collect(),
            signed: signed.collect(),
            body: with_body.then(|| execution.payload.clone()),
        }))
    }
}

fn beginnings(signatures: &str) -> String {
    let short = |signature: &str| signature.chars().take(SHOWN).collect::<String>() + "…";
    let all: Vec<_> = signatures.split(' ').map(short).collect();
    all.join(" ")
}
