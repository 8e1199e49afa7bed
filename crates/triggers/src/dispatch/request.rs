//! The request that a delivery is.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderValue, Method, header};
use tidewire_core::Time;
use tidewire_events::DEPTH_HEADER;
use tidewire_jobs::Job;
use tidewire_outbound::{Error, Request};

use crate::{
    Action, Delivery,
    configs::Known,
    firing::Context,
    signature::{self, ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER},
};

/// Bytes of an answer that are read. More than is kept, so that the connection of an endpoint that
/// answers at some length can be used again.
const ANSWER_CAP: usize = 64 << 10;

const USER_AGENT: &str = concat!("tidewire/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";
const TRIGGER_HEADER: &str = "x-tidewire-trigger";
const ATTEMPT_HEADER: &str = "x-tidewire-attempt";

/// What deliveries by one config have in common, made once.
pub(super) struct Prepared {
    config: Arc<Known>,
    /// What is one endpoint to gates.
    pub endpoint: Arc<str>,
    /// Everything but what changes from firing to firing, or why there is none.
    template: Result<Request, Error>,
}

impl Prepared {
    /// `None` if the config is not that of a delivery.
    pub(super) fn new(config: &Arc<Known>) -> Option<Arc<Self>> {
        let delivery = delivery(config)?;
        Some(Arc::new(Prepared {
            endpoint: delivery.endpoint.key().into(),
            template: template(delivery),
            config: Arc::clone(config),
        }))
    }

    pub(super) fn delivery(&self) -> &Delivery {
        // It was one when this was made, and never changes.
        delivery(&self.config).expect("the config of a delivery")
    }

    /// The request of one attempt.
    pub(super) fn request(
        &self,
        job: &Job,
        context: &Context,
        now: Time,
    ) -> Result<Request, Error> {
        let delivery = self.delivery();
        let body = match has_body(&delivery.method) {
            true => job.payload.get(),
            false => "",
        };
        let at = signature::timestamp(now);
        let id = &context.execution;
        let mut request = self
            .template
            .clone()?
            .header(TIMESTAMP_HEADER, &at.to_string())?
            .header(ATTEMPT_HEADER, &job.attempts.to_string())?;
        for (name, value) in of_firing(context) {
            request = request.header(name, &value)?;
        }
        if let Some(signature) = signature::sign(id, at, body.as_bytes(), &delivery.secrets) {
            request = request.header(SIGNATURE_HEADER, &signature)?;
        }
        Ok(request.body(body.to_owned()))
    }
}

fn delivery(config: &Known) -> Option<&Delivery> {
    match &config.config.action {
        Action::Deliver(delivery) => Some(delivery),
        Action::Enqueue(_) => None,
    }
}

fn template(delivery: &Delivery) -> Result<Request, Error> {
    let mut request = Request::new(delivery.method.clone(), delivery.endpoint.url().as_str())?
        .timeout(delivery.timeout)
        .answer_cap(ANSWER_CAP);
    for (name, value) in of_config(delivery) {
        request = request.header(name, value)?;
    }
    Ok(request)
}

/// The headers of everything that is delivered by one config.
pub(crate) fn of_config(delivery: &Delivery) -> impl Iterator<Item = (&str, &str)> {
    let agent = [(header::USER_AGENT.as_str(), USER_AGENT)];
    let content = has_body(&delivery.method).then_some((header::CONTENT_TYPE.as_str(), JSON));
    let configured = delivery.headers.iter();
    let configured = configured.map(|(name, value)| (name.as_str(), text(value)));
    agent.into_iter().chain(content).chain(configured)
}

/// Those that all attempts of one firing have besides.
pub(crate) fn of_firing(context: &Context) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
    let trigger = context.trigger.as_deref();
    [
        (ID_HEADER, Cow::from(&*context.execution)),
        (DEPTH_HEADER, context.depth.to_string().into()),
    ]
    .into_iter()
    .chain(trigger.map(|trigger| (TRIGGER_HEADER, trigger.into())))
}

/// What a GET or DELETE with a body means nobody has said, and many refuse it (RFC 9110, 9.3.1 and
/// 9.3.5); schedulers of the large clouds send none either.
pub(crate) fn has_body(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::DELETE)
}

/// Configs take headers of visible ASCII characters and spaces only.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}
