//! AgentThreads that people make, and those that are kept.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tidewire_operator::{
    Driver as _, Pinned, StopHow,
    kubernetes::{
        AgentTemplateSpec, AgentThread, AgentThreadSpec, DRAIN, Recipe, ThreadPhase, Volume,
    },
};

use crate::{House, cluster::until, key, start, template};

const GENTLY: StopHow = StopHow::Within(Duration::from_secs(5));

fn spec(thread: &str) -> AgentThreadSpec {
    AgentThreadSpec {
        thread_id: Some(thread.to_owned()),
        agent: Some("a".to_owned()),
        ..AgentThreadSpec::default()
    }
}

impl House {
    async fn pinned(&self, is: impl Fn(&[Pinned]) -> bool) -> Vec<Pinned> {
        until("the pinned threads", async || {
            let pinned = self.driver.pinned();
            is(&pinned).then_some(pinned)
        })
        .await
    }

    async fn stands(&self, name: &str, phase: ThreadPhase, reason: &str) {
        let threads = self.cluster.api::<AgentThread>();
        until("how a thread stands", async || {
            let status = threads.get(name).await.ok()?.status?;
            let is_so = status.phase == Some(phase) && status.conditions[0].reason == reason;
            is_so.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_thread_that_somebody_makes_has_an_instance_until_it_is_idle() {
    let Some(house) = House::new().await else {
        return;
    };
    let own = AgentThreadSpec {
        image: Some("example/own:2".to_owned()),
        recipe: Recipe {
            idle_timeout_seconds: Some(7),
            ..Recipe::default()
        },
        ..spec("t1")
    };
    house.cluster.thread("mine", own).await;
    let pinned = house.pinned(|it| it.len() == 1).await;
    assert_eq!((&pinned[0].key, pinned[0].is_leaving), (&key("t1"), false));
    house.stands("mine", ThreadPhase::Pending, "Pending").await;

    house.ready(start("one", Some("t1"))).await;
    let pod = house.cluster.api::<Pod>().get("one").await.expect("a Pod");
    let container = &pod.spec.expect("its spec").containers[0];
    assert_eq!(container.image.as_deref(), Some("example/own:2"));
    let shown = house.instance("one").await.expect("it is there");
    assert_eq!(shown.idle_timeout, Some(Duration::from_secs(7)));
    house.stands("mine", ThreadPhase::Ready, "PodReady").await;

    house.driver.stop("one", GENTLY).await.expect("it stops");
    assert!(house.driver.pinned().is_empty());
    house.stands("mine", ThreadPhase::Idle, "Idle").await;
    house.gone("one").await;
    // That it rests is known to whoever comes next.
    let next = House::in_cluster(house.cluster.clone()).await;
    next.driver.instances().await.expect("they are known");
    assert!(next.driver.pinned().is_empty());
    // And it has one again when somebody changes what it says.
    let changed = json!({"spec": {"image": "example/own:3"}});
    let threads = house.cluster.api::<AgentThread>();
    let patch = Patch::Merge(changed);
    threads
        .patch("mine", &PatchParams::default(), &patch)
        .await
        .expect("it may");
    next.pinned(|it| it.len() == 1).await;
}

#[tokio::test]
async fn a_thread_that_is_deleted_is_drained_first() {
    let Some(house) = House::new().await else {
        return;
    };
    house.cluster.thread("mine", spec("t1")).await;
    house.pinned(|it| it.len() == 1).await;
    house.ready(start("one", Some("t1"))).await;
    let threads = house.cluster.api::<AgentThread>();
    for name in ["mine"] {
        let thread = threads.get(name).await.expect("it is there");
        assert_eq!(thread.finalizers(), [DRAIN]);
        threads
            .delete(name, &DeleteParams::default())
            .await
            .expect("it may");
    }
    house.pinned(|it| it.iter().any(|it| it.is_leaving)).await;
    assert!(threads.get_opt("mine").await.expect("asked").is_some());
    house
        .stands("mine", ThreadPhase::Draining, "Draining")
        .await;
    house.driver.stop("one", GENTLY).await.expect("it stops");
    house
        .driver
        .forget(&key("t1"))
        .await
        .expect("it is forgotten");
    until("it is gone", async || {
        threads.get_opt("mine").await.ok()?.is_none().then_some(())
    })
    .await;
    assert!(house.driver.pinned().is_empty());
    // Without an instance nothing keeps one.
    house.cluster.thread("other", spec("t2")).await;
    threads
        .delete("other", &DeleteParams::default())
        .await
        .expect("it may");
    assert!(threads.get_opt("other").await.expect("asked").is_none());
}

#[tokio::test]
async fn what_keeps_a_thread_without_an_instance_is_said() {
    let Some(house) = House::new().await else {
        return;
    };
    let unknown = AgentThreadSpec {
        agent: Some("nobody".to_owned()),
        ..spec("t1")
    };
    house.cluster.thread("unknown", unknown).await;
    house
        .stands("unknown", ThreadPhase::Pending, "NoTemplate")
        .await;
    house.cluster.thread("first", spec("t2")).await;
    house
        .pinned(|it| it.iter().any(|it| it.key == key("t2")))
        .await;
    let waits = tidewire_operator::Note::Waits {
        why: "there are enough",
    };
    house
        .driver
        .note(&key("t2"), waits)
        .await
        .expect("it is noted");
    house.stands("first", ThreadPhase::Pending, "Waits").await;
    // What a thread is cannot be changed.
    let threads = house.cluster.api::<AgentThread>();
    for changed in [
        json!({"threadId": "t3"}),
        json!({"tenant": "other"}),
        json!({"threadId": null}),
    ] {
        let patch = Patch::Merge(json!({ "spec": changed }));
        let refused = threads
            .patch("first", &PatchParams::default(), &patch)
            .await;
        assert!(
            matches!(&refused, Err(kube::Error::Api(status)) if status.code == 422),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_threads_volume_outlives_its_instances() {
    let Some(house) = House::new().await else {
        return;
    };
    let with_volume = AgentTemplateSpec {
        warm: 3,
        recipe: Recipe {
            volume: Some(Volume {
                size: Quantity("1Gi".to_owned()),
                mount_path: "/data".to_owned(),
                storage_class_name: None,
            }),
            ..Recipe::default()
        },
        ..template(Some("v"))
    };
    house.cluster.template("v", with_volume).await;
    let template = until("its template", async || {
        let all = house.driver.templates();
        all.into_iter().find(|it| it.agent.as_deref() == Some("v"))
    })
    .await;
    assert_eq!(template.warm, 0, "a volume is a thread's");
    let with_agent = |name: &str| tidewire_operator::Start {
        agent: Some("v".into()),
        ..start(name, Some("t1"))
    };
    let claim_of = async |name: &str| {
        let pod = house.cluster.api::<Pod>().get(name).await.expect("a Pod");
        let volumes = pod.spec.expect("its spec").volumes.expect("volumes");
        let claims = volumes
            .into_iter()
            .find_map(|it| it.persistent_volume_claim);
        claims.expect("a claim").claim_name
    };
    house.ready(with_agent("one")).await;
    let claim = claim_of("one").await;
    house.stands(&claim, ThreadPhase::Ready, "PodReady").await;
    house.driver.stop("one", GENTLY).await.expect("it stops");
    house.gone("one").await;
    house.stands(&claim, ThreadPhase::Idle, "Idle").await;
    house.ready(with_agent("two")).await;
    assert_eq!(claim_of("two").await, claim);
    let claims = house.cluster.api::<PersistentVolumeClaim>();
    let listed = claims.list(&kube::api::ListParams::default()).await;
    assert_eq!(listed.expect("asked").items.len(), 1);
    // A crash does not cost it either.
    house.cluster.end_container("two", 1).await;
    house.failure("two").await;
    house
        .driver
        .stop("two", StopHow::AtOnce)
        .await
        .expect("it stops");
    house.gone("two").await;
    house.ready(with_agent("three")).await;
    assert_eq!(claim_of("three").await, claim);
}
