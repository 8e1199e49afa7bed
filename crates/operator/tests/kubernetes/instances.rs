//! What is made for an instance, and that nothing is left of it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use tidewire_operator::{
    Driver as _, DriverError, Phase, Start, StopHow,
    kubernetes::{AgentThread, Recipe, ThreadPhase},
};

use crate::{
    GATEWAY, House,
    cluster::{Cluster, until},
    key, start, template,
};

const GENTLY: StopHow = StopHow::Within(Duration::from_secs(5));

#[tokio::test]
async fn an_instance_is_a_pod_with_its_threads_key_and_nothing_else_that_it_could_use() {
    let Some(house) = House::new().await else {
        return;
    };
    house.ready(start("one", Some("t:1"))).await;
    let shown = house.instance("one").await.expect("it is there");
    assert_eq!(shown.thread.as_deref(), Some("t:1"));
    assert_eq!(shown.agent.as_deref(), Some("a"));
    assert_eq!(&*shown.tenant, "default");
    assert_eq!(
        house.cluster.key_of("one").await.as_deref(),
        Some("key-of-one")
    );

    let pod = house.cluster.api::<Pod>().get("one").await.expect("a Pod");
    let spec = pod.spec.expect("its spec");
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    let container = &spec.containers[0];
    let security = container.security_context.as_ref().expect("its security");
    assert_eq!(security.read_only_root_filesystem, Some(true));
    let env = container.env.as_ref().expect("its variables");
    let value = |name: &str| {
        let found = env.iter().find(|it| it.name == name);
        found.and_then(|it| it.value.as_deref())
    };
    assert_eq!(value("TIDEWIRE_GATEWAY"), Some(GATEWAY));
    assert_eq!(value("TIDEWIRE_THREAD"), Some("t:1"));
    assert_eq!(value("TIDEWIRE_AGENT"), Some("a"));
    // It stands in the Secret alone.
    assert!(!format!("{env:?}").contains("key-of-one"), "{env:?}");

    house.driver.stop("one", GENTLY).await.expect("it stops");
    house.gone("one").await;
    assert_eq!(house.cluster.key_of("one").await, None);
    let threads = house.cluster.api::<AgentThread>();
    until("its AgentThread goes", async || {
        threads
            .get_opt("one")
            .await
            .expect("asked")
            .is_none()
            .then_some(())
    })
    .await;
    // What is not there is stopped.
    house
        .driver
        .stop("one", StopHow::AtOnce)
        .await
        .expect("so it is");
}

#[tokio::test]
async fn what_was_asked_for_shows_at_once_and_happens_once() {
    let Some(house) = House::new().await else {
        return;
    };
    for _ in 0..2 {
        let again = start("one", Some("t1"));
        house.driver.start(again).await.expect("it starts");
        assert!(house.instance("one").await.is_some());
    }
    assert_eq!(house.cluster.pods().await.len(), 1);
    house.phase("one", |it| *it == Phase::Ready).await;
    house.driver.stop("one", GENTLY).await.expect("it stops");
    let shown = house.instance("one").await.map(|it| it.phase);
    assert!(matches!(shown, None | Some(Phase::Stopping)), "{shown:?}");
}

#[tokio::test]
async fn an_agent_without_a_template_is_refused_until_it_has_one() {
    let Some(cluster) = Cluster::new().await else {
        return;
    };
    let house = House::in_cluster(cluster).await;
    let refused = house.driver.start(start("one", Some("t1"))).await;
    assert!(
        matches!(refused, Err(DriverError::Refused(_))),
        "{refused:?}"
    );
    let shown = house.driver.instances().await.expect("they are known");
    assert!(shown.is_empty(), "{shown:?}");
    // The tenant's own template wins.
    house.cluster.template("all", template(Some("a"))).await;
    let own = tidewire_operator::kubernetes::AgentTemplateSpec {
        tenant: Some("default".to_owned()),
        image: "example/own:1".to_owned(),
        warm: 2,
        recipe: Recipe {
            port: Some(8000),
            ..Recipe::default()
        },
        ..template(Some("a"))
    };
    house.cluster.template("own", own).await;
    until("both templates are seen", async || {
        (house.driver.templates().len() == 2).then_some(())
    })
    .await;
    let warm: Vec<_> = house.driver.templates().iter().map(|it| it.warm).collect();
    assert_eq!(warm.iter().sum::<u32>(), 2);
    house.ready(start("two", Some("t1"))).await;
    let pod = house.cluster.api::<Pod>().get("two").await.expect("a Pod");
    let container = &pod.spec.expect("its spec").containers[0];
    assert_eq!(container.image.as_deref(), Some("example/own:1"));
    assert!(container.readiness_probe.is_some());
}

