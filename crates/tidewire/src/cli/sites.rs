//! `tidewire sites`: register other people's systems, and sync them.

mod attempt;
pub(super) mod follow;

use clap::Subcommand;
use serde_json::json;
use tidewire_client::{
    Client, NewSite, NewTrigger, PageNumber, Site, SiteResource, TriggerQuery, TriggerType,
};

use super::{
    Fault, Remote, ask,
    output::{Printer, Rows, at, clean, shorten},
    paging::Paging,
};

/// Characters of an error in a list.
const ERROR_PREVIEW: usize = 60;
const SYNC: &str = "site.sync";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Register a site, after its source has accepted the key
    #[command(after_help = "\
Examples:
  tidewire sites add site-01jz --access-key \"$KEY\" --base-url http://127.0.0.1:8081
  tidewire sites add acme --kind stripe --access-key \"$STRIPE_KEY\" --cron '*/15 * * * *'
  tidewire sites add tidewire --kind github --base-url https://api.github.com/repos/tidewire/tidewire

It is replaced if it is there. With --cron a trigger syncs it from then on.")]
    Add(Add),
    /// List sites, newest first
    List {
        #[command(flatten)]
        page: Paging,
    },
    /// Show a site, and how far its lists are
    Show {
        #[arg(value_name = "SITE")]
        id: String,
    },
    /// Remove a site, and the triggers that sync it; its events stay
    Remove {
        #[arg(value_name = "SITE")]
        id: String,
    },
    /// Read a site's lists: new records become events
    #[command(after_help = "\
Examples:
  tidewire sites sync site-01jz --follow
  tidewire sites sync site-01jz orders")]
    Sync(follow::Args),
    /// Show the first page of a definition's list, and the events that it would make; asks no server
    #[command(after_help = "\
Examples:
  tidewire sites try sources/shop.toml --resource orders --site 17 --access-key \"$KEY\"
  tidewire sites try builder --resource users --site site-01jz --base-url http://127.0.0.1:8081")]
    Try(attempt::Args),
}

#[derive(clap::Args)]
struct Add {
    /// The site's id at its source
    #[arg(value_name = "SITE")]
    id: String,
    /// The source's key for it
    #[arg(
        long,
        value_name = "KEY",
        env = "TIDEWIRE_ACCESS_KEY",
        hide_env_values = true
    )]
    access_key: String,
    /// Where the source is; its definition's own if it is missing
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    #[arg(long)]
    name: Option<String>,
    /// The definition by which it is read
    #[arg(long, default_value = "builder")]
    kind: String,
    /// Sync it by this pattern from then on
    #[arg(long, value_name = "PATTERN")]
    cron: Option<String>,
}

pub(super) fn run(args: Args, remote: &Remote, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::Try(args) => super::block_on(attempt::run(args, printer))?,
        action => ask(asked(action, remote.client()?, printer)),
    }
}

async fn asked(action: Action, client: Client, printer: Printer) -> Result<(), Fault> {
    match action {
        Action::Add(args) => add(args, &client, printer).await,
        Action::List { page } => list(page, &client, printer).await,
        Action::Show { id } => show(&client.sites().get(&id).await?, printer),
        Action::Remove { id } => remove(&id, &client, printer).await,
        Action::Sync(args) => follow::run(args, &client, printer).await,
        // It asks no server.
        Action::Try(args) => attempt::run(args, printer).await,
    }
}

