//! The store of objects of this process.

use tidewire_archive::{Archives, Cache, CacheSettings, ColdReader, Objects};
use tidewire_db::Db;
use tidewire_http::Health;

use crate::config;

/// A folder is made; a bucket is spoken to when it is first needed.
pub(super) fn open(db: &Db, named: &config::Archives) -> Result<(Objects, ColdReader), String> {
    let objects = Objects::open(&named.objects)
        .map_err(|error| format!("{error}: name another place with --objects"))?;
    let cache = Cache::new(objects.clone(), CacheSettings::default());
    Ok((objects, ColdReader::new(db.clone(), cache)))
}

/// `/health` says whether the store of objects answers.
pub(super) fn register(health: &Health, archives: &Archives) {
    let archives = archives.clone();
    health.register("objects", move || {
        let archives = archives.clone();
        async move {
            archives.objects().check().await.map_err(|error| {
                tracing::warn!(%error, "the store of objects does not answer");
                "does not answer: the log says why".to_owned()
            })
        }
    });
}
