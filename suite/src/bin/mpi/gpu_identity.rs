//! Whether two ranks compute on one GPU, which would be slow and which NCCL refuses.

use eqr_bench::cluster::gpu_uuid::gpu_uuid;
use serde::{Deserialize, Serialize};

/// The GPU of a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuIdentity {
    /// Name of the machine.
    pub host: String,
    /// The driver's identity of the GPU, or of the part of one (MIG); `None` if the driver does not say it.
    pub uuid: Option<[u8; 16]>,
}

impl GpuIdentity {
    /// The identity of a GPU of this process.
    pub fn of(host: String, gpu: usize) -> Self {
        GpuIdentity { host, uuid: gpu_uuid(gpu) }
    }
}

/// The message for two ranks on one GPU, if there are any.
pub fn shared_gpu(of_ranks: &[GpuIdentity]) -> Option<String> {
    let same = |(rank, own): (usize, &GpuIdentity)| {
        let other = of_ranks[..rank].iter().position(|other| other == own && own.uuid.is_some())?;
        Some(format!(
            "ranks {other} and {rank} on {} have the same GPU\n\
             hint: start one rank per GPU, and show each rank all GPUs of its node or one of its own \
             (CUDA_VISIBLE_DEVICES)",
            own.host
        ))
    };
    of_ranks.iter().enumerate().find_map(same)
}

#[cfg(test)]
mod tests {
    use super::{GpuIdentity, shared_gpu};

    #[test]
    fn only_one_gpu_of_one_machine_is_shared() {
        let own = |host: &str, id: u8| GpuIdentity { host: host.to_owned(), uuid: Some([id; 16]) };
        let unknown = GpuIdentity { host: "a".to_owned(), uuid: None };
        assert_eq!(shared_gpu(&[own("a", 0), own("a", 1), own("b", 0)]), None);
        assert_eq!(shared_gpu(&[unknown.clone(), unknown]), None);
        let text = shared_gpu(&[own("b", 0), own("a", 0), own("a", 1), own("a", 0)]).unwrap();
        assert!(text.starts_with("ranks 1 and 3 on a have the same GPU\nhint: "), "{text}");
    }
}
