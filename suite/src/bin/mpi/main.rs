//! The engine as one rank of an MPI launch.

mod background;
mod calls;
mod cuda_aware;
mod gpu_identity;
mod gpu_transport;
mod nccl;
mod nccl_join;
mod nccl_library;
mod node_sums;
mod nodes;
mod without_nccl;
mod world;

use eqr_bench::cli::CommandLine;
use eqr_bench::cluster::one_voice::Turn;
use eqr_bench::cluster::urgent::say_urgently;
use eqr_bench::cluster::{device_calls, launch, watchdog};
use eqr_bench::console::say_aloud;
use eqr_bench::failure::{self, out_of_threads};
use eqr_models::Collective;
use mpi::Threading;
use world::World;

fn main() {
    failure::survive_file_size_limit().expect("a signal that can be handled");
    let command = CommandLine::read().expect("signals that can be handled");
    // before MPI starts: while it starts, ending this process makes the launcher end the others
    let turn = Turn::of_this_rank();
    let watching = watchdog::start(move |reason| {
        if !turn.another_rank_ends_the_job() {
            say_urgently(format_args!(
                "error: {reason}; ending the job\nhint: the same command continues from the last checkpoint"
            ));
        }
        device_calls::abort_all();
        world::abort_job(failure::RUN_FAILED);
    });
    if let Err(error) = watching {
        say_aloud(&format!("error: {}", out_of_threads::message(&error.to_string())));
        std::process::exit(failure::RUN_FAILED);
    }
    if let Some(note) = launch::note_before_mpi() {
        say_aloud(&note);
    }
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Serialized) else {
        eprintln!("error: MPI was initialised before this program started");
        std::process::exit(failure::RUN_FAILED);
    };
    let world = World::new(universe.world(), threading);
    if threading < Threading::Serialized && world.size() > 1 && world.rank() == 0 {
        eprintln!(
            "note: this MPI allows calls only from the main thread: gradients are summed after the \
             backward pass, not during it"
        );
    }
    failure::end_on_panic(format!("rank {} of {}: ", world.rank(), world.size()), world::abort_job);
    let code = command.run(&world);
    drop(world);
    drop(universe);
    std::process::exit(code);
}
