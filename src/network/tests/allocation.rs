//! A steady-state step, update or prediction allocates nothing.

#![allow(unsafe_code)]

use super::model::{Training, batch, converted, loss, predict_frozen_into};
use super::plain::{Numbers, Part, Plain, linear};
use super::steps::optimisers;
use crate::activation::Activation::{Gelu, Relu};
use crate::gemm::pack::Source;
use crate::network::{Batch, Options, Plan, Rowwise, Targets};
use crate::pool;
use crate::pool::tests::{is_inside, with_threads};
use crate::predictor::Predictor;
use crate::simd::Isa;
use Part::{Act, Dropout, Row, Scale};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The system's allocator, which counts what calls into this crate allocate while a test counts: on the test's thread, and
/// on the workers of the pool, of which the test has the only use. Waking a worker that sleeps is not counted: rayon
/// allocates for that, and a worker sleeps only when no call comes for a while.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static COUNTING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn note() {
    if COUNTING.load(Ordering::Relaxed)
        && (COUNTED.try_with(Cell::get).unwrap_or(false) || is_inside())
    {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: all of it is the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The allocations of a piece of work; the caller holds the pool.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    COUNTED.set(true);
    COUNTING.store(true, Ordering::Relaxed);
    work();
    COUNTING.store(false, Ordering::Relaxed);
    COUNTED.set(false);
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// Counts the allocations of `work` once it has been done a few times, where large calls have `threads` threads.
fn allocates_nothing(threads: usize, what: &str, mut work: impl FnMut()) {
    with_threads(threads, || {
        for _ in 0..3 {
            work();
        }
        pool::reset_most_threads_used();
        let count = allocations(|| (0..10).for_each(|_| work()));
        assert_eq!(count, 0, "{what} on {threads} threads allocates");
        assert_eq!(pool::most_threads_used(), threads, "{what}: threads used");
    });
}

#[test]
fn the_allocator_counts() {
    with_threads(2, || {
        let on_this_thread = allocations(|| {
            for i in 0..10 {
                std::hint::black_box(Box::new(i));
            }
        });
        assert_eq!(on_this_thread, 10);
        let on_a_worker = allocations(|| {
            pool::run(1e9, &|member| {
                if member.index == 1 {
                    std::hint::black_box(vec![1u8; 100]);
                }
            });
        });
        assert_eq!(on_a_worker, 1);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        std::hint::black_box(vec![1u8; 100]);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);
    });
}

const ROWS: usize = 288;

fn network() -> Plain {
    let parts = [
        Scale,
        linear(96),
        Act(Relu),
        Dropout(0.2),
        linear(80),
        Act(Gelu),
        Dropout(0.1),
        linear(10),
    ];
    Plain::new(70, &parts, 1)
}

#[test]
fn a_step_allocates_nothing() {
    let plain = network();
    let x = converted::<f32>(&Numbers(2).many(ROWS * 70));
    let y = converted::<f32>(&Numbers(2).many(ROWS * 10));
    let labels: Vec<i64> = (0..ROWS as i64).map(|r| r % 10).collect();
    let weights = vec![1.5; ROWS];
    let picks: Vec<u32> = (0..ROWS as u32).rev().collect();
    let clip = Options {
        clip_norm: Some(0.1),
        clip_value: Some(0.1),
        keep_grad: false,
    };
    let kept = Options {
        keep_grad: true,
        ..Options::default()
    };
    let classes = Batch {
        sample_weight: Some(&weights),
        ..batch(&x, 70, Targets::Classes(&labels))
    };
    let picked = Batch {
        x: Source {
            picks: Some(&picks),
            ..classes.x
        },
        picks: Some(&picks),
        ..classes
    };
    let dense = batch(&x, 70, Targets::Dense(Source::rows(&y, 10)));
    let isa = Isa::best();
    for threads in [1, 2] {
        for (kind, group) in optimisers() {
            for options in [Options::default(), kept, clip] {
                for (data, name) in [
                    (classes, "cross_entropy"),
                    (picked, "hinge"),
                    (dense, "mse"),
                ] {
                    let mut run = Training::<f32>::with_options(
                        isa,
                        &plain,
                        &loss(name),
                        kind,
                        group,
                        options,
                    );
                    let what = format!("a step of {kind:?}, {name}, {options:?}");
                    allocates_nothing(threads, &what, || {
                        run.step(&data).unwrap();
                    });
                }
            }
        }
    }
}

