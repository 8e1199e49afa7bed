//! A place for one test's objects, which goes with it.

use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tempfile::TempDir;
use tidewire_archive::objects::{Error, Listed, Objects, ObjectsSettings, Put};
use tidewire_testkit::servers::{self, S3Address};

pub struct Place {
    pub objects: Objects,
    /// If it is a folder.
    pub folder: Option<TempDir>,
}

impl Place {
    #[expect(clippy::unused_async, reason = "places on servers wait for them")]
    pub async fn folder() -> Option<Place> {
        let folder = TempDir::new().unwrap();
        let url = format!("file://{}/objects", folder.path().display());
        Some(Place {
            objects: Objects::open(&ObjectsSettings::new(url)).unwrap(),
            folder: Some(folder),
        })
    }

    /// A prefix of one's own on the S3 that all tests share; nothing where there is none.
    pub async fn s3() -> Option<Place> {
        let address = servers::s3().await?;
        Some(Place::at(&settings(&address)))
    }

    pub fn at(settings: &ObjectsSettings) -> Place {
        Place {
            objects: Objects::open(settings).unwrap(),
            folder: None,
        }
    }

    /// Writes these bytes in pieces of this size.
    pub async fn put(&self, key: &str, bytes: &[u8], piece: usize) -> Result<Put, Error> {
        let pieces: Vec<_> = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
        self.objects
            .put(key, stream::iter(pieces.into_iter().map(Ok)))
            .await
    }

    pub async fn read(&self, key: &str) -> Result<Vec<u8>, Error> {
        let (size, mut pieces) = self.objects.get(key).await?;
        let mut all = Vec::new();
        while let Some(piece) = pieces.try_next().await? {
            all.extend(piece);
        }
        assert_eq!(all.len() as u64, size);
        Ok(all)
    }

    pub async fn list(&self, under: &str) -> Vec<Listed> {
        let mut all: Vec<_> = self.objects.list(under).map(Result::unwrap).collect().await;
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all
    }

    /// Files of a folder that are no objects.
    pub fn left_over(&self) -> usize {
        fn files(folder: &Path) -> usize {
            let found = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
            let count = found.map(|one| match one.file_type().unwrap().is_dir() {
                true => files(&one.path()),
                false => usize::from(one.file_name().to_string_lossy().contains('#')),
            });
            count.sum()
        }
        self.folder
            .as_ref()
            .map_or(0, |folder| files(folder.path()))
    }

    pub async fn keys(&self, under: &str) -> Vec<String> {
        let listed = self.list(under).await;
        listed.into_iter().map(|one| one.key).collect()
    }
}

/// How a prefix of one's own is reached on this S3.
pub fn settings(address: &S3Address) -> ObjectsSettings {
    ObjectsSettings {
        endpoint: Some(address.endpoint.clone()),
        access_key_id: Some(address.access_key_id.clone()),
        secret_access_key: Some(address.secret_access_key.clone()),
        ..ObjectsSettings::new(format!(
            "s3://{}/{}/deep",
            address.bucket,
            servers::own_prefix()
        ))
    }
}

/// Bytes that no two places of are alike.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bytes.extend((mixed ^ (mixed >> 27)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
