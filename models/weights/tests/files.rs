//! Files that Python wrote ([torch_files.py](../../../scripts/reference/torch_files.py)): element i of every
//! tensor is i. Those that would run a program are refused, and nothing runs.

use std::path::{Path, PathBuf};

use eqr_weights::{Element, Error, RawTensor, Weights};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

fn open(name: &str) -> Weights {
    Weights::open(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Values of a tensor as numbers. Half precision is given as its bits.
fn numbers(tensor: &RawTensor) -> Vec<f64> {
    let bytes = tensor.bytes.chunks(tensor.element.bytes());
    let number = |bytes: &[u8]| match tensor.element {
        Element::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
        Element::F32 => f32::from_le_bytes(bytes.try_into().unwrap()).into(),
        _ => bytes.iter().rev().fold(0.0, |number, &byte| number * 256.0 + f64::from(byte)),
    };
    bytes.map(number).collect()
}

fn read(weights: &mut Weights, name: &str) -> RawTensor {
    weights.read([name]).unwrap().remove(name).unwrap_or_else(|| panic!("{name} is listed"))
}

fn counting(count: usize) -> Vec<f64> {
    (0..count).map(|i| i as f64).collect()
}

#[test]
fn every_type_is_read() {
    for name in ["types.pth", "deflated.pth"] {
        let mut weights = open(name);
        for (tensor, element, expected) in [
            ("float64", Element::F64, counting(4)),
            ("float32", Element::F32, counting(4)),
            ("float16", Element::F16, vec![0.0, 0x3c00 as f64, 0x4000 as f64, 0x4200 as f64]),
            ("bfloat16", Element::BF16, vec![0.0, 0x3f80 as f64, 0x4000 as f64, 0x4040 as f64]),
            ("int64", Element::I64, counting(4)),
            ("int32", Element::I32, counting(4)),
            ("int16", Element::I16, counting(4)),
            ("int8", Element::I8, counting(4)),
            ("uint8", Element::U8, counting(4)),
            ("bool", Element::Bool, counting(2)),
        ] {
            let read = read(&mut weights, tensor);
            assert_eq!((read.element, numbers(&read)), (element, expected), "{name}: {tensor}");
        }
    }
}

#[test]
fn checkpoints_of_trainings_are_searched_and_views_are_honoured() {
    for name in ["nested.pth", "legacy.pth"] {
        let mut weights = open(name);
        let names: Vec<&str> = weights.listed().keys().map(String::as_str).collect();
        let expected = [
            "models.0.weight",
            "student.columns",
            "student.number",
            "student.row",
            "student.transposed",
            "student.whole",
            "teacher.backbone.bias",
            "teacher.backbone.weight",
        ];
        assert_eq!(names, expected, "{name}");
        assert_eq!(weights.listed()["student.transposed"].shape, [3, 4]);
        let all = weights.read(expected).unwrap();
        assert_eq!(numbers(&all["student.whole"]), counting(12));
        assert_eq!(
            numbers(&all["student.transposed"]),
            [0.0, 3.0, 6.0, 9.0, 1.0, 4.0, 7.0, 10.0, 2.0, 5.0, 8.0, 11.0]
        );
        assert_eq!(numbers(&all["student.row"]), [6.0, 7.0, 8.0]);
        assert_eq!(numbers(&all["student.columns"]), [1.0, 2.0, 4.0, 5.0, 7.0, 8.0, 10.0, 11.0]);
        assert_eq!((numbers(&all["student.number"]), all["student.number"].shape.len()), (vec![5.0], 0));
        assert_eq!(numbers(&all["teacher.backbone.bias"]), counting(3));
    }
}

#[test]
fn hostile_files_are_refused_by_name_and_nothing_runs() {
    for (name, refused) in [
        ("system", "posix.system"),
        ("eval", "__builtin__.eval"),
        ("getattr", "__builtin__.getattr"),
        ("nested", "__builtin__.exec"),
        ("module", "torch.nn.modules.container.Sequential"),
    ] {
        for form in ["", "-legacy"] {
            let name = format!("hostile-{name}{form}.pth");
            match Weights::open(&file(&name)).err().expect("must be refused") {
                Error::Refused(global) => assert_eq!(global, refused, "{name}"),
                other => panic!("{name}: {other}"),
            }
        }
    }
    assert!(!Path::new("ran").exists());
}

#[test]
fn shards_are_found_by_their_index() {
    let mut weights = open("model.safetensors.index.json");
    assert_eq!(weights.listed().keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(numbers(&read(&mut weights, "a")), counting(6));
    assert_eq!(read(&mut weights, "b").element, Element::BF16);
    assert_eq!(numbers(&read(&mut weights, "c")), counting(2));
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index.json");
    for (text, says) in [
        (r#"{"weight_map": {"a": "../secret.safetensors"}}"#, "not a file beside it"),
        (r#"{"weight_map": {"a": "absent.safetensors"}}"#, "shard absent.safetensors"),
        (r#"{"other": 1}"#, "no index of shards"),
        ("{", "not JSON"),
    ] {
        std::fs::write(&index, text).unwrap();
        let refusal = Weights::open(&index).err().expect("must be refused").to_string();
        assert!(refusal.contains(says), "{refusal}");
    }
}

/// Every file cut off at many places: an error, never a panic, and never a tensor of other values.
#[test]
fn truncated_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    for name in ["types.pth", "legacy.pth", "model-00001-of-00002.safetensors"] {
        let whole = std::fs::read(file(name)).unwrap();
        for length in (0..whole.len() - 1).step_by(37) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let refusal = Weights::open(&path).err().unwrap_or_else(|| panic!("{name} cut to {length}"));
            assert!(!refusal.to_string().is_empty());
        }
    }
}

/// A small file must not become large in memory.
#[test]
fn tensors_that_multiply_their_bytes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("overlapping.safetensors");
    let tensor = r#"{"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}"#;
    let entries: Vec<String> = (0..100).map(|index| format!("\"t{index}\": {tensor}")).collect();
    let header = format!("{{{}}}", entries.join(", "));
    for (count, fits) in [(1, true), (100, false)] {
        let header = if count == 1 { format!("{{\"t0\": {tensor}}}") } else { header.clone() };
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 16]].concat();
        // the header itself must not count as room for tensors
        std::fs::write(&path, file).unwrap();
        assert_eq!(Weights::open(&path).is_ok(), fits, "{count} tensors");
    }
}
