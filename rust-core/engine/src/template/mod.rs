//! Turns a conversation into the text that a model was trained on, with the model's own chat
//! template.
//!
//! Templates are Jinja as Hugging Face's `apply_chat_template` runs it: `trim_blocks` and
//! `lstrip_blocks`, loop controls, Python's methods, `tojson` without HTML escapes,
//! `raise_exception` and `strftime_now`. They come with the model, from anywhere, so they run
//! bounded: in time, in steps, in the memory that they fill, in output and in depth.
//!
//! The time is the processor's (see `deadline`). The steps are minijinja's fuel, which bounds the
//! memory as well. It does not count what `+` does with lists, and counts the
//! comparison of two values by their outermost length alone, so a template's source is rewritten
//! before it is compiled (`rewrite`): sums become calls of a filter that pays, and what the template
//! builds is walked, paid for and kept small (`held`).

mod add;
mod args;
mod budget;
mod calls;
mod deadline;
mod filters;
mod held;
mod lex;
mod marks;
mod message;
mod names;
mod numbers;
mod places;
mod python;
mod python_json;
mod python_str;
mod python_text;
mod refusal;
mod rewrite;
mod shadow;
mod source;

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Zoned;
use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Map, Value};

pub use message::{Message, Part, Role, ToolCall};

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::threads::take_panic_place;
#[cfg(doc)]
use crate::tokenize::EncodeOptions;
use crate::tokenize::Tokenizer;
use budget::{Budget, Sink};
use deadline::Limited;
use marks::Marks;
use rewrite::with_making_paid;
use shadow::{Rendering, standing};

const KEY: &str = "tokenizer.chat_template";
const NAME: &str = "chat";

/// Nested loops, conditions and (each four) macros. A large stack holds that many symbols in a
/// debug build.
const MAX_DEPTH: usize = 300;

/// A compiled chat template. Immutable and cheap to share by [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

/// What a rendering is given besides the messages.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    /// Ends with the beginning of the assistant's turn, so that the model goes on from there.
    pub add_generation_prompt: bool,
    /// Further variables, such as `enable_thinking`; they win over those set here.
    pub variables: Map<String, Value>,
    /// Definitions of tools, as JSON schemas in the form that the template expects.
    pub tools: Vec<Value>,
    /// The time that `strftime_now` tells; the local time of the call if `None`.
    pub now: Option<DateTime>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            variables: Map::new(),
            tools: Vec::new(),
            now: None,
        }
    }
}

fn template_error(why: impl Into<String>) -> Error {
    Error::Template { why: why.into() }
}

/// What compiles and renders a template recurses, and it is not ours: a panic of it is an error of
/// the template that brought it about, and its text is not told.
fn on_large_stack<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    crate::threads::on_large_stack("dormouse-jinja", || {
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            take_panic_place();
            Err(template_error("the template engine cannot do what it asks"))
        })
    })?
}

impl ChatTemplate {
    /// The template in the file's metadata.
    ///
    /// # Errors
    /// [`Error::Template`] when the file has none (a base model) or it does not compile.
    pub fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Self> {
        let source = gguf.metadata().str(KEY)?.ok_or_else(|| {
            template_error(
                "the model has none, so it is a base model that was not trained to chat: \
                 complete raw text with it, or pass a template",
            )
        })?;
        Self::for_tokenizer(source, tokenizer)
    }

