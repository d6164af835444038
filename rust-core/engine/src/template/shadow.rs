//! Which of two renderings of a conversation becomes the prompt.
//!
//! A template that cuts something out of a message (`content.replace('/think', '')`) makes a control
//! token of what is none in the message: `<|im_/thinkend|>`. So a conversation with brackets, or with names
//! of control tokens as keys, is rendered a second time with all of them marked: the shadow. No bracket and
//! no such key can be part of a control token there, whatever the template does. It has one fault: a
//! template that looks for `<tool_response>` in a message does not find it there.
//!
//! - Nearly always both texts are the same but for the marks. Then the shadow stands: it says of each
//!   bracket whose it is.
//! - If they differ, the template looked for brackets. The first rendering stands if it has the
//!   same control tokens in the same order, and between them no fewer brackets wherever the shadow has such
//!   of messages: what has become a token is missing there.
//! - If not, the shadow stands: what is typed must not make control tokens, and an error would end a
//!   conversation for one message in it.

use std::ops::Range;

use crate::tokenize::Tokenizer;

/// A rendered conversation, its marks put back.
#[derive(Debug)]
pub(super) struct Rendering {
    pub(super) text: String,
    /// Where marked characters are, which no control token may take: byte offsets, ascending.
    pub(super) places: Vec<usize>,
}

impl Rendering {
    /// The places that lie in `range`.
    fn marked(&self, range: &Range<usize>) -> &[usize] {
        let at = |end: usize| self.places.partition_point(|&place| place < end);
        &self.places[at(range.start)..at(range.end)]
    }

    /// Whether these bytes are the template's own, as far as is known.
    pub(super) fn is_own(&self, range: &Range<usize>) -> bool {
        self.marked(range).is_empty()
    }

    /// What lies before each control token and after the last, with the token.
    fn stretches(&self, tokenizer: &Tokenizer) -> Vec<(Range<usize>, Option<u32>)> {
        let mut stretches = Vec::new();
        let mut at = 0;
        for (range, id) in tokenizer.control_tokens(&self.text, |range| self.is_own(&range)) {
            stretches.push((at..range.start, Some(id)));
            at = range.end;
        }
        stretches.push((at..self.text.len(), None));
        stretches
    }
}

/// The rendering that stands.
pub(super) fn standing(tokenizer: &Tokenizer, first: Rendering, shadow: Rendering) -> Rendering {
    if first.text != shadow.text && has_no_more_tokens(tokenizer, &first, &shadow) {
        first
    } else {
        shadow
    }
}

fn has_no_more_tokens(tokenizer: &Tokenizer, first: &Rendering, shadow: &Rendering) -> bool {
    let brackets = |text: &str| {
        text.chars()
            .filter(|c| tokenizer.brackets().binary_search(c).is_ok())
            .count()
    };
    let (of_first, of_shadow) = (first.stretches(tokenizer), shadow.stretches(tokenizer));
    of_first.len() == of_shadow.len()
        && of_first.into_iter().zip(of_shadow).all(|(ours, theirs)| {
            let (range, token) = theirs;
            ours.1 == token
                && (shadow.marked(&range).is_empty()
                    || brackets(&first.text[ours.0]) >= brackets(&shadow.text[range]))
        })
}
