//! A suite so small that a test can train it, and ways to run the program as a user does.
#![allow(dead_code)] // each test file uses its own part

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use tch::{CModule, Device, Kind, Tensor};

/// The launcher, with the engines beside it.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_eqr-bench");

/// 16 classes x 6 objects at 16 pixels; batch 25 does not divide by 2 or 3 and gives 3 steps an epoch.
pub const TINY: &str = r#"
name = "tiny"
title = "A tiny suite"
methods = ["Random init", "Ours"]
seeds = 1

[data]
source = "solids"
spec = { name = "solids", side = 16, objects_per_class = 6, views = 4, seed = 0 }

[model]
patch = 4
dim = 32
depth = 2
heads = 2
out = 32
head = { hidden = 32, embed = 16 }
decoder = { depth = 2, dim = 16, heads = 2 }

[train]
batch = 25
epochs = 7
lr = 1e-2

[probe]
seeds = 2
train_pairs = 200
test_pairs = 100
regression = { hidden = 16, epochs = 3, batch = 64, lr = 1e-3 }
classification = { epochs = 3, batch = 64, lr = 1e-3 }
"#;

/// A folder with `tiny.toml` in it.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("tiny.toml"), TINY).expect("the suite file");
    folder
}

/// The program in `folder`, one thread, precision fp32 where it trains.
pub fn eqr(folder: &Path, args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).current_dir(folder).output().expect("the launcher starts")
}

/// `mpirun -n ranks` of the program. `None`, with a message, where there is no mpirun.
pub fn mpirun(folder: &Path, ranks: usize, args: &[&str]) -> Option<Command> {
    if Command::new("mpirun").arg("--version").output().is_err() {
        skipped("no mpirun on this machine");
        return None;
    }
    let mut command = Command::new("mpirun");
    command.args(["-n", &ranks.to_string(), "--bind-to", "none", "--oversubscribe", "--allow-run-as-root"]);
    command.arg(PROGRAM).args(args).current_dir(folder);
    Some(command)
}

/// `photos.h5`: photographs of three classes that differ in hue, 24 training and 9 test images each, squares of 20 px.
pub fn photographs(folder: &Path) {
    for (split, count) in [("train", 24u32), ("test", 9)] {
        for class in 0..3u32 {
            let to = folder.join("photos").join(split).join(format!("class{class}"));
            std::fs::create_dir_all(&to).unwrap();
            for i in 0..count {
                let seed = i + 100 * class + if split == "train" { 0 } else { 5000 };
                let image = RgbImage::from_fn(20, 20, |x, y| {
                    let wave =
                        |k: u32| (((x * (3 + k) + y * (5 + seed % 7)) as f32 / 9.0 + seed as f32).sin() * 60.0) as i32;
                    let own = |channel: u32| if channel == class { 170 } else { 80 };
                    Rgb([0, 1, 2].map(|channel| (own(channel) + wave(channel)).clamp(0, 255) as u8))
                });
                image.save(to.join(format!("{i:02}.png"))).unwrap();
            }
        }
    }
    succeeded(&eqr(folder, &["data", "pack", "class-folders", "photos", "--out", "photos.h5", "--side", "20"]));
}

/// Writes `forward` as TorchScript for images of `side` pixels.
pub fn traced(path: &Path, side: i64, mut forward: impl FnMut(&Tensor) -> Tensor) {
    let images = Tensor::ones([2, 3, side, side], (Kind::Float, Device::Cpu));
    let mut closure = |inputs: &[Tensor]| vec![forward(&inputs[0])];
    CModule::create_by_tracing("Encoder", "forward", &[images], &mut closure).unwrap().save(path).unwrap();
}

/// A map of colours: a 4 x 4 convolution whose channels are means of one colour or edges, with stride 4.
pub fn colour_map(images: &Tensor) -> Tensor {
    let weight = (Tensor::arange(8 * 3 * 16, (Kind::Float, Device::Cpu)) * 0.7).sin().view([8, 3, 4, 4]) * 0.2;
    images.conv2d(&weight, None::<Tensor>, [4, 4], [0, 0], [1, 1], 1).relu()
}

