//! What the marks of a table's entries mean.

/// Level of the tests behind the marks.
pub const LEVEL: f64 = 0.05;

/// Least number of seeds of an entry that is marked as the best.
pub const SEEDS: usize = 3;

/// How a format displays the marks.
pub struct Legend {
    /// Mark of the best entry.
    pub best: &'static str,
    /// Mark of the runner-up, if the format marks it.
    pub runner_up: Option<&'static str>,
    /// Mark of a best entry that is significantly better than the runner-up.
    pub significant: &'static str,
}

impl Legend {
    /// The sentence below a table that compares methods within one `place` (`column` or `row`), without its
    /// full stop.
    pub fn sentence(&self, place: &str) -> String {
        let Legend { best, runner_up, significant } = self;
        let runner_up = runner_up.map(|mark| format!("{mark} runner-up; ")).unwrap_or_default();
        format!(
            "{best} best of its {place}, floor and ceiling aside, if above the floor and of {SEEDS} seeds or more; \
             {runner_up}{significant} significantly better than the runner-up (p < {LEVEL}, Holm-corrected within \
             this table), else the best among equals"
        )
    }
}
