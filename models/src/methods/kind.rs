//! Names of the methods. Each name is a row of the tables.

use std::fmt;
use std::str::FromStr;

use super::joint::Ssl;
use crate::error::{Error, Result};

/// A method, which is one row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MethodKind {
    /// Joint-embedding loss on the invariant half, cross-attention reconstruction from the equivariant halves
    /// (the paper).
    Ours {
        /// L_ssl; `None` uses the suite's loss ([`super::LossConfig::ssl`]).
        ssl: Option<Ssl>,
        /// The method itself or one of its controls.
        variant: OursVariant,
    },
    /// Garrido et al. 2023.
    Sie(SieKind),
    /// Only a joint-embedding loss, on the whole y.
    Ssl(Ssl),
    /// VICReg whose invariance term compares only the class tokens. Its variance and covariance terms act on
    /// all of y. A control for Ours: its patch tokens have a loss of their own, but no reconstruction.
    VicregCls,
    /// Cross-entropy on both views.
    Supervised,
    /// The untrained encoder: the floor of every table.
    RandomInit,
    /// The encoder trained to regress the parameters of all transforms, or of one: the ceiling of every
    /// equivariance table.
    Direct(Option<TransformName>),
    /// The first principal components of the pixels: a floor without a network.
    PixelPca {
        /// Number of components, at least 1.
        components: u16,
    },
}

/// The paper's method and its controls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OursVariant {
    /// The method.
    #[default]
    Full,
    /// lambda_recon = 0: shows the effect of the reconstruction.
    NoReconstruction,
    /// Reconstructs from view 1 of another pair: shows whether the task is one across views.
    OtherView1,
    /// Trains only on the units whose transforms are known, like the methods that need them (protocol section
    /// 7): shows the effect of the other units.
    KnownUnits,
}

impl OursVariant {
    const ALL: [(OursVariant, &'static str); 4] = [
        (OursVariant::Full, ""),
        (OursVariant::NoReconstruction, ", no reconstruction"),
        (OursVariant::OtherView1, ", other view 1"),
        (OursVariant::KnownUnits, ", known part"),
    ];

    /// What follows the method's name.
    fn suffix(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// A variant of SIE.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SieKind {
    /// Transforms whose parameters are given to the predictor.
    pub known: KnownTransforms,
    /// How its training pairs are made.
    pub pairs: PairMode,
    /// Whether the loss includes the variance term on the prediction.
    pub prediction_variance: bool,
    /// Widths of its heads and learning rate.
    pub recipe: SieRecipe,
}

/// Widths of SIE's heads and its learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SieRecipe {
    /// Those of the suite, as for the other methods.
    #[default]
    Suite,
    /// Those of Garrido et al. 2023: heads of width 1024 and a constant learning rate of 1e-3.
    Own,
}

/// Transforms whose parameters are given to a method.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KnownTransforms {
    /// Every transform of the suite.
    All,
    /// Only these transforms, in this order.
    Some(Vec<TransformName>),
}

/// How the two views of a training pair differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PairMode {
    /// All transforms of the suite at once.
    #[default]
    Combined,
    /// One randomly chosen transform per pair; the others are the identity.
    SingleEach,
    /// Only the transforms whose parameters the method knows; the others are the identity.
    Own,
    /// Half of the pairs as [`PairMode::Combined`], half as [`PairMode::SingleEach`], so that a regression
    /// learns from the pairs that it is measured on.
    HalfSingle,
}

/// Short transform names of the paper's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum TransformName {
    Rot,
    Color,
    Blur,
    Trans,
    Crop,
    Flip,
}

impl TransformName {
    const ALL: [(TransformName, &'static str, &'static str); 6] = [
        (TransformName::Rot, "rot", "rotation"),
        (TransformName::Color, "color", "color"),
        (TransformName::Blur, "blur", "blur"),
        (TransformName::Trans, "trans", "translation"),
        (TransformName::Crop, "crop", "crop"),
        (TransformName::Flip, "flip", "flip"),
    ];

