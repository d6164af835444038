//! How much a saved chat is once it is read: counted in its text, before anything is made of it.

use std::io::{self, Write};

/// Values, names and brackets that a saved chat may have. A message without tools has ten, so this is
/// enough for twenty thousand of them. What is made of each takes up to 130 bytes, where two
/// bytes of the file suffice: texts need no such bound, as they take what they take in the file.
pub(super) const MAX_MARKS: usize = 1 << 18;

/// Counts the marks of JSON that stand outside of its texts.
#[derive(Default)]
pub(super) struct Measure {
    marks: usize,
    in_text: bool,
    escaped: bool,
}

impl Measure {
    /// Counts the next bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] once there are too many.
    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        for &byte in bytes {
            if self.in_text {
                self.in_text = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
            } else {
                self.in_text = byte == b'"';
                self.marks += usize::from(matches!(byte, b',' | b':' | b'[' | b'{'));
            }
        }
        if self.marks <= MAX_MARKS {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("more than {MAX_MARKS} values, which no saved chat may have"),
        ))
    }
}

/// Writes what may be read again.
pub(super) struct Measured<W> {
    pub(super) inner: W,
    pub(super) measure: Measure,
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.measure.add(&bytes[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(text: &str) -> usize {
        let mut measure = Measure::default();
        // Byte by byte, as nothing may depend on where the pieces end.
        for byte in text.bytes() {
            measure.add(&[byte]).unwrap();
        }
        measure.marks
    }

    #[test]
    fn marks_count_outside_of_texts_only() {
        assert_eq!(marks(r#"{"a": [1, 2], "b": {}}"#), 7);
        assert_eq!(marks(r#""[,:{\"[,:{\\" "#), 0);
        assert_eq!(marks(r#"["\\", "\"", 1]"#), 3);
    }

    #[test]
    fn too_many_are_an_error() {
        let mut measure = Measure::default();
        measure.add(&vec![b'['; MAX_MARKS]).unwrap();
        measure.add(b"]]] 17 \"[[[\"").unwrap();
        let error = measure.add(b"{").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut measured = Measured {
            inner: Vec::new(),
            measure: Measure::default(),
        };
        assert!(measured.write_all(&vec![b','; MAX_MARKS + 1]).is_err());
    }
}
