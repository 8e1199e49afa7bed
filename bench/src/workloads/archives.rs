//! Archives: how fast a long thread becomes one, beside the bare compression of the same lines, and what a page out of the
//! middle of it costs, in the database and in an object. One thread is filled once and measured all the way.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::bodies::{Deltas, Rng};
use crate::data::Data;
use crate::load::{self, insert_latencies, new_micros, record};
use crate::process::Server;
use crate::record::{Case, Figure, Figures};
use crate::report::grouped;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::Api;
use crate::wire::{Conn, Template};

const THREAD: &str = "bench";
const BATCH: u64 = 1_000;
/// Events of a page, and how many pages are read.
const PAGE: u64 = 100;
const PAGES: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const GZIP: &str = "gzip -6";
const LIBRARY: &str = "gzip by zlib-rs";
const IN_DATABASE: &str = "in the database";
const IN_ARCHIVE: &str = "in an archive";
const FETCHED: &str = "tidewire_cold_fetched_bytes_total";
/// As `gzip` itself does, and as Tidewire does.
const LEVEL: u32 = 6;

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let thread = Thread {
        events: bench.plan.archived_events,
        filled: RefCell::default(),
    };
    let making = rounds::run(bench, &Making(&thread)).await?;
    let reading = rounds::run(bench, &Reading(&thread)).await?;
    if let Some(filled) = thread.filled.take() {
        filled.server.stop().await?;
    }
    Ok(vec![making, reading])
}

/// The thread that is measured.
struct Thread {
    events: u64,
    filled: RefCell<Option<Filled>>,
}

struct Filled {
    server: Server,
    /// Everything that an archive has, as plain text.
    lines: PathBuf,
    line_bytes: u64,
}

#[derive(Deserialize)]
struct Job {
    id: String,
    status: String,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    last_error: Option<String>,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<IgnoredAny>,
}

impl Thread {
    fn title(&self, what: &str) -> String {
        format!("archives: {what} of {} events", grouped(self.events as f64))
    }

    async fn fill(&self, bench: &Bench) -> Result<Server> {
        let data = Data::empty(bench, "data").await?;
        let server = servers::tidewire(bench, data, &[]).await?;
        let path = format!("/v1/threads/{THREAD}/events");
        let template = Template::post(server.addr, &path);
        let mut conn = Conn::open(server.addr).await?;
        let (mut deltas, mut body, mut request) = (Deltas::new(0), Vec::new(), Vec::new());
        for _ in 0..self.events.div_ceil(BATCH) {
            body.clear();
            for event in 0..BATCH {
                body.push(if event == 0 { b'[' } else { b',' });
                deltas.one(&mut body, load::wall_ns());
            }
            body.push(b']');
            template.write(&mut request, &body);
            let reply = conn.call(&request).await?;
            if !reply.is_success() {
                bail!("POST {path}: {}", reply.text());
            }
        }
        Ok(server)
    }
}

struct Making<'t>(&'t Thread);

impl Scenario for Making<'_> {
    fn id(&self) -> String {
        "archives/making".to_owned()
    }

    fn title(&self) -> String {
        self.0.title("making one")
    }

    fn unit(&self) -> &'static str {
        "MB of lines"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        let limit = |variant| Contender {
            who: Who::Limit,
            variant,
        };
        vec![Contender::plain(Who::Tidewire), limit(GZIP), limit(LIBRARY)]
    }

    fn is_long(&self) -> bool {
        true
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        if contender.who == Who::Tidewire {
            return self.make(bench).await;
        }
        let filled = self.0.filled.borrow();
        let filled = filled
            .as_ref()
            .context("there is no archive to compare with")?;
        let lines = File::open(&filled.lines)?;
        let began = Instant::now();
        if contender.variant == GZIP {
            let mut gzip = Command::new("gzip");
            gzip.args(["-6", "-c"]).stdin(lines).stdout(Stdio::null());
            let status = gzip.status().context("start gzip")?;
            if !status.success() {
                bail!("gzip ended with {status}");
            }
        } else {
            let mut out = GzEncoder::new(io::sink(), Compression::new(LEVEL));
            io::copy(&mut BufReader::with_capacity(1 << 20, lines), &mut out)?;
            out.finish()?;
        }
        Ok(Figures::from([rate(filled.line_bytes, began.elapsed())]).into())
    }
}

