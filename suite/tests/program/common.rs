//! A suite that trains in seconds, data for it, and ways to run the program.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use tch::{CModule, Device, Kind, Tensor};

use crate::skip::{skip, skipped};

/// The launcher. The engines are in the same folder.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_eqr-bench");

/// 16 classes x 6 objects at 16 pixels; batch 25 is divisible by neither 2 nor 3 and gives 3 steps per epoch.
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

/// The tiny suite with the sections `data` instead of its own data set.
pub fn tiny_on(data: &str) -> String {
    let (before, rest) = TINY.split_once("[data]\n").unwrap();
    format!("{before}{data}{}", &rest[rest.find("[model]").unwrap()..])
}

/// Rows with and without a predictor.
pub const FOUR_METHODS: &str = "VICReg,Ours,SIE(rot),SIE(rot+color)";

/// Arguments that run the tiny suite into the folder `out`, with one thread per rank.
pub fn run_args<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "tiny.toml", "--out", out, "--threads", "1", "--precision", "fp32"], more].concat()
}

/// Arguments of a run whose training is long enough to be interrupted.
pub fn long_args(out: &str) -> Vec<&str> {
    run_args(out, &["--methods", "Ours", "--set", "train.epochs=30"])
}

/// A folder with `tiny.toml` in it.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("tiny.toml"), TINY).expect("the suite file");
    folder
}

/// A folder for runs that many tests read. Removes the folders of earlier test processes.
fn folder_of_shared_runs() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for old in std::fs::read_dir(root).expect("cargo makes it").flatten() {
            let process = old
                .file_name()
                .to_string_lossy()
                .strip_prefix("runs-of-")
                .map(|id| Path::new("/proc").join(id));
            if process.is_some_and(|process| !process.exists()) {
                std::fs::remove_dir_all(old.path()).expect("nobody uses it");
            }
        }
        let folder = root.join(format!("runs-of-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("it is new");
        std::fs::write(folder.join("tiny.toml"), TINY).expect("the suite file");
        folder
    });
    &FOLDER
}

/// Runs the program once for many tests. A test that changes the run takes a [`copy`].
pub fn finished(ranks: usize, args: &[&str]) -> PathBuf {
    let here = folder_of_shared_runs();
    succeeded(&if ranks == 1 { eqr(here, args) } else { eqr_ranks(here, ranks, args) });
    here.join(args[3])
}

/// A run of the tiny suite.
pub fn tiny_run() -> &'static Path {
    static RUN: LazyLock<PathBuf> = LazyLock::new(|| finished(1, &run_args("tiny", &[])));
    &RUN
}

/// A run of the tiny suite with [`FOUR_METHODS`].
pub fn run_of_four_methods() -> &'static Path {
    static RUN: LazyLock<PathBuf> =
        LazyLock::new(|| finished(1, &run_args("four", &["--methods", FOUR_METHODS])));
    &RUN
}

/// The run of [`long_args`].
pub fn long_run() -> &'static Path {
    static RUN: LazyLock<PathBuf> = LazyLock::new(|| finished(1, &long_args("long")));
    &RUN
}

/// The run of [`long_args`] on two ranks.
pub fn long_run_of_two_ranks() -> &'static Path {
    static RUN: LazyLock<PathBuf> = LazyLock::new(|| finished(2, &long_args("long-2")));
    &RUN
}

/// Held for reading to start a process, and for writing to write HDF5. HDF5 locks the file that it writes. A
/// process started in the meantime would inherit that lock and keep it until it ends.
static WRITING: RwLock<()> = RwLock::new(());

/// Keeps processes from being started while this one writes an HDF5 file.
pub fn writing_hdf5() -> RwLockWriteGuard<'static, ()> {
    WRITING.write().unwrap_or_else(PoisonError::into_inner)
}

fn try_spawn(command: &mut Command) -> std::io::Result<Child> {
    // what a test sees does not depend on this machine's GPUs
    if command.get_envs().all(|(name, _)| name != GPUS) {
        command.env(GPUS, "");
    }
    let _nothing_is_written = WRITING.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// The GPUs that a process may see.
pub const GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// Starts a process.
pub fn spawn(command: &mut Command) -> Child {
    try_spawn(command).expect("the process starts")
}

/// Runs a process to its end.
pub fn output(command: &mut Command) -> Output {
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    child.wait_with_output().expect("it ends")
}

/// Runs the program in `folder`.
pub fn eqr(folder: &Path, args: &[&str]) -> Output {
    output(Command::new(PROGRAM).args(args).current_dir(folder))
}

/// `mpirun -n ranks` in `folder`, without a program yet.
pub fn mpirun(folder: &Path, ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["-n", &ranks.to_string(), "--bind-to", "none", "--oversubscribe", "--allow-run-as-root"]);
    command.current_dir(folder);
    command
}

/// `mpirun -n ranks` of the program.
pub fn eqr_ranks_command(folder: &Path, ranks: usize, args: &[&str]) -> Command {
    let mut command = mpirun(folder, ranks);
    command.arg(PROGRAM).args(args);
    command
}

/// Runs the program in `folder` on several ranks.
pub fn eqr_ranks(folder: &Path, ranks: usize, args: &[&str]) -> Output {
    output(&mut eqr_ranks_command(folder, ranks, args))
}

/// Whether a program is installed.
pub fn is_installed(program: &str) -> bool {
    let child = try_spawn(Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()));
    child.and_then(|mut child| child.wait()).is_ok_and(|status| status.success())
}

