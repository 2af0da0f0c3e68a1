//! Ranks and machines: communication between ranks, the device and threads of each rank (the only folder that
//! knows CUDA), and how a job ends when it hangs or is asked to stop.

pub mod absent_ranks;
pub mod accelerator;
pub mod agreement;
pub mod allocator;
pub mod compute_options;
pub mod cores;
pub mod device_calls;
pub mod device_kind;
pub mod energy;
pub mod gpu_signs;
pub mod gpu_uuid;
pub mod host;
pub mod kernels;
pub mod launch;
pub mod matrix_product;
pub mod micro_batch;
pub mod missing_gpu;
pub mod next_rank;
pub mod nvml;
pub mod one_voice;
pub mod patience;
pub mod powercap;
pub mod precision;
pub mod process;
pub mod signal_mask;
pub mod slurm_energy;
pub mod standstill;
pub mod stop_file;
pub mod stop_signal;
pub mod threads;
pub mod urgent;
pub mod watchdog;
pub mod worker;
