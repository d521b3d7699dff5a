//! The little that is to be known of an ONNX file before it is given to TensorRT: what goes in, and where the first
//! layer's weights are.
//!
//! ONNX is protocol buffers; field numbers are those of `onnx.proto`, which never change. The file is only looked
//! through, never copied apart: its weights may be hundreds of megabytes.

use std::ops::Range;

/// What is said of bytes that can't be followed.
const MALFORMED: OnnxError = OnnxError("it is not an ONNX file, or damaged");

/// Says what is wrong with an ONNX file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OnnxError(&'static str);

/// The input of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OnnxInput {
    /// The tensor's name.
    pub(super) name: String,
    /// Whether the number of frames at once is left open.
    pub(super) any_batch: bool,
}

/// Reads the model's only input.
///
/// # Errors
/// The bytes are no ONNX model, or it has no input or several.
pub(super) fn input(file: &[u8]) -> Result<OnnxInput, OnnxError> {
    let graph = graph(file)?;
    for tensor in graph.all(5) {
        // The engine's key is the file's digest, which must cover the weights.
        if tensor?.number(14)? == Some(1) {
            return Err(OnnxError("its weights lie in another file; save the model as one file"));
        }
    }
    let weights = names_of_initializers(&graph)?;
    let mut inputs = Vec::new();
    for value in graph.all(11) {
        let value = value?;
        let name = value.text(1)?;
        // Before version 4 of the format weights were listed among the inputs.
        if !weights.contains(&name) {
            inputs.push((name, value));
        }
    }
    let [(name, value)] = &inputs[..] else {
        return Err(OnnxError("it must have exactly one input; export it without others, such as sizes"));
    };
    Ok(OnnxInput { name: (*name).to_owned(), any_batch: is_any_batch(value)? })
}

fn is_any_batch(value: &Message<'_>) -> Result<bool, OnnxError> {
    let tensor = value.one(2)?.one(1)?;
    let shape = tensor.one(2)?;
    let first = shape.all(1).next().ok_or(MALFORMED)??;
    // A dimension of zero or below is how some exporters leave it open.
    Ok(first.number(1)?.is_none_or(|count| count == 0 || count > i64::MAX as u64))
}

/// Multiplies the first layer's weights by one factor for each channel of the input, in place.
///
/// # Errors
/// The input does not go straight into convolutions whose weights are stored as plain 32-bit floats.
pub(super) fn scale_input(file: &mut [u8], factors: [f32; 3]) -> Result<(), OnnxError> {
    for place in first_weights(file)? {
        // Rows of weights: for each output channel, for each of three input channels, the same number.
        let (count, bytes) = (place.kernel, &mut file[place.bytes]);
        for (index, number) in bytes.chunks_exact_mut(4).enumerate() {
            let weight = f32::from_le_bytes([number[0], number[1], number[2], number[3]]);
            number.copy_from_slice(&(weight * factors[index / count % 3]).to_le_bytes());
        }
    }
    Ok(())
}

/// Where the weights of a layer are.
struct Weights {
    bytes: Range<usize>,
    /// Numbers per pair of output and input channel.
    kernel: usize,
}

fn first_weights(file: &[u8]) -> Result<Vec<Weights>, OnnxError> {
    let graph = graph(file)?;
    let input = input(file)?.name;
    let mut names = Vec::new();
    for node in graph.all(1) {
        let node = node?;
        let inputs: Vec<&str> = node.all(1).map(|name| name?.as_text()).collect::<Result<_, _>>()?;
        if !inputs.contains(&input.as_str()) {
            continue;
        }
        match inputs[..] {
            [first, weights, ..] if first == input && node.text(4)? == "Conv" => names.push(weights),
            _ => return Err(OnnxError("its input does not go straight into a convolution")),
        }
    }
    check_unshared(&graph, &names)?;
    let found = graph.all(5).filter_map(|tensor| {
        let tensor = tensor.ok()?;
        tensor.text(8).is_ok_and(|name| names.contains(&name)).then(|| weights(&tensor))
    });
    let found: Vec<_> = found.collect::<Result<_, _>>()?;
    if found.is_empty() || found.len() != names.len() {
        return Err(OnnxError("its first layer's weights are not in the file"));
    }
    Ok(found)
}