impl Making<'_> {
    async fn make(&self, bench: &Bench) -> Result<Measured> {
        let server = self.0.fill(bench).await?;
        let mut api = Api::open(server.addr).await?;
        let before = server.usage()?.cpu_seconds;
        let took = run_job(&mut api, &json!({"thread_id": THREAD})).await?;
        let usage = server.usage()?;
        let folder = server.data.folder.path().to_owned();
        let object = only_object(&folder.join("data"))?;
        let lines = folder.join("lines.jsonl");
        let line_bytes = unpack(&object, &lines)?;
        let stored = size_of_database(&folder.join("data"))?;
        let millions = self.0.events as f64 / 1e6;
        let megabytes = |bytes: u64| bytes as f64 / 1e6 / millions;
        let note = format!(
            "a million events take {:.0} MB in the database, {:.0} MB as lines and {:.1} MB in the archive",
            megabytes(stored),
            megabytes(line_bytes),
            megabytes(object.metadata()?.len()),
        );
        let mut figures = Figures::from([rate(line_bytes, took)]);
        let per_cpu = line_bytes as f64 / 1e6 / (usage.cpu_seconds - before);
        figures.insert(Figure::PerCpuSecond, per_cpu);
        figures.insert(Figure::PeakRssMib, usage.peak_rss_mib);
        self.0.filled.replace(Some(Filled {
            server,
            lines,
            line_bytes,
        }));
        Ok(Measured {
            figures,
            note: Some(note),
        })
    }
}

struct Reading<'t>(&'t Thread);

impl Scenario for Reading<'_> {
    fn id(&self) -> String {
        "archives/pages".to_owned()
    }

    fn title(&self) -> String {
        self.0.title(&format!("pages of {PAGE} anywhere out"))
    }

    fn unit(&self) -> &'static str {
        "pages"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        let of = |variant| Contender {
            who: Who::Tidewire,
            variant,
        };
        // In this order: then the events have left the database.
        vec![of(IN_DATABASE), of(IN_ARCHIVE)]
    }

    fn is_long(&self) -> bool {
        true
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let filled = self.0.filled.take();
        let mut filled = filled.context("there is no thread to read")?;
        if contender.variant == IN_ARCHIVE {
            let mut api = Api::open(filled.server.addr).await?;
            run_job(&mut api, &json!({"thread_id": THREAD, "trim": true})).await?;
            // Nothing of the archive is in memory then.
            let data = filled.server.stop().await?;
            filled.server = servers::tidewire(bench, data, &[]).await?;
        }
        let measured = self.pages(&filled.server).await;
        self.0.filled.replace(Some(filled));
        measured
    }
}

impl Reading<'_> {
    async fn pages(&self, server: &Server) -> Result<Measured> {
        let mut api = Api::open(server.addr).await?;
        let (mut rng, mut micros) = (Rng::new(1), new_micros());
        let (mut total, mut most) = (0, 0);
        let begun = fetched(&mut api).await?;
        let mut before = begun;
        for _ in 0..PAGES {
            let from = rng.next() % (self.0.events - PAGE);
            let path = format!("/v1/threads/{THREAD}/events?from_seq={from}&limit={PAGE}");
            let asked = Instant::now();
            let page: Events = api.read(&path).await?;
            record(&mut micros, asked.elapsed());
            if page.events.len() as u64 != PAGE {
                bail!("a page of {} events behind {from}", page.events.len());
            }
            let after = fetched(&mut api).await?;
            total = after - begun;
            most = most.max(after - before);
            before = after;
        }
        let mut figures = Figures::new();
        insert_latencies(&mut figures, &micros);
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        let note = (total > 0).then(|| {
            figures.insert(Figure::FetchedKib, kib(most));
            format!(
                "{:.1} KiB fetched for a page on average",
                kib(total) / PAGES as f64
            )
        });
        Ok(Measured { figures, note })
    }
}

fn rate(bytes: u64, took: Duration) -> (Figure, f64) {
    (Figure::Rate, bytes as f64 / 1e6 / took.as_secs_f64())
}

/// Archives what is asked for; how long the job ran.
async fn run_job(api: &mut Api, request: &serde_json::Value) -> Result<Duration> {
    let job: Job = api.post("/v1/archives", request).await?;
    let path = format!("/v1/jobs/{}", job.id);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job: Job = api.read(&path).await?;
        match job.status.as_str() {
            "done" => {
                let span = job.finished_at.zip(job.started_at);
                let (end, start) = span.context("a job is done and has no times")?;
                return Ok((end - start).to_std()?);
            }
            "pending" | "running" if Instant::now() < deadline => {}
            status => bail!(
                "the archiver's job is {status}: {}",
                job.last_error.unwrap_or_default()
            ),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Bytes that were fetched from objects so far.
async fn fetched(api: &mut Api) -> Result<u64> {
    let metrics = api.text("/metrics").await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix(FETCHED));
    let Some(value) = line else { return Ok(0) };
    let value: f64 = value
        .trim()
        .parse()
        .with_context(|| format!("{FETCHED} is {value}"))?;
    Ok(value as u64)
}

/// The one archive in a folder, however deep.
fn only_object(folder: &Path) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut found = None;
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".jsonl.gz") && found.replace(path).is_some()
            {
                bail!("there is more than one archive");
            }
        }
    }
    found.context("there is no archive")
}

/// Writes what a gzip file has into another one; how much it is.
fn unpack(from: &Path, to: &Path) -> Result<u64> {
    let mut lines = MultiGzDecoder::new(BufReader::new(File::open(from)?));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(to)?);
    let bytes = io::copy(&mut lines, &mut out)?;
    out.flush()?;
    Ok(bytes)
}

/// SQLite's file, and what has not been moved into it.
fn size_of_database(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("tidewire.db")
        {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}
