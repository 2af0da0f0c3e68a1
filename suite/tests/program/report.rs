//! Reports: the page in a browser, the tables in LaTeX, and reports of incomplete runs.

use std::path::Path;
use std::process::{Command, Stdio};

use eqr_bench::run_folder::seal::seal;

use crate::common::{
    PROGRAM, cell, copy, eqr, folder, is_installed, output, run_args, spawn, stderr, succeeded, tiny_run,
};
use crate::skip::skip;

/// A tiny run with imported results whose name is HTML.
fn run(here: &Path) {
    let results =
        "dataset,task,metric,value\nsolids,rotation,r2_per_output,0.3\nsolids,color,r2_per_output,0.7\n";
    std::fs::write(here.join("results.csv"), results).unwrap();
    let hostile = "<script>document.title='owned'</script> & \"x\"=results.csv";
    copy(tiny_run(), &here.join("run"));
    succeeded(&eqr(here, &run_args("run", &["--external", hostile])));
}

fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| is_installed(name));
    if found.is_none() {
        skip("browser", "no Chromium on this machine: the page was not opened");
    }
    found
}

/// Chromium without a window and with a profile of its own.
fn headless(browser: &str, profile: &Path) -> Command {
    let mut command = Command::new(browser);
    command
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .arg("--virtual-time-budget=4000")
        .arg(format!("--user-data-dir={}", profile.display()));
    command
}

/// Number of pages of the page's print.
fn printed_pages(browser: &str, page: &Path) -> usize {
    let profile = tempfile::tempdir().unwrap();
    let pdf = page.with_extension("pdf");
    let mut command = headless(browser, profile.path());
    command
        .arg("--no-pdf-header-footer")
        .arg(format!("--print-to-pdf={}", pdf.display()))
        .arg(format!("file://{}", page.display()));
    let output = output(&mut command);
    let bytes = std::fs::read(&pdf).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let text = String::from_utf8_lossy(&bytes);
    text.matches("/Type /Page").count() - text.matches("/Type /Pages").count()
}

/// A window that the page is opened in.
#[derive(Clone, Copy)]
struct Window {
    width: u32,
    is_dark: bool,
}

const DESKTOP: Window = Window { width: 1280, is_dark: false };
const PHONE: Window = Window { width: 390, is_dark: false };
const DARK: Window = Window { is_dark: true, ..DESKTOP };

