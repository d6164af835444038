import DormouseGenerated

@testable import Dormouse

// In a file of its own: many types of the API have namesakes in the generated code.

/// An endless answer whose native events are noted on their way to the stream.
func endless(_ chat: Chat, noted: Shared<NativeReply?>) -> ReplyStream {
  ReplyStream {
    let message = DormouseGenerated.Message(
      role: .user, content: [.text(text: "forever")], reasoning: nil, toolCalls: [],
      toolCallId: nil, name: nil)
    let reply = NativeReply(
      try await chat.handle.send(
        messages: [message], settings: try ReplyOptions().generated()))
    noted.with { $0 = reply }
    return reply
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

  func cancel() {
    reply.cancel()
  }

  /// How many tokens the engine began after the reply was cancelled, or none if it was not. The
  /// stream may have let go of it before its end: the rest is pulled here.
  func tokensAfterCancel() async throws -> Int? {
    while end.with({ $0 == nil }), try await !next().isEmpty {}
    guard case (true, let tokens)? = end.with({ $0 }) else { return nil }
    return tokens
  }
}
