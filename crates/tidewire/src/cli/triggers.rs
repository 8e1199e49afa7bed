//! `tidewire triggers`: make, look at, change, try, and see ahead.

mod config;

use clap::{Subcommand, ValueEnum};
use tidewire_client::{
    Client, NewTrigger, Schedule, ScheduleStatus, Trigger, TriggerEdit, TriggerQuery,
    TriggerStatus, TriggerType, Unstored,
};
use tidewire_core::Time;

use super::{
    Fault, executions,
    output::{Printer, Rows, at, clean, compact, tell},
    pages::Pages,
    parse_time, payload,
};
use config::{ConfigFlags, Kind};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a trigger
    #[command(after_help = "\
Examples:
  tidewire triggers create --name report --cron '0 9 * * MON-FRI' --timezone Europe/Berlin --endpoint https://hooks.example/in --payload '{\"kind\": \"daily\"}'
  tidewire triggers create --name once --delay 10m --job cleanup
  tidewire triggers create --name orders --event-type 'order.*' --filter '{\"payload\": {\"amount\": {\"$gte\": 100}}}' --endpoint https://hooks.example/in
  tidewire triggers create --name github --endpoint http://127.0.0.1:3000/push --schema @push.schema.json
  tidewire triggers create --name mine --config trigger.json")]
    Create(Box<Create>),
    /// List triggers, newest first
    #[command(after_help = "\
Examples:
  tidewire triggers list --type cron_scheduled
  tidewire triggers list --status inactive --all -o json")]
    List(List),
    /// Show a trigger; its secrets are masked
    Show { id: String },
    /// Change a trigger; what was fired before goes on as it was
    #[command(after_help = "\
Examples:
  tidewire triggers update 01J9ZQ3D6T0000000000000000 --status inactive
  tidewire triggers update 01J9ZQ3D6T0000000000000000 --cron '*/10 * * * *'
  tidewire triggers update 01J9ZQ3D6T0000000000000000 --config trigger.json

Flags change single fields of the config and leave the others; --config replaces it whole.")]
    Update(Box<Update>),
    /// Delete triggers; their executions stay
    Delete {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Fire once, now, as a test: a stored trigger, or one that flags describe
    #[command(after_help = "\
Examples:
  tidewire triggers test 01J9ZQ3D6T0000000000000000 --payload '{\"id\": 1}' --wait
  tidewire triggers test --endpoint http://127.0.0.1:3000/in --payload '[1]' --wait")]
    Test(Box<Test>),
    /// Say when a trigger will fire: a stored one, or one that flags describe
    #[command(after_help = "\
Examples:
  tidewire triggers preview --cron '30 2 * * *' --timezone Europe/Berlin --from 2026-03-28T00:00:00Z
  tidewire triggers preview 01J9ZQ3D6T0000000000000000 --count 20")]
    Preview(Box<Preview>),
    /// List the occurrences of a trigger that fires by the clock, the latest first
    Schedules(Schedules),
}

#[derive(clap::Args)]
struct Create {
    /// What people call it
    #[arg(long)]
    name: String,
    /// Make it inactive: it does not fire until it is activated
    #[arg(long)]
    inactive: bool,
    /// Within 24 hours the same key and trigger give the first one again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    config: ConfigFlags,
}

#[derive(clap::Args)]
struct List {
    /// Only triggers of this type
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    kind: Option<Kind>,
    /// Only triggers of this status
    #[arg(long, value_enum)]
    status: Option<Status>,
    #[command(flatten)]
    pages: Pages,
}

#[derive(clap::Args)]
struct Update {
    id: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// Switch it on or off
    #[arg(long, value_enum)]
    status: Option<Status>,
    #[command(flatten)]
    config: ConfigFlags,
}

#[derive(clap::Args)]
struct Test {
    /// A stored trigger
    id: Option<String>,
    /// Wait until it has ended, and show its attempts; exit status 1 if it failed
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

#[derive(clap::Args)]
struct Preview {
    /// A stored trigger
    id: Option<String>,
    /// Firings after this time; after now if it is missing
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Time>,
    /// How many firings; 5 if it is missing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    count: Option<u32>,
    #[command(flatten)]
    config: ConfigFlags,
}

#[derive(clap::Args)]
struct Schedules {
    id: String,
    /// Only occurrences in this state
    #[arg(long, value_enum)]
    status: Option<State>,
    #[command(flatten)]
    pages: Pages,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Active,
    Inactive,
}

impl From<Status> for TriggerStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => TriggerStatus::Active,
            Status::Inactive => TriggerStatus::Inactive,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Pending,
    Processing,
    Completed,
    Cancelled,
}

