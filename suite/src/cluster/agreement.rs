//! What the ranks of a run agree on, and what each of them computes with.

use anyhow::anyhow;
use eqr_models::Collective;
use tch::Tensor;

use crate::failure::{BAD_INPUT, Failure, Outcome, RUN_FAILED};

/// 32 bits of a text's hash: exact as a float.
pub(crate) fn short_hash(text: &str) -> u32 {
    u32::from_le_bytes(blake3::hash(text.as_bytes()).as_bytes()[..4].try_into().expect("four bytes"))
}

/// Refuses a `value` that the ranks do not hold alike: they would take different steps and wait for each other for ever.
///
/// # Errors
/// Says that `what` differs, exit code 2.
pub fn same_everywhere(ranks: &dyn Collective, what: &str, value: &str) -> Outcome<()> {
    let all = ranks.all_gather(&Tensor::from_slice(&[f64::from(short_hash(value))]), &vec![1; ranks.size()]);
    let all: Vec<f64> = Vec::try_from(all).expect("one number a rank");
    if all.iter().all(|other| *other == all[0]) {
        return Ok(());
    }
    let hint = "hint: --out and --data-root must show the same files to every rank";
    Err(Failure::bad_input(anyhow!("{what} differs between the ranks\n{hint}")))
}

/// [`agree`] in the middle of the work.
///
/// # Errors
/// The failing ranks' messages, exit code 3.
pub fn agree_in_run<T>(ranks: &dyn Collective, outcome: anyhow::Result<T>) -> Outcome<T> {
    agree(ranks, outcome).map_err(|failure| Failure { code: RUN_FAILED, ..failure })
}

/// The numbers of all ranks, any number each, rank by rank; every rank must ask.
pub fn gathered(ranks: &dyn Collective, own: &[f64]) -> Vec<f64> {
    let counts = ranks.all_gather(&Tensor::from_slice(&[own.len() as f64]), &vec![1; ranks.size()]);
    let rows: Vec<i64> = Vec::<f64>::try_from(counts).expect("a count a rank").iter().map(|&n| n as i64).collect();
    Vec::try_from(ranks.all_gather(&Tensor::from_slice(own), &rows)).expect("numbers")
}

/// The texts of all ranks, in their order; every rank must ask.
pub fn texts(ranks: &dyn Collective, own: &str) -> Vec<String> {
    // as f64: the one number type that every collective carries exactly
    let bytes: Vec<f64> = own.bytes().map(f64::from).collect();
    let length = Tensor::from_slice(&[bytes.len() as f64]);
    let lengths = ranks.all_gather(&length, &vec![1; ranks.size()]);
    let lengths: Vec<f64> = Vec::try_from(lengths).expect("one length a rank");
    let rows: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
    let all: Vec<f64> = Vec::try_from(ranks.all_gather(&Tensor::from_slice(&bytes), &rows)).expect("gathered bytes");
    let mut rest = all.as_slice();
    let text = |&length: &i64| {
        let (mine, others) = rest.split_at(length as usize);
        rest = others;
        String::from_utf8_lossy(&mine.iter().map(|&byte| byte as u8).collect::<Vec<_>>()).into_owned()
    };
    rows.iter().map(text).collect()
}

/// Rank 0's number, on every rank; exact up to 2^53.
pub fn from_leader(ranks: &dyn Collective, own: u64) -> u64 {
    let mut number = Tensor::from_slice(&[own as f64]);
    ranks.broadcast(&mut number);
    number.double_value(&[0]) as u64
}

/// `Ok` on every rank or the same `Err` on every rank: the first failing rank's message. No rank is left waiting for one that gave
/// up.
///
/// # Errors
/// The failing ranks' messages, exit code 2.
pub fn agree<T>(ranks: &dyn Collective, outcome: anyhow::Result<T>) -> Outcome<T> {
    if ranks.size() == 1 {
        return outcome.map_err(Failure::bad_input);
    }
    let text = outcome.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    let texts = texts(ranks, &text);
    if texts.iter().all(String::is_empty) {
        return outcome.map_err(Failure::bad_input);
    }
    let mut messages: Vec<(Vec<usize>, String)> = Vec::new();
    for (rank, message) in texts.into_iter().enumerate().filter(|(_, message)| !message.is_empty()) {
        match messages.iter_mut().find(|(_, known)| *known == message) {
            Some((who, _)) => who.push(rank),
            None => messages.push((vec![rank], message)),
        }
    }
    let (who, message) = messages.swap_remove(0);
    let error = if who.len() == ranks.size() {
        anyhow!("{message}")
    } else {
        anyhow!("rank {} of {}: {message}", who[0], ranks.size())
    };
    Err(Failure { error, code: BAD_INPUT, agreed: true })
}
