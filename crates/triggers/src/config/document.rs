//! The configs as the API's description shows them. The reader is beside this; a test holds the two together.

use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Ref, RefOr, Schema, schema::AnyOfBuilder},
};

use crate::{model::TriggerType, occurrence::Misfire};

/// The config of a trigger, of the form that its `type` has.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum TriggerConfig {
    Webhook(WebhookConfig),
    Time(TimeConfig),
    Cron(CronConfig),
    Interval(IntervalConfig),
    Event(EventConfig),
}

/// Adds a schema that others refer to by its name, and those that it refers to.
fn named<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

impl ToSchema for TriggerConfig {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        named::<WebhookConfig>(schemas);
        named::<TimeConfig>(schemas);
        named::<CronConfig>(schemas);
        named::<IntervalConfig>(schemas);
        named::<EventConfig>(schemas);
    }
}

impl PartialSchema for TriggerConfig {
    /// Any of them, as what the `type` beside it says is not to be seen here: a derived schema would
    /// say that exactly one of them fits.
    fn schema() -> RefOr<Schema> {
        let of = |name: std::borrow::Cow<'static, str>| Ref::from_schema_name(name);
        AnyOfBuilder::new()
            .item(of(WebhookConfig::name()))
            .item(of(TimeConfig::name()))
            .item(of(CronConfig::name()))
            .item(of(IntervalConfig::name()))
            .item(of(EventConfig::name()))
            .description(Some(
                "The config of a trigger, of the form that its `type` has.",
            ))
            .into()
    }
}

/// What a firing does: a delivery to an `endpoint`, or a `job`. One of them must be given.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DeliveryConfig {
    /// An http or https URL.
    #[schema(max_length = 2048, example = "https://hooks.example/in")]
    pub endpoint: Option<String>,
    /// The firing becomes this job instead of a delivery.
    pub job: Option<JobConfig>,
    /// `POST` if it is missing.
    #[schema(pattern = "^(GET|POST|PUT|PATCH|DELETE)$")]
    pub http_method: Option<String>,
    /// Sent with each attempt. Not `host`, `content-length`, `webhook-*`, `x-tidewire-*` or a hop-by-hop header.
    /// Credentials are masked in answers.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub headers: Option<serde_json::Value>,
    /// What is delivered where the firing brings nothing of its own: any JSON, at most 256 KiB.
    pub payload: Option<serde_json::Value>,
    pub retry: Option<RetryConfig>,
    /// How long an attempt may take, to the last byte of the answer; 15 if it is missing.
    #[schema(minimum = 0.1, maximum = 60)]
    pub timeout_seconds: Option<f64>,
    /// What deliveries are signed with, as Standard Webhooks has it. Masked in answers; a mask that comes back leaves
    /// the secret as it is.
    pub secret: Option<SecretConfig>,
}

/// `whsec_` and the base64 of 24 to 64 bytes, or any other text, which is the key itself.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum SecretConfig {
    One(String),
    /// While it is rotated: each of them signs. At most 4.
    Several(Vec<String>),
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobConfig {
    /// 1–255 characters of `[A-Za-z0-9._:-]`.
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 255, pattern = "^[A-Za-z0-9._:-]+$")]
    pub kind: String,
    /// `default` if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    pub queue: Option<String>,
    /// Another place for `payload`.
    pub payload: Option<serde_json::Value>,
}

/// Attempt n is followed by a wait of `base_seconds · 2^(n-1)`, at most `cap_seconds`, with ±20 % jitter. What is missing
/// is the server's setting.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RetryConfig {
    #[schema(minimum = 1, maximum = 100)]
    pub max_attempts: Option<u32>,
    #[schema(minimum = 0.01, maximum = 604800)]
    pub base_seconds: Option<f64>,
    #[schema(minimum = 0.01, maximum = 604800)]
    pub cap_seconds: Option<f64>,
}

/// `webhook`: fires for each call of its URL.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct WebhookConfig {
    #[serde(flatten)]
    pub delivery: DeliveryConfig,
    /// A JSON Schema (draft 2020-12 unless `$schema` says otherwise) that payloads must keep to; at most 64 KiB, without
    /// references to other documents.
    pub schema: Option<serde_json::Value>,
    /// The URL alone is not enough: a call needs a key of the tenant too.
    pub require_key: Option<bool>,
}

