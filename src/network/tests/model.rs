//! Networks over buffers of their own, and training runs over them.

#![allow(unsafe_code)]

use super::plain::{Draw, Plain};
use crate::buffer::Flat;
use crate::error::{Error, Result};
use crate::gemm::pack::Source;
use crate::loss::Loss;
use crate::network::{Batch, Network, Options, Plan, Session, Stage, Targets};
use crate::optim::{Group, Kind, State};
use crate::predictor::Predictor;
use crate::simd::{Element, Isa};
use std::sync::Arc;

pub fn converted<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&v| T::from_f64(v)).collect()
}

pub fn read<T: Element>(buffer: &Flat<T>) -> Vec<T> {
    // SAFETY: the buffer's own length; tests write it on their own thread alone.
    unsafe { std::slice::from_raw_parts(buffer.as_mut_pointer(), buffer.len()) }.to_vec()
}

pub fn write<T: Element>(buffer: &Flat<T>, values: &[T]) {
    assert_eq!(buffer.len(), values.len());
    // SAFETY: as long as the buffer; nobody else is at it.
    unsafe {
        values
            .as_ptr()
            .copy_to_nonoverlapping(buffer.as_mut_pointer(), values.len());
    }
}

/// The bits of a number, those of all NaN alike.
pub fn word<T: Element>(value: T) -> u64 {
    let value = value.to_f64();
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

pub fn words<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|&v| word(v)).collect()
}

/// FNV-1a over the bits of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub u64);

impl Hash {
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub fn add(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub fn values<T: Element>(&mut self, values: &[T]) {
        values.iter().for_each(|&v| self.add(word(v)));
    }

    pub fn of<T: Element>(values: &[T]) -> u64 {
        let mut hash = Self::new();
        hash.values(values);
        hash.0
    }
}

fn stage<T: Element>(stage: &Stage<f64>) -> Stage<T> {
    match stage {
        Stage::Scale { shift, factor } => Stage::Scale {
            shift: converted(shift),
            factor: converted(factor),
        },
        Stage::Linear(linear) => Stage::Linear(*linear),
        Stage::Activation(activation) => Stage::Activation(*activation),
        Stage::Rowwise(rowwise) => Stage::Rowwise(*rowwise),
        Stage::Dropout { p, layer } => Stage::Dropout {
            p: *p,
            layer: *layer,
        },
    }
}

pub struct Model<T> {
    pub network: Arc<Network<T>>,
    pub parameters: Arc<Flat<T>>,
    pub gradients: Arc<Flat<T>>,
}

impl<T: Element> Model<T> {
    pub fn new(plain: &Plain) -> Self {
        let parameters = Arc::new(Flat::zeros(plain.parameters.len(), 0));
        let gradients = Arc::new(Flat::zeros(plain.parameters.len(), 1));
        write(&parameters, &converted(&plain.parameters));
        let stages = plain.stages.iter().map(stage).collect();
        let network = Network::new(plain.inputs, stages, parameters.clone(), gradients.clone());
        Self {
            network: Arc::new(network.unwrap()),
            parameters,
            gradients,
        }
    }

    pub fn forward(&self, isa: Isa, x: &[T], rows: usize, draw: Draw) -> Vec<T> {
        let mut out = vec![T::ONE; rows * self.network.outputs];
        let source = Source::rows(x, self.network.inputs);
        assert_eq!(x.len(), rows * self.network.inputs);
        // SAFETY: the slice holds the rows.
        unsafe {
            self.network
                .forward(isa, source, rows, draw.0, draw.1, &mut out)
        }
        .unwrap();
        out
    }

    pub fn backward(&self, isa: Isa, dout: &[T], rows: usize) -> Result<()> {
        assert_eq!(dout.len(), rows * self.network.outputs);
        let source = Source::rows(dout, self.network.outputs);
        // SAFETY: the slice holds the rows.
        unsafe { self.network.backward(isa, source, rows, None) }
    }

    pub fn backward_to_input(&self, isa: Isa, dout: &[T], rows: usize) -> Vec<T> {
        assert_eq!(dout.len(), rows * self.network.outputs);
        let mut dx = vec![T::ONE; rows * self.network.inputs];
        let source = Source::rows(dout, self.network.outputs);
        // SAFETY: the slice holds the rows.
        unsafe { self.network.backward(isa, source, rows, Some(&mut dx)) }.unwrap();
        dx
    }

    pub fn predict(&self, isa: Isa, x: &[T], rows: usize) -> Vec<T> {
        let mut out = vec![T::ONE; rows * self.network.outputs];
        self.predict_into(isa, x, rows, &mut out);
        out
    }

