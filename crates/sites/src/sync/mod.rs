//! A sync: one list of one site, from where it was left to its end.
//!
//! Two things go on at once: pages are asked for one after the other ([`fetch`]), and those that have
//! come are written ([`commit`]), as many as wait in one transaction, each time with the place at which
//! reading goes on. So the next page is under way while this one becomes durable, and no more than a
//! few are held in memory. What a window is and how it moves is in [`window`].

mod commit;
pub(crate) mod fault;
mod fetch;
mod hosts;
mod run;
mod window;

pub use fault::SourceFault;
pub(crate) use fetch::Asker;
pub(crate) use hosts::Hosts;
pub(crate) use run::{Ended, Hold, Run};
pub(crate) use window::Window;

pub(crate) use commit::{Progress, broken};
