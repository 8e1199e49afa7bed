//! One site's orders, page by page out of the builder: Tidewire, dlt into the same PostgreSQL, and a client that does
//! nothing but ask for one page after the other.

use std::time::Instant;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::data::Data;
use crate::driver::{self, Task};
use crate::peers::Peer;
use crate::process::{Ready, Server};
use crate::record::{Case, Figure, Figures};
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::Api;
use crate::wire::{Conn, get};

const PAGING: &str = "asking for the pages";
const USERS: u64 = 100;
/// What the builder makes in one request, and shows in one answer.
const AT_ONCE: u64 = 1_000;
const PAGE: u64 = 10;

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    Ok(vec![rounds::run(bench, &Orders).await?])
}

struct Orders;

impl Scenario for Orders {
    fn id(&self) -> String {
        "sites/orders".to_owned()
    }

    fn title(&self) -> String {
        format!("one site's orders, {PAGE} a page")
    }

    fn unit(&self) -> &'static str {
        "records"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        vec![
            Contender::plain(Who::Tidewire),
            Contender {
                who: Who::Limit,
                variant: PAGING,
            },
            Contender::plain(Who::Peer(Peer::Dlt)),
        ]
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let orders = bench.plan.site_orders;
        let shop = Shop::open(bench, orders).await?;
        let measured = match contender.who {
            Who::Tidewire => sync(bench, &shop, orders).await?,
            Who::Limit => page_through(&shop, orders).await?,
            Who::Peer(peer) => {
                let task = Task::new("sync")
                    .naming("url", &shop.url())
                    .naming("site", &shop.site)
                    .naming("access-key", &shop.key)
                    .with("records", orders);
                driver::run(bench, peer, &task).await?
            }
        };
        shop.builder.stop().await?;
        Ok(measured)
    }
}

/// The builder with one site.
struct Shop {
    builder: Server,
    site: String,
    key: String,
}

#[derive(Deserialize)]
struct Made {
    id: String,
    access_key: String,
}

impl Shop {
    async fn open(bench: &Bench, orders: u64) -> Result<Self> {
        let data = Data::nothing("builder")?;
        let mut command = Command::new(bench.tidewire_binary()?);
        command
            .args(["builder", "--addr", "127.0.0.1:0", "--seed", "7", "--db"])
            .arg(data.folder.path().join("builder.db"));
        // Its access log would be a part of what is measured.
        command.env("TIDEWIRE_LOG_LEVEL", "warn");
        let builder = Server::start(command, data, Ready::Line("listening on http://")).await?;
        let mut api = Api::open(builder.addr).await?;
        let made: Made = api.post("/builder/sites", &json!({"name": "shop"})).await?;
        for (what, count) in [("random-user", USERS), ("random-order", orders)] {
            let path = format!("/builder/sites/{}/{what}", made.id);
            let mut left = count;
            while left > 0 {
                let some = left.min(AT_ONCE);
                let _: Value = api.post(&path, &json!({"count": some})).await?;
                left -= some;
            }
        }
        Ok(Self {
            builder,
            site: made.id,
            key: made.access_key,
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.builder.addr)
    }
}

#[derive(Deserialize)]
struct Report {
    fetched: u64,
    inserted: u64,
}

async fn sync(bench: &Bench, shop: &Shop, orders: u64) -> Result<Measured> {
    let data = Data::empty(bench, "data").await?;
    let server = servers::tidewire(bench, data, &[]).await?;
    let mut api = Api::open(server.addr).await?;
    let site = json!({"site_id": shop.site, "access_key": shop.key, "base_url": shop.url()});
    let _: Value = api.post("/v1/sites", &site).await?;
    let path = format!("/v1/sites/{}/sync/orders", shop.site);
    let (before, began) = (server.usage()?, Instant::now());
    let report: Report = api.post(&path, &json!({})).await?;
    let (took, after) = (began.elapsed(), server.usage()?);
    if report.fetched != orders || report.inserted != orders {
        bail!(
            "{} of {orders} were read, {} stored",
            report.fetched,
            report.inserted
        );
    }
    let mut figures = rate(orders, took.as_secs_f64());
    let cpu = after.cpu_seconds - before.cpu_seconds;
    if cpu > 0.0 {
        figures.insert(Figure::PerCpuSecond, count(orders) / cpu);
    }
    figures.insert(Figure::PeakRssMib, after.peak_rss_mib);
    server.stop().await?;
    Ok(Measured {
        figures,
        note: Some(
            "one request in flight: the next page is asked for while this one is stored".to_owned(),
        ),
    })
}

/// Nothing is read of a page but whether it is the last.
async fn page_through(shop: &Shop, orders: u64) -> Result<Measured> {
    let mut conn = Conn::open(shop.builder.addr).await?;
    let extra = format!("x-access-key: {}\r\n", shop.key);
    let began = Instant::now();
    let mut page = 1;
    loop {
        let path = format!("/builder/api/sites/{}/orders?page={page}", shop.site);
        let reply = conn.call(&get(shop.builder.addr, &path, &extra)).await?;
        if !reply.is_success() {
            bail!("page {page}: {}", reply.text());
        }
        if !holds(reply.body, b"\"has_more\":true") {
            break;
        }
        page += 1;
    }
    let took = began.elapsed().as_secs_f64();
    if page != orders.div_ceil(PAGE) {
        bail!("{page} pages of {orders} orders");
    }
    Ok(Measured {
        figures: rate(orders, took),
        note: Some("one request in flight; nothing is stored".to_owned()),
    })
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}

fn rate(records: u64, seconds: f64) -> Figures {
    Figures::from([(Figure::Rate, count(records) / seconds.max(f64::EPSILON))])
}

fn count(records: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = records as f64;
    count
}
