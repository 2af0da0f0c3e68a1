//! What the ranks of a run agree on, and what each of them computes with.

use std::ffi::CString;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::anyhow;
use eqr_models::{Collective, Compute};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::failure::{BAD_INPUT, Failure, Outcome, RUN_FAILED};
use crate::provenance::host;

/// A rank and what it computes with.
pub struct Worker<'a> {
    /// The other ranks.
    pub ranks: &'a dyn Collective,
    /// This rank's device.
    pub device: Device,
    /// Threads of a CPU rank.
    pub threads: usize,
    /// Pairs that a rank encodes at a time; all of its part of the batch where unset.
    pub micro_batch: Option<i64>,
}

/// Number type of a run as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU and on a CPU with AVX512-BF16 or AMX, else fp32.
    #[default]
    Auto,
    /// fp32, TF32 off.
    Fp32,
    /// bf16 compute, fp32 master weights, statistics and losses.
    Bf16,
}

impl Precision {
    /// What is computed in on `device`.
    pub fn resolve(self, device: Device) -> Compute {
        match self {
            Precision::Fp32 => Compute::F32,
            Precision::Bf16 => Compute::Bf16,
            Precision::Auto if device != Device::Cpu || cpu_has_bf16() => Compute::Bf16,
            Precision::Auto => Compute::F32,
        }
    }
}

/// Whether the CPU multiplies bf16 in hardware.
pub fn cpu_has_bf16() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "avx512_bf16" || flag == "amx_bf16")
}

/// Cores that this process may run on.
pub fn allowed_cores() -> usize {
    core_mask().iter().map(|word| word.count_ones() as usize).sum()
}

