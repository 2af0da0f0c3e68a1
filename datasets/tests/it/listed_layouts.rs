//! Plans of sets of photographs with lists of images, on tiny trees in the official layouts.

use std::path::Path;

use eqr_datasets::sources::{
    AIRCRAFT, CIFAR10, CIFAR100, DTD, FOOD101, Listing, Options, PETS, PackPlan, SUN397, Source,
};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::common::{Files, plan, with, without};

/// The error, or the missing members.
fn message(source: &Source, tree: &Files) -> String {
    match plan(source, tree) {
        Err(error) => error.to_string(),
        Ok(plan) if plan.missing.is_empty() => panic!("the tree is bad"),
        Ok(plan) => plan.missing.iter().map(|gone| format!("{}: {}\n", gone.member, gone.reason)).collect(),
    }
}

/// Asserts that the plan of `tree` fails with all of `parts` in its message.
fn assert_refused(source: &Source, tree: &Files, parts: &[&str]) {
    let message = message(source, tree);
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// Splits as (name, [(image, label)]).
fn splits(plan: &PackPlan) -> Vec<(&str, Vec<(&str, i32)>)> {
    plan.splits
        .iter()
        .map(|(name, items)| {
            (name.as_str(), items.iter().map(|item| (item.image.as_str(), item.label)).collect())
        })
        .collect()
}

fn unnamed(plan: &PackPlan) -> u64 {
    plan.notes["images_that_no_list_names"].as_u64().unwrap()
}

fn tree(files: &[(&str, &str)]) -> Files {
    files.iter().map(|(path, content)| (path.to_string(), content.as_bytes().to_vec())).collect()
}

/// `tree` with `prefix` before all paths.
fn below(prefix: &str, tree: &Files) -> Files {
    tree.iter().map(|(path, bytes)| (format!("{prefix}{path}"), bytes.clone())).collect()
}

fn food() -> Files {
    tree(&[
        ("food-101/images/apple_pie/1005649.jpg", ""),
        ("food-101/images/apple_pie/1011328.jpg", ""),
        ("food-101/images/waffles/971843.jpg", ""),
        ("food-101/images/waffles/981485.jpg", ""),
        ("food-101/meta/classes.txt", "apple_pie\nwaffles\n"),
        ("food-101/meta/labels.txt", "Apple pie\nWaffles\n"),
        ("food-101/meta/train.txt", "apple_pie/1005649\nwaffles/971843\nwaffles/981485\n"),
        ("food-101/meta/test.txt", "apple_pie/1011328\n"),
        (
            "food-101/meta/train.json",
            r#"{"waffles": ["waffles/971843"], "apple_pie": ["apple_pie/1005649"]}"#,
        ),
        ("food-101/meta/test.json", r#"{"apple_pie": ["apple_pie/1011328"]}"#),
        ("food-101/README.txt", ""),
    ])
}

#[test]
fn food101_takes_the_text_lists() {
    let plan = plan(&FOOD101, &food()).unwrap();
    assert_eq!(
        (plan.name.as_str(), plan.class_names.as_slice()),
        ("Food101", ["apple_pie", "waffles"].map(String::from).as_slice())
    );
    assert_eq!(
        splits(&plan),
        [
            (
                "train",
                vec![
                    ("food-101/images/apple_pie/1005649.jpg", 0),
                    ("food-101/images/waffles/971843.jpg", 1),
                    ("food-101/images/waffles/981485.jpg", 1),
                ]
            ),
            ("test", vec![("food-101/images/apple_pie/1011328.jpg", 0)]),
        ]
    );
    assert_eq!(unnamed(&plan), 0);
}

#[test]
fn food101_takes_the_json_lists_where_there_are_no_others() {
    let tree = without(&without(&food(), "food-101/meta/train.txt"), "food-101/meta/test.txt");
    let plan = plan(&FOOD101, &tree).unwrap();
    let train = vec![("food-101/images/apple_pie/1005649.jpg", 0), ("food-101/images/waffles/971843.jpg", 1)];
    assert_eq!(splits(&plan)[0], ("train", train));
    assert_eq!(unnamed(&plan), 1);
    let broken = with(&tree, "food-101/meta/test.json", "[1");
    assert_refused(&FOOD101, &broken, &["food-101/meta/test.json", "expected an object"]);
    let missing = with(&tree, "food-101/meta/test.json", r#"{"waffles": ["waffles/1"]}"#);
    assert_refused(&FOOD101, &missing, &["food-101/meta/test.json", "images/waffles/1.jpg"]);
}

#[test]
fn the_folder_of_a_set_may_lie_anywhere() {
    let extracted: Files =
        food().into_iter().map(|(path, bytes)| (path.replacen("food-101/", "", 1), bytes)).collect();
    for tree in [extracted, below("a b/ü/food-101.tar.gz/", &food())] {
        let plan = plan(&FOOD101, &tree).unwrap();
        assert_eq!(plan.splits.iter().map(|(_, items)| items.len()).collect::<Vec<_>>(), [3, 1]);
        let members: Vec<&str> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert!(
            plan.splits
                .iter()
                .flat_map(|(_, items)| items)
                .all(|item| members.contains(&item.image.as_str()))
        );
    }
}

#[test]
fn a_set_beside_its_archive_is_refused() {
    let mut both = food();
    both.extend(below("food-101.tar.gz/", &food()));
    assert_refused(
        &FOOD101,
        &both,
        &["two places: food-101.tar.gz/food-101/ and food-101/", "hint: point INPUT"],
    );
    let other = with(&both, "food-101/meta/test.txt", "apple_pie/1005649\n");
    assert_refused(
        &FOOD101,
        &other,
        &["two that differ", "food-101.tar.gz/food-101/meta/test.txt", "food-101/meta/test.txt"],
    );
}

#[test]
fn lists_may_have_any_line_ends_and_names() {
    let files = [
        ("food-101/images/crème brûlée/a b 1.jpg", ""),
        ("food-101/images/waffles/ü.jpg", ""),
        ("food-101/meta/classes.txt", "crème brûlée\r\nwaffles\r\n"),
        ("food-101/meta/train.txt", "\r\ncrème brûlée/a b 1\r\n\r\n"),
        ("food-101/meta/test.txt", "waffles/ü"),
    ];
    let plan = plan(&FOOD101, &tree(&files)).unwrap();
    assert_eq!(splits(&plan), [("train", vec![(files[0].0, 0)]), ("test", vec![(files[1].0, 1)])]);
}

#[test]
fn bad_lists_are_named_with_the_line() {
    let train = "food-101/meta/train.txt";
    let refused = |content: &[u8], parts: &[&str]| {
        let named = [&["input: member food-101/meta/train.txt: "], parts].concat();
        assert_refused(&FOOD101, &with(&food(), train, content), &named);
    };
    let missing = with(&food(), train, b"apple_pie/1005649\n\napple_pie/404\n");
    let says = "images/apple_pie/404.jpg: it is missing, but food-101/meta/train.txt line 3 lists it";
    assert_refused(&FOOD101, &missing, &[says]);
    refused(b"apple_pie/1005649\napple_pie/1005649\n", &["line 2", "as does food-101/meta/train.txt line 1"]);
    refused(b"apple_pie/1005649\nsushi/1\n", &["line 2", "\"sushi\" is not in the list of classes"]);
    refused(b"1005649\n", &["line 1", "expected <class>/<id>"]);
    refused(b"apple_pie/1005649\n\xff\xfe\n", &["line 2", "UTF-8"]);
    refused(b"\r\n \n", &["at least one line"]);
    // an image in both splits
    let leak = with(&food(), "food-101/meta/test.txt", "waffles/981485\n");
    assert_refused(
        &FOOD101,
        &leak,
        &["member food-101/meta/test.txt: line 1", "food-101/meta/train.txt line 3"],
    );
    let twice = with(&food(), "food-101/meta/classes.txt", "apple_pie\nwaffles\napple_pie\n");
    assert_refused(&FOOD101, &twice, &["food-101/meta/classes.txt", "line 3", "apple_pie", "twice"]);
}

#[test]
fn missing_lists_and_images_are_named() {
    for name in ["classes.txt", "train.txt", "test.txt"] {
        let tree: Files =
            food().into_iter().filter(|(path, _)| !path.ends_with(name) && !path.ends_with("json")).collect();
        assert_refused(&FOOD101, &tree, &[&format!("expected a file meta/{name}, found none"), "hint: "]);
    }
    let lists: Files = food().into_iter().filter(|(path, _)| !path.ends_with("jpg")).collect();
    assert_refused(&FOOD101, &lists, &["apple_pie/1005649.jpg: it is missing", "meta/train.txt line 1"]);
    assert_refused(&FOOD101, &vec![], &["input: ", "meta/classes.txt"]);
}

#[test]
fn images_that_no_list_names_are_counted() {
    let mut more = food();
    more.extend(tree(&[
        ("food-101/images/waffles/1.jpg", ""),
        ("food-101/images/waffles/2.PNG", ""),
        ("food-101/images/waffles/._1.jpg", ""),
        ("food-101/images/waffles/notes.txt", ""),
        ("food-101/cover.jpg", ""),
    ]));
    let plan = plan(&FOOD101, &more).unwrap();
    assert_eq!(unnamed(&plan), 2);
    assert_eq!(plan.splits[0].1.len(), 3);
}

#[test]
fn a_name_of_the_users_own_goes_into_the_tables() {
    let tree = food();
    let members =
        tree.iter().map(|(path, _)| (path.clone(), 0)).collect::<std::collections::BTreeMap<_, _>>();
    let lists = tree.into_iter().filter(|(path, _)| (FOOD101.is_list)(path)).collect();
    let listing = Listing {
        input: Path::new("input"),
        members: members.into_iter().collect(),
        lists,
        kinds: Default::default(),
    };
    let named = Options { name: Some("lunch".into()), test_fraction: 0.2, seed: 0 };
    assert_eq!((FOOD101.plan)(&listing, &named).unwrap().name, "lunch");
}

fn sun() -> Files {
    let images = tree(&[
        ("SUN397.tar.gz/SUN397/a/abbey/sun_aaa.jpg", ""),
        ("SUN397.tar.gz/SUN397/a/abbey/sun_aab.jpg", ""),
        ("SUN397.tar.gz/SUN397/a/apartment_building/outdoor/sun_aba.jpg", ""),
        ("SUN397.tar.gz/SUN397/a/apartment_building/outdoor/sun_abb.jpg", ""),
        ("SUN397.tar.gz/SUN397/a/apartment_building/outdoor/sun_abc.jpg", ""),
        ("SUN397.tar.gz/SUN397/ClassName.txt", "/a/abbey\n/a/apartment_building/outdoor\n"),
    ]);
    let lists = tree(&[
        ("Partitions.zip/ClassName.txt", "/a/abbey\n/a/apartment_building/outdoor\n"),
        (
            "Partitions.zip/Training_01.txt",
            "/a/abbey/sun_aab.jpg\n/a/apartment_building/outdoor/sun_abb.jpg\n",
        ),
        (
            "Partitions.zip/Testing_01.txt",
            "/a/abbey/sun_aaa.jpg\n/a/apartment_building/outdoor/sun_aba.jpg\n",
        ),
        ("Partitions.zip/Training_02.txt", "/a/abbey/sun_aaa.jpg\n"),
        ("Partitions.zip/Testing_02.txt", "/a/abbey/sun_aab.jpg\n"),
    ]);
    [images, lists].concat()
}

#[test]
fn sun397_takes_partition_1_of_archives_as_published() {
    let plan = plan(&SUN397, &sun()).unwrap();
    assert_eq!(
        (plan.name.as_str(), plan.class_names.clone()),
        ("SUN397", vec!["abbey".into(), "apartment_building/outdoor".into()])
    );
    let root = "SUN397.tar.gz/SUN397/a";
    let expected = |abbey: &str, outdoor: &str| {
        vec![
            (format!("{root}/abbey/{abbey}.jpg"), 0),
            (format!("{root}/apartment_building/outdoor/{outdoor}.jpg"), 1),
        ]
    };
    let found: Vec<Vec<(String, i32)>> = splits(&plan)
        .into_iter()
        .map(|(_, items)| items.into_iter().map(|(image, label)| (image.to_string(), label)).collect())
        .collect();
    assert_eq!(found, [expected("sun_aab", "sun_abb"), expected("sun_aaa", "sun_aba")]);
    assert_eq!(plan.splits.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["train", "test"]);
    assert_eq!(unnamed(&plan), 1);
}

#[test]
fn sun397_may_lie_at_the_top_of_the_input() {
    let top = |path: &str| path.replace("SUN397.tar.gz/SUN397/", "").replace("Partitions.zip/", "");
    let tree: Files = sun().into_iter().map(|(path, bytes)| (top(&path), bytes)).collect();
    let tree = without(&tree, "ClassName.txt");
    let tree = with(&tree, "ClassName.txt", "/a/abbey\n/a/apartment_building/outdoor\n");
    assert_eq!(splits(&plan(&SUN397, &tree).unwrap())[0].1[0], ("a/abbey/sun_aab.jpg", 0));
}

#[test]
fn sun397_refuses_what_does_not_fit() {
    let no_partition: Files = sun().into_iter().filter(|(path, _)| !path.starts_with("Part")).collect();
    assert_refused(&SUN397, &no_partition, &["expected a file Training_01.txt", "hint:"]);
    let list = "Partitions.zip/Testing_01.txt";
    let class = with(&sun(), list, "/a/abbey/sun_aaa.jpg\r\n/z/zoo/sun_z.jpg\r\n");
    assert_refused(&SUN397, &class, &[list, "line 2", "/z/zoo"]);
    assert_refused(&SUN397, &with(&sun(), list, "sun_aaa.jpg\n"), &[list, "line 1"]);
    assert_refused(
        &SUN397,
        &with(&sun(), list, "/a/abbey/sun_x.jpg\n"),
        &[list, "line 1", "a/abbey/sun_x.jpg"],
    );
    let differ = with(&sun(), "Partitions.zip/ClassName.txt", "/a/abbey\n");
    assert_refused(&SUN397, &differ, &["ClassName.txt", "two that differ"]);
}

fn dtd() -> Files {
    let classes = ["banded", "zigzagged"];
    let mut tree: Files = Vec::new();
    for class in classes {
        tree.extend((1..=4).map(|n| (format!("dtd/images/{class}/{class}_{n:04}.jpg"), vec![])));
    }
    for (n, split) in ["train", "val", "test"].into_iter().enumerate() {
        let line = |class: &&str| format!("{class}/{class}_{:04}.jpg\n", n + 1);
        tree.push((
            format!("dtd/labels/{split}1.txt"),
            classes.iter().rev().map(line).collect::<String>().into_bytes(),
        ));
        tree.push((format!("dtd/labels/{split}2.txt"), b"banded/banded_0001.jpg\n".to_vec()));
    }
    tree.push(("dtd/labels/labels_joint_anno.txt".into(), b"banded/banded_0001.jpg banded\n".to_vec()));
    tree.push(("dtd/imdb/imdb.mat".into(), vec![]));
    tree
}

#[test]
fn dtd_takes_split_1() {
    let plan = plan(&DTD, &dtd()).unwrap();
    assert_eq!(
        (plan.name.as_str(), plan.class_names.clone()),
        ("DTD", vec!["banded".into(), "zigzagged".into()])
    );
    assert_eq!(
        splits(&plan),
        [
            (
                "train",
                vec![
                    ("dtd/images/zigzagged/zigzagged_0001.jpg", 1),
                    ("dtd/images/banded/banded_0001.jpg", 0)
                ]
            ),
            (
                "val",
                vec![
                    ("dtd/images/zigzagged/zigzagged_0002.jpg", 1),
                    ("dtd/images/banded/banded_0002.jpg", 0)
                ]
            ),
            (
                "test",
                vec![
                    ("dtd/images/zigzagged/zigzagged_0003.jpg", 1),
                    ("dtd/images/banded/banded_0003.jpg", 0)
                ]
            ),
        ]
    );
    assert_eq!(unnamed(&plan), 2);
}

#[test]
fn dtd_refuses_what_does_not_fit() {
    let images: Files = dtd().into_iter().filter(|(path, _)| path.contains("/images/")).collect();
    assert_refused(&DTD, &images, &["expected a file labels/train1.txt", "class-folders"]);
    let list = "dtd/labels/val1.txt";
    assert_refused(&DTD, &with(&dtd(), list, "banded_0002.jpg\n"), &[list, "line 1", "<class>/<image>"]);
    assert_refused(&DTD, &with(&dtd(), list, "\nbanded/x.jpg\n"), &[list, "line 2", "images/banded/x.jpg"]);
    assert_refused(
        &DTD,
        &with(&dtd(), list, "banded/banded_0001.jpg\n"),
        &[list, "line 1", "train1.txt line 2"],
    );
}

fn pets() -> Files {
    tree(&[
        ("annotations.tar.gz/annotations/README", ""),
        (
            "annotations.tar.gz/annotations/list.txt",
            "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\n",
        ),
        ("annotations.tar.gz/annotations/trainval.txt", "Abyssinian_100 1 1 1\namerican_bulldog_10 2 2 1\n"),
        (
            "annotations.tar.gz/annotations/test.txt",
            "#a comment\nAbyssinian_2 1 1 1\namerican_bulldog_3 2 2 1\n",
        ),
        ("annotations.tar.gz/annotations/trimaps/Abyssinian_100.png", ""),
        ("images.tar.gz/images/Abyssinian_100.jpg", ""),
        ("images.tar.gz/images/Abyssinian_100.mat", ""),
        ("images.tar.gz/images/Abyssinian_2.jpg", ""),
        ("images.tar.gz/images/american_bulldog_10.jpg", ""),
        ("images.tar.gz/images/american_bulldog_3.jpg", ""),
    ])
}

#[test]
fn pets_takes_two_archives_in_a_folder() {
    let plan = plan(&PETS, &pets()).unwrap();
    assert_eq!(
        (plan.name.as_str(), plan.class_names.clone()),
        ("Pets", vec!["Abyssinian".into(), "american_bulldog".into()])
    );
    assert_eq!(
        splits(&plan),
        [
            (
                "train",
                vec![
                    ("images.tar.gz/images/Abyssinian_100.jpg", 0),
                    ("images.tar.gz/images/american_bulldog_10.jpg", 1)
                ]
            ),
            (
                "test",
                vec![
                    ("images.tar.gz/images/Abyssinian_2.jpg", 0),
                    ("images.tar.gz/images/american_bulldog_3.jpg", 1)
                ]
            ),
        ]
    );
    assert_eq!(unnamed(&plan), 0);
}

#[test]
fn pets_refuses_what_does_not_fit() {
    let list = "annotations.tar.gz/annotations/trainval.txt";
    let refused = |content: &str, parts: &[&str]| {
        assert_refused(&PETS, &with(&pets(), list, content), parts);
    };
    refused("Abyssinian_100 1 1\n", &[list, "line 1", "name class species breed"]);
    refused("Abyssinian_100 one 1 1\n", &[list, "line 1"]);
    refused("Abyssinian_100 0 1 1\n", &[list, "line 1", "from 1"]);
    refused("Abyssinian 1 1 1\n", &[list, "line 1", "<Breed>_<number>"]);
    refused(
        "Abyssinian_100 1 1 1\namerican_bulldog_10 1 1 1\n",
        &[list, "line 2", "class 1, which belongs to Abyssinian"],
    );
    refused(
        "Abyssinian_100 1 1 1\namerican_bulldog_10 4 1 1\n",
        &["no image of class 3, but one of class 4"],
    );
    refused("Abyssinian_100 3 1 1\n", &["class 1 and class 3 are both Abyssinian"]);
    refused("# nothing\n", &[list, "found none"]);
    refused("Abyssinian_7 1 1 1\n", &[list, "line 1", "images/Abyssinian_7.jpg"]);
    let no_test = without(&pets(), "annotations.tar.gz/annotations/test.txt");
    assert_refused(&PETS, &no_test, &["expected a file annotations/test.txt"]);
}

fn aircraft() -> Files {
    below(
        "fgvc-aircraft-2013b/data/",
        &tree(&[
            ("families.txt", "Boeing 707\n"),
            ("variants.txt", "707-320\nF/A-18\nDC-9-30 long\n"),
            ("images_variant_train.txt", "1025794 707-320\n0034309 F/A-18\n"),
            ("images_variant_val.txt", "0034958 F/A-18\n"),
            ("images_variant_trainval.txt", "1025794 707-320\n0034309 F/A-18\n0034958 F/A-18\n"),
            ("images_variant_test.txt", "0037511 DC-9-30 long\n"),
            ("images_family_train.txt", "1025794 Boeing 707\n"),
            ("images/0034309.jpg", ""),
            ("images/0034958.jpg", ""),
            ("images/0037511.jpg", ""),
            ("images/1025794.jpg", ""),
        ]),
    )
}

#[test]
fn aircraft_takes_names_with_spaces_and_slashes() {
    let plan = plan(&AIRCRAFT, &aircraft()).unwrap();
    assert_eq!(plan.name, "Aircraft");
    assert_eq!(plan.class_names, ["707-320", "F/A-18", "DC-9-30 long"]);
    let image = |number: &str| format!("fgvc-aircraft-2013b/data/images/{number}.jpg");
    let images = ["1025794", "0034309", "0034958", "0037511"].map(image);
    assert_eq!(
        splits(&plan),
        [
            ("train", vec![(images[0].as_str(), 0), (images[1].as_str(), 1)]),
            ("val", vec![(images[2].as_str(), 1)]),
            ("test", vec![(images[3].as_str(), 2)]),
        ]
    );
    assert_eq!(unnamed(&plan), 0);
}

#[test]
fn aircraft_refuses_what_does_not_fit() {
    let list = "fgvc-aircraft-2013b/data/images_variant_val.txt";
    let refused = |content: &str, parts: &[&str]| {
        assert_refused(&AIRCRAFT, &with(&aircraft(), list, content), &[&[list], parts].concat());
    };
    refused("0034958\n", &["line 1", "`image variant`"]);
    refused("0034958 F/A-19\n", &["line 1", "\"F/A-19\" is not in the list"]);
    refused("1 F/A-18\n", &["line 1", "images/1.jpg"]);
    refused("1025794 707-320\n", &["line 1", "images_variant_train.txt line 1"]);
    let variants = "fgvc-aircraft-2013b/data/variants.txt";
    assert_refused(&AIRCRAFT, &without(&aircraft(), variants), &["expected a file variants.txt"]);
}

/// Random changes of lists give a plan or an error, but never an image that is not there.
#[test]
fn mutated_lists_do_not_panic() {
    let mut rng = Pcg64Mcg::seed_from_u64(3);
    for (source, tree) in
        [(FOOD101, food()), (SUN397, sun()), (DTD, dtd()), (PETS, pets()), (AIRCRAFT, aircraft())]
    {
        let lists: Vec<usize> = (0..tree.len()).filter(|&file| (source.is_list)(&tree[file].0)).collect();
        let mut refused = 0;
        for _ in 0..2_000 {
            let mut mutated = tree.clone();
            let list = &mut mutated[lists[rng.gen_range(0..lists.len())]].1;
            for _ in 0..rng.gen_range(1..4) {
                let at = rng.gen_range(0..list.len());
                list[at] = *[b'\n', b' ', b'/', b'#', b'0', 0, 0xff, rng.r#gen()].choose(&mut rng).unwrap();
            }
            let Ok(plan) = plan(&source, &mutated) else {
                refused += 1;
                continue;
            };
            for item in plan.splits.iter().flat_map(|(_, items)| items) {
                assert!(tree.iter().any(|(path, _)| *path == item.image), "{}: {}", source.kind, item.image);
                assert!((item.label as usize) < plan.class_names.len(), "{}: {}", source.kind, item.label);
            }
        }
        assert!(refused > 200, "{}: {refused} refused", source.kind);
    }
}

#[test]
fn no_source_takes_an_image_for_a_list() {
    let trees = [(FOOD101, food()), (SUN397, sun()), (DTD, dtd()), (PETS, pets()), (AIRCRAFT, aircraft())];
    for (source, tree) in trees {
        assert!(
            !tree.iter().any(|(path, _)| path.ends_with(".jpg") && (source.is_list)(path)),
            "{}",
            source.kind
        );
    }
}

#[test]
fn every_source_says_what_it_is() {
    for source in [CIFAR10, CIFAR100, FOOD101, SUN397, DTD, PETS, AIRCRAFT] {
        let info = &source.info;
        for text in [info.name, info.expects, info.sizes, &info.access.size(), info.described, info.licence] {
            assert!(!text.is_empty() && !text.contains("  "), "{}: {text:?}", source.kind);
        }
    }
}
