//! How SQLite goes about the statements over tables that may have a million rows. It has no statistics
//! unless it is told to gather some, so a plan over an empty file is the plan over a full one.

use tidewire_db::{Query, Sql};
use tidewire_testkit::TestStore;

use super::Store;
use crate::service::executions::tests::migrations;

/// The steps of a plan.
async fn plan(store: &TestStore, sql: &Sql) -> Vec<String> {
    let explain = store.db.dialect().sql(&format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = store.db.read().rows(&explain, Vec::new()).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error}: {sql}"));
    rows.iter().map(|row| row.text(3).unwrap()).collect()
}

/// A walk over a whole table, and not over rows that came as an argument or were looked up before.
fn is_scan(step: &str) -> bool {
    let of_few = ["SCAN r", "SCAN gone", "SCAN of_both", "SCAN CONSTANT ROW"]
        .iter()
        .any(|of| {
            step.strip_prefix(of)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
    step.starts_with("SCAN ") && !of_few
}

#[tokio::test]
async fn no_statement_walks_or_sorts_a_whole_table() {
    let store = TestStore::open(&migrations()).await;
    let all = Store::new(store.db.dialect());
    let statements = [
        all.ahead.for_plans(),
        all.crowds.for_plans(),
        all.listing.for_plans(),
        all.leftovers.for_plans(),
        all.retention.for_plans(),
        all.executions.for_plans(),
    ]
    .concat();
    for (name, sql) in statements {
        let steps = plan(&store, sql).await;
        let bad = steps
            .iter()
            .any(|step| is_scan(step) || step.contains("TEMP B-TREE FOR ORDER BY"));
        assert!(!bad, "{name}: {steps:#?}\n{sql}");
    }
}

#[tokio::test]
async fn what_is_named_by_its_key_is_sought_by_all_of_it() {
    let store = TestStore::open(&migrations()).await;
    let all = Store::new(store.db.dialect());
    let statements = [
        all.ahead.for_plans(),
        all.crowds.for_plans(),
        all.leftovers.for_plans(),
        all.retention.for_plans(),
        all.executions.for_plans(),
    ]
    .concat();
    for (name, sql) in statements {
        let steps = plan(&store, sql).await;
        let sought: Vec<_> = steps
            .iter()
            .filter(|step| step.starts_with("SEARCH "))
            .collect();
        assert!(!sought.is_empty(), "{name}: {steps:#?}");
        let by_tenant_alone = sought.iter().any(|step| step.ends_with("(tenant=?)"));
        assert!(!by_tenant_alone, "{name}: {steps:#?}\n{sql}");
    }
}

#[tokio::test]
async fn counts_without_filters_read_an_index_alone() {
    let store = TestStore::open(&migrations()).await;
    let all = Store::new(store.db.dialect());
    for (name, sql) in all.listing.counts() {
        let steps = plan(&store, sql).await;
        // But for the last seconds, of which hidden ones are taken off.
        let [all, recent] = &steps
            .iter()
            .filter(|step| step.starts_with("SEARCH "))
            .collect::<Vec<_>>()[..]
        else {
            panic!("{name}: {steps:#?}");
        };
        assert!(
            all.starts_with("SEARCH e USING COVERING INDEX executions"),
            "{name}: {all}"
        );
        assert!(recent.contains("id>?"), "{name}: {recent}");
    }
}