#[tokio::test]
async fn a_warm_instance_is_bound_without_a_restart() {
    let Some(house) = House::new().await else {
        return;
    };
    house.ready(start("warm", None)).await;
    let warm = house.instance("warm").await.expect("it is there");
    assert_eq!(warm.thread, None);
    house
        .driver
        .bind("warm", &key("t1"))
        .await
        .expect("it is bound");
    let bound = house.instance("warm").await.expect("it is there");
    assert_eq!(bound.thread.as_deref(), Some("t1"));
    assert_eq!(bound.started_at, warm.started_at);
    // Whoever comes next sees it too.
    let next = House::in_cluster(house.cluster.clone()).await;
    let seen = next.instance("warm").await.expect("it is there");
    assert_eq!(seen.thread.as_deref(), Some("t1"));
    // It stays with its thread.
    let other = next.driver.bind("warm", &key("t2")).await;
    assert!(matches!(other, Err(DriverError::Refused(_))), "{other:?}");
}

#[tokio::test]
async fn people_read_how_a_thread_stands() {
    let Some(house) = House::new().await else {
        return;
    };
    house.ready(start("one", Some("t1"))).await;
    let turn = tidewire_operator::Note::Turn {
        turn: "turn-1",
        is_open: true,
    };
    house
        .driver
        .note(&key("t1"), turn)
        .await
        .expect("it is noted");
    let threads = house.cluster.api::<AgentThread>();
    let status = until("its status", async || {
        let status = threads.get("one").await.ok()?.status?;
        status.last_turn.is_some().then_some(status)
    })
    .await;
    assert_eq!(status.phase, Some(ThreadPhase::Ready));
    assert_eq!(status.pod.as_deref(), Some("one"));
    assert_eq!(status.last_turn.as_deref(), Some("turn-1"));
    assert_eq!(status.conditions[0].status, "True");
    let events = house.cluster.api::<k8s_openapi::api::events::v1::Event>();
    until("an event", async || {
        let all = events.list(&kube::api::ListParams::default()).await.ok()?;
        let found = all.items.iter().any(|it| {
            it.reason.as_deref() == Some("Started")
                && it.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some("one")
        });
        found.then_some(())
    })
    .await;
}

#[tokio::test]
async fn keys_are_written_and_never_read() {
    let Some(house) = House::new().await else {
        return;
    };
    house.ready(start("one", Some("t1"))).await;
    let secrets: kube::Api<Secret> = kube::Api::namespaced(
        crate::as_operator(&house.cluster).await,
        &house.cluster.namespace,
    );
    let read = secrets.get("one").await;
    assert!(
        matches!(&read, Err(kube::Error::Api(status)) if status.code == 403),
        "{read:?}"
    );
}

#[tokio::test]
async fn a_name_that_no_pod_can_have_is_refused_and_leaves_nothing() {
    let Some(house) = House::new().await else {
        return;
    };
    let refused = house
        .driver
        .start(Start {
            name: "Not_a_name".into(),
            ..start("x", Some("t1"))
        })
        .await;
    assert!(
        matches!(refused, Err(DriverError::Refused(_))),
        "{refused:?}"
    );
    let shown = house.driver.instances().await.expect("they are known");
    assert!(shown.is_empty(), "{shown:?}");
}
