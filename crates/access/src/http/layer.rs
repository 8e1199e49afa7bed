//! The layer in front of every route that needs a caller. A caller that memory knows costs no
//! allocation of a future and no waiting; the others ask the store first.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use futures_util::future::{BoxFuture, Either};
use http::HeaderMap;
use tidewire_core::{Principal, Problem};
use tidewire_http::ApiError;
use tower::Layer;

use super::shown::shown;
use crate::{Error, Service, authenticator::Known};

/// Puts the `Principal` of each request into its extensions, or refuses it. For `Router::layer`.
#[derive(Clone)]
pub struct Authenticate {
    service: Service,
}

impl Authenticate {
    #[must_use]
    pub fn new(service: Service) -> Self {
        Authenticate { service }
    }
}

impl<S> Layer<S> for Authenticate {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated {
            service: self.service.clone(),
            inner,
        }
    }
}

impl Service {
    /// Who sends these headers: for a route that strangers may call too, and which has to ask by
    /// itself.
    pub async fn caller(&self, headers: &HeaderMap) -> crate::Result<Principal> {
        match self.know(shown(headers)?)? {
            Known::Caller(principal) => Ok(principal),
            Known::Ask(question) => self.ask(question).await,
        }
    }
}

#[derive(Clone)]
pub struct Authenticated<S> {
    service: Service,
    inner: S,
}

type Answer = Result<Response, Infallible>;

impl<S> tower::Service<Request> for Authenticated<S>
where
    S: tower::Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Answer>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match shown(request.headers()).and_then(|shown| self.service.know(shown)) {
            Ok(Known::Caller(principal)) => {
                request.extensions_mut().insert(principal);
                Either::Left(self.inner.call(request))
            }
            Ok(Known::Ask(question)) => {
                let service = self.service.clone();
                // The one that was polled ready goes along, a fresh clone stays.
                let fresh = self.inner.clone();
                let mut inner = std::mem::replace(&mut self.inner, fresh);
                Either::Right(Box::pin(async move {
                    match service.ask(question).await {
                        Ok(principal) => {
                            request.extensions_mut().insert(principal);
                            inner.call(request).await
                        }
                        Err(error) => refuse(error),
                    }
                }))
            }
            Err(error) => Either::Right(Box::pin(std::future::ready(refuse(error)))),
        }
    }
}

fn refuse(error: Error) -> Answer {
    Ok(ApiError(Problem::from(error)).into_response())
}
