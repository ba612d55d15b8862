//! What can go wrong in the core. The Python face turns each kind into the exception named beside it.

use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// An error with a message that names the argument, what it has and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shapes that do not fit together (`ValueError`).
    Shape(String),
    /// A value outside its range (`ValueError`).
    Value(String),
    /// An argument of the wrong type (`TypeError`).
    Type(String),
    /// A call at the wrong time (`RuntimeError`).
    State(String),
    /// A computation that became infinite or NaN (`RuntimeError`).
    NonFinite(String),
}

impl Error {
    pub fn message(&self) -> &str {
        match self {
            Error::Shape(m)
            | Error::Value(m)
            | Error::Type(m)
            | Error::State(m)
            | Error::NonFinite(m) => m,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_message() {
        let error = Error::Shape("pred has shape (3, 2); expected (3, 4)".into());
        assert_eq!(error.to_string(), "pred has shape (3, 2); expected (3, 4)");
        assert_ne!(error, Error::Value(error.message().into()));
    }
}
