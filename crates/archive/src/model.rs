//! Archives as they are kept and shown, and what can be asked for.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidewire_core::{FieldError, Problem, Time, duration, name};
use tidewire_threads::NAMESPACE;

/// How the bytes of an archive are named in answers.
pub const CONTENT_TYPE: &str = "application/x-ndjson";
pub const CONTENT_ENCODING: &str = "gzip";

/// A sealed range of a stream, which an object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    pub tenant: Arc<str>,
    pub id: String,
    pub stream: String,
    pub from_seq: u64,
    pub to_seq: u64,
    /// Below the prefix of the store of objects.
    pub object_key: String,
    /// Fewer than there are places if some are missing.
    pub event_count: u64,
    /// Of the object.
    pub bytes: u64,
    /// Of the object, as hexadecimal digits.
    pub sha256: String,
    /// Of the lines in it.
    pub line_bytes: u64,
    /// Of its first and its last event.
    pub first_pos: u64,
    pub last_pos: u64,
    pub first_at: Time,
    pub last_at: Time,
    /// Its companion for query engines.
    pub parquet: Option<Parquet>,
    pub created_at: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parquet {
    pub bytes: u64,
    pub sha256: String,
}

/// How an object's name ends.
pub(crate) const LINES: &str = ".jsonl.gz";
pub(crate) const PARQUET: &str = ".parquet";

impl Archive {
    /// The thread that its stream is, if it is one.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {
        self.stream.strip_prefix(NAMESPACE)
    }

    /// Where its companion is.
    #[must_use]
    pub fn parquet_key(&self) -> Option<String> {
        self.parquet.as_ref()?;
        Some(parquet_key(&self.object_key))
    }
}

pub(crate) fn parquet_key(object_key: &str) -> String {
    let stem = object_key.strip_suffix(LINES).unwrap_or(object_key);
    format!("{stem}{PARQUET}")
}

/// Where the archive of this id is, below the prefix.
pub(crate) fn object_key(stream: &str, id: &str) -> String {
    match stream.strip_prefix(NAMESPACE) {
        Some(thread) => format!("{THREADS}{thread}/archives/{id}{LINES}"),
        None => format!("{STREAMS}{stream}/archives/{id}{LINES}"),
    }
}

/// What all objects of threads' archives are below, and those of other streams.
pub(crate) const THREADS: &str = "threads/";
pub(crate) const STREAMS: &str = "streams/";

/// The id of the archive that an object of this name belongs to, if it can be one's.
pub(crate) fn id_of(object_key: &str) -> Option<&str> {
    let name = object_key.rsplit('/').next()?;
    let id = name
        .strip_suffix(LINES)
        .or_else(|| name.strip_suffix(PARQUET))?;
    tidewire_core::ids::is_id(id).then_some(id)
}

/// How far a stream has gone: archived ≥ cold ≥ trimmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Up to here sealed archives hold it.
    pub archived_until: u64,
    /// Up to here readers look into archives.
    pub cold_until: u64,
    /// Up to here the store need not have it.
    pub trimmed_until: u64,
    /// When events were put back into the store last, if readers were not told of it since.
    pub restored_at: Option<Time>,
}

impl Marks {
    pub(crate) fn are_sound(self) -> bool {
        self.archived_until >= self.cold_until && self.cold_until >= self.trimmed_until
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ArchiveFormat)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON Lines, gzipped: what Tidewire itself reads.
    #[default]
    Jsonl,
    /// The same, and beside it a Parquet file for query engines.
    Parquet,
}

pub(crate) const NO_PARQUET: &str =
    "parquet is not in this build: build it with `--features parquet`";

/// What is to be archived, of one tenant. The payload of a job of type `archive.run` too.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NewArchives)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The stream.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Or the thread.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Or every stream, threads included.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// From where on; must not leave a hole behind what is archived already. Without it: from there.
    #[schema(minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_seq: Option<u64>,
    /// Up to where; the stream's end without it.
    #[schema(minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_seq: Option<u64>,
    /// Only what was stored at least so long ago, such as `30d`.
    #[schema(example = "30d")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
    /// Whether what is archived then leaves the database.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trim: bool,
    #[serde(default)]
    pub format: Format,
    /// Whether to leave fewer than 10,000 events of a stream for a later run, unless the oldest of them
    /// has been old enough for a day: no crowd of small objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gather: bool,
}

/// A request that was checked.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// All streams without it.
    pub stream: Option<String>,
    pub from_seq: Option<u64>,
    pub to_seq: Option<u64>,
    pub older_than: Option<Duration>,
    pub trim: bool,
    pub format: Format,
    pub gather: bool,
}

