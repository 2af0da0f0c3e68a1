//! The engine as one rank of an MPI launch.

mod nccl;
mod world;

use std::time::Duration;

use eqr_bench::watchdog;
use eqr_models::Collective;
use mpi::Threading;
use world::World;

fn main() {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        eprintln!("error: MPI was initialised before this program started");
        std::process::exit(3);
    };
    let world = World::new(universe.world());
    // a rank that panics must not leave the others waiting
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        world::abort_job(3);
    }));
    let (rank, size) = (world.rank(), world.size());
    watchdog::start(move |seconds| {
        eprintln!("rank {rank} of {size}: error: another rank has not answered for {seconds} s; ending the job");
        eprintln!("hint: the same command again goes on from the last checkpoint");
        // the main thread sits in MPI: should the abort wait for it, the launcher still sees this process go
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(5));
            std::process::abort();
        });
        world::abort_job(3);
    });
    let code = eqr_bench::cli::main(&world);
    drop(universe);
    std::process::exit(code);
}
