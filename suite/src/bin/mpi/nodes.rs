//! The nodes of a launch: which ranks share a machine, and the communicators within and between machines.

use eqr_bench::cluster::watchdog::waiting;
use eqr_models::collective::NodePlace;
use mpi::topology::{Color, Rank, SimpleCommunicator};
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

/// The nodes, numbered in the order of their first ranks.
pub struct Nodes {
    /// The ranks of this node, in the order of the launch.
    own: SimpleCommunicator,
    /// The first ranks of all nodes, by node; `None` on other ranks.
    leaders: Option<SimpleCommunicator>,
    /// The node of each rank.
    of_ranks: Vec<usize>,
    rank: usize,
}

impl Nodes {
    /// The nodes of the ranks of `comm`, all of which must call this.
    pub fn find(comm: &SimpleCommunicator) -> Self {
        waiting(|| {
            let own = comm.split_shared(comm.rank());
            let mut leader = comm.rank();
            own.process_at_rank(0).broadcast_into(&mut leader);
            let mut of_ranks: Vec<Rank> = vec![0; comm.size() as usize];
            comm.all_gather_into(&leader, &mut of_ranks[..]);
            let color = if own.rank() == 0 { Color::with_value(0) } else { Color::undefined() };
            let leaders = comm.split_by_color(color);
            Nodes { own, leaders, of_ranks: numbered(&of_ranks), rank: comm.rank() as usize }
        })
    }

    /// The ranks of this node.
    pub fn own(&self) -> &SimpleCommunicator {
        &self.own
    }

    /// The first ranks of all nodes, if this rank is one.
    pub fn leaders(&self) -> Option<&SimpleCommunicator> {
        self.leaders.as_ref()
    }

    /// The place of this rank.
    pub fn place(&self) -> NodePlace {
        NodePlace {
            rank: self.own.rank() as usize,
            ranks: self.own.size() as usize,
            node: self.of_ranks[self.rank],
            nodes: self.count(),
        }
    }

    /// Number of nodes.
    pub fn count(&self) -> usize {
        self.of_ranks.iter().max().map_or(0, |last| last + 1)
    }

    /// The ranks of a node, in their order.
    pub fn ranks_of(&self, node: usize) -> impl Iterator<Item = usize> {
        self.of_ranks.iter().enumerate().filter(move |(_, of)| **of == node).map(|(rank, _)| rank)
    }
}

/// Numbers the nodes that are given by their first ranks.
fn numbered(leaders: &[Rank]) -> Vec<usize> {
    let mut nodes = leaders.to_vec();
    nodes.sort_unstable();
    nodes.dedup();
    leaders.iter().map(|leader| nodes.partition_point(|node| node < leader)).collect()
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn nodes_are_numbered_by_their_first_ranks() {
        assert_eq!(numbered(&[0, 0, 2, 2]), [0, 0, 1, 1]);
        assert_eq!(numbered(&[0, 1, 0, 1, 4]), [0, 1, 0, 1, 2]);
    }
}
