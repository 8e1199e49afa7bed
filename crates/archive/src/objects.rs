//! Where archives are kept: a folder, or a bucket of S3 or of what speaks like it.
//!
//! An object is written once, under a key that nobody else has, and is never changed. What is written is
//! known by its length and its SHA-256, and [`Objects::verify`] reads it back: nothing may be forgotten
//! elsewhere before that. Whatever the size of an object, a few pieces of it are in memory.
//!
//! # What is promised of a write
//! In a folder a file appears under its name when it is whole and `fsync`ed, and so is the folder's entry;
//! what a crash leaves of an upload has a name ending in `#` and a number, and is no object: it is not
//! listed. In S3 an object appears when its upload is complete. An upload that fails, or that nobody waits
//! for any more, is aborted; one whose process dies leaves its parts to the bucket's lifecycle rule.

mod error;
mod fetch;
mod settings;
mod upload;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path,
};
use tidewire_core::Time;

pub use error::Error;
pub use settings::ObjectsSettings;
use settings::Place;
pub use upload::Put;

type Result<T> = std::result::Result<T, Error>;

/// A request that moves eight megabytes has this long, which is 140 kB a second.
const REQUEST_WITHIN: Duration = Duration::from_mins(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A request is tried again, so often and for so long. That is enough for a server's restart, and no more:
/// an archiver is run again, and somebody waits for a page.
const RETRIES: usize = 10;
const RETRY_WITHIN: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Whoever asks for our health does not wait for retries.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// A place for objects. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Objects {
    inner: Arc<Inner>,
}

struct Inner {
    store: Box<dyn ObjectStore>,
    /// What all keys begin with there.
    prefix: Path,
    /// For people, without secrets.
    place: String,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
}

/// An object as a list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
    pub modified: Time,
}

impl Objects {
    /// Opens the place that the settings name; a folder is made. A bucket is spoken to when it is first
    /// needed.
    pub fn open(settings: &ObjectsSettings) -> Result<Self> {
        let inner = match settings.place().map_err(Error::Settings)? {
            Place::Folder(folder) => in_folder(folder)?,
            Place::Bucket { bucket, prefix } => Inner {
                store: Box::new(in_bucket(settings, &bucket)?),
                place: settings.to_string(),
                prefix,
                folder: None,
            },
        };
        Ok(Objects {
            inner: Arc::new(inner),
        })
    }

    /// Where it is, for banners and errors.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// A key with all that it has before it there.
    #[must_use]
    pub fn full_key(&self, key: &str) -> String {
        match self.inner.prefix.as_ref() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    /// Whether objects can be listed there.
    pub async fn check(&self) -> Result<()> {
        let looked = async {
            if let Some(folder) = &self.inner.folder {
                return self.look_at(folder.clone()).await;
            }
            let (store, prefix) = (&self.inner.store, &self.inner.prefix);
            let listed = store.list_with_delimiter(Some(prefix)).await;
            listed.map(drop).map_err(|error| self.unlistable(&error))
        };
        match tokio::time::timeout(CHECK_WITHIN, looked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unlisted(format!("no answer within {} s", CHECK_WITHIN.as_secs()))),
        }
    }

    /// The library's list of a folder that is gone is an empty one.
    async fn look_at(&self, folder: PathBuf) -> Result<()> {
        let looked = tokio::task::spawn_blocking(move || std::fs::read_dir(folder).map(drop)).await;
        let failed = match looked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(self.unlisted(failed))
    }

    fn unlistable(&self, error: &object_store::Error) -> Error {
        self.unlisted(error::why(error))
    }

    fn unlisted(&self, why: String) -> Error {
        Error::Place {
            what: "list the objects in",
            place: self.inner.place.clone(),
            why,
        }
    }

    /// Deletes an object. One that is not there is deleted already.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        match self.inner.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", key, &error)),
        }
    }

    /// The objects whose keys begin with the folders `under`, all for an empty one; in no order.
    #[must_use]
    pub fn list(&self, under: &str) -> BoxStream<'static, Result<Listed>> {
        let path = match under {
            "" => self.inner.prefix.clone(),
            under => match self.path(under.trim_end_matches('/')) {
                Ok(path) => path,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            },
        };
        let objects = self.clone();
        let listed = self.inner.store.list(Some(&path));
        listed
            .map(move |found| match found {
                Ok(found) => Ok(objects.listed(&found)),
                Err(error) => Err(objects.unlistable(&error)),
            })
            .boxed()
    }

    fn listed(&self, found: &ObjectMeta) -> Listed {
        let key = match found.location.prefix_match(&self.inner.prefix) {
            Some(parts) => Path::from_iter(parts).to_string(),
            None => found.location.to_string(),
        };
        Listed {
            key,
            bytes: found.size,
            modified: Time::new(found.last_modified),
        }
    }

    /// The key as the place has it.
    fn path(&self, key: &str) -> Result<Path> {
        let whole = self.full_key(key);
        let why = match Path::parse(&whole) {
            // The library forgives a slash before and behind.
            Ok(path) if path.as_ref() == whole && !key.is_empty() => return Ok(path),
            Ok(_) => "it is empty, or begins or ends with a slash".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::Key {
            key: key.to_owned(),
            why,
        })
    }

    fn failed(&self, what: impl Into<String>, key: &str, error: &object_store::Error) -> Error {
        let (key, place) = (key.to_owned(), self.inner.place.clone());
        match error {
            object_store::Error::NotFound { .. } if !error::is_about_bucket(error) => {
                Error::Missing { key, place }
            }
            error => Error::Failed {
                what: what.into(),
                key,
                place,
                why: error::why(error),
            },
        }
    }
}

fn in_folder(folder: PathBuf) -> Result<Inner> {
    let place = folder.display().to_string();
    let refused = |what, why: String| Error::Place {
        what,
        place: place.clone(),
        why,
    };
    std::fs::create_dir_all(&folder)
        .map_err(|error| refused("make the folder", error.to_string()))?;
    let store = LocalFileSystem::new_with_prefix(&folder)
        .map_err(|error| refused("open the folder", error::why(&error)))?;
    Ok(Inner {
        store: Box::new(store.with_fsync(true)),
        prefix: Path::default(),
        folder: Some(folder),
        place: place.clone(),
    })
}

fn in_bucket(settings: &ObjectsSettings, bucket: &str) -> Result<impl ObjectStore + use<>> {
    // Only the first in a process wins, and any provider will do: the library merely wants one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = settings.endpoint.as_deref();
    let is_plain = endpoint.is_some_and(|url| url.starts_with("http://"));
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT_WITHIN)
        .with_timeout(REQUEST_WITHIN)
        .with_allow_http(is_plain)
        // Loading them takes longer than a request, and a bare container has none.
        .with_no_system_certificates(is_plain);
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: FIRST_PAUSE,
            max_backoff: LONGEST_PAUSE,
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: RETRY_WITHIN,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&settings.region)
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_client_options(options)
        .with_retry(retry);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let (Some(id), Some(secret)) = (&settings.access_key_id, &settings.secret_access_key) {
        builder = builder
            .with_access_key_id(id)
            .with_secret_access_key(secret);
    }
    builder.build().map_err(|error| Error::Place {
        what: "use",
        place: settings.to_string(),
        why: error::why(&error),
    })
}