    /// The transform's name in suites and tables.
    pub fn task(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    fn short(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn from_short(name: &str) -> Option<TransformName> {
        Self::ALL.iter().find(|(_, short, _)| *short == name).map(|(transform, ..)| *transform)
    }
}

/// Methods with fixed names. The names `Ours..`, `SIE(..)` and `Direct regression(..)` are composed.
const FIXED: [(&str, MethodKind); 7] = [
    ("VICReg", MethodKind::Ssl(Ssl::Vicreg)),
    ("VICReg(cls)", MethodKind::VicregCls),
    ("SimCLR", MethodKind::Ssl(Ssl::Simclr)),
    ("Barlow Twins", MethodKind::Ssl(Ssl::Barlow)),
    ("Supervised", MethodKind::Supervised),
    ("Random init", MethodKind::RandomInit),
    (DIRECT, MethodKind::Direct(None)),
];

const DIRECT: &str = "Direct regression";
const SINGLE_EACH: &str = ", single each time";
const OWN_PAIRS: &str = ", own pairs";
const OWN_RECIPE: &str = ", own recipe";
const NO_PREDICTION_VARIANCE: &str = ", no prediction variance";
const PIXEL_PCA: &str = "PCA of the pixels";

/// Names of the methods that a suite may list, for messages. Other sets of transforms (`SIE(blur+crop)`) and
/// combinations of the suffixes after a comma are also valid.
pub fn method_names() -> Vec<String> {
    let ours = |ssl: Option<Ssl>, variants: &[OursVariant]| {
        variants.iter().map(|&variant| MethodKind::Ours { ssl, variant }.to_string()).collect::<Vec<_>>()
    };
    let losses = FIXED.iter().filter_map(|(_, kind)| match kind {
        MethodKind::Ssl(ssl) => Some(Some(*ssl)),
        _ => None,
    });
    let ablation = [OursVariant::Full, OursVariant::NoReconstruction];
    let with_losses = losses.flat_map(|ssl| ours(ssl, &ablation));
    let ours = ours(None, &OursVariant::ALL.map(|(variant, _)| variant)).into_iter().chain(with_losses);
    let fixed = FIXED.iter().map(|(name, _)| (*name).to_owned());
    let shorts = || TransformName::ALL.iter().map(|(_, short, _)| *short);
    let direct = shorts().map(|short| format!("{DIRECT}({short})"));
    let sie = shorts().chain(["rot+color", "all"]).map(|set| format!("SIE({set})"));
    let own_pairs = shorts().map(|short| format!("SIE({short}{OWN_PAIRS})"));
    let variants = [SINGLE_EACH, NO_PREDICTION_VARIANCE, OWN_RECIPE];
    let variants = variants.map(|addition| format!("SIE(all{addition})"));
    let pca = [16, 64].map(|components| MethodKind::PixelPca { components }.to_string());
    ours.chain(fixed).chain(direct).chain(sie).chain(own_pairs).chain(variants).chain(pca).collect()
}

impl fmt::Display for Ssl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        MethodKind::Ssl(*self).fmt(f)
    }
}

impl fmt::Display for KnownTransforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KnownTransforms::All => f.write_str("all"),
            KnownTransforms::Some(shorts) => {
                let names: Vec<_> = shorts.iter().map(|transform| transform.short()).collect();
                f.write_str(&names.join("+"))
            }
        }
    }
}

impl fmt::Display for MethodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = |condition: bool, addition: &'static str| if condition { addition } else { "" };
        match self {
            MethodKind::Ours { ssl, variant } => {
                let ssl = ssl.map(|ssl| format!("({ssl})")).unwrap_or_default();
                write!(f, "Ours{ssl}{}", variant.suffix())
            }
            MethodKind::Sie(SieKind { known, pairs, prediction_variance, recipe }) => {
                let single = when(*pairs == PairMode::SingleEach, SINGLE_EACH);
                let own = when(*pairs == PairMode::Own, OWN_PAIRS);
                let without = when(!prediction_variance, NO_PREDICTION_VARIANCE);
                let recipe = when(*recipe == SieRecipe::Own, OWN_RECIPE);
                write!(f, "SIE({known}{single}{own}{without}{recipe})")
            }
            MethodKind::Direct(Some(transform)) => write!(f, "{DIRECT}({})", transform.short()),
            MethodKind::PixelPca { components } => write!(f, "{PIXEL_PCA} ({components})"),
            other => f.write_str(
                FIXED.iter().find(|(_, kind)| kind == other).expect("every other variant is fixed").0,
            ),
        }
    }
}

