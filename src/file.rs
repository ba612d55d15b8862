//! Model files: safetensors, written whole or not at all, read with suspicion.

use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// One array in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dtype: TensorType,
    pub shape: Vec<usize>,
    /// Little-endian.
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    F32,
    F64,
    I64,
}

impl TensorType {
    pub fn name(self) -> &'static str {
        match self {
            TensorType::F32 => "float32",
            TensorType::F64 => "float64",
            TensorType::I64 => "int64",
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            TensorType::F32 => Dtype::F32,
            TensorType::F64 => Dtype::F64,
            TensorType::I64 => Dtype::I64,
        }
    }

    fn of(dtype: Dtype) -> Option<Self> {
        [TensorType::F32, TensorType::F64, TensorType::I64]
            .into_iter()
            .find(|kind| kind.dtype() == dtype)
    }
}

/// The format's own limit on its header, in bytes.
const MOST_HEADER: usize = 100_000_000;

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    pub tensors: Vec<(String, Tensor)>,
    pub metadata: HashMap<String, String>,
}

/// The reading or writing of a file failed.
#[derive(Debug)]
pub enum FileError {
    /// The operating system's reason.
    Io(std::io::Error),
    /// The content is not what it should be.
    Format(String),
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        FileError::Io(error)
    }
}

/// A neighbour of `path` to write to first.
fn temporary(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        Error::Value(format!(
            "path is {}; expected a file name at its end",
            path.display()
        ))
    })?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

/// Writes a file beside its place and renames it there: a reader sees the old content or the new, never a part.
///
/// # Errors
/// What the operating system says, or tensors that do not fit their shapes.
pub fn save(path: &Path, content: &Content) -> std::result::Result<(), FileError> {
    let format = |error: safetensors::SafeTensorError| FileError::Format(error.to_string());
    let views = content
        .tensors
        .iter()
        .map(|(name, t)| {
            let view =
                TensorView::new(t.dtype.dtype(), t.shape.clone(), &t.bytes).map_err(format)?;
            Ok((name.as_str(), view))
        })
        .collect::<std::result::Result<Vec<_>, FileError>>()?;
    let metadata = (!content.metadata.is_empty()).then(|| content.metadata.clone());
    let mut bytes = serialize(views, metadata).map_err(format)?;
    sort_header(&mut bytes);
    let temporary = temporary(path).map_err(|error| FileError::Format(error.to_string()))?;
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    Ok(written?)
}

/// Writes the header's entries in the order of their names, so that equal content makes equal bytes.
fn sort_header(bytes: &mut [u8]) {
    let Some((len, rest)) = bytes.split_first_chunk_mut::<8>() else {
        return;
    };
    let header = &mut rest[..u64::from_le_bytes(*len) as usize];
    if let Ok(entries) = serde_json::from_slice::<serde_json::Value>(header) {
        let sorted = entries.to_string();
        // The same entries in another order: as long as before, but for the padding of spaces at the end.
        if sorted.len() <= header.len() {
            header[..sorted.len()].copy_from_slice(sorted.as_bytes());
            header[sorted.len()..].fill(b' ');
        }
    }
}

/// Reads a file.
///
/// # Errors
/// What the operating system says, or what is wrong with the content.
pub fn load(path: &Path) -> std::result::Result<Content, FileError> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(FileError::Io(ErrorKind::IsADirectory.into()));
    }
    file.read_to_end(&mut bytes)?;
    parse(&bytes).map_err(FileError::Format)
}

/// Parses a file's bytes.
fn parse(bytes: &[u8]) -> std::result::Result<Content, String> {
    let header_len = bytes.first_chunk::<8>().map(|len| u64::from_le_bytes(*len));
    match header_len {
        None => {
            return Err(format!(
                "it has {} bytes; a safetensors file begins with 8",
                bytes.len()
            ));
        }
        Some(len) if len > MOST_HEADER as u64 || len as usize > bytes.len() - 8 => {
            return Err(format!(
                "its header claims {len} bytes, but the file has {}",
                bytes.len()
            ));
        }
        Some(_) => {}
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let Some(dtype) = TensorType::of(view.dtype()) else {
            return Err(format!(
                "tensor {name:?} has type {:?}; expected F32, F64 or I64",
                view.dtype()
            ));
        };
        tensors.push((
            name,
            Tensor {
                dtype,
                shape: view.shape().to_vec(),
                bytes: view.data().to_vec(),
            },
        ));
    }
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Content {
        tensors,
        metadata: header.metadata().clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        let bytes = [1.5f32, -2.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        Content {
            tensors: vec![(
                "0.weight".into(),
                Tensor {
                    dtype: TensorType::F32,
                    shape: vec![1, 2],
                    bytes,
                },
            )],
            metadata: ["nnrs_format", "task", "classes", "architecture"]
                .map(|name| (name.to_string(), "1".to_string()))
                .into(),
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("nnrs-file-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_is_saved_is_loaded_and_nothing_else_is_left() {
        let folder = folder("round");
        let path = folder.join("model.safetensors");
        save(&path, &content()).unwrap();
        save(&path, &content()).unwrap();
        assert_eq!(load(&path).unwrap(), content());
        let again = folder.join("again.safetensors");
        save(&again, &content()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
        fs::remove_file(again).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_failed_save_leaves_the_old_file() {
        let folder = folder("fail");
        let path = folder.join("missing").join("model.safetensors");
        assert!(matches!(save(&path, &content()), Err(FileError::Io(_))));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let folder = folder("damage");
        let path = folder.join("model.safetensors");
        save(&path, &content()).unwrap();
        let good = fs::read(&path).unwrap();
        assert!(parse(&good).is_ok());
        for len in 0..good.len() {
            assert!(parse(&good[..len]).is_err(), "truncated to {len}");
        }
        let mut huge = good.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(parse(&huge).unwrap_err().contains("claims"));
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 0x11;
            let _ = parse(&flipped);
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
