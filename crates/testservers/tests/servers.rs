//! What holds of every server that is started here. An engine that is not installed is left out,
//! unless it is required.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tidewire_testservers::{Engine, Kafka, PgBouncer, Redis, Running, S3, Server, ServerOptions};

/// Those of the engines that are servers and that this machine has.
fn installed() -> Vec<Engine> {
    let required = std::env::var_os("TIDEWIRE_TEST_REQUIRE_ENGINES");
    let required = required.is_some_and(|value| value == "1");
    let there = |engine: &Engine| match tidewire_testservers::find(*engine) {
        Ok(_) => true,
        Err(error) => {
            assert!(!required, "{error}");
            let _ = writeln!(std::io::stderr(), "left out: servers of {engine}: {error}");
            false
        }
    };
    Engine::SERVERS.into_iter().filter(there).collect()
}

fn start(engine: Engine) -> Server {
    Server::start(engine, ServerOptions::default()).unwrap()
}

fn address(url: &str) -> SocketAddr {
    let host = url.rsplit('@').next().unwrap();
    host.split('/').next().unwrap().parse().unwrap()
}

fn answers(url: &str) -> bool {
    TcpStream::connect(address(url)).is_ok()
}

/// Polls, because what ends by itself sends no signal.
fn eventually(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_stops_and_comes_back_where_it_was() {
    for engine in installed() {
        let mut server = start(engine);
        let url = server.url();
        assert!(answers(&url), "{engine}");
        assert!(server.start_again().is_err(), "{engine} runs already");
        for end in [Running::stop, Running::kill] {
            end(&mut server).unwrap();
            assert!(!answers(&url), "{engine}");
            server.start_again().unwrap();
            assert!(answers(&url), "{engine}");
            assert_eq!(server.url(), url, "{engine}");
        }
    }
}

#[test]
fn a_dropped_server_leaves_nothing() {
    for engine in installed() {
        let server = start(engine);
        let (url, folder) = (server.url(), server.folder().to_owned());
        assert!(folder.exists(), "{engine}");
        drop(server);
        assert!(!answers(&url), "{engine}");
        assert!(!folder.exists(), "{engine}");
    }
}

#[test]
fn two_servers_do_not_meet() {
    for engine in installed() {
        let (one, other) = (start(engine), start(engine));
        assert_ne!(address(&one.url()), address(&other.url()), "{engine}");
        assert_ne!(one.folder(), other.folder(), "{engine}");
    }
}

/// Not a test: what the next one kills.
#[test]
#[ignore = "it holds servers until it is killed"]
fn holder() {
    if std::env::var_os(HOLDER).is_none() {
        return;
    }
    let servers: Vec<Server> = installed().into_iter().map(start).collect();
    for server in &servers {
        println!("{HOLDER} {} {}", server.url(), server.folder().display());
    }
    println!("{HOLDER}");
    loop {
        thread::park();
    }
}

const HOLDER: &str = "TIDEWIRE_TEST_HOLDER";

#[test]
fn no_server_outlives_a_process_that_is_killed() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holder", "--nocapture"])
        .env(HOLDER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held: Vec<(String, PathBuf)> = Vec::new();
    for line in BufReader::new(holder.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, said)) = line.split_once(HOLDER) else {
            continue;
        };
        match said.trim().split_once(' ') {
            Some((url, folder)) => held.push((url.to_owned(), PathBuf::from(folder))),
            None => break,
        }
    }
    assert_eq!(held.len(), installed().len());
    assert!(
        held.iter()
            .all(|(url, folder)| answers(url) && folder.exists())
    );

    // With -9.
    holder.kill().unwrap();
    holder.wait().unwrap();
    for (url, folder) in held {
        eventually("the server ends", || !answers(&url));
        eventually("its folder goes", || !Path::new(&folder).exists());
    }
}

