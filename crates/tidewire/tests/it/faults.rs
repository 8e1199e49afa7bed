//! What goes wrong around a server: the disk, the port, another server, its own settings.
//!
//! A disk is made full and a file unwritable in earnest where this process may do so: a small
//! filesystem is mounted, a file is made immutable. Elsewhere the kernel's limit of a file's size
//! makes the server's writes fail instead, and a line says so.

use std::{
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire_testkit::{Answer, eventually};

use crate::support::{House, Server, assert_gapless, assert_problem, run, tidewire};

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    match SmallDisk::mount() {
        Some(disk) => {
            let database = disk.path().join("tidewire.db").display().to_string();
            let house = House::new().with(&["--db", &database]);
            let mut filler = None;
            let fill = |_: &Server| filler = Some(disk.fill());
            let free = |_: &Server| disk.free();
            survives(&house, Room::Little, fill, free).await;
        }
        None => {
            println!(
                "cannot mount a small filesystem here: a limit of file sizes stands in for it"
            );
            let house = House::new().with_prelude(IGNORE_SIZE_SIGNAL);
            survives(&house, Room::None, limit_files, unlimit_files).await;
        }
    }
}

#[tokio::test]
async fn a_read_only_database_refuses_writes_and_nothing_else() {
    let house = House::new();
    if Immutable::works_in(house.path()) {
        let files = std::cell::RefCell::new(Vec::new());
        let lock = |server: &Server| {
            let data = server.house.path().join("data");
            for name in ["tidewire.db", "tidewire.db-wal"] {
                files.borrow_mut().push(Immutable::make(data.join(name)));
            }
        };
        survives(&house, Room::None, lock, |_| files.borrow_mut().clear()).await;
    } else {
        println!("cannot make files immutable here: a limit of file sizes stands in for it");
        let house = house.with_prelude(IGNORE_SIZE_SIGNAL);
        survives(&house, Room::None, limit_files, unlimit_files).await;
    }
}

/// What a fault leaves to write to.
#[derive(PartialEq)]
enum Room {
    Little,
    None,
}

