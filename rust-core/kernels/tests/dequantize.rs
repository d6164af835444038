//! Decoding against values computed by gguf-py and, for Q8_K, by ggml: `fixtures/blocks.golden`.

#![allow(clippy::unwrap_used)]

use dormouse_kernels::{GgmlType, ShapeError, dequantize};

fn take<'a>(data: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = data.split_at(n);
    *data = tail;
    head
}

fn number(data: &mut &[u8]) -> u32 {
    u32::from_le_bytes(take(data, 4).try_into().unwrap())
}

#[test]
fn equals_gguf_py_and_ggml() {
    let mut data: &[u8] = include_bytes!("../../../fixtures/blocks.golden");
    let mut seen = Vec::new();
    while !data.is_empty() {
        let ty = GgmlType::from_id(number(&mut data)).unwrap();
        let length = number(&mut data) as usize;
        let bytes = take(&mut data, length);
        let count = number(&mut data) as usize;
        let expected: Vec<f32> = take(&mut data, count * 4)
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let mut out = vec![f32::NAN; count];
        dequantize(ty, bytes, &mut out).unwrap();
        assert_eq!(out, expected, "{}", ty.name());
        seen.push(ty);
    }
    assert_eq!(
        seen.len(),
        GgmlType::ALL.len() - 1,
        "every type but F32: {seen:?}"
    );
}

#[test]
fn floats_pass_through() {
    let mut out = [0.0; 2];
    let bytes = [1.5f32.to_le_bytes(), f32::MIN.to_le_bytes()].concat();
    dequantize(GgmlType::F32, &bytes, &mut out).unwrap();
    assert_eq!(out, [1.5, f32::MIN]);
}

#[test]
fn sizes_are_checked() {
    let error = dequantize(GgmlType::Q4_0, &[0; 18], &mut [0.0; 31]).unwrap_err();
    assert!(matches!(error, ShapeError::PartialBlock { cols: 31, .. }));
    let error = dequantize(GgmlType::Q4_0, &[0; 18], &mut [0.0; 64]).unwrap_err();
    assert!(matches!(
        error,
        ShapeError::Length {
            expected: 36,
            actual: 18,
            ..
        }
    ));
}
