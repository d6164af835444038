//! Where a tensor's bytes live. Today: in the file's contents, mapped or read in as a whole, in the
//! GGUF block layout, used in place and never copied; a tensor used twice (a tied head) exists
//! once. Pager slots come with a later issue and belong here.

use std::ops::Range;
use std::sync::Arc;

use dormouse_kernels::{GgmlType, Matrix, dequantize};

use crate::error::{Error, Result};
use crate::gguf::{Contents, Gguf, TensorInfo, TensorType};

/// A weight matrix `[rows][cols]` in a file.
#[derive(Debug, Clone)]
pub struct Weight {
    name: String,
    data: Arc<Contents>,
    range: Range<usize>,
    ty: GgmlType,
    rows: usize,
    cols: usize,
}

impl Weight {
    /// The tensor's name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The element type.
    pub fn ty(&self) -> GgmlType {
        self.ty
    }

    /// The raw blocks, rows one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.range.clone()]
    }

    /// `rows` rows from `first` on, as a matrix of their own that shares the bytes.
    ///
    /// # Errors
    /// [`Error::CorruptModel`] when there are fewer.
    pub fn rows_from(&self, first: usize, rows: usize) -> Result<Self> {
        let row = self.range.len() / self.rows;
        match first.checked_add(rows) {
            Some(end) if end <= self.rows => Ok(Self {
                range: self.range.start + first * row..self.range.start + end * row,
                rows,
                ..self.clone()
            }),
            _ => Err(Error::corrupt(
                self.name.clone(),
                format!("rows {first} to {first} + {rows} of {}", self.rows),
            )),
        }
    }

    /// The kernels' view of the matrix.
    ///
    /// # Errors
    /// [`Error::Internal`] if the size disagrees with the shape, which loading has ruled out.
    pub fn matrix(&self) -> Result<Matrix<'_>> {
        Matrix::new(self.ty, self.rows, self.cols, self.bytes())
            .map_err(|e| Error::internal(format!("{}: {e}", self.name)))
    }
}

/// Finds tensors in a file and checks them against the shapes that an architecture wants.
#[derive(Debug)]
pub struct WeightStore<'a> {
    gguf: &'a Gguf,
    /// Of its parts.
    contents: Vec<Arc<Contents>>,
}

impl<'a> WeightStore<'a> {
    /// A store over an opened file, which is read in unless it is mapped: `watch` is told the share
    /// of its parts that is done, and ends it by its error.
    ///
    /// # Errors
    /// As [`Part::contents`](crate::gguf::Part::contents).
    pub fn open(gguf: &'a Gguf, watch: &mut dyn FnMut(f32) -> Result<()>) -> Result<Self> {
        let all = gguf.parts().len() as f32;
        let mut contents = Vec::with_capacity(gguf.parts().len());
        for part in gguf.parts() {
            let done = contents.len() as f32;
            contents.push(part.contents(&mut |share| watch((done + share) / all))?);
        }
        Ok(Self { gguf, contents })
    }

    /// Whether the file has the tensor.
    pub fn has(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }

    /// The matrix `name` of `rows` output and `cols` input features.
    ///
    /// # Errors
    /// [`Error::CorruptModel`] when it is missing or has another shape,
    /// [`Error::UnsupportedModel`] when its type has no kernel.
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        let info = self.info(name)?;
        let (range, ty) = self.place(info)?;
        if info.dims.first() != Some(&(cols as u64)) || info.elements() / cols as u64 != rows as u64
        {
            return Err(Error::corrupt(
                name,
                format!("its shape is {:?}, [{cols}, {rows}] is wanted", info.dims),
            ));
        }
        let contents = self.contents.get(info.part);
        let data = contents
            .ok_or_else(|| Error::internal(format!("{name} is in part {}", info.part)))?
            .clone();
        Ok(Weight {
            name: name.to_owned(),
            data,
            range,
            ty,
            rows,
            cols,
        })
    }

    /// The vector `name` of `len` values, read into memory as f32 (norms and biases are small).
    ///
    /// # Errors
    /// As [`WeightStore::matrix`].
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let weight = self.matrix(name, 1, len)?;
        let mut out = vec![0.0; len];
        dequantize(weight.ty, weight.bytes(), &mut out)
            .map_err(|e| Error::corrupt(name, e.to_string()))?;
        Ok(out)
    }

    /// The vector `name` if the file has it.
    ///
    /// # Errors
    /// As [`WeightStore::matrix`], but for a missing tensor.
    pub fn optional_vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>> {
        if self.has(name) {
            self.vector(name, len).map(Some)
        } else {
            Ok(None)
        }
    }

    fn info(&self, name: &str) -> Result<&'a TensorInfo> {
        self.gguf
            .tensor(name)
            .ok_or_else(|| Error::corrupt(name, "the tensor is missing"))
    }

    fn place(&self, info: &TensorInfo) -> Result<(Range<usize>, GgmlType)> {
        let TensorType::Known(ty) = info.ty else {
            return Err(Error::unsupported(format!(
                "tensor {} has type {}; known are {}",
                info.name,
                // Whose name is not known has "type" before its number.
                info.ty.name().trim_start_matches("type "),
                GgmlType::ALL.map(GgmlType::name).join(" ")
            )));
        };
        // The reader has checked that offset + bytes lies in the file or part, whose length is a usize.
        let start = info.offset as usize;
        Ok((start..start + info.bytes as usize, ty))
    }
}
