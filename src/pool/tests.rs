//! Teams, panics, shares.

use super::*;
use std::sync::Mutex;

const LARGE: f64 = 1e9;

/// Whether this thread is at work for a call.
pub(crate) fn is_inside() -> bool {
    INSIDE.try_with(Cell::get).unwrap_or(false)
}

/// Tests that need the team wait for each other.
static TEAM: Mutex<()> = Mutex::new(());

/// Runs `body` where large calls have `n` threads.
pub(crate) fn with_threads<R>(n: usize, body: impl FnOnce() -> R) -> R {
    let _team = TEAM.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    reset_most_threads_used();
    let before = set_local_num_threads(n);
    let result = body();
    set_local_num_threads(before);
    result
}

#[test]
fn members_meet_at_barriers() {
    for n in [2, 3, 5] {
        with_threads(n, || {
            let mut cells = vec![0usize; 1000];
            for round in 1..50 {
                let shared = Shared::new(&mut cells);
                run(LARGE, &|member| {
                    let share = member.share(1000);
                    // SAFETY: shares are disjoint; the barrier separates writes from reads.
                    unsafe { shared.write(share) }.fill(round);
                    member.barrier();
                    // SAFETY: nobody writes between the two barriers.
                    let all = unsafe { shared.read(0..1000) };
                    assert!(all.iter().all(|&cell| cell == round));
                    member.barrier();
                });
            }
            assert!(most_threads_used() >= n);
        });
    }
}

#[test]
fn announced_work_finds_the_workers_awake() {
    with_threads(2, || {
        run(LARGE, &|_| {});
        let awake = || pool(1).unwrap().awake(1);
        let within = |limit: Duration| {
            let since = Instant::now();
            while !awake() && since.elapsed() < limit {
                std::thread::yield_now();
            }
            awake()
        };
        // On a busy machine it may have slept again before anyone looked.
        let found = (0..50).any(|_| {
            std::thread::sleep(100 * SPIN);
            announce(WORTH_WAKING / 2.0);
            let slept_on = !within(10 * SPIN);
            announce(LARGE);
            slept_on && within(100 * SPIN)
        });
        assert!(found);
    });
}

#[test]
fn a_worker_knows_that_it_slept() {
    with_threads(2, || {
        let woken = Mutex::new(Vec::new());
        let note = |member: Member<'_>| woken.lock().unwrap().push((member.index, member.woken));
        run(LARGE, &note);
        woken.lock().unwrap().clear();
        std::thread::sleep(1000 * SPIN);
        run(LARGE, &note);
        let mut woken = woken.lock().unwrap().clone();
        woken.sort();
        assert_eq!(woken, [(0, false), (1, true)]);
    });
}

#[test]
fn a_call_begins_with_nobody_arrived() {
    let team = Team::new(2);
    for index in 0..3 {
        team.meet(index, 1);
    }
    let arrivals = || [0, 1, 2].map(|index| team.arrivals(index).load(Ordering::Relaxed));
    assert_eq!(arrivals(), [1, 1, 1]);
    team.begin(2);
    assert_eq!(arrivals(), [0, 0, 0]);
}

#[test]
fn small_work_and_nested_calls_stay_on_their_thread() {
    with_threads(3, || {
        run(10.0, &|member| assert_eq!(member.count, 1));
        let nested = AtomicUsize::new(0);
        run(LARGE, &|_| {
            run(LARGE, &|inner| {
                nested.fetch_add(inner.count, Ordering::Relaxed);
            });
        });
        assert_eq!(nested.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_second_caller_runs_alone() {
    with_threads(2, || {
        run(LARGE, &|member| {
            if member.index == 0 {
                std::thread::spawn(|| {
                    set_local_num_threads(2);
                    run(LARGE, &|other| assert_eq!(other.count, 1));
                })
                .join()
                .unwrap();
            }
        });
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_team_goes_on() {
    with_threads(3, || {
        for guilty in 0..3 {
            let outcome = catch_unwind(|| {
                run(LARGE, &|member| {
                    assert!(member.index != guilty, "guilty {guilty}");
                    member.barrier();
                });
            });
            let payload = outcome.unwrap_err();
            assert!(
                payload
                    .downcast_ref::<String>()
                    .unwrap()
                    .starts_with("guilty")
            );
        }
        run(LARGE, &|member| member.barrier());
    });
}

#[test]
fn shares_cover_everything_once() {
    let team = Team::new(5);
    for total in [0, 1, 2, 7, 100] {
        for count in 1..6 {
            let shares =
                (0..count).flat_map(|index| Member::of_team(index, count, &team).share(total));
            assert!(shares.eq(0..total));
        }
    }
}