/// To be held by a test: one at a time. HDF5 locks a file that is being written, and a program started meanwhile by another test would
/// inherit the lock and keep it for as long as it runs.
pub fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// stderr as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails with the program's messages unless it succeeded.
pub fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, stderr(output));
}

/// A cell of a run.
pub fn cell(run: &Path, id: &str) -> serde_json::Value {
    let path: PathBuf = run.join("cells").join(format!("{id}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("a cell is JSON")
}

/// Fails unless the curves of cell `id` in `run-1`, `run-2` and `run-3` agree over the first `steps` steps.
pub fn same_losses(folder: &Path, method: &str, id: &str, steps: usize) {
    let curve = |ranks: usize| cell(&folder.join(format!("run-{ranks}")), id)["curve"].as_array().unwrap().clone();
    let alone = curve(1);
    assert!(alone.len() >= steps, "{method}: a point a step");
    for ranks in [2, 3] {
        for (one, many) in alone.iter().zip(curve(ranks)).take(steps) {
            for (term, value) in one["terms"].as_object().unwrap() {
                let (a, b) = (value.as_f64().unwrap(), many["terms"][term].as_f64().unwrap());
                let step = &one["step"];
                assert!(
                    (a - b).abs() <= 1e-4 * a.abs().max(1e-3),
                    "{method}, {ranks} ranks, step {step}, {term}: {a} {b}"
                );
            }
        }
    }
}

/// A picture with structure and no two alike.
pub fn picture(width: u32, height: u32, salt: u32) -> RgbImage {
    let mut state = salt.wrapping_mul(2_654_435_761) | 1;
    RgbImage::from_fn(width, height, |x, y| {
        // xorshift: noise that no encoder shrinks
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let wave = ((x * (salt % 5 + 1) + y * 3) % 64) * 2;
        Rgb([(wave + state % 64) as u8, (x + salt * 37 + state / 64 % 32) as u8, (y * 2 + state / 4096 % 32) as u8])
    })
}

/// Class folders `folder/name` of `classes` x `images` pictures whose sizes are those that `size` gives.
pub fn class_folders(
    folder: &Path,
    name: &str,
    classes: u32,
    images: u32,
    size: impl Fn(u32) -> (u32, u32),
) -> PathBuf {
    let root = folder.join(name);
    for class in 0..classes {
        let of_class = root.join(format!("class {class}"));
        std::fs::create_dir_all(&of_class).expect("a folder");
        for index in 0..images {
            let (width, height) = size(index);
            let path = of_class.join(format!("{index:03}.png"));
            picture(width, height, class * images + index).save(path).expect("a picture");
        }
    }
    root
}

/// Says that a test was skipped, past the test harness, which swallows what a passing test prints.
pub fn skipped(why: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("stderr is open");
}

/// A real archive, where it is at hand.
pub fn shared(file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let root = std::env::var_os("EQR_SHARED").map_or(beside, PathBuf::from);
    let path = root.join("data").join(file);
    if path.is_file() {
        return Some(path);
    }
    skipped(&format!("{} is not there", path.display()));
    None
}

/// A copy of a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file");
        }
    }
}

/// Waits until the training `ours-seed0` of `run` has `count` checkpoints.
pub fn wait_for_checkpoints(run: &Path, count: usize) {
    let whole = |name: String| name.strip_prefix("step-").is_some_and(|step| step.parse::<u64>().is_ok());
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let entries = std::fs::read_dir(run.join("checkpoints/ours-seed0")).into_iter().flatten().flatten();
        if entries.filter(|entry| whole(entry.file_name().to_string_lossy().into_owned())).count() >= count {
            return;
        }
        assert!(Instant::now() < deadline, "no checkpoint appeared");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a run and kills it when it has `count` checkpoints.
pub fn kill_after_checkpoints(command: &mut Command, run: &Path, count: usize) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    wait_for_checkpoints(run, count);
    child.kill().expect("it runs");
    child.wait().expect("it has been killed");
}
