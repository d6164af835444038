//! Tensors of tiny models in every type.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor as CandleTensor};
use dormouse::gguf::Builder;
use dormouse::model::GgmlType;

use super::{Tensor, blocks, zoo};

/// candle quantizes the types that it knows.
fn candle_type(ty: GgmlType) -> Option<GgmlDType> {
    Some(match ty {
        GgmlType::F32 => GgmlDType::F32,
        GgmlType::F16 => GgmlDType::F16,
        GgmlType::BF16 => GgmlDType::BF16,
        GgmlType::Q4_0 => GgmlDType::Q4_0,
        GgmlType::Q4_1 => GgmlDType::Q4_1,
        GgmlType::Q5_0 => GgmlDType::Q5_0,
        GgmlType::Q5_1 => GgmlDType::Q5_1,
        GgmlType::Q8_0 => GgmlDType::Q8_0,
        GgmlType::Q2_K => GgmlDType::Q2K,
        GgmlType::Q3_K => GgmlDType::Q3K,
        GgmlType::Q4_K => GgmlDType::Q4K,
        GgmlType::Q5_K => GgmlDType::Q5K,
        GgmlType::Q6_K => GgmlDType::Q6K,
        GgmlType::Q8_K => GgmlDType::Q8K,
        _ => return None,
    })
}

/// The type's number and the tensor's blocks.
pub(crate) fn encode(tensor: &Tensor, ty: GgmlType) -> (u32, Vec<u8>) {
    let bytes = match candle_type(ty) {
        Some(dtype) => {
            let shape = (tensor.dims[1] as usize, tensor.dims[0] as usize);
            let source = CandleTensor::from_slice(&tensor.values, shape, &Device::Cpu).unwrap();
            let quantized = QTensor::quantize(&source, dtype).unwrap();
            quantized.data().unwrap().to_vec()
        }
        None => blocks::blocks(&tensor.values, ty),
    };
    (ty.id(), bytes)
}

/// Blocks of 256 need rows that long.
fn shape(ty: GgmlType) -> zoo::Shape {
    if ty.block_len() > 32 {
        zoo::WIDE
    } else {
        zoo::NARROW
    }
}

/// Every architecture in every type: the name, and the file. llama.cpp computes with Q8_K, but takes
/// no weights in it.
pub(crate) fn architectures() -> impl Iterator<Item = (String, Builder)> {
    let types = GgmlType::ALL.iter().filter(|ty| **ty != GgmlType::Q8_K);
    types.flat_map(|&ty| {
        zoo::NAMES.into_iter().map(move |name| {
            let file = zoo::file(name, shape(ty), |tensor| encode(tensor, ty));
            (format!("{name}-{}", ty.name()), file)
        })
    })
}
