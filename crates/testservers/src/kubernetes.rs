//! A Kubernetes of one's own, as far as its API goes: a real kube-apiserver on a real etcd, and KWOK, which
//! plays the kubelets of as many nodes as somebody makes. Nothing else of a cluster is here: no scheduler
//! puts Pods on nodes, and no controller collects what owners leave behind.
//!
//! etcd is Debian's; the other two are built by the chores, with Go.

mod etcd;
mod kwok;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Context as _, Error, Found, Result, Running, ServerOptions,
    guard::prepare,
    programs::{tools, which},
    server::{Product, Site, is_running},
};
use etcd::ETCD;
use kwok::KWOK;

/// The versions that the chores build.
pub const KUBERNETES_VERSION: &str = "1.35.4";
pub const KWOK_VERSION: &str = "0.8.0";

/// Who may do everything.
const ADMIN: &str = "admin";
/// Who may do what somebody allows him, which is nothing at first.
const OPERATOR: &str = "operator";

/// An API server with its store and its nodes. They end, and their data go, when this is dropped or this
/// process ends.
pub struct Kubernetes {
    // In this order: who asks ends before who is asked.
    _kwok: Running,
    running: Running,
    _etcd: Running,
}

is_running!(Kubernetes);

impl Kubernetes {
    /// The label of nodes whose kubelet is played: `kwok=yes`.
    pub const NODE_LABEL: (&str, &str) = ("kwok", "yes");

    /// The user that [`Kubernetes::operators_kubeconfig`] is for.
    pub const OPERATOR: &str = OPERATOR;

    /// Makes an empty one on free ports of the loopback, and waits until it serves.
    pub fn start() -> Result<Kubernetes> {
        let (etcd, api, kwok) = find()?;
        let (options, parent) = (ServerOptions::default(), std::env::temp_dir());
        let etcd = Running::start(&ETCD, etcd, options, &parent, &[])?;
        let running = Running::start(&API, api, options, &parent, &[&etcd.url()])?;
        let kubeconfig = running.url();
        let kwok = Running::start(&KWOK, kwok, options, &parent, &[&kubeconfig])?;
        Ok(Kubernetes {
            _kwok: kwok,
            running,
            _etcd: etcd,
        })
    }

    /// For clients that may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join(ADMIN)
    }

    /// For clients that may do what the user [`Kubernetes::OPERATOR`] is allowed to.
    #[must_use]
    pub fn operators_kubeconfig(&self) -> PathBuf {
        self.folder().join(OPERATOR)
    }
}

/// What this machine has of it: etcd, kube-apiserver and KWOK.
pub fn find() -> Result<(Found, Found, Found)> {
    if which("openssl").is_none() {
        return Err(Error::new(
            "a Kubernetes needs openssl, which is not installed (Debian: apt-get install openssl)",
        ));
    }
    let api = built("kube-apiserver", "Kubernetes", KUBERNETES_VERSION)?;
    let kwok = built("kwok", "KWOK", KWOK_VERSION)?;
    Ok((etcd::find()?, api, kwok))
}

/// What the chores have built, and nothing else: of a cluster that is installed we would not know what it does.
fn built(program: &str, product: &'static str, version: &str) -> Result<Found> {
    let path = tools().join("bin").join(program);
    Some(path)
        .filter(|path| path.is_file())
        .and_then(|path| Found::at(path, product))
        .filter(|found| found.version == version)
        .ok_or_else(|| {
            Error::new(format!(
                "{product} {version} is not built (`cargo xtask test --full` does it, with Go)"
            ))
        })
}

static API: Product = Product {
    accounts: &[],
    name: "kubernetes",
    prepare: make_keys,
    arguments,
    is_ready: |site, _, _| is_ready(site),
    stop: "TERM",
    last: "KILL",
    url: |site| site.folder.join(ADMIN).display().to_string(),
};

