//! NumPy arrays as arguments.
//!
//! An argument is read where it lies if it is a float32 or float64 array in native byte order whose strides are whole
//! elements; lists, integers, booleans, float16, big-endian and unaligned arrays are converted once.

use crate::error::{Error, Result};
use crate::gemm::pack::Source;
use crate::simd::Element;
use numpy::npyffi::{NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_TYPES, PyArrayObject};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::ffi::c_int;
use std::ops::Range;

/// The two element types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Float {
    F32,
    F64,
}

impl Float {
    pub fn name(self) -> &'static str {
        match self {
            Float::F32 => "float32",
            Float::F64 => "float64",
        }
    }

    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "float32" => Ok(Float::F32),
            "float64" => Ok(Float::F64),
            _ => Err(Error::Value(format!(
                "dtype is {name:?}; expected 'float32' or 'float64'"
            ))),
        }
    }

    fn size(self) -> usize {
        match self {
            Float::F32 => 4,
            Float::F64 => 8,
        }
    }
}

/// An element that NumPy knows.
pub trait Number: Element + numpy::Element {
    const FLOAT: Float;
}
impl Number for f32 {
    const FLOAT: Float = Float::F32;
}
impl Number for f64 {
    const FLOAT: Float = Float::F64;
}

/// Calls a generic function with the element type that a [`Float`] names.
macro_rules! with_float {
    ($float:expr, $t:ident => $body:expr) => {
        match $float {
            $crate::python::array::Float::F32 => {
                type $t = f32;
                $body
            }
            $crate::python::array::Float::F64 => {
                type $t = f64;
                $body
            }
        }
    };
}
pub(super) use with_float;

/// What the header of an array says.
pub(super) struct Header<'a> {
    pub data: *mut u8,
    pub shape: &'a [usize],
    /// In bytes.
    strides: &'a [isize],
    pub flags: c_int,
    number: c_int,
    swapped: bool,
}

pub(super) fn header<'a>(array: &'a Bound<'_, PyUntypedArray>) -> Header<'a> {
    // SAFETY: a live array's header; dimensions and strides hold `nd` entries, which nobody changes while the
    // interpreter is held, and NumPy refuses to resize an array that is referred to.
    unsafe {
        let object: &PyArrayObject = &*array.as_array_ptr();
        let fields = &object.fields;
        let nd = fields.nd as usize;
        let (shape, strides) = if nd == 0 {
            (&[][..], &[][..])
        } else {
            (
                std::slice::from_raw_parts(fields.dimensions.cast::<usize>(), nd),
                std::slice::from_raw_parts(fields.strides.cast::<isize>(), nd),
            )
        };
        let descr = &(*fields.descr).fields;
        let swapped = descr.byteorder as u8
            == if cfg!(target_endian = "little") {
                b'>'
            } else {
                b'<'
            };
        Header {
            data: fields.data.cast(),
            shape,
            strides,
            flags: fields.flags,
            number: descr.type_num,
            swapped,
        }
    }
}

impl Header<'_> {
    pub fn float(&self) -> Option<Float> {
        let float = match self.number {
            n if n == NPY_TYPES::NPY_FLOAT as c_int => Float::F32,
            n if n == NPY_TYPES::NPY_DOUBLE as c_int => Float::F64,
            _ => return None,
        };
        (!self.swapped).then_some(float)
    }

    pub fn contiguous(&self) -> bool {
        self.flags & NPY_ARRAY_C_CONTIGUOUS != 0
    }

    /// Whether every element lies at a whole number of elements from the first, aligned.
    fn regular(&self, size: usize) -> bool {
        self.flags & NPY_ARRAY_ALIGNED != 0
            && self
                .strides
                .iter()
                .all(|stride| stride % size as isize == 0)
    }

    /// The addresses of the first byte and of the one past the last.
    pub fn extent(&self, size: usize) -> Range<usize> {
        if self.shape.contains(&0) {
            return 0..0;
        }
        let (mut low, mut high) = (self.data as usize, self.data as usize + size);
        for (&n, &stride) in self.shape.iter().zip(self.strides) {
            let reach = stride * (n as isize - 1);
            if reach < 0 {
                low = low.wrapping_add_signed(reach);
            } else {
                high = high.wrapping_add_signed(reach);
            }
        }
        low..high
    }
}

