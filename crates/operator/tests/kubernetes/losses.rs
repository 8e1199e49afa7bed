//! What goes wrong: with containers, Pods, nodes, and with operators halfway.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::DeleteParams;
use tidewire_operator::{Driver as _, Note, StopHow, kubernetes::AgentThread};

use crate::{House, cluster::until, key, start};

#[tokio::test]
async fn a_container_that_ends_is_a_failure_with_its_status() {
    let Some(house) = House::new().await else {
        return;
    };
    for (name, status) in [("one", 3), ("two", 0)] {
        house.ready(start(name, Some(name))).await;
        house.cluster.end_container(name, status).await;
        let why = house.failure(name).await;
        assert!(why.contains(&format!("status {status}")), "{why}");
        house
            .driver
            .stop(name, StopHow::AtOnce)
            .await
            .expect("it stops");
        house.gone(name).await;
    }
}

#[tokio::test]
async fn a_pod_that_somebody_deletes_is_a_failure_until_it_is_cleared_away() {
    let Some(house) = House::new().await else {
        return;
    };
    house.ready(start("one", Some("t1"))).await;
    let pods = house.cluster.api::<Pod>();
    pods.delete("one", &DeleteParams::default())
        .await
        .expect("it was there");
    house.failure("one").await;
    until("the Pod is gone", async || {
        pods.get_opt("one").await.ok()?.is_none().then_some(())
    })
    .await;
    // It does not vanish: its thread's turn is to be taken over first.
    assert_eq!(house.failure("one").await, "its Pod is gone");
    house
        .driver
        .stop("one", StopHow::AtOnce)
        .await
        .expect("it stops");
    house.gone("one").await;
}

#[tokio::test]
async fn the_loss_of_a_node_is_the_loss_of_its_pods() {
    let Some(house) = House::new().await else {
        return;
    };
    house.ready(start("one", Some("t1"))).await;
    house.cluster.delete_node("a").await;
    let why = house.failure("one").await;
    assert!(why.contains("is gone"), "{why}");
    house
        .driver
        .stop("one", StopHow::AtOnce)
        .await
        .expect("it stops");
    house.gone("one").await;

    house.cluster.add_node("b").await;
    house.ready(start("two", Some("t1"))).await;
    house.cluster.add_node("c").await;
    house.cluster.cut_off_node("b").await;
    let why = house.failure("two").await;
    assert!(why.contains("has not been ready"), "{why}");
    let crashed = Note::Crashed {
        why: &why,
        again_in: std::time::Duration::from_secs(1),
    };
    house
        .driver
        .note(&key("t1"), crashed)
        .await
        .expect("it is noted");
    let events = house.cluster.api::<k8s_openapi::api::events::v1::Event>();
    let all = events
        .list(&kube::api::ListParams::default())
        .await
        .expect("asked");
    assert!(
        all.items
            .iter()
            .any(|it| it.reason.as_deref() == Some("NodeLost"))
    );
    // Nobody is there to end it, so it is not waited for.
    house
        .driver
        .stop("two", StopHow::AtOnce)
        .await
        .expect("it stops");
    house.gone("two").await;
    house.ready(start("three", Some("t1"))).await;
}

#[tokio::test]
async fn whoever_comes_after_an_operator_that_was_killed_sees_what_it_left() {
    let Some(house) = House::new().await else {
        return;
    };
    for name in ["whole", "no-pod", "no-secret", "nothing"] {
        house.ready(start(name, Some(name))).await;
    }
    let cluster = house.cluster.clone();
    drop(house);
    // As if it had been killed between two requests, while it started them or while it stopped them.
    let now = DeleteParams::default().grace_period(0);
    let (pods, secrets) = (cluster.api::<Pod>(), cluster.api::<Secret>());
    for name in ["no-pod", "nothing"] {
        pods.delete(name, &now).await.expect("it was there");
    }
    for name in ["no-secret", "nothing"] {
        secrets.delete(name, &now).await.expect("it was there");
    }
    let next = House::in_cluster(cluster).await;
    let mut names: Vec<_> = next.driver.instances().await.expect("they are known");
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = names.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["no-pod", "no-secret", "nothing", "whole"]);
    for name in ["no-pod", "nothing"] {
        assert_eq!(next.failure(name).await, "its Pod is gone");
    }
    for name in names {
        next.driver
            .stop(name, StopHow::AtOnce)
            .await
            .expect("it stops");
    }
    for name in ["no-pod", "no-secret", "nothing", "whole"] {
        next.gone(name).await;
    }
    let threads = next.cluster.api::<AgentThread>();
    let left = threads.list(&kube::api::ListParams::default()).await;
    assert!(left.expect("asked").items.is_empty());
}
