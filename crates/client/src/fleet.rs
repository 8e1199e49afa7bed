//! Configuration of agents and workers: for operators, and for the agents themselves.

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Client, Error, Page, Pages, Result,
    error::shown,
    live::Live,
    model::{
        self, AgentStatus, AgentsPage, ConfigVersion, FleetAgent, FleetWorkerState, NewConfig,
        NewFleetAgent, OfferedConfig, PushedConfig, RegisteredAgent, Rollback, SchemaBody,
        VersionsPage,
    },
    retry::Repeat,
    transport::Call,
};

pub struct Fleet<'c>(pub(crate) &'c Client);

/// What an agent that asks for its config says of itself.
#[derive(Clone, Debug, Default)]
pub struct ConfigQuery {
    /// Where it was told to ask; the server's own path if it is missing.
    pub poll_url: Option<String>,
    pub agent_id: Option<String>,
    /// The tag of the config that it has.
    pub etag: Option<String>,
    /// The revision that it was told of.
    pub revision: Option<u64>,
    /// How many seconds the server may hold the answer until there is something new.
    pub wait_seconds: Option<u64>,
}

impl<'c> Fleet<'c> {
    // --- operators ---

    /// Makes a version. Not repeated on a lost answer: it might be made twice.
    pub async fn push(&self, new: &NewConfig) -> Result<PushedConfig> {
        let call = Call::post(self.0.url(&["v1", "fleet", "config"])?, new)?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    /// Makes a version of an older one's config.
    pub async fn roll_back(&self, rollback: &Rollback) -> Result<PushedConfig> {
        let call = Call::post(
            self.0.url(&["v1", "fleet", "config", "rollback"])?,
            rollback,
        )?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    /// Raises a version's share.
    pub async fn raise(
        &self,
        version: u64,
        percent: u32,
        author: Option<&str>,
    ) -> Result<ConfigVersion> {
        #[derive(Serialize)]
        struct Body<'a> {
            percent: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            author: Option<&'a str>,
        }
        let version = version.to_string();
        let url = self
            .0
            .url(&["v1", "fleet", "config", "versions", &version, "share"])?;
        let call = Call::post(url, &Body { percent, author })?;
        self.0.send(call, Repeat::WhileRefused).await
    }

    pub async fn version(&self, version: u64) -> Result<ConfigVersion> {
        let version = version.to_string();
        let url = self
            .0
            .url(&["v1", "fleet", "config", "versions", &version])?;
        self.0.send(Call::get(url), Repeat::Always).await
    }

    /// One page of the versions, newest first.
    pub async fn versions(
        &self,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Page<ConfigVersion>> {
        let mut url = self.0.url(&["v1", "fleet", "config", "versions"])?;
        model::paged(&mut url, limit, cursor);
        let page: VersionsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.versions,
            next_cursor: page.next_cursor,
        })
    }