/// Cores that the machine has.
pub fn online_cores() -> usize {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

/// 32 cores a word: exact as a float.
type CoreMask = [u32; 32];

/// The cores that this process may run on, as the kernel says.
fn core_mask() -> CoreMask {
    // SAFETY: cpu_set_t is plain bits, for which zeros are a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the given size into `set`.
    let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0;
    let mut mask = CoreMask::default();
    for (core, word) in (0..1024).map(|core| (core, core / 32)) {
        // SAFETY: cpu_set_t holds 1024 cores.
        if failed && core == 0 || unsafe { libc::CPU_ISSET(core, &set) } {
            mask[word] |= 1 << (core % 32);
        }
    }
    mask
}

/// Threads of rank `me`: its cores, each shared by the ranks of its node that may run on it too. A launcher that binds every rank to a part
/// of the node, one that binds none, and a container that shows a part of the machine all come out right.
fn fair_threads(ranks: &[(u32, CoreMask)], me: usize) -> usize {
    let (node, mine) = ranks[me];
    let holds = |mask: &CoreMask, core: usize| mask[core / 32] >> (core % 32) & 1 == 1;
    let sharers = |core| ranks.iter().filter(|(other, mask)| *other == node && holds(mask, core)).count();
    let share: f64 = (0..1024).filter(|&core| holds(&mine, core)).map(|core| 1.0 / sharers(core) as f64).sum();
    ((share + 1e-9) as usize).max(1)
}

/// [`fair_threads`] of this rank, or its part of a container's quota of processor time where that is less.
fn default_threads(ranks: &dyn Collective) -> usize {
    let mut row = vec![f64::from(short_hash(&host()))];
    row.extend(core_mask().map(f64::from));
    let all = ranks.all_gather(&Tensor::from_slice(&row).unsqueeze(0), &vec![1; ranks.size()]);
    let all: Vec<Vec<f64>> = Vec::try_from(all).expect("one row a rank");
    let places: Vec<(u32, CoreMask)> =
        all.iter().map(|row| (row[0] as u32, std::array::from_fn(|word| row[1 + word] as u32))).collect();
    let node = places[ranks.rank()].0;
    let neighbours = places.iter().filter(|place| place.0 == node).count();
    let quota = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let limit = if quota < allowed_cores() { (quota / neighbours).max(1) } else { usize::MAX };
    fair_threads(&places, ranks.rank()).min(limit)
}

/// 32 bits of a text's hash: exact as a float.
fn short_hash(text: &str) -> u32 {
    u32::from_le_bytes(blake3::hash(text.as_bytes()).as_bytes()[..4].try_into().expect("four bytes"))
}

/// Keeps freed memory for the next step: by default glibc gives large blocks back to the kernel at once and every step pays for its
/// pages anew (11% of a training step of the quickstart).
fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_MMAP_THRESHOLD, 1 << 30), (libc::M_TRIM_THRESHOLD, i32::MAX), (libc::M_TOP_PAD, 64 << 20)]
    {
        // SAFETY: sets an integer of the allocator; called before this program starts threads.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives what was kept of freed memory back to the kernel: what follows the trainings asks for it in other ways than they did.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator's own function; it touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A launcher's number for this process among those of the node, and how many there are.
pub fn local_rank() -> (usize, usize) {
    let read = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
    let rank = read(&["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"]).unwrap_or(0);
    let size = read(&["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"]).unwrap_or(1);
    (rank, size.max(1))
}

/// Loads the CUDA half of libtorch where the libtorch in use has one; then `tch::Cuda` sees the GPUs. The engine is linked
/// without it so that one build serves both kinds of machine.
///
/// # Errors
/// The loader's message where the library is there and does not load.
pub fn load_cuda() -> Result<bool, String> {
    let Some(root) = std::env::var_os("EQR_LIBTORCH") else { return Ok(false) };
    let library = Path::new(&root).join("lib/libtorch_cuda.so");
    if !library.exists() {
        return Ok(false);
    }
    let name = CString::new(library.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: `name` is a NUL-terminated path; libtorch_cuda's initialisers only register kernels with the loaded libtorch.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: dlerror returns a NUL-terminated message of the failed dlopen of this thread.
        let text = unsafe { std::ffi::CStr::from_ptr(libc::dlerror()) };
        return Err(text.to_string_lossy().into_owned());
    }
    Ok(true)
}

/// The device of rank `local` of `local_size` on a node with `gpus` GPUs.
fn device(gpus: usize, local: usize, local_size: usize) -> anyhow::Result<Device> {
    // a launcher may say the rank and not how many there are
    let local_size = local_size.max(local + 1);
    match gpus {
        0 => Ok(Device::Cpu),
        _ if local_size > gpus => {
            Err(anyhow!("{local_size} ranks on this node, {gpus} GPU(s)\nhint: start one rank a GPU"))
        }
        _ => Ok(Device::Cuda(local)),
    }
}

impl<'a> Worker<'a> {
    /// Chooses device and threads: local rank to GPU, or the only one that a launcher left visible; threads by [`fair_threads`].
    ///
    /// # Errors
    /// libtorch_cuda that does not load, or fewer GPUs than local ranks.
    pub fn start(ranks: &'a dyn Collective, threads: Option<NonZeroUsize>) -> Outcome<Self> {
        keep_freed_memory();
        let loaded = load_cuda().map_err(|text| {
            anyhow!("libtorch_cuda.so does not load: {text}\nhint: point LIBTORCH at a libtorch 2.11 whose CUDA libraries are complete")
        });
        agree(ranks, loaded)?;
        let (local, local_size) = local_rank();
        let gpus = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        // a launcher may show each rank its own GPU alone
        let own_gpu = gpus == 1 && std::env::var_os("CUDA_VISIBLE_DEVICES").is_some();
        let device = agree(ranks, if own_gpu { Ok(Device::Cuda(0)) } else { device(gpus, local, local_size) })?;
        ranks
            .use_device(device)
            .map_err(|text| Failure::run(anyhow!("the GPUs' collective cannot be set up: {text}")))?;
        let fair = default_threads(ranks);
        let threads = threads.map_or(fair, NonZeroUsize::get);
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        // images are decoded by as many; a pool that a caller has set up already stays
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        Ok(Worker { ranks, device, threads, micro_batch: None })
    }

    /// The same rank among the `ranks` of its group.
    ///
    /// # Errors
    /// A transport among GPUs that cannot be set up.
    pub fn among<'b>(&self, ranks: &'b dyn Collective) -> Outcome<Worker<'b>> {
        ranks
            .use_device(self.device)
            .map_err(|text| Failure::run(anyhow!("the GPUs' collective cannot be set up: {text}")))?;
        Ok(Worker { ranks, device: self.device, threads: self.threads, micro_batch: self.micro_batch })
    }

    /// Whether this rank speaks and writes.
    pub fn leads(&self) -> bool {
        self.ranks.rank() == 0
    }
}

/// Refuses a `value` that the ranks do not hold alike: they would take different steps and wait for each other for ever.
///
/// # Errors
/// Says that `what` differs, exit code 2.
pub fn same_everywhere(ranks: &dyn Collective, what: &str, value: &str) -> Outcome<()> {
    let all = ranks.all_gather(&Tensor::from_slice(&[f64::from(short_hash(value))]), &vec![1; ranks.size()]);
    let all: Vec<f64> = Vec::try_from(all).expect("one number a rank");
    if all.iter().all(|other| *other == all[0]) {
        return Ok(());
    }
    let hint = "hint: --out and --data-root must show the same files to every rank";
    Err(Failure::bad_input(anyhow!("{what} differs between the ranks\n{hint}")))
}

/// [`agree`] in the middle of the work.
///
/// # Errors
/// The failing ranks' messages, exit code 3.
pub fn agree_in_run<T>(ranks: &dyn Collective, outcome: anyhow::Result<T>) -> Outcome<T> {
    agree(ranks, outcome).map_err(|failure| Failure { code: RUN_FAILED, ..failure })
}