/// Puts a server with some data through a fault of its store and out of it again.
async fn survives(
    house: &House,
    room: Room,
    mut begin: impl FnMut(&Server),
    end: impl FnOnce(&Server),
) {
    let server = house.start();
    let mut stored = Vec::new();
    for n in 0..20 {
        stored.push(append(&server, n).await.expect(201).json());
    }
    let job = json!({"type": "echo", "payload": "before"});
    let job = server.post("/v1/jobs", &job).await.expect(201).json();
    // Its end is to fall into the fault.
    let caught = json!({"type": "sleep", "payload": {"ms": 500}});
    let caught = server.post("/v1/jobs", &caught).await.expect(201).json();
    let caught = format!("/v1/jobs/{}", caught["id"].as_str().expect("an id"));
    job_that_is(&server, &caught, "running").await;

    begin(&server);
    // The first writes may still find room in what the store had to itself already.
    let mut n = 20;
    loop {
        let answer = append(&server, n).await;
        n += 1;
        if answer.status == 503 {
            assert_problem(&answer);
            break;
        }
        stored.push(answer.expect(201).json());
    }
    for (path, body) in [
        ("/v1/events", json!([event(1_000_000), event(1_000_001)])),
        ("/v1/jobs", json!({"type": "echo", "payload": filling()})),
        ("/v1/tenants", json!({"name": filling()[..200]})),
    ] {
        // Small enough things may fit even now; what is refused is refused as it should be.
        let answer = server.post(path, &body).await;
        if path == "/v1/events" && answer.status == 201 {
            stored.extend(answer.json().as_array().cloned().expect("an array"));
        } else if answer.status != 201 {
            assert_eq!(answer.status, 503, "{path}: {}", answer.text);
            assert_problem(&answer);
        }
    }
    // Reads go on.
    for event in &stored {
        let path = format!("/v1/events/{}", event["id"].as_str().expect("an id"));
        let read = server.get(&path).await.expect(200).json();
        assert_eq!(read["seq"], event["seq"]);
    }
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    server.get(&path).await.expect(200);
    server.get("/v1/analytics/summary").await.expect(200);
    // On a full disk so small a write as health tries may still find room.
    if room == Room::None {
        let health = server.get("/health").await.expect(503).json();
        assert_eq!(health["checks"]["store"], "ok", "{health}");
        assert_ne!(health["checks"]["store_writes"], "ok", "{health}");
        server.get("/ready").await.expect(503);
    }
    let failures = || server.log().matches("writes failed").count();
    let before = failures();
    eventually("the worker cannot say that its job has ended", || async {
        (failures() > before).then_some(())
    })
    .await;

    end(&server);
    eventually("health comes back by itself", || async {
        (server.get("/health").await.status == 200).then_some(())
    })
    .await;
    let recovered = eventually("writes are taken again", || async {
        let answer = append(&server, 2_000_000).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    stored.push(recovered.expect(201).json());
    // Neither more nor less than what was acknowledged.
    let found = server.list("/v1/events", "events").await;
    let ids = |events: &[Value]| {
        let mut ids: Vec<_> = events.iter().map(|event| event["id"].to_string()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(&found), ids(&stored));
    let numbers = found
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"));
    assert_gapless("default", numbers.collect());
    let summary = server.get("/v1/analytics/summary").await.expect(200).json();
    assert_eq!(summary["events_received"], found.len());
    // Jobs run again, too.
    let job = json!({"type": "echo", "payload": "after"});
    let job = server.post("/v1/jobs", &job).await.expect(201).json();
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    job_that_is(&server, &path, "done").await;
    // Long before its lease would have run out.
    let caught = job_that_is(&server, &caught, "done").await;
    assert_eq!(caught["attempts"], 1, "{caught}");
    server.stop().await;
}

async fn job_that_is(server: &Server, path: &str, status: &str) -> Value {
    eventually(status, || async {
        let job = server.get(path).await.expect(200).json();
        (job["status"] == status).then_some(job)
    })
    .await
}

async fn append(server: &Server, n: u64) -> Answer {
    server.post("/v1/events", &event(n)).await
}

/// Large, so that a disk is soon full.
fn event(n: u64) -> Value {
    json!({"type": "fault", "payload": {"n": n, "text": filling()}})
}

fn filling() -> String {
    "0123456789abcdef".repeat(4_096)
}

/// A filesystem of a few megabytes; unmounted when it is dropped.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]);
        let mounted = mount.arg(folder.path()).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(SmallDisk { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all room that is left.
    fn fill(&self) -> File {
        let mut file = File::create(self.path().join("filler")).expect("a file");
        let mut piece = vec![0; 1 << 20];
        loop {
            match file.write(&piece) {
                Ok(_) => {}
                Err(_) if piece.len() > 1 => piece.truncate(piece.len() / 2),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
                    return file;
                }
            }
        }
    }

    fn free(&self) {
        let file = File::options().write(true).open(self.path().join("filler"));
        file.and_then(|file| file.set_len(0))
            .expect("the filler shrinks");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test leaves behind is killed a moment later.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).output();
        if !unmounted.is_ok_and(|output| output.status.success()) {
            eprintln!("{} is still mounted", self.path().display());
        }
    }
}

/// A file that nobody may change, not even who has it open; as it was before when it is dropped.
struct Immutable(PathBuf);

impl Immutable {
    /// Not every filesystem keeps those out that have the file open already.
    fn works_in(folder: &Path) -> bool {
        let path = folder.join("probe");
        let mut file = File::create(&path).expect("a file");
        if !Self::set(&path, "+i") {
            return false;
        }
        let probe = Immutable(path.clone());
        let refused = file.write_all(b"x").is_err();
        drop(probe);
        fs::remove_file(path).expect("the probe goes");
        refused
    }

    fn make(path: PathBuf) -> Self {
        assert!(Self::set(&path, "+i"), "{}", path.display());
        Immutable(path)
    }

    fn set(path: &Path, change: &str) -> bool {
        let changed = Command::new("chattr").arg(change).arg(path).output();
        changed.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        if !Self::set(&self.0, "-i") {
            eprintln!("{} is still immutable", self.0.display());
        }
    }
}

/// Without this the kernel would end a process whose file grows past the limit.
const IGNORE_SIZE_SIGNAL: &str = "trap '' XFSZ";

fn limit_files(server: &Server) {
    set_file_limit(server.pid(), Some(4096));
}

fn unlimit_files(server: &Server) {
    set_file_limit(server.pid(), None);
}

fn set_file_limit(pid: Pid, current: Option<u64>) {
    let limit = Rlimit {
        current,
        maximum: None,
    };
    prlimit(Some(pid), Resource::Fsize, limit).expect("an own child's limit can be set");
}

#[test]
fn a_second_server_on_one_file_says_who_has_it() {
    let house = House::new();
    let first = house.start();
    let second = house.refused().expect(1);
    let line = second.error();
    let holder = format!("process {}", first.pid().as_raw_nonzero());
    assert!(
        line.contains(&holder) && line.contains("tidewire.db"),
        "{line}"
    );
    first.ask(&["events", "append", "still.there"]);
    // Killed, the first leaves nothing behind that would keep the next one out.
    first.kill();
    house.start().ask(&["events", "append", "next"]);
}

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound port").to_string();
    let ended = House::new().with(&["--addr", &address]).refused().expect(1);
    let line = ended.error();
    assert!(line.contains(&address) && line.contains("--addr"), "{line}");
}

#[test]
fn a_store_that_cannot_be_opened_is_said() {
    let house = House::new();
    fs::write(house.path().join("file"), "no folder").expect("a file");
    let ended = house
        .with(&["--db", "file/tidewire.db"])
        .refused()
        .expect(1);
    assert!(ended.error().contains("file"), "{ended:#?}");
    fs::write(
        house.path().join("garbage.db"),
        "this is no database, ".repeat(500),
    )
    .expect("a file");
    let ended = house.with(&["--db", "garbage.db"]).refused().expect(1);
    assert!(ended.error().contains("garbage.db"), "{ended:#?}");
}

#[test]
fn bad_configuration_names_the_setting_before_anything_starts() {
    let house = House::new();
    for (flag, value) in [
        ("--addr", "nowhere"),
        ("--roles", "api,wroker"),
        ("--lease", "60"),
        ("--poll-interval", "0s"),
        ("--database-url", "oracle://host/db"),
        ("--worker-concurrency", "none"),
        ("--queue-limits", "mail=0"),
        ("--log-format", "xml"),
        ("--drain", "soon"),
        ("--cors-origins", "example.org"),
    ] {
        let ended = house.with(&[flag, value]).refused().expect(64);
        let line = ended.error();
        assert!(line.contains(flag), "{flag}: {line}");
        assert_eq!(ended.stdout, "", "{flag}");
    }
    assert!(!house.path().join("data").exists(), "nothing was made");
    // From the environment, where a person does not see what they typed.
    let mut command = tidewire();
    command.current_dir(house.path()).arg("serve");
    let ended = run(command.env("TIDEWIRE_LEASE", "soon")).expect(64);
    let line = ended.error();
    assert!(
        line.contains("--lease") && line.contains("TIDEWIRE_LEASE"),
        "{line}"
    );
    // From the file.
    fs::write(house.path().join("tidewire.toml"), "leese = '60s'\n").expect("a file");
    let ended = house.refused().expect(64);
    let line = ended.error();
    assert!(
        line.contains("leese") && line.contains("tidewire.toml"),
        "{line}"
    );
}
