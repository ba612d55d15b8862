//! Where the time of a training step goes: `cargo bench --no-default-features --features phases --bench step [THREADS
//! [ISA [NET]]]`, a net by its number below.
//!
//! Adam with cross-entropy. For each net the median step and, of the calling thread, the median of each phase, its share and its
//! GFLOP/s in per cent of a core's FMA peak, measured before and after with all threads at work: as the step is, where updates
//! may go on beside the products of their gradients, and with both apart.

#![allow(unsafe_code)]

#[path = "timing/median.rs"]
mod median;

use _core::activation::Activation;
use _core::buffer::Flat;
use _core::gemm::pack::Source;
use _core::loss::Loss;
use _core::network::{Batch, Linear, Network, Options, Session, Stage, Targets};
use _core::optim::{Group, Kind, Segment, State};
use _core::peak::fma_peak;
use _core::phase::{self, PHASES, Phase};
use _core::pool::set_num_threads;
use _core::simd::Isa;
use median::median;
use std::sync::Arc;
use std::time::Instant;

const NETS: [(&[usize], usize); 6] = [
    (&[64, 32, 10], 32),
    (&[64, 128, 10], 64),
    (&[784, 128, 64, 10], 64),
    (&[784, 512, 256, 10], 128),
    (&[784, 1024, 1024, 10], 256),
    (&[784, 2048, 2048, 10], 512),
];

fn filled(len: usize, scale: f32) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919 % 1009) as f32 / 1009.0 - 0.5) * scale)
        .collect()
}

struct Trained {
    session: Session<f32>,
    state: State<f32>,
}

fn compiled(sizes: &[usize]) -> Trained {
    let (mut stages, mut segments, mut at) = (Vec::new(), Vec::new(), 0);
    let mut place = |length: usize| {
        let offset = at;
        segments.push(Segment {
            offset,
            length,
            group: 0,
        });
        at += length.next_multiple_of(16);
        offset
    };
    for (l, pair) in sizes.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let weight = place(inputs * outputs);
        stages.push(Stage::Linear(Linear {
            inputs,
            outputs,
            weight,
            bias: Some(place(outputs)),
            train_weight: true,
            train_bias: true,
        }));
        if l + 2 < sizes.len() {
            stages.push(Stage::Activation(Activation::Relu));
        }
    }
    let parameters = Arc::new(Flat::<f32>::zeros(at, 0));
    let gradients = Arc::new(Flat::zeros(at, 3));
    for segment in segments.iter().step_by(2) {
        let values = filled(segment.length, 0.1);
        // SAFETY: the segment lies in the buffer, at which nobody else is.
        unsafe {
            values.as_ptr().copy_to_nonoverlapping(
                parameters.as_mut_pointer().add(segment.offset),
                values.len(),
            );
        }
    }
    let group = Group::new(1e-6);
    let state = State::new(
        Kind::Adam,
        parameters.clone(),
        gradients.clone(),
        &segments,
        &[group],
    )
    .expect("a layout that fits");
    let network =
        Arc::new(Network::new(sizes[0], stages, parameters, gradients).expect("layers that fit"));
    let loss = Loss::new("cross_entropy", 0.0, None, None).expect("a loss");
    let session =
        Session::new(network, loss, Options::default(), 0).expect("a loss that fits the network");
    Trained { session, state }
}

/// Operations a second of a core, all threads at work at once.
fn peak_of_a_core(isa: Isa, threads: usize) -> f64 {
    let peak = || fma_peak::<f32>(isa, 0.05);
    let sum: f64 = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(peak)).collect();
        let own = peak();
        own + others
            .into_iter()
            .map(|other| other.join().expect("a peak"))
            .sum::<f64>()
    });
    sum / threads as f64
}

/// Operations of each phase that has any to speak of.
fn flops(sizes: &[usize], batch: usize, phase: Phase) -> f64 {
    let product = |pair: &[usize]| 2.0 * (pair[0] * pair[1] * batch) as f64;
    match phase {
        Phase::Forward | Phase::WeightGradient => sizes.windows(2).map(product).sum(),
        Phase::InputGradient => sizes[1..].windows(2).map(product).sum(),
        _ => 0.0,
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let threads = arguments
        .next()
        .map_or(1, |a| a.parse().expect("a number of threads"));
    let isa: Isa = arguments.next().map_or_else(Isa::best, |a| {
        a.parse().expect("an instruction set of this machine")
    });
    let only: Option<usize> = arguments
        .next()
        .map(|a| a.parse().expect("the number of a net"));
    set_num_threads(threads);
    let mut peak = peak_of_a_core(isa, threads);
    println!("{isa:?}, {threads} threads; µs and GFLOP/s of one thread");
    for (number, (sizes, batch)) in NETS.into_iter().enumerate() {
        if only.is_some_and(|only| only != number) {
            continue;
        }
        let mut trained = compiled(sizes);
        let x = filled(batch * sizes[0], 2.0);
        let labels: Vec<i64> = (0..batch as i64)
            .map(|i| i * 7 % sizes[sizes.len() - 1] as i64)
            .collect();
        let batch_of = Batch {
            x: Source::rows(&x, sizes[0]),
            targets: Targets::Classes(&labels),
            sample_weight: None,
            rows: batch,
            picks: None,
            upcoming: &[],
        };
        let mut step = || {
            let start = Instant::now();
            // SAFETY: the arrays hold the batch.
            unsafe {
                trained
                    .session
                    .train(isa, &mut trained.state, &batch_of)
                    .expect("a finite loss");
            }
            start.elapsed().as_secs_f64()
        };
        let work: f64 = PHASES.map(|phase| flops(sizes, batch, phase)).iter().sum();
        let rounds = ((1.5 * 2e11 / work) as usize).clamp(9, 20_000);
        let name: Vec<String> = sizes.iter().map(usize::to_string).collect();
        println!("\n{} @ {batch}", name.join("-"));
        for apart in [false, true] {
            phase::set_apart(apart);
            for _ in 0..rounds / 4 + 2 {
                step();
            }
            phase::take();
            let times: Vec<_> = (0..rounds).map(|_| (step(), phase::take())).collect();
            let after = peak_of_a_core(isa, threads);
            let whole = median(times.iter().map(|(step, _)| *step).collect());
            println!(
                "updates {}: {:.1} µs, {:.0} GFLOP/s; peak {:.0} and {:.0} GFLOP/s",
                if apart { "apart" } else { "as they are" },
                whole * 1e6,
                work / whole / 1e9,
                peak / 1e9,
                after / 1e9
            );
            for (number, phase) in PHASES.into_iter().enumerate() {
                let seconds = median(times.iter().map(|(_, phases)| phases[number]).collect());
                let rate = flops(sizes, batch, phase) / threads as f64 / seconds;
                let of_peak = if rate > 0.0 && seconds > 0.0 {
                    format!(
                        "{:>5.0} GFLOP/s, {:>3.0} % of the peak",
                        rate / 1e9,
                        200.0 * rate / (peak + after)
                    )
                } else {
                    String::new()
                };
                println!(
                    "{:>16} {:>9.2} µs {:>4.0} %  {of_peak}",
                    format!("{phase:?}"),
                    seconds * 1e6,
                    100.0 * seconds / whole
                );
            }
            peak = after;
        }
    }
}