    /// One page of the agents (or of the servers of Tidewire themselves), those first that registered
    /// last.
    pub async fn agents(
        &self,
        servers: bool,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Page<FleetAgent>> {
        let mut url = self.0.url(&["v1", "fleet", "agents"])?;
        model::asked(&mut url, &[("servers", servers.then_some("true"))]);
        model::paged(&mut url, limit, cursor);
        let page: AgentsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.agents,
            next_cursor: page.next_cursor,
        })
    }

    /// All agents, page by page.
    #[must_use]
    pub fn agent_pages(&self, servers: bool, limit: Option<u32>) -> Pages<'c, FleetAgent> {
        let client = self.0;
        Pages::new(None, move |cursor| async move {
            client
                .fleet()
                .agents(servers, limit, cursor.as_deref())
                .await
        })
    }

    /// Forgets an agent that is gone for good.
    pub async fn forget(&self, agent_id: &str) -> Result<()> {
        let url = self.0.url(&["v1", "fleet", "agents", agent_id])?;
        self.0
            .send_for_nothing(Call::delete(url), Repeat::WhileRefused)
            .await
    }

    /// The schema that configs must fit; none if there is none.
    pub async fn schema(&self) -> Result<Option<Box<RawValue>>> {
        let call = Call::get(self.0.url(&["v1", "fleet", "schema"])?);
        match self.0.send::<SchemaBody>(call, Repeat::Always).await {
            Ok(body) => Ok(Some(body.schema)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets it, or takes it away.
    pub async fn set_schema(&self, schema: Option<Box<RawValue>>) -> Result<()> {
        let url = self.0.url(&["v1", "fleet", "schema"])?;
        let call = match schema {
            Some(schema) => Call::put(url, &SchemaBody { schema })?,
            None => Call::delete(url),
        };
        self.0.send_for_nothing(call, Repeat::Always).await
    }

    // --- agents ---

    /// Makes an agent known. One without an id might be made twice, so it is not repeated on a lost
    /// answer.
    pub async fn register(&self, agent: &NewFleetAgent) -> Result<RegisteredAgent> {
        let call = Call::post(self.0.url(&["v1", "fleet", "register"])?, agent)?;
        let repeat = Repeat::keyed(agent.agent_id.is_some());
        self.0.send(call, repeat).await
    }

    /// Asks for the config that an agent is offered; none if it is the one that it has.
    pub async fn config(&self, query: &ConfigQuery) -> Result<Option<OfferedConfig>> {
        let mut url = self.poll_url(query.poll_url.as_deref())?;
        let names_itself = url.query_pairs().any(|(name, _)| name == "agent_id");
        let agent_id = query.agent_id.as_deref().filter(|_| !names_itself);
        let revision = query.revision.map(|revision| revision.to_string());
        let wait = query.wait_seconds.map(|wait| wait.to_string());
        model::asked(
            &mut url,
            &[
                ("agent_id", agent_id),
                ("revision", revision.as_deref()),
                ("wait", wait.as_deref()),
            ],
        );
        let mut call = Call::get(url);
        call.if_none_match.clone_from(&query.etag);
        call.held = Duration::from_secs(query.wait_seconds.unwrap_or_default());
        let answer = self.0.ask(&call, &[304], Repeat::Always).await?;
        if answer.status == 304 {
            return Ok(None);
        }
        let mut offered: OfferedConfig =
            serde_json::from_slice(&answer.body).map_err(|error| Error::Answer {
                url: shown(&answer.url),
                status: answer.status,
                detail: error.to_string(),
            })?;
        offered.etag = answer.etag.unwrap_or_default();
        Ok(Some(offered))
    }

    /// A place that would have the key sent in the clear, where the server itself is reached by TLS,
    /// is not gone by.
    fn poll_url(&self, told: Option<&str>) -> Result<Url> {
        let own = self.0.url(&["v1", "fleet", "config"])?;
        let told = told.and_then(|text| Url::parse(text).ok());
        let told = told.filter(|url| match url.scheme() {
            "https" => true,
            "http" => own.scheme() == "http",
            _ => false,
        });
        Ok(told.unwrap_or(own))
    }

    /// Says how a version went.
    pub async fn report(&self, agent_id: &str, status: &AgentStatus) -> Result<()> {
        let url = self.0.url(&["v1", "fleet", "agents", agent_id, "status"])?;
        let call = Call::post(url, status)?;
        self.0.send_for_nothing(call, Repeat::Always).await
    }

    /// Is told when an agent should ask.
    #[must_use]
    pub fn watch(&self, agent_id: &str) -> FleetWatch {
        FleetWatch {
            live: Live::new(self.0.clone()),
            agent_id: agent_id.to_owned(),
        }
    }
}

/// The word that there is something to ask for. It connects again by itself, as long as the server
/// does not refuse, and says so after each time: what was told meanwhile was missed.
pub struct FleetWatch {
    live: Live,
    agent_id: String,
}

#[derive(Deserialize)]
struct Fetch {
    revision: u64,
}

impl FleetWatch {
    /// Waits for the next word; the revision to ask with. After an error there is nothing more.
    pub async fn next(&mut self) -> Result<u64> {
        loop {
            match self.step().await {
                Ok(Some(Fetch { revision })) => return Ok(revision),
                Ok(None) => {}
                Err(error) if self.live.pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Fetch>> {
        if !self.live.is_connected() {
            self.live.rest().await;
            let mut url = self.live.client().url(&["v1", "fleet", "watch"])?;
            model::asked(&mut url, &[("agent_id", Some(&self.agent_id))]);
            self.live.connect(url, None).await?;
        }
        match self.live.frame()? {
            Some(frame) => self.live.read(&frame).map(Some),
            None => self.live.more().await.map(|()| None),
        }
    }
}

/// A worker of a fleet, as its agent speaks to it.
pub struct FleetWorker<'c>(pub(crate) &'c Client);

impl FleetWorker<'_> {
    /// Has the worker work by this config.
    pub async fn apply(&self, version: u64, config: &RawValue) -> Result<()> {
        #[derive(Serialize)]
        struct Body<'a> {
            version: u64,
            config: &'a RawValue,
        }
        let call = Call::post(self.0.url(&["config"])?, &Body { version, config })?;
        self.0.send_for_nothing(call, Repeat::Always).await
    }

    pub async fn state(&self) -> Result<FleetWorkerState> {
        let call = Call::get(self.0.url(&["state"])?);
        self.0.send(call, Repeat::Always).await
    }
}