async fn add(args: Add, client: &Client, printer: Printer) -> Result<(), Fault> {
    let site = NewSite {
        site_id: args.id,
        access_key: args.access_key,
        base_url: args.base_url,
        name: args.name,
        kind: Some(args.kind),
    };
    let site = client.sites().register(&site).await?;
    if let Some(cron) = args.cron {
        let config = json!({
            "cron": cron,
            "job": {"type": SYNC, "queue": "sites", "payload": {"site_id": site.id}},
        });
        let name = format!("sync {}", site.id);
        let trigger = NewTrigger::new(name, TriggerType::CronScheduled, &config);
        // The site is there in any case: a second try replaces it.
        forget_crons(&site.id, client).await?;
        let trigger = trigger.map_err(Fault::failed)?;
        client.triggers().create(&trigger).await?;
    }
    if printer.is_json() {
        return printer.json(&site);
    }
    let id = clean(&site.id);
    printer.line(&format!(
        "{id} is {}: sync it with `tidewire sites sync {id}`",
        site.state
    ))
}

/// Deletes the triggers that do nothing but sync this site.
async fn forget_crons(site: &str, client: &Client) -> Result<u32, Fault> {
    let mut gone = 0;
    let (mut found, mut number) = (Vec::new(), Some(1));
    while let Some(page) = number {
        let page = PageNumber {
            page: Some(page),
            limit: Some(500),
        };
        let page = client
            .triggers()
            .list(TriggerQuery::default(), page)
            .await?;
        number = page.next();
        for trigger in page.items {
            let config: serde_json::Value =
                serde_json::from_str(trigger.config.get()).unwrap_or_default();
            let job = &config["job"];
            if job["type"] == SYNC && job["payload"]["site_id"] == site {
                found.push(trigger.id);
            }
        }
    }
    for id in found {
        client.triggers().delete(&id).await?;
        gone += 1;
    }
    Ok(gone)
}

async fn list(page: Paging, client: &Client, printer: Printer) -> Result<(), Fault> {
    let rows = Rows::new(["SITE", "KIND", "STATE", "NAME", "BASE URL", "CREATED AT"]);
    let row = |rows: &mut Rows, site: &Site| {
        rows.add([
            site.id.clone(),
            site.kind.clone(),
            site.state.clone(),
            site.name.clone().unwrap_or_else(|| "-".to_owned()),
            site.base_url.clone(),
            at(site.created_at).unwrap_or_default(),
        ]);
    };
    let fetch =
        async |limit, cursor: Option<String>| client.sites().list(limit, cursor.as_deref()).await;
    page.print(printer, "sites", rows, row, fetch).await
}

fn show(site: &Site, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.json(site);
    }
    printer.facts(&[
        ("id", Some(site.id.clone())),
        ("kind", Some(site.kind.clone())),
        ("name", site.name.clone()),
        ("base url", Some(site.base_url.clone())),
        ("state", Some(site.state.clone())),
        ("because", site.state_reason.clone()),
        ("created at", at(site.created_at)),
        ("updated at", at(site.updated_at)),
    ])?;
    let mut rows = Rows::new([
        "LIST",
        "STATE",
        "FETCHED",
        "INSERTED",
        "DUPLICATES",
        "ENDED AT",
        "ERROR",
    ]);
    for list in site.resources.iter().flatten() {
        rows.add(row(list));
    }
    printer.line("")?;
    rows.print(printer)
}

fn row(list: &SiteResource) -> [String; 7] {
    let report = list.report.clone().unwrap_or_default();
    let state = match (list.is_open, list.finished_at) {
        (true, _) => "under way",
        (false, Some(_)) => "synced",
        (false, None) => "never synced",
    };
    [
        list.resource.clone(),
        state.to_owned(),
        report.fetched.to_string(),
        report.inserted.to_string(),
        report.duplicates.to_string(),
        at(list.finished_at).unwrap_or_else(|| "-".to_owned()),
        list.error
            .as_deref()
            .map_or("-".to_owned(), |error| shorten(error, ERROR_PREVIEW)),
    ]
}

async fn remove(id: &str, client: &Client, printer: Printer) -> Result<(), Fault> {
    client.sites().remove(id).await?;
    let triggers = forget_crons(id, client).await?;
    if printer.is_json() {
        return printer.json(&json!({"removed": id, "triggers": triggers}));
    }
    printer.line(&format!("{} is removed; its events stay", clean(id)))
}