/// Whether the program can run on several ranks. Skips the test if not.
pub fn has_mpi() -> bool {
    static MPI: LazyLock<bool> = LazyLock::new(|| cfg!(feature = "mpi") && is_installed("mpirun"));
    if !*MPI {
        skip("mpi", "no mpirun on this machine, or built without MPI");
    }
    *MPI
}

/// Whether tests that take minutes run (`make test-full`). Skips the test if not.
pub fn takes_long() -> bool {
    let full = std::env::var_os("EQR_TEST_FULL").is_some();
    if !full {
        skipped("it takes minutes; EQR_TEST_FULL=1 runs it");
    }
    full
}

/// Packs `photos.h5`: three classes that differ in hue, 24 training and 9 test images each, 20 x 20 pixels.
pub fn photographs(folder: &Path) {
    for (split, count) in [("train", 24u32), ("test", 9)] {
        for class in 0..3u32 {
            let to = folder.join("photos").join(split).join(format!("class{class}"));
            std::fs::create_dir_all(&to).unwrap();
            for i in 0..count {
                let seed = i + 100 * class + if split == "train" { 0 } else { 5000 };
                let image = RgbImage::from_fn(20, 20, |x, y| {
                    let wave = |k: u32| {
                        (((x * (3 + k) + y * (5 + seed % 7)) as f32 / 9.0 + seed as f32).sin() * 60.0) as i32
                    };
                    let own = |channel: u32| if channel == class { 170 } else { 80 };
                    Rgb([0, 1, 2].map(|channel| (own(channel) + wave(channel)).clamp(0, 255) as u8))
                });
                image.save(to.join(format!("{i:02}.png"))).unwrap();
            }
        }
    }
    succeeded(&eqr(
        folder,
        &["data", "pack", "class-folders", "photos", "--out", "photos.h5", "--side", "20"],
    ));
}

/// Writes `forward` as TorchScript, traced with images of `side` pixels.
pub fn traced(path: &Path, side: i64, mut forward: impl FnMut(&Tensor) -> Tensor) {
    let images = Tensor::ones([2, 3, side, side], (Kind::Float, Device::Cpu));
    let mut closure = |inputs: &[Tensor]| vec![forward(&inputs[0])];
    CModule::create_by_tracing("Encoder", "forward", &[images], &mut closure).unwrap().save(path).unwrap();
}

/// A token map of colours and edges: a fixed 4 x 4 convolution with stride 4.
pub fn colour_map(images: &Tensor) -> Tensor {
    let weight =
        (Tensor::arange(8 * 3 * 16, (Kind::Float, Device::Cpu)) * 0.7).sin().view([8, 3, 4, 4]) * 0.2;
    images.conv2d(&weight, None::<Tensor>, [4, 4], [0, 0], [1, 1], 1).relu()
}

/// stderr as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails with the program's messages unless it succeeded.
pub fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, stderr(output));
}

/// The command ended with exit code 2 and one `error:` that contains all of `says`.
pub fn is_refusal(output: &Output, says: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert!(text.matches("(os error").count() <= 1, "the system's words come once: {text}");
    for part in says {
        assert!(text.contains(part), "should say `{part}`: {text}");
    }
}

/// A cell of a run, without its seal.
pub fn cell(run: &Path, id: &str) -> serde_json::Value {
    let path: PathBuf = run.join("cells").join(format!("{id}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut cell: serde_json::Value = serde_json::from_str(&text).expect("a cell is JSON");
    cell.as_object_mut().expect("a cell is an object").remove("blake3").expect("a cell is sealed");
    cell
}

/// Fails unless the losses of cell `id` are the same in both runs over the first `steps` steps, up to
/// rounding.
pub fn same_losses(one: &Path, other: &Path, id: &str, steps: usize) {
    let [one, other_curve] = [one, other].map(|run| cell(run, id)["curve"].as_array().unwrap().clone());
    assert!(one.len() >= steps && other_curve.len() >= steps, "{id}: a point a step");
    for (one, other_point) in one.iter().zip(other_curve).take(steps) {
        for (term, value) in one["terms"].as_object().unwrap() {
            let (a, b) = (value.as_f64().unwrap(), other_point["terms"][term].as_f64().unwrap());
            let close = (a - b).abs() <= 1e-4 * a.abs().max(1e-3);
            assert!(close, "{id} in {}, step {}, {term}: {a} {b}", other.display(), one["step"]);
        }
    }
}

/// A picture with structure, a different one for each `salt`.
pub fn picture(width: u32, height: u32, salt: u32) -> RgbImage {
    let mut state = salt.wrapping_mul(2_654_435_761) | 1;
    RgbImage::from_fn(width, height, |x, y| {
        // xorshift: noise that no image format compresses
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let wave = ((x * (salt % 5 + 1) + y * 3) % 64) * 2;
        Rgb([
            (wave + state % 64) as u8,
            (x + salt * 37 + state / 64 % 32) as u8,
            (y * 2 + state / 4096 % 32) as u8,
        ])
    })
}

/// Class folders `folder/name` of `classes` x `images` pictures. `size` gives width and height by index.
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

/// A real archive. Skips the test if it is missing.
pub fn shared(file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = std::env::var_os("EQR_SHARED").map_or(beside, PathBuf::from).join("data").join(file);
    if !path.is_file() {
        skip("shared", &format!("{} is not there", path.display()));
        return None;
    }
    Some(path)
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
    let mut child = spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    wait_for_checkpoints(run, count);
    child.kill().expect("it runs");
    child.wait().expect("it has been killed");
}
