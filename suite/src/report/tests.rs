//! Whole reports of made-up cells.

use image::GenericImageView;

use super::fixture::{context, pretrain, probe, rendered, value};
use super::formats::by_name;
use super::*;
use crate::run_folder::cell::CellKind;
use crate::run_folder::metric::Metric;

fn rotation(method: &str, seed: u64, r2: f64) -> Cell {
    probe(method, seed, &[value("rotation", "r2_per_output", 0, r2)])
}

/// Floor and Ours have two seeds, VICReg has one, and the ceiling is not measured.
fn tiny() -> (Vec<Cell>, ReportContext) {
    let cells = vec![
        rotation("Random init", 0, 0.10),
        rotation("Random init", 1, 0.12),
        rotation("Ours", 0, 0.50),
        rotation("Ours", 1, 0.60),
        rotation("VICReg", 0, 0.40),
    ];
    let context = ReportContext {
        notes: vec!["Reduced probe.".to_owned()],
        ..context(&["rotation"], &["Random init", "VICReg", "Ours", "Direct regression"])
    };
    (cells, context)
}

const MARKDOWN: &str = "\
## A tiny suite

- Reduced probe.

### Representation y: per-output R2 of a probe, top-1 of a linear classifier

| method | rotation R2 |
| :--- | ---: |
| *Random init (floor)* | *0.110 ± 0.014 [-0.017, 0.237]* |
| VICReg | 0.400 (n = 1) |
| Ours | 0.550 ± 0.071 [-0.085, 1.185] |
| *Direct regression (ceiling)* | - |

- Mean ± sample standard deviation [95% Student interval] over 2 pretraining seeds unless another n is given; a seed's value is the mean over its probe seeds.
- A constant predictor reads 0 or less in a per-output R2.
- **Warning:** rows of fewer than 3 seeds say little (one seed: no standard deviation, no interval and no test; 2 seeds: only differences above 5.4 standard deviations are found in four of five cases).
- 1 of 4 entries are not measured (`-`).
- Probes on shuffled targets, the sanity check of the R2 columns, are not measured.

### Exploratory: differences between methods, headline metric
";

#[test]
fn a_tiny_table_in_markdown() {
    let (cells, context) = tiny();
    let found = rendered(&cells, &context, "markdown");
    assert!(found.starts_with(MARKDOWN), "{found}");
    assert!(
        found.contains("| rotation: Ours - VICReg | +0.150 | - | - | - | - | not testable |\n"),
        "{found}"
    );
}

const TERMINAL: &str = "\
A tiny suite
  Reduced probe.

Representation y: per-output R2 of a probe, top-1 of a linear classifier
─────────────────────────────────────────────────────────────
 method                                          rotation R2
═════════════════════════════════════════════════════════════
 Random init (floor)           0.110 ± 0.014 [-0.017, 0.237]
 VICReg                                        0.400 (n = 1)
 Ours                          0.550 ± 0.071 [-0.085, 1.185]
 Direct regression (ceiling)                               -
─────────────────────────────────────────────────────────────
";

#[test]
fn a_tiny_table_in_a_terminal() {
    let (cells, context) = tiny();
    let found = rendered(&cells, &context, "terminal");
    assert!(found.starts_with(TERMINAL), "{found}");
}

#[test]
fn wide_tables_put_intervals_on_a_line_of_their_own() {
    let (cells, context) = tiny();
    let tasks = ["rotation", "color", "blur", "translation", "crop"].map(str::to_owned).to_vec();
    let all: Vec<Cell> = cells
        .into_iter()
        .map(|mut cell| {
            let rotation = cell.metrics[0].clone();
            cell.metrics =
                tasks.iter().map(|task| Metric { task: task.clone(), ..rotation.clone() }).collect();
            cell
        })
        .collect();
    let found = rendered(&all, &ReportContext { tasks, ..context }, "terminal");
    let lines: Vec<&str> = found.lines().collect();
    let ours = lines.iter().position(|line| line.starts_with(" Ours")).unwrap();
    assert!(lines[ours].ends_with("0.550 ± 0.071"), "{found}");
    assert!(lines[ours + 1].trim_start().starts_with("[-0.085, 1.185]"), "{found}");
}

