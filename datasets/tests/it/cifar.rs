//! CIFAR's batches, binary and pickled: valid, damaged and malicious ones.

use eqr_datasets::sources::{CIFAR10, CIFAR100, Source};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::common::{Files, plan, with, without};

/// Bytes of an image.
const IMAGE: usize = 3072;
/// Pickles of two images each, written by scripts/reference/cifar_pickles.py.
const TEN: [(&str, &[u8]); 5] = [
    ("python2", include_bytes!("../reference/cifar10-batch.python2")),
    ("python3-protocol2", include_bytes!("../reference/cifar10-batch.python3-protocol2")),
    ("python3-protocol3", include_bytes!("../reference/cifar10-batch.python3-protocol3")),
    ("python3-protocol4", include_bytes!("../reference/cifar10-batch.python3-protocol4")),
    ("python3-protocol5", include_bytes!("../reference/cifar10-batch.python3-protocol5")),
];
const TEN_META: &[u8] = include_bytes!("../reference/cifar10-meta.python2");
const TEN_META_4: &[u8] = include_bytes!("../reference/cifar10-meta.python3-protocol4");
const HUNDRED: &[u8] = include_bytes!("../reference/cifar100-batch.python2");
const NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

fn assert_refused(source: &Source, tree: &Files, parts: &[&str]) {
    let message = plan(source, tree).expect_err("the tree is bad").to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// The image of this number, as the script makes it.
fn planes(image: usize) -> Vec<u8> {
    (0..IMAGE).map(|at| ((at * 7 + at / 32 + 31 * image) % 251) as u8).collect()
}

/// A batch of the binary version: labels and numbers of images.
fn binary(records: &[(&[u8], usize)]) -> Vec<u8> {
    records.iter().flat_map(|(labels, image)| [labels.to_vec(), planes(*image)].concat()).collect()
}

fn ten_binary() -> Files {
    let file = |name: &str| format!("cifar-10-batches-bin/{name}");
    let mut tree: Files = (0..5u8)
        .map(|n| (file(&format!("data_batch_{}.bin", n + 1)), binary(&[(&[n], n.into()), (&[9 - n], 50)])))
        .collect();
    tree.push((file("test_batch.bin"), binary(&[(&[7], 60)])));
    tree.push((file("batches.meta.txt"), (NAMES.join("\n") + "\n\n").into_bytes()));
    tree.push((file("readme.html"), vec![]));
    tree
}

fn ten_python(batch: &[u8], meta: &[u8]) -> Files {
    let batches =
        ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
    let mut tree: Files =
        batches.iter().map(|name| (format!("cifar-10-batches-py/{name}"), batch.to_vec())).collect();
    tree.push(("cifar-10-batches-py/batches.meta".into(), meta.to_vec()));
    tree
}

/// Asserts that `bytes` hold these images, with rows and channels in the right order.
fn assert_images(source: &Source, member: &str, bytes: &[u8], images: &[usize]) {
    let found = (source.records.unwrap())(member, bytes).unwrap();
    assert_eq!(found.len(), images.len());
    for (found, image) in found.iter().zip(images) {
        let planes = planes(*image);
        assert_eq!(found.dimensions(), (32, 32));
        for (x, y, pixel) in found.enumerate_pixels() {
            let at = (y * 32 + x) as usize;
            assert_eq!(
                pixel.0,
                [planes[at], planes[1024 + at], planes[2048 + at]],
                "{member}: image {image} at {x}, {y}"
            );
        }
    }
}

#[test]
fn cifar10_binary_gives_labels_and_images() {
    let plan = plan(&CIFAR10, &ten_binary()).unwrap();
    assert_eq!(
        (plan.name.as_str(), plan.class_names.as_slice()),
        ("CIFAR10", NAMES.map(String::from).as_slice())
    );
    let [(train, items), (test, tests)] = plan.splits.as_slice() else { panic!("two splits") };
    assert_eq!((train.as_str(), test.as_str()), ("train", "test"));
    let labels: Vec<i32> = items.iter().map(|item| item.label).collect();
    assert_eq!(labels, [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]);
    assert_eq!(items[3].image, "cifar-10-batches-bin/data_batch_2.bin#1");
    assert_eq!(
        (tests.len(), tests[0].image.as_str(), tests[0].label),
        (1, "cifar-10-batches-bin/test_batch.bin#0", 7)
    );
    assert_images(&CIFAR10, "x/data_batch_1.bin", &ten_binary()[0].1, &[0, 50]);
}

#[test]
fn cifar100_binary_takes_the_fine_labels() {
    let names: String = (0..100).map(|n| format!("class {n}\r\n")).collect();
    let file = |name: &str, bytes: Vec<u8>| (format!("cifar-100-binary/{name}"), bytes);
    let train = binary(&[(&[19, 99], 3), (&[0, 4], 4)]);
    let tree: Files = vec![
        file("train.bin", train.clone()),
        file("test.bin", binary(&[(&[5, 20], 5)])),
        file("fine_label_names.txt", names.into_bytes()),
        file("coarse_label_names.txt", b"aquatic_mammals\n".to_vec()),
    ];
    let good = plan(&CIFAR100, &tree).unwrap();
    assert_eq!(
        (good.name.as_str(), good.class_names.len(), good.class_names[99].as_str()),
        ("CIFAR100", 100, "class 99")
    );
    let labels = |split: usize| good.splits[split].1.iter().map(|item| item.label).collect::<Vec<_>>();
    assert_eq!((labels(0), labels(1)), (vec![99, 4], vec![20]));
    assert_images(&CIFAR100, "train.bin", &train, &[3, 4]);
    let bad = with(&tree, "cifar-100-binary/test.bin", binary(&[(&[5, 100], 5)]));
    assert_refused(&CIFAR100, &bad, &["cifar-100-binary/test.bin", "image 0", "label 100", "0 to 99"]);
    let ten = with(&tree, "cifar-100-binary/test.bin", binary(&[(&[5], 5)]));
    assert_refused(&CIFAR100, &ten, &["3073 bytes", "multiple of 3074"]);
}

#[test]
fn python_batches_of_every_protocol_are_the_same() {
    for (writer, bytes) in TEN {
        for meta in [TEN_META, TEN_META_4] {
            let plan =
                plan(&CIFAR10, &ten_python(bytes, meta)).unwrap_or_else(|error| panic!("{writer}: {error}"));
            assert_eq!(plan.class_names, NAMES, "{writer}");
            let items = &plan.splits[0].1;
            let labels: Vec<i32> = items.iter().map(|item| item.label).collect();
            assert_eq!(labels, [6, 9].repeat(5), "{writer}");
            assert_eq!(
                (items[9].image.as_str(), plan.splits[1].1.len()),
                ("cifar-10-batches-py/data_batch_5#1", 2)
            );
        }
        assert_images(&CIFAR10, &format!("{writer}/data_batch_1"), bytes, &[0, 1]);
    }
}

#[test]
fn cifar100_python_takes_the_fine_labels() {
    let names: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let meta = pickled_names("fine_label_names", &names);
    let file = |name: &str, bytes: &[u8]| (format!("cifar-100-python/{name}"), bytes.to_vec());
    let tree = vec![file("train", HUNDRED), file("test", HUNDRED), file("meta", &meta)];
    let plan = plan(&CIFAR100, &tree).unwrap();
    assert_eq!(plan.class_names, names);
    assert_eq!(plan.splits[1].1.iter().map(|item| item.label).collect::<Vec<_>>(), [19, 99]);
    assert_images(&CIFAR100, "cifar-100-python/train", HUNDRED, &[40, 41]);
    let swapped = with(&tree, "cifar-100-python/train", TEN[0].1);
    assert_refused(&CIFAR100, &swapped, &["cifar-100-python/train", "expected the key \"fine_labels\""]);
}

/// A dict with a list of names, as Python 2 writes it without its memo.
fn pickled_names(key: &str, names: &[String]) -> Vec<u8> {
    let string = |text: &str| [b"U".as_slice(), &[text.len() as u8], text.as_bytes()].concat();
    let names: Vec<u8> = names.iter().flat_map(|name| string(name)).collect();
    [b"\x80\x02}".to_vec(), string(key), b"](".to_vec(), names, b"es.".to_vec()].concat()
}

#[test]
fn archives_and_parents_are_looked_into() {
    let prefixed = |prefix: &str, tree: Files| -> Files {
        tree.into_iter().map(|(path, bytes)| (format!("{prefix}{path}"), bytes)).collect()
    };
    let tree = prefixed("sets/cifar-10-binary.tar.gz/", ten_binary());
    assert_eq!(plan(&CIFAR10, &tree).unwrap().splits[0].1.len(), 10);
    // as torchvision leaves them: the archive beside the unpacked folder
    let python = ten_python(TEN[0].1, TEN_META);
    let both = [python.clone(), prefixed("cifar-10-python.tar.gz/", python.clone())].concat();
    assert_eq!(plan(&CIFAR10, &both).unwrap().splits[0].1.len(), 10);
    let other = with(&both, "cifar-10-batches-py/test_batch", TEN[1].1);
    assert_refused(&CIFAR10, &other, &["two that differ", "test_batch"]);
    // both versions: one of them is read, and the notes name it
    let versions = [python, ten_binary()].concat();
    assert_eq!(plan(&CIFAR10, &versions).unwrap().notes["version"], "binary");
}

#[test]
fn without_batches_cifar10_is_read_as_class_folders() {
    let images = ["train", "test"]
        .map(|split| ["cat", "dog"].map(|class| format!("{split}/{class}/data_batch_1.jpg")));
    let folders: Files = images.into_iter().flatten().map(|path| (path, vec![])).collect();
    assert_refused(&CIFAR10, &folders, &["airplane", "cat, dog"]);
}

#[test]
fn bad_binary_batches_are_named() {
    let batch = "cifar-10-batches-bin/data_batch_3.bin";
    let refused = |bytes: &[u8], parts: &[&str]| {
        assert_refused(&CIFAR10, &with(&ten_binary(), batch, bytes), &[&[batch], parts].concat());
    };
    let good = binary(&[(&[1], 1), (&[2], 2)]);
    refused(&good[..good.len() - 1], &["6145 bytes", "multiple of 3073"]);
    refused(b"", &["0 bytes"]);
    refused(&binary(&[(&[1], 1), (&[10], 2)]), &["image 1", "label 10", "0 to 9"]);
    assert_refused(
        &CIFAR10,
        &without(&ten_binary(), batch),
        &["expected a file data_batch_3.bin, found none"],
    );
    let meta = "cifar-10-batches-bin/batches.meta.txt";
    assert_refused(&CIFAR10, &without(&ten_binary(), meta), &["expected a file batches.meta.txt"]);
    assert_refused(&CIFAR10, &with(&ten_binary(), meta, b"cat\ncat\n"), &[meta, "line 2", "twice"]);
    let records = CIFAR10.records.unwrap();
    assert!(records("data_batch_3.bin", &good[1..]).unwrap_err().contains("6145 bytes"));
}

#[test]
fn truncated_pickles_are_refused() {
    let records = CIFAR10.records.unwrap();
    for (writer, bytes) in TEN {
        for end in 0..bytes.len() {
            assert!(records("data_batch_1", &bytes[..end]).is_err(), "{writer} up to {end}");
        }
        assert!(
            records("data_batch_1", &bytes[..bytes.len() / 2]).unwrap_err().contains("truncated"),
            "{writer}"
        );
        assert!(records("data_batch_1", &[bytes, b"."].concat()).is_err(), "{writer} and one byte more");
    }
}

/// A pickle with a flipped pixel is valid. But nothing may panic, and no image may have another size.
#[test]
fn mutated_pickles_do_not_panic() {
    let records = CIFAR10.records.unwrap();
    let mut rng = Pcg64Mcg::seed_from_u64(5);
    for (writer, bytes) in TEN {
        // everything but the pixels, and some of the pixels
        let pixels = bytes.windows(4).position(|window| window == [0, 7, 14, 21]).expect("the first pixels");
        let places: Vec<usize> = (0..pixels + 8).chain(bytes.len() - 96..bytes.len()).collect();
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut mutated = bytes.to_vec();
            for _ in 0..rng.gen_range(1..4) {
                mutated[places[rng.gen_range(0..places.len())]] = rng.r#gen();
            }
            match records("data_batch_1", &mutated) {
                Ok(images) => assert!(images.iter().all(|image| image.dimensions() == (32, 32))),
                Err(reason) => refused += usize::from(!reason.is_empty()),
            }
        }
        assert!(refused > 5_000, "{writer}: {refused} refused");
    }
}

