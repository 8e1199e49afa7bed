use std::time::Duration;

use tidewire_core::Clock;
use tokio::time::Instant;

use super::*;

fn at(millis: i64) -> Time {
    Time::from_millis(millis)
}

fn lane(tenant: &str, queue: &str, priority: i32) -> LaneKey {
    LaneKey::new(tenant, queue, "t", priority)
}

fn picked(board: &Board, filter: &Filter, limit: u32) -> Vec<(String, i32)> {
    let pick = board.pick(filter, at(100), limit);
    let name = |candidate: &Candidate| (candidate.lane.tenant.to_string(), candidate.lane.priority);
    pick.lanes.iter().map(name).collect()
}

#[test]
fn the_lower_priority_comes_first_and_what_is_not_due_not_at_all() {
    let board = Board::default();
    board.hint(&lane("a", "q", 5), at(1), 1, at(100));
    board.hint(&lane("a", "q", -5), at(90), 1, at(100));
    board.hint(&lane("a", "q", 0), at(101), 1, at(100));
    let both = [("a".to_owned(), -5), ("a".to_owned(), 5)];
    assert_eq!(picked(&board, &Filter::default(), 10), both);
    assert_eq!(board.next_due(&Filter::default()), Some(at(1)));
}

#[test]
fn tenants_take_turns() {
    let board = Board::default();
    for tenant in ["a", "b", "c"] {
        board.hint(&lane(tenant, "q", 0), at(1), 1, at(100));
    }
    let first = || picked(&board, &Filter::default(), 1)[0].0.clone();
    let turns = [first(), first(), first(), first()];
    assert_eq!(turns, ["a", "b", "c", "a"]);
    let pick = board.pick(&Filter::default(), at(100), 10);
    assert_eq!((pick.lanes.len(), pick.share), (3, 4));
}

#[test]
fn an_empty_lane_goes_unless_something_came_meanwhile() {
    let board = Board::default();
    let all = Filter::default();
    board.hint(&lane("a", "q", 0), at(1), 1, at(100));
    let pick = board.pick(&all, at(100), 1);
    board.hint(&lane("a", "q", 0), at(2), 1, at(100));
    board.settle(&pick.lanes[0], Next::Nothing, at(100));
    assert_eq!(board.next_due(&all), Some(at(2)), "a newer hint came");
    let pick = board.pick(&all, at(100), 1);
    let later = Mark::start_of(at(500));
    board.settle(&pick.lanes[0], Next::At(later.clone()), at(100));
    assert_eq!(board.next_due(&all), Some(at(500)));
    assert!(board.pick(&all, at(100), 1).lanes.is_empty());
    let pick = board.pick(&all, at(500), 1);
    assert_eq!(pick.lanes[0].from, later);
    board.settle(&pick.lanes[0], Next::Nothing, at(500));
    assert_eq!(board.next_due(&all), None);
}

#[test]
fn what_a_claim_leaves_is_not_lost_if_a_rebuild_dropped_its_lane() {
    let board = Board::default();
    let all = Filter::default();
    board.hint(&lane("a", "q", 0), at(1), 1, at(100));
    let pick = board.pick(&all, at(100), 1);
    board.rebuilt(board.generation(), &[], at(100));
    assert_eq!(board.next_due(&all), None);
    let left = Mark::behind(at(1), "x");
    board.settle(&pick.lanes[0], Next::At(left.clone()), at(100));
    assert_eq!(board.pick(&all, at(100), 1).lanes[0].from, left);
}

