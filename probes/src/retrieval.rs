//! Quality of predicted embeddings by SIE's measures (Garrido et al. 2023), which test whether the predicted
//! view is the nearest among the views of its object: mean reciprocal rank, hits among the first k, and the
//! error of the retrieved pose.

use crate::checks::{expect_shape, finite, wrong_shape};
use crate::error::{Error, Result, TensorRole};
use crate::scaling::unit_rows;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The k of H@k.
pub const HITS: [usize; 4] = [1, 2, 5, 10];

/// The rank of the predicted view among the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranking {
    /// Index of the predicted view among the candidates.
    pub truth: usize,
    /// Its rank by similarity, from 1. Candidates with the same similarity are ranked before it, so collapsed
    /// embeddings get the last rank and not the first.
    pub rank: usize,
    /// Index of the most similar candidate.
    pub nearest: usize,
}

/// Retrieval measures, averaged over predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// Number of predictions.
    pub n: usize,
    /// Mean of 1 / rank, in (0, 1].
    pub mrr: f64,
    /// Share of ranks that are at most k, for each k of [`HITS`].
    pub hits: [f64; 4],
    /// Prediction retrieval error: the mean of 1 - (q . p)^2, where q is the pose of the predicted view and p
    /// that of the nearest candidate. It is in [0, 1], and a term is 0 if both poses are the same rotation.
    pub pre: f64,
}

/// Ranks the views of each object by cosine similarity. Returns one list per object. For every object,
/// prediction i in `predictions` (O, P, d) belongs to candidate `truth[i]` of the same object in `candidates`
/// (O, V, d). The source view is also a candidate.
///
/// # Errors
/// Fails if shapes are inconsistent, there is no prediction, a value is not finite, or an index in `truth` is
/// out of range.
pub fn ranks(predictions: &Tensor, candidates: &Tensor, truth: &[usize]) -> Result<Vec<Vec<Ranking>>> {
    const NAME: &str = "retrieval";
    let [objects, views @ (1..), width] = candidates.size()[..] else {
        return Err(wrong_shape(
            NAME,
            TensorRole::Targets,
            candidates,
            "three dimensions, with at least one view".into(),
        ));
    };
    if truth.is_empty() {
        return Err(Error::Empty { what: "prediction" });
    }
    expect_shape(NAME, TensorRole::Predictions, predictions, &[objects, truth.len() as i64, width])?;
    finite(NAME, TensorRole::Targets, candidates)?;
    finite(NAME, TensorRole::Predictions, predictions)?;
    if let Some(&max) = truth.iter().find(|&&view| view >= views as usize) {
        let max = max as i64;
        return Err(Error::Labels {
            name: NAME.into(),
            role: TensorRole::Predictions,
            min: 0,
            max,
            classes: views,
        });
    }
    let similarities = tch::no_grad(|| {
        let unit = |x: &Tensor, rows: i64| {
            unit_rows(&x.reshape([-1, width]), Kind::Double).view([objects, rows, width])
        };
        unit(predictions, truth.len() as i64).bmm(&unit(candidates, views).transpose(1, 2)).reshape([-1])
    });
    let similarities = Vec::<f64>::try_from(similarities).expect("a flat tensor of f64");
    let rows: Vec<&[f64]> = similarities.chunks_exact(views as usize).collect();
    let rankings =
        |rows: &[&[f64]]| rows.iter().zip(truth).map(|(row, truth)| ranking(row, *truth)).collect();
    Ok(rows.chunks_exact(truth.len()).map(rankings).collect())
}

/// The rank of candidate `truth` by its similarity in `row`, and the most similar candidate.
fn ranking(row: &[f64], truth: usize) -> Ranking {
    let rank = row.iter().filter(|&&other| other >= row[truth]).count();
    let nearest = (0..row.len()).fold(0, |best, view| if row[view] > row[best] { view } else { best });
    Ranking { truth, rank, nearest }
}