    /// Compiles a template for the model that has this tokenizer.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn for_tokenizer(source: &str, tokenizer: &Tokenizer) -> Result<Self> {
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or("");
        Self::new(source, text(tokenizer.bos()), text(tokenizer.eos()))
    }

    /// Compiles a template; `bos` and `eos` are the texts that it sees as `bos_token` and
    /// `eos_token`.
    ///
    /// # Errors
    /// [`Error::Template`] when it does not compile or is longer than 256 KiB.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self> {
        // Jinja2 reads all line ends as one.
        let plain = source.replace("\r\n", "\n").replace('\r', "\n");
        source::too_large(&plain).map_err(template_error)?;
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|e| Error::internal(format!("the template syntax: {e}")))?;
        let mut environment = Environment::empty();
        environment.set_syntax(syntax);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_recursion_limit(MAX_DEPTH);
        calls::add_to(&mut environment);
        python::add_to(&mut environment);
        add::add_to(&mut environment);
        filters::add_to(&mut environment);
        held::add_to(&mut environment);
        // What cannot be read does not compile either; minijinja says best why.
        let (plain, read) = match with_making_paid(&plain) {
            Ok(paid) => (paid, true),
            Err(_) => (plain, false),
        };
        let environment = on_large_stack(|| match environment.add_template_owned(NAME, plain) {
            Ok(()) => Ok(environment),
            Err(e) => Err(template_error(refusal::of_compiling(&e))),
        })?;
        if !read {
            return Err(template_error("a tag in it cannot be read"));
        }
        Ok(Self {
            environment,
            source: source.to_owned(),
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as text.
    ///
    /// # Errors
    /// [`Error::Template`] with the template's own words if it refuses the conversation, as far as
    /// they are literally in its source, or with what went wrong if it fails, takes too many steps
    /// or makes more than 4 MiB beyond the bytes of the conversation. No words of the conversation
    /// are in it.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String> {
        self.render_variables(self.variables(messages, options)?, options.now)
    }

    /// Renders with these variables and nothing else: no `bos_token`, no `messages`.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_variables(
        &self,
        variables: Map<String, Value>,
        now: Option<DateTime>,
    ) -> Result<String> {
        on_large_stack(|| {
            let _limited = Limited::new(Budget::of(&variables).added);
            self.render_here(variables, now)
        })
    }

    /// Renders on this thread, before the deadline that it has.
    fn render_here(
        &self,
        mut variables: Map<String, Value>,
        now: Option<DateTime>,
    ) -> Result<String> {
        let budget = Budget::of(&variables);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(budget.fuel()));
        let mut context: Vec<(String, minijinja::Value)> = variables
            .iter_mut()
            .map(|(key, value)| (key.clone(), minijinja::Value::from(Serde(value.take()))))
            .collect();
        // The clock is read when a template asks for it, which few do.
        let clock = move |format: &str| {
            python::strftime(now.unwrap_or_else(|| Zoned::now().datetime()), format)
        };
        context.push((
            "strftime_now".to_owned(),
            minijinja::Value::from_function(clock),
        ));
        let mut sink = Sink::new(budget.output);
        environment
            .get_template(NAME)
            .and_then(|template| {
                template.render_captured_to(minijinja::Value::from_pairs(context), &mut sink)
            })
            .map_err(|e| {
                let why = match e.kind() {
                    minijinja::ErrorKind::WriteFailure => {
                        format!("it makes more than {} bytes", budget.output)
                    }
                    _ => refusal::of_rendering(&e, &self.source),
                };
                template_error(why)
            })?;
        String::from_utf8(sink.into_bytes())
            .map_err(|_| Error::internal("a template made invalid UTF-8"))
    }

    /// The conversation as tokens. The template's control tokens count; control tokens that are
    /// written out in messages, tools or variables are ordinary text, and so are those that come
    /// about when the template takes such texts apart. Where there are none of these, the result is
    /// that of [`render`](Self::render) and [`Tokenizer::encode`] with
    /// [`EncodeOptions::parse_special`]. BOS is put in front if the tokenizer asks for it and the
    /// template did not write it.
    ///
    /// Not covered is what such a text brings without a bracket: a template that writes brackets of its
    /// own around a whole message (`<{{ m.content }}>`) makes a control token of `end_of_turn`. Around
    /// keys of schemas and arguments, where templates do so, it does not. Nor are the tags that stand literally in the
    /// template's source, where the model said them, should the template replace what is inside them.
    ///
    /// A conversation with brackets such as `<` in it, or with keys such as `im_end`, is rendered twice,
    /// in the time of once.
    ///
    /// # Errors
    /// As [`render`](Self::render) and [`Tokenizer::encode`].
    pub fn render_tokens(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Vec<u32>> {
        let rendering = self.render_marked(tokenizer, messages, options)?;
        let mut tokens =
            tokenizer.encode_with(&rendering.text, false, |range| rendering.is_own(&range))?;
        let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
        if let Some(bos) = bos.filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// The conversation as text that tells what in it is not the template's.
    fn render_marked(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Rendering> {
        let full = || template_error("the conversation uses up the private-use characters");
        let variables = self.variables(messages, options)?;
        let added = Budget::of(&variables).added;
        let variables = Value::Object(variables);
        let mut marks = Marks::new(tokenizer, &variables, &self.source).ok_or_else(full)?;
        let (first, typed) = marks.typed(&variables).ok_or_else(full)?;
        let (shadow, all) = marks.shadow(&variables).ok_or_else(full)?;
        let first = self.with_own_tokens(first, options);
        let shadow = (all > typed).then(|| self.with_own_tokens(shadow, options));
        // Both are to tell the same time.
        let now = options
            .now
            .or_else(|| shadow.as_ref().map(|_| Zoned::now().datetime()));
        on_large_stack(|| {
            let _limited = Limited::new(added);
            let _active = marks.activate();
            let first = marks.restore(&self.render_here(first, now)?);
            let Some(shadow) = shadow else {
                return Ok(first);
            };
            let shadow = self.render_here(shadow, now).map_err(|error| match error {
                Error::Template { why } => template_error(format!(
                    "it fails when brackets such as < in messages are told from its own: {why}"
                )),
                other => other,
            })?;
            Ok(standing(tokenizer, first, marks.restore(&shadow)))
        })
    }

    /// Marked variables, with the tokens' texts that the template is to write.
    fn with_own_tokens(&self, marked: Value, options: &RenderOptions) -> Map<String, Value> {
        let Value::Object(mut marked) = marked else {
            return Map::new();
        };
        for (name, text) in [("bos_token", &self.bos), ("eos_token", &self.eos)] {
            if !options.variables.contains_key(name) {
                marked.insert(name.to_owned(), text.as_str().into());
            }
        }
        marked
    }

    fn variables(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Map<String, Value>> {
        // A variable of these names would silently replace the conversation.
        for reserved in ["messages", "tools", "add_generation_prompt"] {
            if options.variables.contains_key(reserved) {
                return Err(Error::invalid(format!(
                    "the template variable {reserved} is reserved: it comes from the request itself"
                )));
            }
        }
        let mut out = Map::new();
        let messages = messages.iter().map(Message::to_value).collect();
        out.insert("messages".into(), messages);
        // Without tools the name exists and is none: templates test for that.
        let tools = match options.tools.as_slice() {
            [] => Value::Null,
            tools => tools.to_vec().into(),
        };
        out.insert("tools".into(), tools);
        out.insert("documents".into(), Value::Null);
        out.insert(
            "add_generation_prompt".into(),
            options.add_generation_prompt.into(),
        );
        out.insert("bos_token".into(), self.bos.as_str().into());
        out.insert("eos_token".into(), self.eos.as_str().into());
        out.extend(options.variables.clone());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_engine_is_an_error_of_the_template() {
        let panics =
            || -> Result<()> { on_large_stack(|| std::panic::panic_any("the user's words")) };
        // On a thread that gets a large stack, and on one that has it.
        for result in [
            panics(),
            crate::threads::on_large_stack("test", panics).unwrap(),
        ] {
            let Err(Error::Template { why }) = result else {
                panic!("{result:?}");
            };
            assert_eq!(why, "the template engine cannot do what it asks");
        }
    }
}