/// The report of [`full`] as a terminal shows it.
fn shown(look: Look, numbers: Numbers) -> String {
    let (cells, context) = full();
    let (folder, contexts) = (RunFolder::new("nowhere"), [&context]);
    let report = Report { look, numbers, ..Report::new(&folder, &cells, &contexts) };
    report.render(formats::TERMINAL).unwrap()
}

#[test]
fn a_window_gets_what_fits_into_it() {
    let in_window = |width| shown(Look { width: Some(width), ..Look::default() }, Numbers::default());
    let main = |text: &str| {
        let after = text.split_once("Representation y").unwrap().1;
        after.split("Mean ±").next().unwrap().to_owned()
    };
    for width in [200, 120, 80, 60, 40] {
        let text = in_window(width);
        let longest = text.lines().map(::console::measure_text_width).max().unwrap();
        assert!(longest <= width, "{width}: {longest}");
    }
    let [wide, usual, narrow] = [120, 80, 40].map(|width| main(&in_window(width)));
    assert!(wide.contains("0.405 ± 0.007 [0.341, 0.469]"), "{wide}");
    assert!(usual.contains("0.405 ± 0.007") && !usual.contains('['), "{usual}");
    assert!(usual.contains("gets the intervals too."), "{usual}");
    // one block of columns stands below another, each with all labels
    assert!(narrow.contains("0.405") && !narrow.contains('±'), "{narrow}");
    assert!(narrow.matches("VICReg").count() > 1, "{narrow}");
}

#[test]
fn letters_and_colours_are_those_of_the_place() {
    let ascii = shown(Look { ascii: true, ..Look::default() }, Numbers::default());
    assert!(ascii.is_ascii() && ascii.contains("0.405 +- 0.007"), "{ascii}");
    let look = Look { colours: true, ..Look::default() };
    let coloured = shown(look, Numbers::default());
    let plain = shown(Look::default(), Numbers::default());
    assert_ne!(coloured, plain);
    // a coloured cell keeps the spaces at its end
    let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(lines(&::console::strip_ansi_codes(&coloured)), lines(&plain));
}

#[test]
fn numbers_are_written_as_asked_for() {
    let numbers = Numbers { digits: None, percent: true, spread: Some(Spread::Std) };
    let text = shown(Look::default(), numbers);
    assert!(text.contains("40.5 ± 0.7") && !text.contains("[0."), "{text}");
    assert!(text.contains("R2 and accuracies, and their differences, in percent."), "{text}");
    // errors of the reconstruction are no shares
    let reconstruction = text.split_once("Reconstruction: test MSE").unwrap().1;
    assert!(reconstruction.contains("0.405 ± 0.007"), "{reconstruction}");
}

#[test]
fn sections_and_columns_can_be_chosen() {
    let (cells, context) = full();
    let (folder, contexts) = (RunFolder::new("nowhere"), [&context]);
    let render = |scope, columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let report = Report { scope, columns: &columns, ..Report::new(&folder, &cells, &contexts) };
        report.render(by_name("markdown").unwrap()).map_err(|error| error.to_string())
    };
    let grid = render(Scope::Section("grid"), &["color, rotation"]).unwrap();
    assert_eq!(grid.matches("### ").count(), 1, "{grid}");
    assert!(grid.contains("| method | color R2 | rotation R2 |\n"), "{grid}");
    let error = render(Scope::Section("segmentation"), &[]).unwrap_err();
    assert!(
        error.starts_with("section `segmentation` has no value in this run\nhint: it has values of"),
        "{error}"
    );
    let error = render(Scope::All, &["rotatoin"]).unwrap_err();
    assert!(error.contains("no table has a column `rotatoin`\nhint: did you mean `rotation"), "{error}");
}

