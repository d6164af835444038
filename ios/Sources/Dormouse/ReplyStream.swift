internal import DormouseGenerated
import Foundation

/// The events of a reply, as they happen.
///
/// The stream is cold: nothing is sent before it is iterated, and each iteration sends anew. To
/// break out of the loop, to cancel its task, ``Chat/cancel()`` and ``Chat/close()`` stop the
/// engine within one token; the chat stays usable, but for the last. A slow loop makes the engine
/// wait: it is at most 64 tokens ahead of what was taken.
///
/// A cancelled task gets a `CancellationError`; ``Chat/cancel()`` ends the loop as usual, with
/// ``Event/done(metrics:finishReason:seed:)`` and ``FinishReason/cancelled``.
public struct ReplyStream: AsyncSequence, Sendable {
  /// What the stream gives.
  public typealias Element = Event

  typealias Start = @Sendable (CallToken) async throws -> any ReplyProtocol

  /// Makes what ends a reply from before it is started.
  let newCall: @Sendable () -> CallToken
  let start: Start

  init(newCall: @escaping @Sendable () -> CallToken = { CallToken() }, start: @escaping Start) {
    self.newCall = newCall
    self.start = start
  }

  /// Makes an iteration, which starts the reply when the first event is asked for.
  public func makeAsyncIterator() -> Iterator {
    Iterator(pull: Pull(newCall, start))
  }

  /// One iteration. It is not to be asked for events by two tasks at once.
  public struct Iterator: AsyncIteratorProtocol, Sendable {
    fileprivate let pull: Pull

    /// Waits for the next event; `nil` after the last.
    ///
    /// - Throws: ``DormouseError`` for why the reply could not be started or failed;
    ///   `CancellationError` when the task was cancelled.
    public func next() async throws -> Event? {
      try await pull.next()
    }
  }
}

extension ReplyStream {
  /// All of the reply at once.
  func whole() async throws -> Reply {
    let events = makeAsyncIterator()
    // Between two events, too.
    return try await withTaskCancellationHandler {
      try await Self.whole(of: events)
    } onCancel: {
      events.pull.cancel()
    }
  }

  private static func whole(of events: Iterator) async throws -> Reply {
    var text = ""
    var reasoning = ""
    var calls: [ToolCall] = []
    while let event = try await events.next() {
      switch event {
      case .token(let more): text += more
      case .reasoning(let more): reasoning += more
      case .toolCall(let call): calls.append(call)
      case .throttled: break
      case .done(let metrics, let finishReason, let seed):
        return Reply(
          text: text, reasoning: reasoning.isEmpty ? nil : reasoning, toolCalls: calls,
          metrics: metrics,
          finishReason: finishReason, seed: seed)
      }
    }
    throw DormouseError.internal(place: "reply", what: "it has no end")
  }
}

extension AsyncThrowingStream where Element == Event, Failure == any Error {
  /// The events of a reply as a stream of the standard library's type, for code that asks for one.
  /// It can be iterated once, and ends the reply only when its last copy is gone.
  public init(_ events: ReplyStream) {
    let iterator = events.makeAsyncIterator()
    self.init(unfolding: { try await iterator.next() })
  }
}

/// One run of a reply: starts it, hands out the events of each batch one by one, and ends it when
/// nobody can ask for more.
private final class Pull: Sendable {
  private struct State {
    /// Ends the reply from before it is started. A cancelled task does not end a native call by
    /// itself, and its start may take seconds.
    var call: CallToken?
    var reply: (any ReplyProtocol)?
    /// Pulled and not handed out yet, the next one last.
    var waiting: [Event] = []
    var cancelled = false
    var ended = false
  }

  private let newCall: @Sendable () -> CallToken
  private let start: ReplyStream.Start
  private let state = Locked(State())

  init(_ newCall: @escaping @Sendable () -> CallToken, _ start: @escaping ReplyStream.Start) {
    self.newCall = newCall
    self.start = start
  }

  deinit {
    // Whoever iterated broke out of the loop. The native reply may be held by a call that is still
    // on its way, so that to let go of it is not enough.
    cancel()
  }

  /// Tells the engine there and then; what is waited for then returns.
  func cancel() {
    let (call, reply) = state.with { state in
      state.cancelled = true
      return (state.call, state.reply)
    }
    call?.cancel()
    reply?.cancel()
  }

  func next() async throws -> Event? {
    do {
      if state.with({ $0.ended }) { return nil }
      let event = try await translated { [self] in
        try await withTaskCancellationHandler {
          try await pulled()
        } onCancel: {
          cancel()
        }
      }
      if case .done? = event { end() }
      return event
    } catch {
      end()
      throw error
    }
  }

  private func pulled() async throws -> Event? {
    if let event = state.with({ $0.waiting.popLast() }) { return event }
    let events = try await running().next()
    try Task.checkCancellation()
    return state.with { state in
      state.waiting = events.reversed().map(Event.init)
      return state.waiting.popLast()
    }
  }

  private func running() async throws -> any ReplyProtocol {
    if let reply = state.with({ $0.reply }) { return reply }
    // Made no earlier: what the chat cancels before the first event is asked for is not this.
    let call = newCall()
    let cancelled = state.with { state in
      state.call = call
      return state.cancelled
    }
    if cancelled { call.cancel() }
    let reply = try await start(call)
    state.with { $0.reply = reply }
    // Cancelled while it was not known yet.
    if Task.isCancelled { reply.cancel() }
    return reply
  }

  /// Lets go of the native reply, which cancels one that has not ended.
  private func end() {
    cancel()
    state.with { state in
      state.waiting = []
      state.ended = true
      state.reply = nil
    }
  }
}

/// A value behind a lock.
private final class Locked<Value>: @unchecked Sendable {
  private let lock = NSLock()
  private var value: Value

  init(_ value: Value) {
    self.value = value
  }

  func with<T>(_ change: (inout Value) -> T) -> T {
    lock.lock()
    defer { lock.unlock() }
    return change(&value)
  }
}
