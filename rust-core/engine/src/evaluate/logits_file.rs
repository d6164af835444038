//! The logits file: next-token distributions of a yardstick, to compare a model with.
//!
//! Little-endian: magic `DMLOGITS`, then u32 version (1), vocabulary, positions, k; then the
//! input tokens (u32 each); then one record a position, the distribution after consuming tokens
//! `0..=p`: for k = 0 the whole vocabulary as f32 log-probabilities, else k ids (u32, most likely
//! first), their k log-probabilities (f32) and the log of the mass of all other ids (f32).

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"DMLOGITS";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 24;

/// The yardstick's distribution at one position.
#[derive(Debug, Clone, Default)]
pub struct Distribution {
    /// The ids that have a probability of their own, most likely first when `log_rest` is given,
    /// else all ids in order.
    pub ids: Vec<u32>,
    /// Natural logarithms of their probabilities.
    pub log_probs: Vec<f32>,
    /// Logarithm of the mass of all other ids, if there are others.
    pub log_rest: Option<f32>,
}

/// Reads a logits file record by record.
pub struct LogitsReader {
    name: String,
    input: BufReader<File>,
    n_vocab: usize,
    k: usize,
    tokens: Vec<u32>,
    next: usize,
}

impl LogitsReader {
    /// Opens a file and checks that its length is what its header says.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::CorruptModel`] for a file that is no logits file or is cut off.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let failed = |e| Error::io(format!("cannot read {name}"), e);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut input = BufReader::new(file);
        let mut head = [0u8; HEADER_BYTES as usize];
        input.read_exact(&mut head).map_err(failed)?;
        if &head[..8] != MAGIC {
            return Err(Error::corrupt(name, "this is no logits file (wrong magic)"));
        }
        let mut fields = [0u32; 4];
        for (field, bytes) in fields.iter_mut().zip(head[8..].chunks_exact(4)) {
            *field = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let [version, n_vocab, positions, k] = fields;
        if version != VERSION {
            return Err(Error::unsupported(format!(
                "logits file version {version} (known: 1)"
            )));
        }
        if n_vocab == 0 || k > n_vocab {
            return Err(Error::corrupt(
                name,
                format!("{k} ids of a vocabulary of {n_vocab}"),
            ));
        }
        let k = if k == n_vocab { 0 } else { k };
        let record = if k == 0 {
            4 * u64::from(n_vocab)
        } else {
            8 * u64::from(k) + 4
        };
        let expected = HEADER_BYTES + u64::from(positions) * (4 + record);
        if length != expected {
            return Err(Error::corrupt(
                name,
                format!("{length} bytes, its header says {expected} (is the file cut off?)"),
            ));
        }
        let mut reader = Self {
            name,
            input,
            n_vocab: n_vocab as usize,
            k: k as usize,
            tokens: Vec::new(),
            next: 0,
        };
        reader.tokens = reader.words(positions as usize)?;
        if let Some(id) = reader.tokens.iter().find(|&&id| id >= n_vocab) {
            return Err(Error::corrupt(
                reader.name,
                format!("token {id} of {n_vocab}"),
            ));
        }
        Ok(reader)
    }

    /// The input tokens; there is one distribution after each.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Size of the vocabulary.
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Reads the next position's distribution into `out`; false at the end.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::CorruptModel`] for an id outside the vocabulary and for what is no
    /// logarithm of a probability.
    pub fn read(&mut self, out: &mut Distribution) -> Result<bool> {
        if self.next == self.tokens.len() {
            return Ok(false);
        }
        self.next += 1;
        if self.k == 0 {
            out.ids.clear();
            out.ids.extend(0..self.n_vocab as u32);
            out.log_probs = self.log_probs(self.n_vocab)?;
            out.log_rest = None;
        } else {
            out.ids = self.words(self.k)?;
            if let Some(id) = out.ids.iter().find(|&&id| id as usize >= self.n_vocab) {
                return Err(Error::corrupt(
                    self.name.clone(),
                    format!("id {id} in a record"),
                ));
            }
            out.log_probs = self.log_probs(self.k)?;
            out.log_rest = self.log_probs(1)?.first().copied();
        }
        Ok(true)
    }

    fn words(&mut self, count: usize) -> Result<Vec<u32>> {
        // The header's counts were checked against the file's length.
        let mut bytes = vec![0u8; 4 * count];
        let name = &self.name;
        self.input
            .read_exact(&mut bytes)
            .map_err(|e| Error::io(format!("cannot read {name}"), e))?;
        Ok(bytes
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    fn log_probs(&mut self, count: usize) -> Result<Vec<f32>> {
        let values: Vec<f32> = self.words(count)?.into_iter().map(f32::from_bits).collect();
        match values
            .iter()
            .find(|value| value.is_nan() || **value > ROUNDED_UP)
        {
            None => Ok(values),
            Some(value) => Err(Error::corrupt(
                self.name.clone(),
                format!("{value} is no logarithm of a probability"),
            )),
        }
    }
}

/// That of a certainty may come out a little above 0.
const ROUNDED_UP: f32 = 1e-3;

/// Writes a logits file of whole vocabularies.
pub struct LogitsWriter {
    name: String,
    output: BufWriter<File>,
}

impl LogitsWriter {
    /// Creates the file and writes its header and tokens.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path, n_vocab: usize, tokens: &[u32]) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|e| Error::io(format!("cannot create {name}"), e))?;
        let mut writer = Self {
            name,
            output: BufWriter::new(file),
        };
        writer.put(MAGIC)?;
        for word in [VERSION, n_vocab as u32, tokens.len() as u32, 0] {
            writer.put(&word.to_le_bytes())?;
        }
        for token in tokens {
            writer.put(&token.to_le_bytes())?;
        }
        Ok(writer)
    }

    /// Appends one position: log-probabilities of the whole vocabulary.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, log_probs: impl Iterator<Item = f32>) -> Result<()> {
        for value in log_probs {
            self.put(&value.to_le_bytes())?;
        }
        Ok(())
    }

    /// Flushes the file; without this call its end may be missing.
    ///
    /// # Errors
    /// [`Error::Io`], such as a full disk.
    pub fn finish(mut self) -> Result<()> {
        self.output
            .flush()
            .map_err(|e| Error::io(format!("cannot write {}", self.name), e))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.output
            .write_all(bytes)
            .map_err(|e| Error::io(format!("cannot write {}", self.name), e))
    }
}
