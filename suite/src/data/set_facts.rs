//! What is known of a suite's data set before its images are read, and whether the suite can use it.

use anyhow::{Context, Result, bail, ensure};
use eqr_datasets::solids::{CLASS_COUNT, SolidsSpec};
use eqr_datasets::{Pack, SetKind, known_image_count};
use eqr_models::methods::PairMode;

use crate::suite_file::data_source::Data;
use crate::suite_file::suite::Suite;

/// A data set before its images are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFacts {
    /// Name of the set.
    pub name: String,
    /// Where it stands, for messages: the pack's path, or the key of the set that is rendered.
    pub place: String,
    /// Photographs or renders.
    pub kind: SetKind,
    /// Side of the images that the network takes, in pixels.
    pub side: usize,
    /// Number of objects or images in the training split.
    pub units: usize,
    /// Number of classes.
    pub classes: usize,
    /// Smallest number of views of an object; 2 for photographs, which are transformed.
    pub views: usize,
}

impl SetFacts {
    /// Those of a pack.
    ///
    /// # Errors
    /// A pack without a training or test split or without labels; images of several sizes where the suite
    /// sets no side.
    pub fn of_pack(suite: &Suite, pack: &Pack) -> Result<SetFacts> {
        pack.expect_labels("`run`")?;
        let splits = [pack.expect_split("train")?, pack.expect_split("test")?];
        let views = splits.map(|split| split.scene.as_ref().map_or(2, |scene| scene.views));
        Ok(SetFacts {
            name: pack.name.clone(),
            place: pack.path().display().to_string(),
            kind: pack.kind,
            side: image_side(suite, pack)?,
            units: splits[0].units(),
            classes: pack.class_names.len(),
            views: views[0].min(views[1]),
        })
    }

    /// Those of a set that is yet to be rendered; `None` if they depend on meshes.
    ///
    /// # Errors
    /// A value out of range.
    pub fn of_solids(spec: &SolidsSpec) -> Result<Option<SetFacts>> {
        Ok(spec.training_units()?.map(|units| SetFacts {
            name: spec.name.clone(),
            place: "data.spec".to_owned(),
            kind: spec.kind,
            side: spec.side,
            units,
            classes: CLASS_COUNT,
            views: if spec.kind == SetKind::Renders { spec.views } else { 2 },
        }))
    }

    /// Checks that the suite can train on the set and measure on it.
    ///
    /// # Errors
    /// Anything that the suite needs and the data set lacks.
    pub fn ensure_fit(&self, suite: &Suite) -> Result<()> {
        self.ensure_enough_units(suite).with_context(|| self.place.clone())?;
        let is_single = |pairs| matches!(pairs, PairMode::SingleEach | PairMode::Own);
        let single = suite.method_kinds()?.into_iter().find(|kind| is_single(kind.pairs()));
        if let (Some(method), SetKind::Renders) = (single, self.kind) {
            bail!(
                "{}: methods: `{method}` trains on pairs that differ by some of the transforms, and two \
                 renders of an object differ by all of them\nhint: leave the method out, or use a set of photographs",
                self.place
            );
        }
        ensure!(
            !suite.probe.calibrate || self.kind == SetKind::Renders,
            "{}: probe.calibrate: the set has photographs, expected renders: a planted encoder looks up what an \
             image was rendered from",
            self.place
        );
        ensure!(
            suite.probe.shift.is_none() || self.kind == SetKind::Photographs,
            "{}: probe.shift: renders have the views that were rendered, and no other ranges can be drawn\n\
             hint: leave `probe.shift` out, or use a set of photographs",
            self.place
        );
        ensure!(self.views >= 2, "{}: an object of the set has one view: a pair needs two", self.place);
        Ok(())
    }

    /// A batch that is larger than the set would leave a training without a step.
    fn ensure_enough_units(&self, suite: &Suite) -> Result<()> {
        let (units, batch, name) = (self.units, suite.train.batch, self.unit_name());
        ensure!(
            units >= batch,
            "train.batch = {batch}, but the set has {units} training {name}: an epoch would have 0 steps\n\
             hint: train.batch = {} or less",
            units.max(2)
        );
        let Some(fraction) = suite.train.known_fraction else { return Ok(()) };
        let (known, needed) = (known_image_count(units, fraction), needed_known_units(suite)?);
        ensure!(
            known >= needed,
            "train.known_fraction = {fraction} leaves {known} of {units} {name}; at least {needed} are needed\n\
             hint: raise train.known_fraction, or lower train.batch"
        );
        Ok(())
    }

    fn unit_name(&self) -> &'static str {
        match self.kind {
            SetKind::Renders => "objects",
            SetKind::Photographs => "images",
        }
    }
}

/// The side that the suite sets, or else the side that all images have.
fn image_side(suite: &Suite, pack: &Pack) -> Result<usize> {
    if let Data::Pack { side: Some(side), .. } = &suite.data {
        return Ok(*side);
    }
    let (train, test) = (pack.expect_split("train")?.side(), pack.expect_split("test")?.side());
    match train {
        Some(side) if test == train => Ok(side),
        _ => bail!(
            "{}: the images are not squares of one size\nhint: set data.side, or pack them with --side",
            pack.path().display()
        ),
    }
}

/// Smallest number of known units that the methods and the probes need.
fn needed_known_units(suite: &Suite) -> Result<usize> {
    let trained = suite.method_kinds()?.iter().any(|kind| kind.trains_on_known_units());
    Ok(if trained { suite.train.batch } else { 2 })
}
