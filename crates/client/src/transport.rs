//! One request and its answer: the only place that sends anything.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{self, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Client, Error, Problem, Result, TransportError, error::shown, retry::Repeat};

/// A list of 500 events of 256 KiB, and room to spare. An answer beyond it is not ours.
const MOST_BYTES: usize = 160 * 1024 * 1024;
const MOST_ERROR_BYTES: usize = 64 * 1024;

pub(crate) struct Call {
    method: Method,
    pub url: Url,
    body: Option<Bytes>,
    /// Says which request this is, so that it happens once.
    pub idempotency_key: Option<String>,
    /// The tag of what is there already.
    pub if_none_match: Option<String>,
    /// Time that the server may hold the request on top of the client's own deadline.
    pub held: Duration,
}

pub(crate) struct Answer {
    pub status: u16,
    pub body: Bytes,
    pub url: Url,
    pub etag: Option<String>,
}

impl Call {
    fn new(method: Method, url: Url, body: Option<Bytes>) -> Self {
        Call {
            method,
            url,
            body,
            idempotency_key: None,
            if_none_match: None,
            held: Duration::ZERO,
        }
    }

    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url, None)
    }

    pub fn delete(url: Url) -> Self {
        Self::new(Method::DELETE, url, None)
    }

    pub fn put<T: Serialize + ?Sized>(url: Url, body: &T) -> Result<Self> {
        Ok(Self::new(Method::PUT, url, Some(json(body)?)))
    }

    pub fn post<T: Serialize + ?Sized>(url: Url, body: &T) -> Result<Self> {
        Ok(Self::post_bytes(url, json(body)?))
    }

    /// A POST of what is JSON already.
    pub fn post_bytes(url: Url, body: Bytes) -> Self {
        Self::new(Method::POST, url, Some(body))
    }

    /// A POST that says nothing but its path.
    pub fn bare_post(url: Url) -> Self {
        Self::new(Method::POST, url, None)
    }
}

fn json<T: Serialize + ?Sized>(body: &T) -> Result<Bytes> {
    let body = serde_json::to_vec(body).map_err(|error| {
        Error::Request(format!("the request cannot be written as JSON: {error}"))
    })?;
    Ok(body.into())
}

impl Client {
    /// The URL of a route; segments are escaped, so an id cannot lead elsewhere.
    pub(crate) fn url(&self, segments: &[&str]) -> Result<Url> {
        if let Some(bad) = segments
            .iter()
            .find(|segment| matches!(**segment, "" | "." | ".."))
        {
            return Err(Error::Request(format!("`{bad}` is not an id")));
        }
        let mut url = self.shared.server.clone();
        url.path_segments_mut()
            .map_err(|()| Error::Request(format!("`{}` cannot have a path", self.server())))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }

    /// Sends a request, again where that is safe, and reads the answer.
    pub(crate) async fn send<T: DeserializeOwned>(&self, call: Call, repeat: Repeat) -> Result<T> {
        let answer = self.ask(&call, &[], repeat).await?;
        serde_json::from_slice(&answer.body).map_err(|error| Error::Answer {
            url: shown(&answer.url),
            status: answer.status,
            detail: error.to_string(),
        })
    }

    /// The same for an answer without a body.
    pub(crate) async fn send_for_nothing(&self, call: Call, repeat: Repeat) -> Result<()> {
        self.ask(&call, &[], repeat).await.map(drop)
    }

    /// Sends a request, again where that is safe. A status in `fine` is an answer like a success.
    pub(crate) async fn ask(&self, call: &Call, fine: &[u16], repeat: Repeat) -> Result<Answer> {
        let mut tried = 1;
        loop {
            let error = match self.ask_once(call, fine).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(wait) = self.retry.wait(&error, repeat, tried) else {
                return Err(error);
            };
            tracing::debug!(%error, tried, wait_ms = wait.as_millis(), "repeating a request");
            tokio::time::sleep(wait).await;
            tried += 1;
        }
    }

