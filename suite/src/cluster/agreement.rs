//! Agreement between ranks: exchanges small values, and checks whether all ranks hold the same value or have
//! succeeded. Every rank must make the same calls in the same order.

use anyhow::anyhow;
use eqr_models::Collective;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Tensor;

use crate::failure::{BAD_INPUT, Failure, Outcome, RUN_FAILED};

/// The values of all ranks, in rank order.
pub fn gather<T: Serialize + DeserializeOwned>(ranks: &dyn Collective, own: &T) -> Vec<T> {
    // bytes are sent as f64, the one number type that every collective carries exactly
    let bytes = serde_json::to_vec(own).expect("a plain value is JSON").into_iter().map(f64::from);
    let bytes = Tensor::from_slice(&bytes.collect::<Vec<f64>>());
    let length = Tensor::from_slice(&[bytes.size()[0] as f64]);
    let lengths =
        Vec::<f64>::try_from(ranks.all_gather(&length, &vec![1; ranks.size()])).expect("one length a rank");
    let lengths: Vec<i64> = lengths.into_iter().map(|length| length as i64).collect();
    let all = Vec::<f64>::try_from(ranks.all_gather(&bytes, &lengths)).expect("the bytes of all ranks");
    let all: Vec<u8> = all.into_iter().map(|byte| byte as u8).collect();
    let mut rest = all.as_slice();
    let parse = |length: i64| {
        let (bytes, others) = rest.split_at(length as usize);
        rest = others;
        serde_json::from_slice(bytes).expect("written by the same program")
    };
    lengths.into_iter().map(parse).collect()
}

/// Rank 0's value, on every rank.
pub fn from_leader<T: Serialize + DeserializeOwned>(ranks: &dyn Collective, own: &T) -> T {
    gather(ranks, own).swap_remove(0)
}

/// Whether `fact` is true on any of the ranks.
pub fn on_any_rank(ranks: &dyn Collective, fact: bool) -> bool {
    if ranks.size() == 1 {
        return fact;
    }
    let mut count = Tensor::from_slice(&[f64::from(u8::from(fact))]);
    ranks.all_reduce_sum(&mut count);
    count.double_value(&[0]) > 0.0
}

/// Refuses a `value` that differs between the ranks: they would take different steps and wait for each other
/// forever.
///
/// # Errors
/// A message that `what` differs; exit code 2.
pub fn same_everywhere(ranks: &dyn Collective, what: &str, value: &str) -> Outcome<()> {
    let hashes = gather(ranks, &blake3::hash(value.as_bytes()).to_hex().to_string());
    if hashes.iter().all(|hash| *hash == hashes[0]) {
        return Ok(());
    }
    let hint = "hint: --out and --data-root must show the same files to every rank";
    Err(Failure::bad_input(anyhow!("{what} differs between the ranks\n{hint}")))
}

/// `Ok` on every rank, or the same `Err` on every rank: the first message, with the rank that it comes from.
/// So no rank waits for one that has failed.
///
/// # Errors
/// The first failing rank's message, exit code 2.
pub fn agree<T>(ranks: &dyn Collective, outcome: anyhow::Result<T>) -> Outcome<T> {
    if ranks.size() == 1 {
        return outcome.map_err(Failure::bad_input);
    }
    let messages = gather(ranks, &outcome.as_ref().err().map(|error| format!("{error:#}")));
    let Some((rank, message)) =
        messages.iter().enumerate().find_map(|(rank, text)| Some((rank, text.as_ref()?)))
    else {
        return outcome.map_err(Failure::bad_input);
    };
    // the rank that has the error keeps its type
    let error = match outcome {
        Err(own) if ranks.rank() == rank => own,
        _ => anyhow!("{message}"),
    };
    let error = if messages.iter().all(|other| other.as_ref() == Some(message)) {
        error
    } else {
        error.context(format!("rank {rank} of {}", ranks.size()))
    };
    Err(Failure { error, code: BAD_INPUT, agreed: true })
}

/// Like [`agree`], in the middle of the work.
///
/// # Errors
/// The first failing rank's message, exit code 3.
pub fn agree_in_run<T>(ranks: &dyn Collective, outcome: anyhow::Result<T>) -> Outcome<T> {
    agree(ranks, outcome).map_err(|failure| Failure { code: RUN_FAILED, ..failure })
}

#[cfg(test)]
mod tests {
    use eqr_models::Solo;

    use super::{from_leader, gather};

    #[test]
    fn values_come_back_as_they_were() {
        let value = (Some("a \"quoted\" text, ü".to_owned()), vec![(usize::MAX, -3i32)]);
        assert_eq!(gather(&Solo, &value), std::slice::from_ref(&value));
        assert_eq!(from_leader(&Solo, &None::<u64>), None);
    }
}