impl Retrieval {
    /// Averages over the predictions of all objects. Each object is given by its [`ranks`] and the poses of
    /// its views as unit quaternions.
    ///
    /// # Errors
    /// Fails if there is no prediction.
    pub fn from_rankings(objects: &[(Vec<Ranking>, Vec<[f64; 4]>)]) -> Result<Retrieval> {
        let all: Vec<(usize, f64)> = objects
            .iter()
            .flat_map(|(found, poses)| {
                found.iter().map(|f| (f.rank, distance(&poses[f.truth], &poses[f.nearest])))
            })
            .collect();
        if all.is_empty() {
            return Err(Error::Empty { what: "prediction" });
        }
        let n = all.len() as f64;
        Ok(Retrieval {
            n: all.len(),
            mrr: all.iter().map(|(rank, _)| 1.0 / *rank as f64).sum::<f64>() / n,
            hits: HITS.map(|k| all.iter().filter(|(rank, _)| *rank <= k).count() as f64 / n),
            pre: all.iter().map(|(_, distance)| distance).sum::<f64>() / n,
        })
    }
}

/// 1 - (q . p)^2, which is 0 for q and -q.
fn distance(q: &[f64; 4], p: &[f64; 4]) -> f64 {
    1.0 - q.iter().zip(p).map(|(a, b)| a * b).sum::<f64>().powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    /// Three views whose embeddings lie along the axes and whose poses are rotations about z by 0, 90 and 180
    /// degrees. The results are computed by hand.
    #[test]
    fn measures_by_hand() {
        let candidates = Tensor::eye(3, (Kind::Float, test_device())).unsqueeze(0) * 7.0;
        // predictions of view 1 (exact direction), view 2 (ranked after view 0) and view 0 (ranked last)
        let predictions = test_tensor(&[0.0f32, 0.1, 0.0, 3.0, 0.0, 1.0, -1.0, 2.0, 1.0]).view([1, 3, 3]);
        let found = ranks(&predictions, &candidates, &[1, 2, 0]).unwrap().remove(0);
        let expected =
            [(1, 1, 1), (2, 2, 0), (0, 3, 1)].map(|(truth, rank, nearest)| Ranking { truth, rank, nearest });
        assert_eq!(found, expected);
        let half = 0.5f64.sqrt();
        let poses = vec![[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, half, half], [0.0, 0.0, -1.0, 0.0]];
        let result = Retrieval::from_rankings(&[(found, poses)]).unwrap();
        assert!((result.mrr - (1.0 + 0.5 + 1.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!(result.hits, [1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]);
        // distances 0, 1 (half a turn) and 1/2 (a quarter turn)
        assert!((result.pre - 0.5).abs() < 1e-12);
    }

    #[test]
    fn collapsed_embeddings_are_last_not_first() {
        let same = Tensor::ones([1, 4, 3], (Kind::Float, test_device()));
        let found = ranks(&same.narrow(1, 0, 1), &same, &[2]).unwrap();
        assert_eq!(found[0][0].rank, 4);
        assert!(ranks(&same, &same, &[0, 1, 2, 4]).is_err());
        assert!(ranks(&same, &same.squeeze_dim(0), &[0, 1, 2, 3]).is_err());
        assert!(
            ranks(&same.narrow(1, 0, 0), &same, &[]).is_err()
                && ranks(&same, &same.narrow(1, 0, 0), &[0]).is_err()
        );
        assert!(matches!(Retrieval::from_rankings(&[]), Err(Error::Empty { .. })));
    }

    /// Two objects with two views each. The predictions of the second object are swapped.
    #[test]
    fn objects_are_searched_separately() {
        let candidates = Tensor::eye(2, (Kind::Float, test_device())).repeat([2, 1, 1]);
        let predictions = Tensor::cat(&[candidates.narrow(0, 0, 1), candidates.narrow(0, 1, 1).flip([1])], 0);
        let found = ranks(&predictions, &candidates, &[0, 1]).unwrap();
        let ranks: Vec<Vec<usize>> =
            found.iter().map(|found| found.iter().map(|f| f.rank).collect()).collect();
        assert_eq!(ranks, [[1, 1], [2, 2]]);
    }
}
