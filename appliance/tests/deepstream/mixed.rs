//! Parts of two DeepStream versions in one pipeline.

use std::sync::Arc;

use aivms_appliance::pipeline::deepstream::DeepStreamEngine;
use aivms_appliance::pipeline::engine::EngineError;
use aivms_contract::geometry::FrameSize;
use aivms_deepstream::{Abi, Library, Sizes};
use aivms_standin::{Metadata, use_metadata};

use crate::site::{Camera, Site, bright, library, nvidia};
use crate::video::light;

const SIZE: FrameSize = FrameSize { width: 320, height: 180 };

/// What the engine ends a camera with when it was opened with one library and the elements use another.
async fn refusal(engine: Arc<Library>, elements: Metadata) -> EngineError {
    // Registers the elements, which then are given their own library.
    library();
    use_metadata(&elements).unwrap();
    let site = Site::new(&bright());
    let engine = DeepStreamEngine::load(site.settings.clone(), engine).unwrap();
    let refused = tokio::task::spawn_blocking(move || {
        let unit = &light(1, SIZE)[0];
        let mut camera = Camera::connect(&(engine as _), "a", unit, 60.0);
        camera.send(unit);
        (camera.end(), site)
    });
    refused.await.unwrap().0
}

async fn check(engine: Arc<Library>, elements: Metadata, made: Abi) {
    let expected = engine.abi();
    let EngineError::Detect(why) = refusal(engine, elements).await else { panic!("another error") };
    let (found, expected) = (Sizes::of(made), Sizes::of(expected));
    assert_eq!(
        why,
        format!(
            "the batch on the buffer has another layout ({found}) than the library in use ({expected}); parts of two \
             DeepStream versions are mixed: leave only one installed"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_7_1_are_refused_by_an_engine_that_opened_9() {
    check(Library::own(Abi::V90), Metadata::Own(Abi::V71), Abi::V71).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_9_are_refused_by_an_engine_that_opened_7_1() {
    check(Library::own(Abi::V71), Metadata::Own(Abi::V90), Abi::V90).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_another_copy_of_the_library_are_refused_too() {
    let Some(folder) = nvidia() else { return };
    let EngineError::Detect(why) = refusal(Library::own(Abi::V90), Metadata::Folder(folder)).await else {
        panic!("another error")
    };
    assert!(why.contains("two copies of NVIDIA's metadata libraries are in use"), "{why}");
}
