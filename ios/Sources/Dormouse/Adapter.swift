internal import DormouseGenerated

/// A LoRA adapter that was opened for a model: see ``Model/loadAdapter(_:)``.
///
/// Any number of the model's chats can have it; see ``Chat/setAdapters(_:)``. It is closed by
/// ``close()``, or when the last reference to it is gone, and its memory is given back when no chat
/// has it any more.
public final class Adapter: Sendable {
  let handle: AdapterHandle

  init(_ handle: AdapterHandle) {
    self.handle = handle
  }

  /// Gives the memory back, as soon as no chat has it any more: those that do go on with it.
  ///
  /// From then on ``Chat/setAdapters(_:)`` refuses it with ``DormouseError/closed``; to close again
  /// does nothing.
  public func close() {
    handle.close()
  }

  /// Whether it was closed.
  public var isClosed: Bool { handle.isClosed() }
}

/// An adapter, and how much of it.
public struct AdapterScale: Sendable {
  /// The adapter.
  public var adapter: Adapter
  /// What its effect is multiplied by: 1 is as it was trained, 0 is none.
  public var scale: Float

  /// An adapter at a scale, by default as it was trained.
  public init(_ adapter: Adapter, scale: Float = 1) {
    self.adapter = adapter
    self.scale = scale
  }
}

extension AdapterScale {
  var generated: ScaledAdapter {
    ScaledAdapter(adapter: adapter.handle, scale: scale)
  }
}