    pub fn predict_into(&self, isa: Isa, x: &[T], rows: usize, out: &mut [T]) {
        assert_eq!(x.len(), rows * self.network.inputs);
        // SAFETY: the slice holds the rows.
        unsafe {
            self.network
                .predict(isa, Source::rows(x, self.network.inputs), rows, out)
        };
    }

    pub fn gradient(&self) -> Vec<T> {
        read(&self.gradients)
    }

    pub fn fill_gradient(&self, value: f64) {
        write(
            &self.gradients,
            &vec![T::from_f64(value); self.gradients.len()],
        );
    }
}

pub fn predict_frozen<T: Element>(predictor: &Predictor<T>, x: &[T], rows: usize) -> Vec<T> {
    let mut out = vec![T::ONE; rows * predictor.outputs];
    predict_frozen_into(predictor, x, rows, &mut out);
    out
}

pub fn predict_frozen_into<T: Element>(
    predictor: &Predictor<T>,
    x: &[T],
    rows: usize,
    out: &mut [T],
) {
    assert_eq!(x.len(), rows * predictor.inputs);
    // SAFETY: the slice holds the rows.
    unsafe { predictor.predict(Source::rows(x, predictor.inputs), rows, out) };
}

/// A batch of contiguous rows, all of them.
pub fn batch<'a, T: Element>(x: &'a [T], inputs: usize, targets: Targets<'a, T>) -> Batch<'a, T> {
    Batch {
        x: Source::rows(x, inputs),
        targets,
        sample_weight: None,
        rows: x.len() / inputs,
        picks: None,
        upcoming: &[],
    }
}

/// What a training run has reached, as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    parameters: Vec<u64>,
    slots: Vec<Vec<u64>>,
    powers: Vec<[u64; 2]>,
    steps: [u64; 2],
}

impl Reached {
    pub fn hash(&self) -> u64 {
        let mut hash = Hash::new();
        for part in self.slots.iter().chain([&self.parameters]) {
            part.iter().for_each(|&word| hash.add(word));
        }
        hash.0
    }
}

/// A network in training.
pub struct Training<T> {
    pub isa: Isa,
    pub model: Model<T>,
    pub state: State<T>,
    pub session: Session<T>,
}

impl<T: Element> Training<T> {
    pub fn new(isa: Isa, plain: &Plain, loss: &Loss, kind: Kind, group: Group) -> Self {
        Self::with_options(isa, plain, loss, kind, group, Options::default())
    }

    pub fn with_options(
        isa: Isa,
        plain: &Plain,
        loss: &Loss,
        kind: Kind,
        group: Group,
        options: Options,
    ) -> Self {
        let model = Model::new(plain);
        let (parameters, gradients) = (model.parameters.clone(), model.gradients.clone());
        let state = State::new(kind, parameters, gradients, &plain.trained, &[group]).unwrap();
        assert!(model.network.is_trained_by(&state));
        let session = Session::new(model.network.clone(), loss.clone(), options, 11).unwrap();
        Self {
            isa,
            model,
            state,
            session,
        }
    }

    pub fn step(&mut self, batch: &Batch<'_, T>) -> Result<f64> {
        // SAFETY: the tests' batches are slices that hold their rows.
        unsafe { self.session.train(self.isa, &mut self.state, batch) }
    }

    pub fn gradients(&mut self, batch: &Batch<'_, T>) -> Result<f64> {
        self.gradients_of_part(batch, 0, None)
    }

    pub fn gradients_of_part(
        &mut self,
        batch: &Batch<'_, T>,
        first_row: usize,
        total_weight: Option<f64>,
    ) -> Result<f64> {
        // SAFETY: as in `step`.
        unsafe {
            self.session
                .gradients(self.isa, batch, first_row, total_weight)
        }
    }

    pub fn apply(&mut self) -> Result<()> {
        self.session.apply(self.isa, &mut self.state)
    }

    pub fn epoch<E: From<Error>>(
        &mut self,
        data: &Batch<'_, T>,
        plan: &Plan<'_>,
        look: impl FnMut(usize, f64) -> std::result::Result<(), E>,
    ) -> std::result::Result<(f64, f64), E> {
        // SAFETY: as in `step`.
        unsafe {
            self.session
                .epoch(self.isa, &mut self.state, data, plan, look)
        }
    }

    pub fn reached(&self) -> Reached {
        let names = self.state.rules.slot_names();
        let slots = names
            .iter()
            .map(|name| words(&read(self.state.slot(name).unwrap())));
        let powers = self.state.rules.powers();
        Reached {
            parameters: words(&read(&self.model.parameters)),
            slots: slots.collect(),
            powers: powers.iter().map(|p| p.map(f64::to_bits)).collect(),
            steps: [self.session.step, self.state.rules.step_count()],
        }
    }
}

/// A loss without parameters.
pub fn loss(kind: &str) -> Loss {
    Loss::new(kind, 0.0, None, None).unwrap()
}
