//! What an operator and a tenant notice of access, over the real routes, layer and a SQLite file.

mod authentication;
mod open;
mod request_keys;
mod secrets;
mod server;
mod store;
mod tenants;
