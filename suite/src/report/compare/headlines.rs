//! The headlines of a run: one value per row of a table and pretraining seed. Files of others may have
//! millions of rows, so that each word is kept once, and a row of the file as three numbers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::registry::{Better, TaskFamily, is_headline};
use crate::report::mean::mean;
use crate::run_folder::cell::CellKind;
use crate::run_folder::metric::Metric;

/// A value as it is measured: one draw of a pretraining seed.
#[derive(Clone, Copy)]
pub struct Draw<'a> {
    pub dataset: &'a str,
    pub task: &'a str,
    pub metric: &'a str,
    pub method: &'a str,
    pub better: Better,
    pub pretrain_seed: u64,
    pub value: f64,
}

/// What a headline is of: data set, task, metric and method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Headline([Arc<str>; 4]);

/// Values by headline, then by pretraining seed: the mean over its draws, with the sign chosen so that larger
/// is better.
#[derive(Debug, Default)]
pub struct Headlines {
    /// In ascending order, each with the place of its values.
    headlines: Vec<(Headline, Range<usize>)>,
    values: Vec<(u64, f64)>,
}

impl Headline {
    /// The words of its line.
    pub fn name(&self) -> String {
        let Headline([dataset, task, metric, method]) = self;
        format!("{dataset}: {task} {metric}, {method}")
    }

    /// The table that it belongs to: a data set with one kind of measurement.
    pub fn table(&self) -> (Arc<str>, &'static str) {
        let Headline([dataset, task, ..]) = self;
        let family = TaskFamily::of_task(task);
        let kind = if CellKind::from(family) == CellKind::Probe { "probes" } else { family.name() };
        (dataset.clone(), kind)
    }
}

impl Headlines {
    /// The headlines among these metrics.
    pub fn of(metrics: &[Metric]) -> Headlines {
        let mut collected = Collected::default();
        for metric in metrics {
            let Metric { dataset, task, metric, method, better, pretrain_seed, value, .. } = metric;
            let (better, pretrain_seed, value) = (*better, *pretrain_seed, *value);
            collected.add(Draw { dataset, task, metric, method, better, pretrain_seed, value });
        }
        collected.sorted()
    }

    /// Every headline in ascending order with its values by seed.
    pub fn iter(&self) -> impl Iterator<Item = (&Headline, &[(u64, f64)])> {
        self.headlines.iter().map(|(headline, place)| (headline, &self.values[place.clone()]))
    }

    /// The median of every value over runs; for an even number of runs, the smaller of the two middle ones.
    pub fn medians(runs: &[&Headlines]) -> Headlines {
        let mut all: BTreeMap<(&Headline, u64), Vec<f64>> = BTreeMap::new();
        for (headline, values) in runs.iter().flat_map(|run| run.iter()) {
            for &(seed, value) in values {
                all.entry((headline, seed)).or_default().push(value);
            }
        }
        let mut found = Headlines::default();
        for ((headline, seed), mut values) in all {
            values.sort_by(f64::total_cmp);
            let place = found.values.len();
            if found.headlines.last().is_none_or(|(last, _)| last != headline) {
                found.headlines.push((headline.clone(), place..place));
            }
            found.values.push((seed, values[(values.len() - 1) / 2]));
            found.headlines.last_mut().expect("just pushed").1.end = place + 1;
        }
        found
    }

    /// The values of a headline by seed.
    pub fn find(&self, headline: &Headline) -> Option<&[(u64, f64)]> {
        let at = self.headlines.binary_search_by(|(other, _)| other.cmp(headline)).ok()?;
        Some(&self.values[self.headlines[at].1.clone()])
    }
}

/// The draws of headlines, in the order in which they were read.
#[derive(Default)]
pub struct Collected {
    words: HashSet<Arc<str>>,
    numbers: HashMap<Headline, u32>,
    draws: Vec<(u32, u64, f64)>,
}

