//! A network as plain float64 loops, one stage after the other: what the compiled network is compared with.

use crate::activation::Activation;
use crate::activation::tests::{derivative, value};
use crate::network::{Linear, Rowwise, Stage};
use crate::optim::Segment;
use crate::random::{Purpose, Stream};

/// Numbers between −1 and 1 that look random, and that float32 holds.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn next(&mut self) -> f64 {
        f64::from(((self.bits() >> 11) as f64 / 2f64.powi(52) - 1.0) as f32)
    }

    pub fn many(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
}

/// A stage whose parameters have no place yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    Scale,
    Linear {
        outputs: usize,
        bias: bool,
        train_weight: bool,
        train_bias: bool,
    },
    Act(Activation),
    Row(Rowwise),
    Dropout(f64),
}

pub fn linear(outputs: usize) -> Part {
    Part::Linear {
        outputs,
        bias: true,
        train_weight: true,
        train_bias: true,
    }
}

pub fn linear_without_bias(outputs: usize) -> Part {
    Part::Linear {
        outputs,
        bias: false,
        train_weight: true,
        train_bias: false,
    }
}

/// The seed and the step that dropout's masks are drawn for.
pub type Draw = (u64, u64);

/// A network's stages and parameters.
#[derive(Clone, Debug)]
pub struct Plain {
    pub inputs: usize,
    pub outputs: usize,
    pub stages: Vec<Stage<f64>>,
    pub parameters: Vec<f64>,
    /// Where the trained parameters lie.
    pub trained: Vec<Segment>,
}

/// Appends numbers at a multiple of 16, as the buffers of a model have them; returns where.
fn place(buffer: &mut Vec<f64>, values: Vec<f64>) -> usize {
    let offset = buffer.len();
    buffer.extend(values);
    buffer.resize(buffer.len().next_multiple_of(16), 0.0);
    offset
}

impl Plain {
    pub fn new(inputs: usize, parts: &[Part], seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let (mut parameters, mut trained, mut stages) = (Vec::new(), Vec::new(), Vec::new());
        let mut width = inputs;
        for (number, part) in parts.iter().enumerate() {
            stages.push(match *part {
                Part::Scale => Stage::Scale {
                    shift: numbers.many(width),
                    factor: (0..width)
                        .map(|_| f64::from((1.5 + numbers.next()) as f32))
                        .collect(),
                },
                Part::Linear {
                    outputs,
                    bias,
                    train_weight,
                    train_bias,
                } => {
                    let spread = 1.5 / (width.max(1) as f64).sqrt();
                    let weights = numbers.many(outputs * width);
                    let weights = weights.iter().map(|w| f64::from((w * spread) as f32));
                    let weight = place(&mut parameters, weights.collect());
                    let bias = bias.then(|| {
                        let biases = numbers.many(outputs).iter().map(|b| b * 0.5).collect();
                        place(&mut parameters, biases)
                    });
                    for (offset, length, train) in [
                        (weight, outputs * width, train_weight),
                        (bias.unwrap_or(0), outputs, train_bias && bias.is_some()),
                    ] {
                        if train {
                            trained.push(Segment {
                                offset,
                                length,
                                group: 0,
                            });
                        }
                    }
                    let linear = Linear {
                        inputs: width,
                        outputs,
                        weight,
                        bias,
                        train_weight,
                        train_bias,
                    };
                    width = outputs;
                    Stage::Linear(linear)
                }
                Part::Act(activation) => Stage::Activation(activation),
                Part::Row(rowwise) => Stage::Rowwise(rowwise),
                Part::Dropout(p) => Stage::Dropout {
                    p,
                    layer: number as u32,
                },
            });
        }
        Self {
            inputs,
            outputs: width,
            stages,
            parameters,
            trained,
        }
    }

    /// The input of every stage, and last the output.
    pub fn forward(&self, x: &[f64], rows: usize, draw: Option<Draw>) -> Vec<Vec<f64>> {
        let mut values = vec![x.to_vec()];
        let mut width = self.inputs;
        for stage in &self.stages {
            let input = &values[values.len() - 1];
            let mut out = input.clone();
            match stage {
                Stage::Scale { shift, factor } => {
                    for (i, v) in out.iter_mut().enumerate() {
                        *v = (*v - shift[i % width]) * factor[i % width];
                    }
                }
                Stage::Linear(linear) => {
                    out = self.affine(linear, input, rows);
                    width = linear.outputs;
                }
                Stage::Activation(f) => out.iter_mut().for_each(|v| *v = value(*f, *v)),
                Stage::Rowwise(kind) => {
                    for row in out.chunks_mut(width.max(1)) {
                        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                        let sum: f64 = row.iter().map(|v| (v - max).exp()).sum();
                        for v in row {
                            *v = match kind {
                                Rowwise::Softmax => (*v - max).exp() / sum,
                                Rowwise::LogSoftmax => *v - max - sum.ln(),
                            };
                        }
                    }
                }
                Stage::Dropout { p, layer } => drop_out(&mut out, width, *p, *layer, draw),
            }
            values.push(out);
        }
        values
    }