#[test]
fn a_full_queue_is_passed_over_until_a_job_of_it_ends() {
    let board = Board::default();
    let all = Filter::default();
    let full = lane("a", "q", 0);
    board.hint(&full, at(1), 1, at(100));
    let fill = || board.fill(&board.pick(&all, at(100), 1).lanes[0]);
    fill();
    assert!(picked(&board, &all, 1).is_empty());
    assert_eq!(board.next_due(&all), None);
    board.drained(&full.tenant, &full.queue, 1);
    assert_eq!(picked(&board, &all, 1).len(), 1);
    // One ends while a claim counts, which tells later.
    let counting = board.pick(&all, at(100), 1);
    board.drained(&full.tenant, &full.queue, 1);
    board.fill(&counting.lanes[0]);
    assert_eq!(picked(&board, &all, 1).len(), 1);
    fill();
    assert!(picked(&board, &all, 1).is_empty());
}

#[test]
fn a_rebuild_adds_what_was_lost_and_drops_what_is_gone() {
    let board = Board::default();
    let all = Filter::default();
    board.hint(&lane("gone", "q", 0), at(1), 1, at(100));
    let since = board.generation();
    board.hint(&lane("new", "q", 0), at(3), 1, at(100));
    let lost = [(lane("lost", "q", 0), Mark::at(at(2), "m"))];
    assert!(board.rebuilt(since, &lost, at(100)));
    assert!(!board.rebuilt(since, &lost, at(100)), "now it is known");
    let mut left: Vec<_> = picked(&board, &all, 10)
        .into_iter()
        .map(|(tenant, _)| tenant)
        .collect();
    left.sort();
    assert_eq!(left, ["lost", "new"]);
}

#[test]
fn a_rebuild_looks_from_the_start_and_no_claim_on_its_way_undoes_it() {
    let board = Board::default();
    let all = Filter::default();
    let key = lane("a", "q", 0);
    let rebuild =
        |first: &Mark| board.rebuilt(board.generation(), &[(key.clone(), first.clone())], at(100));
    board.hint(&key, at(9), 1, at(100));
    let pick = board.pick(&all, at(100), 1);
    let lost = Mark::at(at(5), "m");
    assert!(rebuild(&lost), "nobody had told of it");
    board.settle(&pick.lanes[0], Next::At(Mark::behind(at(9), "x")), at(100));
    let pick = board.pick(&all, at(100), 1);
    assert_eq!(pick.lanes[0].from, lost);
    // And forward: what other processes have taken is not walked.
    let later = Mark::at(at(50), "n");
    assert!(!rebuild(&later));
    assert_eq!(board.pick(&all, at(100), 1).lanes[0].from, later);
}

#[tokio::test]
async fn a_claim_that_leaves_jobs_wakes_another_of_those_who_wait() {
    let board = Arc::new(Board::default());
    let filter = Arc::new(Filter::default());
    let waiters = [
        board.waiter(Arc::clone(&filter), "a".into()),
        board.waiter(filter, "b".into()),
    ];
    let woken = || board.lock().waiters.values().filter(|w| w.woken).count();
    board.hint(&lane("a", "q", 0), at(1), 1, at(100));
    assert_eq!(woken(), 1);
    let pick = board.pick(&Filter::default(), at(100), 1);
    board.settle(&pick.lanes[0], Next::At(Mark::behind(at(1), "x")), at(100));
    assert_eq!(woken(), 2);
    assert!(!board.somebody_waits());
    drop(waiters);
}

#[tokio::test]
async fn one_job_wakes_one_of_those_who_wait_and_its_leaving_wakes_the_next() {
    let board = Arc::new(Board::default());
    let filter = Arc::new(Filter::default());
    let (first, second) = (
        board.waiter(Arc::clone(&filter), "a".into()),
        board.waiter(filter, "b".into()),
    );
    board.hint(&lane("a", "q", 0), at(1), 1, at(100));
    assert_eq!(board.lock().waiters.values().filter(|w| w.woken).count(), 1);
    drop(first);
    let clock = Clock::fake(at(100));
    assert!(second.due(&clock, None, Duration::from_secs(60)).await);
    drop(second);
    assert_eq!(board.waiting(), 0);
}