#[test]
fn a_tiny_table_in_csv() {
    let cells = [rotation("Ours", 0, 0.25), rotation("Ours", 1, 0.25), rotation("VICReg", 0, 0.125)];
    let context = context(&["rotation"], &["Ours", "VICReg", "Random init"]);
    let expected = "\
        section,row,column,value,std,ci95_low,ci95_high,n,text,values\n\
        main,Ours,rotation R2,0.25,0.0,0.25,0.25,2,,0.25 0.25\n\
        main,VICReg,rotation R2,0.125,,,,1,,0.125\n\
        main,Random init,rotation R2,,,,,,,\n\
        differences,rotation: Ours - VICReg,difference [95%],0.125,,,,,,\n\
        differences,rotation: Ours - VICReg,test,,,,,,-,\n\
        differences,rotation: Ours - VICReg,p,,,,,,,\n\
        differences,rotation: Ours - VICReg,Holm p,,,,,,,\n\
        differences,rotation: Ours - VICReg,Hedges' g,,,,,,,\n\
        differences,rotation: Ours - VICReg,verdict,,,,,,not testable,\n";
    assert_eq!(rendered(&cells, &context, "csv"), expected);
}

/// Cells of every kind: all metrics, probes during training, pretrainings.
fn full() -> (Vec<Cell>, ReportContext) {
    let tasks = ["classification", "rotation", "color"];
    let methods = ["Random init", "VICReg", "SIE(rot)", "SIE(rot+color)", "Ours", "Direct regression"];
    let mut cells = vec![];
    for (place, method) in methods.iter().enumerate() {
        for seed in 0..2 {
            let r2 = 0.1 * place as f64 + 0.01 * seed as f64;
            let mut metrics =
                vec![value("classification", "top1", 0, r2), value("reconstruction", "mse_own", 0, r2)];
            for metric in ["r2_per_output", "r2_pooled", "r2_per_output_grid", "r2_per_output_combined"] {
                metrics.extend(["rotation", "color"].map(|task| value(task, metric, 0, r2)));
            }
            metrics.push(value("color", "r2_per_output_shuffled", 0, 0.3));
            metrics.push(value("rotation", "r2_pooled_constant", 0, 0.23));
            let mut early = probe(method, seed, &metrics);
            (early.last, early.step) = (false, 50);
            cells.extend([
                early,
                probe(method, seed, &metrics),
                pretrain(method, seed, &[(10, 9.0), (100, 3.0)]),
            ]);
        }
    }
    (cells, ReportContext { table: Some(1), ..context(&tasks, &methods) })
}

#[test]
fn every_section_stands_once_and_warnings_reach_the_main_table() {
    let (cells, context) = full();
    let found = rendered(&cells, &context, "markdown");
    let headings: Vec<&str> = found.lines().filter(|line| line.starts_with("### ")).collect();
    assert_eq!(headings.len(), 11, "{headings:?}");
    assert!(
        headings[0]
            .starts_with("### The paper's claims, tested: Table 1 (paper: full scale; this run: reduced)")
    );
    let main = found.split("### ").find(|table| table.starts_with("Representation y")).unwrap();
    assert!(main.contains("**Warning:** shuffled targets of color read R2 0.300"), "{main}");
}

/// Ours on CIFAR10, and tables of its own data set, which are left out if Table 5 is requested.
#[test]
fn the_transfer_table_can_be_printed_alone() {
    let (mut cells, context) = tiny();
    let set = TransferColumn { dataset: "CIFAR10".to_owned(), metric: "top1".to_owned() };
    let context = ReportContext { transfers: vec![set], table: Some(1), ..context };
    let top1 = Metric { dataset: "CIFAR10".to_owned(), ..value("linear transfer", "top1", 0, 0.75) };
    cells.push(Cell { kind: CellKind::Transfer, ..probe("Ours", 0, &[top1]) });
    assert_eq!(context.mirrored().into_iter().collect::<Vec<_>>(), [1, 5]);
    let headings = |text: String| -> Vec<String> {
        text.lines()
            .filter_map(|line| Some(line.strip_prefix("### ")?.split([':', '(']).next()?.to_owned()))
            .collect()
    };
    let folder = RunFolder::new("nowhere");
    let contexts = [&context];
    let of_table = |table| {
        let scope = Scope::Mirroring(table);
        let report = Report { scope, ..Report::new(&folder, &cells, &contexts) };
        report.render(by_name("markdown").unwrap())
    };
    let alone = headings(of_table(5).unwrap());
    assert_eq!(alone, ["Linear transfer", "Beside the paper's Table 5 "]);
    let all = headings(rendered(&cells, &context, "markdown"));
    assert!(all.ends_with(&alone) && all.len() > 3, "{all:?}");
    assert_eq!(headings(of_table(1).unwrap()), all);
    assert!(metrics_csv::metrics(&cells).unwrap().contains("CIFAR10,linear transfer,Ours,top1,0,0,0.75"));
}