impl Collected {
    /// Keeps the draw if it is of a headline.
    pub fn add(&mut self, draw: Draw) {
        let Draw { dataset, task, metric, method, better, pretrain_seed, value } = draw;
        if !is_headline(task, metric) {
            return;
        }
        let headline = Headline([dataset, task, metric, method].map(|word| self.word(word)));
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(headline).or_insert(next);
        let sign = if better == Better::Lower { -1.0 } else { 1.0 };
        self.draws.push((number, pretrain_seed, sign * value));
    }

    /// The word, of which one copy is kept.
    fn word(&mut self, word: &str) -> Arc<str> {
        match self.words.get(word) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = word.into();
                self.words.insert(new.clone());
                new
            }
        }
    }

    /// One value per headline and seed.
    pub fn sorted(self) -> Headlines {
        let Collected { numbers, mut draws, .. } = self;
        let mut order: Vec<(Headline, u32)> = numbers.into_iter().collect();
        order.sort_unstable();
        let mut rank = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, (_, number))| rank[*number as usize] = at);
        // the draws of a seed stay in their order, on which the last digit of their mean depends
        draws.sort_by_key(|(number, seed, _)| (rank[*number as usize], *seed));
        let mut found = Headlines::default();
        let mut of_headline = draws.chunk_by(|a, b| a.0 == b.0);
        for (headline, _) in order {
            let start = found.values.len();
            let seeds = of_headline.next().unwrap_or_default().chunk_by(|a, b| a.1 == b.1);
            let of_seed =
                |draws: &[(u32, u64, f64)]| (draws[0].1, mean(draws.iter().map(|(.., value)| value)));
            found.values.extend(seeds.map(of_seed));
            found.headlines.push((headline, start..found.values.len()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_by_headline_and_seed() {
        let run = |values: [f64; 2]| {
            let mut collected = Collected::default();
            for (seed, value) in values.into_iter().enumerate() {
                collected.add(Draw {
                    dataset: "photos",
                    task: "rotation",
                    metric: "r2_per_output",
                    method: "Ours",
                    better: Better::Higher,
                    pretrain_seed: seed as u64,
                    value,
                });
            }
            collected.sorted()
        };
        let runs = [run([0.3, 0.9]), run([0.1, 0.8]), run([0.2, 0.7])];
        let medians = Headlines::medians(&runs.iter().collect::<Vec<_>>());
        let all: Vec<_> = medians.iter().map(|(_, values)| values.to_vec()).collect();
        assert_eq!(all, [vec![(0, 0.2), (1, 0.8)]]);
        assert!(medians.iter().all(|(headline, values)| medians.find(headline) == Some(values)));
    }

    #[test]
    fn draws_are_averaged_within_a_seed_and_errors_change_their_sign() {
        let draw = |method, pretrain_seed, value| Draw {
            dataset: "photos",
            task: "rotation",
            metric: "r2_per_output",
            method,
            better: Better::Higher,
            pretrain_seed,
            value,
        };
        let mut collected = Collected::default();
        for draw in [
            draw("Ours", 1, 0.5),
            draw("B", 7, 0.25),
            draw("Ours", 0, 0.1),
            draw("Ours", 1, 0.7),
            Draw { metric: "r2_pooled", ..draw("Ours", 1, 9.0) },
            Draw { better: Better::Lower, ..draw("A", 0, 0.5) },
        ] {
            collected.add(draw);
        }
        let found = collected.sorted();
        let all: Vec<_> = found.iter().map(|(headline, values)| (headline.name(), values.to_vec())).collect();
        let name = |method: &str| format!("photos: rotation r2_per_output, {method}");
        assert_eq!(
            all,
            [
                (name("A"), vec![(0, -0.5)]),
                (name("B"), vec![(7, 0.25)]),
                (name("Ours"), vec![(0, 0.1), (1, (0.5 + 0.7) / 2.0)])
            ]
        );
        for (headline, values) in found.iter() {
            assert_eq!(found.find(headline), Some(values));
        }
        assert_eq!(found.headlines[0].0.table(), ("photos".into(), "probes"));
    }
}