impl From<State> for ScheduleStatus {
    fn from(state: State) -> Self {
        match state {
            State::Pending => ScheduleStatus::Pending,
            State::Processing => ScheduleStatus::Processing,
            State::Completed => ScheduleStatus::Completed,
            State::Cancelled => ScheduleStatus::Cancelled,
        }
    }
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::Create(args) => create(*args, &client, printer).await,
        Action::List(args) => list(args, &client, printer).await,
        Action::Show { id } => show(&client.triggers().get(&id).await?, printer),
        Action::Update(args) => update(*args, &client, printer).await,
        Action::Delete { ids } => delete(&ids, &client, printer).await,
        Action::Test(args) => test(*args, &client, printer).await,
        Action::Preview(args) => preview(*args, &client, printer).await,
        Action::Schedules(args) => schedules(args, &client, printer).await,
    }
}

async fn create(args: Create, client: &Client, printer: Printer) -> Result<(), Fault> {
    let (trigger_type, config) = args.config.build(None)?;
    let new = NewTrigger {
        name: args.name,
        trigger_type,
        config,
        status: args.inactive.then_some(TriggerStatus::Inactive),
        idempotency_key: args.idempotency_key,
    };
    let made = client.triggers().create(&new).await?;
    told(&made, client, printer).await
}

/// Says what a trigger that was just saved will do.
async fn told(trigger: &Trigger, client: &Client, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.json(trigger);
    }
    printer.line(&clean(&format!(
        "{} is {}: {}, {}",
        trigger.id, trigger.status, trigger.name, trigger.trigger_type
    )))?;
    if let Some(url) = &trigger.webhook_url {
        printer.line(&clean(&format!("it is called at {url}")))?;
    }
    if trigger.next_scheduled_run.is_some() {
        let triggers = client.triggers();
        let runs = triggers.preview_stored(&trigger.id, None, None).await?;
        printer.line("its next runs are")?;
        for run in runs {
            printer.line(&format!("  {run}"))?;
        }
    }
    Ok(())
}

async fn list(args: List, client: &Client, printer: Printer) -> Result<(), Fault> {
    let query = TriggerQuery {
        trigger_type: args.kind.map(TriggerType::from),
        status: args.status.map(Into::into),
    };
    let rows = Rows::new(["ID", "NAME", "TYPE", "STATUS", "NEXT RUN"]);
    let row = |rows: &mut Rows, trigger: &Trigger| {
        rows.add([
            trigger.id.clone(),
            trigger.name.clone(),
            trigger.trigger_type.to_string(),
            trigger.status.to_string(),
            at(trigger.next_scheduled_run).unwrap_or_else(|| "-".to_owned()),
        ]);
    };
    let fetch = async |page| client.triggers().list(query, page).await;
    args.pages
        .print(printer, "triggers", rows, row, fetch)
        .await
}

fn show(trigger: &Trigger, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.json(trigger);
    }
    printer.facts(&[
        ("id", Some(trigger.id.clone())),
        ("name", Some(trigger.name.clone())),
        ("type", Some(trigger.trigger_type.to_string())),
        ("status", Some(trigger.status.to_string())),
        ("webhook", trigger.webhook_url.clone()),
        ("next run", at(trigger.next_scheduled_run)),
        ("created at", at(trigger.created_at)),
        ("updated at", at(trigger.updated_at)),
        ("config", Some(compact(trigger.config.get()))),
    ])
}

