//! Forward and backward by hand: one pass each, the gradient added to its buffer.

#![allow(unsafe_code)]

use super::Network;
use super::backward::Wanted;
use super::forward::{Draw, share};
use super::workspace::{Purpose, Workspace};
use crate::error::{Error, Result};
use crate::gemm::PANEL;
use crate::gemm::pack::{Source, pack_rows};
use crate::gemm::turn::unpack_rows;
use crate::pool::{self, Member, Shared};
use crate::simd::{Element, Isa, Kernel, Simd};
use std::sync::MutexGuard;

impl<T: Element> Network<T> {
    /// The workspace of training, for the one thread that trains.
    pub(super) fn train_space(&self) -> Result<MutexGuard<'_, Workspace<T>>> {
        use std::sync::TryLockError::{Poisoned, WouldBlock};
        match self.training.try_lock() {
            Ok(space) => Ok(space),
            // A panic in a pass left no more than unfinished numbers in the workspace.
            Err(Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(WouldBlock) => Err(Error::State(
                "busy: another thread is training this model".into(),
            )),
        }
    }

    /// Drops what a forward pass kept.
    ///
    /// # Errors
    /// Another thread is training.
    pub fn forget(&self) -> Result<()> {
        self.train_space()?.forward = None;
        Ok(())
    }

    /// A pass in training mode over `rows` rows into `out` (row-major, contiguous).
    ///
    /// # Errors
    /// Another thread is training.
    ///
    /// # Safety
    /// `x` holds `rows` rows of `inputs` elements that nobody writes meanwhile.
    ///
    /// # Panics
    /// If `out` does not hold rows × outputs elements.
    pub unsafe fn forward(
        &self,
        isa: Isa,
        x: Source<'_, T>,
        rows: usize,
        seed: u64,
        step: u64,
        out: &mut [T],
    ) -> Result<()> {
        assert!(out.len() == rows * self.outputs);
        let mut space = self.train_space()?;
        space.forward = None;
        space.prepare(self, rows, Purpose::Train);
        // The pass back may have another number of threads.
        space.own_inputs = false;
        let out = Shared::new(out);
        let draw = Draw {
            seed,
            step,
            first_row: 0,
        };
        pool::run(self.flops() * rows as f64, &|member| {
            isa.run(Forward {
                network: self,
                member,
                space: &space,
                x,
                rows,
                draw,
                out,
            });
        });
        space.forward = Some(rows);
        Ok(())
    }

    /// The pass back from the last [`Network::forward`]: adds to the gradient buffer, writes `dx` if given.
    ///
    /// # Errors
    /// No forward pass before, or one over another number of rows; another thread is training.
    ///
    /// # Safety
    /// `dout` holds `rows` rows of `outputs` elements that nobody writes meanwhile.
    ///
    /// # Panics
    /// If `dx` does not hold rows × inputs elements.
    pub unsafe fn backward(
        &self,
        isa: Isa,
        dout: Source<'_, T>,
        rows: usize,
        dx: Option<&mut [T]>,
    ) -> Result<()> {
        assert!(dx.as_ref().is_none_or(|dx| dx.len() == rows * self.inputs));
        let mut space = self.train_space()?;
        match space.forward {
            None => {
                return Err(Error::State(
                    "backward needs a forward pass in training mode before it, one for each backward".into(),
                ));
            }
            Some(seen) if seen != rows => {
                return Err(Error::Shape(format!(
                    "dout has {rows} rows, but the last forward pass saw {seen}"
                )));
            }
            Some(_) => {}
        }
        space.forward = None;
        let dx = dx.map(Shared::new);
        let space = &*space;
        pool::run(2.0 * self.flops() * rows as f64, &|member| {
            isa.run(Backward {
                network: self,
                member,
                space,
                dout,
                rows,
                dx,
            });
        });
        Ok(())
    }
}

struct Forward<'a, T> {
    network: &'a Network<T>,
    member: Member<'a>,
    space: &'a Workspace<T>,
    x: Source<'a, T>,
    rows: usize,
    draw: Draw,
    out: Shared<'a, T>,
}

impl<T: Element> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            network,
            member,
            space,
            x,
            rows,
            draw,
            out,
        } = self;
        // SAFETY: the team runs this together, alone at the workspace; members unpack disjoint panels.
        unsafe {
            network.load(simd, &member, space, &x, rows, true);
            network.draw(simd, &member, space, rows, draw);
            member.barrier();
            network.forward_layers(simd, &member, space, rows, true, &|| {});
            network.unload(simd, &member, space, rows, out);
        }
    }
}

struct Backward<'a, T> {
    network: &'a Network<T>,
    member: Member<'a>,
    space: &'a Workspace<T>,
    dout: Source<'a, T>,
    rows: usize,
    dx: Option<Shared<'a, T>>,
}

impl<T: Element> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            network,
            member,
            space,
            dout,
            rows,
            dx,
        } = self;
        let last = network.layers.len() - 1;
        let panels = member.share(rows.div_ceil(PANEL));
        let wanted = Wanted {
            rows,
            dx: dx.is_some(),
            accumulate: true,
        };
        // SAFETY: the team runs this together, alone at the workspace; members pack and unpack disjoint panels.
        unsafe {
            let gradient = share(&space.layers[last].gradient);
            pack_rows(
                simd,
                &dout,
                None,
                rows,
                network.outputs,
                panels.clone(),
                gradient,
                None,
            );
            for panel in panels.clone() {
                network.derive(simd, last, space, 0..network.outputs, panel, false);
            }
            member.barrier();
            network.backward_layers(simd, &member, space, wanted, None, &|| {});
            if let Some(dx) = dx {
                member.barrier();
                unpack_rows(
                    simd,
                    rows,
                    network.inputs,
                    panels,
                    share(&space.dx),
                    dx,
                    network.inputs,
                );
            }
        }
    }
}
