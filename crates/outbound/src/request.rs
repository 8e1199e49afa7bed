//! What is asked of an endpoint.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use http_body_util::Full;

use crate::{BadUrl, Error, Reserved, Target, connection::Body, headers};

/// From the call to the last byte of the answer, unless a request says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// The bytes of an answer's body that are read, unless a request says otherwise.
pub const DEFAULT_ANSWER_CAP: usize = 64 * 1024;

/// One request. Its debug form shows neither path nor headers nor body.
#[derive(Clone)]
pub struct Request {
    method: Method,
    target: Target,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
    answer_cap: usize,
    gunzip: bool,
    fresh: bool,
}

impl Request {
    /// Reads the URL. Any method but `CONNECT`, which asks for a tunnel.
    pub fn new(method: Method, url: &str) -> Result<Self, Error> {
        Self::to(method, Target::parse(url)?)
    }

    /// The same for a URL that has been read already.
    pub fn to(method: Method, target: Target) -> Result<Self, Error> {
        if method == Method::CONNECT {
            return Err(Error::BadMethod(method));
        }
        Ok(Self {
            method,
            target,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: DEFAULT_TIMEOUT,
            answer_cap: DEFAULT_ANSWER_CAP,
            gunzip: false,
            fresh: false,
        })
    }

    /// Sets a header, in the place of an earlier one of that name.
    pub fn header(self, name: &str, value: &str) -> Result<Self, Error> {
        self.configured_header(name, value, &Reserved::default())
    }

    /// Sets a header that somebody configured, unless the caller keeps that name for itself.
    pub fn configured_header(
        mut self,
        name: &str,
        value: &str,
        reserved: &Reserved,
    ) -> Result<Self, Error> {
        let (name, value) = headers::read(name, value, reserved)?;
        self.headers.insert(name, value);
        Ok(self)
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// How long everything together may take: look-up, connection, TLS, sending, and the answer to its last byte.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How much of the answer's body is read. There reading ends; what is left is not waited for.
    #[must_use]
    pub fn answer_cap(mut self, bytes: usize) -> Self {
        self.answer_cap = bytes;
        self
    }

    /// Offers to take the answer as gzip, and unpacks it; the cap holds for what comes out. Without this, an answer that
    /// is packed all the same is handed on as it came.
    #[must_use]
    pub fn gunzip(mut self) -> Self {
        self.gunzip = true;
        self
    }

    /// Has a connection of its own made, also where one of an earlier request is kept: for a second try after a kept one
    /// turned out to be closed, as its siblings may be too.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn wants(&self) -> (Duration, usize, bool) {
        (self.timeout, self.answer_cap, self.gunzip)
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The request as a connection of the given version takes it.
    pub(crate) fn message(
        &self,
        user_agent: &HeaderValue,
        is_trunk: bool,
    ) -> Result<http::Request<Body>, BadUrl> {
        let mut headers = self.headers.clone();
        if self.gunzip {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if !headers.contains_key(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, user_agent.clone());
        }
        let uri = if is_trunk {
            self.target.absolute_form()?
        } else {
            headers.insert(header::HOST, self.target.host_header()?);
            self.target.origin_form()
        };
        let mut message = http::Request::new(Full::new(self.body.clone()));
        *message.method_mut() = self.method.clone();
        *message.uri_mut() = uri;
        *message.headers_mut() = headers;
        if is_trunk {
            *message.version_mut() = Version::HTTP_2;
        }
        Ok(message)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .field("answer_cap", &self.answer_cap)
            .finish_non_exhaustive()
    }
}
