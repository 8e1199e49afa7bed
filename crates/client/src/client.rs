//! The client itself and how it is made.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{
    Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    Analytics, Archives, Error, Events, Executions, Fleet, FleetWorker, Health, Jobs, Leases,
    Result, Retry, Sites, Tenants, Threads, Triggers, Turns,
    retry::Repeat,
    transport::{Answer, Call},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Talks to one server with one key. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) retry: Retry,
}

pub(crate) struct Shared {
    pub http: reqwest::Client,
    pub server: Url,
    pub timeout: Duration,
}

impl Client {
    /// A client with the usual settings. `server` is a URL such as `http://127.0.0.1:8080`.
    pub fn new(server: &str, api_key: Option<&str>) -> Result<Self> {
        let builder = Client::builder(server);
        match api_key {
            Some(key) => builder.api_key(key),
            None => builder,
        }
        .build()
    }

    pub fn builder(server: &str) -> Builder {
        Builder {
            server: server.to_owned(),
            api_key: None,
            tenant: None,
            timeout: TIMEOUT,
            retry: Retry::default(),
            user_agent: concat!("tidewire-client/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The same client with another policy of repeating.
    #[must_use]
    pub fn with_retry(&self, retry: Retry) -> Self {
        Client {
            shared: Arc::clone(&self.shared),
            retry,
        }
    }

    /// The server's URL, as it was given.
    #[must_use]
    pub fn server(&self) -> &str {
        self.shared.server.as_str().trim_end_matches('/')
    }

    /// The log.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        Events(self)
    }

    #[must_use]
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }

    /// Triggers, and calls of webhooks.
    #[must_use]
    pub fn triggers(&self) -> Triggers<'_> {
        Triggers(self)
    }

    /// What triggers' firings did.
    #[must_use]
    pub fn executions(&self) -> Executions<'_> {
        Executions(self)
    }

    /// Threads, and what is said in them.
    #[must_use]
    pub fn threads(&self) -> Threads<'_> {
        Threads(self)
    }

    /// Starts and cancels the turns of threads.
    #[must_use]
    pub fn turns(&self) -> Turns<'_> {
        Turns(self)
    }

    /// What has left the database, or may.
    #[must_use]
    pub fn archives(&self) -> Archives<'_> {
        Archives(self)
    }

    /// Other people's systems that are synced into the log.
    #[must_use]
    pub fn sites(&self) -> Sites<'_> {
        Sites(self)
    }

    /// Leases of agents' instances on threads, for whoever starts and stops instances.
    #[must_use]
    pub fn leases(&self) -> Leases<'_> {
        Leases(self)
    }

    /// Configuration of agents and workers.
    #[must_use]
    pub fn fleet(&self) -> Fleet<'_> {
        Fleet(self)
    }

    /// A worker of a fleet, if that is what the URL points at.
    #[must_use]
    pub fn fleet_worker(&self) -> FleetWorker<'_> {
        FleetWorker(self)
    }

    #[must_use]
    pub fn analytics(&self) -> Analytics<'_> {
        Analytics(self)
    }

    /// Tenants and their keys; needs a key with the scope `admin`.
    #[must_use]
    pub fn tenants(&self) -> Tenants<'_> {
        Tenants(self)
    }

    /// How the server and what it depends on are. A server that says that it is not well is an
    /// answer, not an error; see [`Health::is_ok`].
    pub async fn health(&self) -> Result<Health> {
        self.report("health").await
    }

    /// The same, and whether the server takes new work: not while it starts or drains.
    pub async fn ready(&self) -> Result<Health> {
        self.report("ready").await
    }

    async fn report(&self, of: &str) -> Result<Health> {
        let call = Call::get(self.url(&[of])?);
        let Answer {
            status, body, url, ..
        } = self.ask(&call, &[503], Repeat::WhileRefused).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Answer {
            url: crate::error::shown(&url),
            status,
            detail: error.to_string(),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &crate::error::shown(&self.shared.server))
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// The settings of a [`Client`] to be.
#[must_use]
pub struct Builder {
    server: String,
    api_key: Option<String>,
    tenant: Option<String>,
    timeout: Duration,
    retry: Retry,
    user_agent: String,
}

impl Builder {
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// The tenant to act on. Only the operator's key (scope `admin`) may choose.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// How long one try may take to the last byte of its answer (default 30 s). A request that the
    /// server holds open on purpose gets as much on top.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    pub fn build(self) -> Result<Client> {
        let server = server_url(&self.server)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                Error::Request(
                    "the API key holds characters that no key has (line breaks?)".to_owned(),
                )
            })?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some(tenant) = &self.tenant {
            let value = HeaderValue::from_str(tenant)
                .map_err(|_| Error::Request(format!("{tenant:?} is not a tenant's id")))?;
            headers.insert(HeaderName::from_static("x-tenant"), value);
        }
        // Only the first in a process wins, and any provider will do: reqwest merely wants one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(self.user_agent)
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .tcp_nodelay(true)
            // The API never redirects, and a key should not travel to where one leads.
            .redirect(reqwest::redirect::Policy::none())
            // What is safe to repeat is decided here alone.
            .retry(reqwest::retry::never());
        if is_loopback(&server) {
            // A proxy's 127.0.0.1 is another machine.
            http = http.no_proxy();
        }
        if server.scheme() == "http" {
            // Without TLS no root certificates are needed; a bare container has none, and loading
            // them takes longer than the request.
            http = http.tls_certs_only(std::iter::empty());
        }
        let http = http
            .build()
            .map_err(|error| Error::Request(format!("cannot set up the HTTP client: {error}")))?;
        let shared = Arc::new(Shared {
            http,
            server,
            timeout: self.timeout,
        });
        Ok(Client {
            shared,
            retry: self.retry,
        })
    }
}

fn server_url(text: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Error::Request(format!(
            "`{text}` is not a server's URL ({why}): give one such as http://127.0.0.1:8080"
        ))
    };
    let mut url = Url::parse(text.trim()).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must start with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let mut clean = url;
        // A URL with a user can be written without one.
        let _ = clean.set_username("");
        let _ = clean.set_password(None);
        return Err(Error::Request(format!(
            "a server's URL must not hold a user or password: give {clean} and the API key by itself"
        )));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_server_url_says_what_would_do() {
        for bad in [
            "localhost:8080",
            "127.0.0.1:8080",
            "ftp://host",
            "",
            "http://",
        ] {
            let error = Client::new(bad, None).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:8080"), "{bad}: {error}");
        }
        let error = Client::new("http://ann:secret@host", None)
            .unwrap_err()
            .to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_path_of_the_server_is_kept_and_ids_are_escaped() {
        let client = Client::new("https://host/tide/", None).unwrap();
        let url = client.url(&["v1", "jobs", "a/b ?"]).unwrap();
        assert_eq!(url.as_str(), "https://host/tide/v1/jobs/a%2Fb%20%3F");
        assert!(client.url(&["v1", "jobs", ".."]).is_err());
        assert!(client.url(&["v1", "jobs", ""]).is_err());
    }

    #[test]
    fn a_key_stays_out_of_debug_output() {
        let client = Client::new("http://host", Some("tw_secret")).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
        let error = Client::new("http://host", Some("tw_secret\n")).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
