internal import DormouseGenerated
import Foundation

/// What a reply cost: times in seconds, rates in tokens per second, sizes in bytes.
public struct Metrics: Sendable, Hashable {
  /// From the call to the first token chosen; `nil` when there was none.
  public let timeToFirstToken: TimeInterval?
  /// Tokens of the prompt, as they are in the context.
  public let promptTokens: Int
  /// Those of them that were in the KV cache already.
  public let reusedTokens: Int
  /// Those of them that were evaluated.
  public let prefillTokens: Int
  /// How long that took.
  public let prefillSeconds: TimeInterval
  /// Prompt tokens evaluated per second; `nil` when there were none.
  public let prefillRate: Double?
  /// Tokens that were chosen, the one that ends the model's turn included.
  public let generatedTokens: Int
  /// From the first token chosen to the last.
  public let decodeSeconds: TimeInterval
  /// Tokens per second after the first; `nil` when there were fewer than two.
  public let decodeRate: Double?
  /// From the call to the end.
  public let totalSeconds: TimeInterval
  /// How long the engine waited for the app to take events.
  public let stalledSeconds: TimeInterval
  /// Tokens dropped from the context to make room.
  public let droppedTokens: Int
  /// Tokens whose computation began after the reply was cancelled.
  public let tokensAfterCancel: Int
  /// Bytes of the chat's KV cache at the end.
  public let kvBytes: UInt64
  /// The most memory that the process ever had resident, where the system tells.
  public let peakMemory: UInt64?
}

extension Metrics {
  init(_ metrics: DormouseGenerated.Metrics) {
    self.init(
      timeToFirstToken: metrics.timeToFirstToken,
      promptTokens: Int(metrics.promptTokens),
      reusedTokens: Int(metrics.reusedTokens),
      prefillTokens: Int(metrics.prefillTokens),
      prefillSeconds: metrics.prefillSeconds,
      prefillRate: metrics.prefillRate,
      generatedTokens: Int(metrics.generatedTokens),
      decodeSeconds: metrics.decodeSeconds,
      decodeRate: metrics.decodeRate,
      totalSeconds: metrics.totalSeconds,
      stalledSeconds: metrics.stalledSeconds,
      droppedTokens: Int(metrics.droppedTokens),
      tokensAfterCancel: Int(metrics.tokensAfterCancel),
      kvBytes: metrics.kvBytes,
      peakMemory: metrics.peakMemory)
  }
}
