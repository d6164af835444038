import DormouseGenerated

@testable import Dormouse

// In a file of its own: many types of the API have namesakes in the generated code.

/// An endless answer whose native events are noted on their way to the stream.
func endless(_ chat: Chat, noted: Shared<NativeReply?>) -> ReplyStream {
  ReplyStream { call in
    let reply = NativeReply(
      try await chat.handle.send(
        messages: [DormouseMessage.user("forever").generated],
        settings: try ReplyOptions().generated(), token: call))
    noted.with { $0 = reply }
    return reply
  }
}

/// As the chat's own stream, but `about` is called last before the engine is.
func answer(
  to text: String, by chat: Chat, options: ReplyOptions, about: @escaping @Sendable () -> Void
) -> ReplyStream {
  chat.stream(options) { chat, settings, call in
    let message = DormouseMessage.user(text).generated
    about()
    return try await chat.handle.send(messages: [message], settings: settings, token: call)
  }
}

/// A native reply that remembers its end.
final class NativeReply: ReplyProtocol {
  private let reply: DormouseGenerated.Reply
  /// Whether it was cancelled, and how many tokens the engine began after that.
  private let end = Shared<(cancelled: Bool, tokens: Int)?>(nil)

  init(_ reply: DormouseGenerated.Reply) {
    self.reply = reply
  }

  func next() async throws -> [DormouseGenerated.Event] {
    let events = try await reply.next()
    if case .done(let metrics, let reason, _) = events.last {
      end.with { $0 = (reason == .cancelled, Int(metrics.tokensAfterCancel)) }
    }
    return events
  }

  /// Kotlin's: it blocks a thread, of which Swift's tasks have few.
  func awaitEvents() throws -> [DormouseGenerated.Event] {
    throw Missing(description: "a task is not to block its thread")
  }

  func cancel() {
    reply.cancel()
  }

  /// How many tokens the engine began after the reply was cancelled, or none if it was not. The
  /// stream may have let go of it before its end: the rest is pulled here, which is not much.
  func tokensAfterCancel() async throws -> Int? {
    for _ in 0..<100 {
      if let end = end.with({ $0 }) { return end.cancelled ? end.tokens : nil }
      if try await next().isEmpty { break }
    }
    return nil
  }
}

/// A native reply that has nothing to tell until it is cancelled, as in a long prefill.
final class SilentReply: ReplyProtocol {
  private let cancelled = Shared(false)

  func next() async throws -> [DormouseGenerated.Event] {
    let deadline = ContinuousClock.now + .seconds(5)
    while !cancelled.with({ $0 }) {
      if ContinuousClock.now > deadline { throw Missing(description: "nobody cancelled") }
      await Task.yield()
    }
    return []
  }

  /// Kotlin's: it blocks a thread, of which Swift's tasks have few.
  func awaitEvents() throws -> [DormouseGenerated.Event] {
    throw Missing(description: "a task is not to block its thread")
  }

  func cancel() {
    cancelled.with { $0 = true }
  }
}
