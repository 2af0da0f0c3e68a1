//! How ranks that compute on a GPU each exchange tensors: NCCL among all of them, or NCCL within each node
//! and MPI between the nodes.

use std::sync::Once;

use eqr_bench::cluster::agreement::gather;
use eqr_bench::console::say_aloud;
use eqr_models::Collective;
use eqr_models::collective::TransportError;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use serde::{Deserialize, Serialize};

use crate::nccl::Nccl;
use crate::nccl_join::join;
use crate::nccl_library::NcclLibrary;
use crate::nodes::Nodes;

/// The variable that keeps NCCL within nodes.
const VARIABLE: &str = "EQR_NCCL_SCOPE";

/// Which ranks NCCL connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Scope {
    /// All, if that works.
    AllRanks,
    /// Those of each node.
    Node,
}

/// NCCL's communicator of this rank.
pub enum GpuTransport {
    /// All ranks are in it.
    AllRanks(Nccl),
    /// The ranks of this node are in it.
    Node(Nccl),
}

impl GpuTransport {
    /// Connects the GPUs of the ranks of `comm`, which are those of `ranks`; all must call this. Where NCCL
    /// does not connect nodes, that is said, and it connects the ranks of each node.
    ///
    /// # Errors
    /// An unknown scope; NCCL does not connect the ranks of a node.
    pub fn connect(
        ranks: &dyn Collective,
        (comm, nodes): (&SimpleCommunicator, &Nodes),
        library: &'static NcclLibrary,
        gpu: usize,
    ) -> Result<Self, TransportError> {
        let scope = agreed_scope(ranks).map_err(TransportError::Refused)?;
        if scope == Scope::AllRanks || nodes.count() == 1 {
            match join(ranks, library, comm, gpu) {
                Ok(nccl) => return Ok(GpuTransport::AllRanks(nccl)),
                Err(cause) if nodes.count() == 1 => return Err(failed(&cause)),
                Err(cause) => note(&cause, nodes.count()),
            }
        }
        join(ranks, library, nodes.own(), gpu).map(GpuTransport::Node).map_err(|cause| failed(&cause))
    }
}

fn failed(cause: &str) -> TransportError {
    TransportError::Failed(format!(
        "NCCL does not connect the GPUs of the ranks: {cause}\n\
         hint: NCCL_DEBUG=INFO says more; EQR_NCCL=0 sums over MPI instead"
    ))
}

/// Says once, on rank 0 of the launch, that NCCL does not connect the nodes.
fn note(cause: &str, nodes: usize) {
    static SAID: Once = Once::new();
    if SimpleCommunicator::world().rank() == 0 {
        SAID.call_once(|| {
            say_aloud(&format!(
                "note: NCCL does not connect the {nodes} nodes ({cause}): gradients are summed by NCCL \
                 within each node and over MPI between them, not during the backward pass\n\
                 hint: NCCL_DEBUG=INFO says more, NCCL_SOCKET_IFNAME names the network; {VARIABLE}=node does \
                 not try"
            ));
        });
    }
}

/// The scope of all ranks: that of a node, if any is told so.
fn agreed_scope(ranks: &dyn Collective) -> Result<Scope, String> {
    let value = std::env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned());
    let scopes: Vec<Scope> =
        gather(ranks, &scope(value.as_deref())).into_iter().collect::<Result<_, String>>()?;
    Ok(if scopes.contains(&Scope::Node) { Scope::Node } else { Scope::AllRanks })
}

fn scope(value: Option<&str>) -> Result<Scope, String> {
    match value {
        None | Some("") => Ok(Scope::AllRanks),
        Some("node") => Ok(Scope::Node),
        Some(other) => Err(format!(
            "{VARIABLE}={other}: not a scope of NCCL\n\
             hint: {VARIABLE}=node keeps it within nodes; unset, it connects all ranks if it can"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, scope};

    #[test]
    fn one_word_keeps_nccl_within_nodes() {
        assert_eq!(scope(None), Ok(Scope::AllRanks));
        assert_eq!(scope(Some("")), Ok(Scope::AllRanks));
        assert_eq!(scope(Some("node")), Ok(Scope::Node));
        let text = scope(Some("rack")).unwrap_err();
        assert!(text.starts_with("EQR_NCCL_SCOPE=rack: ") && text.contains("\nhint: "), "{text}");
    }
}