/// `time_scheduled`: fires once. One of `run_at` and `delay` must be given.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct TimeConfig {
    #[serde(flatten)]
    pub delivery: DeliveryConfig,
    /// RFC 3339 with an offset, or a local time without one and `timezone`.
    #[schema(example = "2026-01-31T12:00:00Z")]
    pub run_at: Option<String>,
    /// How long after it was saved.
    #[schema(example = "10m")]
    pub delay: Option<String>,
    /// An IANA time zone.
    #[schema(example = "Europe/Berlin")]
    pub timezone: Option<String>,
}

/// `cron_scheduled`: fires on a pattern.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CronConfig {
    #[serde(flatten)]
    pub delivery: DeliveryConfig,
    /// Five fields, six with seconds, or `@yearly`, `@monthly`, `@weekly`, `@daily`, `@hourly`.
    #[schema(max_length = 512, example = "*/15 9-17 * * MON-FRI")]
    pub cron: String,
    /// An IANA time zone; UTC if it is missing.
    #[schema(example = "Europe/Berlin")]
    pub timezone: Option<String>,
    /// No firing before.
    pub starts_at: Option<String>,
    /// No firing after.
    pub ends_at: Option<String>,
    pub misfire: Option<Misfire>,
}

/// `interval_scheduled`: fires again and again after the same time.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct IntervalConfig {
    #[serde(flatten)]
    pub delivery: DeliveryConfig,
    /// At least `1s`.
    #[schema(example = "30m")]
    pub every: String,
    /// The first firing; one interval after it was saved if it is missing.
    pub starts_at: Option<String>,
}

/// `event`: fires for each matching event that is stored after the trigger was saved.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct EventConfig {
    #[serde(flatten)]
    pub delivery: DeliveryConfig,
    /// A type, or the beginning of one and `*`.
    #[schema(min_length = 1, max_length = 256, example = "order.*")]
    pub event_type: String,
    /// Conditions on the event's fields.
    #[schema(example = json!({"payload": {"amount": {"$gte": 100}}}))]
    pub filter: Option<serde_json::Value>,
}

const DELIVERY: [&str; 8] = [
    "endpoint",
    "job",
    "http_method",
    "headers",
    "payload",
    "retry",
    "timeout_seconds",
    "secret",
];

/// The fields that a config of this type may have.
pub(super) fn fields(kind: TriggerType) -> Vec<&'static str> {
    let own: &[&str] = match kind {
        TriggerType::Webhook => &["schema", "require_key"],
        TriggerType::TimeScheduled => &["run_at", "delay", "timezone"],
        TriggerType::CronScheduled => &["cron", "timezone", "starts_at", "ends_at", "misfire"],
        TriggerType::IntervalScheduled => &["every", "starts_at"],
        TriggerType::Event => &["event_type", "filter"],
    };
    [own, &DELIVERY].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema;

    use super::*;

    fn described<T: PartialSchema>() -> BTreeSet<String> {
        fn collect(schema: &serde_json::Value, names: &mut BTreeSet<String>) {
            for part in schema["allOf"].as_array().into_iter().flatten() {
                collect(part, names);
            }
            if schema["$ref"] == "#/components/schemas/DeliveryConfig" {
                collect(
                    &serde_json::to_value(DeliveryConfig::schema()).unwrap(),
                    names,
                );
            }
            let properties = schema["properties"].as_object();
            names.extend(
                properties
                    .into_iter()
                    .flat_map(|names| names.keys().cloned()),
            );
        }
        let mut names = BTreeSet::new();
        collect(&serde_json::to_value(T::schema()).unwrap(), &mut names);
        names
    }

    #[test]
    fn what_is_described_is_what_is_read() {
        for (kind, described) in [
            (TriggerType::Webhook, described::<WebhookConfig>()),
            (TriggerType::TimeScheduled, described::<TimeConfig>()),
            (TriggerType::CronScheduled, described::<CronConfig>()),
            (
                TriggerType::IntervalScheduled,
                described::<IntervalConfig>(),
            ),
            (TriggerType::Event, described::<EventConfig>()),
        ] {
            let read: BTreeSet<String> = fields(kind).into_iter().map(str::to_owned).collect();
            assert_eq!(described, read, "{kind}");
        }
    }
}
