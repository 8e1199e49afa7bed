//! Scenarios on every engine, with archives in a folder.

mod at_once;
mod bucket;
mod dropped;
mod house;
mod life;
mod reads;
mod routes;
mod upkeep;