/// "(3, 4)", as NumPy writes shapes.
pub fn shape_text(shape: &[usize]) -> String {
    match shape {
        [n] => format!("({n},)"),
        _ => format!(
            "({})",
            shape
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// A float argument: an array that is kept alive.
pub struct Floats<'py> {
    pub(super) array: Bound<'py, PyUntypedArray>,
    pub float: Float,
}

/// The float type of an argument that is an array of one already.
pub fn float_of(argument: &Bound<'_, PyAny>) -> Option<Float> {
    let array = argument.cast::<PyUntypedArray>().ok()?;
    let header = header(array);
    match header.number {
        n if n == NPY_TYPES::NPY_FLOAT as c_int => Some(Float::F32),
        n if n == NPY_TYPES::NPY_DOUBLE as c_int => Some(Float::F64),
        _ => None,
    }
}

/// The one float type of several arguments: lists and integers take that of the float arrays beside them.
pub fn common_float(arguments: &[(&str, Option<&Bound<'_, PyAny>>)]) -> PyResult<Float> {
    let mut found: Option<(&str, Float)> = None;
    for (name, argument) in arguments {
        let Some(float) = argument.and_then(float_of) else {
            continue;
        };
        match found {
            None => found = Some((name, float)),
            Some((first, other)) if other != float => {
                return Err(PyTypeError::new_err(format!(
                    "{first} is {} but {name} is {}; convert one with .astype, so that both have one dtype",
                    other.name(),
                    float.name()
                )));
            }
            _ => {}
        }
    }
    Ok(found.map_or(Float::F64, |(_, float)| float))
}

/// Takes an argument as numbers of the given type: as it is, or converted once.
pub fn floats<'py>(
    name: &str,
    argument: &Bound<'py, PyAny>,
    float: Float,
) -> PyResult<Floats<'py>> {
    if let Ok(array) = argument.cast::<PyUntypedArray>() {
        let header = header(array);
        if header.float() == Some(float) && header.regular(float.size()) {
            return Ok(Floats {
                array: array.clone(),
                float,
            });
        }
    }
    Ok(Floats {
        array: convert(name, argument, float.name(), "biuf", "numbers")?,
        float,
    })
}

/// A new C-contiguous array of another type.
fn convert<'py>(
    name: &str,
    argument: &Bound<'py, PyAny>,
    dtype: &str,
    kinds: &str,
    expected: &str,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = argument.py();
    let numpy = py.import("numpy")?;
    let array = numpy
        .call_method1("asarray", (argument,))
        .map_err(|error| {
            PyValueError::new_err(format!(
                "{name} cannot be made an array: {}",
                error.value(py)
            ))
        })?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if !kinds.contains(&kind) {
        let has: String = array.getattr("dtype")?.str()?.extract()?;
        return Err(PyTypeError::new_err(format!(
            "{name} has dtype {has}; expected {expected}"
        )));
    }
    let converted = array.call_method1("astype", (PyString::new(py, dtype), "C"))?;
    Ok(converted.cast_into::<PyUntypedArray>()?)
}

impl<'py> Floats<'py> {
    pub fn shape(&self) -> &[usize] {
        header(&self.array).shape
    }

    fn stride(&self, axis: usize) -> isize {
        header(&self.array).strides[axis] / self.float.size() as isize
    }

    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// The elements, if they lie side by side.
    pub fn as_slice<T: Number>(&self) -> Option<&[T]> {
        debug_assert!(T::FLOAT == self.float);
        let header = header(&self.array);
        if !header.contiguous() {
            return None;
        }
        let len = header.shape.iter().product();
        if len == 0 {
            return Some(&[]);
        }
        // SAFETY: a contiguous aligned array of this type, kept alive by `self`.
        Some(unsafe { std::slice::from_raw_parts(header.data.cast(), len) })
    }

    /// The elements in row-major order, copied if they are not side by side.
    ///
    /// # Errors
    /// `MemoryError` if a copy does not fit in memory.
    pub fn to_slice<T: Number>(&self) -> PyResult<std::borrow::Cow<'_, [T]>> {
        if let Some(slice) = self.as_slice() {
            return Ok(std::borrow::Cow::Borrowed(slice));
        }
        let header = header(&self.array);
        let mut out = Vec::new();
        out.try_reserve_exact(self.len()).map_err(|_| {
            PyMemoryError::new_err(format!(
                "no memory for a copy of an array of shape {}",
                shape_text(header.shape)
            ))
        })?;
        let mut index = vec![0usize; header.shape.len()];
        for _ in 0..self.len() {
            let offset: isize = index
                .iter()
                .zip(header.strides)
                .map(|(&i, stride)| i as isize * stride)
                .sum();
            // SAFETY: an element of the array, aligned as `floats` checked.
            out.push(unsafe { *header.data.wrapping_offset(offset).cast::<T>() });
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < header.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(std::borrow::Cow::Owned(out))
    }

    /// As rows of features: a 1-D array is one row.
    ///
    /// # Errors
    /// Another number of axes, or of features than `features` (with what needs it named).
    pub fn as_rows<T: Number>(
        &self,
        name: &str,
        features: usize,
        needed_by: &str,
    ) -> Result<Rows<'_, T>> {
        debug_assert!(T::FLOAT == self.float);
        let shape = self.shape();
        let (rows, width) = match *shape {
            [width] => (1, width),
            [rows, width] => (rows, width),
            _ => {
                return Err(Error::Shape(format!(
                    "{name} has shape {} with {} axes; expected (batch, {features}) or ({features},){}",
                    shape_text(shape),
                    shape.len(),
                    if shape.len() > 2 {
                        "; put nn.Flatten() before the first Linear for images"
                    } else {
                        ""
                    }
                )));
            }
        };
        if width != features {
            return Err(Error::Shape(format!(
                "{name} has shape {}: its last axis has {width} features, but {needed_by} needs {features}",
                shape_text(shape)
            )));
        }
        let axes = shape.len();
        let source = Source {
            start: header(&self.array).data.cast::<T>().cast_const(),
            row_stride: if axes == 2 {
                self.stride(0)
            } else {
                width as isize
            },
            column_stride: if width == 0 { 1 } else { self.stride(axes - 1) },
            picks: None,
        };
        Ok(Rows {
            source,
            rows,
            single: axes == 1,
        })
    }

    /// As rows of `columns` values, where (rows,) means one column; the shape was checked.
    pub fn as_columns<T: Number>(&self, columns: usize) -> Source<'_, T> {
        let header = header(&self.array);
        let (row_stride, column_stride) = match header.shape.len() {
            0 => (1, 1),
            1 => (self.stride(0), 1),
            _ => (self.stride(0), if columns > 0 { self.stride(1) } else { 1 }),
        };
        Source {
            start: header.data.cast::<T>().cast_const(),
            row_stride,
            column_stride,
            picks: None,
        }
    }
}

