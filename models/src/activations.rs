//! What a rank keeps of its pairs from the forward pass to the backward pass.

use std::ops::Range;

/// How a rank saves memory. Loss and gradient are those of the whole batch in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activations {
    /// Number of pairs that are encoded at a time; all pairs of the rank if unset.
    pub micro_batch: Option<i64>,
    /// Whether only the inputs of the encoder's blocks are kept. The backward pass computes each block again.
    pub recompute: bool,
}

impl Activations {
    /// The runs of pairs that are encoded at a time, out of `local`. If there are no pairs, the result is one
    /// empty run.
    pub(crate) fn runs(self, local: i64) -> Vec<Range<i64>> {
        let length = self.micro_batch.unwrap_or(local).clamp(1, local.max(1));
        let starts = (0..local.max(1)).step_by(length as usize);
        starts.map(|start| start..(start + length).min(local)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Activations;

    #[test]
    fn runs_cover_the_pairs() {
        let runs = |micro_batch, local| {
            let runs = Activations { micro_batch, recompute: false }.runs(local);
            runs.into_iter().map(|run| (run.start, run.end)).collect::<Vec<_>>()
        };
        assert_eq!(runs(None, 7), [(0, 7)]);
        assert_eq!(runs(Some(3), 7), [(0, 3), (3, 6), (6, 7)]);
        assert_eq!(runs(Some(9), 7), [(0, 7)]);
        assert_eq!(runs(Some(3), 0), [(0, 0)]);
    }
}