#[test]
fn pgbouncer_stands_before_a_server() {
    if !installed().contains(&Engine::Postgres) {
        return;
    }
    let required = std::env::var_os("TIDEWIRE_TEST_REQUIRE_ENGINES");
    if let Err(error) = tidewire_testservers::find_pgbouncer() {
        assert!(required.is_none_or(|value| value != "1"), "{error}");
        let _ = writeln!(std::io::stderr(), "left out: PgBouncer: {error}");
        return;
    }
    let server = start(Engine::Postgres);
    let pooler = PgBouncer::start(&server.url()).unwrap();
    let url = pooler.url(&server.url());
    assert_ne!(address(&url), address(&server.url()));
    assert!(answers(&url));
    drop(pooler);
    assert!(!answers(&url));
}

#[test]
fn a_kafka_stops_and_comes_back_where_it_was_and_leaves_nothing() {
    let required = std::env::var_os("TIDEWIRE_TEST_REQUIRE_ENGINES");
    if let Err(error) = tidewire_testservers::find_kafka() {
        assert!(required.is_none_or(|value| value != "1"), "{error}");
        let _ = writeln!(std::io::stderr(), "left out: Kafka: {error}");
        return;
    }
    let mut kafka = Kafka::start().unwrap();
    let (address, folder) = (kafka.address(), kafka.folder().to_owned());
    assert!(answers(&address));
    assert!(kafka.start_again().is_err(), "it runs already");
    for end in [Running::stop, Running::kill] {
        end(&mut kafka).unwrap();
        assert!(!answers(&address));
        kafka.start_again().unwrap();
        assert!(answers(&address));
        assert_eq!(kafka.address(), address);
    }
    drop(kafka);
    assert!(!answers(&address));
    assert!(!folder.exists());
}

/// What it says to one line, as its protocol puts it.
fn redis_says(url: &str, line: &str) -> String {
    let password = url.split([':', '@']).nth(2).unwrap();
    let mut stream = TcpStream::connect(address(url)).unwrap();
    stream
        .write_all(format!("AUTH {password}\r\n{line}\r\n").as_bytes())
        .unwrap();
    let mut said = BufReader::new(stream)
        .lines()
        .map(std::result::Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("+OK"));
    said.next().unwrap()
}

#[test]
fn a_redis_comes_back_with_its_data_or_without() {
    let mut redis = match Redis::start(ServerOptions { durable: true }) {
        Ok(redis) => redis,
        Err(error) => {
            assert!(tidewire_testservers::find_redis().is_err(), "{error}");
            return;
        }
    };
    let url = redis.url();
    assert_eq!(redis_says(&url, "SET kept 1"), "+OK");
    redis.kill().unwrap();
    assert!(!answers(&url));
    redis.start_again().unwrap();
    assert_eq!(redis.url(), url);
    assert_eq!(redis_says(&url, "EXISTS kept"), ":1");
    redis.kill().unwrap();
    redis.start_empty().unwrap();
    assert_eq!(redis_says(&url, "EXISTS kept"), ":0");
}

#[test]
fn an_s3_comes_back_with_its_data_and_leaves_nothing() {
    let required = std::env::var_os("TIDEWIRE_TEST_REQUIRE_ENGINES");
    if let Err(error) = tidewire_testservers::find_s3() {
        assert!(required.is_none_or(|value| value != "1"), "{error}");
        let _ = writeln!(std::io::stderr(), "left out: S3: {error}");
        return;
    }
    let mut s3 = S3::start().unwrap();
    let (url, folder) = (s3.url(), s3.folder().to_owned());
    let kept = folder.join("data/archives/kept");
    std::fs::write(&kept, "an object").unwrap();
    for end in [Running::stop, Running::kill] {
        end(&mut s3).unwrap();
        assert!(!answers(&url));
        s3.start_again().unwrap();
        assert!(answers(&url) && kept.exists());
        assert_eq!(s3.url(), url);
    }
    drop(s3);
    assert!(!answers(&url));
    assert!(!folder.exists());
}
