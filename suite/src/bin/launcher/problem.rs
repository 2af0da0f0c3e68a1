//! Why the engine cannot start.

/// What went wrong, and what the user can do about it.
pub struct Problem {
    pub error: String,
    pub hint: String,
}

impl Problem {
    pub fn new(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Problem { error: error.into(), hint: hint.into() }
    }
}
