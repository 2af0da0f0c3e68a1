//! The engine as one rank of an MPI launch.

mod background;
mod calls;
mod cuda_aware;
mod nccl;
mod world;

use std::time::Duration;

use eqr_bench::cluster::watchdog;
use eqr_bench::failure;
use eqr_models::Collective;
use mpi::Threading;
use world::World;

fn main() {
    // also while MPI starts: there is nothing to abort then but this process, which takes the launcher's others with it
    watchdog::start(|why| {
        let text =
            format!("error: {why}; ending the job\nhint: the same command again goes on from the last checkpoint\n");
        eprint!("{text}");
        // the main thread sits in MPI: should the abort wait for it, the launcher still sees this process go
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(5));
            std::process::abort();
        });
        world::abort_job(failure::RUN_FAILED);
    });
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Serialized) else {
        eprintln!("error: MPI was initialised before this program started");
        std::process::exit(failure::RUN_FAILED);
    };
    let world = World::new(universe.world(), threading);
    if threading < Threading::Serialized && world.size() > 1 && world.rank() == 0 {
        eprintln!(
            "note: this MPI serves the main thread alone: gradients are summed after the backward pass, not beside it"
        );
    }
    failure::end_on_panic(format!("rank {} of {}: ", world.rank(), world.size()), world::abort_job);
    let code = eqr_bench::cli::main(&world);
    drop(world);
    drop(universe);
    std::process::exit(code);
}