#[test]
fn a_step_in_its_parts_allocates_nothing() {
    let plain = network();
    let x = converted::<f64>(&Numbers(2).many(ROWS * 70));
    let labels: Vec<i64> = (0..ROWS as i64).map(|r| r % 10).collect();
    let data = batch(&x, 70, Targets::Classes(&labels));
    let (kind, group) = optimisers()[5];
    for threads in [1, 2] {
        let loss = loss("cross_entropy");
        let mut run = Training::<f64>::new(Isa::best(), &plain, &loss, kind, group);
        allocates_nothing(threads, "gradients and apply", || {
            run.gradients(&data).unwrap();
            run.apply().unwrap();
        });
    }
}

/// What an epoch allocates (its order of rows) does not grow with its steps.
#[test]
fn the_steps_of_an_epoch_allocate_nothing() {
    let plain = network();
    let (rows, size) = (96, 8);
    let x = converted::<f32>(&Numbers(2).many(rows * 70));
    let labels: Vec<i64> = (0..rows as i64).map(|r| r % 10).collect();
    let data = batch(&x, 70, Targets::Classes(&labels));
    let (kind, group) = optimisers()[3];
    let mut run = Training::<f32>::new(Isa::best(), &plain, &loss("cross_entropy"), kind, group);
    with_threads(1, || {
        let mut in_epoch = |epoch, stop| {
            let plan = Plan {
                batch_size: size,
                epoch,
                shuffle: true,
                rows: None,
                start: 0,
                stop,
                learning_rates: None,
            };
            allocations(|| {
                run.epoch(&data, &plan, |_, _| Ok::<(), crate::error::Error>(()))
                    .unwrap();
            })
        };
        in_epoch(0, usize::MAX);
        let one_step = in_epoch(1, size);
        let twelve = in_epoch(2, usize::MAX);
        assert_eq!(one_step, twelve);
        assert_eq!(in_epoch(2, usize::MAX), 0, "the same epoch again");
    });
}

#[test]
fn an_update_allocates_nothing() {
    // Large enough for two threads to share it.
    let plain = Plain::new(1000, &[linear(900)], 1);
    let isa = Isa::best();
    for threads in [1, 2] {
        for (kind, group) in optimisers() {
            let mut run = Training::<f32>::new(isa, &plain, &loss("mse"), kind, group);
            run.model.fill_gradient(0.5);
            allocates_nothing(threads, &format!("an update of {kind:?}"), || {
                run.state.step(isa);
            });
        }
    }
}

#[test]
fn a_prediction_allocates_nothing() {
    let parts = [
        Scale,
        linear(256),
        Act(Relu),
        linear(200),
        Row(Rowwise::Softmax),
        Act(Gelu),
        linear(9),
        Row(Rowwise::LogSoftmax),
    ];
    let plain = Plain::new(300, &parts, 1);
    let x = converted::<f32>(&Numbers(2).many(ROWS * 300));
    let isa = Isa::best();
    let (kind, group) = optimisers()[0];
    for threads in [1, 2] {
        let run = Training::<f32>::new(isa, &plain, &loss("nll"), kind, group);
        let predictor = Predictor::new(&run.model.network, isa, None);
        let mut out = vec![0.0; ROWS * 9];
        allocates_nothing(threads, "a prediction", || {
            predict_frozen_into(&predictor, &x, ROWS, &mut out);
        });
        allocates_nothing(threads, "a prediction by a model", || {
            run.model.predict_into(isa, &x, ROWS, &mut out);
        });
        if threads == 1 {
            let mut one = vec![0.0; 9];
            allocates_nothing(1, "a prediction of one row", || {
                predict_frozen_into(&predictor, &x[..300], 1, &mut one);
            });
        }
    }
}
