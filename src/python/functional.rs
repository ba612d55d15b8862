//! Functions on arrays: the affine map, activations, softmax.

use super::array::{Floats, Number, common_float, floats, shape_text, with_float};
use super::compute;
use super::config::isa_in_use;
use super::output::Output;
use crate::activation::{self, Activation};
use crate::buffer::LINE;
use crate::dense::{self, Shape};
use crate::error::Error;
use crate::pool::{self, Member, Shared};
use crate::softmax;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

fn activation_named(name: &str, alpha: f64) -> PyResult<Activation> {
    Activation::parse(name, alpha).ok_or_else(|| {
        let names = Activation::names().join(", ");
        Error::Value(format!("activation is {name:?}; expected one of {names}")).into()
    })
}

/// weight's (outputs, inputs).
fn matrix_shape(name: &str, array: &Floats<'_>) -> PyResult<(usize, usize)> {
    match *array.shape() {
        [outputs, inputs] => Ok((outputs, inputs)),
        ref shape => Err(Error::Shape(format!(
            "{name} has shape {}; expected two axes, (out_features, in_features)",
            shape_text(shape)
        ))
        .into()),
    }
}

/// x · weightᵀ + bias, then an activation.
#[pyfunction]
#[pyo3(signature = (x, weight, bias = None, activation = None, out = None))]
fn linear<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    bias: Option<&Bound<'py, PyAny>>,
    activation: Option<&str>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let float = common_float(&[("x", Some(x)), ("weight", Some(weight)), ("bias", bias)])?;
    let activation = activation_named(activation.unwrap_or("identity"), default_alpha(activation))?;
    with_float!(float, T => linear_of::<T>(py, x, weight, bias, activation, out))
}

/// torch's default parameter of the activations that have one.
fn default_alpha(name: Option<&str>) -> f64 {
    match name {
        Some("leaky_relu") => 0.01,
        _ => 1.0,
    }
}

fn linear_of<'py, T: Number>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    bias: Option<&Bound<'py, PyAny>>,
    activation: Activation,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let x = floats("x", x, T::FLOAT)?;
    let weight = floats("weight", weight, T::FLOAT)?;
    let (outputs, inputs) = matrix_shape("weight", &weight)?;
    let needed_by = format!("weight of shape {}", shape_text(weight.shape()));
    let rows = x.as_rows::<T>("x", inputs, &needed_by)?;
    let bias = bias
        .map(|bias| floats("bias", bias, T::FLOAT))
        .transpose()?;
    let mut inputs_named = vec![("x", &x), ("weight", &weight)];
    if let Some(bias) = &bias {
        if bias.shape() != [outputs] {
            return Err(Error::Shape(format!(
                "bias has shape {}; expected ({outputs},), one value for each of the {outputs} rows of weight",
                shape_text(bias.shape())
            ))
            .into());
        }
        inputs_named.push(("bias", bias));
    }
    let shape = [rows.rows, outputs];
    let mut out = Output::<T>::checked(py, out, &shape[usize::from(rows.single)..], &inputs_named)?;
    let shape = Shape {
        outputs,
        inputs,
        rows: rows.rows,
    };
    let weight = weight.to_slice::<T>()?;
    let bias = bias.as_ref().map(Floats::to_slice::<T>).transpose()?;
    let slice = out.as_mut_slice();
    compute(py, shape.flops(), || {
        // SAFETY: the rows are kept alive by `x`; `out` shares no memory with any input.
        unsafe {
            dense::linear(
                isa_in_use(),
                shape,
                rows.source,
                &weight,
                bias.as_deref(),
                activation,
                slice,
            )
        }
    })?;
    Ok(out.into_any())
}

/// The gradients of `linear` without activation: (dx or None, dweight, dbias).
#[pyfunction]
#[pyo3(signature = (dout, x, weight, need_dx = true))]
fn linear_backward<'py>(
    py: Python<'py>,
    dout: &Bound<'py, PyAny>,
    x: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    need_dx: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let float = common_float(&[
        ("dout", Some(dout)),
        ("x", Some(x)),
        ("weight", Some(weight)),
    ])?;
    with_float!(float, T => linear_backward_of::<T>(py, dout, x, weight, need_dx))
}

