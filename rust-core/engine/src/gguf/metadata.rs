//! Key-value metadata of a GGUF file. Arrays stay in the file's bytes and are read on demand:
//! a vocabulary of 262,144 strings costs nothing here.

use std::sync::Arc;

use super::contents::Contents;
use super::reader::Reader;
use crate::error::{Error, Result};

/// How deep arrays may lie in arrays; real files use one level.
const MAX_DEPTH: usize = 4;

/// How many keys there may be; real files have some dozens.
const MAX_KEYS: usize = 8192;

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Any of the unsigned integer types.
    Unsigned(u64),
    /// Any of the signed integer types.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A UTF-8 string.
    String(String),
    /// An array, left in the file.
    Array(ArrayRef),
}

/// Where an array lies in the file and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayRef {
    /// GGUF's id of the element type.
    pub element: u32,
    /// Number of elements.
    pub count: usize,
    offset: usize,
}

/// All metadata of one file.
#[derive(Debug, Clone)]
pub struct Metadata {
    data: Arc<Contents>,
    /// In the order of the keys.
    values: Vec<(String, Value)>,
}

fn fixed_size(kind: u32) -> Option<usize> {
    Some(match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

const STRING: u32 = 8;
const ARRAY: u32 = 9;

impl Metadata {
    pub(super) fn parse(
        data: &Arc<Contents>,
        reader: &mut Reader<'_>,
        count: usize,
    ) -> Result<Self> {
        if count > MAX_KEYS {
            let why = format!("{count} keys (at most {MAX_KEYS} are allowed)");
            return Err(Error::corrupt("metadata count", why));
        }
        let mut values = Vec::new();
        for index in 0..count {
            let at = format!("metadata entry {index}");
            let key = utf8(reader.string_bytes(&at)?, &at)?;
            let named = if key.is_empty() { at.as_str() } else { key };
            let kind = reader.u32(named)?;
            let value = parse_value(reader, kind, named)?;
            values.push((key.to_owned(), value));
        }
        values.shrink_to_fit();
        values.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(pair) = values.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let at = match pair[0].0.as_str() {
                "" => "the empty key",
                key => key,
            };
            return Err(Error::corrupt(at, "the key stands twice"));
        }
        Ok(Self {
            data: data.clone(),
            values,
        })
    }

    /// All keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of `key`, if it is there.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let find = |(other, _): &(String, Value)| other.as_str().cmp(key);
        let at = self.values.binary_search_by(find).ok()?;
        Some(&self.values[at].1)
    }

    fn wrong(key: &str, wanted: &str) -> Error {
        Error::corrupt(key, format!("{wanted} is wanted here"))
    }

    /// The string at `key`; `None` if the key is missing, an error if it is no string.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Self::wrong(key, "a string")),
        }
    }

    /// The non-negative integer at `key`.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(value)) => Ok(Some(*value)),
            Some(Value::Signed(value)) => u64::try_from(*value)
                .map(Some)
                .map_err(|_| Self::wrong(key, "a count")),
            Some(_) => Err(Self::wrong(key, "an integer")),
        }
    }

    /// The non-negative integer at `key`, as u32.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.u64(key)?
            .map(|value| u32::try_from(value).map_err(|_| Self::wrong(key, "a 32-bit integer")))
            .transpose()
    }

    /// The finite number at `key`.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        let value = match self.get(key) {
            None => return Ok(None),
            Some(Value::Float(value)) => *value as f32,
            Some(Value::Unsigned(value)) => *value as f32,
            Some(Value::Signed(value)) => *value as f32,
            Some(_) => return Err(Self::wrong(key, "a number")),
        };
        if value.is_finite() {
            Ok(Some(value))
        } else {
            Err(Self::wrong(key, "a finite number"))
        }
    }

    /// The boolean at `key`.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(Self::wrong(key, "a boolean")),
        }
    }

    fn array(&self, key: &str) -> Result<Option<&ArrayRef>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(_) => Err(Self::wrong(key, "an array")),
        }
    }

    /// The strings of the array at `key`, as raw bytes borrowed from the file: vocabularies are
    /// not promised to be UTF-8.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&[u8]>>> {
        let Some(array) = self.array(key)? else {
            return Ok(None);
        };
        if array.element != STRING {
            return Err(Self::wrong(key, "an array of strings"));
        }
        let mut reader = Reader::new(&self.data, array.offset);
        let mut out = Vec::with_capacity(array.count);
        for _ in 0..array.count {
            out.push(reader.string_bytes(key)?);
        }
        Ok(Some(out))
    }

    /// The numbers of the array at `key`, as f64 (exact for every 32-bit type): one by one, as a
    /// file may well have more of them than memory holds at that width.
    pub fn numbers(&self, key: &str) -> Result<Option<impl ExactSizeIterator<Item = f64>>> {
        let Some(array) = self.array(key)? else {
            return Ok(None);
        };
        let size =
            fixed_size(array.element).ok_or_else(|| Self::wrong(key, "an array of numbers"))?;
        let bytes = Reader::new(&self.data, array.offset).take(array.count * size, key)?;
        let element = array.element;
        let numbers = bytes.chunks_exact(size);
        Ok(Some(numbers.map(move |bytes| number(element, bytes))))
    }
}

