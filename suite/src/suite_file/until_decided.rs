//! Runs whose number of seeds is not fixed: one seed after the other is added until the claims are decided.

use anyhow::{Result, ensure};
use eqr_probes::sequential::Looks;

use crate::suite_file::counts::MOST_SEEDS;
use crate::suite_file::suite::Suite;

/// Goes on until every claim is decided. The suite's own seeds are the first look at the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntilDecided {
    /// Largest number of seeds.
    pub max_seeds: u64,
}

impl UntilDecided {
    /// The looks at the claims of `suite`.
    ///
    /// # Errors
    /// A suite of one seed; a largest number below that of the suite.
    pub fn looks(self, suite: &Suite) -> Result<Looks> {
        let (first, last) = (suite.seeds, self.max_seeds);
        ensure!(
            first >= 2,
            "--until-decided: seeds = {first}: the first test needs at least 2\nhint: --seeds 2"
        );
        ensure!(
            last >= first,
            "--max-seeds {last}: the suite begins with {first} seeds\nhint: raise --max-seeds"
        );
        ensure!(last <= MOST_SEEDS, "--max-seeds {last}: must be at most {MOST_SEEDS}");
        Ok(Looks::new(usize::try_from(first)?, usize::try_from(last)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_has_the_suites_seeds() {
        let looks = |seeds: u64, max_seeds| {
            let suite = Suite::load("quickstart", &[format!("seeds={seeds}")]).unwrap();
            UntilDecided { max_seeds }.looks(&suite).map_err(|error| error.to_string())
        };
        let found = looks(3, 5).unwrap();
        assert_eq!((found.first(), found.last()), (3, 5));
        assert!(looks(1, 5).unwrap_err().contains("seeds = 1: the first test needs at least 2"));
        assert!(looks(3, 1_000_000_000_000).unwrap_err().contains("must be at most 1000"));
        assert!(looks(3, 2).unwrap_err().contains("--max-seeds 2: the suite begins with 3 seeds"));
    }
}