impl FromStr for MethodKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let fixed = || FIXED.iter().find(|(fixed, _)| *fixed == name).map(|(_, kind)| kind.clone());
        let composed =
            || ours(name).or_else(|| sie(name)).or_else(|| direct(name)).or_else(|| pixel_pca(name));
        let kind = fixed().or_else(composed);
        kind.ok_or_else(|| Error::Invalid(format!("unknown method `{name}`")))
    }
}

/// `Ours`, `Ours(SimCLR)`, each alone or followed by the suffix of a control.
fn ours(name: &str) -> Option<MethodKind> {
    let rest = name.strip_prefix("Ours")?;
    // the method's own suffix is empty and fits every name, so it is tried last
    let mut variants = OursVariant::ALL.iter().rev();
    let (rest, variant) =
        variants.find_map(|(variant, suffix)| Some((rest.strip_suffix(suffix)?, *variant)))?;
    let ssl = if rest.is_empty() {
        None
    } else {
        let inner = rest.strip_prefix('(')?.strip_suffix(')')?;
        let matching = |(fixed, kind): &(&str, MethodKind)| match kind {
            MethodKind::Ssl(ssl) if *fixed == inner => Some(*ssl),
            _ => None,
        };
        Some(FIXED.iter().find_map(matching)?)
    };
    Some(MethodKind::Ours { ssl, variant })
}

/// `SIE(<set>)`, with the pairs, the missing variance term and the recipe after the set, in this order.
fn sie(name: &str) -> Option<MethodKind> {
    let inner = name.strip_prefix("SIE(")?.strip_suffix(')')?;
    let (inner, own_recipe) = take_suffix(inner, OWN_RECIPE);
    let (inner, without) = take_suffix(inner, NO_PREDICTION_VARIANCE);
    let (inner, own_pairs) = take_suffix(inner, OWN_PAIRS);
    let (set, single) = take_suffix(inner, SINGLE_EACH);
    let known = if set == "all" {
        KnownTransforms::All
    } else {
        KnownTransforms::Some(set.split('+').map(TransformName::from_short).collect::<Option<Vec<_>>>()?)
    };
    let pairs = match (single, own_pairs) {
        (false, false) => PairMode::Combined,
        (true, false) => PairMode::SingleEach,
        // pairs that differ by all transforms are the combined pairs
        (false, true) if known != KnownTransforms::All => PairMode::Own,
        _ => return None,
    };
    let recipe = if own_recipe { SieRecipe::Own } else { SieRecipe::Suite };
    Some(MethodKind::Sie(SieKind { known, pairs, prediction_variance: !without, recipe }))
}

/// `Direct regression(<transform>)`.
fn direct(name: &str) -> Option<MethodKind> {
    let short = name.strip_prefix(DIRECT)?.strip_prefix('(')?.strip_suffix(')')?;
    Some(MethodKind::Direct(Some(TransformName::from_short(short)?)))
}

/// `PCA of the pixels (<number of components>)`.
fn pixel_pca(name: &str) -> Option<MethodKind> {
    let components = name.strip_prefix(PIXEL_PCA)?.strip_prefix(" (")?.strip_suffix(')')?;
    let kind = MethodKind::PixelPca { components: components.parse().ok().filter(|&count| count > 0)? };
    // `016` and `+16` are numbers too, but no names
    (kind.to_string() == name).then_some(kind)
}