#[tokio::test]
async fn who_waits_for_another_type_sleeps_on() {
    let board = Arc::new(Board::default());
    let filter = Filter {
        types: Some(["other".into()].into()),
        ..Filter::default()
    };
    let waiter = board.waiter(Arc::new(filter), "w".into());
    board.hint(&lane("a", "q", 0), at(1), 5, at(100));
    let clock = Clock::fake(at(100));
    let end = Some(Instant::now() + Duration::from_millis(20));
    assert!(!waiter.due(&clock, end, Duration::from_secs(60)).await);
}

#[test]
fn who_wants_its_own_alone_takes_no_wake_up_from_others() {
    let board = Arc::new(Board::default());
    let own = Arc::new(Filter {
        own: true,
        ..Filter::default()
    });
    let ann: Arc<str> = "ann".into();
    let _ann = board.waiter(Arc::clone(&own), Arc::clone(&ann));
    let bob = board.waiter(Arc::default(), "bob".into());
    let woken = || -> Vec<_> { board.lock().waiters.values().map(|w| w.woken).collect() };
    let everybodys = lane("a", "q", 0);
    board.hint(&everybodys, at(1), 1, at(100));
    assert_eq!(woken(), [false, true]);
    assert!(board.lock().next_due(&own, Some(&ann)).is_none());
    let pick = board.pick(&Filter::default(), at(100), 1);
    board.fill(&pick.lanes[0]);
    drop(bob);
    let _bob = board.waiter(Arc::default(), "bob".into());
    board.drained(&"a".into(), &"q".into(), 1);
    assert_eq!(woken(), [true, true]);
    board.hint(&everybodys.reserved_for(&ann), at(1), 1, at(100));
    assert_eq!(board.lock().next_due(&own, Some(&ann)), Some(at(1)));
}

#[test]
fn a_worker_s_own_lane_is_nobody_else_s_and_comes_and_goes_like_any_other() {
    let board = Arc::new(Board::default());
    let all = Arc::new(Filter::default());
    let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
    let own = lane("a", "q", 0).reserved_for(&ann);
    let waiters = [&bob, &ann].map(|worker| board.waiter(Arc::clone(&all), Arc::clone(worker)));
    assert!(!board.has_reserved());
    board.hint(&own, at(1), usize::MAX, at(100));
    assert!(board.has_reserved());
    let woken: Vec<_> = board.lock().waiters.values().map(|w| w.woken).collect();
    assert_eq!(woken, [false, true]);
    drop(waiters);

    let picked = |worker: &Arc<str>, filter: &Filter| {
        let pick = board.pick_reserved(worker, filter, at(100), 10);
        pick.lanes.into_iter().next()
    };
    assert!(board.pick(&all, at(100), 10).lanes.is_empty());
    assert!(picked(&bob, &all).is_none());
    let other = Filter {
        queues: Some(["other".into()].into()),
        ..Filter::default()
    };
    assert!(picked(&ann, &other).is_none());
    let candidate = picked(&ann, &all).unwrap();
    assert_eq!(candidate.lane, own);
    // At the limit of its queue it waits like the others.
    board.fill(&candidate);
    assert!(picked(&ann, &all).is_none());
    board.drained(&"a".into(), &"q".into(), 1);
    let candidate = picked(&ann, &all).unwrap();
    board.settle(&candidate, Next::Nothing, at(100));
    assert!(!board.has_reserved());

    // A rebuild keeps what it finds and what was heard of since.
    let since = board.generation();
    board.hint(&own, at(1), 1, at(100));
    board.rebuilt(since, &[], at(100));
    assert!(picked(&ann, &all).is_some());
    let since = board.generation();
    let found = [(own.clone(), Mark::start_of(at(1)))];
    assert!(!board.rebuilt(since, &found, at(100)), "it was known");
    assert!(picked(&ann, &all).is_some());
    board.rebuilt(since, &[], at(100));
    assert!(!board.has_reserved());
}