/// The JSON value of `script` in the page.
fn said_by(browser: &str, page: &Path, window: Window, script: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(page).unwrap();
    let watch = "<script>window.wrong=[];addEventListener('error',e=>wrong.push(String(e.message||e.target.src)),true)</script>";
    let tell = format!(
        "<script>const said=(()=>{{{script}}})();const out=document.createElement('pre');out.id='said';\
         out.textContent=btoa(unescape(encodeURIComponent(JSON.stringify(said))));document.body.append(out)</script></body>"
    );
    let copy = page.with_extension("watched.html");
    let watched = text.replacen("<head>", &format!("<head>{watch}"), 1);
    let (before, after) = watched.rsplit_once("</body>").unwrap();
    std::fs::write(&copy, format!("{before}{tell}{after}")).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let mut command = headless(browser, profile.path());
    command
        .arg(format!("--window-size={},900", window.width))
        .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!window.is_dark)))
        .args(["--dump-dom", &format!("file://{}", copy.display())]);
    let output = output(&mut command);
    let dom = String::from_utf8_lossy(&output.stdout);
    let encoded = dom.rsplit_once("<pre id=\"said\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (encoded, _) = encoded.unwrap_or_else(|| panic!("the page said nothing: {}", stderr(&output)));
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn the_page_works_in_a_browser_and_asks_for_nothing() {
    let folder = folder();
    let here = folder.path();
    run(here);
    let page = here.join("run/report.html");
    let text = std::fs::read_to_string(&page).unwrap();
    let outside = ["src=\"http", "href=\"http", "url(http", "@import"];
    assert!(outside.iter().all(|outside| !text.contains(outside)), "the page names nothing outside itself");
    let printed = eqr(here, &["report", "run", "--format", "html"]);
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), text, "`report` prints what `run` wrote");
    let Some(browser) = browser() else { return };

    let script = "
        const table = document.querySelector('table.sortable'), head = table.tHead.rows[0].cells[2];
        const column = () => [...table.tBodies[0].rows].map(row => row.cells[2].dataset.value ?? null);
        const orders = [column()];
        for (let i = 0; i < 2; i++) { head.querySelector('[role=button]').click(); orders.push([column(), head.getAttribute('aria-sort')]); }
        return {wrong, orders, title: document.title, wide: document.documentElement.scrollWidth - innerWidth,
            broken: [...document.images].filter(image => !image.complete || !image.naturalWidth).length, images: document.images.length,
            asked: performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith('data:')).length};";
    let found = said_by(browser, &page, DESKTOP, script);
    assert_eq!(found["wrong"], serde_json::json!([]));
    assert_eq!(found["asked"], 0);
    assert_eq!(found["title"], "A tiny suite");
    assert_eq!(found["broken"], 0);
    assert!(found["images"].as_u64().unwrap() >= 2, "curves and reconstructions: {found}");
    let numbers = |order: &serde_json::Value| -> Vec<f64> {
        order.as_array().unwrap().iter().filter_map(|value| value.as_str()?.parse().ok()).collect()
    };
    let [down, up] = [&found["orders"][1], &found["orders"][2]];
    assert_eq!((&down[1], &up[1]), (&"descending".into(), &"ascending".into()));
    assert!(numbers(&down[0]).is_sorted_by(|a, b| a >= b) && numbers(&down[0]).len() == 3, "{found}");
    assert!(numbers(&up[0]).is_sorted(), "{found}");

    // on a phone, wide tables scroll inside their own frames
    let found = said_by(browser, &page, PHONE, script);
    assert!(found["wide"].as_i64().unwrap() <= 0, "the page scrolls sideways: {found}");
    assert!(printed_pages(browser, &page) <= 12);
    assert!(printed_headline(browser, &page) <= 4);
}

/// Number of pages that the headline takes in print.
fn printed_headline(browser: &str, page: &Path) -> usize {
    let text = std::fs::read_to_string(page).unwrap();
    let headline = page.with_extension("headline.html");
    let rest = ".details, main > section + section { display: none }</style>";
    std::fs::write(&headline, text.replacen("</style>", rest, 1)).unwrap();
    printed_pages(browser, &headline)
}

/// The record with the most tables and pictures, as it was and as the page is made now.
#[test]
fn the_largest_record_is_a_small_page_that_can_be_read_anywhere() {
    let folder = folder();
    let here = folder.path();
    let record = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/reference/imagenet-reduced");
    let made = eqr(here, &["report", record, "--format", "html"]);
    succeeded(&made);
    assert!(made.stdout.len() < 1_500_000, "{} bytes", made.stdout.len());
    let page = here.join("record.html");
    std::fs::write(&page, &made.stdout).unwrap();
    let Some(browser) = browser() else { return };
    let script = "
        const lightness = colour => { const [r, g, b] = colour.match(/[0-9]+/g).map(Number); return (2 * r + 7 * g + b) / 2550; };
        const of = (element, property) => lightness(getComputedStyle(element)[property]);
        const cell = document.querySelector('tbody td');
        return {wrong, ground: of(document.body, 'backgroundColor'), ink: of(cell, 'color'),
            wide: document.documentElement.scrollWidth - innerWidth,
            broken: [...document.images].filter(image => !image.complete || !image.naturalWidth).length};";
    for (window, ground, ink) in
        [(DESKTOP, 0.9..1.1, 0.0..0.4), (PHONE, 0.9..1.1, 0.0..0.4), (DARK, 0.0..0.2, 0.7..1.1)]
    {
        let found = said_by(browser, &page, window, script);
        let is_within =
            |key: &str, range: std::ops::Range<f64>| range.contains(&found[key].as_f64().unwrap());
        assert!(is_within("ground", ground) && is_within("ink", ink), "{found}");
        assert!(found["wrong"] == serde_json::json!([]) && found["broken"] == 0, "{found}");
        assert!(found["wide"].as_i64().unwrap() <= 0, "the page scrolls sideways: {found}");
    }
    assert!(printed_headline(browser, &page) <= 4);
    assert!(printed_pages(browser, &page) <= 21);
}

