//! A transfer cell: a row's encoder, or its labelled features, on another data set.

use anyhow::Result;
use eqr_models::{MethodKind, Solo};
use eqr_probes::logistic::LogisticConfig;
use eqr_probes::transfer::{TransferData, transfer};

use crate::encoder::pixel_pca::PixelPca;
use crate::encoder::representation::FeatureEncoder;
use crate::measure::feature_file::FeatureFile;
use crate::measure::transfer::{ImageEncoder, transfer_data, values};
use crate::run::context::RunContext;
use crate::run::encoders::{external_encoder, trained_network};
use crate::run::measurements::MeasuredRow;
use crate::run_folder::metric::MeasuredValue;

/// The accuracies on the suite's transfer set at position `set`.
pub(super) fn measure(context: &RunContext, row: &MeasuredRow, set: usize) -> Result<Vec<MeasuredValue>> {
    let data = data(context, row, set)?;
    Ok(values(&transfer(&data, &LogisticConfig::default(), &Solo, &mut |_, _| {})?))
}

fn data(context: &RunContext, row: &MeasuredRow, set: usize) -> Result<TransferData> {
    let device = context.worker.device;
    let (pack, set) = (&context.prepared.downstream.transfer[set], &context.suite().transfer[set]);
    if let Some(features) = row.transfer_features(set) {
        return FeatureFile::open(features)?.transfer_data(device);
    }
    match row {
        MeasuredRow::Trained(run) => {
            let encoder: Box<dyn FeatureEncoder> = match run.row.kind {
                MethodKind::PixelPca { components } => {
                    Box::new(PixelPca::fit(&context.train, components, run.seed)?)
                }
                _ => Box::new(trained_network(context, run, None)?.0),
            };
            let (side, normalisation) = (context.prepared.data.side, context.train.normalisation());
            transfer_data(
                pack,
                ImageEncoder { encoder: &*encoder, side, normalisation, device },
                &set.preparation,
            )
        }
        MeasuredRow::External(row) => {
            let encoder = external_encoder(context, row, None)?;
            transfer_data(pack, ImageEncoder::frozen(&encoder, device), &set.preparation)
        }
    }
}
