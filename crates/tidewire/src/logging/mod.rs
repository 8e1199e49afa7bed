//! Log lines and traces.
//!
//! Lines go to standard error through [`lines`]. Spans leave for an OpenTelemetry collector when
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

mod lines;

use std::{io::IsTerminal as _, sync::OnceLock};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// What is written of all lines, in the process's one log.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Another filter holds from here on.
pub fn set_filter(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    match FILTER.get() {
        Some(handle) => handle.reload(filter).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// Ends logging when it is dropped: writes what waits, sends the last spans.
pub struct Logging {
    provider: Option<SdkTracerProvider>,
    _lines: lines::Guard,
}

impl Logging {
    /// Starts logging for the process. Comes before any runtime: the exporter has its own threads.
    pub fn start(log: &Log) -> Result<Self, String> {
        let (writer, guard) = lines::start(std::io::stderr())
            .map_err(|error| format!("logging cannot start: {error}"))?;
        let lines = tracing_subscriber::fmt::layer().with_writer(writer);
        let lines: Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync> = match log.format {
            LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .boxed(),
        };
        let filter = EnvFilter::try_new(&log.filter).map_err(|error| error.to_string())?;
        let (filter, handle) = reload::Layer::new(filter);
        // A second start fails below.
        let _ = FILTER.set(handle);
        let provider = exporter()?;
        let traces = provider.as_ref().map(|provider| {
            let spans = EnvFilter::try_new("info,tidewire_http=debug").unwrap_or_default();
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("tidewire"))
                .with_filter(spans)
        });
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(traces)
            .try_init()
            .map_err(|error| format!("logging cannot start: {error}"))?;
        Ok(Logging {
            provider,
            _lines: guard,
        })
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Whether a collector is named.
fn traces_are_on() -> bool {
    [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ]
    .iter()
    .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// OTLP over HTTP in protobuf; the exporter itself reads the standard `OTEL_…` variables.
fn exporter() -> Result<Option<SdkTracerProvider>, String> {
    if !traces_are_on() {
        return Ok(None);
    }
    crate::install_tls();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()
        .map_err(|error| {
            format!("OTEL_EXPORTER_OTLP_ENDPOINT: traces cannot be sent there: {error}")
        })?;
    let mut resource = opentelemetry_sdk::Resource::builder();
    // The builder reads the variable too, and a name that is set here would win over it.
    if std::env::var_os("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) {
        resource = resource.with_service_name("tidewire");
    }
    let resource = resource.build();
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build(),
    ))
}
