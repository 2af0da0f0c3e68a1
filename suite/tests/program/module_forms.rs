//! What TorchScript modules return and take: dictionaries, and batches of one size. The modules with
//! dictionaries are from [module_forms.py](../../../scripts/reference/module_forms.py).

use std::path::{Path, PathBuf};

use eqr_bench::encoder::frozen::FrozenEncoder;
use eqr_bench::encoder::representation::FeatureEncoder;
use eqr_bench::suite_file::encoder_options::{EncoderOptions, Readout};
use tch::{Device, Kind, Tensor};

use crate::common::{colour_map, folder, traced};

const SIDE: usize = 16;

fn module(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/modules").join(name)
}

fn open(path: &Path, key: Option<&str>, readout: Option<Readout>) -> anyhow::Result<FrozenEncoder> {
    let options = EncoderOptions { key: key.map(str::to_owned), readout, ..EncoderOptions::default() };
    FrozenEncoder::open(path, &options, Some(SIDE), Device::Cpu)
}

fn images(count: i64) -> Tensor {
    let side = SIDE as i64;
    (Tensor::arange(count * 3 * side * side, (Kind::Float, Device::Cpu)) * 0.37)
        .sin()
        .view([count, 3, side, side])
}

fn close(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && (a - b).abs().max().double_value(&[]) < 1e-5
}

#[test]
fn an_entry_of_a_dictionary_is_chosen_by_key() {
    let path = module("tokens.pt");
    let refusal = format!("{:#}", open(&path, None, None).err().expect("two entries"));
    for says in ["--key last_hidden_state: [4, 17, 3]", "--key pooler_output: [4, 3]"] {
        assert!(refusal.contains(says), "{refusal}");
    }
    let images = images(3);
    let mean = images.mean_dim([2i64, 3].as_slice(), false, None);
    let pooled = open(&path, Some("pooler_output"), None).unwrap();
    assert!(close(&pooled.represent(&images).unwrap().y, &mean));
    // the class token comes first, and is twice the mean
    let tokens =
        |readout| open(&path, Some("last_hidden_state"), readout).unwrap().represent(&images).unwrap().y;
    assert!(close(&tokens(None), &(&mean * 2.0)));
    assert!(close(&tokens(Some(Readout::Mean)), &mean));
    assert!(close(&tokens(Some(Readout::ClsMean)), &Tensor::cat(&[&(&mean * 2.0), &mean], 1)));
    assert_eq!(tokens(Some(Readout::Grid)).size(), [3, 3 * 5]);
    let refusal = format!("{:#}", open(&path, Some("absent"), None).err().expect("no such entry"));
    assert!(refusal.contains("--key absent") && refusal.contains("--key pooler_output"), "{refusal}");
    let refusal =
        open(&path, Some("pooler_output"), Some(Readout::Cls)).err().expect("features have no tokens");
    assert!(format!("{refusal:#}").contains("--readout"), "{refusal:#}");
}

#[test]
fn a_dictionary_of_maps_is_a_tuple_of_maps() {
    let pyramid = open(&module("pyramid.pt"), None, None).unwrap();
    let maps = pyramid.token_maps(&images(2)).unwrap();
    assert_eq!(maps.iter().map(|map| map.size()[2]).collect::<Vec<_>>(), [8, 4]);
}

#[test]
fn a_batch_size_that_a_trace_has_fixed_is_kept() {
    let folder = folder();
    let path = folder.path().join("fixed.pt");
    traced(&path, SIDE as i64, |images| colour_map(images).flatten(1, 3).reshape([2, -1]));
    let fixed = open(&path, None, None).unwrap();
    let architecture = &fixed.opened().unwrap().description.architecture.value;
    assert_eq!(architecture, "TorchScript module (traced for batches of 2)");
    let images = images(5);
    let y = fixed.represent(&images).unwrap().y;
    assert!(close(&y, &colour_map(&images).flatten(1, 3)));
}
