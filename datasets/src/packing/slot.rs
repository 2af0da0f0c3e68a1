//! Slots: the places in a pack that members fill.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::sources::{PackPlan, Sample, Source};

/// The role of a member in its sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Image,
    Mask,
    Latents,
}

/// A place in the pack: split, sample and role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Slot(pub usize, pub usize, pub Role);

/// A slot that a member fills.
pub(super) struct SlotUse {
    pub slot: Slot,
    /// Index of the image in the member, for members with several images.
    pub record: Option<usize>,
}

/// The slots of every member that the plan needs.
pub(super) fn slots_by_member<'a>(source: &Source, plan: &'a PackPlan) -> HashMap<&'a str, Vec<SlotUse>> {
    let mut uses: HashMap<&str, Vec<SlotUse>> = HashMap::new();
    for (slot, name) in all_slots(plan) {
        let numbered = name.rsplit_once('#').filter(|_| source.records.is_some());
        let numbered = numbered.and_then(|(member, record)| Some((member, record.parse().ok()?)));
        let (member, record) = numbered.map_or((name, None), |(member, record)| (member, Some(record)));
        uses.entry(member).or_default().push(SlotUse { slot, record });
    }
    uses
}

/// Every slot of the plan with its member, in the order of the plan.
pub(super) fn all_slots(plan: &PackPlan) -> impl Iterator<Item = (Slot, &str)> {
    let samples = plan.splits.iter().enumerate().flat_map(|(split, (_, samples))| {
        samples.iter().enumerate().map(move |(index, sample)| (split, index, sample))
    });
    samples.flat_map(|(split, index, sample)| {
        members(sample)
            .into_iter()
            .filter_map(move |(role, member)| Some((Slot(split, index, role), member?)))
    })
}

/// The members of a sample by role.
fn members(sample: &Sample) -> [(Role, Option<&str>); 3] {
    let Sample { image, mask, latents, .. } = sample;
    [(Role::Image, Some(image)), (Role::Mask, mask.as_deref()), (Role::Latents, latents.as_deref())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set_kind::SetKind;
    use crate::sources::{ADE20K, CIFAR10};

    fn plan(samples: Vec<Sample>) -> PackPlan {
        PackPlan {
            name: "tiny".into(),
            kind: SetKind::Photographs,
            class_names: vec!["a".into()],
            views: None,
            splits: vec![("train".into(), samples)],
            missing: Vec::new(),
            notes: serde_json::Value::Null,
        }
    }

    fn sample(image: &str, mask: Option<&str>) -> Sample {
        Sample { image: image.into(), label: 0, mask: mask.map(str::to_owned), latents: None }
    }

    #[test]
    fn a_shared_member_has_all_its_slots() {
        let plan = plan(vec![sample("a.jpg", Some("mask.png")), sample("b#1.jpg", Some("mask.png"))]);
        let uses = slots_by_member(&ADE20K, &plan);
        assert_eq!(uses.len(), 3);
        let slots: Vec<Slot> = uses["mask.png"].iter().map(|used| used.slot).collect();
        assert_eq!(slots, [Slot(0, 0, Role::Mask), Slot(0, 1, Role::Mask)]);
        assert_eq!(uses["b#1.jpg"][0].record, None, "this source has one image in each member");
    }

    #[test]
    fn records_of_a_member_are_told_apart_by_their_numbers() {
        let plan = plan(vec![sample("batch#0", None), sample("batch#7", None)]);
        let uses = slots_by_member(&CIFAR10, &plan);
        let records: Vec<Option<usize>> = uses["batch"].iter().map(|used| used.record).collect();
        assert_eq!(records, [Some(0), Some(7)]);
    }
}
