//! What an operator and a tenant notice of access, over the real routes, layer and stores.

mod authentication;
mod open;
mod request_keys;
mod secrets;
mod server;
mod several;
mod store;
mod tenants;
