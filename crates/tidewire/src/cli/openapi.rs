//! `tidewire openapi`: the API's description, without a server.

use super::{Fault, output::Printer};

pub(super) fn run(printer: Printer) -> Result<(), Fault> {
    let text = super::block_on(crate::server::openapi_document())?.map_err(Fault::Failed)?;
    printer.line(&text)
}