fn number(kind: u32, bytes: &[u8]) -> f64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let raw = u64::from_le_bytes(wide);
    match kind {
        1 => f64::from(raw as u8 as i8),
        3 => f64::from(raw as u16 as i16),
        5 => f64::from(raw as u32 as i32),
        6 => f64::from(f32::from_bits(raw as u32)),
        11 => raw as i64 as f64,
        12 => f64::from_bits(raw),
        _ => raw as f64,
    }
}

fn utf8<'a>(bytes: &'a [u8], at: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| Error::corrupt(at, "the text is not UTF-8"))
}

fn parse_value(reader: &mut Reader<'_>, kind: u32, key: &str) -> Result<Value> {
    Ok(match kind {
        STRING => Value::String(utf8(reader.string_bytes(key)?, key)?.to_owned()),
        ARRAY => Value::Array(skip_array(reader, key, 0)?),
        7 => match reader.take(1, key)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return Err(Error::corrupt(key, "a boolean is neither 0 nor 1")),
        },
        _ => {
            let size = fixed_size(kind)
                .ok_or_else(|| Error::corrupt(key, format!("value type {kind} is not known")))?;
            let bytes = reader.take(size, key)?;
            match kind {
                6 | 12 => Value::Float(number(kind, bytes)),
                1 | 3 | 5 => Value::Signed(number(kind, bytes) as i64),
                11 => {
                    let mut wide = [0; 8];
                    wide.copy_from_slice(bytes);
                    Value::Signed(i64::from_le_bytes(wide))
                }
                _ => {
                    let mut wide = [0; 8];
                    wide[..bytes.len()].copy_from_slice(bytes);
                    Value::Unsigned(u64::from_le_bytes(wide))
                }
            }
        }
    })
}

/// Walks over an array, checking that it lies in the file, and remembers where it is.
fn skip_array(reader: &mut Reader<'_>, key: &str, depth: usize) -> Result<ArrayRef> {
    if depth == MAX_DEPTH {
        return Err(Error::corrupt(key, "arrays lie too deep in one another"));
    }
    let element = reader.u32(key)?;
    let least = match element {
        STRING => 8,
        ARRAY => 12,
        _ => fixed_size(element)
            .ok_or_else(|| Error::corrupt(key, format!("element type {element} is not known")))?,
    };
    let count = reader.count(least, key)?;
    reader.add_elements(count, key)?;
    let offset = reader.position();
    match element {
        STRING => {
            for _ in 0..count {
                reader.string_bytes(key)?;
            }
        }
        ARRAY => {
            for _ in 0..count {
                skip_array(reader, key, depth + 1)?;
            }
        }
        _ => {
            reader.take(count * least, key)?;
        }
    }
    Ok(ArrayRef {
        element,
        count,
        offset,
    })
}
