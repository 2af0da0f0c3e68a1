//! Properties of an encoder: given by an option, stated by a configuration file, or usual.

use anyhow::{Result, bail};
use eqr_models::Normalisation;

use crate::encoder::neighbours::Neighbours;
use crate::run_folder::encoder_description::{Known, Origin};
use crate::suite_file::encoder_options::EncoderOptions;

/// The option, or else what `stated` finds, or else the usual value.
pub(super) fn known<T>(
    option: Option<T>,
    stated: impl FnOnce() -> Result<Option<Known<T>>>,
    usual: T,
) -> Result<Known<T>> {
    Ok(told(option, stated)?.unwrap_or_else(|| Known::new(usual, Origin::Default)))
}

/// The option, or else what `stated` finds.
pub(super) fn told<T>(
    option: Option<T>,
    stated: impl FnOnce() -> Result<Option<Known<T>>>,
) -> Result<Option<Known<T>>> {
    match option {
        Some(value) => Ok(Some(Known::new(value, Origin::Option))),
        None => stated(),
    }
}

/// Fails if a configuration file beside the weights belongs to another model.
pub(super) fn same(what: &str, found: i64, stated: Option<Known<i64>>) -> Result<()> {
    match stated {
        Some(Known { value, config, .. }) if value != found => bail!(
            "the {what} is {found}, and {} beside the file says {value}: it belongs to another model\nhint: \
             give --no-config to read no configuration file",
            config.unwrap_or_default()
        ),
        _ => Ok(()),
    }
}

/// Mean and standard deviation of the images: options, or else those of the training, or else those of the
/// configuration, or else ImageNet's.
pub(super) fn normalisation(
    recorded: Option<Normalisation>,
    options: &EncoderOptions,
    neighbours: &Neighbours,
) -> Result<[Known<[f32; 3]>; 2]> {
    let usual = Normalisation::IMAGENET;
    match recorded.filter(|_| options.mean.is_none()) {
        Some(Normalisation { mean, std }) => {
            Ok([Known::new(mean, Origin::File), Known::new(std, Origin::File)])
        }
        None => Ok([
            known(options.mean, || neighbours.mean(), usual.mean)?,
            known(options.std, || neighbours.std(), usual.std)?,
        ]),
    }
}
