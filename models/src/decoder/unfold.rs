//! One vector of an image becomes a vector at every position.

use tch::Tensor;

use super::config::Unfold;
use crate::arena::Arena;
use crate::init::Init;
use crate::registry::{Param, ParameterGroup, Registry};

/// z (n, d) -> (n, T, d).
#[derive(Clone, Copy, Debug)]
pub(super) enum Unfolding {
    /// The same vector at each of T positions.
    Same(i64),
    /// z * G_t: G (T, d).
    Gates(Param),
    /// W_t z: the maps W_t (d, d) below each other, (T d, d).
    Linear(Param),
}

impl Unfolding {
    /// Registers what the unfolding learns, under `unfold`.
    pub(super) fn new(reg: &mut Registry, unfold: Unfold, tokens: i64, dim: i64) -> Self {
        let mut weight = |shape: &[i64], init| {
            reg.scope("unfold", |reg| reg.add(ParameterGroup::PerSample, "weight", shape, init))
        };
        match unfold {
            Unfold::None => Unfolding::Same(tokens),
            Unfold::Gates => Unfolding::Gates(weight(&[tokens, dim], Init::Normal(1.0))),
            Unfold::Linear => Unfolding::Linear(weight(&[tokens * dim, dim], Init::xavier(dim, dim))),
        }
    }

    /// z (n, d) -> (n, T, d).
    pub(super) fn forward(self, p: &Arena, z: &Tensor) -> Tensor {
        let (n, dim) = z.size2().expect("one vector an image");
        match self {
            Unfolding::Same(tokens) => z.unsqueeze(1).expand([n, tokens, dim], false),
            Unfolding::Gates(gates) => z.unsqueeze(1) * p.get(gates),
            Unfolding::Linear(maps) => z.linear::<&Tensor>(p.get(maps), None).view([n, -1, dim]),
        }
    }
}
