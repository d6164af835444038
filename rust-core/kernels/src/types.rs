//! Storage types of GGUF tensors: their ids, names and block sizes.

/// Defines [`GgmlType`] from one row for each type: what it is, its name, its GGUF id, and the
/// weights and bytes of a block.
macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $id:literal: $len:literal in $bytes:expr;)*) => {
        /// A storage type this crate can read.
        ///
        /// A row of weights is a sequence of blocks of [`block_len`](Self::block_len) weights, each
        /// [`block_bytes`](Self::block_bytes) long. The variants bear the names the format gives them.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[allow(non_camel_case_types)]
        pub enum GgmlType {
            $($(#[$doc])* $name,)*
        }

        impl GgmlType {
            /// Every type, in the order of the GGUF ids.
            pub const ALL: [GgmlType; [$($id),*].len()] = [$(Self::$name),*];

            /// The id a GGUF tensor table holds.
            pub const fn id(self) -> u32 {
                match self { $(Self::$name => $id,)* }
            }

            /// The name the format gives the type, such as `"Q4_K"`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Weights in a block: 1, 32 or 256.
            pub const fn block_len(self) -> usize {
                match self { $(Self::$name => $len,)* }
            }

            /// Bytes of a block.
            pub const fn block_bytes(self) -> usize {
                match self { $(Self::$name => $bytes,)* }
            }
        }
    };
}

types! {
    /// IEEE 754 binary32.
    F32 = 0: 1 in 4;
    /// IEEE 754 binary16.
    F16 = 1: 1 in 2;
    /// 32 weights of 4 bits around zero, one scale.
    Q4_0 = 2: 32 in 2 + 16;
    /// 32 weights of 4 bits, scale and minimum.
    Q4_1 = 3: 32 in 2 + 2 + 16;
    /// 32 weights of 5 bits around zero, one scale.
    Q5_0 = 6: 32 in 2 + 4 + 16;
    /// 32 weights of 5 bits, scale and minimum.
    Q5_1 = 7: 32 in 2 + 2 + 4 + 16;
    /// 32 weights of 8 bits, one scale.
    Q8_0 = 8: 32 in 2 + 32;
    /// 256 weights of 2 bits; scale and minimum of 4 bits for each 16.
    Q2_K = 10: 256 in 16 + 64 + 2 + 2;
    /// 256 weights of 3 bits around zero; a scale of 6 bits for each 16.
    Q3_K = 11: 256 in 32 + 64 + 12 + 2;
    /// 256 weights of 4 bits; scale and minimum of 6 bits for each 32.
    Q4_K = 12: 256 in 2 + 2 + 12 + 128;
    /// 256 weights of 5 bits; scale and minimum of 6 bits for each 32.
    Q5_K = 13: 256 in 2 + 2 + 12 + 32 + 128;
    /// 256 weights of 6 bits around zero; a scale of 8 bits for each 16.
    Q6_K = 14: 256 in 128 + 64 + 16 + 2;
    /// 256 weights of 8 bits, one f32 scale; llama.cpp's form of activations, rare in files.
    Q8_K = 15: 256 in 4 + 256 + 32;
    /// 32 weights of 4 bits that choose from 16 values, spaced like a normal distribution; one
    /// scale.
    IQ4_NL = 20: 32 in 2 + 16;
    /// 256 weights like those of IQ4_NL; a scale of 6 bits for each 32.
    IQ4_XS = 23: 256 in 2 + 2 + 4 + 128;
    /// The upper half of a binary32.
    BF16 = 30: 1 in 2;
    /// 256 weights of -1, 0 or 1, five in a byte; one scale.
    TQ1_0 = 34: 256 in 48 + 4 + 2;
    /// 256 weights of 2 bits, -1 to 2; one scale.
    TQ2_0 = 35: 256 in 64 + 2;
    /// 32 weights of 4 bits (E2M1 floats), the scale a power of two (E8M0).
    MXFP4 = 39: 32 in 1 + 16;
}

impl GgmlType {
    /// The type with this GGUF id; `None` if there is no kernel for it (see [`type_name`]).
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.id() == id)
    }

    /// Bytes of a row of `cols` weights; `None` if `cols` is no whole number of blocks or the
    /// product overflows.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Whether the weights are stored as integers with scales, rather than as floats.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }
}

/// The name of a GGUF type id, also of types without a kernel; for error messages.
///
/// `None` for ids the format does not define.
pub fn type_name(id: u32) -> Option<&'static str> {
    Some(match id {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        4 => "Q4_2",
        5 => "Q4_3",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        30 => "BF16",
        31 => "Q4_0_4_4",
        32 => "Q4_0_4_8",
        33 => "Q4_0_8_8",
        34 => "TQ1_0",
        35 => "TQ2_0",
        36 => "IQ4_NL_4_4",
        37 => "IQ4_NL_4_8",
        38 => "IQ4_NL_8_8",
        39 => "MXFP4",
        40 => "NVFP4",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_agree() {
        for ty in GgmlType::ALL {
            assert_eq!(GgmlType::from_id(ty.id()), Some(ty));
            assert_eq!(type_name(ty.id()), Some(ty.name()));
        }
        assert!(GgmlType::ALL.is_sorted_by_key(|ty| ty.id()));
        assert_eq!(GgmlType::from_id(16), None);
        assert_eq!(type_name(16), Some("IQ2_XXS"));
        assert_eq!(type_name(u32::MAX), None);
    }

    #[test]
    fn row_bytes_rejects_partial_blocks_and_overflow() {
        assert_eq!(GgmlType::Q4_K.row_bytes(512), Some(288));
        assert_eq!(GgmlType::Q4_K.row_bytes(32), None);
        assert_eq!(GgmlType::F32.row_bytes(usize::MAX), None);
        assert_eq!(GgmlType::Q8_0.row_bytes(0), Some(0));
    }
}
