//! TLS, and HTTP/2 over it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tidewire_outbound::{
    BadAnswer, Client, ClientOptions, Error, Method, Phase, Request, Roots, SetupError, TlsProblem,
};
use tokio_rustls::TlsAcceptor;

use crate::house::*;

const NAME: &str = "hooks.example";

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::called("an authority of the tests")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn sign(&self, params: CertificateParams, alpn: &[&str]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

fn for_name(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// A server that speaks what the client chooses; `/never` never answers, `/endless` never ends, anything else says in
/// which version it was asked, and whom, and gives the body back.
async fn serve(config: Arc<ServerConfig>) -> Sink {
    let acceptor = TlsAcceptor::from(config);
    Sink::start(move |caller| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(caller.stream).await else {
                return;
            };
            let served = auto::Builder::new(TokioExecutor::new());
            // How the connection ends is the client's matter.
            let _ = served
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        }
    })
    .await
}

type Sent = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(request: hyper::Request<Incoming>) -> Result<Response<Sent>, Infallible> {
    let path = request.uri().path().to_owned();
    if path == "/never" {
        std::future::pending::<()>().await;
    }
    if path == "/endless" {
        let chunk = || Ok(hyper::body::Frame::data(Bytes::from_static(&[b'x'; 1000])));
        let chunks = futures_util::stream::repeat_with(chunk);
        return Ok(Response::new(
            http_body_util::StreamBody::new(chunks).boxed(),
        ));
    }
    let version = request.version();
    let host = match request.headers().get("host") {
        Some(host) => host.to_str().unwrap().to_owned(),
        None => request.uri().authority().unwrap().to_string(),
    };
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let said = format!("{version:?} {host} {}", String::from_utf8_lossy(&body));
    Ok(Response::new(Full::new(said.into()).boxed()))
}

fn trusting(authority: &Authority) -> Client {
    let names = Names::new(&[
        (NAME, &[&["127.0.0.1"]]),
        ("hooks.example.", &[&["127.0.0.1"]]),
        ("other.example", &[&["127.0.0.1"]]),
    ]);
    client(ClientOptions {
        resolver: Arc::new(names),
        roots: Roots {
            native: false,
            extra: vec![authority.root()],
        },
        ..options("127.0.0.1")
    })
}

fn url(sink: &Sink, path: &str) -> String {
    format!("https://{NAME}:{}{path}", sink.address.port())
}

