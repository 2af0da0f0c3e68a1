//! Compares measures and statistics with scikit-learn, SciPy, statsmodels and NumPy. The reference results
//! are from `scripts/reference/measures.py`.

use eqr_models::test_device::{test_device, test_tensor};
use eqr_probes::block_analysis::BlockAnalysis;
use eqr_probes::confusion::Confusion;
use eqr_probes::r2::R2;
use eqr_probes::retrieval::{Retrieval, ranks};
use eqr_probes::sequential::Looks;
use eqr_probes::stats::{Difference, Summary, holm, paired, student, welch};
use eqr_probes::{Accuracy, knn};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tch::{Kind, Tensor};

fn reference(part: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("reference/measures.json")).unwrap();
    all[part].clone()
}

fn get<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn matrix(value: &Value) -> Tensor {
    Tensor::from_slice2(&get::<Vec<Vec<f64>>>(value)).to_device(test_device())
}

fn labels(value: &Value) -> Tensor {
    test_tensor(&get::<Vec<i64>>(value))
}

fn close(found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} {expected}");
}

fn interval(found: Option<(f64, f64)>, expected: &Value) {
    let (low, high) = found.unwrap();
    close(low, &expected[0]);
    close(high, &expected[1]);
}

fn same(found: &Difference, expected: &Value) {
    close(found.t.unwrap(), &expected["t"]);
    close(found.df.unwrap(), &expected["df"]);
    close(found.p.unwrap(), &expected["p"]);
    interval(found.ci95, &expected["ci95"]);
}

#[test]
fn accuracies_and_r2_agree_with_scikit_learn() {
    let case = reference("accuracy");
    let (predicted, truth) = (labels(&case["predicted"]), labels(&case["truth"]));
    let accuracy = Accuracy::new(&predicted, &truth, 5);
    close(accuracy.top1, &case["top1"]);
    close(accuracy.mean_per_class, &case["mean_per_class"]);
    let case = reference("r2");
    let r2 = R2::new(&matrix(&case["predictions"]), &matrix(&case["targets"])).unwrap();
    close(r2.per_output.unwrap(), &case["per_output"]);
    close(r2.pooled.unwrap(), &case["pooled"]);
    (0..3).for_each(|j| close(r2.outputs[j].unwrap(), &case["outputs"][j]));
}

#[test]
fn segmentation_agrees_with_scikit_learn() {
    let case = reference("segmentation");
    let map = |key: &str| {
        let rows: Vec<Vec<Vec<i64>>> = get(&case[key]);
        let shape = [rows.len(), rows[0].len(), rows[0][0].len()].map(|side| side as i64);
        test_tensor(&rows.concat().concat()).view(shape)
    };
    let mut confusion = Confusion::new(6);
    confusion.add(&map("predicted"), &map("truth"), 255).unwrap();
    assert_eq!(confusion.pixels(), get::<Vec<Vec<u64>>>(&case["confusion"]).concat());
    let score = confusion.score().unwrap();
    let iou: Vec<f64> = score.classes.iter().filter_map(|class| class.iou).collect();
    assert_eq!(iou.len(), 5);
    (0..5).for_each(|class| close(iou[class], &case["iou"][class]));
    close(score.miou, &case["mIoU"]);
    close(score.macc, &case["mAcc"]);
    close(score.aacc, &case["aAcc"]);
}

#[test]
fn retrieval_agrees_with_numpy() {
    let case = reference("retrieval");
    let truth: Vec<usize> = get(&case["truth"]);
    let one_object = |key: &str| matrix(&case[key]).unsqueeze(0);
    let mut found = ranks(&one_object("predictions"), &one_object("candidates"), &truth).unwrap();
    let retrieval = Retrieval::from_rankings(&[(found.remove(0), get(&case["poses"]))]).unwrap();
    close(retrieval.mrr, &case["mrr"]);
    close(retrieval.pre, &case["pre"]);
    (0..4).for_each(|k| close(retrieval.hits[k], &case["hits"][k]));
}

#[test]
fn neighbours_agree_with_scikit_learn() {
    let case = reference("neighbours");
    let float = |key: &str| matrix(&case[key]).to_kind(Kind::Float);
    let found = knn::vote(&float("x"), &labels(&case["y"]), &float("queries"), 4);
    assert_eq!(Vec::<i64>::try_from(found).unwrap(), get::<Vec<i64>>(&case["labels"]));
}

#[test]
fn tests_and_intervals_agree_with_scipy() {
    let case = reference("samples");
    let sample = |key: &str| get::<Vec<f64>>(&case[key]);
    let (a, b) = (sample("a"), sample("b"));
    let summary = Summary::from_values(&a).unwrap();
    close(summary.mean, &case["mean"]);
    close(summary.std.unwrap(), &case["std"]);
    interval(summary.ci95, &case["ci95"]);
    same(&welch(&a, &b).unwrap(), &case["welch"]);
    same(&student(&a, &b).unwrap(), &case["student"]);
    same(&paired(&a, &sample("pairs")).unwrap(), &case["paired"]);
    let corrected = holm(&sample("p"));
    (0..9).for_each(|i| close(corrected[i], &case["holm"][i]));
}

#[test]
fn sequential_tests_agree_with_scipy() {
    let case = reference("sequential");
    let (a, b): (Vec<f64>, Vec<f64>) = (get(&case["a"]), get(&case["b"]));
    let looks = Looks::new(2, 6).unwrap();
    for n in 2..=6 {
        close(looks.paired(&a[..n], &b[..n]).unwrap().p.unwrap(), &case["p"][n - 2]);
    }
    interval(looks.paired(&a, &b).unwrap().ci95, &case["ci95"]);
}

#[test]
fn block_analysis_agrees_with_statsmodels() {
    let case = reference("blocks");
    let analysis = BlockAnalysis::from_values(&get::<Vec<Vec<f64>>>(&case["table"])).unwrap();
    let variations = [analysis.methods, analysis.seeds, analysis.residual];
    (0..3).for_each(|i| close(variations[i].squares, &case["squares"][i]));
    close(analysis.f.unwrap(), &case["f"]);
    close(analysis.p.unwrap(), &case["p"]);
    same(&analysis.difference(3, 1), &case["difference"]);
}
