//! The parts of the demo: starts them, and takes them down again, the server last.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use serde_json::Value;
use tidewire_client::{Agent, Client, NewTrigger, PageNumber, Retry, Trigger, TriggerQuery};
use tidewire_core::{Clock, ids};
use tidewire_fleet::{
    agent::{self, AgentOptions},
    worker::{self, WorkerOptions},
};
use tidewire_http::Health;
use tidewire_outbound::{AddressPolicy, ClientOptions, LOOPBACK, Method, Request};
use tidewire_sites::builder::{self, Builder, BuilderOptions, Faults};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use super::{
    receiver::Receiver,
    tally::{Flaw, holds},
};
use crate::{
    cli::{Fault, listening::Listening, reference_agent},
    config::Config,
    server,
};

pub(super) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// What the fleet's agent says of itself, and what the pushed config asks for.
pub(super) const LABEL: (&str, &str) = ("demo", "yes");
/// Each page of the shop comes so much later, as it would from afar.
const FAR_AWAY: Duration = Duration::from_millis(10);
/// Between two words of the agent's answers.
const THINKS: Duration = Duration::from_millis(30);

pub(super) struct Stage {
    pub client: Client,
    pub receiver: Receiver,
    /// URLs.
    pub builder: String,
    pub fleet_agent: String,
    pub fleet_worker: String,
    /// What keeps the names of this run apart from those of others on the same data.
    pub run: String,
    outside: tidewire_outbound::Client,
    shop: Builder,
    /// All but the server.
    others: JoinSet<()>,
    others_stop: CancellationToken,
    server: JoinHandle<Result<(), String>>,
    server_stop: CancellationToken,
}

impl Stage {
    pub async fn start(
        config: Config,
        listener: TcpListener,
        folder: &Path,
    ) -> Result<Self, Fault> {
        crate::install_tls();
        let (mut others, others_stop) = (JoinSet::new(), CancellationToken::new());
        let mut serve = |service: Listening| {
            let url = format!("http://{}", service.address);
            others.spawn(service.serve(others_stop.clone()));
            url
        };
        // First, because it is the one that may not start: the folder may be in use.
        let server_stop = CancellationToken::new();
        let (client, server) = start_server(config, listener, server_stop.clone()).await?;

        let options = BuilderOptions {
            db: folder.join("builder.db"),
            seed: None,
            faults: Faults {
                latency: FAR_AWAY,
                ..Faults::default()
            },
        };
        let shop = Builder::open(options, Clock::system()).await;
        let shop = shop.map_err(Fault::failed)?;
        let health = Health::new();
        health.set_ready(true);
        let builder = serve(open(builder::routes(shop.clone()), health).await?);
        let (receiver, service) = Receiver::open().await?;
        serve(service);

        let outside = tidewire_outbound::Client::new(ClientOptions {
            policy: AddressPolicy::allowing(LOOPBACK),
            ..ClientOptions::default()
        })
        .map_err(Fault::failed)?;
        let health = Health::new();
        let worker = worker::Worker::new(
            Clock::system(),
            outside.clone(),
            WorkerOptions::default(),
            health.clone(),
        );
        let fleet_worker = serve(open(worker::routes(worker), health).await?);
        let health = Health::new();
        let options = AgentOptions {
            controller: client.with_retry(Retry::none()),
            worker: client_of(&fleet_worker)?.with_retry(Retry::none()),
            state: folder.join("fleet-agent.json"),
            name: Some("demo".to_owned()),
            labels: [(LABEL.0.to_owned(), LABEL.1.to_owned())].into(),
            poll_interval: None,
            max_backoff: Duration::from_secs(5),
            watch: true,
        };
        let member = agent::Agent::new(Clock::system(), options, health.clone());
        let fleet_agent = serve(open(agent::routes(member.clone()), health).await?);
        let stop = others_stop.clone();
        others.spawn(async move { member.run(stop).await });

        let talker = reference_agent::answering(Agent::builder(client.clone()), THINKS);
        let stop = others_stop.clone();
        others.spawn(async move {
            if let Err(error) = talker.run(stop.cancelled_owned()).await {
                tracing::error!(%error, "the reference agent ended");
            }
        });
        let run = ids::new_id(&Clock::system()).to_lowercase();
        Ok(Stage {
            client,
            receiver,
            builder,
            fleet_agent,
            fleet_worker,
            // Behind the time, where ids are random.
            run: run[20..].to_owned(),
            outside,
            shop,
            others,
            others_stop,
            server,
            server_stop,
        })
    }

