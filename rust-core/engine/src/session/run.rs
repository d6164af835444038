//! One reply, from the prompt's tokens to its end: what the session's thread does.

use std::sync::Arc;
use std::time::Instant;

use super::cache::Cache;
use super::channel::Channel;
use super::context::Window;
use super::generation::{Done, Event, FinishReason};
use super::language::TextStream;
use super::reply::ReplyParser;
use super::sampler::{Sampler, TokenMask, TokenSet};
use super::stop::StopMatcher;
use crate::error::{Error, Result};
use crate::metrics::{Metrics, peak_memory};

/// All that a reply needs beside the cache; made and checked before the thread is asked.
pub(super) struct Job {
    /// When the caller asked.
    pub(super) started: Instant,
    /// Not empty, each token in the vocabulary, fits the context.
    pub(super) prompt: Vec<u32>,
    /// Tokens that had to be dropped from the prompt.
    pub(super) dropped: usize,
    pub(super) window: Window,
    pub(super) chunk: usize,
    pub(super) sampler: Sampler,
    pub(super) stops: StopMatcher,
    pub(super) text: Box<dyn TextStream>,
    pub(super) parser: ReplyParser,
    pub(super) ends_turn: Box<dyn Fn(u32) -> bool + Send>,
    pub(super) max_tokens: Option<usize>,
    pub(super) mask: Option<Arc<dyn TokenMask>>,
}

/// Computes the reply into `channel`. Whatever the outcome, the cache's list of tokens says what
/// is in it.
pub(super) fn run(cache: &mut Cache, job: Job, channel: &Channel) -> Result<Done> {
    let seed = job.sampler.seed();
    cache.set_interrupt(channel.stop_flag());
    let metrics = Metrics {
        prompt_tokens: job.prompt.len(),
        dropped_tokens: job.dropped,
        ..Metrics::default()
    };
    let started = job.started;
    let mut reply = Reply {
        cache,
        job,
        channel,
        metrics,
        generated: Vec::new(),
        out: String::new(),
        unsent: 0,
    };
    let finish = reply.compute()?;
    let mut metrics = reply.metrics;
    metrics.generated_tokens = reply.generated.len();
    metrics.kv_bytes = cache.kv_bytes();
    metrics.peak_memory = peak_memory();
    metrics.total_duration = started.elapsed();
    Ok(Done {
        finish,
        metrics,
        seed,
    })
}

/// Tells the log how a reply ended. To be called when its end was handed over: a logger may use the
/// chat, and would wait there for the end of the very reply that it is told of.
pub(super) fn log_end(end: Result<Done, &'static str>) {
    match end {
        Ok(Done {
            finish, metrics, ..
        }) => log::debug!(
            "a reply ended ({finish:?}): {} tokens of prompt, {} reused, {} generated, {} dropped, {:.2} s",
            metrics.prompt_tokens,
            metrics.reused_tokens,
            metrics.generated_tokens,
            metrics.dropped_tokens,
            metrics.total_duration.as_secs_f32()
        ),
        Err(kind) => log::warn!("a reply failed: {kind}"),
    }
}

/// Tells the log that a reply could not be started, if it could not, and why, without what the error
/// quotes. Not to be called while the reply is waited for.
pub(super) fn log_start<T>(start: &Result<T>) {
    if let Err(error) = start {
        log::debug!("a reply was not started: {}", error.kind());
    }
}

struct Reply<'a> {
    cache: &'a mut Cache,
    job: Job,
    channel: &'a Channel,
    metrics: Metrics,
    generated: Vec<u32>,
    /// Text that is decided but not yet sent; empty between two calls.
    out: String,
    /// Tokens that no event has told of yet.
    unsent: usize,
}