impl RunRequest {
    pub fn check(&self) -> Result<Wanted, Problem> {
        let mut errors = Vec::new();
        let mut note = |pointer: &str, detail: String| {
            errors.push(FieldError {
                pointer: pointer.to_owned(),
                detail,
            });
        };
        let stream = one_stream(&self.stream, &self.thread_id, &mut note);
        if stream.is_some() == self.all {
            note(
                "",
                "names one of stream, thread_id and all: true".to_owned(),
            );
        }
        for (pointer, seq) in [("/from_seq", self.from_seq), ("/to_seq", self.to_seq)] {
            match seq {
                Some(0) => note(pointer, "must be 1 or more".to_owned()),
                Some(_) if self.all => note(pointer, "goes with one stream only".to_owned()),
                _ => {}
            }
        }
        if let (Some(from), Some(to)) = (self.from_seq, self.to_seq)
            && from > to
        {
            note("/to_seq", format!("is before from_seq, {from}"));
        }
        let older_than = match self.older_than.as_deref().map(duration::parse) {
            Some(Err(why)) => {
                note("/older_than", why);
                None
            }
            Some(Ok(age)) => Some(age),
            None => None,
        };
        if self.format == Format::Parquet && !cfg!(feature = "parquet") {
            note("/format", NO_PARQUET.to_owned());
        }
        Problem::all(errors)?;
        Ok(Wanted {
            stream,
            from_seq: self.from_seq,
            to_seq: self.to_seq,
            older_than,
            trim: self.trim,
            format: self.format,
            gather: self.gather,
        })
    }
}

/// What is to be checked: the payload of a job of type `archive.verify` too.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = VerifyArchives)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Whether to mend what can be mended: objects that no archive knows are deleted, and broken ones
    /// written anew while the database still has their events.
    #[serde(default)]
    pub repair: bool,
}

/// What is to be put back: the payload of a job of type `archive.restore` too.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RestoreArchives)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The stream.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Or the thread.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// From where on up to what was never trimmed; the stream's start without it.
    #[schema(minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_seq: Option<u64>,
}

impl RestoreRequest {
    /// The stream, and from where on.
    pub fn check(&self) -> Result<(String, u64), Problem> {
        let mut errors = Vec::new();
        let mut note = |pointer: &str, detail: String| {
            errors.push(FieldError {
                pointer: pointer.to_owned(),
                detail,
            });
        };
        let stream = one_stream(&self.stream, &self.thread_id, &mut note);
        if stream.is_none() {
            note("", "names one of stream and thread_id".to_owned());
        }
        if self.from_seq == Some(0) {
            note("/from_seq", "must be 1 or more".to_owned());
        }
        Problem::all(errors)?;
        Ok((stream.unwrap_or_default(), self.from_seq.unwrap_or(1)))
    }
}

fn one_stream(
    stream: &Option<String>,
    thread: &Option<String>,
    note: &mut impl FnMut(&str, String),
) -> Option<String> {
    for (pointer, text) in [("/stream", stream), ("/thread_id", thread)] {
        if let Some(text) = text
            && let Err(why) = name::check(text, name::ID_MAX + longer(pointer))
        {
            note(pointer, why);
        }
    }
    match (stream, thread) {
        (Some(_), Some(_)) => {
            note("/thread_id", "names another stream: send one".to_owned());
            None
        }
        (Some(stream), None) => Some(stream.clone()),
        (None, Some(thread)) => Some(format!("{NAMESPACE}{thread}")),
        (None, None) => None,
    }
}

/// The stream of a thread has a longer name than others may have.
fn longer(pointer: &str) -> usize {
    if pointer == "/stream" {
        NAMESPACE.len()
    } else {
        0
    }
}

/// What a run has done. The job's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunReport {
    /// That had something to archive or to trim.
    pub streams: u64,
    pub archives: u64,
    pub events: u64,
    /// Of objects.
    pub bytes: u64,
    /// Events that have left the database.
    pub trimmed: u64,
    /// The last archive that was sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_id: Option<String>,
}

/// What a restore has done. The job's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    pub stream: String,
    /// Events that are back in the database.
    pub events: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_apart_by_their_names() {
        let id = "01JZ8Q4V7R0000000000000001";
        let thread = object_key("thread:a", id);
        assert_eq!(thread, format!("threads/a/archives/{id}.jsonl.gz"));
        let stream = object_key("orders", id);
        assert_eq!(stream, format!("streams/orders/archives/{id}.jsonl.gz"));
        assert_eq!(id_of(&thread), Some(id));
        assert_eq!(id_of(&parquet_key(&stream)), Some(id));
        for other in [
            "threads/a/archives/notes.txt",
            "",
            "streams/x/archives/1.parquet",
        ] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let faults = |request: RunRequest| -> Vec<String> {
            let problem = request.check().unwrap_err();
            let errors = problem.errors.into_iter();
            errors.map(|error| error.pointer).collect()
        };
        assert_eq!(faults(RunRequest::default()), [""]);
        let both = RunRequest {
            stream: Some("a".to_owned()),
            all: true,
            ..RunRequest::default()
        };
        assert_eq!(faults(both), [""]);
        let all = RunRequest {
            all: true,
            to_seq: Some(3),
            older_than: Some("a while".to_owned()),
            ..RunRequest::default()
        };
        assert_eq!(faults(all), ["/to_seq", "/older_than"]);
        let backwards = RunRequest {
            thread_id: Some("t".to_owned()),
            from_seq: Some(4),
            to_seq: Some(3),
            ..RunRequest::default()
        };
        assert_eq!(faults(backwards), ["/to_seq"]);
        let fine = RunRequest {
            thread_id: Some("t".to_owned()),
            older_than: Some("30d".to_owned()),
            ..RunRequest::default()
        };
        assert_eq!(fine.check().unwrap().stream.as_deref(), Some("thread:t"));
        assert!(RestoreRequest::default().check().is_err());
    }
}
