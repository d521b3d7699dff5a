//! A library of another layout than expected is refused before anything is read.

use aivms_deepstream::{Abi, Library, OpenError};

use super::{fetched, libraries};

#[test]
fn a_library_of_another_layout_than_expected_is_refused_with_both_sizes_and_what_to_do() {
    for library in libraries() {
        let (found, other) = match library.abi() {
            Abi::V71 => ("object 544, frame 200", Abi::V90),
            Abi::V90 => ("object 552, frame 232", Abi::V71),
        };
        assert!(library.clone().expecting(library.abi()).is_ok());
        let name = library.name().display().to_string();
        let error = library.expecting(other).unwrap_err();
        assert!(matches!(error, OpenError::Unexpected { .. }));
        let text = error.to_string();
        println!("{text}");
        for part in [name.as_str(), found, &format!("but {other}"), "Install the version"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
}

#[test]
fn nvidia_s_libraries_of_9_0_are_recognised_and_refused_where_7_1_is_expected() {
    let Some(folder) = fetched() else {
        println!("not run: NVIDIA's libraries are not here");
        return;
    };
    assert_eq!(Library::open(Some(&folder)).unwrap().abi(), Abi::V90);
    assert!(Library::open_expecting(Some(&folder), Abi::V90).is_ok());
    let error = Library::open_expecting(Some(&folder), Abi::V71).unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("libnvds_meta.so has the layout of DeepStream 9.0 or 9.1 (object 552"), "{error}");
    assert!(error.contains("but DeepStream 7.1 (object 544"), "{error}");
    // The folder above, as an SDK's root has it.
    assert!(Library::open(folder.parent()).is_ok());
}

#[test]
fn a_folder_without_libraries_is_named_together_with_what_to_do() {
    let error = Library::open(Some(std::path::Path::new("/no/such/folder"))).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/no/such/folder/libnvds_meta.so") && text.contains("DEEPSTREAM_DIR"), "{text}");
}
