//! The code that runs one type of job.

use std::{future::Future, pin::Pin};

use super::{Failure, JobContext, Output};

/// Runs jobs of one type. A job may run more than once (a lease can expire while its worker still
/// works), so effects outside should be safe to repeat; `job.id()` makes a good idempotency key.
///
/// An implementation may be written as `async fn process(&self, job: JobContext) -> …`.
pub trait Processor: Send + Sync + 'static {
    fn process(&self, job: JobContext) -> impl Future<Output = Result<Output, Failure>> + Send;
}

/// A closure is a processor too; it may return anything that is an [`Output`].
pub(super) struct Closure<F>(pub F);

impl<F, Fut, O> Processor for Closure<F>
where
    F: Fn(JobContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, Failure>> + Send + 'static,
    O: Into<Output> + 'static,
{
    async fn process(&self, job: JobContext) -> Result<Output, Failure> {
        (self.0)(job).await.map(Into::into)
    }
}

type Work<'p> = Pin<Box<dyn Future<Output = Result<Output, Failure>> + Send + 'p>>;

/// A processor behind a pointer.
pub(super) trait AnyProcessor: Send + Sync {
    fn start(&self, job: JobContext) -> Work<'_>;
}

impl<P: Processor> AnyProcessor for P {
    fn start(&self, job: JobContext) -> Work<'_> {
        Box::pin(self.process(job))
    }
}