    /// When the server ends by itself: why.
    pub async fn failed(&mut self) -> Fault {
        match (&mut self.server).await {
            Ok(Ok(())) => Fault::Failed("the server ended by itself".to_owned()),
            Ok(Err(why)) => Fault::Failed(why),
            Err(error) => Fault::failed(error),
        }
    }

    pub async fn stop(mut self) {
        self.others_stop.cancel();
        while self.others.join_next().await.is_some() {}
        self.shop.close().await;
        self.server_stop.cancel();
        if !self.server.is_finished()
            && let Ok(Err(why)) = self.server.await
        {
            tracing::error!(why, "the server did not end well");
        }
    }

    /// Asks one of the parts that are no server of Tidewire; what it answers.
    pub async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<String, Flaw> {
        // A thousand of the shop's orders are 200 kB.
        let mut request = Request::new(method, url)?.answer_cap(4 << 20);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")?
                .body(body.to_string());
        }
        let answer = self.outside.send(request).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let came = format_args!("{}: {text}", answer.status);
        holds(
            answer.status.is_success(),
            format_args!("{url} to answer well"),
            came,
        )?;
        Ok(text)
    }

    /// Makes a trigger, in place of one of its name that an earlier run may have left.
    pub async fn trigger(&self, new: &NewTrigger) -> Result<Trigger, Flaw> {
        for old in self.triggers().await? {
            if old.name == new.name {
                self.client.triggers().delete(&old.id).await?;
            }
        }
        Ok(self.client.triggers().create(new).await?)
    }

    pub async fn triggers(&self) -> Result<Vec<Trigger>, Flaw> {
        let (mut all, mut next) = (Vec::new(), Some(1));
        while let Some(number) = next {
            let number = PageNumber {
                page: Some(number),
                limit: Some(500),
            };
            let triggers = self.client.triggers();
            let page = triggers.list(TriggerQuery::default(), number).await?;
            next = page.next();
            all.extend(page.items);
        }
        Ok(all)
    }
}

async fn start_server(
    config: Config,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(Client, JoinHandle<Result<(), String>>), Fault> {
    let client = client_of(&format!("http://{}", config.addr))?;
    let (ready, is_ready) = oneshot::channel();
    let mut server = tokio::spawn(server::run_on(
        listener,
        config,
        stop.cancelled_owned(),
        |it| {
            // Who waits for it has gone only if the server ended, too.
            let _ = ready.send(it);
        },
    ));
    tokio::select! {
        Ok(_) = is_ready => Ok((client, server)),
        ended = &mut server => Err(match ended {
            Ok(Ok(())) => Fault::Failed("the server ended by itself".to_owned()),
            Ok(Err(why)) => Fault::Failed(why),
            Err(error) => Fault::failed(error),
        }),
    }
}

/// Routes of a part, on a free port.
async fn open(routes: OpenApiRouter, health: Health) -> Result<Listening, Fault> {
    Listening::on(ANY_PORT, (routes, health), true).await
}

fn client_of(url: &str) -> Result<Client, Fault> {
    let built = Client::builder(url)
        .retry(Retry::quick())
        .user_agent(concat!("tidewire-demo/", env!("CARGO_PKG_VERSION")))
        .build();
    built.map_err(Fault::failed)
}
