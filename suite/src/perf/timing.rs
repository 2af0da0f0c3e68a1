//! Timing of repeated work.

use std::time::Instant;

use anyhow::Result;

/// Number of warm-up calls before the timed ones.
const WARM_UP: usize = 3;

/// Median seconds of `calls` calls of `work`, after some warm-up calls. On a device, `work` must wait for the
/// device.
pub(super) fn median_seconds(calls: usize, mut work: impl FnMut()) -> f64 {
    let mut seconds = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    for _ in 0..WARM_UP {
        seconds();
    }
    median((0..calls.max(1)).map(|_| seconds()).collect())
}

/// Median seconds of each of `works` over `rounds` rounds, after one warm-up round. A round calls every work
/// once, so that other load on the machine affects all of them alike.
pub(super) fn interleaved_medians<const N: usize>(
    rounds: usize,
    mut works: [&mut dyn FnMut() -> Result<()>; N],
) -> Result<[f64; N]> {
    let mut seconds = [const { Vec::new() }; N];
    for round in 0..=rounds.max(1) {
        for (work, seconds) in works.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            work()?;
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    Ok(seconds.map(median))
}

/// The median; for an even number of values, the larger of the two middle ones.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::{interleaved_medians, median, median_seconds};

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median(vec![5.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 3.0);
    }

    #[test]
    fn warm_up_calls_come_before_the_timed_ones() {
        let mut calls = 0;
        median_seconds(5, || calls += 1);
        assert_eq!(calls, 8);
        let order = std::cell::RefCell::new(String::new());
        let noted = |name| {
            order.borrow_mut().push(name);
            Ok(())
        };
        let (mut a, mut b) = (|| noted('a'), || noted('b'));
        interleaved_medians(2, [&mut a, &mut b]).unwrap();
        assert_eq!(order.into_inner(), "ababab");
    }
}