fn linear_backward_of<'py, T: Number>(
    py: Python<'py>,
    dout: &Bound<'py, PyAny>,
    x: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    need_dx: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let dout = floats("dout", dout, T::FLOAT)?;
    let x = floats("x", x, T::FLOAT)?;
    let weight = floats("weight", weight, T::FLOAT)?;
    let (outputs, inputs) = matrix_shape("weight", &weight)?;
    let needed_by = format!("weight of shape {}", shape_text(weight.shape()));
    let rows = x.as_rows::<T>("x", inputs, &needed_by)?;
    let drows = dout.as_rows::<T>("dout", outputs, &needed_by)?;
    if drows.rows != rows.rows || drows.single != rows.single {
        return Err(Error::Shape(format!(
            "dout has shape {} but x has shape {}: their batches differ",
            shape_text(dout.shape()),
            shape_text(x.shape())
        ))
        .into());
    }
    let shape = Shape {
        outputs,
        inputs,
        rows: rows.rows,
    };
    let dx_shape = [rows.rows, inputs];
    let mut dx = need_dx
        .then(|| Output::<T>::new(py, &dx_shape[usize::from(rows.single)..]))
        .transpose()?;
    let mut dweight = Output::<T>::new(py, &[outputs, inputs])?;
    let mut dbias = Output::<T>::new(py, &[outputs])?;
    let weight = weight.to_slice::<T>()?;
    let (dx_slice, dweight_slice) = (
        dx.as_mut().map(Output::as_mut_slice),
        dweight.as_mut_slice(),
    );
    let dbias_slice = dbias.as_mut_slice();
    compute(py, 3.0 * shape.flops(), || {
        // SAFETY: the rows are kept alive by `dout` and `x`; the results are new arrays.
        unsafe {
            dense::linear_backward(
                isa_in_use(),
                shape,
                drows.source,
                rows.source,
                &weight,
                dx_slice,
                dweight_slice,
                dbias_slice,
            );
        }
    })?;
    let dx = dx.map_or_else(|| py.None().into_bound(py), Output::into_any);
    PyTuple::new(py, [dx, dweight.into_any(), dbias.into_any()])
}

/// Elements that a thread takes at a time; whole vectors of any width.
const PIECE: usize = 4096;
/// Floating-point operations that an element of an activation is reckoned to cost.
const ACTIVATION_FLOPS: f64 = 40.0;

/// Elements before the first that begins a line, if so few count.
///
/// NumPy's arrays begin at any 16 bytes, and a vector that is stored across two lines takes longer.
fn unaligned<T>(out: &[T]) -> usize {
    if out.len() <= PIECE {
        return 0;
    }
    out.as_ptr().align_offset(LINE).min(PIECE)
}

/// Applies `pass` to pieces of `out`, given the range of elements, over the threads that pay.
fn in_pieces<T: Number>(
    py: Python<'_>,
    out: &mut [T],
    pass: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync,
) -> PyResult<()> {
    let len = out.len();
    let flops = len as f64 * ACTIVATION_FLOPS;
    let out = Shared::new(out);
    let share = |member: Member<'_>| {
        let pieces = member.share(len.div_ceil(PIECE));
        let range = pieces.start * PIECE..len.min(pieces.end * PIECE);
        if !range.is_empty() {
            // SAFETY: the shares of pieces are disjoint.
            let out = unsafe { out.write(range.clone()) };
            let (head, whole) = out.split_at_mut(unaligned(out));
            let first = range.start + head.len();
            if !head.is_empty() {
                pass(range.start..first, head);
            }
            pass(first..range.end, whole);
        }
    };
    compute(py, flops, || {
        if len <= PIECE {
            share(Member::alone());
        } else {
            pool::run(flops, &share);
        }
    })
}

/// An activation, element by element.
#[pyfunction(name = "activation")]
#[pyo3(signature = (name, x, out = None, alpha = 0.0))]
fn activation_array<'py>(
    py: Python<'py>,
    name: &str,
    x: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
    alpha: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let activation = activation_named(name, alpha)?;
    let float = common_float(&[("x", Some(x))])?;
    fn apply<'py, T: Number>(
        py: Python<'py>,
        activation: Activation,
        x: &Floats<'py>,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut out = Output::<T>::checked(py, out, x.shape(), &[("x", x)])?;
        let values = x.to_slice::<T>()?;
        in_pieces(py, out.as_mut_slice(), |range, out| {
            isa_in_use().run(activation::Forward {
                activation,
                x: &values[range],
                out,
            });
        })?;
        Ok(out.into_any())
    }
    let x = floats("x", x, float)?;
    with_float!(float, T => apply::<T>(py, activation, &x, out))
}

/// The two arguments of an element-wise gradient.
fn same_shapes(dout: &Floats<'_>, x: &Floats<'_>) -> PyResult<()> {
    if dout.shape() == x.shape() {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "dout has shape {} but x has shape {}; they must be equal",
        shape_text(dout.shape()),
        shape_text(x.shape())
    ))
    .into())
}

