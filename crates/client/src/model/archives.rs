//! Archives: what was sealed, and what can be asked for.

use serde::{Deserialize, Serialize};
use tidewire_core::Time;

/// A sealed range of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Archive {
    pub archive_id: String,
    #[serde(default)]
    pub stream: String,
    #[serde(default)]
    pub thread_id: Option<String>,
    pub from_seq: u64,
    pub to_seq: u64,
    #[serde(default)]
    pub object_key: String,
    #[serde(default)]
    pub parquet_key: Option<String>,
    #[serde(default)]
    pub content_type: String,
    #[serde(default)]
    pub content_encoding: String,
    #[serde(default)]
    pub event_count: u64,
    #[serde(default)]
    pub bytes: u64,
    #[serde(default)]
    pub sha256: String,
    #[serde(default)]
    pub created_at: Option<Time>,
}

/// What is to be archived: one of `stream`, `thread_id` and `all`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewArchives {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_seq: Option<u64>,
    /// Only what was stored at least so long ago, such as `30d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
    /// Whether what is archived leaves the database.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub trim: bool,
    /// `jsonl`, or `parquet` for a companion of that kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// What is to be put back: one of `stream` and `thread_id`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RestoreArchives {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_seq: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct ArchivesPage {
    pub archives: Vec<Archive>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}