#[test]
fn tables_of_the_page_are_listed_filtered_copied_and_explained() {
    let folder = folder();
    let here = folder.path();
    run(here);
    let page = here.join("run/report.html");
    assert!(std::fs::metadata(&page).unwrap().len() < 1_500_000);
    let Some(browser) = browser() else { return };
    let script = "
        const all = [...document.querySelectorAll('.table')], input = document.querySelector('.filter input');
        const type = text => { input.value = text; input.dispatchEvent(new Event('input')); };
        const rows = () => [...document.querySelectorAll('.table:not([hidden]) tbody tr')].filter(row => !row.hidden);
        const before = rows().length;
        type('OURS');
        const ours = rows().map(row => row.cells[0].textContent.toLowerCase().includes('ours') ||
            row.closest('table').caption.textContent.toLowerCase().includes('ours'));
        type('no row has this');
        const none = rows().length;
        type('');
        const copies = [...document.querySelectorAll('.copies button')];
        const text = button => button.nextElementSibling.content.textContent;
        return {wrong, tables: all.length, before, after: rows().length, ours, none,
            links: [...document.querySelectorAll('nav ol a')].map(a => document.querySelector(a.getAttribute('href')) !== null),
            dead: [...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.getAttribute('href'))).length,
            captions: all.filter(table => table.querySelector('caption h3').textContent.trim()).length,
            latex: copies.filter(button => button.textContent === 'LaTeX').map(text),
            csv: copies.filter(button => button.textContent === 'CSV').map(text),
            explained: [...document.querySelectorAll('caption abbr')].map(abbr => abbr.title),
            terms: [...document.querySelectorAll('.glossary dt')].map(term => term.textContent),
            more: document.querySelectorAll('.frame.more').length};";
    let found = said_by(browser, &page, DESKTOP, script);
    let count = |key: &str| found[key].as_array().unwrap().len();
    assert_eq!(found["wrong"], serde_json::json!([]));
    assert!(count("links") == found["tables"] && found["dead"] == 0 && found["captions"] == found["tables"]);
    assert!(count("ours") > 0 && found["ours"].as_array().unwrap().iter().all(|is_ours| is_ours == true));
    assert_eq!((&found["none"], &found["before"]), (&0.into(), &found["after"]));
    let text = |key: &str, place: usize| found[key][place].as_str().unwrap().to_owned();
    assert!(text("latex", 0).starts_with("\\begin{tabular}") && count("latex") == count("csv"));
    assert!(text("csv", 0).contains("<script>document.title='owned'</script>"), "{}", text("csv", 0));
    assert!(count("explained") > 0 && found["explained"].as_array().unwrap().iter().all(|title| title != ""));
    for term in ["R2", "y", "equi", "inv", "grid", "floor", "ceiling", "†", "Holm"] {
        assert!(found["terms"].as_array().unwrap().iter().any(|found| found == term), "{term}");
    }
    let phone = said_by(browser, &page, PHONE, script);
    assert!(phone["more"].as_u64().unwrap() > 0, "nothing says that a table goes on");
}

