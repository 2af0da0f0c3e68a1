//! The text of a suite of one's own: a preset's with its comments, for the user's data.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use eqr_datasets::{Pack, PackedSplit, SetKind};
use toml_edit::{DocumentMut, Table, value};

use crate::suite_file::presets::read;

/// Steps of a training, about as many as those of quickstart and cifar10-reduced.
const STEPS: usize = 800;

/// Largest side of images for the networks of the reduced presets, in pixels.
const LARGEST_SIDE: usize = 64;

/// A pack for a new suite.
pub struct OwnData {
    /// Absolute path of the pack.
    pub path: PathBuf,
    /// Photographs or renders.
    pub kind: SetKind,
    /// Number of objects or images in the training split.
    pub units: usize,
    /// Side of the images in pixels; `None` if they have several sizes.
    pub side: Option<usize>,
}

impl OwnData {
    /// What a suite needs to know of `pack`.
    ///
    /// # Errors
    /// A pack without labels, or with fewer than two training or test images.
    pub fn of(pack: &Pack) -> Result<OwnData> {
        pack.expect_labels("`run`")?;
        let (train, test) = (pack.expect_split("train")?, pack.expect_split("test")?);
        let [units, tests] = [train, test].map(PackedSplit::units);
        let place = pack.path().display();
        ensure!(
            units >= 2 && tests >= 2,
            "{place}: {units} training and {tests} test units: a suite needs 2 of each at least"
        );
        let side = train.side().filter(|_| train.side() == test.side());
        Ok(OwnData { path: std::path::absolute(pack.path())?, kind: pack.kind, units, side })
    }

    /// The preset that trains on data of this kind.
    pub fn preset(&self) -> &'static str {
        match self.kind {
            SetKind::Photographs => "cifar10-reduced",
            SetKind::Renders => "quickstart",
        }
    }

    /// The side that the suite sets, if the images need another one than their own: a multiple of `patch`.
    fn side(&self, patch: usize) -> Option<usize> {
        let fits = |side: &usize| *side <= LARGEST_SIDE && side.is_multiple_of(patch);
        match self.side {
            Some(side) if fits(&side) => None,
            side => Some(side.unwrap_or(LARGEST_SIDE).min(LARGEST_SIDE).next_multiple_of(patch)),
        }
    }
}

/// The suite `name`, made of the preset `from`. With `data`, it trains on that pack for about 800 steps and
/// mirrors no table of the paper.
///
/// # Errors
/// No such preset; data for a preset with several data sets.
pub fn new_suite(from: &str, name: &str, data: Option<&OwnData>) -> Result<String> {
    let (text, _) = read(from)?;
    let body: Vec<&str> = text.lines().skip_while(|line| line.starts_with('#')).collect();
    let mut suite: DocumentMut = body.join("\n").parse().with_context(|| format!("preset {from}"))?;
    suite["name"] = value(name);
    if let Some(data) = data {
        set_data(&mut suite, from, data)?;
        suite["title"] = value(name);
        suite.remove("table");
        // they speak of the preset's data and steps
        suite.remove("notes");
    }
    Ok(format!(
        "# Made by `eqr-bench init` from the preset {from}. `eqr-bench run FILE --out runs/{name} --dry-run` shows \
         its\n# cells and their cost; `eqr-bench suites keys` explains the keys. For completion in an editor:\n\
         # `eqr-bench suites schema > suite.schema.json`, and `#:schema suite.schema.json` as the first line.\n{suite}"
    ))
}

fn set_data(suite: &mut DocumentMut, from: &str, data: &OwnData) -> Result<()> {
    if !suite["data"].is_table() {
        bail!(
            "the preset {from} has several data sets\nhint: give --from a preset with one, or leave out --data"
        );
    }
    let patch = suite["model"]["patch"].as_integer().unwrap_or(16);
    let mut table = Table::new();
    table["source"] = value("pack");
    table["file"] = value(data.path.display().to_string());
    table["made_by"] = value(format!("eqr-bench data pack .. --out {}", data.path.display()));
    if let Some(side) = data.side(usize::try_from(patch)?) {
        table["side"] = value(i64::try_from(side)?);
    }
    let position = suite["data"].as_table().and_then(Table::position);
    table.set_position(position);
    suite["data"] = table.into();
    let train = &mut suite["train"];
    let batch = largest_batch(train["batch"].as_integer().unwrap_or(128), data.units);
    let epochs = (STEPS * batch).div_ceil(data.units);
    train["batch"] = value(i64::try_from(batch)?);
    train["epochs"] = value(i64::try_from(epochs)?);
    if train.get("ceiling_epochs").is_some() {
        train["ceiling_epochs"] = value(i64::try_from(3 * epochs)?);
    }
    Ok(())
}

/// `preset`, or the largest half, quarter, .. of it that does not exceed the training images.
fn largest_batch(preset: i64, units: usize) -> usize {
    let preset = usize::try_from(preset).unwrap_or(2).max(2);
    std::iter::successors(Some(preset), |batch| Some(batch / 2))
        .find(|&batch| batch <= units)
        .map_or(2, |b| b.max(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite_file::data_source::Data;
    use crate::suite_file::presets::PRESETS;
    use crate::suite_file::suite::Suite;

    fn suite(text: &str) -> Suite {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.toml");
        std::fs::write(&path, text).unwrap();
        Suite::load(path.to_str().unwrap(), &[]).unwrap()
    }

    fn photographs(units: usize, side: Option<usize>) -> OwnData {
        OwnData { path: "/data/own.h5".into(), kind: SetKind::Photographs, units, side }
    }

    #[test]
    fn without_data_it_is_the_preset_under_another_name() {
        for (name, text) in PRESETS.into_iter().filter(|(_, text)| !text.contains("[[data]]")) {
            let own = suite(&new_suite(name, "own", None).unwrap());
            assert_eq!(own.name, "own");
            assert_eq!(Suite { name: name.to_owned(), ..own }, suite(text), "{name}");
        }
    }

    #[test]
    fn own_photographs_are_trained_on_for_as_many_steps() {
        for (units, side, batch, set_side) in [
            (50_000, Some(32), 128, None),
            (300, Some(224), 128, Some(64)),
            (40, None, 32, Some(64)),
            (3, Some(30), 2, Some(32)),
        ] {
            let data = photographs(units, side);
            let own = suite(&new_suite(data.preset(), "own", Some(&data)).unwrap());
            let Data::Pack { file, side, .. } = &own.data else { panic!("{:?}", own.data) };
            assert_eq!((file.as_str(), *side, own.train.batch), ("/data/own.h5", set_side, batch));
            let steps = own.train.epochs as usize * units / batch;
            assert!((STEPS..STEPS + 400).contains(&steps), "{units}: {steps}");
            assert_eq!((own.table, own.title.as_str(), own.notes.len()), (None, "own", 0));
            assert_eq!(
                own.methods,
                suite(PRESETS.iter().find(|(name, _)| *name == data.preset()).unwrap().1).methods
            );
        }
    }

    #[test]
    fn data_is_for_presets_with_one_set() {
        let refusal = new_suite("paper-reduced", "own", Some(&photographs(9, None))).unwrap_err();
        assert!(refusal.to_string().contains("several data sets"), "{refusal}");
    }
}
