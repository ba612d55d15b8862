//! Groups and segments that make no optimiser.

use super::super::*;

#[test]
fn wrong_groups_and_segments_are_refused() {
    let group = Group::new(0.1);
    let bad = [
        (
            Kind::Sgd,
            Group { lr: -1.0, ..group },
            "lr is -1; expected a finite number of at least 0",
        ),
        (
            Kind::Sgd,
            Group {
                momentum: f64::NAN,
                ..group
            },
            "momentum is NaN; expected a finite number of at least 0",
        ),
        (
            Kind::Adam,
            Group {
                eps: -1e-8,
                ..group
            },
            "eps is -0.00000001; expected a finite number of at least 0",
        ),
        (
            Kind::Adam,
            Group {
                beta2: 1.0,
                ..group
            },
            "betas[1] is 1; expected at least 0 and less than 1",
        ),
        (
            Kind::AdamW,
            Group {
                weight_decay: -0.1,
                ..group
            },
            "weight_decay is -0.1; expected a finite number of at least 0",
        ),
        (
            Kind::Sgd,
            Group {
                nesterov: true,
                ..group
            },
            "nesterov has momentum 0 and dampening 0; expected momentum above 0 and dampening 0",
        ),
    ];
    for (kind, group, message) in bad {
        assert_eq!(
            Optimizer::<f32>::new(kind, 0, &[], &[group])
                .unwrap_err()
                .message(),
            message
        );
    }
    let whole = Segment {
        offset: 0,
        length: 10,
        group: 0,
    };
    let mut fine = Optimizer::<f32>::new(Kind::Sgd, 10, &[whole], &[group]).unwrap();
    assert!(
        fine.set_group(1, group).is_err()
            && fine
                .set_group(
                    0,
                    Group {
                        lr: f64::NAN,
                        ..group
                    }
                )
                .is_err()
    );
    assert!(fine.slot_names().is_empty());
    fine.set_group(
        0,
        Group {
            momentum: 0.5,
            ..group
        },
    )
    .unwrap();
    assert_eq!(fine.slot_names(), ["momentum_buffer"]);
    for segments in [
        [whole, Segment { offset: 9, ..whole }],
        [
            whole,
            Segment {
                offset: 16,
                ..whole
            },
        ],
        [
            whole,
            Segment {
                offset: usize::MAX,
                length: 2,
                group: 0,
            },
        ],
        [
            whole,
            Segment {
                offset: 10,
                length: 1,
                group: 1,
            },
        ],
    ] {
        assert!(
            Optimizer::<f32>::new(Kind::Sgd, 20, &segments, &[group]).is_err(),
            "{segments:?}"
        );
    }
    assert_eq!("adamw".parse(), Ok(Kind::AdamW));
    assert_eq!(
        "lion".parse::<Kind>().unwrap_err().message(),
        "kind is \"lion\"; expected sgd, adam or adamw"
    );
}