/// What the options of `report` print, and what they refuse.
#[test]
fn a_report_prints_what_was_asked_for() {
    let here = tiny_run().parent().unwrap();
    let report = |args: &[&str]| {
        let output = eqr(here, &[&["report", "tiny"], args].concat());
        (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output))
    };
    let (_, text, _) = report(&["--only", "linear", "--columns", "color", "--percent", "--digits", "2"]);
    assert!(
        text.contains("Linear probes of y") && text.contains(" color R2") && !text.contains("rotation"),
        "{text}"
    );
    assert!(text.contains("in percent"), "{text}");
    let (_, text, _) = report(&["--format", "tabular", "--spread", "none"]);
    assert!(text.contains("\\begin{tabular}{lrrr}") && !text.contains("\\documentclass"), "{text}");
    let written = std::fs::read_to_string(here.join("tiny/tables/headline.tex")).unwrap();
    assert_eq!(report(&["--format", "tabular"]).1, written, "`report` prints what `run` wrote");
    for (args, says) in [
        (&["--columns", "rotatoin"][..], "no table has a column `rotatoin`\nhint: did you mean `rotation"),
        (&["--only", "mian"], "'main'"),
        (&["--only", "segmentation"], "section `segmentation` has no value in this run\nhint: "),
        (&["--format", "csv", "--digits", "2"], "do not change --format csv\nhint: "),
        (&["--digits", "99"], "99 is not in 0..=12"),
    ] {
        let (code, _, said) = report(args);
        assert!(code == Some(2) && said.contains(says), "{args:?}: {said}");
    }
    // a reader that closes the pipe early
    let mut child = spawn(
        Command::new(PROGRAM)
            .args(["report", "tiny", "--full"])
            .current_dir(here)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", stderr(&ended));
    let ascii = output(Command::new(PROGRAM).args(["report", "tiny"]).current_dir(here).env("LC_ALL", "C"));
    assert!(ascii.stdout.is_ascii() && !ascii.stdout.contains(&27));
}

/// Every seed is finished before the next one begins, and gives a table.
#[test]
fn a_run_prints_a_table_after_every_seed() {
    let folder = folder();
    let here = folder.path();
    let output = eqr(here, &run_args("run", &["--seeds", "2", "--set", "train.epochs=1"]));
    succeeded(&output);
    let said = stderr(&output);
    let tables: Vec<&str> = said.lines().filter(|line| line.starts_with("partial: ")).collect();
    // the floor; the first seed. The last table is the report
    assert_eq!(
        tables,
        ["partial: seed 1 of 2, 1 of 6 cells", "partial: seed 1 of 2, 3 of 6 cells"],
        "{said}"
    );
    let first = said.split("partial: ").nth(1).unwrap();
    let ours = first.lines().find(|line| line.starts_with(" Ours")).unwrap();
    assert!(ours.ends_with(" -") && first.contains(" Random init (floor) "), "{first}");
    let log = std::fs::read_to_string(here.join("run/cells.log")).unwrap();
    let cells = log.lines().filter(|line| line.contains("\"cell\""));
    let seeds: Vec<bool> = cells.map(|line| line.contains("seed1")).collect();
    assert!(seeds.len() == 6 && seeds.is_sorted(), "{log}");
    assert!(
        !stderr(&eqr(here, &run_args("run", &["--seeds", "2", "--set", "train.epochs=1"])))
            .contains("partial: ")
    );
}