/// `text` without `suffix`, and whether it was there.
fn take_suffix<'a>(text: &'a str, suffix: &str) -> (&'a str, bool) {
    text.strip_suffix(suffix).map_or((text, false), |rest| (rest, true))
}

impl MethodKind {
    /// The paper's method with the suite's joint-embedding loss.
    pub const OURS: MethodKind = MethodKind::Ours { ssl: None, variant: OursVariant::Full };

    /// The baseline of every table.
    pub const VICREG: MethodKind = MethodKind::Ssl(Ssl::Vicreg);

    /// The same method with one component removed: the reconstruction, or the parameters of the last known
    /// transform.
    pub fn ablation(&self) -> Option<MethodKind> {
        match self {
            MethodKind::Ours { ssl, variant: OursVariant::Full } => {
                Some(MethodKind::Ours { ssl: *ssl, variant: OursVariant::NoReconstruction })
            }
            MethodKind::Sie(kind) => match &kind.known {
                KnownTransforms::Some(names) if names.len() > 1 => {
                    let known = KnownTransforms::Some(names[..names.len() - 1].to_vec());
                    Some(MethodKind::Sie(SieKind { known, ..kind.clone() }))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Rows that a difference of this method is held against to find its cause: for the paper's method, view
    /// 1 of another pair, the known units alone, and a loss on the patch tokens without reconstruction.
    pub fn controls(&self) -> Vec<MethodKind> {
        match self {
            MethodKind::Ours { ssl, variant: OursVariant::Full } => {
                let of = |variant| MethodKind::Ours { ssl: *ssl, variant };
                vec![of(OursVariant::OtherView1), of(OursVariant::KnownUnits), MethodKind::VicregCls]
            }
            _ => Vec::new(),
        }
    }

    /// The baseline to compare with, which is VICReg. VICReg itself, the controls of Ours, the untrained
    /// encoder, and methods trained only on labels or parameters have no baseline.
    pub fn baseline(&self) -> Option<MethodKind> {
        match self {
            MethodKind::Ours { variant: OursVariant::Full, .. } | MethodKind::Sie(_) => {
                Some(MethodKind::VICREG)
            }
            MethodKind::Ssl(ssl) if *ssl != Ssl::Vicreg => Some(MethodKind::VICREG),
            _ => None,
        }
    }

    /// Whether there is anything to train.
    pub fn trains(&self) -> bool {
        *self != MethodKind::RandomInit && self.has_network()
    }

    /// Whether its encoder is a network, with a token map and two halves of y.
    pub fn has_network(&self) -> bool {
        !matches!(self, MethodKind::PixelPca { .. })
    }

    /// Whether the method reconstructs view 2.
    pub fn reconstructs(&self) -> bool {
        matches!(self, MethodKind::Ours { variant, .. } if *variant != OursVariant::NoReconstruction)
    }

    /// Whether the method reconstructs view 2 of a pair from view 1 of another pair.
    pub fn takes_other_view1(&self) -> bool {
        matches!(self, MethodKind::Ours { variant: OursVariant::OtherView1, .. })
    }

    /// Whether the loss needs transform parameters or labels, which a sample may lack.
    pub fn needs_targets(&self) -> bool {
        matches!(self, MethodKind::Sie(_) | MethodKind::Supervised | MethodKind::Direct(_))
    }

    /// Whether the method trains only on the units whose transforms and labels are known (protocol section
    /// 7).
    pub fn trains_on_known_units(&self) -> bool {
        self.needs_targets() || matches!(self, MethodKind::Ours { variant: OursVariant::KnownUnits, .. })
    }

    /// How its training pairs are made.
    pub fn pairs(&self) -> PairMode {
        match self {
            MethodKind::Sie(sie) => sie.pairs,
            MethodKind::Direct(_) => PairMode::HalfSingle,
            _ => PairMode::Combined,
        }
    }

    /// The transforms whose parameters the method is given or regresses.
    pub fn known_transforms(&self) -> KnownTransforms {
        match self {
            MethodKind::Sie(sie) => sie.known.clone(),
            MethodKind::Direct(Some(transform)) => KnownTransforms::Some(vec![*transform]),
            _ => KnownTransforms::All,
        }
    }

    /// The constant learning rate of the method's own recipe, if it has one.
    pub fn own_learning_rate(&self) -> Option<f64> {
        let own = matches!(self, MethodKind::Sie(SieKind { recipe: SieRecipe::Own, .. }));
        own.then_some(1e-3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_prints_as_itself() {
        let further = [
            "SIE(blur+crop)",
            "SIE(rot, single each time)",
            "SIE(all, single each time, no prediction variance)",
            "SIE(rot+color, own pairs, no prediction variance, own recipe)",
            "Ours(SimCLR), other view 1",
        ];
        for name in method_names().into_iter().chain(further.map(str::to_owned)) {
            assert_eq!(name.parse::<MethodKind>().unwrap().to_string(), name);
        }
        let none = [
            "SIE()",
            "SIE(rot+)",
            "ours",
            "SIE(rotation)",
            "",
            "Ours()",
            "Ours(Supervised)",
            "Ours(SimCLR",
            "SIE(all, )",
            "SIE(all, own pairs)",
            "SIE(rot, single each time, own pairs)",
            "Direct regression()",
            "Direct regression(all)",
            "PCA of the pixels",
            "PCA of the pixels (0)",
            "PCA of the pixels (016)",
        ];
        for name in none {
            assert!(name.parse::<MethodKind>().is_err(), "{name}");
        }
    }

    #[test]
    fn no_two_names_are_one_method() {
        let kinds: std::collections::BTreeSet<MethodKind> =
            method_names().iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(kinds.len(), method_names().len());
    }

    #[test]
    fn ablations_and_baselines_are_methods() {
        let name = |kind: Option<MethodKind>| kind.map(|kind| kind.to_string());
        for (method, ablation, baseline) in [
            ("Ours", Some("Ours, no reconstruction"), Some("VICReg")),
            ("Ours(SimCLR)", Some("Ours(SimCLR), no reconstruction"), Some("VICReg")),
            ("Ours, no reconstruction", None, None),
            ("Ours, other view 1", None, None),
            ("VICReg(cls)", None, None),
            ("SIE(rot+color, single each time)", Some("SIE(rot, single each time)"), Some("VICReg")),
            ("SIE(rot)", None, Some("VICReg")),
            ("SIE(all)", None, Some("VICReg")),
            ("VICReg", None, None),
            ("SimCLR", None, Some("VICReg")),
            ("Direct regression", None, None),
        ] {
            let kind: MethodKind = method.parse().unwrap();
            assert_eq!(name(kind.ablation()).as_deref(), ablation, "{method}");
            assert_eq!(name(kind.baseline()).as_deref(), baseline, "{method}");
        }
        assert_eq!(MethodKind::OURS.to_string(), "Ours");
    }

    #[test]
    fn the_name_says_how_pairs_are_made_and_what_is_needed() {
        let kind = |name: &str| name.parse::<MethodKind>().unwrap();
        assert_eq!(kind("SIE(all, single each time)").pairs(), PairMode::SingleEach);
        assert_eq!(kind("SIE(all)").pairs(), PairMode::Combined);
        assert_eq!(kind("SIE(rot, own pairs)").pairs(), PairMode::Own);
        assert_eq!(kind("Direct regression(blur)").pairs(), PairMode::HalfSingle);
        for (name, on_known) in [("Ours, known part", true), ("Ours", false), ("SIE(rot)", true)] {
            assert_eq!(kind(name).trains_on_known_units(), on_known, "{name}");
        }
        assert!(kind("Ours, other view 1").reconstructs() && !kind("Ours, no reconstruction").reconstructs());
        for (name, needs) in
            [("SIE(rot)", true), ("Supervised", true), ("Direct regression", true), ("Ours(SimCLR)", false)]
        {
            assert_eq!(kind(name).needs_targets(), needs, "{name}");
        }
    }
}
