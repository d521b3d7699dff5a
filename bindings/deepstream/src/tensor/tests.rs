//! Outputs that contradict themselves, and what their errors say.

use super::owned::Payload;
use super::*;

fn layer(dims: &[u32], values: usize) -> OwnedTensors {
    let data = (0..values).map(|value| value as f32).collect();
    let layers = vec![OwnedLayer { name: "boxes".to_owned(), dims: dims.to_vec(), data }];
    OwnedTensors { unique_id: 1, network: (640, 384), maintain_aspect_ratio: true, symmetric_padding: false, layers }
}

fn output(payload: &Payload) -> TensorOutput<'_> {
    TensorOutput { raw: NonNull::from(&payload.meta), borrow: PhantomData }
}

#[test]
fn outputs_whose_shape_contradicts_their_values_are_refused_by_name() {
    for (dims, values) in [(&[2, 3][..], 5), (&[u32::MAX, u32::MAX, u32::MAX], 1), (&[1; 9], 1)] {
        let error = payload(layer(dims, values)).err().unwrap();
        assert!(matches!(&error, TensorError::Shape { name, .. } if name == "boxes"), "{error}");
    }
}

#[test]
fn what_an_element_left_on_the_device_or_in_another_type_is_refused_with_the_setting_to_change() {
    let mut payload = payload(layer(&[2, 3], 6)).unwrap();
    assert_eq!(output(&payload).layer("boxes").unwrap().data().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    payload.infos[0].dataType = HALF;
    let error = output(&payload).layer("boxes").unwrap().data().unwrap_err();
    assert!(error.to_string().contains("F16") && error.to_string().contains("output-io-formats"), "{error}");
    payload.infos[0].dataType = FLOAT;
    payload.hosts[0] = ptr::null_mut();
    let error = output(&payload).layer("boxes").unwrap().data().unwrap_err();
    assert!(error.to_string().contains("disable-output-host-copy"), "{error}");
}

#[test]
fn an_output_that_says_more_values_than_its_shape_has_is_not_read() {
    let mut payload = payload(layer(&[2, 3], 6)).unwrap();
    payload.infos[0].__bindgen_anon_1.inferDims.numElements = 600;
    assert!(matches!(output(&payload).layer("boxes").unwrap().data(), Err(TensorError::Shape { .. })));
    payload.infos[0].__bindgen_anon_1.inferDims.numDims = 2000;
    assert!(matches!(output(&payload).layer("boxes").unwrap().data(), Err(TensorError::Shape { .. })));
}

#[test]
fn a_missing_output_is_named_together_with_those_there_are() {
    let payload = payload(layer(&[1], 1)).unwrap();
    let error = output(&payload).layer("scores").unwrap_err();
    assert_eq!(error.to_string(), r#"the network has no output "scores"; it has boxes"#);
}
