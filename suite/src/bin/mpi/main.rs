//! The engine as one rank of an MPI launch.

mod nccl;
mod world;

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
    let code = eqr_bench::cli::main(&world);
    drop(universe);
    std::process::exit(code);
}
