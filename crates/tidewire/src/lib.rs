//! Tidewire's binary as a library: the command line, the configuration, and the composition root.

pub mod cli;
pub mod config;
mod logging;
mod server;
mod sharing;
mod supervisor;

/// TLS for outgoing requests comes from one provider, chosen once for the process.
fn install_tls() {
    // A second call finds the first one's choice, which is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