/// The numbers of all ranks, any number each, rank by rank; every rank must ask.
pub fn gathered(ranks: &dyn Collective, own: &[f64]) -> Vec<f64> {
    let counts = ranks.all_gather(&Tensor::from_slice(&[own.len() as f64]), &vec![1; ranks.size()]);
    let rows: Vec<i64> = Vec::<f64>::try_from(counts).expect("a count a rank").iter().map(|&n| n as i64).collect();
    Vec::try_from(ranks.all_gather(&Tensor::from_slice(own), &rows)).expect("numbers")
}

/// The texts of all ranks, in their order; every rank must ask.
pub fn texts(ranks: &dyn Collective, own: &str) -> Vec<String> {
    // as f64: the one number type that every collective carries exactly
    let bytes: Vec<f64> = own.bytes().map(f64::from).collect();
    let length = Tensor::from_slice(&[bytes.len() as f64]);
    let lengths = ranks.all_gather(&length, &vec![1; ranks.size()]);
    let lengths: Vec<f64> = Vec::try_from(lengths).expect("one length a rank");
    let rows: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
    let all: Vec<f64> = Vec::try_from(ranks.all_gather(&Tensor::from_slice(&bytes), &rows)).expect("gathered bytes");
    let mut rest = all.as_slice();
    let text = |&length: &i64| {
        let (mine, others) = rest.split_at(length as usize);
        rest = others;
        String::from_utf8_lossy(&mine.iter().map(|&byte| byte as u8).collect::<Vec<_>>()).into_owned()
    };
    rows.iter().map(text).collect()
}

/// Rank 0's number, on every rank; exact up to 2^53.
pub fn from_leader(ranks: &dyn Collective, own: u64) -> u64 {
    let mut number = Tensor::from_slice(&[own as f64]);
    ranks.broadcast(&mut number);
    number.double_value(&[0]) as u64
}

/// `Ok` on every rank or the same `Err` on every rank: the first failing rank's message. No rank is left waiting for one that gave
/// up.
///
/// # Errors
/// The failing ranks' messages, exit code 2.
pub fn agree<T>(ranks: &dyn Collective, outcome: anyhow::Result<T>) -> Outcome<T> {
    if ranks.size() == 1 {
        return outcome.map_err(Failure::bad_input);
    }
    let text = outcome.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    let texts = texts(ranks, &text);
    if texts.iter().all(String::is_empty) {
        return outcome.map_err(Failure::bad_input);
    }
    let mut messages: Vec<(Vec<usize>, String)> = Vec::new();
    for (rank, message) in texts.into_iter().enumerate().filter(|(_, message)| !message.is_empty()) {
        match messages.iter_mut().find(|(_, known)| *known == message) {
            Some((who, _)) => who.push(rank),
            None => messages.push((vec![rank], message)),
        }
    }
    let (who, message) = messages.swap_remove(0);
    let error = if who.len() == ranks.size() {
        anyhow!("{message}")
    } else {
        anyhow!("rank {} of {}: {message}", who[0], ranks.size())
    };
    Err(Failure { error, code: BAD_INPUT, agreed: true })
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::{CoreMask, device, fair_threads};

    #[test]
    fn every_local_rank_has_a_gpu_of_its_own_or_is_refused() {
        assert_eq!(device(0, 3, 4).unwrap(), Device::Cpu);
        assert_eq!(device(4, 3, 4).unwrap(), Device::Cuda(3));
        for (gpus, local, local_size) in [(2, 0, 3), (2, 2, 1)] {
            let text = device(gpus, local, local_size).unwrap_err().to_string();
            assert!(text.contains("3 ranks on this node, 2 GPU(s)") && text.contains("hint:"), "{text}");
        }
    }

    fn cores(range: std::ops::Range<usize>) -> CoreMask {
        let mut mask = CoreMask::default();
        range.for_each(|core| mask[core / 32] |= 1 << (core % 32));
        mask
    }

    #[test]
    fn ranks_share_the_cores_they_may_run_on() {
        // a container that shows 2 of 64 cores to both ranks
        assert_eq!(fair_threads(&[(7, cores(3..5)), (7, cores(3..5))], 0), 1);
        // bound to a part each: all of it
        assert_eq!(fair_threads(&[(7, cores(0..16)), (7, cores(16..32))], 1), 16);
        // two ranks a socket
        let sockets = [(7, cores(0..24)), (7, cores(24..48)), (7, cores(0..24)), (7, cores(24..48))];
        assert_eq!(fair_threads(&sockets, 2), 12);
        // other nodes do not count, and a crowded core still gives a thread
        assert_eq!(fair_threads(&[(7, cores(0..40)), (8, cores(0..40))], 0), 40);
        assert_eq!(fair_threads(&[(7, cores(0..1)), (7, cores(0..1)), (7, cores(0..1))], 2), 1);
    }
}
