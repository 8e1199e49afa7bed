//! The binary: everything is in the library.

use std::process::ExitCode;

/// Log lines and answers are made on one thread and freed on another, which the system's allocator
/// pays for with locks: see docs/benchmarks.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidewire::cli::main()
}
