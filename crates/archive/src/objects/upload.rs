//! Writing an object: at once if it is small, else in parts.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use object_store::{
    MultipartUpload, ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload, path::Path,
};
use sha2::{Digest as _, Sha256};
use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet},
};

use super::{Error, Objects, Result};

/// The size of a part: all but the last are equal, as some look-alikes want them, and what fits into one is
/// written at once.
pub(super) const PART: usize = 8 * 1024 * 1024;
/// Parts that are under way while the next one is filled.
const AT_ONCE: usize = 2;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub bytes: u64,
    /// SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// Counts and hashes what goes by.
#[derive(Default)]
pub(super) struct Sum {
    bytes: u64,
    hash: Sha256,
}

impl Sum {
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    pub fn total(self) -> Put {
        Put {
            bytes: self.bytes,
            sha256: hex::encode(self.hash.finalize()),
        }
    }
}

/// A part that is being filled.
#[derive(Default)]
struct Part {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Part {
    /// Takes of `bytes` what fits.
    fn take(&mut self, bytes: &mut Bytes) {
        let taken = bytes.split_to(bytes.len().min(PART - self.bytes));
        self.bytes += taken.len();
        self.pieces.push(taken);
    }

    fn is_full(&self) -> bool {
        self.bytes == PART
    }

    fn payload(&mut self) -> PutPayload {
        let part = std::mem::take(self);
        part.pieces.into_iter().collect()
    }
}

impl Objects {
    /// Writes an object, and says what it was. If the stream fails, there is no object, and its error is
    /// given back.
    ///
    /// An object that is there already is left alone, and is an error unless it is the same. It is looked
    /// for once, before anything is sent. That nobody else writes it in between is held by the place for
    /// an object of one part, if it knows conditional writes; no two may write a larger one under one key.
    pub async fn put<E: From<Error>>(
        &self,
        key: &str,
        bytes: impl Stream<Item = std::result::Result<Bytes, E>> + Send,
    ) -> std::result::Result<Put, E> {
        let path = self.path(key)?;
        let mut bytes = pin!(bytes);
        let (mut part, mut sum) = (Part::default(), Sum::default());
        let mut upload = None;
        while let Some(more) = bytes.next().await {
            let mut more = match more {
                Ok(more) => more,
                Err(error) => {
                    abandon(upload).await;
                    return Err(error);
                }
            };
            sum.add(&more);
            while !more.is_empty() {
                // There is more than a part only now.
                if part.is_full() {
                    let sent = self.send(&mut upload, &path, key, part.payload()).await;
                    if let Err(error) = sent {
                        abandon(upload).await;
                        return Err(error.into());
                    }
                }
                part.take(&mut more);
            }
        }
        let put = sum.total();
        let ended = match upload {
            None => self.create(&path, key, part.payload(), &put).await,
            Some(upload) => self.complete(upload, key, part.payload()).await,
        };
        ended?;
        Ok(put)
    }

    async fn create(&self, path: &Path, key: &str, payload: PutPayload, put: &Put) -> Result<()> {
        match self.write_new(path, key, payload).await {
            // It may be our own, of a request whose answer was lost.
            Err(taken @ Error::Exists { .. }) => {
                let same = self.verify(key, put.bytes, &put.sha256).await;
                same.map_err(|_| taken)
            }
            written => written,
        }
    }

    async fn write_new(&self, path: &Path, key: &str, payload: PutPayload) -> Result<()> {
        // Garage takes no notice of the condition of the write itself.
        self.must_be_new(path, key).await?;
        let condition = PutMode::Create.into();
        match self.inner.store.put_opts(path, payload, condition).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => Err(self.taken(key)),
            Err(error) => Err(self.failed("write", key, &error)),
        }
    }

    async fn must_be_new(&self, path: &Path, key: &str) -> Result<()> {
        match self.inner.store.head(path).await {
            Ok(_) => Err(self.taken(key)),
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("look for", key, &error)),
        }
    }

    fn taken(&self, key: &str) -> Error {
        Error::Exists {
            key: key.to_owned(),
            place: self.inner.place.clone(),
        }
    }

    async fn send(
        &self,
        upload: &mut Option<Upload>,
        path: &Path,
        key: &str,
        payload: PutPayload,
    ) -> Result<()> {
        let upload = match upload {
            Some(upload) => upload,
            None => {
                self.must_be_new(path, key).await?;
                let begun = self.inner.store.put_multipart(path).await;
                let begun = begun.map_err(|error| self.failed("write", key, &error))?;
                upload.insert(Upload::new(begun))
            }
        };
        let sent = upload.send(payload).await;
        sent.map_err(|error| self.failed("write", key, &error))
    }

    async fn complete(&self, mut upload: Upload, key: &str, last: PutPayload) -> Result<()> {
        let completed = async {
            upload.send(last).await?;
            upload.complete().await
        };
        let outcome = completed.await;
        if outcome.is_err() {
            upload.abandon().await;
        }
        outcome.map_err(|error| self.failed("write", key, &error))
    }
}

async fn abandon(upload: Option<Upload>) {
    if let Some(mut upload) = upload {
        upload.abandon().await;
    }
}

/// An upload in parts. It is aborted if it is dropped before it is complete.
struct Upload {
    /// None once it has ended one way or the other.
    upload: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
}

impl Upload {
    fn new(upload: Box<dyn MultipartUpload>) -> Self {
        Upload {
            upload: Some(upload),
            parts: JoinSet::new(),
        }
    }

    /// Sends a part off, once there is room for it among those that are under way.
    async fn send(&mut self, payload: PutPayload) -> object_store::Result<()> {
        while self.parts.len() >= AT_ONCE {
            self.one_sent().await?;
        }
        let upload = self.upload.as_mut().expect("it has not ended");
        self.parts.spawn(upload.put_part(payload));
        Ok(())
    }

    async fn one_sent(&mut self) -> object_store::Result<()> {
        match self.parts.join_next().await {
            Some(Ok(sent)) => sent,
            Some(Err(error)) => Err(object_store::Error::JoinError { source: error }),
            None => Ok(()),
        }
    }

    async fn complete(&mut self) -> object_store::Result<()> {
        while !self.parts.is_empty() {
            self.one_sent().await?;
        }
        let upload = self.upload.as_mut().expect("it has not ended");
        upload.complete().await?;
        self.upload = None;
        Ok(())
    }

    /// Leaves nothing behind, as far as that can be had: it is for an upload that has failed already.
    async fn abandon(&mut self) {
        if let Some(aborting) = self.abort() {
            // It has said itself what went wrong.
            let _ = aborting.await;
        }
    }

    /// In a task, which goes on when nobody waits for it any more. It must not hold an upload that is
    /// aborted when it is dropped: a runtime that is about to end drops new tasks at once.
    fn abort(&mut self) -> Option<JoinHandle<()>> {
        let mut upload = self.upload.take()?;
        let mut parts = std::mem::take(&mut self.parts);
        // Without a runtime the process is about to end.
        let runtime = Handle::try_current().ok()?;
        Some(runtime.spawn(async move {
            parts.shutdown().await;
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "parts of a failed upload could not be removed");
            }
        }))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.abort();
    }
}
