//! A stopwatch around the ranks of a launch: where the time of the training steps goes.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use eqr_models::Collective;
use eqr_models::collective::{NodePlace, TransportError};
use eqr_models::step_stage::StepStage;
use serde::Serialize;
use tch::{Cuda, Device, Tensor};

/// Of the steps on a GPU, one in this many is timed: at the border of two stages the host must wait for the
/// device, so that a timed step is slower.
const TIMED_ON_GPUS: u64 = 8;

/// Seconds of the timed steps, by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct StepParts {
    pub(super) transforms: f64,
    pub(super) encode: f64,
    pub(super) loss: f64,
    /// Waiting for sums and gathered values of the other ranks.
    pub(super) reduce: f64,
    pub(super) optimise: f64,
}

impl StepParts {
    /// The parts of `seconds` of steps that are like the timed ones.
    pub(super) fn scaled_to(self, seconds: f64) -> StepParts {
        let StepParts { transforms, encode, loss, reduce, optimise } = self;
        let factor = seconds / (transforms + encode + loss + reduce + optimise);
        let [transforms, encode, loss, reduce, optimise] =
            [transforms, encode, loss, reduce, optimise].map(|part| part * factor);
        StepParts { transforms, encode, loss, reduce, optimise }
    }
}

/// Ranks that time the steps of a training.
pub(super) struct Stopwatch<'a> {
    ranks: &'a dyn Collective,
    device: Cell<Device>,
    steps: Cell<u64>,
    /// The stage that is timed, and when it began.
    running: Cell<Option<(StepStage, Instant)>>,
    parts: RefCell<StepParts>,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn around(ranks: &'a dyn Collective) -> Self {
        Stopwatch {
            ranks,
            device: Cell::new(Device::Cpu),
            steps: Cell::new(0),
            running: Cell::new(None),
            parts: RefCell::default(),
        }
    }

    pub(super) fn parts(&self) -> StepParts {
        *self.parts.borrow()
    }

    /// Ends what is timed and adds its time to the part of its stage, or to that of the other ranks.
    fn lap(&self, waits_for_ranks: bool) -> Option<StepStage> {
        let (stage, start) = self.running.take()?;
        if let Device::Cuda(gpu) = self.device.get() {
            Cuda::synchronize(gpu as i64);
        }
        let parts = &mut *self.parts.borrow_mut();
        let part = match stage {
            _ if waits_for_ranks => &mut parts.reduce,
            StepStage::Batch => &mut parts.transforms,
            StepStage::Encoder => &mut parts.encode,
            StepStage::Losses => &mut parts.loss,
            StepStage::Update => &mut parts.optimise,
            StepStage::Between => return Some(stage),
        };
        *part += start.elapsed().as_secs_f64();
        Some(stage)
    }

    fn start(&self, stage: Option<StepStage>) {
        self.running.set(stage.map(|stage| (stage, Instant::now())));
    }

    /// Calls the other ranks, which interrupts the stage.
    fn calling<T>(&self, call: impl FnOnce(&dyn Collective) -> T) -> T {
        let stage = self.lap(false);
        self.start(stage);
        let result = call(self.ranks);
        self.lap(true);
        self.start(stage);
        result
    }
}

impl Collective for Stopwatch<'_> {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn place_on_node(&self) -> NodePlace {
        self.ranks.place_on_node()
    }

    fn use_device(&self, device: Device) -> Result<(), TransportError> {
        self.device.set(device);
        self.ranks.use_device(device)
    }

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        self.calling(|ranks| ranks.all_reduce_sum(tensor));
    }

    fn overlaps_from(&self) -> Option<usize> {
        self.ranks.overlaps_from()
    }

    fn start_sum(&self, tensor: Tensor) {
        self.calling(|ranks| ranks.start_sum(tensor));
    }

    fn finish_sums(&self) {
        self.calling(|ranks| ranks.finish_sums());
    }

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        self.calling(|ranks| ranks.all_gather(tensor, rows))
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        self.calling(|ranks| ranks.broadcast(tensor));
    }

    fn split(&self, group: usize) -> Box<dyn Collective> {
        self.ranks.split(group)
    }

    fn barrier(&self) {
        self.calling(|ranks| ranks.barrier());
    }

    fn idle_barrier(&self) {
        self.calling(|ranks| ranks.idle_barrier());
    }

    fn transport(&self) -> String {
        self.ranks.transport()
    }

    fn begin_stage(&self, stage: StepStage) {
        self.lap(false);
        if stage == StepStage::Batch {
            self.steps.set(self.steps.get() + 1);
        }
        let one_in = if self.device.get().is_cuda() { TIMED_ON_GPUS } else { 1 };
        let is_timed = stage != StepStage::Between && self.steps.get().is_multiple_of(one_in);
        self.start(is_timed.then_some(stage));
    }

    fn abort(&self, code: i32) -> ! {
        self.ranks.abort(code)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eqr_models::Solo;

    use super::*;

    /// The pauses are lower bounds; a busy machine makes them longer, so nothing is bounded from above.
    #[test]
    fn time_goes_to_the_stage_or_to_the_ranks_and_nothing_is_timed_outside() {
        let watch = Stopwatch::around(&Solo);
        let pause = |milliseconds| std::thread::sleep(Duration::from_millis(milliseconds));
        watch.barrier();
        pause(5);
        assert_eq!(watch.parts(), StepParts::default());
        watch.begin_stage(StepStage::Batch);
        pause(10);
        watch.begin_stage(StepStage::Encoder);
        pause(20);
        watch.calling(|_| pause(40));
        pause(20);
        watch.begin_stage(StepStage::Between);
        pause(30);
        let StepParts { transforms, encode, loss, reduce, optimise } = watch.parts();
        assert!(transforms >= 0.010 && encode >= 0.040 && reduce >= 0.040, "{transforms} {encode} {reduce}");
        assert_eq!((loss, optimise), (0.0, 0.0));
        let scaled = watch.parts().scaled_to(9.0);
        let StepParts { transforms, encode, loss, reduce, optimise } = scaled;
        assert!((transforms + encode + loss + reduce + optimise - 9.0).abs() < 1e-9);
    }
}
