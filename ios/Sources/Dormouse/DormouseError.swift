internal import DormouseGenerated
import Foundation

/// Why a call failed. No text of a prompt, an answer or a message is ever in it.
///
/// A cancelled task gets a `CancellationError` instead.
public enum DormouseError: Error, Sendable, Hashable {
  /// There is no such file.
  case notFound(what: String)
  /// Reading or writing failed; `code` is the system's error number, where there is one.
  case io(what: String, code: Int32?)
  /// The file is damaged or not a GGUF file: `why`, in the part `place` of it.
  case corruptModel(place: String, why: String)
  /// The file is sound, but asks for something that this engine does not have.
  case unsupportedModel(what: String)
  /// The model has no chat template, or it failed or refused the conversation.
  case template(why: String)
  /// More memory is needed than the budget or the system gives, both in bytes.
  case outOfMemory(needed: UInt64, budget: UInt64)
  /// The prompt does not fit the context, both in tokens.
  case contextFull(used: Int, max: Int)
  /// An option or argument cannot be used.
  case invalidOptions(what: String)
  /// The chat is answering already.
  case busy
  /// The work was cancelled, but not by cancelling the task.
  case cancelled
  /// The model or chat is closed.
  case closed
  /// A defect of Dormouse itself, found at `place` of its source. The app goes on; what was being
  /// used may not.
  case `internal`(place: String, what: String)
}

extension DormouseError: LocalizedError, CustomStringConvertible {
  /// What went wrong, in words for a developer.
  public var description: String {
    switch self {
    case .notFound(let what):
      "not found: \(what)"
    case .io(let what, _):
      what
    case .corruptModel(let place, let why):
      "corrupt model: \(place): \(why)"
    case .unsupportedModel(let what):
      "unsupported model: \(what)"
    case .template(let why):
      "chat template: \(why)"
    case .outOfMemory(let needed, let budget):
      "out of memory: \(needed) bytes needed, \(budget) allowed"
    case .contextFull(let used, let max):
      "context full: \(used) of \(max) tokens"
    case .invalidOptions(let what):
      "invalid options: \(what)"
    case .busy:
      "busy: the chat is answering; cancel the answer or wait for its end"
    case .cancelled:
      "cancelled"
    case .closed:
      "closed"
    case .internal(let place, let what):
      "internal error at \(place): \(what)"
    }
  }

  /// The same as ``description``: what `localizedDescription` gives.
  public var errorDescription: String? { description }
}

extension DormouseError {
  fileprivate init(_ failure: Failure) {
    self =
      switch failure {
      case .NotFound(let what): .notFound(what: what)
      case .Io(let what, let code): .io(what: what, code: code)
      case .CorruptModel(let place, let why): .corruptModel(place: place, why: why)
      case .UnsupportedModel(let what): .unsupportedModel(what: what)
      case .Template(let why): .template(why: why)
      case .OutOfMemory(let needed, let budget): .outOfMemory(needed: needed, budget: budget)
      case .ContextFull(let used, let max): .contextFull(used: Int(used), max: Int(max))
      case .InvalidOptions(let what): .invalidOptions(what: what)
      case .Busy: .busy
      case .Cancelled: .cancelled
      case .Closed: .closed
      case .Internal(let place, let what): .internal(place: place, what: what)
      }
  }
}

/// The error that an app sees for one that the generated code threw.
private func publicError(_ error: any Error) -> any Error {
  switch error {
  case let failure as Failure:
    DormouseError(failure)
  case is DormouseError, is CancellationError:
    error
  default:
    // The transport's own errors may quote what was sent; their type says enough.
    DormouseError.internal(place: "transport", what: "\(type(of: error))")
  }
}

/// Runs calls of the generated code, its errors turned into those of the API.
func translated<T>(_ calls: () throws -> T) throws -> T {
  do {
    return try calls()
  } catch {
    throw publicError(error)
  }
}

/// Runs calls of the generated code, its errors turned into those of the API; where the task is
/// cancelled, before or meanwhile, the error is `CancellationError`.
func translated<T: Sendable>(_ calls: @Sendable () async throws -> T) async throws -> T {
  do {
    try Task.checkCancellation()
    return try await calls()
  } catch {
    let error = publicError(error)
    // Whatever else was wrong: nobody waits for it any more.
    if Task.isCancelled, error is DormouseError {
      throw CancellationError()
    }
    throw error
  }
}
