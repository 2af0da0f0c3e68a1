//! k-nearest-neighbour classification.

use crate::scaling::unit_rows;
use tch::{Kind, Tensor};

/// Number of neighbours that vote.
pub const NEIGHBOURS: i64 = 20;

/// Number of test rows processed at a time, to limit memory.
const PIECE: i64 = 256;

/// Class of each row of `x` (M, D), int64 (M). It is the most frequent class among the [`NEIGHBOURS`] nearest
/// rows (all rows if there are fewer) of `labelled` (N, D) by cosine similarity. The labels `y` (N) of these
/// rows are int64 in 0..`classes`. Ties go to the class with the larger total similarity. Features are
/// neither centred nor scaled.
pub fn vote(labelled: &Tensor, y: &Tensor, x: &Tensor, classes: i64) -> Tensor {
    tch::no_grad(|| {
        let labelled = unit_rows(labelled, Kind::Float).tr();
        let neighbours = NEIGHBOURS.min(y.size()[0]);
        let one = |start: i64| {
            let x = unit_rows(&x.narrow(0, start, PIECE.min(x.size()[0] - start)), Kind::Float);
            let (similarity, rows) = x.matmul(&labelled).topk(neighbours, 1, true, false);
            // the sum of all similarities is less than one vote
            let votes = similarity / (2 * neighbours) as f64 + 1.0;
            let labels = y.index_select(0, &rows.view([-1])).view_as(&rows);
            let mut tally = Tensor::zeros([x.size()[0], classes], (Kind::Float, x.device()));
            tally.scatter_add_(1, &labels, &votes).argmax(1, false)
        };
        Tensor::cat(&(0..x.size()[0]).step_by(PIECE as usize).map(one).collect::<Vec<_>>(), 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    /// Only the directions of rows matter, not their lengths. There are 25 short rows along one axis and 15
    /// long rows along the other.
    #[test]
    fn the_majority_of_the_nearest_wins() {
        let along = |axis: i64, rows: i64, length: f64| {
            let t = Tensor::full([rows, 2], 0.01, (tch::Kind::Float, test_device()));
            let _ = t.narrow(1, axis, 1).fill_(length);
            t
        };
        let labelled = Tensor::cat(&[along(0, 25, 0.5), along(1, 15, 50.0)], 0);
        let y = Tensor::cat(
            &[
                Tensor::zeros([25], (tch::Kind::Int64, test_device())),
                Tensor::ones([15], (tch::Kind::Int64, test_device())),
            ],
            0,
        );
        let x = test_tensor(&[30.0f32, 1.0, 0.01, 0.3]).view([2, 2]);
        assert_eq!(Vec::<i64>::try_from(vote(&labelled, &y, &x, 2)).unwrap(), [0, 1]);
    }

    /// There are only two rows with one vote each, so the more similar one wins.
    #[test]
    fn ties_go_to_the_more_similar() {
        let labelled = test_tensor(&[1.0f32, 0.0, 0.0, 1.0]).view([2, 2]);
        let y = test_tensor(&[2i64, 0]);
        let x = test_tensor(&[0.2f32, 0.1, 0.1, 0.2]).view([2, 2]);
        assert_eq!(Vec::<i64>::try_from(vote(&labelled, &y, &x, 3)).unwrap(), [2, 0]);
    }
}
