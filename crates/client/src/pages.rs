//! Lists longer than one answer.

use std::{collections::VecDeque, future::Future, pin::Pin};

use futures_util::{Stream, stream};

use crate::{Page, Result};

type Next<'c, T> = Pin<Box<dyn Future<Output = Result<Page<T>>> + Send + 'c>>;

/// Walks a list page by page; holds one page at a time.
pub struct Pages<'c, T> {
    fetch: Box<dyn Fn(Option<String>) -> Next<'c, T> + Send + Sync + 'c>,
    cursor: Option<String>,
    ended: bool,
}

impl<'c, T: Send + 'c> Pages<'c, T> {
    pub(crate) fn new<F, Fut>(from: Option<String>, fetch: F) -> Self
    where
        F: Fn(Option<String>) -> Fut + Send + Sync + 'c,
        Fut: Future<Output = Result<Page<T>>> + Send + 'c,
    {
        Pages {
            fetch: Box::new(move |cursor| Box::pin(fetch(cursor))),
            cursor: from,
            ended: false,
        }
    }

    /// The next page; `None` behind the last. After an error the same page is asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<T>>> {
        if self.ended {
            return Ok(None);
        }
        let page = (self.fetch)(self.cursor.clone()).await?;
        self.ended = page.next_cursor.is_none();
        self.cursor = page.next_cursor;
        Ok(Some(page.items))
    }

    /// Every item of the list, one after the other; ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<T>> + Send + 'c {
        stream::unfold(
            (self, VecDeque::new()),
            |(mut pages, mut items)| async move {
                loop {
                    if let Some(item) = items.pop_front() {
                        return Some((Ok(item), (pages, items)));
                    }
                    match pages.next_page().await {
                        Ok(Some(page)) => items = page.into(),
                        Ok(None) => return None,
                        Err(error) => {
                            pages.ended = true;
                            return Some((Err(error), (pages, items)));
                        }
                    }
                }
            },
        )
    }
}
