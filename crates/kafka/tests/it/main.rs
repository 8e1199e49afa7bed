//! What every job bus promises, over the database and over a real Kafka, each on a store of one process
//! and on one that processes share; and what only a bus beside the store has to show.
//!
//! `TIDEWIRE_TEST_FULL=1` adds what stops brokers for a while.

mod alone;
mod away;
mod house;
mod listener;
mod published;
mod shared;
mod suite;

/// One scenario on each store: `bus` is the module's function that opens the bus, or says that it is not
/// there.
macro_rules! scenarios {
    ($open:path: $($scenario:path as $name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn sqlite() {
                crate::house::run(tidewire_testkit::Engine::Sqlite, $open, $scenario);
            }

            #[test]
            fn postgres() {
                crate::house::run(tidewire_testkit::Engine::Postgres, $open, $scenario);
            }
        })+
    };
}

mod database {
    scenarios! {
        crate::house::database:
        crate::suite::firings_are_delivered_once as firings_are_delivered_once,
        crate::suite::what_is_said_twice_runs_once as what_is_said_twice_runs_once,
        crate::suite::a_worker_that_dies_before_it_commits as a_worker_that_dies_before_it_commits,
        crate::suite::workers_share_what_there_is as workers_share_what_there_is,
        crate::suite::a_job_of_another_time_is_left as a_job_of_another_time_is_left,
    }
}

mod kafka {
    scenarios! {
        crate::house::kafka:
        crate::suite::firings_are_delivered_once as firings_are_delivered_once,
        crate::suite::what_is_said_twice_runs_once as what_is_said_twice_runs_once,
        crate::suite::a_worker_that_dies_before_it_commits as a_worker_that_dies_before_it_commits,
        crate::suite::workers_share_what_there_is as workers_share_what_there_is,
        crate::suite::a_job_of_another_time_is_left as a_job_of_another_time_is_left,
        // The database tells nobody but workers: what is published is a bus's own.
        crate::shared::a_worker_hears_of_a_job_before_it_is_due as a_worker_hears_of_a_job_before_it_is_due,
        crate::shared::consumers_of_a_group_share_the_partitions as consumers_of_a_group_share_the_partitions,
        crate::published::a_firing_is_published_in_the_contracts_shape as a_firing_is_published_in_the_contracts_shape,
        crate::published::firings_of_a_trigger_are_published_in_order as firings_of_a_trigger_are_published_in_order,
        crate::published::what_is_too_large_holds_nothing_up as what_is_too_large_holds_nothing_up,
        crate::published::what_a_dead_relay_had_in_hand_is_told_by_another as what_a_dead_relay_had_in_hand_is_told_by_another,
    }
}

/// The outbox's statements on the third engine.
mod kafka_on_mysql {
    use tidewire_testkit::Engine;

    use crate::{house, published};

    #[test]
    fn firings_of_a_trigger_are_published_in_order() {
        let scenario = published::firings_of_a_trigger_are_published_in_order;
        house::run(Engine::MySql, house::kafka, scenario);
    }

    #[test]
    fn what_a_dead_relay_had_in_hand_is_told_by_another() {
        let scenario = published::what_a_dead_relay_had_in_hand_is_told_by_another;
        house::run(Engine::MySql, house::kafka, scenario);
    }
}
