//! What the comment at the head of a preset says of it.

/// The head of a preset.
#[derive(Debug, PartialEq, Eq)]
pub struct PresetHead {
    /// The first sentence, with its point.
    pub summary: String,
    /// Time of all rows and seeds, and on what, such as `about 14 minutes on 2 cores`.
    pub cost: String,
}

impl PresetHead {
    /// The head of the preset `text`. `None` without a sentence that begins with `Cost`.
    pub fn of(text: &str) -> Option<PresetHead> {
        let lines = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
        let comment = lines.collect::<Vec<_>>().join(" ");
        let mut sentences = comment.split(". ").map(|sentence| sentence.trim_end_matches('.'));
        let summary = format!("{}.", sentences.next()?);
        let (machine, cost) =
            sentences.find_map(|sentence| sentence.strip_prefix("Cost"))?.split_once(": ")?;
        // the conditions stand in the preset
        let end = [", or ", " at ", " ("].into_iter().filter_map(|mark| cost.find(mark)).min();
        let cost = &cost[..end.unwrap_or(cost.len())];
        let cost = if machine == " on 2 cores" { format!("{cost}{machine}") } else { cost.to_owned() };
        Some(PresetHead { summary, cost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite_file::presets::PRESETS;

    #[test]
    fn every_preset_says_what_it_is_and_what_it_costs() {
        for (name, text) in PRESETS {
            let PresetHead { summary, cost } = PresetHead::of(text).unwrap_or_else(|| panic!("{name}"));
            assert!(summary.len() > 40, "{name}: {summary}");
            let on = ["on 2 cores", "of an A100"].iter().any(|machine| cost.contains(machine));
            assert!(on && cost.starts_with(|c: char| c.is_ascii_digit() || c == 'a'), "{name}: {cost}");
        }
    }

    #[test]
    fn conditions_are_left_out() {
        let head = |text| PresetHead::of(text).map(|head| head.cost);
        let text =
            "# A suite. Needs x.h5.\n# Cost on 2 cores: about 15 minutes, or 3\n# with it.\nname = \"x\"";
        assert_eq!(head(text).unwrap(), "about 15 minutes on 2 cores");
        let text = "# A suite. Cost: 14 EFLOP, about 36 hours of an A100 at 0.35 of its peak (assumed).";
        assert_eq!(head(text).unwrap(), "14 EFLOP, about 36 hours of an A100");
        assert_eq!(head("name = \"x\""), None);
    }
}
