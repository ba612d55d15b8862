//! What compiling a list of stages makes of it, and what it refuses.

use super::plain::{Part, Plain, linear};
use crate::activation::Activation::{Gelu, Relu, Tanh};
use crate::buffer::Flat;
use crate::error::Error;
use crate::network::{Linear, MOST_FEATURES, Network, Rowwise, Stage};
use Part::{Act, Dropout, Row, Scale};
use std::sync::Arc;

fn compile(inputs: usize, stages: Vec<Stage<f32>>, buffer: usize) -> Result<Network<f32>, Error> {
    let flat = |len| Arc::new(Flat::zeros(len, 0));
    Network::new(inputs, stages, flat(buffer), flat(buffer))
}

/// Linear layers, activations, dropout and rowwise functions of the layers that the parts become.
fn layers(parts: &[Part]) -> Vec<String> {
    let plain = Plain::new(4, parts, 0);
    let network = super::model::Model::<f32>::new(&plain).network;
    network
        .layers
        .iter()
        .map(|layer| {
            let linear = layer.linear.map_or("pass", |_| "linear");
            let dropout = layer.dropout.map_or("", |_| " dropout");
            let rowwise = layer.rowwise.map_or(String::new(), |r| format!(" {r:?}"));
            format!("{linear} {:?}{dropout}{rowwise}", layer.activation)
        })
        .collect()
}

#[test]
fn stages_are_fused_where_nothing_comes_between() {
    assert_eq!(layers(&[]), ["pass Identity"]);
    assert_eq!(layers(&[Scale]), ["pass Identity"]);
    assert_eq!(
        layers(&[
            Scale,
            linear(3),
            Act(Relu),
            Dropout(0.5),
            linear(2),
            Row(Rowwise::Softmax)
        ]),
        [
            "linear Relu dropout",
            "linear Identity",
            "pass Identity Softmax"
        ]
    );
    assert_eq!(
        layers(&[
            Act(Tanh),
            Act(Gelu),
            Dropout(0.5),
            Act(Relu),
            Dropout(0.5),
            Dropout(0.5)
        ]),
        [
            "pass Tanh",
            "pass Gelu dropout",
            "pass Relu dropout",
            "pass Identity dropout"
        ]
    );
    assert_eq!(layers(&[linear(3), Dropout(0.0)]), ["linear Identity"]);
    assert_eq!(
        layers(&[Row(Rowwise::LogSoftmax), Dropout(0.5), Act(Relu)]),
        [
            "pass Identity LogSoftmax",
            "pass Identity dropout",
            "pass Relu"
        ]
    );
}

#[test]
fn stages_that_do_not_fit_are_refused() {
    let layer = |inputs, outputs, weight, bias| {
        Stage::Linear(Linear {
            inputs,
            outputs,
            weight,
            bias,
            train_weight: true,
            train_bias: true,
        })
    };
    let scale = |shift: usize, factor: usize| Stage::Scale {
        shift: vec![0.0; shift],
        factor: vec![1.0; factor],
    };
    let outside = "parameters of a linear layer lie outside the buffer of 20 elements";
    let refused = [
        (
            vec![layer(5, 2, 0, None)],
            "a linear layer takes 5 features, but the stage before it gives 4".into(),
        ),
        (
            vec![layer(4, 2, 0, None), layer(4, 2, 0, None)],
            "a linear layer takes 4 features, but the stage before it gives 2".into(),
        ),
        (
            vec![layer(4, MOST_FEATURES + 1, 0, None)],
            format!(
                "out_features is {}; at most {MOST_FEATURES} are supported",
                MOST_FEATURES + 1
            ),
        ),
        (vec![layer(4, 2, 13, None)], outside.into()),
        (vec![layer(4, 2, usize::MAX, None)], outside.into()),
        (vec![layer(4, 2, 0, Some(19))], outside.into()),
        (vec![layer(4, 2, 0, Some(usize::MAX))], outside.into()),
        (
            vec![layer(4, 4, 0, None), scale(4, 4)],
            "a scaler must be the first stage".into(),
        ),
        (
            vec![scale(4, 3)],
            "the scaler has 4 features, the input 4".into(),
        ),
        (
            vec![scale(5, 4)],
            "the scaler has 5 features, the input 4".into(),
        ),
        (
            vec![Stage::Dropout { p: 1.5, layer: 0 }],
            "dropout's p is 1.5; it must lie in [0, 1]".into(),
        ),
        (
            vec![Stage::Dropout {
                p: f64::NAN,
                layer: 0,
            }],
            "dropout's p is NaN; it must lie in [0, 1]".into(),
        ),
    ];
    for (stages, message) in refused {
        let message: String = message;
        let got = compile(4, stages.clone(), 20).err();
        assert_eq!(got, Some(Error::Value(message)), "{stages:?}");
    }
    assert!(compile(4, vec![layer(4, 2, 12, Some(18))], 20).is_ok());
    assert!(compile(MOST_FEATURES + 1, vec![], 0).is_err());
    let buffers = (Arc::new(Flat::zeros(3, 0)), Arc::new(Flat::zeros(4, 0)));
    let got = Network::<f32>::new(1, vec![], buffers.0, buffers.1).err();
    let message = "the gradient buffer has 4 elements, the parameter buffer 3";
    assert_eq!(got, Some(Error::Value(message.into())));
}
