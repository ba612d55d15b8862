//! Hyperparameters of a group of parameters.

use crate::error::{Error, Result};
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sgd,
    Adam,
    AdamW,
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "sgd" => Ok(Kind::Sgd),
            "adam" => Ok(Kind::Adam),
            "adamw" => Ok(Kind::AdamW),
            _ => Err(Error::Value(format!(
                "kind is {name:?}; expected sgd, adam or adamw"
            ))),
        }
    }
}

/// What torch calls a parameter group. A kind reads its own fields and leaves the others alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    pub lr: f64,
    pub weight_decay: f64,
    /// SGD's.
    pub momentum: f64,
    pub dampening: f64,
    pub nesterov: bool,
    /// Adam's and AdamW's.
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub amsgrad: bool,
}

impl Group {
    /// torch's defaults, without weight decay.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            weight_decay: 0.0,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            amsgrad: false,
        }
    }

    pub(super) fn betas(&self) -> [f64; 2] {
        [self.beta1, self.beta2]
    }

    /// Refuses what a kind cannot work with.
    pub fn check(&self, kind: Kind) -> Result<()> {
        at_least_zero("lr", self.lr)?;
        at_least_zero("weight_decay", self.weight_decay)?;
        if kind == Kind::Sgd {
            let (momentum, dampening) = (self.momentum, self.dampening);
            at_least_zero("momentum", momentum)?;
            if !dampening.is_finite() {
                return Err(Error::Value(format!(
                    "dampening is {dampening}; expected a finite number"
                )));
            }
            if self.nesterov && !(momentum > 0.0 && dampening == 0.0) {
                return Err(Error::Value(format!(
                    "nesterov has momentum {momentum} and dampening {dampening}; expected momentum above 0 and dampening 0"
                )));
            }
            return Ok(());
        }
        at_least_zero("eps", self.eps)?;
        for (name, beta) in [("betas[0]", self.beta1), ("betas[1]", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::Value(format!(
                    "{name} is {beta}; expected at least 0 and less than 1"
                )));
            }
        }
        Ok(())
    }
}

fn at_least_zero(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::Value(format!(
        "{name} is {value}; expected a finite number of at least 0"
    )))
}
