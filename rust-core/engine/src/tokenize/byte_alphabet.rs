//! GPT-2's alphabet for bytes: each byte is written as one printable character, so that a
//! vocabulary of byte strings can be stored as text.
//!
//! The 188 bytes that print in Latin-1 stand for themselves; the others, in order, are U+0100
//! and up. (Source: the byte encoder of OpenAI's GPT-2.)

/// Whether the byte's Latin-1 character prints and is no space.
const fn prints(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

const fn alphabet() -> [char; 256] {
    let mut out = ['\0'; 256];
    let mut moved = 0;
    let mut byte = 0;
    while byte < 256 {
        out[byte] = if prints(byte as u8) {
            byte as u8 as char
        } else {
            moved += 1;
            // Bytes that do not print number 68, so the sum stays far from the surrogates.
            match char::from_u32(0xff + moved) {
                Some(c) => c,
                None => '\0',
            }
        };
        byte += 1;
    }
    out
}

const ALPHABET: [char; 256] = alphabet();
/// One past the last character of the alphabet.
const END: usize = 0x100 + 68;

const fn inverse() -> [i16; END] {
    let mut out = [-1; END];
    let mut byte = 0;
    while byte < 256 {
        out[ALPHABET[byte] as usize] = byte as i16;
        byte += 1;
    }
    out
}

const INVERSE: [i16; END] = inverse();

/// The character that stands for `byte`.
pub(super) fn char_of(byte: u8) -> char {
    ALPHABET[byte as usize]
}

/// The byte that `c` stands for; `None` for a character outside the alphabet.
pub(super) fn byte_of(c: char) -> Option<u8> {
    INVERSE
        .get(c as usize)
        .and_then(|&byte| u8::try_from(byte).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        for byte in 0..=255 {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
        assert_eq!(char_of(0xad), 'Ń');
        assert_eq!(byte_of(' '), None);
        assert_eq!(byte_of('中'), None);
    }
}