/// A key for the tokens of service accounts, without which it does not start, and who is who.
fn make_keys(site: &Site) -> Result<()> {
    let openssl = which("openssl").unwrap_or_else(|| "openssl".into());
    let key = site.folder.join("accounts.key").display().to_string();
    // In the older of the two forms, which is the one that is read there.
    let made = [
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        &key,
    ];
    prepare(&openssl, made, &site.folder, site.account)?;
    let tokens = site.folder.join("tokens.csv");
    let (admin, operator) = (token(site, ADMIN), token(site, OPERATOR));
    let text =
        format!("{admin},{ADMIN},{ADMIN},\"system:masters\"\n{operator},{OPERATOR},{OPERATOR}\n");
    fs::write(&tokens, text).context(|| format!("cannot write {}", tokens.display()))
}

fn token(site: &Site, who: &str) -> String {
    format!("{}-{who}", site.password)
}

/// Its certificate, which it makes by itself, with that of the authority that signed it.
fn certificate(site: &Site) -> PathBuf {
    site.folder.join("certificates/apiserver.crt")
}

fn arguments(site: &Site) -> Vec<String> {
    // Here and not before: a port may turn out to be taken after all. If they cannot be written, nobody
    // gets in.
    for who in [ADMIN, OPERATOR] {
        let _ = fs::write(site.folder.join(who), kubeconfig(site, who));
    }
    let path = |name: &str| site.folder.join(name).display().to_string();
    let etcd = site.settings.first().map_or("", String::as_str);
    [
        ("etcd-servers", etcd),
        ("bind-address", "127.0.0.1"),
        ("advertise-address", "127.0.0.1"),
        ("secure-port", &site.port.to_string()),
        ("cert-dir", &path("certificates")),
        ("token-auth-file", &path("tokens.csv")),
        ("authorization-mode", "RBAC"),
        (
            "service-account-issuer",
            "https://kubernetes.default.svc.cluster.local",
        ),
        ("service-account-key-file", &path("accounts.key")),
        ("service-account-signing-key-file", &path("accounts.key")),
        ("service-cluster-ip-range", "10.0.0.0/24"),
        // Nobody is here to make the accounts that it would want of every Pod.
        ("disable-admission-plugins", "ServiceAccount"),
        ("enable-priority-and-fairness", "false"),
        // It would begin watches with a list, for which Debian's etcd is too old, and fails them instead.
        ("feature-gates", "WatchList=false"),
        // A client that is killed takes its watches along, and nobody else's.
        ("shutdown-delay-duration", "0s"),
    ]
    .iter()
    .map(|(name, value)| format!("--{name}={value}"))
    .collect()
}

fn kubeconfig(site: &Site, who: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: tests
contexts:
  - {{name: tests, context: {{cluster: tests, user: {who}}}}}
clusters:
  - name: tests
    cluster:
      server: https://127.0.0.1:{}
      certificate-authority: {}
users:
  - {{name: {who}, user: {{token: {}}}}}
",
        site.port,
        certificate(site).display(),
        token(site, who)
    )
}

/// It takes connections long before it has made all that it begins with. There is no TLS in the standard
/// library, so it is asked by the program that made its key.
fn is_ready(site: &Site) -> bool {
    let certificate = certificate(site);
    certificate.is_file() && asked(site, &certificate).unwrap_or(false)
}

fn asked(site: &Site, certificate: &Path) -> std::io::Result<bool> {
    let address = format!("127.0.0.1:{}", site.port);
    let mut openssl = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error"])
        .args(["-connect", &address, "-CAfile"])
        .arg(certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = openssl.stdin.take() {
        let request = format!(
            "GET /readyz HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            token(site, ADMIN)
        );
        // One that is not there yet has ended already.
        let _ = input.write_all(request.as_bytes());
    }
    let output = openssl.wait_with_output()?;
    Ok(output.stdout.starts_with(b"HTTP/1.1 200"))
}
