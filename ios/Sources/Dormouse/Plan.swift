internal import DormouseGenerated

/// Bytes that a model takes with one chat.
public struct MemoryNeeds: Sendable, Hashable {
  /// Weights. Of a file that is mapped they are pages that the system can drop and read again; one
  /// that is read in (see ``FileAccess``) counts as long as it is, as memory that cannot be dropped.
  public let weights: UInt64
  /// The KV cache of one chat when its context is full.
  public let kvCache: UInt64
  /// Work buffers.
  public let buffers: UInt64
  /// All of it.
  public let total: UInt64
  /// Tokens that the context holds.
  public let contextLength: Int
}

/// What loading a model would come to.
public enum Plan: Sendable, Hashable {
  /// It fits; `tight` when only by dropping weights and reading them again, which is slow.
  case fits(needs: MemoryNeeds, tight: Bool)
  /// It runs with its experts read from flash, in at least `leastBytes`, at an estimated
  /// `tokensPerSecond`. Comes with models of experts, which this version does not page yet.
  case pages(needs: MemoryNeeds, leastBytes: UInt64, tokensPerSecond: Float)
  /// It does not fit into `allowedBytes`: the budget, or what the system can give.
  case refused(needs: MemoryNeeds, allowedBytes: UInt64, reason: String)

  /// What it takes.
  public var needs: MemoryNeeds {
    switch self {
    case .fits(let needs, _), .pages(let needs, _, _), .refused(let needs, _, _): needs
    }
  }
}

extension MemoryNeeds {
  fileprivate init(_ needs: DormouseGenerated.MemoryNeeds) {
    self.init(
      weights: needs.weights,
      kvCache: needs.kvCache,
      buffers: needs.buffers,
      total: needs.total,
      contextLength: Int(needs.contextLength))
  }
}

extension Plan {
  init(_ plan: DormouseGenerated.Plan) {
    self =
      switch plan {
      case .fits(let needs, let tight):
        .fits(needs: MemoryNeeds(needs), tight: tight)
      case .pages(let needs, let least, let tokensPerSecond):
        .pages(needs: MemoryNeeds(needs), leastBytes: least, tokensPerSecond: tokensPerSecond)
      case .refused(let needs, let allowed, let reason):
        .refused(needs: MemoryNeeds(needs), allowedBytes: allowed, reason: reason)
      }
  }
}