    fn affine(&self, linear: &Linear, input: &[f64], rows: usize) -> Vec<f64> {
        let mut out = Vec::with_capacity(rows * linear.outputs);
        for r in 0..rows {
            for o in 0..linear.outputs {
                let mut sum = linear.bias.map_or(0.0, |bias| self.parameters[bias + o]);
                for i in 0..linear.inputs {
                    sum += self.parameters[linear.weight + o * linear.inputs + i]
                        * input[r * linear.inputs + i];
                }
                out.push(sum);
            }
        }
        out
    }

    /// The gradients of the parameters (zero where they are not trained) and of the input.
    pub fn backward(
        &self,
        values: &[Vec<f64>],
        dout: &[f64],
        rows: usize,
        draw: Option<Draw>,
    ) -> (Vec<f64>, Vec<f64>) {
        let mut gradient = vec![0.0; self.parameters.len()];
        let mut d = dout.to_vec();
        let mut width = self.outputs;
        for (number, stage) in self.stages.iter().enumerate().rev() {
            let (input, out) = (&values[number], &values[number + 1]);
            match stage {
                Stage::Scale { factor, .. } => {
                    for (i, d) in d.iter_mut().enumerate() {
                        *d *= factor[i % width];
                    }
                }
                Stage::Linear(linear) => {
                    d = self.affine_backward(linear, input, &d, rows, &mut gradient);
                    width = linear.inputs;
                }
                Stage::Activation(f) => {
                    for (d, &x) in d.iter_mut().zip(input) {
                        *d *= derivative(*f, x);
                    }
                }
                Stage::Rowwise(kind) => {
                    for (d, y) in d.chunks_mut(width.max(1)).zip(out.chunks(width.max(1))) {
                        let sum: f64 = match kind {
                            Rowwise::Softmax => d.iter().zip(y).map(|(d, p)| d * p).sum(),
                            Rowwise::LogSoftmax => d.iter().sum(),
                        };
                        for (d, y) in d.iter_mut().zip(y) {
                            *d = match kind {
                                Rowwise::Softmax => y * (*d - sum),
                                Rowwise::LogSoftmax => *d - y.exp() * sum,
                            };
                        }
                    }
                }
                Stage::Dropout { p, layer } => drop_out(&mut d, width, *p, *layer, draw),
            }
        }
        (gradient, d)
    }

    fn affine_backward(
        &self,
        linear: &Linear,
        input: &[f64],
        dout: &[f64],
        rows: usize,
        gradient: &mut [f64],
    ) -> Vec<f64> {
        let (inputs, outputs) = (linear.inputs, linear.outputs);
        let mut dinput = vec![0.0; rows * inputs];
        for r in 0..rows {
            for o in 0..outputs {
                let d = dout[r * outputs + o];
                if let (true, Some(bias)) = (linear.train_bias, linear.bias) {
                    gradient[bias + o] += d;
                }
                for i in 0..inputs {
                    let at = linear.weight + o * inputs + i;
                    dinput[r * inputs + i] += d * self.parameters[at];
                    if linear.train_weight {
                        gradient[at] += d * input[r * inputs + i];
                    }
                }
            }
        }
        dinput
    }

    /// How near the input of a function with a kink came to it, in a forward pass.
    pub fn margin(&self, values: &[Vec<f64>]) -> f64 {
        let kinked = |stage: &Stage<f64>| match stage {
            Stage::Activation(f) => matches!(
                f,
                Activation::Relu
                    | Activation::Step
                    | Activation::LeakyRelu { .. }
                    | Activation::Elu { .. }
                    | Activation::Selu
            ),
            _ => false,
        };
        let inputs = self.stages.iter().zip(values).filter(|(s, _)| kinked(s));
        let inputs = inputs.flat_map(|(_, input)| input);
        // Exact zeros are dropped elements: they stay where they are.
        inputs
            .map(|x| x.abs())
            .filter(|&x| x > 0.0)
            .fold(f64::INFINITY, f64::min)
    }

    /// The range of every trained parameter.
    pub fn trained_ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let end = |s: &Segment| s.offset + s.length;
        self.trained.iter().map(move |s| s.offset..end(s))
    }
}

/// Whether dropout keeps an element: by the definition, 16 random bits below the threshold.
fn keeps(draw: Draw, layer: u32, row: usize, feature: usize, p: f64) -> bool {
    let stream = Stream::new(draw.0, Purpose::Dropout, draw.1, layer);
    let (panel, r) = ((row / 16) as u32, row % 16);
    let byte = |panel: u32| {
        let at = r / 2 + r % 2 * 8;
        stream.block(panel, feature as u32)[at / 4] >> (at % 4 * 8) & 0xff
    };
    f64::from(byte(panel) << 8 | byte(panel | 1 << 31)) < ((1.0 - p) * 65536.0).round_ties_even()
}

fn drop_out(values: &mut [f64], width: usize, p: f64, layer: u32, draw: Option<Draw>) {
    let Some(draw) = draw else { return };
    for (i, v) in values.iter_mut().enumerate() {
        *v = if keeps(draw, layer, i / width, i % width, p) {
            *v / (1.0 - p)
        } else {
            0.0
        };
    }
}