    async fn ask_once(&self, call: &Call, fine: &[u16]) -> Result<Answer> {
        let deadline = self.shared.timeout.saturating_add(call.held);
        let mut request = self
            .shared
            .http
            .request(call.method.clone(), call.url.clone())
            .timeout(deadline);
        if let Some(body) = &call.body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if let Some(key) = &call.idempotency_key {
            let key = HeaderValue::from_str(key)
                .map_err(|_| Error::Request(format!("{key:?} is not an idempotency key")))?;
            request = request.header("idempotency-key", key);
        }
        if let Some(tag) = &call.if_none_match {
            let tag = HeaderValue::from_str(tag)
                .map_err(|_| Error::Request(format!("{tag:?} is not a tag")))?;
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let response = request
            .send()
            .await
            .map_err(|error| transport(&call.url, error))?;
        let status = response.status();
        let etag = response.headers().get(header::ETAG);
        let etag = etag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        if !status.is_success() && !fine.contains(&status.as_u16()) {
            return Err(refusal(response, &call.url).await);
        }
        let body = read(response, MOST_BYTES, &call.url).await?;
        Ok(Answer {
            status: status.as_u16(),
            body,
            url: call.url.clone(),
            etag,
        })
    }

    /// Opens a stream of server-sent events; only the headers have a deadline.
    pub(crate) async fn open(&self, url: &Url, last_event_id: Option<&str>) -> Result<Response> {
        let mut request = self
            .shared
            .http
            .get(url.clone())
            .header(header::ACCEPT, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-store");
        if let Some(id) = last_event_id {
            let id = HeaderValue::from_str(id)
                .map_err(|_| Error::Request(format!("{id:?} is not a position in the log")))?;
            request = request.header("last-event-id", id);
        }
        let response = self.begun(request, url).await?;
        let kind = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return Ok(response);
        }
        Err(Error::Answer {
            url: shown(url),
            status: response.status().as_u16(),
            detail: format!(
                "it should be text/event-stream, it is {}",
                kind.unwrap_or("of no kind")
            ),
        })
    }
}

impl Client {
    /// Opens an answer that may be of any length; only its headers have a deadline.
    pub(crate) async fn fetch(&self, url: &Url) -> Result<Response> {
        let request = self.shared.http.get(url.clone());
        self.begun(request.header(header::ACCEPT, "*/*"), url).await
    }

    async fn begun(&self, request: RequestBuilder, url: &Url) -> Result<Response> {
        let response = tokio::time::timeout(self.shared.timeout, request.send())
            .await
            .map_err(|_| {
                Error::Transport(Box::new(TransportError::timeout(url, self.shared.timeout)))
            })?
            .map_err(|error| transport(url, error))?;
        if !response.status().is_success() {
            return Err(refusal(response, url).await);
        }
        Ok(response)
    }
}

pub(crate) fn transport(url: &Url, error: reqwest::Error) -> Error {
    Error::Transport(Box::new(TransportError::new(url, error)))
}

/// Reads a body up to a limit.
async fn read(mut response: Response, most: usize, url: &Url) -> Result<Bytes> {
    let status = response.status().as_u16();
    let mut body = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| transport(url, error))?
    {
        if body.len() + chunk.len() > most {
            let detail = format!("it is longer than {most} bytes");
            return Err(Error::Answer {
                url: shown(url),
                status,
                detail,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The error that an answer means, whether or not it explains itself.
async fn refusal(response: Response, url: &Url) -> Error {
    let status = response.status();
    let header = |name: header::HeaderName| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let retry_after = header(header::RETRY_AFTER).and_then(|text| text.trim().parse().ok());
    let request_id = header(header::HeaderName::from_static("x-request-id"));
    let is_json = header(header::CONTENT_TYPE).is_some_and(|kind| kind.contains("json"));
    // Whatever is wrong with the body, the status already says that the request failed.
    let body = read(response, MOST_ERROR_BYTES, url)
        .await
        .unwrap_or_default();
    let said = if is_json {
        serde_json::from_slice(&body).ok()
    } else {
        None
    };
    let mut problem: Problem = said.unwrap_or_else(|| foreign(status, url));
    problem.status = status.as_u16();
    if problem.title.is_empty() {
        problem.title = title(status);
    }
    problem.retry_after = retry_after.map(Duration::from_secs);
    problem.request_id = problem.request_id.or(request_id);
    Error::Problem(Box::new(problem))
}

/// An error answer that no Tidewire server wrote, such as a proxy's page.
fn foreign(status: StatusCode, url: &Url) -> Problem {
    let detail = if status.is_redirection() {
        format!(
            "{} leads elsewhere, and redirects are not followed: give the final URL",
            shown(url)
        )
    } else {
        format!("{} gave no reason; is it a tidewire server?", shown(url))
    };
    Problem {
        problem_type: "about:blank".to_owned(),
        status: status.as_u16(),
        title: title(status),
        detail,
        errors: Vec::new(),
        request_id: None,
        retry_after: None,
    }
}

fn title(status: StatusCode) -> String {
    status
        .canonical_reason()
        .unwrap_or("an unknown status")
        .to_lowercase()
}