async fn update(args: Update, client: &Client, printer: Printer) -> Result<(), Fault> {
    let config = if args.config.says_something() {
        // Masks of secrets come along, and stand for them.
        let stored = client.triggers().get(&args.id).await?;
        if let Some(said) = args.config.said_type()
            && said != stored.trigger_type
        {
            return Err(Fault::Usage(format!(
                "a {} trigger stays one: make another, of type {said}",
                stored.trigger_type
            )));
        }
        Some(args.config.build(Some(&stored.config))?.1)
    } else {
        None
    };
    let edit = TriggerEdit {
        name: args.name,
        status: args.status.map(Into::into),
        config,
    };
    if edit.name.is_none() && edit.status.is_none() && edit.config.is_none() {
        return Err(Fault::Usage(
            "nothing is to be changed: give --name, --status or something of the config".to_owned(),
        ));
    }
    let updated = client.triggers().update(&args.id, &edit).await?;
    told(&updated, client, printer).await
}

/// Deletes several; one that fails does not keep the others from it.
async fn delete(ids: &[String], client: &Client, printer: Printer) -> Result<(), Fault> {
    let mut failed = false;
    for id in ids {
        match client.triggers().delete(id).await {
            Ok(()) if printer.is_json() => printer.json(&serde_json::json!({ "deleted": id }))?,
            Ok(()) => printer.line(&clean(&format!("{id} is deleted")))?,
            Err(error) => {
                tell(&format!("error: {id}: {error}"));
                failed = true;
            }
        }
    }
    if failed { Err(Fault::Told) } else { Ok(()) }
}

async fn test(args: Test, client: &Client, printer: Printer) -> Result<(), Fault> {
    let triggers = client.triggers();
    let run = match &args.id {
        Some(id) => {
            described_twice(&args.config)?;
            let payload = args.config.payload.as_deref();
            let payload = payload.map(payload::read).transpose()?;
            triggers.test(id, payload.as_deref()).await?
        }
        None => {
            let (trigger_type, config) = args.config.build(None)?;
            let unstored = Unstored {
                trigger_type,
                config: &config,
            };
            triggers.test_unstored(unstored, None).await?
        }
    };
    executions::set_off(run, args.wait, client, printer).await
}

async fn preview(args: Preview, client: &Client, printer: Printer) -> Result<(), Fault> {
    let triggers = client.triggers();
    let runs = match &args.id {
        Some(id) => {
            if args.config.payload.is_some() {
                return Err(Fault::Usage("a preview delivers no payload".to_owned()));
            }
            described_twice(&args.config)?;
            triggers.preview_stored(id, args.from, args.count).await?
        }
        None => {
            // Who looks ahead need not know yet what is to be done then.
            let nothing =
                serde_json::value::to_raw_value(&Somewhere::default()).map_err(Fault::failed)?;
            let (trigger_type, config) = args.config.build(Some(&nothing))?;
            let unstored = Unstored {
                trigger_type,
                config: &config,
            };
            triggers.preview(unstored, args.from, args.count).await?
        }
    };
    if printer.is_json() {
        return printer.json(&serde_json::json!({ "runs": runs }));
    }
    runs.iter()
        .try_for_each(|run| printer.line(&run.to_string()))
}

/// An action that does nothing, for a config that must have one.
#[derive(serde::Serialize)]
struct Somewhere {
    job: Nothing,
}

#[derive(serde::Serialize)]
struct Nothing {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Default for Somewhere {
    fn default() -> Self {
        Somewhere {
            job: Nothing { kind: "echo" },
        }
    }
}

fn described_twice(config: &ConfigFlags) -> Result<(), Fault> {
    if config.says_more_than_a_payload() {
        return Err(Fault::Usage(
            "the trigger is stored, and what it is cannot be said beside its id: leave one of the two out"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn schedules(args: Schedules, client: &Client, printer: Printer) -> Result<(), Fault> {
    let status = args.status.map(Into::into);
    let rows = Rows::new(["FIRE AT", "STATUS", "ATTEMPTS", "LAST ATTEMPT", "ID"]);
    let row = |rows: &mut Rows, one: &Schedule| {
        rows.add([
            one.fire_at.to_string(),
            one.status.to_string(),
            one.attempt_count.to_string(),
            at(one.last_attempt_at).unwrap_or_else(|| "-".to_owned()),
            one.id.clone(),
        ]);
    };
    let fetch = async |page| client.triggers().schedules(&args.id, status, page).await;
    args.pages
        .print(printer, "schedules", rows, row, fetch)
        .await
}
