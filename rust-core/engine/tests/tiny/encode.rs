//! Tensors of tiny models in every type.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor as CandleTensor};
use dormouse::model::GgmlType;

use super::Tensor;

/// The types that candle can write.
pub(crate) const TYPES: [GgmlDType; 11] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

pub(crate) fn ggml_type(ty: GgmlDType) -> GgmlType {
    let name = format!("{ty:?}");
    let name = name
        .strip_suffix('K')
        .map_or(name.clone(), |q| format!("{q}_K"));
    (0..64)
        .filter_map(GgmlType::from_id)
        .find(|known| known.name() == name)
        .unwrap()
}

/// The type's number and the tensor's blocks.
pub(crate) fn encode(tensor: &Tensor, ty: GgmlDType) -> (u32, Vec<u8>) {
    let shape = (tensor.dims[1] as usize, tensor.dims[0] as usize);
    let source = CandleTensor::from_slice(&tensor.values, shape, &Device::Cpu).unwrap();
    let quantized = QTensor::quantize(&source, ty).unwrap();
    (ggml_type(ty).id(), quantized.data().unwrap().to_vec())
}

/// Blocks of 256 need rows that long.
pub(crate) fn shape(ty: GgmlDType) -> super::zoo::Shape {
    if ty.block_size() > 32 {
        super::zoo::WIDE
    } else {
        super::zoo::NARROW
    }
}

/// Every architecture in every type: the name, and the file's bytes.
pub(crate) fn architectures() -> impl Iterator<Item = (String, dormouse::gguf::Builder)> {
    TYPES.into_iter().flat_map(|ty| {
        super::zoo::NAMES.into_iter().map(move |name| {
            let file = super::zoo::file(name, shape(ty), |tensor| encode(tensor, ty));
            (format!("{name}-{}", ggml_type(ty).name()), file)
        })
    })
}
