//! Batches that are made ahead on a GPU's stream of their own, so that their copies and transforms run beside
//! the step before them.

use anyhow::Result;
use eqr_device::stream::{Event, Stream};
use eqr_models::step::Batch;
use tch::Device;

/// A stream besides that of the training; none without a GPU.
pub(super) struct SideStream(Option<Stream>);

/// A batch that the device may not have finished yet.
pub(super) struct PreparedBatch {
    batch: Batch,
    /// The GPU and the mark after the work that makes the batch.
    made: Option<(usize, Event)>,
}

impl SideStream {
    /// A stream whose work comes after what this thread has queued so far.
    ///
    /// # Errors
    /// An error of CUDA.
    pub(super) fn beside(device: Device) -> Result<SideStream> {
        let Device::Cuda(gpu) = device else { return Ok(SideStream(None)) };
        let stream = Stream::new(gpu)?;
        stream.wait_for(&Event::record(Stream::current(gpu)?)?)?;
        Ok(SideStream(Some(stream)))
    }

    /// The batch of `make`, whose operations are queued on this stream. The thread stays on the stream.
    ///
    /// # Errors
    /// Those of `make`; an error of CUDA.
    pub(super) fn prepare(&self, make: impl FnOnce() -> Result<Batch>) -> Result<PreparedBatch> {
        let Some(stream) = self.0 else { return Ok(PreparedBatch { batch: make()?, made: None }) };
        stream.make_current()?;
        let batch = make()?;
        Ok(PreparedBatch { batch, made: Some((stream.gpu(), Event::record(stream)?)) })
    }
}

impl PreparedBatch {
    /// The batch, for the work that this thread queues from now on.
    ///
    /// # Errors
    /// An error of CUDA.
    pub(super) fn take(self) -> Result<Batch> {
        let PreparedBatch { batch, made } = self;
        if let Some((gpu, made)) = made {
            let stream = Stream::current(gpu)?;
            stream.wait_for(&made)?;
            batch.tensors().try_for_each(|tensor| stream.keep(tensor))?;
        }
        Ok(batch)
    }
}
