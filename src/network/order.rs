//! What an epoch goes through, and in which order.

use crate::error::{Error, Result};
use crate::random::{self, Purpose, Stream};
use crate::simd::Isa;

/// An epoch, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub batch_size: usize,
    pub epoch: u64,
    pub shuffle: bool,
    pub rows: Option<&'a [u32]>,
    pub start: usize,
    pub stop: usize,
    pub learning_rates: Option<&'a [f64]>,
}

impl Plan<'_> {
    /// # Errors
    /// No batch, more rows than numbers of rows can tell apart, a start behind the last row.
    fn check(&self, count: usize) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::Value("batch_size is 0; expected at least 1".into()));
        }
        if count > u32::MAX as usize {
            return Err(Error::Value(format!(
                "x has {count} rows; at most {} are supported",
                u32::MAX
            )));
        }
        let rows = self.rows.map_or(count, <[u32]>::len);
        if self.start > rows {
            return Err(Error::Value(format!(
                "start is {}; the epoch has {rows} rows",
                self.start
            )));
        }
        Ok(())
    }
}

/// The order of an epoch's rows, kept while the epoch is done in parts.
pub(super) struct Order {
    epoch: u64,
    shuffle: bool,
    count: usize,
    pub picks: Vec<u32>,
    /// The rows that were named.
    of: Option<Vec<u32>>,
}

impl Order {
    /// The order of `plan` over `count` rows: the last one if it is the same epoch still.
    ///
    /// # Errors
    /// A plan that does not go with so many rows.
    pub fn of(
        isa: Isa,
        last: &mut Option<Self>,
        plan: &Plan<'_>,
        count: usize,
        seed: u64,
    ) -> Result<Self> {
        plan.check(count)?;
        if let Some(order) = last.take_if(|order| {
            order.epoch == plan.epoch
                && order.shuffle == plan.shuffle
                && order.count == count
                && order.of.as_deref() == plan.rows
        }) {
            return Ok(order);
        }
        let mut picks = match plan.rows {
            Some(rows) => rows.to_vec(),
            None => (0..count as u32).collect(),
        };
        if let Some(row) = picks.iter().find(|&&row| row as usize >= count) {
            return Err(Error::Value(format!("rows has {row}; x has {count} rows")));
        }
        if plan.shuffle {
            let stream = Stream::new(seed, Purpose::Shuffle, plan.epoch, 0);
            random::shuffle(isa, stream, &mut picks);
        }
        Ok(Self {
            epoch: plan.epoch,
            shuffle: plan.shuffle,
            count,
            picks,
            of: plan.rows.map(<[u32]>::to_vec),
        })
    }
}