impl Reply<'_> {
    fn compute(&mut self) -> Result<FinishReason> {
        let prompt = std::mem::take(&mut self.job.prompt);
        let finish = if self.prefill(&prompt)? {
            self.decode()?
        } else {
            FinishReason::Cancelled
        };
        if finish == FinishReason::StopString {
            return Ok(finish);
        }
        // The rest of a character that never came may complete a stop string, too.
        let rest = self.job.text.finish();
        let mut events = Vec::new();
        self.job.parser.push(&rest, &mut events);
        self.job.parser.finish(&mut events);
        if self.emit(events) {
            return Ok(FinishReason::StopString);
        }
        self.job.stops.finish(&mut self.out);
        self.send_text();
        Ok(match finish {
            FinishReason::EndOfTurn if self.job.parser.calls() > 0 => FinishReason::ToolCalls,
            other => other,
        })
    }

    /// False when it was cancelled.
    fn prefill(&mut self, prompt: &[u32]) -> Result<bool> {
        let start = Instant::now();
        self.metrics.reused_tokens = self.cache.reuse(prompt)?;
        let whole = self.evaluate(&prompt[self.metrics.reused_tokens..])?;
        self.metrics.prefill_tokens = self.cache.tokens().len() - self.metrics.reused_tokens;
        self.metrics.prefill_duration = start.elapsed();
        Ok(whole)
    }

    /// Appends `tokens` chunk by chunk, for the logits after the last. False when it was
    /// cancelled.
    fn evaluate(&mut self, tokens: &[u32]) -> Result<bool> {
        let mut chunks = tokens.chunks(self.job.chunk).peekable();
        while let Some(chunk) = chunks.next() {
            if self.channel.is_cancelled() {
                return Ok(false);
            }
            // Whatever is cancelled between the look above and here began too late.
            self.metrics.tokens_after_cancel += usize::from(self.channel.is_cancelled());
            match self.cache.append(chunk, chunks.peek().is_none()) {
                Err(Error::Cancelled) if self.channel.is_cancelled() => return Ok(false),
                other => other?,
            }
        }
        Ok(true)
    }

    fn decode(&mut self) -> Result<FinishReason> {
        let limit = self.job.max_tokens.unwrap_or(usize::MAX);
        let mask = self.job.mask.take();
        let mut allowed = mask
            .as_ref()
            .map(|_| TokenSet::full(self.cache.vocab_size()));
        let mut first = None;
        loop {
            if self.generated.len() >= limit {
                return Ok(FinishReason::MaxTokens);
            }
            if self.channel.is_cancelled() {
                return Ok(FinishReason::Cancelled);
            }
            if let (Some(mask), Some(allowed)) = (&mask, &mut allowed) {
                allowed.fill();
                mask.apply(&self.generated, allowed)?;
            }
            let token = self.cache.sample(&mut self.job.sampler, allowed.as_ref())?;
            self.metrics.tokens_after_cancel += usize::from(self.channel.is_cancelled());
            self.generated.push(token);
            self.unsent += 1;
            let now = Instant::now();
            let first = *first.get_or_insert(now);
            self.metrics.time_to_first_token = Some(first - self.job.started);
            self.metrics.decode_duration =
                (now - first).saturating_sub(self.metrics.stalled_duration);
            if (self.job.ends_turn)(token) {
                return Ok(FinishReason::EndOfTurn);
            }
            let events = self.read(token);
            if self.emit(events) {
                return Ok(FinishReason::StopString);
            }
            if self.generated.len() >= limit {
                return Ok(FinishReason::MaxTokens);
            }
            // Here no lock is held that another session could want.
            self.metrics.stalled_duration += self.channel.wait_for_room();
            if !self.cache.is_full() {
                if !self.evaluate(&[token])? {
                    return Ok(FinishReason::Cancelled);
                }
                continue;
            }
            let context = self.cache.context_length();
            let Some(dropped) = self.job.window.drop_when_full(context) else {
                return Ok(FinishReason::ContextFull);
            };
            self.metrics.dropped_tokens += dropped.len();
            let mut kept = self.cache.tokens().to_vec();
            kept.drain(dropped);
            kept.push(token);
            let reused = self.cache.reuse(&kept)?;
            if !self.evaluate(&kept[reused..])? {
                return Ok(FinishReason::Cancelled);
            }
        }
    }

    /// What the token adds to the reply: from its text by way of the parser, where a marker that
    /// is a control token counts, too.
    fn read(&mut self, token: u32) -> Vec<Event> {
        let (text, parser) = (&mut self.job.text, &mut self.job.parser);
        let mut events = Vec::new();
        match text.marker(token) {
            Some(marker) => {
                // Half a character before it stays half.
                parser.push(&text.finish(), &mut events);
                parser.push_marker(marker, &mut events);
            }
            None => parser.push(&text.push(token), &mut events),
        }
        events
    }

    /// Sends the events, the answer's text as far as the stop strings allow. True when one of
    /// these is complete.
    fn emit(&mut self, events: Vec<Event>) -> bool {
        for event in events {
            if let Event::Text(text) = event {
                if self.job.stops.push(&text, &mut self.out) {
                    self.send_text();
                    return true;
                }
            } else {
                // What was held back comes first: a stop string does not reach over other events.
                self.job.stops.finish(&mut self.out);
                self.send_text();
                self.send(event);
            }
        }
        self.send_text();
        false
    }

    fn send_text(&mut self) {
        if !self.out.is_empty() {
            let text = std::mem::take(&mut self.out);
            self.send(Event::Text(text));
        }
    }

    fn send(&mut self, event: Event) {
        let tokens = std::mem::take(&mut self.unsent);
        self.channel.push(event, tokens);
    }
}
