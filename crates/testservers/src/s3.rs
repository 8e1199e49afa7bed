//! A server that speaks S3: `s3s-fs`, over a folder, or [`Garage`](garage), both built by the chores.

mod garage;

use std::{fs, net::TcpStream, path::PathBuf};

use crate::{
    Context as _, Error, Found, Result, Running, ServerOptions,
    programs::{tools, which},
    server::{Product, Site, USER, is_running},
};

pub use garage::GARAGE_VERSION;

/// The version of s3s-fs that the chores build.
pub const S3_VERSION: &str = "0.14.1";

/// The bucket that is always there.
const BUCKET: &str = "archives";

/// An S3 of one's own, with a bucket. It ends, and its data go, when this is dropped or this process ends.
pub struct S3 {
    running: Running,
}

is_running!(S3);

impl S3 {
    /// The environment variable that points at one which runs already, by
    /// `http://ACCESS_KEY_ID:SECRET_ACCESS_KEY@HOST:PORT/BUCKET`.
    pub const VARIABLE: &str = "TIDEWIRE_TEST_S3_URL";

    /// The environment variable that says which product is started: `s3s-fs`, if nothing is said, or
    /// `garage`.
    pub const PRODUCT: &str = "TIDEWIRE_TEST_S3";

    /// The URL that the environment names, if it names one.
    #[must_use]
    pub fn named() -> Option<String> {
        let url = std::env::var(S3::VARIABLE).ok()?;
        (!url.is_empty()).then_some(url)
    }

    /// Makes one with an empty bucket on a free port of the loopback, and waits until it serves.
    pub fn start() -> Result<S3> {
        let (product, options) = (product()?, ServerOptions::default());
        let running = Running::start(product, find()?, options, &std::env::temp_dir(), &[])?;
        Ok(S3 { running })
    }
}

static S3S: Product = Product {
    // It runs as root too, and may lie where only we can read.
    accounts: &[],
    name: "s3",
    prepare,
    arguments,
    is_ready: |site, _, _| TcpStream::connect(("127.0.0.1", site.port)).is_ok(),
    stop: "INT",
    last: "KILL",
    url: |site| {
        format!(
            "http://{USER}:{}@127.0.0.1:{}/{BUCKET}",
            site.password, site.port
        )
    },
};

fn product() -> Result<&'static Product> {
    match std::env::var(S3::PRODUCT).as_deref() {
        Ok("garage") => Ok(&garage::GARAGE),
        Ok("" | "s3s-fs") | Err(_) => Ok(&S3S),
        Ok(other) => Err(Error::new(format!(
            "{} is `{other}`: set it to `s3s-fs` or `garage`",
            S3::PRODUCT
        ))),
    }
}

/// What the chores have built, or whichever is on the path.
pub fn find() -> Result<Found> {
    if std::ptr::eq(product()?, &raw const garage::GARAGE) {
        return garage::find();
    }
    let built = tools().join("bin/s3s-fs");
    let program = Some(built).filter(|program| program.is_file());
    program
        .or_else(|| which("s3s-fs"))
        .and_then(|program| Found::at(program, "s3s-fs"))
        .ok_or_else(|| {
            Error::new(format!(
                "s3s-fs is not installed (`cargo xtask test` builds it; by hand: cargo install s3s-fs --locked --version {S3_VERSION} --features binary)"
            ))
        })
}

/// A bucket is a folder.
fn prepare(site: &Site) -> Result<()> {
    let bucket = PathBuf::from(site.data()).join(BUCKET);
    fs::create_dir_all(&bucket).context(|| format!("cannot make {}", bucket.display()))
}

fn arguments(site: &Site) -> Vec<String> {
    [
        "--host",
        "127.0.0.1",
        "--port",
        &site.port.to_string(),
        "--access-key",
        USER,
        "--secret-key",
        &site.password,
        &site.data(),
    ]
    .map(str::to_owned)
    .into()
}
