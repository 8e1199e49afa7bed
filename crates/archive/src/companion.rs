//! The companion of an archive: the same events as a Parquet file, for people's query engines. Tidewire
//! itself never reads it.

#[cfg(feature = "parquet")]
pub(crate) use built::Companion;
#[cfg(not(feature = "parquet"))]
pub(crate) use left_out::Companion;

#[cfg(feature = "parquet")]
mod built {
    use bytes::Bytes;
    use tidewire_events::Event;

    use crate::{
        Error,
        parquet::{self, Row, Writer},
    };

    pub(crate) struct Companion(Writer);

    impl Companion {
        pub(crate) fn new() -> Result<Self, Error> {
            Ok(Companion(Writer::new()?))
        }

        /// Adds events; what is finished by then.
        pub(crate) fn take(&mut self, events: &[Event]) -> Result<Bytes, Error> {
            for event in events {
                self.0.push(&Row {
                    stream: &event.stream,
                    seq: event.seq,
                    pos: event.pos,
                    id: &event.id,
                    kind: &event.kind,
                    subject: event.subject.as_deref(),
                    payload: event.payload.get(),
                    dedupe_key: event.dedupe_key.as_deref(),
                    source: event.source.as_deref(),
                    occurred_at: Some(event.occurred_at),
                    created_at: event.created_at,
                })?;
            }
            Ok(self.0.take())
        }

        /// What is left.
        pub(crate) fn finish(self) -> Result<Bytes, Error> {
            Ok(self.0.finish()?.0)
        }
    }

    impl From<parquet::Error> for Error {
        fn from(error: parquet::Error) -> Self {
            Error::Store(tidewire_db::Error::Broken(error.to_string()))
        }
    }
}

#[cfg(not(feature = "parquet"))]
mod left_out {
    use bytes::Bytes;
    use tidewire_events::Event;

    use crate::{Error, model::NO_PARQUET};

    /// There is none in this build, and a request for one was refused.
    pub(crate) enum Companion {}

    impl Companion {
        pub(crate) fn new() -> Result<Self, Error> {
            let why = tidewire_core::Problem::invalid("/format", NO_PARQUET);
            Err(Error::Invalid(why))
        }

        pub(crate) fn take(&mut self, _: &[Event]) -> Result<Bytes, Error> {
            match *self {}
        }

        pub(crate) fn finish(self) -> Result<Bytes, Error> {
            match self {}
        }
    }
}
