internal import DormouseGenerated
import Foundation

/// Language models on the device itself.
///
/// ```swift
/// let model = try await Dormouse.load(.file(url))
/// let chat = try model.newChat(system: "You answer briefly.")
/// for try await event in chat.send("Why do dormice sleep?") {
///   if case .token(let text) = event { print(text, terminator: "") }
/// }
/// ```
public enum Dormouse {
  /// The version of the engine, as `major.minor.patch`.
  public static var version: String { engineVersion() }

  /// Tells whether a model fits before it is loaded. Only the file's metadata are read.
  ///
  /// - Parameters:
  ///   - source: Where the file is.
  ///   - options: The options that it would be loaded with.
  /// - Returns: Whether it fits, with the bytes that it takes.
  /// - Throws: ``DormouseError`` for a file whose header cannot be read, or whose architecture is not
  ///   known; ``DormouseError/template(why:)`` when ``LoadOptions/chatTemplate`` is none;
  ///   ``DormouseError/invalidOptions(what:)`` for an option outside its range; what only loading
  ///   finds, such as a missing tensor, is for `load` to tell;
  ///   `CancellationError` in a task that was cancelled before.
  public static func plan(_ source: ModelSource, options: LoadOptions = LoadOptions()) async throws
    -> Plan
  {
    try await translated {
      Plan(
        try await DormouseGenerated.plan(
          source: try source.generated(), settings: try options.generated()))
    }
  }

  /// Loads a model. To cancel the task ends the load.
  ///
  /// - Parameters:
  ///   - source: Where the file is.
  ///   - options: How it is loaded.
  ///   - onProgress: Is given the share that is done, in order, from 0 to 1; 1 comes last. It runs
  ///     where it is isolated to (`{ @MainActor share in … }`), else on no actor. The load does not
  ///     wait for it.
  /// - Returns: The model.
  /// - Throws: ``DormouseError``, or `CancellationError` when the task was cancelled.
  public static func load(
    _ source: ModelSource,
    options: LoadOptions = LoadOptions(),
    onProgress: (@isolated(any) @Sendable (Float) -> Void)? = nil
  ) async throws -> Model {
    try await translated {
      let task = try beginLoad(source: try source.generated(), settings: try options.generated())
      // A cancelled task does not end the native call by itself.
      return try await withTaskCancellationHandler {
        var told: Float = -1
        while let share = await task.progress() {
          guard !Task.isCancelled, share > told else { continue }
          told = share
          await onProgress?(share)
        }
        let model = Model(try await task.model())
        if told < 1, !Task.isCancelled {
          await onProgress?(1)
        }
        // Also what it was told last may have had it cancelled.
        try Task.checkCancellation()
        return model
      } onCancel: {
        task.cancel()
      }
    }
  }

  /// Sends the engine's log to a sink of the app's. Without one, nothing is logged.
  ///
  /// - Parameters:
  ///   - level: Records of at least this importance are sent.
  ///   - sink: Takes a record's importance, the part of the engine that it comes from, and its
  ///     words, which never hold text of a prompt or an answer. It is called from any thread, and
  ///     replaces the one before; `nil` ends logging.
  public static func setLogger(
    _ level: LogLevel,
    sink: (@Sendable (_ level: LogLevel, _ target: String, _ message: String) -> Void)?
  ) {
    setLogSink(sink: sink.map(Sink.init), level: level.generated)
  }
}

/// How important a log record is.
public enum LogLevel: Sendable, Hashable, CaseIterable {
  /// Something failed.
  case error
  /// Something is odd.
  case warn
  /// What happens, in outline.
  case info
  /// What happens, in detail.
  case debug
  /// Everything.
  case trace
}

/// The app's closure as the engine calls it.
private final class Sink: LogSink {
  let take: @Sendable (LogLevel, String, String) -> Void

  init(_ take: @escaping @Sendable (LogLevel, String, String) -> Void) {
    self.take = take
  }

  func log(level: DormouseGenerated.LogLevel, target: String, message: String) {
    take(LogLevel(level), target, message)
  }
}

extension LogLevel {
  fileprivate init(_ level: DormouseGenerated.LogLevel) {
    self =
      switch level {
      case .error: .error
      case .warn: .warn
      case .info: .info
      case .debug: .debug
      case .trace: .trace
      }
  }

  fileprivate var generated: DormouseGenerated.LogLevel {
    switch self {
    case .error: .error
    case .warn: .warn
    case .info: .info
    case .debug: .debug
    case .trace: .trace
    }
  }
}
