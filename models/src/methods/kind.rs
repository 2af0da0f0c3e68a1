//! Names of the methods. Each name is a row of the tables.

use std::fmt;
use std::str::FromStr;

use super::joint::Ssl;
use crate::error::{Error, Result};

/// A method, which is one row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MethodKind {
    /// Joint-embedding loss on the invariant half, cross-attention reconstruction on the equivariant tokens
    /// (the paper).
    Ours {
        /// L_ssl; `None` uses the suite's loss ([`super::LossConfig::ssl`]).
        ssl: Option<Ssl>,
        /// `false` is the ablation with lambda_recon = 0, which shows the effect of the reconstruction.
        reconstruction: bool,
    },
    /// Garrido et al. 2023.
    Sie(SieKind),
    /// Only a joint-embedding loss, on the whole y.
    Ssl(Ssl),
    /// Cross-entropy on both views.
    Supervised,
    /// The untrained encoder: the floor of every table.
    RandomInit,
    /// The encoder trained to regress the parameters: the ceiling of every equivariance table.
    Direct,
    /// The first principal components of the pixels: a floor without a network.
    PixelPca {
        /// Number of components, at least 1.
        components: u16,
    },
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
}

/// Methods with fixed names. The names `Ours..` and `SIE(..)` are composed.
const FIXED: [(&str, MethodKind); 6] = [
    ("VICReg", MethodKind::Ssl(Ssl::Vicreg)),
    ("SimCLR", MethodKind::Ssl(Ssl::Simclr)),
    ("Barlow Twins", MethodKind::Ssl(Ssl::Barlow)),
    ("Supervised", MethodKind::Supervised),
    ("Random init", MethodKind::RandomInit),
    ("Direct regression", MethodKind::Direct),
];

const NO_RECONSTRUCTION: &str = ", no reconstruction";
const SINGLE_EACH: &str = ", single each time";
const NO_PREDICTION_VARIANCE: &str = ", no prediction variance";
const PIXEL_PCA: &str = "PCA of the pixels";

/// Names of the methods that a suite may list, for messages. Other sets of transforms (`SIE(blur+crop)`) and
/// combinations of the suffixes after a comma are also valid.
pub fn method_names() -> Vec<String> {
    let ours = |ssl: Option<Ssl>| {
        [true, false]
            .map(|reconstruction| MethodKind::Ours { ssl, reconstruction })
            .map(|kind| kind.to_string())
    };
    let losses = FIXED.iter().filter_map(|(_, kind)| match kind {
        MethodKind::Ssl(ssl) => Some(*ssl),
        _ => None,
    });
    let ours = std::iter::once(None).chain(losses.map(Some)).flat_map(ours);
    let fixed = FIXED.iter().map(|(name, _)| (*name).to_owned());
    let sets = TransformName::ALL.iter().map(|(_, short, _)| *short).chain(["rot+color", "all"]);
    let sie = sets.map(|set| format!("SIE({set})"));
    let variants = [SINGLE_EACH, NO_PREDICTION_VARIANCE].map(|addition| format!("SIE(all{addition})"));
    let pca = [16, 64].map(|components| MethodKind::PixelPca { components }.to_string());
    ours.chain(fixed).chain(sie).chain(variants).chain(pca).collect()
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
                let names: Vec<_> =
                    shorts.iter().map(|&short| TransformName::ALL[short as usize].1).collect();
                f.write_str(&names.join("+"))
            }
        }
    }
}

impl fmt::Display for MethodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = |condition: bool, addition: &'static str| if condition { addition } else { "" };
        match self {
            MethodKind::Ours { ssl, reconstruction } => {
                let ssl = ssl.map(|ssl| format!("({ssl})")).unwrap_or_default();
                write!(f, "Ours{ssl}{}", when(!reconstruction, NO_RECONSTRUCTION))
            }
            MethodKind::Sie(SieKind { known, pairs, prediction_variance }) => {
                let single = when(*pairs == PairMode::SingleEach, SINGLE_EACH);
                write!(f, "SIE({known}{single}{})", when(!prediction_variance, NO_PREDICTION_VARIANCE))
            }
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
        let kind = fixed().or_else(|| ours(name)).or_else(|| sie(name)).or_else(|| pixel_pca(name));
        kind.ok_or_else(|| Error::Invalid(format!("unknown method `{name}`")))
    }
}

