internal import DormouseGenerated

/// Something that happens in a reply.
///
/// Complete from the start: kinds that this version does not make yet are there, so that an
/// exhaustive `switch` stays one.
public enum Event: Sendable, Hashable {
  /// More of the answer: whole characters, never empty.
  case token(String)
  /// More of what the model thinks before it answers.
  case reasoning(String)
  /// The model asks for a tool.
  case toolCall(ToolCall)
  /// The limits under which the reply is computed have changed.
  case throttled(reason: ThrottleReason, limits: Limits)
  /// The reply is at its end; nothing follows. With the seed the same reply can be had again.
  case done(metrics: Metrics, finishReason: FinishReason, seed: UInt64)
}

/// Why a reply ended.
public enum FinishReason: Sendable, Hashable, CaseIterable {
  /// The model ended its turn.
  case endOfTurn
  /// The model ended its turn with calls of tools, which now want results.
  case toolCalls
  /// A stop string came.
  case stopString
  /// The limit on tokens was reached.
  case maxTokens
  /// The context is full, and its policy is to stop.
  case contextFull
  /// It was cancelled, or the chat was closed.
  case cancelled
}

/// Why limits were set.
public enum ThrottleReason: Sendable, Hashable, CaseIterable {
  /// The device is hot.
  case heat
  /// The battery is low.
  case battery
  /// The system asks to save power.
  case lowPower
  /// The system is short of memory.
  case memory
  /// The app is in the background.
  case background
  /// The limits were lifted.
  case recovered
}

/// Limits under which a reply is computed; what is `nil` is not limited.
public struct Limits: Sendable, Hashable {
  /// Compute threads.
  public let threads: Int?
  /// Share of the time in which is computed, above 0 up to 1.
  public let dutyCycle: Float?
  /// Tokens per second.
  public let tokensPerSecond: Float?
  /// Nothing is computed until this is lifted.
  public let paused: Bool
}

/// A whole reply.
public struct Reply: Sendable, Hashable {
  /// The answer.
  public let text: String
  /// What the model thought before it; `nil` where it did not.
  public let reasoning: String?
  /// The tools that it asks for.
  public let toolCalls: [ToolCall]
  /// What it cost.
  public let metrics: Metrics
  /// Why it ended.
  public let finishReason: FinishReason
  /// The seed that was used: with it the same reply can be had again.
  public let seed: UInt64
}

extension Event {
  init(_ event: DormouseGenerated.Event) {
    self =
      switch event {
      case .token(let text): .token(text)
      case .reasoning(let text): .reasoning(text)
      case .toolCall(let call): .toolCall(ToolCall(call))
      case .throttled(let reason, let limits):
        .throttled(reason: ThrottleReason(reason), limits: Limits(limits))
      case .done(let metrics, let finishReason, let seed):
        .done(metrics: Metrics(metrics), finishReason: FinishReason(finishReason), seed: seed)
      }
  }
}

extension FinishReason {
  fileprivate init(_ reason: DormouseGenerated.FinishReason) {
    self =
      switch reason {
      case .endOfTurn: .endOfTurn
      case .toolCalls: .toolCalls
      case .stopString: .stopString
      case .maxTokens: .maxTokens
      case .contextFull: .contextFull
      case .cancelled: .cancelled
      }
  }
}

extension ThrottleReason {
  fileprivate init(_ reason: DormouseGenerated.ThrottleReason) {
    self =
      switch reason {
      case .heat: .heat
      case .battery: .battery
      case .lowPower: .lowPower
      case .memory: .memory
      case .background: .background
      case .recovered: .recovered
      }
  }
}

extension Limits {
  fileprivate init(_ limits: DormouseGenerated.Limits) {
    self.init(
      threads: limits.threads.map(Int.init),
      dutyCycle: limits.dutyCycle,
      tokensPerSecond: limits.tokensPerSecond,
      paused: limits.paused)
  }
}