/// Weights that two layers use can't be changed for one.
fn check_unshared(graph: &Message<'_>, names: &[&str]) -> Result<(), OnnxError> {
    let mut uses = 0;
    for node in graph.all(1) {
        for name in node?.all(1) {
            uses += usize::from(names.contains(&name?.as_text()?));
        }
    }
    if uses == names.len() { Ok(()) } else { Err(OnnxError("its first layer shares its weights with another")) }
}

fn weights(tensor: &Message<'_>) -> Result<Weights, OnnxError> {
    const FLOAT: u64 = 1;
    let shape = tensor.numbers(1)?;
    let [outputs, 3, kernel @ ..] = &shape[..] else {
        return Err(OnnxError("its first layer does not take three channels"));
    };
    let kernel = kernel.iter().try_fold(1usize, |product, &side| product.checked_mul(usize::try_from(side).ok()?));
    let kernel = kernel.filter(|&count| count > 0).ok_or(MALFORMED)?;
    let wanted = usize::try_from(*outputs).ok().and_then(|count| count.checked_mul(3 * 4)?.checked_mul(kernel));
    let raw = tensor.all(9).next().or_else(|| tensor.all(4).next());
    let bytes = raw.ok_or(OnnxError("its first layer's weights are in another file"))??.range;
    if tensor.number(2)? != Some(FLOAT) || wanted != Some(bytes.len()) {
        return Err(OnnxError("its first layer's weights are not plain 32-bit floats"));
    }
    Ok(Weights { bytes, kernel })
}

fn graph(file: &[u8]) -> Result<Message<'_>, OnnxError> {
    Message { file, range: 0..file.len() }.one(7)
}

fn names_of_initializers<'f>(graph: &Message<'f>) -> Result<Vec<&'f str>, OnnxError> {
    graph.all(5).map(|tensor| tensor?.text(8)).collect()
}

/// A message, text or run of bytes within the file.
#[derive(Clone)]
struct Message<'f> {
    file: &'f [u8],
    range: Range<usize>,
}

/// One field's value.
enum Value<'f> {
    Number(u64),
    Bytes(Message<'f>),
    /// 32 or 64 bits, which nothing here reads.
    Fixed,
}

impl<'f> Message<'f> {
    fn fields(&self) -> impl Iterator<Item = Result<(u64, Value<'f>), OnnxError>> + use<'f> {
        let (file, mut at, end) = (self.file, self.range.start, self.range.end);
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let field = field(file, &mut at, end);
                if field.is_err() {
                    at = end;
                }
                field
            })
        })
    }

    /// Every value of a field that is a message, text or bytes.
    fn all(&self, wanted: u64) -> impl Iterator<Item = Result<Self, OnnxError>> + use<'f> {
        self.fields().filter_map(move |field| match field {
            Ok((number, Value::Bytes(message))) if number == wanted => Some(Ok(message)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn one(&self, wanted: u64) -> Result<Self, OnnxError> {
        self.all(wanted).next().unwrap_or(Err(MALFORMED))
    }

    fn text(&self, wanted: u64) -> Result<&'f str, OnnxError> {
        self.one(wanted)?.as_text()
    }

    fn as_text(&self) -> Result<&'f str, OnnxError> {
        std::str::from_utf8(&self.file[self.range.clone()]).map_err(|_| MALFORMED)
    }

    /// A field that is one number.
    fn number(&self, wanted: u64) -> Result<Option<u64>, OnnxError> {
        Ok(self.numbers(wanted)?.last().copied())
    }

    /// A field that is numbers, one by one or packed.
    fn numbers(&self, wanted: u64) -> Result<Vec<u64>, OnnxError> {
        let mut numbers = Vec::new();
        for field in self.fields() {
            match field? {
                (number, Value::Number(value)) if number == wanted => numbers.push(value),
                (number, Value::Bytes(packed)) if number == wanted => {
                    let Range { start: mut at, end } = packed.range;
                    while at < end {
                        numbers.push(varint(self.file, &mut at, end)?);
                    }
                }
                _ => {}
            }
        }
        Ok(numbers)
    }
}

