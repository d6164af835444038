internal import DormouseGenerated
import Foundation

/// Where a model file is.
public enum ModelSource: Sendable, Hashable {
  /// A file by its path.
  case path(String)
  /// A file by its URL. One from outside the app's container must be accessible while the model
  /// is loaded (`startAccessingSecurityScopedResource()`).
  case file(URL)
  /// A window of an open file, `offset` and `length` in bytes. The descriptor is duplicated: the
  /// caller keeps theirs and closes it when they like.
  case descriptor(fd: Int32, offset: Int, length: Int)
}

/// Most bytes that a model may take.
public struct MemoryBudget: Sendable, Hashable {
  /// The bytes.
  public let bytes: UInt64

  /// A budget of so many bytes.
  public static func bytes(_ count: UInt64) -> MemoryBudget {
    MemoryBudget(bytes: count)
  }

  /// A budget of so many mebibytes (1024 × 1024 bytes).
  public static func mib(_ count: UInt64) -> MemoryBudget {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: 1 << 20)
    return MemoryBudget(bytes: overflow ? .max : bytes)
  }
}

/// How the engine weighs speed against battery and heat.
public enum EnergyPolicy: Sendable, Hashable, CaseIterable {
  /// As fast as it goes.
  case performance
  /// The default.
  case balanced
  /// As far as the battery lasts.
  case saver
}

/// How a model file's bytes are reached.
///
/// A file that is mapped costs no memory that the system could not take back, but it must not be cut
/// short while the model is open: the system ends a process that reads what is no longer there.
public enum FileAccess: Sendable, Hashable, CaseIterable {
  /// Mapped where no other user of the system can write the file, read in elsewhere. On iOS all apps
  /// and document providers are of the same user, so that every file is mapped: pass ``readIn`` for
  /// one that is not the app's own, or copy it.
  case auto
  /// Mapped, whoever can write it: the caller answers for nobody cutting it short.
  case map
  /// Read in: as much memory as the file is long, and none of it can be dropped. Whatever becomes of
  /// the file, the model stays as it was.
  case readIn
}

/// How a model is loaded.
///
/// What this version accepts but does not act on is told in words by ``ModelInfo/notInForce``.
public struct LoadOptions: Sendable, Hashable {
  /// Most bytes for weights, work buffers and the KV caches of all chats; `nil`: no limit.
  public var memory: MemoryBudget?
  /// Tokens that the context of a chat holds unless it asks for its own; `nil`: the engine's
  /// choice.
  public var contextLength: Int?
  /// Compute threads; `nil`: as many as the system gives.
  public var threads: Int?
  /// Speed or battery.
  public var energy: EnergyPolicy
  /// A chat template in place of the file's own.
  public var chatTemplate: String?
  /// Whether the model's file is mapped or read in; those of its adapters, too.
  public var fileAccess: FileAccess

  /// Options, each with its default.
  public init(
    memory: MemoryBudget? = nil,
    contextLength: Int? = nil,
    threads: Int? = nil,
    energy: EnergyPolicy = .balanced,
    chatTemplate: String? = nil,
    fileAccess: FileAccess = .auto
  ) {
    self.memory = memory
    self.contextLength = contextLength
    self.threads = threads
    self.energy = energy
    self.chatTemplate = chatTemplate
    self.fileAccess = fileAccess
  }
}

extension ModelSource {
  func generated() throws -> DormouseGenerated.ModelSource {
    switch self {
    case .path(let path):
      return .path(path: path)
    case .file(let url):
      return .path(path: try filePath(url, of: "a model"))
    case .descriptor(let fd, let offset, let length):
      return .descriptor(
        fd: fd,
        offset: try natural(offset, "the offset"),
        length: try natural(length, "the length"))
    }
  }
}

extension LoadOptions {
  func generated() throws -> LoadSettings {
    LoadSettings(
      memoryBudget: memory?.bytes,
      contextLength: try contextLength.map { try natural($0, "the context length") },
      threads: try threads.map { try natural($0, "the number of threads") },
      energy: energy.generated,
      chatTemplate: chatTemplate,
      fileAccess: fileAccess.generated)
  }
}

extension FileAccess {
  fileprivate var generated: DormouseGenerated.FileAccess {
    switch self {
    case .auto: .auto
    case .map: .map
    case .readIn: .readIn
    }
  }
}

extension EnergyPolicy {
  fileprivate var generated: DormouseGenerated.EnergyPolicy {
    switch self {
    case .performance: .performance
    case .balanced: .balanced
    case .saver: .saver
    }
  }
}

/// The path of a file's URL; another's is an error that names `what` it was to be.
func filePath(_ url: URL, of what: String) throws -> String {
  guard url.isFileURL else {
    throw DormouseError.invalidOptions(what: "the URL of \(what) must be a file's")
  }
  return url.path
}

/// A number as the engine takes it, or an error that names it.
func natural<T: FixedWidthInteger & UnsignedInteger>(_ value: Int, _ name: String) throws -> T {
  guard let number = T(exactly: value) else {
    throw DormouseError.invalidOptions(what: "\(name) is \(value), want 0 to \(T.max)")
  }
  return number
}