/// Rows of features, read where they lie.
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
    pub source: Source<'a, T>,
    pub rows: usize,
    /// The argument had one axis; so has the result.
    pub single: bool,
}

/// A contiguous copy or view of whole numbers as int64.
///
/// # Errors
/// A type that does not hold whole numbers (fractional floats are refused by their first value).
pub fn integers<'py>(
    name: &str,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = argument.cast::<PyUntypedArray>() {
        let header = header(array);
        let int64 = header.number == NPY_TYPES::NPY_LONG as c_int
            || header.number == NPY_TYPES::NPY_LONGLONG as c_int;
        if int64
            && size_of_number(array) == 8
            && !header.swapped
            && header.contiguous()
            && header.regular(8)
        {
            return Ok(array.clone());
        }
    }
    convert(name, argument, "int64", "biu", "whole numbers")
}

fn size_of_number(array: &Bound<'_, PyUntypedArray>) -> usize {
    array.dtype().itemsize_usize()
}

trait ItemSize {
    fn itemsize_usize(&self) -> usize;
}
impl ItemSize for Bound<'_, numpy::PyArrayDescr> {
    fn itemsize_usize(&self) -> usize {
        use numpy::PyArrayDescrMethods;
        self.itemsize()
    }
}

/// The elements of what [`integers`] gave.
pub fn integer_slice<'a>(array: &'a Bound<'_, PyUntypedArray>) -> &'a [i64] {
    let header = header(array);
    let len: usize = header.shape.iter().product();
    if len == 0 {
        return &[];
    }
    // SAFETY: a contiguous aligned int64 array, kept alive by the borrow.
    unsafe { std::slice::from_raw_parts(header.data.cast(), len) }
}

pub fn shape_of<'a>(array: &'a Bound<'_, PyUntypedArray>) -> &'a [usize] {
    header(array).shape
}

/// Whether an argument is an array of numbers with a fraction (so not of class numbers), or would become one.
pub fn is_float_kind(argument: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Ok(array) = argument.cast::<PyUntypedArray>() {
        let number = header(array).number;
        if number == NPY_TYPES::NPY_LONG as c_int {
            return Ok(false);
        }
        if number == NPY_TYPES::NPY_FLOAT as c_int || number == NPY_TYPES::NPY_DOUBLE as c_int {
            return Ok(true);
        }
    }
    let numpy = argument.py().import("numpy")?;
    let kind: String = numpy
        .call_method1("asarray", (argument,))?
        .getattr("dtype")?
        .getattr("kind")?
        .extract()?;
    Ok(kind == "f")
}