#[test]
fn the_headline_is_claims_and_main_tables() {
    let (cells, context) = full();
    let folder = RunFolder::new("nowhere");
    let contexts = [&context];
    let report = Report { scope: Scope::Headline, ..Report::new(&folder, &cells, &contexts) };
    let text = report.render(by_name("markdown").unwrap()).unwrap();
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(headings[0].starts_with("The paper's claims, tested"), "{headings:?}");
    assert!(headings[1..].iter().all(|heading| !heading.starts_with("Exploratory")), "{headings:?}");
    assert!(headings.last().unwrap().starts_with("Representation y"), "{headings:?}");
    assert!(text.lines().count() < rendered(&cells, &context, "markdown").lines().count() / 2);
}

#[test]
fn any_part_of_the_cells_can_be_reported() {
    let (cells, context) = full();
    for format in FORMATS.iter().map(|format| format.name()) {
        for cell in &cells {
            rendered(std::slice::from_ref(cell), &context, format);
        }
        for end in 1..cells.len() {
            rendered(&cells[..end], &context, format);
        }
    }
    for cell in &cells {
        figures::all(std::slice::from_ref(cell), &context).unwrap();
    }
    let nothing = ReportContext { tasks: vec![], methods: vec![], ..context };
    rendered(&cells, &nothing, "terminal");
    assert!(figures::all(&cells, &nothing).unwrap().is_empty());
}

#[test]
fn values_that_are_no_numbers_are_left_out_and_told() {
    let (mut cells, context) = tiny();
    cells[2].metrics[0].value = f64::NAN;
    let found = rendered(&cells, &context, "markdown");
    assert!(found.contains("1 values are NaN or infinite and are left out."), "{found}");
}

#[test]
fn no_cell_is_an_error_that_says_what_to_do() {
    let (_, context) = tiny();
    let folder = RunFolder::new("nowhere");
    let error = Report::new(&folder, &[], &[&context]).render(formats::TERMINAL).unwrap_err().to_string();
    assert!(
        error.contains("suite tiny: no finished cell") && error.contains("hint: `eqr-bench run`"),
        "{error}"
    );
}

#[test]
fn a_report_is_written_whole_and_twice_the_same() {
    let (cells, context) = full();
    let folder = tempfile::tempdir().unwrap();
    let store = RunFolder::new(folder.path());
    std::fs::write(store.path(layout::MANIFEST), "{}").unwrap();
    for cell in &cells {
        let id = format!("{}-{}", cell.id, cell.step);
        store.write_cell(&Cell { id, ..cell.clone() }).unwrap();
    }
    let files = [
        "metrics.csv",
        "tables/table-1.md",
        "tables/table-1.csv",
        "figures/training-curves.png",
        "figures/probe-curve.png",
    ];
    let written = || {
        write(&store, &store.cells().unwrap(), std::slice::from_ref(&context)).unwrap();
        files.map(|file| std::fs::read(store.path(file)).unwrap())
    };
    let first = written();
    assert_eq!(written(), first);
    let size = |png: &[u8]| image::load_from_memory(png).unwrap().dimensions();
    // Five trained methods fill two rows. Three tasks fill one row, above a legend of six entries.
    assert_eq!(size(&first[3]), (1560, 44 + 2 * 390));
    assert_eq!(size(&first[4]), (1560, 44 + 390 + 75));
}

#[test]
fn losses_without_spread_or_of_any_size_can_be_drawn() {
    let context = context(&["rotation"], &["Ours"]);
    let ends = [
        (0.0, 0.0),
        (1e300, 1e300),
        (-1e300, 1e300),
        (1.0, 1.0 + f64::EPSILON),
        (f64::NAN, 2.0),
        (1e-300, 2e-300),
    ];
    for (first, last) in ends {
        let cells = [pretrain("Ours", 0, &[(1, first), (u64::MAX, last)])];
        let figures = figures::all(&cells, &context).unwrap();
        let [("training-curves", png)] = &figures[..] else { panic!("{} figures", figures.len()) };
        assert_eq!(image::load_from_memory(png).unwrap().dimensions(), (520, 44 + 390));
    }
}
