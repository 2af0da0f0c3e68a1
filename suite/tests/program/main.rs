//! Tests that run the program as a user does. None of them changes its own process (threads, environment), so
//! one binary holds them all and libtorch is linked once.
//!
//! A test that needs MPI, the shared data, a browser, LaTeX or a Python package is skipped if that is
//! missing, unless `EQR_REQUIRE` names it.

mod activation_memory;
mod attentive;
mod bad_input;
mod bench;
mod broken_data;
mod calibrate;
mod common;
mod compare;
mod cuda_graph;
mod cuda_libraries;
mod data_sets;
mod device_choice;
mod divergence;
mod documents;
mod dry_run;
mod encoder_properties;
mod encoders;
mod energy;
mod export;
mod external_rows;
mod false_gpu;
mod false_nccl;
mod feature_files;
mod fetch;
mod gpu_budget;
mod gpu_kernels;
mod hostile;
mod integrity;
mod interruptions;
mod known_images;
#[path = "../../../datasets/src/fetch/loopback.rs"]
mod loopback;
mod many_gpus;
mod measures;
mod memory_of_packs;
mod merged_runs;
mod module_forms;
mod onnx;
mod out_of_memory;
mod overwriting;
mod perf_scale;
mod pixel_pca;
mod placement;
mod processes;
mod published_encoders;
mod rank_failures;
mod ranks;
mod readings;
mod real_data;
mod report;
mod results_page;
mod resume;
mod retrieval;
mod segmentation;
mod shared_work;
mod skip;
mod stop;
mod streamed_pack;
mod surroundings;
mod unlabelled_images;
mod until_decided;
mod watch;
mod weekly;
mod xray;