fn field<'f>(file: &'f [u8], at: &mut usize, end: usize) -> Result<(u64, Value<'f>), OnnxError> {
    let key = varint(file, at, end)?;
    let take = |at: &mut usize, length: u64| {
        let stop = usize::try_from(length).ok().and_then(|length| at.checked_add(length)).filter(|stop| *stop <= end);
        let range = *at..stop.ok_or(MALFORMED)?;
        *at = range.end;
        Ok(range)
    };
    let value = match key & 7 {
        0 => Value::Number(varint(file, at, end)?),
        1 => take(at, 8).map(|_| Value::Fixed)?,
        2 => {
            let length = varint(file, at, end)?;
            Value::Bytes(Message { file, range: take(at, length)? })
        }
        5 => take(at, 4).map(|_| Value::Fixed)?,
        _ => return Err(MALFORMED),
    };
    Ok((key >> 3, value))
}

fn varint(file: &[u8], at: &mut usize, end: usize) -> Result<u64, OnnxError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *file[..end].get(*at).ok_or(MALFORMED)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(number: u64, value: &[u8]) -> Vec<u8> {
        let mut message = tag(number << 3 | 2);
        message.extend(tag(value.len() as u64));
        message.extend(value);
        message
    }

    fn tag(mut number: u64) -> Vec<u8> {
        let mut out = vec![];
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
        out
    }

    fn count(number: u64, value: u64) -> Vec<u8> {
        [tag(number << 3), tag(value)].concat()
    }

    /// An input "in" into a layer `op` with two output channels and a kernel of one.
    fn model(first_dimension: &[u8], op: &str, weights: &[f32]) -> Vec<u8> {
        let shape = [first_dimension.to_vec(), count(1, 3), count(1, 8), count(1, 8)];
        let shape = shape.map(|dimension| bytes(1, &dimension)).concat();
        let tensor = [count(1, 1), bytes(2, &shape)].concat();
        let input = [bytes(1, b"in"), bytes(2, &bytes(1, &tensor))].concat();
        let node = [bytes(1, b"in"), bytes(1, b"w"), bytes(2, b"out"), bytes(4, op.as_bytes())].concat();
        let data: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        let sides = [2u8, 3, 1, 1];
        let kernel = [bytes(1, &sides), count(2, 1), bytes(8, b"w"), bytes(9, &data)].concat();
        let graph = [bytes(1, &node), bytes(5, &kernel), bytes(11, &bytes(1, b"w")), bytes(11, &input)].concat();
        [count(1, 8), bytes(7, &graph)].concat()
    }

    const WEIGHTS: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    #[test]
    fn the_input_is_told_from_weights_and_says_whether_its_batch_is_open() {
        let read = |dimension: Vec<u8>| input(&model(&dimension, "Conv", &WEIGHTS)).unwrap();
        assert_eq!(read(count(1, 1)), OnnxInput { name: "in".to_owned(), any_batch: false });
        assert!(read(bytes(2, b"batch")).any_batch && read(count(1, u64::MAX)).any_batch);
    }

    #[test]
    fn the_first_layers_weights_are_scaled_by_channel_and_nothing_else_changes() {
        let mut file = model(&count(1, 1), "Conv", &WEIGHTS);
        scale_input(&mut file, [1.0, 10.0, 100.0]).unwrap();
        assert_eq!(file, model(&count(1, 1), "Conv", &[1.0, 20.0, 300.0, 4.0, 50.0, 600.0]));
    }

    #[test]
    fn a_model_of_another_make_is_refused_with_the_reason() {
        let refused = |file: &[u8]| scale_input(&mut file.to_vec(), [1.0; 3]).unwrap_err().to_string();
        assert!(refused(&model(&count(1, 1), "Resize", &WEIGHTS)).contains("straight into a convolution"));
        assert!(refused(&model(&count(1, 1), "Conv", &WEIGHTS[..5])).contains("plain 32-bit floats"));
        assert!(refused(b"\x08\x07not onnx").contains("not an ONNX file"));
        assert!(refused(b"").contains("not an ONNX file"));
    }

    proptest! {
        #[test]
        fn damaged_files_are_refused_and_never_panic(cut in 0usize..200, flip in 0usize..200, bits: u8) {
            let mut file = model(&count(1, 1), "Conv", &WEIGHTS);
            let length = file.len();
            file[flip % length] ^= bits;
            file.truncate(length.saturating_sub(cut % length));
            let _ = (input(&file), scale_input(&mut file, [2.0; 3]));
        }
    }
}
