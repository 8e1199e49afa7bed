//! A site: a shop at the builder, its users and orders synced, and where a buyer came from.

use serde_json::{Value, json};
use tidewire_client::{Client, NewSite, NewSiteEvent, SiteEventQuery, SyncReport};
use tidewire_outbound::Method;

use super::{
    stage::Stage,
    tally::{Flaw, same},
};
use crate::cli::sites::follow::{followed, last};

const USERS: u64 = 300;
const ORDERS: u64 = 700;
/// Where one of the buyers came from.
const CAMPAIGN: &str = "newsletter";

pub(super) async fn run(stage: &Stage) -> Result<String, Flaw> {
    let (client, builder) = (&stage.client, &stage.builder);
    let make = async |path: &str, body: Value| {
        let url = format!("{builder}/builder/sites{path}");
        let text = stage.ask(Method::POST, &url, Some(&body)).await?;
        Ok::<Value, Flaw>(serde_json::from_str(&text)?)
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let shop = make("", json!({"name": "Corner shop"})).await?;
    let id = text(&shop["id"]);
    make(&format!("/{id}/random-user"), json!({"count": USERS})).await?;
    let made = make(&format!("/{id}/random-order"), json!({"count": ORDERS})).await?;
    let buyer = text(&made["orders"][0]["user_id"]);

    let site = NewSite {
        site_id: id.clone(),
        access_key: text(&shop["access_key"]),
        base_url: Some(builder.clone()),
        name: Some("Corner shop".to_owned()),
        kind: Some("builder".to_owned()),
    };
    client.sites().register(&site).await?;
    let came = NewSiteEvent::new(&buyer).utm_source(CAMPAIGN);
    client.sites().record(&came).await?;

    let users = synced(client, &id, "users").await?;
    let orders = synced(client, &id, "orders").await?;
    same("users that are new", USERS, users.inserted)?;
    same("orders that are new", ORDERS, orders.inserted)?;
    let again = synced(client, &id, "orders").await?;
    same("orders that a second sync finds", 0, again.inserted)?;

    let bought = SiteEventQuery {
        user_id: Some(buyer),
        event_type: Some("order_created".to_owned()),
        ..SiteEventQuery::default()
    };
    let bought = client.sites().events(&bought).await?.items;
    let source = bought.into_iter().next().and_then(|event| event.utm_source);
    same(
        "where the buyer came from",
        Some(CAMPAIGN.to_owned()),
        source,
    )?;
    Ok(format!(
        "{USERS} users and {ORDERS} orders in {} pages; a second sync found nothing new; a buyer came by the {CAMPAIGN}",
        users.pages + orders.pages
    ))
}

/// Syncs one of the lists, with a bar where a person sees it.
async fn synced(client: &Client, site: &str, list: &str) -> Result<SyncReport, Flaw> {
    let job = client.sites().sync(site, list).await?;
    let job = followed(job, site, list, client).await?;
    let why = job.last_error.as_deref().unwrap_or_default();
    last(job.output.as_deref()).ok_or_else(|| {
        Flaw::new(
            format_args!("{list} to be synced"),
            format_args!("{}: {why}", job.status),
        )
    })
}
