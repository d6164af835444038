//! One row of the tensor table.

use dormouse_kernels::{GgmlType, type_name};

use super::reader::Reader;
use crate::error::{Error, Result};

const MAX_DIMS: usize = 4;

/// A tensor's element type: one that the kernels read, or the id of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    /// A type that has kernels.
    Known(GgmlType),
    /// Any other id; loading such a tensor is an error that names it.
    Other(u32),
}

impl TensorType {
    /// The type's GGUF name, or its number if even the name is unknown.
    pub fn name(self) -> String {
        match self {
            Self::Known(ty) => ty.name().to_owned(),
            Self::Other(id) => type_name(id).map_or_else(|| format!("type {id}"), str::to_owned),
        }
    }
}

/// Name, shape, type and place of one tensor.
#[derive(Debug, Clone)]
pub struct TensorInfo {
    /// Its name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Its dimensions in GGUF order: the first is the one that is contiguous (the columns).
    pub dims: Box<[u64]>,
    /// Its element type.
    pub ty: TensorType,
    /// Which part of a split model has it, counted from 0; 0 for a model in one file.
    pub part: usize,
    /// Where its bytes begin, from the start of the file, or of the part.
    pub offset: u64,
    /// How many bytes it has; 0 when the type is not known.
    pub bytes: u64,
}

impl TensorInfo {
    pub(super) fn parse(reader: &mut Reader<'_>, index: usize) -> Result<Self> {
        let at = format!("tensor {index}");
        let name = std::str::from_utf8(reader.string_bytes(&at)?)
            .map_err(|_| Error::corrupt(&at, "the name is not UTF-8"))?
            .to_owned();
        if name.is_empty() {
            return Err(Error::corrupt(&at, "it has no name"));
        }
        let n_dims = reader.u32(&name)? as usize;
        if n_dims == 0 || n_dims > MAX_DIMS {
            return Err(Error::corrupt(
                &name,
                format!("{n_dims} dimensions (1 to 4 are allowed)"),
            ));
        }
        let mut dims = Vec::with_capacity(n_dims);
        for _ in 0..n_dims {
            dims.push(reader.u64(&name)?);
        }
        let id = reader.u32(&name)?;
        let offset = reader.u64(&name)?;
        let ty = GgmlType::from_id(id).map_or(TensorType::Other(id), TensorType::Known);
        let mut tensor = Self {
            name,
            dims: dims.into_boxed_slice(),
            ty,
            part: 0,
            offset,
            bytes: 0,
        };
        tensor.bytes = tensor.byte_size()?;
        Ok(tensor)
    }

    fn byte_size(&self) -> Result<u64> {
        let overflow = || Error::corrupt(&self.name, "its size overflows");
        if self.dims.contains(&0) {
            return Err(Error::corrupt(&self.name, "a dimension is zero"));
        }
        let rows = self.dims[1..]
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim))
            .ok_or_else(overflow)?;
        rows.checked_mul(self.dims[0]).ok_or_else(overflow)?;
        let TensorType::Known(ty) = self.ty else {
            return Ok(0);
        };
        let cols = usize::try_from(self.dims[0]).map_err(|_| overflow())?;
        if !cols.is_multiple_of(ty.block_len()) {
            return Err(Error::corrupt(
                &self.name,
                format!(
                    "{cols} columns are no multiple of {}'s block of {}",
                    ty.name(),
                    ty.block_len()
                ),
            ));
        }
        let row = ty.row_bytes(cols).ok_or_else(overflow)? as u64;
        row.checked_mul(rows).ok_or_else(overflow)
    }

    /// Turns the offset within the data part into one within the file, and checks it.
    pub(super) fn place(&mut self, data_start: u64, alignment: u64, file_bytes: u64) -> Result<()> {
        if !self.offset.is_multiple_of(alignment) {
            return Err(Error::corrupt(
                &self.name,
                format!("its offset {} is not aligned to {alignment}", self.offset),
            ));
        }
        let end = data_start
            .checked_add(self.offset)
            .and_then(|start| start.checked_add(self.bytes));
        match end {
            Some(end) if end <= file_bytes => {
                self.offset += data_start;
                Ok(())
            }
            _ => Err(Error::corrupt(
                &self.name,
                format!(
                    "its {} bytes end past the file's {file_bytes} (is the file cut off?)",
                    self.bytes
                ),
            )),
        }
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}
