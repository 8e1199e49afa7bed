//! Reading objects: whole as a stream, or some ranges of them.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore as _, ObjectStoreExt as _};

use super::{Error, Objects, Result, upload::Sum};

/// A whole object is read by requests of this size: each has its own time limit and its own retries, however
/// large the object is.
const PIECE: u64 = 4 * 1024 * 1024;
/// Pieces that are under way or wait to be taken.
const AHEAD: usize = 2;
/// Ranges of one object that are fetched at once.
const RANGES_AT_ONCE: usize = 8;
/// What is hashed before other tasks have their turn.
const HASHED_AT_ONCE: usize = 256 * 1024;

impl Objects {
    /// How long an object is, and its bytes as a stream. It is one object to its end: if it is replaced
    /// meanwhile, the stream fails.
    pub async fn get(&self, key: &str) -> Result<(u64, BoxStream<'static, Result<Bytes>>)> {
        let head = self.head(key).await?;
        let (objects, key, size) = (self.clone(), key.to_owned(), head.size);
        let starts = (0..size.div_ceil(PIECE)).map(|piece| piece * PIECE);
        let pieces = stream::iter(starts).map(move |start| {
            let (objects, key, tag) = (objects.clone(), key.clone(), head.e_tag.clone());
            let range = start..size.min(start + PIECE);
            async move { objects.piece(&key, range, tag).await }
        });
        Ok((size, pieces.buffered(AHEAD).boxed()))
    }

    /// Reads an object back, and compares it with what was written.
    pub async fn verify(&self, key: &str, bytes: u64, sha256: &str) -> Result<()> {
        let (size, pieces) = self.get(key).await?;
        let (key, place) = (key.to_owned(), self.inner.place.clone());
        if size != bytes {
            return Err(Error::Size {
                key,
                place,
                expected: bytes,
                actual: size,
            });
        }
        let actual = hashed(pieces).await?;
        if actual != sha256 {
            return Err(Error::Checksum {
                key,
                place,
                expected: sha256.to_owned(),
                actual,
            });
        }
        Ok(())
    }

    /// These bytes of an object, all of them.
    pub async fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.piece(key, range, None).await
    }

    /// Several ranges of an object.
    pub async fn ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        stream::iter(ranges.to_vec())
            .map(|range| self.range(key, range))
            .buffered(RANGES_AT_ONCE)
            .try_collect()
            .await
    }

    /// The last bytes of an object, all if it has no more, and its length. Two requests, as not all that
    /// speaks S3 knows ranges that count from the end: who knows the length asks for a range.
    pub async fn suffix(&self, key: &str, length: u64) -> Result<(Bytes, u64)> {
        let head = self.head(key).await?;
        let range = head.size.saturating_sub(length)..head.size;
        let bytes = self.piece(key, range, head.e_tag).await?;
        Ok((bytes, head.size))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let head = self.inner.store.head(&self.path(key)?).await;
        head.map_err(|error| self.failed("read", key, &error))
    }

    async fn piece(&self, key: &str, range: Range<u64>, tag: Option<String>) -> Result<Bytes> {
        let what = || format!("read the bytes {} to {} of", range.start, range.end);
        let failed = |error| self.failed(what(), key, &error);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: tag,
            ..GetOptions::default()
        };
        let found = self.inner.store.get_opts(&self.path(key)?, options).await;
        let bytes = found.map_err(failed)?.bytes().await.map_err(failed)?;
        // One that goes beyond the end of an object is answered with less.
        let (actual, expected) = (bytes.len() as u64, range.end - range.start);
        if actual != expected {
            return Err(Error::Failed {
                what: what(),
                key: key.to_owned(),
                place: self.inner.place.clone(),
                why: format!("only {actual} bytes came: the object was cut short or replaced"),
            });
        }
        Ok(bytes)
    }
}

async fn hashed(mut pieces: impl Stream<Item = Result<Bytes>> + Unpin) -> Result<String> {
    let mut sum = Sum::default();
    while let Some(piece) = pieces.try_next().await? {
        for part in piece.chunks(HASHED_AT_ONCE) {
            sum.add(part);
            tokio::task::yield_now().await;
        }
    }
    Ok(sum.total().sha256)
}
