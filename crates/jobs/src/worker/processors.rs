//! The registry of processors, and those that come with the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

use super::{Failure, JobContext, Output, Processor};

/// Processors by the type of job that they run.
#[derive(Clone, Default)]
pub struct Processors {
    by_type: BTreeMap<Arc<str>, Arc<dyn Processor>>,
}

impl Processors {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Those that need nothing but a job: `echo`, `sleep`, `fail`.
    #[must_use]
    pub fn built_in() -> Self {
        let mut processors = Self::new();
        processors.register("echo", echo);
        processors.register("sleep", sleep);
        processors.register("fail", fail);
        processors
    }

    /// Adds the processor of a type of job, in place of the one before.
    pub fn register(&mut self, kind: impl Into<Arc<str>>, processor: impl Processor) -> &mut Self {
        self.by_type.insert(kind.into(), Arc::new(processor));
        self
    }

    pub(super) fn get(&self, kind: &str) -> Option<Arc<dyn Processor>> {
        self.by_type.get(kind).cloned()
    }

    #[must_use]
    pub fn types(&self) -> BTreeSet<Arc<str>> {
        self.by_type.keys().cloned().collect()
    }
}

/// Returns its payload.
async fn echo(job: JobContext) -> Result<Output, Failure> {
    Ok(Output::raw(job.into_job().payload))
}

/// Does nothing for `{"ms": …}` milliseconds.
async fn sleep(job: JobContext) -> Result<Output, Failure> {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(default)]
        ms: u64,
    }
    let Payload { ms } = job.payload()?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(Output::none())
}

/// Fails `{"times": n}` times (once without it), then succeeds.
async fn fail(job: JobContext) -> Result<Output, Failure> {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(default = "once")]
        times: u32,
    }
    fn once() -> u32 {
        1
    }
    let Payload { times } = job.payload()?;
    let attempt = job.attempt();
    if attempt <= times {
        return Err(Failure::new(format!(
            "failed as asked: attempt {attempt}, {times} were to fail"
        )));
    }
    Ok(Output::none())
}