async fn problem(client: &Client, url: &str) -> TlsProblem {
    match fetch(client, url).await {
        Err(Error::Tls { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_version_is_what_both_sides_speak() {
    let authority = Authority::new();
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0"),
        (&["http/1.1"][..], "HTTP/1.1"),
        (&[][..], "HTTP/1.1"),
    ] {
        let sink = serve(authority.sign(for_name(NAME), alpn)).await;
        let client = trusting(&authority);
        for reused in [false, true] {
            let request = Request::new(Method::POST, &url(&sink, "/in"))
                .unwrap()
                .body("hi");
            let answer = client.send(request).await.unwrap();
            let expected = format!("{version} {NAME}:{} hi", sink.address.port());
            assert_eq!(answer.body, expected);
            assert_eq!(answer.timings.reused(), reused);
            assert_eq!(answer.timings.tls.is_none(), reused);
        }
        assert_eq!(sink.connections(), 1);
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests_of_http_2() {
    let authority = Authority::new();
    let sink = serve(authority.sign(for_name(NAME), &["h2"])).await;
    let client = trusting(&authority);
    let url = url(&sink, "/");
    fetch(&client, &url).await.unwrap();
    let requests = (0..50).map(|_| fetch(&client, &url));
    for outcome in futures_util::future::join_all(requests).await {
        assert!(outcome.unwrap().timings.reused());
    }
    assert_eq!(sink.connections(), 1);
}

#[tokio::test]
async fn a_stream_that_ends_badly_does_not_disturb_the_others() {
    let authority = Authority::new();
    let sink = serve(authority.sign(for_name(NAME), &["h2"])).await;
    let client = trusting(&authority);
    fetch(&client, &url(&sink, "/")).await.unwrap();
    let endless = fetch(&client, &url(&sink, "/endless")).await.unwrap();
    assert!(endless.truncated);
    assert_eq!(endless.body.len(), 64 * 1024);
    assert!(
        fetch(&client, &url(&sink, "/"))
            .await
            .unwrap()
            .timings
            .reused()
    );

    let never = get(&url(&sink, "/never")).timeout(Duration::from_millis(100));
    let outcome = client.send(never).await;
    assert!(
        matches!(
            outcome,
            Err(Error::Timeout {
                phase: Phase::Answer,
                ..
            })
        ),
        "{outcome:?}"
    );
    // A connection that has swallowed a request is not trusted with another.
    assert!(
        !fetch(&client, &url(&sink, "/"))
            .await
            .unwrap()
            .timings
            .reused()
    );
}

#[tokio::test]
async fn a_trailing_dot_is_no_part_of_the_certificates_name() {
    let authority = Authority::new();
    let sink = serve(authority.sign(for_name(NAME), &["h2"])).await;
    let url = format!("https://{NAME}.:{}/", sink.address.port());
    assert!(fetch(&trusting(&authority), &url).await.is_ok());
}

#[tokio::test]
async fn a_certificate_may_be_for_an_address() {
    let authority = Authority::new();
    let sink = serve(authority.sign(for_name("127.0.0.1"), &["h2"])).await;
    let url = format!("https://{}/", sink.address);
    assert!(fetch(&trusting(&authority), &url).await.is_ok());
}

#[tokio::test]
async fn what_this_machine_trusts_is_beside_the_others() {
    let authority = Authority::new();
    let sink = serve(authority.sign(for_name("127.0.0.1"), &["h2"])).await;
    let url = format!("https://{}/", sink.address);
    let with = |extra| {
        client(ClientOptions {
            roots: Roots {
                native: true,
                extra,
            },
            ..options("127.0.0.1")
        })
    };
    assert!(fetch(&with(vec![authority.root()]), &url).await.is_ok());
    let outcome = fetch(&with(Vec::new()), &url).await;
    assert!(matches!(outcome, Err(Error::Tls { .. })), "{outcome:?}");
    let nonsense = Roots {
        native: false,
        extra: vec![CertificateDer::from(vec![1, 2, 3])],
    };
    let setup = Client::new(ClientOptions {
        roots: nonsense,
        ..ClientOptions::default()
    });
    assert!(matches!(setup.map(drop), Err(SetupError::Root(_))));
}

#[tokio::test]
async fn bad_certificates_are_told_apart() {
    let authority = Authority::new();
    let client = trusting(&authority);

    let stranger = Authority::called("a stranger");
    let stranger = serve(stranger.sign(for_name(NAME), &[])).await;
    assert_eq!(
        problem(&client, &url(&stranger, "/")).await,
        TlsProblem::UnknownIssuer
    );
    let impostor = serve(Authority::new().sign(for_name(NAME), &[])).await;
    assert_eq!(
        problem(&client, &url(&impostor, "/")).await,
        TlsProblem::BadCertificate
    );

    let other = serve(authority.sign(for_name("other.example"), &[])).await;
    assert_eq!(
        problem(&client, &url(&other, "/")).await,
        TlsProblem::WrongName
    );

    let mut old = for_name(NAME);
    old.not_after = date_time_ymd(2001, 1, 1);
    let old = serve(authority.sign(old, &[])).await;
    assert_eq!(problem(&client, &url(&old, "/")).await, TlsProblem::Expired);

    let mut early = for_name(NAME);
    early.not_before = date_time_ymd(4000, 1, 1);
    let early = serve(authority.sign(early, &[])).await;
    assert_eq!(
        problem(&client, &url(&early, "/")).await,
        TlsProblem::NotYetValid
    );
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_apart() {
    let authority = Authority::new();
    let client = trusting(&authority);

    let plain = Sink::start(|mut caller| async move {
        caller.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        caller.closed().await;
    })
    .await;
    assert_eq!(
        problem(&client, &url(&plain, "/")).await,
        TlsProblem::NotTls
    );

    let closing = Sink::start(|caller| async move { drop(caller) }).await;
    assert_eq!(
        problem(&client, &url(&closing, "/")).await,
        TlsProblem::Closed
    );

    let picky = serve(authority.sign(for_name(NAME), &["spdy/3"])).await;
    assert_eq!(
        problem(&client, &url(&picky, "/")).await,
        TlsProblem::Rejected
    );

    let silent = Sink::start(|mut caller| async move { caller.closed().await }).await;
    let request = get(&url(&silent, "/")).timeout(Duration::from_millis(100));
    let outcome = client.send(request).await;
    assert!(
        matches!(
            outcome,
            Err(Error::Timeout {
                phase: Phase::Tls,
                ..
            })
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_plain_url_is_not_for_a_tls_port() {
    let authority = Authority::new();
    let sink = serve(authority.sign(for_name(NAME), &[])).await;
    let outcome = fetch(&local_client(), &sink.url("/")).await;
    assert!(
        matches!(
            outcome,
            Err(Error::BadAnswer {
                why: BadAnswer::NotHttp | BadAnswer::Closed { .. },
                ..
            })
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_http_2_connection_that_ends_is_replaced() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(authority.sign(for_name(NAME), &["h2"]));
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    let sink = Sink::start(move |caller| {
        let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
        async move {
            let stream = acceptor.accept(caller.stream).await.unwrap();
            let builder = auto::Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection(
                TokioIo::new(stream),
                service_fn(|request| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    answer(request)
                }),
            );
            // Says good-bye after its first request.
            tokio::pin!(connection);
            let one = async {
                while counted.load(Ordering::SeqCst) <= caller.number {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = connection.as_mut() => return,
                () = one => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
    })
    .await;
    let client = trusting(&authority);
    for _ in 0..5 {
        fetch(&client, &url(&sink, "/")).await.unwrap();
    }
    assert_eq!(served.load(Ordering::SeqCst), 5);
}
