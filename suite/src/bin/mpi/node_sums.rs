//! Collectives in two levels: NCCL among the GPUs of each node, MPI among the first ranks of the nodes. For
//! networks that NCCL does not use.
//!
//! MPI waits for its calls, so the sums do not overlap with the computation.

use eqr_bench::cluster::watchdog::waiting;
use tch::Tensor;

use crate::calls::Calls;
use crate::cuda_aware::readable_by_mpi;
use crate::nccl::Nccl;
use crate::nodes::Nodes;

/// The GPUs of this node, and the nodes.
pub struct NodeSums<'a> {
    pub nccl: &'a Nccl,
    pub nodes: &'a Nodes,
}

impl NodeSums<'_> {
    /// Replaces `tensor`, contiguous on a GPU, with its sum over all ranks.
    pub fn all_reduce_sum(&self, tensor: &mut Tensor) {
        self.nccl.all_reduce_sum(tensor);
        if let Some(leaders) = self.nodes.leaders() {
            let of_node = readable_by_mpi(tensor);
            let sum = of_node.empty_like();
            waiting(|| Calls::on(leaders).sum(&of_node, &sum));
            tensor.copy_(&sum);
        }
        self.nccl.broadcast(tensor);
    }

    /// Replaces `tensor`, contiguous on a GPU, with that of the first rank.
    pub fn broadcast(&self, tensor: &mut Tensor) {
        if let Some(leaders) = self.nodes.leaders() {
            let sent = readable_by_mpi(tensor);
            waiting(|| Calls::on(leaders).broadcast(&sent));
            tensor.copy_(&sent);
        }
        self.nccl.broadcast(tensor);
    }

    /// Concatenates the ranks' tensors along dim 0 in rank order; `rows[r]` is the length of rank r's.
    pub fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        let rows_of = |node: usize| self.nodes.ranks_of(node).map(|rank| rows[rank]).collect::<Vec<i64>>();
        let of_node = self.nccl.all_gather(tensor, &rows_of(self.nodes.place().node));
        let mut shape = tensor.size();
        let row: i64 = shape[1..].iter().product();
        shape[0] = rows.iter().sum();
        // in the order of the nodes
        let all = tensor.new_empty(shape.as_slice(), (tensor.kind(), tensor.device()));
        if let Some(leaders) = self.nodes.leaders() {
            let own = readable_by_mpi(&of_node);
            let gathered = own.new_empty(shape.as_slice(), (own.kind(), own.device()));
            let length = |node| (rows_of(node).iter().sum::<i64>() * row) as usize;
            let lengths: Vec<usize> = (0..self.nodes.count()).map(length).collect();
            waiting(|| Calls::on(leaders).gather(&own, &gathered, &lengths));
            all.shallow_clone().copy_(&gathered);
        }
        self.nccl.broadcast(&all);
        self.in_rank_order(&all, rows)
    }

    /// Takes rows in the order of the nodes to the order of the ranks.
    fn in_rank_order(&self, by_node: &Tensor, rows: &[i64]) -> Tensor {
        let mut parts: Vec<(usize, Tensor)> = Vec::new();
        let mut start = 0;
        for rank in (0..self.nodes.count()).flat_map(|node| self.nodes.ranks_of(node)) {
            parts.push((rank, by_node.narrow(0, start, rows[rank])));
            start += rows[rank];
        }
        if parts.is_sorted_by_key(|&(rank, _)| rank) {
            return by_node.shallow_clone();
        }
        parts.sort_by_key(|&(rank, _)| rank);
        Tensor::cat(&parts.iter().map(|(_, part)| part).collect::<Vec<_>>(), 0)
    }
}