fn refusal(pickle: &[u8]) -> String {
    (CIFAR10.records.unwrap())("data_batch_1", pickle).unwrap_err()
}

#[test]
fn pickles_that_call_anything_else_are_refused() {
    let calls = refusal(b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00exitq\x01\x85q\x02Rq\x03.");
    assert!(
        calls.contains("byte 2") && calls.contains("posix.system") && calls.contains("nothing was executed")
    );
    let calls = refusal(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.");
    assert!(calls.contains("builtins.eval"), "{calls}");
    assert!(refusal(b"\x80\x02)\x81.").contains("0x81"));
    assert!(refusal(b"(dp0\nS'data'\np1\ns.").contains("protocol 2 to 5"));
    assert!(refusal(b"").contains("protocol 2 to 5"));
    assert!(refusal(b"\x80\x02K\x01.").contains("expected a pickled dict, found a number"));
}

#[test]
fn pickles_that_would_fill_memory_or_stack_are_refused() {
    let deep = [b"\x80\x02N".to_vec(), vec![0x85; 1 << 20], b".".to_vec()].concat();
    assert!(refusal(&deep).contains("deep"));
    let many = [b"\x80\x02](".to_vec(), b"K\x01".repeat(2 << 20), b"e.".to_vec()].concat();
    assert!(refusal(&many).contains("values"));
    assert!(refusal(&[b"\x80\x02".to_vec(), vec![b'('; 2 << 20]].concat()).contains("values"));
    // 64 KiB of text, stored once and encoded many times
    let text = [b"\x80\x02X\x00\x00\x01\x00".to_vec(), vec![b'a'; 1 << 16], b"q\x000".to_vec()].concat();
    assert!(refusal(&text).contains("0x30"));
    let start = [&text[..text.len() - 1], b"c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x02"].concat();
    let again = b"h\x01h\x00h\x02\x86R".repeat(10_000);
    assert!(refusal(&[start, again, b".".to_vec()].concat()).contains("longer than the file"));
    let huge = b"\x80\x04}\x8c\x04data\x8e\xff\xff\xff\xff\xff\xff\xff\xffs.";
    assert!(refusal(huge).contains("truncated"));
}

#[test]
fn pickles_of_other_arrays_are_refused() {
    let batch = TEN[0].1;
    let changed = |from: &[u8], to: &[u8]| {
        let at = batch.windows(from.len()).position(|window| window == from).expect("the part to be changed");
        refusal(&[&batch[..at], to, &batch[at + from.len()..]].concat())
    };
    assert!(changed(b"U\x02u1", b"U\x02i8").contains("not uint8"));
    assert!(changed(b"K\x02M\x00\x0c", b"K\x03M\x00\x0c").contains("shape (3, 3072) with 6144 bytes"));
    assert!(changed(b"K\x02M\x00\x0c", b"K\x04M\x00\x06").contains("rows of 3072"));
    assert!(changed(b"\x89T", b"\x88T").contains("column"));
    assert!(changed(b"U\x04data", b"U\x04dato").contains("expected the key \"data\""));
    let fewer = with(&ten_python(batch, TEN_META), "cifar-10-batches-py/test_batch", &{
        let mut bytes = batch.to_vec();
        let at = bytes.windows(4).position(|window| window == b"K\x06K\x09").expect("the labels");
        bytes.drain(at..at + 2);
        bytes
    });
    assert_refused(
        &CIFAR10,
        &fewer,
        &["test_batch", "expected a label for each image, found 1 and 2 images"],
    );
    let range = with(&ten_python(batch, TEN_META), "cifar-10-batches-py/test_batch", &{
        let at = batch.windows(4).position(|window| window == b"K\x06K\x09").expect("the labels");
        [&batch[..at], b"K\x06K\x0a", &batch[at + 4..]].concat()
    });
    assert_refused(&CIFAR10, &range, &["test_batch", "image 1", "label 10"]);
}
