//! Verdicts as JUnit XML, which schedulers and CI servers display.

use std::io;

use anyhow::Result;
use eqr_datasets::output::OutputKind;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, Event};

use super::{ComparedMetric, Comparison, Verdict};
use crate::console::one_line;

/// JUnit XML among the files that may be replaced.
pub const JUNIT: OutputKind = OutputKind { name: "JUnit XML", begins: is_junit };

fn is_junit(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(start);
    text.starts_with("<?xml") && text.contains("<testsuite")
}

impl Comparison {
    /// One test case per metric: a failure if it became worse, skipped if too little is known.
    ///
    /// # Errors
    /// None in practice: the text is written to memory.
    pub fn as_junit(&self) -> Result<String> {
        let count =
            |verdict| self.metrics.iter().filter(|metric| metric.verdict == verdict).count().to_string();
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        writer
            .create_element("testsuite")
            .with_attribute(("name", "eqr-bench compare"))
            .with_attribute(("tests", self.metrics.len().to_string().as_str()))
            .with_attribute(("failures", count(Verdict::Regression).as_str()))
            .with_attribute(("skipped", count(Verdict::InsufficientHistory).as_str()))
            .write_inner_content(|writer| {
                self.metrics.iter().try_for_each(|metric| test_case(writer, metric))
            })?;
        Ok(String::from_utf8(writer.into_inner())? + "\n")
    }
}

fn test_case(writer: &mut Writer<Vec<u8>>, metric: &ComparedMetric) -> io::Result<()> {
    let case = writer
        .create_element("testcase")
        .with_attribute(("classname", metric.series))
        // XML has no place for control characters, not even as references; the writer escapes the rest
        .with_attribute(("name", &*one_line(&metric.name)));
    let (element, message) = match metric.verdict {
        Verdict::Regression => ("failure", format!("{} to {}", metric.baseline.mean, metric.candidate.mean)),
        Verdict::InsufficientHistory => ("skipped", metric.verdict.text().to_owned()),
        Verdict::Ok | Verdict::Improvement => return case.write_empty().map(|_| ()),
    };
    let inside = |writer: &mut Writer<Vec<u8>>| {
        writer.create_element(element).with_attribute(("message", message.as_str())).write_empty().map(|_| ())
    };
    case.write_inner_content(inside).map(|_| ())
}

#[cfg(test)]
mod tests {
    use eqr_probes::stats::Summary;

    use super::*;

    #[test]
    fn every_metric_is_a_case_and_names_are_escaped() {
        let summary = |value| Summary::from_values(&[value]).unwrap();
        let metric = |name: &str, verdict| ComparedMetric {
            series: "quality",
            name: name.to_owned(),
            baseline: summary(0.5),
            candidate: summary(0.25),
            gain: -0.25,
            p_drop: None,
            verdict,
        };
        let metrics = vec![
            metric("a \"<b>\" & c", Verdict::Regression),
            metric("e\u{1b}[31m\nf\u{fffe}\u{202e}", Verdict::Ok),
            metric("d", Verdict::InsufficientHistory),
            metric("e", Verdict::Ok),
        ];
        let text = Comparison { metrics, notes: vec![] }.as_junit().unwrap();
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuite name=\"eqr-bench compare\" tests=\"4\" failures=\"1\" skipped=\"1\">
  <testcase classname=\"quality\" name=\"a &quot;&lt;b&gt;&quot; &amp; c\">
    <failure message=\"0.5 to 0.25\"/>
  </testcase>
  <testcase classname=\"quality\" name=\"e\\u001b[31m f\\ufffe\\u202e\"/>
  <testcase classname=\"quality\" name=\"d\">
    <skipped message=\"insufficient history\"/>
  </testcase>
  <testcase classname=\"quality\" name=\"e\"/>
</testsuite>
";
        assert_eq!(text, expected);
    }
}
