//! `tidewire tenants`: tenants and their keys, for the operator.

use std::collections::BTreeMap;

use clap::Subcommand;
use tidewire_client::{Client, Pages};
use tidewire_core::Scope;

use super::{
    Fault,
    output::{Printer, Rows, at, tell},
};

/// Most rows of one answer.
const PAGE: u32 = 500;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a tenant and its first key (scopes read, write, worker)
    #[command(after_help = "\
Example:
  TIDEWIRE_API_KEY=… tidewire tenants create acme")]
    Create { name: String },
    /// List the tenants, newest first
    List,
    /// The keys of a tenant
    Keys(KeysArgs),
}

#[derive(clap::Args)]
struct KeysArgs {
    #[command(subcommand)]
    action: KeysAction,
}

#[derive(Subcommand)]
enum KeysAction {
    /// Make another key
    #[command(after_help = "\
Example:
  tidewire tenants keys create 01J9ZQ3D6T0000000000000000 --scopes read,worker")]
    Create {
        /// The tenant's id
        tenant: String,
        /// What the key may do: read, write, worker, fleet or admin; the server's default without
        #[arg(long, value_name = "SCOPE,…", value_delimiter = ',', value_parser = parse_scope)]
        scopes: Vec<Scope>,
    },
    /// List a tenant's keys, without their secrets
    List {
        /// The tenant's id
        tenant: String,
    },
    /// Revoke a key at once
    Revoke {
        /// The tenant's id
        tenant: String,
        /// The key's id, as `keys list` shows it
        key: String,
    },
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    text.parse()
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::Create { name } => {
            let made = client.tenants().create(&name).await?;
            if printer.is_json() {
                return printer.json(&made);
            }
            printer.facts(&[
                ("id", Some(made.id)),
                ("name", Some(made.name)),
                ("api key", Some(made.api_key)),
                ("created at", at(Some(made.created_at))),
            ])?;
            tell("the key is shown only now: keep it");
            Ok(())
        }
        Action::List => {
            let mut rows = Rows::new(["ID", "NAME", "CREATED AT"]);
            list(
                "tenants",
                client.tenants().pages(Some(PAGE)),
                &mut rows,
                printer,
                |rows, tenant| {
                    rows.add([
                        tenant.id,
                        tenant.name,
                        at(tenant.created_at).unwrap_or_default(),
                    ]);
                },
            )
            .await
        }
        Action::Keys(keys) => run_keys(keys.action, client, printer).await,
    }
}

async fn run_keys(action: KeysAction, client: Client, printer: Printer) -> Result<(), Fault> {
    match action {
        KeysAction::Create { tenant, scopes } => {
            let made = client.tenants().create_key(&tenant, &scopes).await?;
            if printer.is_json() {
                return printer.json(&made);
            }
            printer.facts(&[
                ("id", Some(made.id)),
                ("api key", Some(made.api_key)),
                ("scopes", Some(made.scopes.join(","))),
            ])?;
            tell("the key is shown only now: keep it");
            Ok(())
        }
        KeysAction::List { tenant } => {
            let mut rows = Rows::new(["ID", "SCOPES", "CREATED AT", "LAST USED AT"]);
            list(
                "keys",
                client.tenants().key_pages(&tenant, Some(PAGE)),
                &mut rows,
                printer,
                |rows, key| {
                    let last_used = at(key.last_used_at).unwrap_or_else(|| "never".to_owned());
                    rows.add([
                        key.id,
                        key.scopes.join(","),
                        at(key.created_at).unwrap_or_default(),
                        last_used,
                    ]);
                },
            )
            .await
        }
        KeysAction::Revoke { tenant, key } => {
            client.tenants().revoke_key(&tenant, &key).await?;
            if printer.is_json() {
                return printer.json(&serde_json::json!({ "id": key, "revoked": true }));
            }
            tell(&format!("the key {key} is revoked"));
            Ok(())
        }
    }
}

/// Prints the whole list: there are few enough of either for one document.
async fn list<'c, T: serde::Serialize + Send + 'c>(
    name: &'static str,
    mut pages: Pages<'c, T>,
    rows: &mut Rows,
    printer: Printer,
    add: impl Fn(&mut Rows, T),
) -> Result<(), Fault> {
    let mut items = Vec::new();
    while let Some(page) = pages.next_page().await? {
        items.extend(page);
    }
    if printer.is_json() {
        return printer.json(&BTreeMap::from([(name, items)]));
    }
    items.into_iter().for_each(|item| add(rows, item));
    rows.print(printer)
}
