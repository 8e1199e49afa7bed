//! Archives: making them, finding them, checking them, and what is in them.

use bytes::Bytes;
use reqwest::{Response, Url};
use serde::Serialize;

use crate::{
    Archive, Client, Job, NewArchives, Page, Pages, RestoreArchives, Result,
    model::{self, ArchivesPage},
    retry::Repeat,
    transport::{Call, transport},
};

pub struct Archives<'c>(pub(crate) &'c Client);

impl<'c> Archives<'c> {
    /// Makes a job that archives; its output says what it has done.
    pub async fn create(&self, new: &NewArchives) -> Result<Job> {
        let call = Call::post(self.0.url(&["v1", "archives"])?, new)?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    /// One page, newest first; of one stream, if it is given.
    pub async fn list(
        &self,
        stream: Option<&str>,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Page<Archive>> {
        let mut url = self.0.url(&["v1", "archives"])?;
        model::asked(&mut url, &[("stream", stream)]);
        model::paged(&mut url, limit, cursor);
        let page: ArchivesPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.archives,
            next_cursor: page.next_cursor,
        })
    }

    /// The whole list, page by page.
    #[must_use]
    pub fn pages(
        &self,
        stream: Option<String>,
        limit: Option<u32>,
        from: Option<String>,
    ) -> Pages<'c, Archive> {
        let client = self.0;
        Pages::new(from, move |cursor| {
            let stream = stream.clone();
            async move {
                let archives = client.archives();
                archives
                    .list(stream.as_deref(), limit, cursor.as_deref())
                    .await
            }
        })
    }

    /// The bytes of an archive as they are stored: gzipped JSON Lines.
    pub async fn download(&self, id: &str) -> Result<Download> {
        let url = self.0.url(&["v1", "archives", id])?;
        let response = self.0.fetch(&url).await?;
        Ok(Download { response, url })
    }

    /// Makes a job that checks all archives of the server; needs a key with the scope `admin`.
    pub async fn verify(&self, repair: bool) -> Result<Job> {
        #[derive(Serialize)]
        struct Body {
            repair: bool,
        }
        let url = self.0.url(&["v1", "archives", "verify"])?;
        let call = Call::post(url, &Body { repair })?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    /// Makes a job that puts trimmed events back.
    pub async fn restore(&self, what: &RestoreArchives) -> Result<Job> {
        let call = Call::post(self.0.url(&["v1", "archives", "restore"])?, what)?;
        self.0.send(call, Repeat::WhileRefused).await
    }
}

/// An archive that is being read.
pub struct Download {
    response: Response,
    url: Url,
}

impl Download {
    /// How many bytes there are in all, if the server says so.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes; none at the end, which is an error where it comes too soon.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| transport(&self.url, error))
    }
}