#[test]
fn the_latex_compiles() {
    let folder = folder();
    let here = folder.path();
    run(here);
    if !is_installed("pdflatex") {
        return skip("latex", "no pdflatex on this machine: the tables were not set");
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/golden/latex.tex");
    for tex in [here.join("run/tables/table-main.tex"), golden] {
        let options = ["-interaction=nonstopmode", "-halt-on-error", "-jobname=table", "-output-directory"];
        let output = output(Command::new("pdflatex").args(options).args([here, &tex]));
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {log}", tex.display());
        assert!(!log.contains("Overfull"), "{}: a line is wider than the page: {log}", tex.display());
    }
}

#[test]
fn a_run_that_is_not_whole_is_reported_as_far_as_it_goes() {
    let folder = folder();
    let here = folder.path();
    run(here);
    let cells = here.join("run/cells");
    std::fs::write(cells.join("probe-random-init-seed0.json"), "{").unwrap();
    let ours = cells.join("pretrain-ours-seed0.json");
    let mut other = cell(&here.join("run"), "pretrain-ours-seed0");
    other["schema"] = 99.into();
    std::fs::write(&ours, seal(&other).unwrap()).unwrap();
    for format in ["terminal", "markdown", "csv", "latex", "html"] {
        let output = eqr(here, &["report", "run", "--format", format]);
        assert_eq!(output.status.code(), Some(2), "the report is printed, but incomplete");
        let (said, text) = (stderr(&output), String::from_utf8(output.stdout).unwrap());
        assert!(said.contains("probe-random-init-seed0.json is damaged"), "{said}");
        assert!(said.contains("cell format 99, this program reads 2"), "{said}");
        assert!(text.contains("Ours"), "{format}: {text}");
        if format == "html" {
            assert!(text.contains("left out: ") && text.contains("is damaged"), "the page says it too");
        }
    }
    let refused = |args: &[&str], says: &str| {
        let output = eqr(here, args);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    };
    refused(&["report", "run", "--table", "9"], "not Table 9");
    // a table without a measured value
    let mut contexts: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(here.join("run/report.json")).unwrap()).unwrap();
    contexts.as_object_mut().unwrap().remove("blake3");
    contexts["data_sets"][0]["transfers"] = serde_json::json!([{"dataset": "Pets", "metric": "top1"}]);
    std::fs::write(here.join("run/report.json"), seal(&contexts).unwrap()).unwrap();
    for format in ["terminal", "html"] {
        refused(&["report", "run", "--table", "5", "--format", format], "Table 5 has no finished cell yet");
    }
    // `compare` takes complete runs only
    refused(&["compare", "run", "run"], "is damaged");
    refused(&["compare", "run", "run"], "cell format 99");
    std::fs::write(here.join("run/report.json"), "[").unwrap();
    refused(&["report", "run"], "report.json is damaged");
    std::fs::remove_file(here.join("run/report.json")).unwrap();
    refused(&["report", "run"], "holds no run: report.json is missing");
}

/// Claims are added to a finished run. Ours and the untrained encoder have one seed; VICReg is not there.
#[test]
fn claims_are_judged_and_told_as_json() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    let claims = "claim=[{first=\"Ours\",second=\"Random init\",task=\"rotation\",margin=0.25},\
                  {first=\"Ours\",second=\"VICReg\",task=\"mean\"}]";
    let output = eqr(here, &run_args("run", &["--set", claims]));
    succeeded(&output);
    let tables = String::from_utf8(output.stdout).unwrap();
    let (title, first) = tables.split_once("Claims of the suite file").expect("a section of claims");
    assert!(!title.contains("Representation y") && first.contains("rotation: Ours > Random init by 0.25"));
    let markdown = std::fs::read_to_string(here.join("run/tables/table-main.md")).unwrap();
    assert!(
        markdown.contains("- 2 claims: 0 reproduced, 0 contradicted, 1 open, 1 not measured."),
        "{markdown}"
    );

    let output = eqr(here, &["report", "run", "--json"]);
    succeeded(&output);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = serde_json::json!({"reproduced": 0, "contradicted": 0, "open": 1, "not measured": 1});
    assert_eq!((&found["counts"], &found["counts_by_family"]["own"]), (&counts, &counts));
    let [rotation, mean] = &found["claims"].as_array().unwrap()[..] else { panic!("{found}") };
    let read = |method: &str| {
        let cell = cell(&here.join("run"), &format!("probe-{method}-seed0"));
        let metrics = cell["metrics"].as_array().unwrap().iter();
        let own =
            metrics.filter(|metric| metric["task"] == "rotation" && metric["metric"] == "r2_per_output");
        let values: Vec<f64> = own.map(|metric| metric["value"].as_f64().unwrap()).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let difference = rotation["difference"].as_f64().unwrap();
    assert!((difference - (read("ours") - read("random-init"))).abs() < 1e-12, "{rotation}");
    assert_eq!((&rotation["verdict"], &rotation["n"]), (&"open".into(), &serde_json::json!([1, 1])));
    assert_eq!((&rotation["margin"], &rotation["p"]), (&0.25.into(), &serde_json::Value::Null));
    assert_eq!((&mean["verdict"], &mean["difference"]), (&"not measured".into(), &serde_json::Value::Null));
    let both = eqr(here, &["report", "run", "--json", "--format", "csv"]);
    assert_eq!(both.status.code(), Some(2), "{}", stderr(&both));
}
