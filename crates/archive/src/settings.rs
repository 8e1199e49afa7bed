//! What an operator may set about archives.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct ArchiveSettings {
    /// How often the archiver looks for what is old enough.
    pub every: Duration,
    /// How old that is; without it nothing is archived but what somebody asks for.
    pub older_than: Option<Duration>,
    /// Whether what it archives leaves the database.
    pub trim: bool,
    /// Events of one archive at most …
    pub most_events: u64,
    /// … and bytes of their lines, more or less.
    pub most_bytes: u64,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        ArchiveSettings {
            every: Duration::from_hours(1),
            older_than: None,
            trim: false,
            most_events: 1_000_000,
            most_bytes: 512 << 20,
        }
    }
}
