//! Runs a scenario on an engine, or leaves it out.

use std::future::Future;

use tokio::runtime::Builder;

use crate::{Engine, servers};

/// How many threads run a scenario's tasks.
#[derive(Clone, Copy, Debug)]
pub enum Threads {
    One,
    Many,
}

/// What `#[every_engine]` calls: the scenario in a runtime of its own.
pub fn run_on<F: Future<Output = ()>>(
    engine: Engine,
    threads: Threads,
    scenario: impl FnOnce(Engine) -> F,
) {
    if !servers::is_there(engine) {
        return;
    }
    let mut builder = match threads {
        Threads::One => Builder::new_current_thread(),
        Threads::Many => Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(Box::pin(scenario(engine)));
}