/// dout · f′(x).
#[pyfunction]
#[pyo3(signature = (name, dout, x, out = None, alpha = 0.0))]
fn activation_backward<'py>(
    py: Python<'py>,
    name: &str,
    dout: &Bound<'py, PyAny>,
    x: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
    alpha: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let activation = activation_named(name, alpha)?;
    let float = common_float(&[("dout", Some(dout)), ("x", Some(x))])?;
    fn apply<'py, T: Number>(
        py: Python<'py>,
        activation: Activation,
        dout: &Floats<'py>,
        x: &Floats<'py>,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        same_shapes(dout, x)?;
        let mut out = Output::<T>::checked(py, out, x.shape(), &[("dout", dout), ("x", x)])?;
        let (dout, x) = (dout.to_slice::<T>()?, x.to_slice::<T>()?);
        in_pieces(py, out.as_mut_slice(), |range, out| {
            let (dout, x) = (&dout[range.clone()], &x[range]);
            isa_in_use().run(activation::Backward {
                activation,
                dout,
                x,
                out,
            });
        })?;
        Ok(out.into_any())
    }
    let (dout, x) = (floats("dout", dout, float)?, floats("x", x, float)?);
    with_float!(float, T => apply::<T>(py, activation, &dout, &x, out))
}

/// The length of the last axis, along which a softmax runs.
fn last_axis(name: &str, x: &Floats<'_>) -> PyResult<usize> {
    x.shape().last().copied().ok_or_else(|| {
        Error::Shape(format!(
            "{name} has no axis; expected an array with at least one"
        ))
        .into()
    })
}

/// Applies `pass` to ranges of whole rows of `out`.
fn in_rows<T: Number>(
    py: Python<'_>,
    width: usize,
    out: &mut [T],
    pass: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync,
) -> PyResult<()> {
    if out.is_empty() {
        return Ok(());
    }
    let rows = out.len() / width;
    let flops = out.len() as f64 * ACTIVATION_FLOPS;
    let out = Shared::new(out);
    compute(py, flops, || {
        pool::run(flops, &|member| {
            let rows = member.share(rows);
            if !rows.is_empty() {
                let range = rows.start * width..rows.end * width;
                // SAFETY: the shares of rows are disjoint.
                pass(range.clone(), unsafe { out.write(range) });
            }
        });
    })
}

/// Softmax, or its logarithm, along the last axis.
#[pyfunction(name = "softmax")]
#[pyo3(signature = (x, log = false, out = None))]
fn softmax_array<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    log: bool,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let float = common_float(&[("x", Some(x))])?;
    fn apply<'py, T: Number>(
        py: Python<'py>,
        x: &Floats<'py>,
        log: bool,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let width = last_axis("x", x)?;
        let mut out = Output::<T>::checked(py, out, x.shape(), &[("x", x)])?;
        let values = x.to_slice::<T>()?;
        in_rows(py, width, out.as_mut_slice(), |range, out| {
            isa_in_use().run(softmax::Forward {
                log,
                outputs: width,
                x: &values[range],
                out,
            });
        })?;
        Ok(out.into_any())
    }
    let x = floats("x", x, float)?;
    with_float!(float, T => apply::<T>(py, &x, log, out))
}

/// The gradient of softmax, or of its logarithm, at the input x.
#[pyfunction]
#[pyo3(signature = (dout, x, log = false, out = None))]
fn softmax_backward<'py>(
    py: Python<'py>,
    dout: &Bound<'py, PyAny>,
    x: &Bound<'py, PyAny>,
    log: bool,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let float = common_float(&[("dout", Some(dout)), ("x", Some(x))])?;
    fn apply<'py, T: Number>(
        py: Python<'py>,
        dout: &Floats<'py>,
        x: &Floats<'py>,
        log: bool,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        same_shapes(dout, x)?;
        let width = last_axis("x", x)?;
        let mut out = Output::<T>::checked(py, out, x.shape(), &[("dout", dout), ("x", x)])?;
        let (dout, x) = (dout.to_slice::<T>()?, x.to_slice::<T>()?);
        in_rows(py, width, out.as_mut_slice(), |range, out| {
            let (dout, x) = (&dout[range.clone()], &x[range]);
            isa_in_use().run(softmax::Backward {
                log,
                outputs: width,
                dout,
                x,
                out,
            });
        })?;
        Ok(out.into_any())
    }
    let (dout, x) = (floats("dout", dout, float)?, floats("x", x, float)?);
    with_float!(float, T => apply::<T>(py, &dout, &x, log, out))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(linear, m)?)?;
    m.add_function(wrap_pyfunction!(linear_backward, m)?)?;
    m.add_function(wrap_pyfunction!(activation_array, m)?)?;
    m.add_function(wrap_pyfunction!(activation_backward, m)?)?;
    m.add_function(wrap_pyfunction!(softmax_array, m)?)?;
    m.add_function(wrap_pyfunction!(softmax_backward, m)?)?;
    Ok(())
}