/// `Ours`, `Ours(SimCLR)`, each with or without `, no reconstruction`.
fn ours(name: &str) -> Option<MethodKind> {
    let (rest, without) = take_suffix(name.strip_prefix("Ours")?, NO_RECONSTRUCTION);
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
    Some(MethodKind::Ours { ssl, reconstruction: !without })
}

/// `SIE(<set>)`, `SIE(<set>, single each time)`, `SIE(<set>, no prediction variance)`, or both in this order.
fn sie(name: &str) -> Option<MethodKind> {
    let inner = name.strip_prefix("SIE(")?.strip_suffix(')')?;
    let (inner, without) = take_suffix(inner, NO_PREDICTION_VARIANCE);
    let (set, single) = take_suffix(inner, SINGLE_EACH);
    let short =
        |part: &str| TransformName::ALL.iter().find(|(_, short, _)| *short == part).map(|(short, ..)| *short);
    let known = if set == "all" {
        KnownTransforms::All
    } else {
        KnownTransforms::Some(set.split('+').map(short).collect::<Option<Vec<_>>>()?)
    };
    let pairs = if single { PairMode::SingleEach } else { PairMode::Combined };
    Some(MethodKind::Sie(SieKind { known, pairs, prediction_variance: !without }))
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
    pub const OURS: MethodKind = MethodKind::Ours { ssl: None, reconstruction: true };

    /// The baseline of every table.
    pub const VICREG: MethodKind = MethodKind::Ssl(Ssl::Vicreg);

    /// The same method with one component removed: the reconstruction, or the parameters of the last known
    /// transform.
    pub fn ablation(&self) -> Option<MethodKind> {
        match self {
            MethodKind::Ours { ssl, reconstruction: true } => {
                Some(MethodKind::Ours { ssl: *ssl, reconstruction: false })
            }
            MethodKind::Sie(SieKind { known: KnownTransforms::Some(names), pairs, prediction_variance })
                if names.len() > 1 =>
            {
                let (known, pairs) = (KnownTransforms::Some(names[..names.len() - 1].to_vec()), *pairs);
                Some(MethodKind::Sie(SieKind { known, pairs, prediction_variance: *prediction_variance }))
            }
            _ => None,
        }
    }

    /// The baseline to compare with, which is VICReg. VICReg itself, ablations, the untrained encoder, and
    /// methods trained only on labels or parameters have no baseline.
    pub fn baseline(&self) -> Option<MethodKind> {
        match self {
            MethodKind::Ours { reconstruction: false, .. }
            | MethodKind::Ssl(Ssl::Vicreg)
            | MethodKind::Supervised
            | MethodKind::RandomInit
            | MethodKind::Direct
            | MethodKind::PixelPca { .. } => None,
            _ => Some(MethodKind::VICREG),
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

    /// Whether the loss needs transform parameters or labels, which a sample may lack.
    pub fn needs_targets(&self) -> bool {
        matches!(self, MethodKind::Sie(_) | MethodKind::Supervised | MethodKind::Direct)
    }

    /// How its training pairs are made.
    pub fn pairs(&self) -> PairMode {
        match self {
            MethodKind::Sie(sie) => sie.pairs,
            _ => PairMode::Combined,
        }
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
        for (name, needs) in
            [("SIE(rot)", true), ("Supervised", true), ("Direct regression", true), ("Ours(SimCLR)", false)]
        {
            assert_eq!(kind(name).needs_targets(), needs, "{name}");
        }
    }
}
